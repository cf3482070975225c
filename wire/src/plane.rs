//! The HTTP data plane: what a request asks for, by its method, path and query, as in AWS IoT Core (`iot-data`,
//! `iot-jobs-data`).
//!
//! ```text
//! /things/{thing}/shadow[?name=S]                                GET POST DELETE
//! /api/things/shadow/ListNamedShadowsForThing/{thing}            GET     nextToken pageSize
//! /things/{thing}/jobs                                           GET
//! /things/{thing}/jobs/$next                                     PUT
//! /things/{thing}/jobs/{job | $next}                             GET     executionNumber includeJobDocument
//! /things/{thing}/jobs/{job}                                     POST
//! /topics/{topic}                                                POST    qos retain contentType responseTopic messageExpiry
//! /retainedMessage                                               GET     nextToken maxResults
//! /retainedMessage/{topic}                                       GET
//! /connections/{client}                                          GET     includeSocketInformation
//! /connections/{client}                                          DELETE  cleanSession preventWillMessage
//! /connections/{client}/subscriptions                            GET     nextToken maxResults
//! /connections/{client}/messages                                 POST    topic contentType responseTopic confirmation timeout
//! /endpoint                                                      GET     endpointType
//! ```
//!
//! Paths are split first and decoded then, so a name may hold an encoded `/`. A `+` is a plus, not a space. Parameters
//! that nobody knows are ignored, as AWS does.

mod query;

pub use query::{decode, encode};

use crate::id::{JobId, NameError, ShadowName, ThingName};
use crate::job::DescribeRequest;
use crate::limits::{
    CLIENT_ID_BYTES_MAX, PLANE_DIRECT_TIMEOUT_MAX, PLANE_DIRECT_TIMEOUT_MIN, PLANE_RETAINED_PAGE_MAX,
    PLANE_SHADOWS_PAGE_MAX, PLANE_SHADOWS_PAGE_USUAL, PLANE_SUBSCRIPTIONS_PAGE_MAX,
};
use crate::topic::{JobRef, JobsVerb, ShadowVerb};
use query::Query;
use std::time::Duration;

/// What a request to the data plane asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// GetThingShadow, UpdateThingShadow, DeleteThingShadow.
    Shadow {
        /// Of which thing.
        thing: ThingName,
        /// Which one; absent is the classic one.
        shadow: Option<ShadowName>,
        /// What to do.
        verb: ShadowVerb,
    },
    /// ListNamedShadowsForThing.
    Shadows {
        /// Of which thing.
        thing: ThingName,
        /// Which part.
        page: Page,
    },
    /// The four of `iot-jobs-data`.
    Jobs {
        /// Of which thing.
        thing: ThingName,
        /// What to do.
        verb: JobsVerb,
        /// What the query says; counts for a description.
        describe: DescribeRequest,
    },
    /// Publish.
    Publish {
        /// Where.
        topic: Box<str>,
        /// How.
        wish: Publish,
    },
    /// GetRetainedMessage.
    Retained {
        /// Of which topic.
        topic: Box<str>,
    },
    /// ListRetainedMessages.
    RetainedList {
        /// Which part.
        page: Page,
    },
    /// GetConnection.
    Connection {
        /// The MQTT client id.
        client: Box<str>,
        /// Addresses too.
        with_socket: bool,
    },
    /// DeleteConnection.
    Disconnect {
        /// The MQTT client id.
        client: Box<str>,
        /// Its session ends too.
        clean_session: bool,
        /// Its will is not said.
        prevent_will: bool,
    },
    /// ListSubscriptions.
    Subscriptions {
        /// The MQTT client id.
        client: Box<str>,
        /// Which part.
        page: Page,
    },
    /// SendDirectMessage.
    Direct {
        /// The MQTT client id.
        client: Box<str>,
        /// Under which topic.
        topic: Box<str>,
        /// How.
        wish: Publish,
        /// How long to wait for its PUBACK; absent: not at all.
        confirmation: Option<Duration>,
    },
    /// DescribeEndpoint.
    Endpoint {
        /// For which data, for example `iot:Data-ATS`.
        kind: Box<str>,
    },
}

/// How a message is published; what is said in headers comes beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// At least once.
    pub at_least_once: bool,
    /// Kept for those who subscribe later.
    pub retain: bool,
    /// For example a MIME type.
    pub content_type: Option<Box<str>>,
    /// Where an answer should go.
    pub response_topic: Option<Box<str>>,
    /// After so many seconds nobody needs it any more.
    pub expiry_seconds: Option<u32>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What comes after this one; the beginning when absent.
    pub after: Option<Box<str>>,
    /// At most so many.
    pub size: usize,
}

