//! What is said to the server: questions that are asked until they are answered, reports of what has changed.

use super::{Agent, Ask};
use crate::brain::record::cut;
use crate::host::facts;
use crate::link::Outgoing;
use crate::reports;
use muster_runtime::ids;
use muster_wire::codec::Encoding;
use muster_wire::component::DETAIL_REASON;
use muster_wire::enrol::HostFacts;
use muster_wire::id::{JobId, ShadowName};
use muster_wire::job::{JobStatus, StartNextRequest, StatusDetails, UpdateRequest};
use muster_wire::shadow;
use muster_wire::topic::{JobsTopic, JobsVerb, ShadowTopic, ShadowVerb, Topic};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tracing::debug;

impl Agent {
    pub(super) fn ask(&mut self, ask: Ask) {
        if !self.up {
            return;
        }
        let token = ids::random_hex::<8>();
        match &ask {
            Ask::CheckIn => {
                let (labels, settings) = (self.parts.labels.clone(), Some(self.parts.settings.clone()));
                let facts = HostFacts { labels, settings, ..facts::collect(&self.start_id) };
                let mut update = json!({ "state": { "reported": facts }, "clientToken": token });
                // Absent members of a shadow stay as they are: what could not be counted is taken away.
                update["state"]["reported"]["reports_refused"] = json!(self.reports_refused);
                update["state"]["reported"]["installation"] = json!(self.parts.counter.begun());
                self.send_shadow(shadow::agent(), ShadowVerb::Update, &update);
            }
            Ask::Reports => {}
            Ask::Shadow => {
                self.send_shadow(shadow::components(), ShadowVerb::Get, &json!({ "clientToken": token }));
            }
            Ask::StartNext => {
                let request = StartNextRequest { client_token: Some(token.clone()), ..StartNextRequest::default() };
                self.send_jobs(JobsVerb::StartNext, &request);
            }
            Ask::Leaving => {
                let Some(removal) = &self.removal else { return };
                let Some(order) = removal.order.clone() else { return };
                let (status, details) = removal.end();
                self.send_update(&order.job, order.execution, status, details, token.clone());
            }
            Ask::End { component, job, execution } => {
                let end = self.record(component).and_then(|record| {
                    record.finished.into_iter().find(|end| end.job == *job && end.execution == *execution)
                });
                let Some(end) = end else { return };
                self.send_update(job, *execution, end.status, end.details, token.clone());
            }
            Ask::Refusal { job, execution, why } => {
                let details = [(DETAIL_REASON.to_owned(), cut(why, 1000))].into();
                self.send_update(job, *execution, JobStatus::Rejected, details, token.clone());
            }
        }
        self.requests.sent(token, ask, self.parts.clock.instant());
    }

    pub(super) fn report_soon(&mut self, wait: Duration) {
        let at = self.parts.clock.instant() + wait;
        self.report_at = Some(self.report_at.map_or(at, |already| already.min(at)));
    }

    /// Tells what has changed since the last report.
    pub(super) fn report(&mut self) {
        self.report_at = None;
        if !self.up {
            return;
        }
        let now = self.parts.clock.instant();
        self.reported_at = now;
        let mut reported = Map::new();
        for (name, component) in &self.components {
            let last_failed = component.journal.read().last_failed;
            let report = reports::of(&component.home, &component.supervisor.status().borrow(), last_failed, now);
            if let Some(value) = self.reported.news(name, report) {
                reported.insert(name.to_string(), value);
            }
        }
        for name in self.gone.iter().filter(|name| !self.has(name)) {
            reported.entry(name.as_str()).or_insert(Value::Null);
        }
        if reported.is_empty() {
            return;
        }
        let token = ids::random_hex::<8>();
        let update = json!({ "state": { "reported": reported }, "clientToken": token });
        if self.send_shadow(shadow::components(), ShadowVerb::Update, &update) {
            self.requests.sent(token, Ask::Reports, now);
        } else {
            self.reported.forget();
            self.report_soon(Duration::from_secs(1));
        }
    }

    pub(super) fn send_shadow(&mut self, shadow: ShadowName, verb: ShadowVerb, payload: &Value) -> bool {
        let thing = self.parts.thing.clone();
        self.send(Topic::Shadow { thing, shadow: Some(shadow), verb: ShadowTopic::Request(verb) }, payload, true)
    }

    fn send_jobs(&mut self, verb: JobsVerb, payload: &impl Serialize) {
        let thing = self.parts.thing.clone();
        self.send(Topic::Jobs { thing, verb: JobsTopic::Request(verb) }, payload, true);
    }

    pub(super) fn send_update(
        &mut self,
        job: &JobId,
        execution: u64,
        status: JobStatus,
        details: StatusDetails,
        token: String,
    ) {
        let request = UpdateRequest {
            status,
            status_details: Some(details),
            expected_version: None,
            execution_number: Some(execution),
            include_job_execution_state: None,
            include_job_document: None,
            step_timeout_in_minutes: None,
            client_token: Some(token),
        };
        self.send_jobs(JobsVerb::Update(job.clone()), &request);
    }

    /// Hands a message to the link. A full queue loses it; whoever needs an answer asks again.
    pub(super) fn send(&mut self, topic: Topic, payload: &impl Serialize, acknowledged: bool) -> bool {
        let outgoing = Outgoing { topic, payload: Encoding::Cbor.encode(payload), acknowledged };
        let sent = self.up && self.parts.outbox.try_send(outgoing).is_ok();
        if !sent {
            debug!("a message was not sent");
        }
        sent
    }
}
