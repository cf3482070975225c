//! What the server says: the state of the connection, its shadows, its answers about jobs.

use super::{Agent, Ask};
use crate::brain::requests::ANSWER_DEADLINE;
use crate::link::Said;
use muster_runtime::ids;
use muster_wire::codec::Encoding;
use muster_wire::id::ComponentName;
use muster_wire::job::{ExecutionResponse, JobErrorCode, JobRejected, NotifyNext, UpdateResponse};
use muster_wire::settings::SettingsReport;
use muster_wire::topic::{JobsTopic, JobsVerb, ShadowTopic, ShadowVerb, Topic};
use serde_json::Value;
use std::time::Duration;
use tracing::{debug, warn};

/// The code with which the server says that a shadow would be too large.
const TOO_LARGE: u64 = 413;

impl Agent {
    pub(super) fn hear(&mut self, said: Said) {
        match said {
            Said::Up => self.connected(),
            Said::Down(end) => {
                self.up = false;
                self.parts.standing.down(&end);
                if end.refused {
                    self.shut_out();
                }
                self.requests.clear();
            }
            Said::Identity(trouble) => self.parts.standing.identity(trouble),
            Said::Message { topic, payload } => self.hear_message(&topic, &payload),
        }
    }

    fn connected(&mut self) {
        self.up = true;
        self.requests.clear();
        self.parts.standing.up();
        self.telemetry_at = self.parts.clock.instant();
        self.pull();
        let names: Vec<ComponentName> = self.components.keys().cloned().collect();
        for name in names {
            self.tell_step(&name);
        }
    }

    /// The server has confirmed that it knows us: the way to it works, there and back, and it works with what it hears.
    fn confirmed(&mut self) {
        self.parts.standing.checked_in();
        if !self.is_proven {
            self.is_proven = true;
            self.parts.proven.notify_one();
            if self.parts.settings.on_trial {
                self.parts.settings = SettingsReport { on_trial: false, refused: None, ..self.parts.settings.clone() };
                self.ask(Ask::CheckIn);
            }
        }
    }

    /// Tells everything and asks for everything.
    pub(super) fn pull(&mut self) {
        if !self.requests.is_open(&Ask::CheckIn) {
            self.ask(Ask::CheckIn);
        }
        self.reported.forget();
        self.report();
        self.ask(Ask::Shadow);
        self.tell_ends();
        self.tell_leaving();
        self.ask_for_work();
    }

    fn hear_message(&mut self, topic: &Topic, payload: &[u8]) {
        match topic {
            Topic::Shadow { verb, .. } => self.hear_shadow(*verb, payload),
            Topic::Jobs { verb, .. } => self.hear_jobs(verb, payload),
            _ => debug!(%topic, "a message that was not asked for is ignored"),
        }
    }

    fn hear_shadow(&mut self, verb: ShadowTopic, payload: &[u8]) {
        let Some(answer) = decode::<Value>(payload) else { return };
        let asked = self.requests.answered(answer.get("clientToken").and_then(Value::as_str));
        match (verb, asked) {
            (ShadowTopic::Accepted(ShadowVerb::Get), Some(Ask::Shadow)) => self.compare(&answer),
            (ShadowTopic::Accepted(ShadowVerb::Update), Some(Ask::CheckIn)) => self.confirmed(),
            (ShadowTopic::Rejected(ShadowVerb::Update), Some(Ask::CheckIn)) => {
                let message = answer.get("message").and_then(Value::as_str).unwrap_or_default();
                warn!(message, "the server refuses the check-in");
                self.parts.standing.check_in_refused(message);
                // Overdue after the usual time, and then asked again.
                let now = self.parts.clock.instant();
                self.requests.sent(ids::random_hex::<8>(), Ask::CheckIn, now);
            }
            (ShadowTopic::Rejected(ShadowVerb::Update), Some(Ask::Reports)) => {
                let message = answer.get("message").and_then(Value::as_str);
                warn!(message, "the server refuses the report");
                if answer.get("code").and_then(Value::as_u64) == Some(TOO_LARGE) {
                    let count = self.components.len();
                    self.reports_are_refused(Some(format!("{} ({count} components)", message.unwrap_or_default())));
                }
                self.reported.forget();
                self.report_soon(ANSWER_DEADLINE);
            }
            (ShadowTopic::Accepted(ShadowVerb::Update), Some(Ask::Reports)) => {
                self.gone.clear();
                self.reports_are_refused(None);
            }
            (ShadowTopic::Delta, _) => self.ask_for_work(),
            // No shadow yet, or the answer to somebody else's request.
            _ => {}
        }
    }

