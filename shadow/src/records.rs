//! What is kept, record by record. Each record is a versioned enum, so that what was written stays readable.

mod access_key;
mod authority;
mod certificate;
mod connector;
mod job;
pub mod key;
mod policy;
mod provision;
mod retained;
mod shadow;
mod standing;
mod stream;
mod target;
mod token;

pub use access_key::{AccessKey, KeyRevoked};
pub use authority::AuthorityMark;
pub use certificate::{Certificate, CertificateState};
pub use connector::{Connector, Enrolled, Lifecycle, Uninstall};
pub use job::{Job, JobJoined, JobQueued, JobTemplate, JobThings};
pub use policy::{Attachment, PolicyRecord};
pub use provision::{Ownership, ProvisioningTemplate};
pub use retained::Retained;
pub use shadow::DeletedShadow;
pub use standing::{LINK_EVENTS_MAX, Seen, Sighting, Suspicion, Work};
pub use stream::{Stream, StreamFile};
pub use target::{Numbering, Target};
pub use token::{Binding, TokenEnd, TokenRecord};

use muster_model::job::{Run, StoredExecution};
use muster_model::reconcile::Action;
use muster_model::shadow::ShadowDoc;
use muster_wire::admin::Recovery;
use muster_wire::component::PublishedComponent;
use serde::{Deserialize, Serialize};

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
    /// Things with a queued execution, as they are stored.
    StoredJobQueued(JobQueued),
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
