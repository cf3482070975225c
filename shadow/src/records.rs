//! What is kept, record by record. Each record is a versioned enum, so that what was written stays readable.

use muster_certs::Identity;
use muster_model::job::{Run, StoredExecution};
use muster_model::reconcile::Action;
use muster_model::shadow::ShadowDoc;
use muster_wire::admin::{KeyPolicy, LinkEvent, Recovery, Selector};
use muster_wire::component::PublishedComponent;
use muster_wire::enrol::HostFacts;
use muster_wire::id::{
    AccessKeyId, ComponentName, JobId, PersonName, PoolName, Sha256Hex, SiteName, TargetId, TemplateName, ThingName,
    Version,
};
use muster_wire::time::Timestamp;
use muster_wire::view::WorkStatus;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::store::{Key, Kind};

mod authority;
mod job;
mod policy;
mod provision;
mod retained;
mod shadow;
mod stream;

pub use authority::AuthorityMark;
pub use job::{Job, JobJoined, JobTemplate, JobThings};
pub use policy::{Attachment, PolicyRecord};
pub use provision::{Ownership, ProvisioningTemplate};
pub use retained::Retained;
pub use shadow::DeletedShadow;
pub use stream::{Stream, StreamFile};

/// A registered connector. Written by the fleet's worker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connector {
    /// Name.
    pub name: ThingName,
    /// Pool, if it has one.
    pub pool: Option<PoolName>,
    /// Site, if it has one.
    pub site: Option<SiteName>,
    /// Free text for people.
    pub description: Option<String>,
    /// When an operator added it.
    pub registered_at: Timestamp,
    /// Who added it.
    pub registered_by: PersonName,
    /// Its latest enrolment; absent before the first.
    pub enrolled: Option<Enrolled>,
    /// Hash of its live token, if it has one.
    pub token_hash: Option<String>,
    /// Whether it is let in and managed.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Grows with every enrolment, and when an operator believes a restored state: what was learned of an earlier
    /// installation says nothing of this one.
    #[serde(default)]
    pub incarnation: u64,
    /// Folder of the agent on the host, if an operator chose one.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What it shall run once it is enrolled. Emptied when the intents are stored.
    #[serde(default)]
    pub wanted: BTreeMap<ComponentName, Version>,
    /// That its agent was told to take itself off the host.
    #[serde(default)]
    pub uninstall: Option<Uninstall>,
    /// The authorities that its host said to trust.
    #[serde(default)]
    pub trusts: Vec<Sha256Hex>,
    /// The template by which it provisioned itself; none if an operator added it.
    #[serde(default)]
    pub provisioned_by: Option<TemplateName>,
    /// What its template knows of it besides.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// That an agent was told to take itself off its host. The job's document follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uninstall {
    /// The job that tells it.
    pub job: JobId,
    /// Whether components and their data go too.
    pub purge: bool,
    /// Who asked.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}

impl Connector {
    /// One that has just been added.
    #[must_use]
    pub fn new(name: ThingName, registered_by: PersonName, registered_at: Timestamp) -> Self {
        Self {
            name,
            pool: None,
            site: None,
            description: None,
            registered_at,
            registered_by,
            enrolled: None,
            token_hash: None,
            lifecycle: Lifecycle::Active,
            incarnation: 0,
            prefix: None,
            wanted: BTreeMap::new(),
            uninstall: None,
            trusts: Vec::new(),
            provisioned_by: None,
            attributes: BTreeMap::new(),
        }
    }

    /// Whether it was removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Removed { .. })
    }

    /// Whether the server looks after its components.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.lifecycle == Lifecycle::Active
    }
}

/// Whether a connector is let in and managed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// It is.
    #[default]
    Active,
    /// Not at present.
    Disabled {
        /// Since when.
        at: Timestamp,
        /// Who did it.
        by: PersonName,
        /// Why, if they said so.
        reason: Option<String>,
    },
    /// Not any more. What is known of it stays; it comes back with a new enrolment only.
    Removed {
        /// Since when.
        at: Timestamp,
        /// Who did it.
        by: PersonName,
    },
}

/// A certificate that was issued by enrolment or renewal, or revoked. Written by the fleet's worker alone.
///
/// ```text
///  Awaiting ─▶ Registering ─┐      a device that provisions itself
///                           ▼
/// issued ─▶ Pending ── a connection proves it ─▶ Current ── a newer one is proven ─▶ Replaced
///              └───────────────┴──── an operator ────┴──────────────────────────────▶ Revoked
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 of the certificate.
    pub id: Sha256Hex,
    /// Whom it speaks for; absent when it was revoked by its id alone.
    pub identity: Option<Identity>,
    /// When it was issued; absent when it was not issued by this server.
    pub issued_at: Option<Timestamp>,
    /// Its last valid moment; absent when that is not known.
    pub not_after: Option<Timestamp>,
    /// What it is good for.
    pub state: CertificateState,
    /// The authority that issued it; absent in records from before there could be two.
    #[serde(default)]
    pub issuer: Option<Sha256Hex>,
    /// Its public key; absent in records from before keys were compared.
    #[serde(default)]
    pub key: Option<Sha256Hex>,
}

