//! The topic grammar: the only module that joins or splits a topic on `/`.
//!
//! ```text
//! $aws/things/{thing}/shadow[/name/{shadow}]/{get|update|delete}[/{accepted|rejected}]
//! $aws/things/{thing}/shadow[/name/{shadow}]/update/{delta|documents}
//! $aws/things/{thing}/jobs/{get|start-next}[/{accepted|rejected}]
//! $aws/things/{thing}/jobs/{job|$next}/{get|update}[/{accepted|rejected}]
//! $aws/things/{thing}/jobs/{notify|notify-next}
//! $aws/things/{thing}/streams/{stream}/{describe|get|description|data|rejected}/{json|cbor}
//! $aws/certificates/{create|create-from-csr}/{json|cbor}[/{accepted|rejected}]
//! $aws/provisioning-templates/{template}/provision/{json|cbor}[/{accepted|rejected}]
//! $aws/things/{thing}/defender/metrics/{json|cbor}[/{accepted|rejected}]     $aws/things/{thing}/tunnels/notify
//! $aws/events/presence/{connected|disconnected|connect_failed}/{client}
//! $aws/events/subscriptions/{subscribed|unsubscribed}/{client}
//! $aws/events/{job|jobExecution}/{job}/{event}
//! muster/things/{thing}/telemetry/{kind}
//! muster/things/{thing}/certificate/{renew|prove|trust}[/{accepted|rejected}]
//! muster/things/{thing}/certificate/notify
//! muster/op/{verb}                      muster/reply/{anything}
//! muster/view/connectors/{thing}[/metrics]     muster/view/actions
//! {anything that begins with neither `$` nor `muster/`}     an application's own
//! ```
//! Source: the AWS IoT reserved topics, and the design's "On the wire".

mod application;
mod certificate;
mod elsewhere;
mod event;
mod jobs;
mod provision;
mod shadow;
mod stream;

pub use application::ApplicationTopic;
pub(crate) use application::{first_level, is_application_level};
pub use certificate::{CertificateTopic, CertificateVerb};
pub use elsewhere::ElsewhereTopic;
pub use event::{PresenceEvent, SubscriptionEvent};
pub use jobs::{JobRef, JobsTopic, JobsVerb, jobs_rejection};
pub(crate) use provision::is_answer_filter;
pub use provision::{ProvisioningApi, ProvisioningTopic, Voice, provisions};
pub use shadow::{ShadowTopic, ShadowVerb};
pub use stream::{StreamTopic, StreamVerb};

use crate::codec::Encoding;
use crate::id::{JobId, NameError, ShadowName, ThingName};
use crate::limits::{TOPIC_BYTES_MAX, TOPIC_SLASHES_MAX};
use crate::stream::StreamId;
use std::fmt;
use stream::encoding_name;