/// Why a request is no operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// Nothing is served at this path.
    #[error("no operation of the data plane has the path {0:?}")]
    Path(String),
    /// The path takes other methods.
    #[error("this path takes {0}")]
    Method(&'static str),
    /// Something in the request is wrong.
    #[error("{0}")]
    Invalid(String),
}

impl From<NameError> for PlaneError {
    fn from(error: NameError) -> Self {
        Self::Invalid(error.to_string())
    }
}

/// Which API an operation belongs to: what a signature of it has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `iot-data`.
    Data,
    /// `iot-jobs-data`.
    Jobs,
    /// `iot`.
    Control,
}

impl Api {
    /// The service names that a signature may be made for.
    #[must_use]
    pub const fn signing_names(self) -> &'static [&'static str] {
        match self {
            Self::Data => &["iotdata", "iotdevicegateway"],
            Self::Jobs => &["iot-jobs-data"],
            Self::Control => &["iot", "execute-api"],
        }
    }
}

const ROOTS: [&str; 6] = ["things", "api", "topics", "retainedMessage", "connections", "endpoint"];

/// Whether a path is of the data plane.
#[must_use]
pub fn is_plane(path: &str) -> bool {
    let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next());
    first.is_some_and(|first| ROOTS.contains(&first))
}

impl Operation {
    /// Reads a request: the path and the query as they came, without the `?`.
    pub fn parse(method: &str, path: &str, query: &str) -> Result<Self, PlaneError> {
        let segments: Vec<&str> = path.strip_prefix('/').unwrap_or_default().split('/').collect();
        let query = Query::parse(query)?;
        match (method, segments.as_slice()) {
            (_, ["things", thing, "shadow"]) => {
                let verb = match method {
                    "GET" => ShadowVerb::Get,
                    "POST" => ShadowVerb::Update,
                    "DELETE" => ShadowVerb::Delete,
                    _ => return Err(PlaneError::Method("GET, POST, DELETE")),
                };
                let shadow = query.text("name").map(ShadowName::new).transpose()?;
                Ok(Self::Shadow { thing: name(thing)?, shadow, verb })
            }
            ("GET", ["api", "things", "shadow", "ListNamedShadowsForThing", thing]) => {
                let page = query.page("pageSize", PLANE_SHADOWS_PAGE_USUAL, PLANE_SHADOWS_PAGE_MAX)?;
                Ok(Self::Shadows { thing: name(thing)?, page })
            }
            ("GET", ["things", thing, "jobs"]) => Self::jobs(thing, JobsVerb::GetPending),
            (_, ["things", thing, "jobs", job]) => {
                let job = decode(job)?;
                match (method, job.as_str()) {
                    ("PUT", "$next") => Self::jobs(thing, JobsVerb::StartNext),
                    ("GET", job) => {
                        let which = if job == "$next" { JobRef::Next } else { JobRef::Id(JobId::new(job)?) };
                        let describe = DescribeRequest {
                            execution_number: query.number("executionNumber")?,
                            include_job_document: query.flag("includeJobDocument")?,
                            client_token: None,
                        };
                        Ok(Self::Jobs { thing: name(thing)?, verb: JobsVerb::Describe(which), describe })
                    }
                    ("POST", job) => Self::jobs(thing, JobsVerb::Update(JobId::new(job)?)),
                    (_, "$next") => Err(PlaneError::Method("GET, PUT")),
                    _ => Err(PlaneError::Method("GET, POST")),
                }
            }
            ("POST", ["topics", topic @ ..]) => Ok(Self::Publish { topic: rest(topic)?, wish: query.publish()? }),
            ("GET", ["retainedMessage"]) => Ok(Self::RetainedList {
                page: query.page("maxResults", PLANE_RETAINED_PAGE_MAX, PLANE_RETAINED_PAGE_MAX)?,
            }),
            ("GET", ["retainedMessage", topic @ ..]) => Ok(Self::Retained { topic: rest(topic)? }),
            ("GET", ["connections", client]) => {
                let with_socket = query.flag("includeSocketInformation")?.unwrap_or(false);
                Ok(Self::Connection { client: client_id(client)?, with_socket })
            }
            ("DELETE", ["connections", client]) => Ok(Self::Disconnect {
                client: client_id(client)?,
                clean_session: query.flag("cleanSession")?.unwrap_or(false),
                prevent_will: query.flag("preventWillMessage")?.unwrap_or(false),
            }),
            ("GET", ["connections", client, "subscriptions"]) => {
                let page = query.page("maxResults", PLANE_SUBSCRIPTIONS_PAGE_MAX, PLANE_SUBSCRIPTIONS_PAGE_MAX)?;
                Ok(Self::Subscriptions { client: client_id(client)?, page })
            }
            ("POST", ["connections", client, "messages"]) => Self::direct(client, &query),
            ("GET", ["endpoint"]) => {
                Ok(Self::Endpoint { kind: query.text("endpointType").unwrap_or("iot:Data").into() })
            }
            (_, ["things", _, "jobs"])
            | (_, ["api", "things", "shadow", "ListNamedShadowsForThing", _])
            | (_, ["retainedMessage", ..])
            | (_, ["connections", _, "subscriptions"])
            | (_, ["endpoint"]) => Err(PlaneError::Method("GET")),
            (_, ["topics", ..]) | (_, ["connections", _, "messages"]) => Err(PlaneError::Method("POST")),
            (_, ["connections", _]) => Err(PlaneError::Method("GET, DELETE")),
            _ => Err(PlaneError::Path(path.to_owned())),
        }
    }