/// What a certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CertificateState {
    /// Its device is no thing yet. It opens nothing, and is dropped when its time is over.
    Awaiting {
        /// Until when the device may become one.
        until: Timestamp,
    },
    /// Its device becomes a thing; its ownership token is used. It opens nothing. Only a crash leaves it so.
    Registering,
    /// It is issued; nobody has shown it yet.
    Pending,
    /// It was shown.
    Current,
    /// A newer one was shown. It is good for nothing any more.
    Replaced {
        /// Since when.
        at: Timestamp,
    },
    /// An operator took it back. An end: nothing revives it.
    Revoked {
        /// Since when.
        at: Timestamp,
        /// Who did it.
        by: PersonName,
        /// Why.
        reason: String,
    },
}

impl CertificateState {
    /// Whether the certificate opens the door.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Pending | Self::Current)
    }
}

/// An access key. Its secret follows from its id and is stored nowhere. Written by the fleet's worker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its public part.
    pub id: AccessKeyId,
    /// What its holder may do.
    pub policy: KeyPolicy,
    /// What it is for.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: PersonName,
    /// That it was taken back. An end: nothing revives it.
    pub revoked: Option<KeyRevoked>,
}

/// That an access key was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRevoked {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: PersonName,
}

/// That a connector has its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the certificate, hexadecimal.
    pub certificate_id: String,
    /// What the host said of itself then.
    pub host: HostFacts,
}

/// An enrolment token; its key is the hash of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The only connector that may use it.
    pub connector: ThingName,
    /// When it stops to work.
    pub expires_at: Timestamp,
    /// When it was used; it works once.
    pub used_at: Option<Timestamp>,
    /// Who made it.
    pub issued_by: PersonName,
    /// When it was made.
    #[serde(default)]
    pub issued_at: Option<Timestamp>,
    /// What it is bound to besides the name. Records of earlier versions have none.
    #[serde(default)]
    pub binding: Option<Binding>,
    /// From where it was used.
    #[serde(default)]
    pub used_from: Option<IpAddr>,
    /// Whether its use makes the connector anew: what is wanted of it is wanted again.
    #[serde(default)]
    pub reinstall: bool,
}

/// What a token is bound to besides the name of its connector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The pool of the connector when the token was made; none if it had none.
    pub pool: Option<PoolName>,
    /// The only folder on the host for which it works; any when absent.
    pub prefix: Option<String>,
}

/// An operator's intent. Never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Grows with every intent of the fleet.
    pub number: u64,
    /// Name, made from the number.
    pub id: TargetId,
    /// The job that carries it out, made from the number.
    pub job: JobId,
    /// Component.
    pub component: ComponentName,
    /// Version.
    pub version: Version,
    /// Where.
    pub selector: Selector,
    /// Offer it also where it failed before.
    pub again: bool,
    /// Who wants it.
    pub by: PersonName,
    /// Since when.
    pub at: Timestamp,
}

/// Where the numbers of intents go on. Written by a restore alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbering {
    /// No intent from now on has a lower number.
    pub targets_from: u64,
}

/// When a connector's link last changed. Written by the thing's worker alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it last came.
    pub up: Option<Timestamp>,
    /// When it last went.
    pub down: Option<Timestamp>,
    /// The latest changes, oldest first, at most [`LINK_EVENTS_MAX`]. Records of earlier versions have none.
    #[serde(default)]
    pub history: Vec<LinkEvent>,
}

/// Changes of a link that are kept.
pub const LINK_EVENTS_MAX: usize = 20;

impl Seen {
    /// Whether it came and did not go.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.history.last().is_some_and(|last| last.up)
    }

    /// The link came or went.
    pub fn changed(&mut self, at: Timestamp, up: bool) {
        if up {
            self.up = Some(at)
        } else {
            self.down = Some(at)
        }
        self.history.push(LinkEvent { at, up });
        let over = self.history.len().saturating_sub(LINK_EVENTS_MAX);
        self.history.drain(..over);
    }
}

/// Since when a connector's work is what it is. Written by the thing's worker alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// What it is.
    pub status: WorkStatus,
    /// Since when.
    pub since: Timestamp,
}