/// One topic of the service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A shadow of a thing; `shadow` is `None` for the classic one.
    Shadow {
        /// Whose shadow.
        thing: ThingName,
        /// Which named shadow, or the classic one.
        shadow: Option<ShadowName>,
        /// What is said.
        verb: ShadowTopic,
    },
    /// The jobs of a thing.
    Jobs {
        /// Whose jobs.
        thing: ThingName,
        /// What is said.
        verb: JobsTopic,
    },
    /// Files that a thing fetches.
    Stream {
        /// Who fetches.
        thing: ThingName,
        /// Which stream.
        stream: StreamId,
        /// What is said.
        verb: StreamTopic,
        /// How the payload is written.
        encoding: Encoding,
    },
    /// A device without an identity asks for one.
    Provisioning(ProvisioningTopic),
    /// Measurements of a thing's host.
    Telemetry {
        /// Whose measurements.
        thing: ThingName,
        /// Which stream.
        kind: TelemetryKind,
    },
    /// The certificate of a thing, and whom it trusts; served for the fleet as a whole.
    Certificate {
        /// Whose certificate.
        thing: ThingName,
        /// What is said.
        verb: CertificateTopic,
    },
    /// An operator's request; the verb is a member of [`crate::admin::Verb`].
    Operator {
        /// What is asked.
        verb: crate::admin::Verb,
    },
    /// Where the answer to an operator goes; the rest is the client's choice.
    Reply {
        /// Everything after `muster/reply/`.
        rest: Box<str>,
    },
    /// A client came or went, or was not let in.
    Presence {
        /// Which of these.
        event: PresenceEvent,
        /// The MQTT client id.
        client: Box<str>,
    },
    /// A client began or ceased to listen.
    Subscriptions {
        /// Which of the two.
        event: SubscriptionEvent,
        /// The MQTT client id.
        client: Box<str>,
    },
    /// Something of a part of AWS IoT that is not here.
    Elsewhere {
        /// Who speaks or listens.
        thing: ThingName,
        /// What is said.
        verb: ElsewhereTopic,
    },
    /// A job changed.
    JobEvent {
        /// Which job.
        job: JobId,
        /// What happened: `completed`, `canceled`, `deleted` and so on.
        event: Box<str>,
    },
    /// An execution of a job reached its end.
    JobExecutionEvent {
        /// Which job.
        job: JobId,
        /// What happened: `succeeded`, `failed` and so on.
        event: Box<str>,
    },
    /// What dashboards read.
    View(ViewTopic),
    /// A topic of the user's own devices and programs; the service attaches no meaning to it.
    Application(ApplicationTopic),
}

/// A stream of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TelemetryKind {
    /// CPU, memory, disk and load of the host.
    Host,
}

/// What dashboards read: JSON, retained where it is a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ViewTopic {
    /// Status, versions and last sync of a connector; retained.
    Connector(ThingName),
    /// The latest measurements of a connector's host; retained.
    Metrics(ThingName),
    /// One message for each change of an upgrade action; a stream.
    Actions,
}

/// Why a text is not a topic of the service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Longer than [`TOPIC_BYTES_MAX`].
    #[error("topic has {0} bytes; at most {TOPIC_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// More than [`TOPIC_SLASHES_MAX`] separators.
    #[error("topic has {0} slashes; at most {TOPIC_SLASHES_MAX} are allowed")]
    TooDeep(usize),
    /// A name in the topic is not valid.
    #[error("topic names something impossible: {0}")]
    Name(#[from] NameError),
    /// In the jobs of a thing, but no API.
    #[error("no jobs API has the topic {topic:?}")]
    UnknownJobsApi {
        /// Whose jobs.
        thing: ThingName,
        /// The topic as given.
        topic: String,
    },
    /// No topic of the service.
    #[error("no part of the service has the topic {0:?}")]
    Unknown(String),
}