    /// All components share one shadow. When they do not fit any more, nobody would know why nothing is heard of them:
    /// the host's own shadow says it.
    fn reports_are_refused(&mut self, why: Option<String>) {
        if self.reports_refused != why {
            self.reports_refused = why;
            self.ask(Ask::CheckIn);
        }
    }

    /// Finds components that the server believes in and the host does not have.
    fn compare(&mut self, shadow: &Value) {
        let Some(reported) = shadow.pointer("/state/reported").and_then(Value::as_object) else { return };
        let names = reported.keys().filter_map(|name| ComponentName::new(name).ok());
        self.gone = names.filter(|name| !self.has(name)).collect();
        if !self.gone.is_empty() {
            self.report_soon(Duration::ZERO);
        }
    }

    fn hear_jobs(&mut self, topic: &JobsTopic, payload: &[u8]) {
        match topic {
            JobsTopic::NotifyNext => {
                let is_work = decode::<NotifyNext>(payload).is_some_and(|notice| notice.execution.is_some());
                if is_work {
                    self.ask_for_work();
                }
            }
            JobsTopic::Accepted(JobsVerb::StartNext) => {
                let Some(answer) = decode::<ExecutionResponse>(payload) else { return };
                self.requests.answered(answer.client_token.as_deref());
                self.parts.standing.no_work(None);
                if let Some(execution) = answer.execution {
                    self.offer(&execution);
                }
            }
            JobsTopic::Accepted(JobsVerb::Update(_)) => {
                let Some(answer) = decode::<UpdateResponse>(payload) else { return };
                if let Some(asked) = self.requests.answered(answer.client_token.as_deref()) {
                    self.settled(&asked);
                    self.ask_for_work();
                }
            }
            JobsTopic::Rejected(verb) => {
                let Some(answer) = decode::<JobRejected>(payload) else { return };
                self.refused(verb, &answer);
            }
            _ => {}
        }
    }

    fn refused(&mut self, verb: &JobsVerb, answer: &JobRejected) {
        use JobErrorCode::{InternalError, RequestThrottled, ResourceNotFound, TerminalStateReached, VersionMismatch};
        let Some(asked) = self.requests.answered(answer.client_token.as_deref()) else { return };
        warn!(?verb, code = ?answer.code, message = answer.message, "the server refuses a request about jobs");
        if answer.code == RequestThrottled {
            self.parts.standing.no_work(Some(answer.message.clone()));
        }
        if matches!(answer.code, InternalError | RequestThrottled | VersionMismatch) {
            // Overdue after the usual time, and then asked again.
            let now = self.parts.clock.instant();
            self.requests.sent(ids::random_hex::<8>(), asked, now);
        } else if asked == Ask::Leaving {
            self.leaving_refused(answer);
        } else {
            // The execution is over or gone, or the server will never take this; there is nobody left to tell.
            self.settled(&asked);
            // After any other refusal the same execution might come straight back; a notice or the next pull will do.
            if matches!(answer.code, TerminalStateReached | ResourceNotFound) {
                self.ask_for_work();
            }
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Option<T> {
    match Encoding::of(payload).decode(payload) {
        Ok(value) => Some(value),
        Err(error) => {
            warn!(%error, "a message of the server is not readable");
            None
        }
    }
}