    fn jobs(thing: &str, verb: JobsVerb) -> Result<Self, PlaneError> {
        Ok(Self::Jobs { thing: name(thing)?, verb, describe: DescribeRequest::default() })
    }

    fn direct(client: &str, query: &Query) -> Result<Self, PlaneError> {
        let topic = query.text("topic").ok_or_else(|| PlaneError::Invalid("the query names no topic".into()))?;
        let seconds = query.number("timeout")?;
        let allowed = PLANE_DIRECT_TIMEOUT_MIN..=PLANE_DIRECT_TIMEOUT_MAX;
        let timeout = seconds.map_or(PLANE_DIRECT_TIMEOUT_MAX, Duration::from_secs);
        if !allowed.contains(&timeout) {
            let (least, most) = (PLANE_DIRECT_TIMEOUT_MIN.as_secs(), PLANE_DIRECT_TIMEOUT_MAX.as_secs());
            return Err(PlaneError::Invalid(format!("timeout is {least} to {most} seconds")));
        }
        let confirmed = query.flag("confirmation")?.unwrap_or(false);
        Ok(Self::Direct {
            client: client_id(client)?,
            topic: topic.into(),
            wish: Publish { at_least_once: true, retain: false, ..query.publish()? },
            confirmation: confirmed.then_some(timeout),
        })
    }

    /// Which API it belongs to.
    #[must_use]
    pub fn api(&self) -> Api {
        match self {
            Self::Jobs { .. } => Api::Jobs,
            Self::Endpoint { .. } => Api::Control,
            _ => Api::Data,
        }
    }

    /// Whether the body of the request counts.
    #[must_use]
    pub fn has_body(&self) -> bool {
        match self {
            Self::Shadow { verb, .. } => *verb == ShadowVerb::Update,
            Self::Jobs { verb, .. } => matches!(verb, JobsVerb::StartNext | JobsVerb::Update(_)),
            Self::Publish { .. } | Self::Direct { .. } => true,
            _ => false,
        }
    }
}

impl Page {
    /// The items of this part, and the token of the next one if there is more. `items` are in the order of their keys.
    #[must_use]
    pub fn of<T>(&self, items: impl IntoIterator<Item = T>, key: impl Fn(&T) -> &str) -> (Vec<T>, Option<String>) {
        let after = self.after.as_deref();
        let mut rest = items.into_iter().filter(|item| after.is_none_or(|after| key(item) > after));
        let part: Vec<T> = rest.by_ref().take(self.size).collect();
        let more = rest.next().is_some();
        let next = part.last().filter(|_| more).map(|last| query::token(key(last)));
        (part, next)
    }
}

fn name(text: &str) -> Result<ThingName, PlaneError> {
    Ok(ThingName::new(decode(text)?)?)
}

fn client_id(text: &str) -> Result<Box<str>, PlaneError> {
    let text = decode(text)?;
    match text.len() {
        1..=CLIENT_ID_BYTES_MAX => Ok(text.into()),
        found => {
            Err(PlaneError::Invalid(format!("a client id has 1 to {CLIENT_ID_BYTES_MAX} bytes, this one {found}")))
        }
    }
}

/// A topic may come as one encoded segment, as SDKs send it, or as it is.
fn rest(segments: &[&str]) -> Result<Box<str>, PlaneError> {
    Ok(decode(&segments.join("/"))?.into())
}

#[cfg(test)]
mod tests;