impl Topic {
    /// Reads a topic. Round trip: `Topic::parse(&t.to_string()) == Ok(t)`.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong(text.len()));
        }
        let slashes = text.bytes().filter(|b| *b == b'/').count();
        if slashes > TOPIC_SLASHES_MAX {
            return Err(TopicError::TooDeep(slashes));
        }
        let unknown = || TopicError::Unknown(text.to_owned());
        let parts = Parts::new(text);
        match parts.slice() {
            ["$aws", "things", thing, "shadow", rest @ ..] => {
                let (shadow, rest) = match rest {
                    ["name", shadow, rest @ ..] => (Some(ShadowName::new(shadow)?), rest),
                    rest => (None, rest),
                };
                let verb = ShadowTopic::from_parts(rest).ok_or_else(unknown)?;
                Ok(Self::Shadow { thing: ThingName::new(thing)?, shadow, verb })
            }
            ["$aws", "things", thing, "jobs", rest @ ..] => {
                let thing = ThingName::new(thing)?;
                match JobsTopic::from_parts(rest)? {
                    Some(verb) => Ok(Self::Jobs { thing, verb }),
                    None => Err(TopicError::UnknownJobsApi { thing, topic: text.to_owned() }),
                }
            }
            ["$aws", "things", thing, "streams", stream, verb, encoding] => {
                let verb = StreamTopic::ALL.into_iter().find(|known| known.as_str() == *verb).ok_or_else(unknown)?;
                let encodings = [Encoding::Json, Encoding::Cbor];
                let encoding = encodings.into_iter().find(|known| encoding_name(*known) == *encoding);
                let encoding = encoding.ok_or_else(unknown)?;
                Ok(Self::Stream { thing: ThingName::new(thing)?, stream: StreamId::new(stream)?, verb, encoding })
            }
            parts @ ["$aws", "certificates" | "provisioning-templates", ..] => {
                ProvisioningTopic::from_parts(parts)?.ok_or_else(unknown)
            }
            ["$aws", "things", thing, "defender" | "tunnels", ..] => {
                let verb = ElsewhereTopic::from_parts(&parts.slice()[3..]).ok_or_else(unknown)?;
                Ok(Self::Elsewhere { thing: ThingName::new(thing)?, verb })
            }
            ["$aws", "events", family @ ("presence" | "subscriptions"), event, client] => {
                event::from_parts(family, event, client).ok_or_else(unknown)
            }
            ["$aws", "events", "job", job, event] if !event.is_empty() => {
                Ok(Self::JobEvent { job: JobId::new(job)?, event: (*event).into() })
            }
            ["$aws", "events", "jobExecution", job, event] if !event.is_empty() => {
                Ok(Self::JobExecutionEvent { job: JobId::new(job)?, event: (*event).into() })
            }
            ["muster", "things", thing, "telemetry", "host"] => {
                Ok(Self::Telemetry { thing: ThingName::new(thing)?, kind: TelemetryKind::Host })
            }
            ["muster", "things", thing, "certificate", rest @ ..] => {
                let verb = CertificateTopic::from_parts(rest).ok_or_else(unknown)?;
                Ok(Self::Certificate { thing: ThingName::new(thing)?, verb })
            }
            ["muster", "op", verb] => Ok(Self::Operator { verb: verb.parse().map_err(|_| unknown())? }),
            ["muster", "reply", first, ..] if !first.is_empty() => {
                Ok(Self::Reply { rest: text["muster/reply/".len()..].into() })
            }
            ["muster", "view", "connectors", thing] => Ok(Self::View(ViewTopic::Connector(ThingName::new(thing)?))),
            ["muster", "view", "connectors", thing, "metrics"] => {
                Ok(Self::View(ViewTopic::Metrics(ThingName::new(thing)?)))
            }
            ["muster", "view", "actions"] => Ok(Self::View(ViewTopic::Actions)),
            _ => ApplicationTopic::new(text).map(Self::Application).ok_or_else(unknown),
        }
    }

    /// The thing that a topic is about, if it is about one.
    #[must_use]
    pub fn thing(&self) -> Option<&ThingName> {
        match self {
            Self::Shadow { thing, .. }
            | Self::Jobs { thing, .. }
            | Self::Stream { thing, .. }
            | Self::Elsewhere { thing, .. }
            | Self::Telemetry { thing, .. }
            | Self::Certificate { thing, .. } => Some(thing),
            Self::View(ViewTopic::Connector(thing) | ViewTopic::Metrics(thing)) => Some(thing),
            Self::View(ViewTopic::Actions)
            | Self::Application(_)
            | Self::Provisioning(_)
            | Self::Operator { .. }
            | Self::Reply { .. }
            | Self::Presence { .. }
            | Self::Subscriptions { .. }
            | Self::JobEvent { .. }
            | Self::JobExecutionEvent { .. } => None,
        }
    }

    /// The thing whose worker serves requests on this topic; `None` for the worker of the fleet as a whole.
    #[must_use]
    pub fn partition(&self) -> Option<&ThingName> {
        match self {
            Self::Certificate { .. } => None,
            topic => topic.thing(),
        }
    }

    /// Whether clients may publish here when their policy allows it. All else is the service's own voice.
    #[must_use]
    pub fn is_request(&self) -> bool {
        match self {
            Self::Shadow { verb, .. } => matches!(verb, ShadowTopic::Request(_)),
            Self::Jobs { verb, .. } => matches!(verb, JobsTopic::Request(_)),
            Self::Stream { verb, .. } => matches!(verb, StreamTopic::Request(_)),
            Self::Certificate { verb, .. } => matches!(verb, CertificateTopic::Request(_)),
            Self::Provisioning(topic) => topic.voice == Voice::Request,
            Self::Elsewhere { verb, .. } => verb.is_request(),
            Self::Telemetry { .. } | Self::Operator { .. } | Self::Application(_) => true,
            Self::Reply { .. }
            | Self::Presence { .. }
            | Self::Subscriptions { .. }
            | Self::JobEvent { .. }
            | Self::JobExecutionEvent { .. }
            | Self::View(_) => false,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow { thing, shadow, verb } => {
                write!(f, "$aws/things/{thing}/shadow")?;
                if let Some(shadow) = shadow {
                    write!(f, "/name/{shadow}")?;
                }
                write!(f, "/{verb}")
            }
            Self::Jobs { thing, verb } => write!(f, "$aws/things/{thing}/jobs/{verb}"),
            Self::Stream { thing, stream, verb, encoding } => {
                write!(f, "$aws/things/{thing}/streams/{stream}/{}/{}", verb.as_str(), encoding_name(*encoding))
            }
            Self::Provisioning(topic) => write!(f, "{topic}"),
            Self::Telemetry { thing, kind: TelemetryKind::Host } => write!(f, "muster/things/{thing}/telemetry/host"),
            Self::Certificate { thing, verb } => write!(f, "muster/things/{thing}/certificate/{verb}"),
            Self::Operator { verb } => write!(f, "muster/op/{verb}"),
            Self::Reply { rest } => write!(f, "muster/reply/{rest}"),
            Self::Elsewhere { thing, verb } => write!(f, "$aws/things/{thing}/{verb}"),
            Self::Presence { event, client } => write!(f, "$aws/events/presence/{}/{client}", event.as_str()),
            Self::Subscriptions { event, client } => {
                write!(f, "$aws/events/subscriptions/{}/{client}", event.as_str())
            }
            Self::JobEvent { job, event } => write!(f, "$aws/events/job/{job}/{event}"),
            Self::JobExecutionEvent { job, event } => write!(f, "$aws/events/jobExecution/{job}/{event}"),
            Self::View(ViewTopic::Connector(thing)) => write!(f, "muster/view/connectors/{thing}"),
            Self::View(ViewTopic::Metrics(thing)) => write!(f, "muster/view/connectors/{thing}/metrics"),
            Self::View(ViewTopic::Actions) => f.write_str("muster/view/actions"),
            Self::Application(topic) => f.write_str(topic.as_str()),
        }
    }
}

/// The levels of a topic without an allocation: no valid topic has more than [`TOPIC_SLASHES_MAX`] separators.
struct Parts<'a> {
    levels: [&'a str; TOPIC_SLASHES_MAX + 1],
    count: usize,
}

impl<'a> Parts<'a> {
    fn new(text: &'a str) -> Self {
        let mut parts = Self { levels: [""; TOPIC_SLASHES_MAX + 1], count: 0 };
        for level in text.split('/').take(TOPIC_SLASHES_MAX + 1) {
            parts.levels[parts.count] = level;
            parts.count += 1;
        }
        parts
    }

    fn slice(&self) -> &[&'a str] {
        &self.levels[..self.count]
    }
}

#[cfg(test)]
mod tests;