/// What was last heard of where a connector's identity runs. Written by the thing's worker alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Of which incarnation of the connector this is; of an older one it says nothing.
    pub incarnation: u64,
    /// The installation that reported last; empty before one has.
    pub installation: String,
    /// Its highest session counter.
    pub counter: u64,
    /// The connection that said so.
    pub session: u64,
    /// That the identity runs in two places.
    pub suspicion: Option<Suspicion>,
}

/// That an identity runs in two places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// Since when that is known.
    pub since: Timestamp,
    /// What showed it; for people.
    pub why: String,
}

macro_rules! versioned {
    ($($(#[$doc:meta])* $stored:ident($record:ty)),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum $stored {
            /// The first form.
            V1($record),
        }
        impl From<$record> for $stored {
            fn from(record: $record) -> Self {
                Self::V1(record)
            }
        }
        impl From<$stored> for $record {
            fn from(stored: $stored) -> Self {
                let $stored::V1(record) = stored;
                record
            }
        }
        impl Record for $record {
            type Stored = $stored;
        }
    )+};
}

versioned! {
    /// A shadow as it is stored.
    StoredShadow(ShadowDoc),
    /// A connector as it is stored.
    StoredConnector(Connector),
    /// A token as it is stored.
    StoredToken(TokenRecord),
    /// An intent as it is stored.
    StoredTarget(Target),
    /// A job as it is stored.
    StoredJob(Job),
    /// The things of a job as they are stored.
    StoredJobThings(JobThings),
    /// How far a job is, as it is stored.
    StoredJobRun(Run),
    /// A thing that came to a continuous job, as it is stored.
    StoredJobJoined(JobJoined),
    /// A job template as it is stored.
    StoredJobTemplate(JobTemplate),
    /// A published component as it is stored.
    StoredComponent(PublishedComponent),
    /// A host that asks to be let in again, as it is stored.
    StoredRecovery(Recovery),
    /// An action as it is stored.
    StoredAction(Action),
    /// A provisioning template as it is stored.
    StoredProvisioningTemplate(ProvisioningTemplate),
    /// An ownership token as it is stored.
    StoredOwnership(Ownership),
    /// A certificate as it is stored.
    StoredCertificate(Certificate),
    /// A policy as it is stored.
    StoredPolicy(PolicyRecord),
    /// Who has which policies, as it is stored.
    StoredAttachment(Attachment),
    /// An access key as it is stored.
    StoredAccessKey(AccessKey),
    /// A stream as it is stored.
    StoredStream(Stream),
    /// A retained message as it is stored.
    StoredRetained(Retained),
    /// A link's history as it is stored.
    StoredSeen(Seen),
    /// A connector's work as it is stored.
    StoredWork(Work),
    /// A sighting as it is stored.
    StoredSighting(Sighting),
    /// Where numbers go on, as it is stored.
    StoredNumbering(Numbering),
    /// Which authority the fleet has, as it is stored.
    StoredAuthority(AuthorityMark),
    /// What is left of a deleted shadow, as it is stored.
    StoredDeletedShadow(DeletedShadow),
}

impl Record for muster_model::job::Execution {
    type Stored = StoredExecution;
}

/// A record and its stored form.
pub trait Record: Sized + Clone {
    /// The stored form, versioned.
    type Stored: Serialize + serde::de::DeserializeOwned + From<Self> + Into<Self>;
}

/// Keys of the records.
pub mod key {
    use super::{AccessKeyId, ComponentName, JobId, Key, Kind, Sha256Hex, TemplateName, ThingName, Version};
    use muster_wire::id::{JobTemplateId, ShadowName};
    use muster_wire::policy::PolicyName;
    use muster_wire::stream::StreamId;

    /// The prefix of all shadows of a thing.
    #[must_use]
    pub fn shadows(thing: &ThingName) -> Key {
        Key::new(Kind::Shadow).part(thing)
    }

    /// A shadow of a thing; the classic one has an empty name.
    #[must_use]
    pub fn shadow(thing: &ThingName, shadow: Option<&ShadowName>) -> Key {
        shadows(thing).part(shadow.map_or("", ShadowName::as_str))
    }

    /// The prefix of what is left of all deleted shadows.
    #[must_use]
    pub fn all_deleted_shadows() -> Key {
        Key::new(Kind::Meta).part("deleted-shadow")
    }

    /// What is left of a deleted shadow; the classic one has an empty name.
    #[must_use]
    pub fn deleted_shadow(thing: &ThingName, shadow: &str) -> Key {
        all_deleted_shadows().part(thing).part(shadow)
    }

    /// A connector.
    #[must_use]
    pub fn connector(name: &ThingName) -> Key {
        Key::new(Kind::Connector).part(name)
    }

