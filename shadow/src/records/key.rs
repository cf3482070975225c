//! Keys of the records.

use crate::store::{Key, Kind};
use muster_wire::id::{
    AccessKeyId, ComponentName, JobId, JobTemplateId, Sha256Hex, ShadowName, TemplateName, ThingName, Version,
};
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

/// The prefix of the things that got their executions of a job together.
#[must_use]
pub fn job_queued(id: &JobId) -> Key {
    Key::new(Kind::JobQueued).part(id)
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