    /// A token, by the hash of its text.
    #[must_use]
    pub fn token(hash: &str) -> Key {
        Key::new(Kind::Token).part(hash)
    }

    /// A certificate.
    #[must_use]
    pub fn certificate(id: &Sha256Hex) -> Key {
        Key::new(Kind::Certificate).part(id)
    }

    /// A policy.
    #[must_use]
    pub fn policy(name: &PolicyName) -> Key {
        Key::new(Kind::Policy).part(name)
    }

    /// The policies of a connector.
    #[must_use]
    pub fn attachment(thing: &ThingName) -> Key {
        Key::new(Kind::Attachment).part(thing)
    }

    /// An access key.
    #[must_use]
    pub fn access_key(id: &AccessKeyId) -> Key {
        Key::new(Kind::AccessKey).part(id)
    }

    /// A stream.
    #[must_use]
    pub fn stream(id: &StreamId) -> Key {
        Key::new(Kind::Stream).part(id)
    }

    /// The prefix of all hosts that ask to be let in again.
    #[must_use]
    pub fn recoveries() -> Key {
        Key::new(Kind::Meta).part("recovery")
    }

    /// A host that asks to be let in again.
    #[must_use]
    pub fn recovery(name: &ThingName) -> Key {
        recoveries().part(name)
    }

    /// A provisioning template.
    #[must_use]
    pub fn template(name: &TemplateName) -> Key {
        Key::new(Kind::ProvisioningTemplate).part(name)
    }

    /// An ownership token, by the hash of its text.
    #[must_use]
    pub fn ownership(hash: &str) -> Key {
        Key::new(Kind::Ownership).part(hash)
    }

    /// The retained message of a topic.
    #[must_use]
    pub fn retained(topic: &str) -> Key {
        Key::new(Kind::Retained).part(topic)
    }

    /// An intent.
    #[must_use]
    pub fn target(number: u64) -> Key {
        Key::new(Kind::Target).number(number)
    }

    /// Where the numbers of intents go on.
    #[must_use]
    pub fn numbering() -> Key {
        Key::new(Kind::Meta).part("numbering")
    }

    /// Which authority the fleet has.
    #[must_use]
    pub fn authority() -> Key {
        Key::new(Kind::Meta).part("authority")
    }

    /// A job of an operator.
    #[must_use]
    pub fn job(id: &JobId) -> Key {
        Key::new(Kind::Job).part(id)
    }

    /// The things of a job: the prefix of its pages.
    #[must_use]
    pub fn job_things(id: &JobId) -> Key {
        Key::new(Kind::JobThings).part(id)
    }

    /// A page of the things of a job, from 0.
    #[must_use]
    pub fn job_page(id: &JobId, page: u64) -> Key {
        job_things(id).number(page)
    }

    /// How far a job is.
    #[must_use]
    pub fn job_run(id: &JobId) -> Key {
        Key::new(Kind::JobRun).part(id)
    }

    /// The prefix of the things that came to a continuous job.
    #[must_use]
    pub fn job_joined(id: &JobId) -> Key {
        Key::new(Kind::JobJoined).part(id)
    }

    /// A job template.
    #[must_use]
    pub fn job_template(id: &JobTemplateId) -> Key {
        Key::new(Kind::JobTemplate).part(id)
    }

    /// The prefix of all executions of a thing.
    #[must_use]
    pub fn executions(thing: &ThingName) -> Key {
        Key::new(Kind::Execution).part(thing)
    }

    /// The execution of a job on a thing.
    #[must_use]
    pub fn execution(thing: &ThingName, job: &JobId) -> Key {
        executions(thing).part(job)
    }

    /// A published version.
    #[must_use]
    pub fn component(name: &ComponentName, version: &Version) -> Key {
        Key::new(Kind::Component).part(name).part(version)
    }

    /// The prefix of all actions of a thing.
    #[must_use]
    pub fn actions(thing: &ThingName) -> Key {
        Key::new(Kind::Action).part(thing)
    }

    /// The action of an intent on a thing.
    #[must_use]
    pub fn action(thing: &ThingName, intent: u64) -> Key {
        actions(thing).number(intent)
    }

    /// What was last heard of where a connector runs.
    #[must_use]
    pub fn sighting(thing: &ThingName) -> Key {
        Key::new(Kind::Meta).part("sighting").part(thing)
    }

    /// Since when a connector's work is what it is.
    #[must_use]
    pub fn work(thing: &ThingName) -> Key {
        Key::new(Kind::Meta).part("work").part(thing)
    }

    /// A link's history.
    #[must_use]
    pub fn seen(thing: &ThingName) -> Key {
        Key::new(Kind::Meta).part("seen").part(thing)
    }
}
