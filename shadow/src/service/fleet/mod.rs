//! What concerns the fleet as a whole: operators' requests and enrolment, one at a time.

mod add;
mod ca;
pub(super) mod certificates;
mod components;
mod connectors;
mod edit;
mod enrol;
mod jobs;
mod keys;
mod lifecycle;
pub(super) mod policies;
mod provisioning;
mod recovery;
mod renewal;
mod show;
mod snapshot;
mod streams;
mod tokens;
mod upgrades;

use super::batch::Batch;
use super::timers::wake;
use super::{FleetState, ServiceError, Shared};
use crate::records::{
    Attachment, Connector, Numbering, PolicyRecord, ProvisioningTemplate, Record, Stream, Target, key,
};
use crate::store::{Key, Kind, Store, codec};
use jobs::Courses;
use muster_bus::{Answer, Inbound, Message, Request};
use muster_certs::Role;
use muster_wire::admin::{Reply, ShowCa, TakeSnapshot, Verb};
use muster_wire::codec::Encoding;
use muster_wire::component::PublishedComponent;
use muster_wire::id::PersonName;
use muster_wire::limits::DESCRIPTION_BYTES_MAX;
use muster_wire::rejection::{Rejection, RejectionCode};
use muster_wire::time::Timestamp;
use muster_wire::topic::{CertificateTopic, Topic};
use provisioning::Waiting;
use serde::{Serialize, de::DeserializeOwned};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Reads the fleet's records.
pub(super) fn load(store: &dyn Store) -> Result<FleetState, ServiceError> {
    let mut fleet = FleetState::default();
    for connector in all::<Connector>(store, Kind::Connector)? {
        fleet.connectors.insert(connector.name.clone(), Arc::new(connector));
    }
    fleet.targets = all::<Target>(store, Kind::Target)?.into_iter().map(Arc::new).collect();
    let mut batch = Batch::new(store, Timestamp::default());
    fleet.targets_from = batch.get::<Numbering>(&key::numbering())?.unwrap_or_default().targets_from;
    for component in all::<PublishedComponent>(store, Kind::Component)? {
        fleet.components.insert((component.name.clone(), component.version.clone()), Arc::new(component));
    }
    for policy in all::<PolicyRecord>(store, Kind::Policy)? {
        fleet.policies.insert(policy.name.clone(), Arc::new(policy));
    }
    for stream in all::<Stream>(store, Kind::Stream)? {
        fleet.streams.insert(stream.id.clone(), Arc::new(stream));
    }
    for attachment in all::<Attachment>(store, Kind::Attachment)? {
        fleet.attachments.insert(attachment.thing.clone(), Arc::new(attachment));
    }
    for template in all::<ProvisioningTemplate>(store, Kind::ProvisioningTemplate)? {
        fleet.templates.insert(template.name.clone(), Arc::new(template));
    }
    Ok(fleet)
}

fn all<R: Record>(store: &dyn Store, kind: Kind) -> Result<Vec<R>, ServiceError> {
    let entries = store.scan_all(Key::new(kind).as_bytes())?;
    entries
        .into_iter()
        .map(|(key, stored)| codec::decode::<R::Stored>(&key, &stored.value).map(Into::into).map_err(Into::into))
        .collect()
}

/// Room for the items of a list in one answer; the frame around them takes less than a kilobyte.
const ROOM_BYTES: usize = muster_wire::limits::PAYLOAD_BYTES_MAX - 1024;

/// Why an operator's request ended without a result.
enum Refused {
    /// It is refused; the operator learns why.
    No(Rejection),
    /// The server failed; the log says why.
    Failed(ServiceError),
}

impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error)
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        Self::No(rejection)
    }
}

fn refuse<T>(code: RejectionCode, message: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::No(Rejection::new(code, message)))
}

/// Whether free text of an operator can be stored: others read it on their terminals, so it is one line and steers nothing.
fn check_text(what: &str, text: Option<&str>) -> Result<(), Refused> {
    let Some(text) = text else { return Ok(()) };
    if text.len() > DESCRIPTION_BYTES_MAX {
        let message = format!("the {what} is longer than {DESCRIPTION_BYTES_MAX} bytes");
        return refuse(RejectionCode::TooLarge, message);
    }
    if text.contains(char::is_control) {
        let message = format!("the {what} has control characters; write it as one line of plain text");
        return refuse(RejectionCode::Invalid, message);
    }
    Ok(())
}

/// Serves the fleet as a whole.
pub(super) struct FleetWorker {
    shared: Arc<Shared>,
    courses: RefCell<Courses>,
    waiting: RefCell<Waiting>,
    /// When old tokens were last looked for.
    tokens_swept: Cell<Option<Timestamp>>,
}

impl FleetWorker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, courses: RefCell::default(), waiting: RefCell::default(), tokens_swept: Cell::default() }
    }

    /// The thread's whole life: it ends when the bus is stopped.
    pub(super) fn run(self, mut inbox: mpsc::Receiver<Inbound>) {
        if let Err(error) = self.note_authority() {
            self.shared.report("note the authority", &error);
        }
        if let Err(error) = self.finish_certificates() {
            self.shared.report("finish the renewals of the last run", &error);
        }
        if let Err(error) = self.finish_jobs() {
            self.shared.report("finish the jobs of the last run", &error);
        }
        if let Err(error) = self.finish_enrolments() {
            self.shared.report("finish the enrolments of the last run", &error);
        }
        if let Err(error) = self.finish_provisioning() {
            self.shared.report("finish the registrations of the last run", &error);
        }
        while let Some(inbound) = inbox.blocking_recv() {
            match inbound {
                Inbound::Request(request) => self.request(request),
                Inbound::Enrol { request, peer, reply } => {
                    let outcome = self.enrol(&request, peer);
                    // The host may have hung up; its token is used all the same.
                    let _ = reply.send(outcome.map_err(|refused| self.rejection("enrol a connector", refused)));
                }
                Inbound::Recover { request, peer, reply } => {
                    let outcome = self.recover(&request, peer);
                    // The host may have hung up; it asks again.
                    let _ = reply.send(outcome.map_err(|refused| self.rejection("let a host in again", refused)));
                }
                Inbound::Proven { thing, certificate } => {
                    if let Err(error) = self.certificate_proven(&thing, &certificate) {
                        self.shared.report("note that a certificate is in use", &error);
                    }
                }
                Inbound::Verdict(verdict) => self.hook_spoke(*verdict),
                Inbound::Jobs => self.look_at_jobs(),
                Inbound::Stop => return,
                Inbound::Link(_)
                | Inbound::Assign(_)
                | Inbound::Order(_)
                | Inbound::Retain(_)
                | Inbound::Shadows { .. }
                | Inbound::Wake(_) => {}
            }
        }
    }

    fn request(&self, request: Request) {
        if let Topic::Certificate { thing, verb: CertificateTopic::Request(verb) } = &request.topic {
            let answer = self.certificate_request(thing, *verb, &request);
            return request.connection.answer(request.tag, answer);
        }
        let verb = match &request.topic {
            Topic::Operator { verb } => *verb,
            Topic::Provisioning(topic) => return self.provision(topic.clone(), request),
            topic => {
                warn!(%topic, "a request came to the fleet's worker that does not serve it");
                request.connection.answer(request.tag, Answer::settled());
                return;
            }
        };
        let asked = self.operator(&request).and_then(|by| self.dispatch(verb, &request.payload, &by));
        let reply = match asked {
            Ok(result) => Reply::Ok(result),
            Err(refused) => Reply::Error(self.rejection("serve an operator", refused)),
        };
        let answer = match &request.response {
            Some(to) => {
                let mut message = Message::new(&to.topic, Encoding::Json.encode(&reply));
                message.correlation = to.correlation.clone();
                Answer::with(message)
            }
            None => Answer::settled(),
        };
        request.connection.answer(request.tag, answer);
    }

    fn operator(&self, request: &Request) -> Result<PersonName, Refused> {
        let identity = &request.caller.identity;
        // The door's policy says so already; a second look costs nothing and guards the most powerful requests.
        if identity.role() != Role::Operator {
            return refuse(RejectionCode::Forbidden, "only an operator may ask this");
        }
        PersonName::new(identity.name())
            .or_else(|error| refuse(RejectionCode::Forbidden, format!("the certificate's name is not usable: {error}")))
    }

    fn dispatch(&self, verb: Verb, payload: &[u8], by: &PersonName) -> Result<serde_json::Value, Refused> {
        info!(%verb, %by, "operator");
        match verb {
            Verb::ConnectorAdd => result(self.add_connector(read(payload)?, by)?),
            Verb::ConnectorList => result(self.list_connectors(&read(payload)?)),
            Verb::ConnectorEdit => result(self.edit_connector(read(payload)?, by)?),
            Verb::ConnectorShow => result(self.show_connector(&read(payload)?)?),
            Verb::ConnectorRemove => result(self.remove_connector(&read(payload)?, by)?),
            Verb::ConnectorUninstall => result(self.uninstall_connector(&read(payload)?, by)?),
            Verb::ConnectorDisable => result(self.disable_connector(read(payload)?, by)?),
            Verb::ConnectorEnable => result(self.enable_connector(&read(payload)?, by)?),
            Verb::ConnectorResolve => result(self.resolve_connector(&read(payload)?, by)?),
            Verb::TokenList => result(self.list_tokens(&read(payload)?)?),
            Verb::TokenRevoke => result(self.revoke_token(&read(payload)?, by)?),
            Verb::ComponentPublish => result(self.publish_component(read(payload)?, by)?),
            Verb::ComponentList => result(self.list_components(&read(payload)?)),
            Verb::Upgrade => result(self.upgrade(read(payload)?, by)?),
            Verb::Actions => result(self.list_actions(&read(payload)?)?),
            Verb::CertRevoke => result(self.revoke_certificate(read(payload)?, by)?),
            Verb::CertList => result(self.list_certificates(&read(payload)?)),
            Verb::CaStatus => result(self.ca_status(&read::<ShowCa>(payload)?)),
            Verb::CaRotate => result(self.rotate_ca(&read(payload)?, by)?),
            Verb::CertsExpiring => result(self.expiring(&read(payload)?)),
            Verb::ConnectorRecoveries => result(self.list_recoveries(&read(payload)?)?),
            Verb::ConnectorApprove => result(self.approve_recovery(&read(payload)?, by)?),
            Verb::JobCreate => result(self.create_job(read(payload)?, by)?),
            Verb::JobList => result(self.list_jobs(&read(payload)?)?),
            Verb::JobShow => result(self.show_job(&read(payload)?)?),
            Verb::JobUpdate => result(self.update_job(read(payload)?, by)?),
            Verb::JobCancel => result(self.cancel_job(read(payload)?, by)?),
            Verb::JobDelete => result(self.delete_job(read(payload)?, by)?),
            Verb::JobTargets => result(self.add_job_targets(read(payload)?, by)?),
            Verb::JobExecutions => result(self.list_executions(&read(payload)?)?),
            Verb::JobExecutionCancel => result(self.cancel_execution(read(payload)?)?),
            Verb::JobExecutionDelete => result(self.delete_execution(read(payload)?)?),
            Verb::JobTemplateCreate => result(self.create_template(read(payload)?, by)?),
            Verb::JobTemplateList => result(self.list_templates(&read(payload)?)?),
            Verb::JobTemplateShow => result(self.show_template(&read(payload)?)?),
            Verb::JobTemplateDelete => result(self.delete_template(&read(payload)?, by)?),
            Verb::PolicyAdd => result(self.add_policy(read(payload)?, by)?),
            Verb::PolicyList => result(self.list_policies(&read(payload)?)),
            Verb::PolicyShow => result(self.show_policy(&read(payload)?)?),
            Verb::PolicyDelete => result(self.delete_policy(&read(payload)?, by)?),
            Verb::PolicyAttach => result(self.attach_policy(read(payload)?, true, by)?),
            Verb::PolicyDetach => result(self.attach_policy(read(payload)?, false, by)?),
            Verb::KeyCreate => result(self.create_key(read(payload)?, by)?),
            Verb::KeyList => result(self.list_keys(&read(payload)?)),
            Verb::KeyRevoke => result(self.revoke_key(&read(payload)?, by)?),
            Verb::StreamCreate => result(self.create_stream(read(payload)?, by)?),
            Verb::StreamList => result(self.list_streams(&read(payload)?)),
            Verb::StreamDelete => result(self.delete_stream(&read(payload)?, by)?),
            Verb::TemplateCreate => result(self.create_provisioning_template(read(payload)?, by)?),
            Verb::TemplateList => result(self.list_provisioning_templates(&read(payload)?)),
            Verb::TemplateShow => result(self.show_provisioning_template(&read(payload)?)?),
            Verb::TemplateDelete => result(self.delete_provisioning_template(&read(payload)?, by)?),
            Verb::ClaimCreate => result(self.create_claim(read(payload)?, by)?),
            Verb::ClaimList => result(self.list_claims(&read(payload)?)),
            Verb::ClaimRevoke => result(self.revoke_claim(read(payload)?, by)?),
            Verb::Snapshot => {
                let _: TakeSnapshot = read(payload)?;
                result(self.take_snapshot(by)?)
            }
        }
    }

    fn rejection(&self, doing: &'static str, refused: Refused) -> Rejection {
        match refused {
            Refused::No(rejection) => {
                info!(doing, reason = %rejection, "refused");
                rejection
            }
            Refused::Failed(error) => {
                self.shared.report(doing, &error);
                Rejection::internal()
            }
        }
    }

    /// Runs `write` and makes its writes durable.
    fn commit<T>(&self, write: impl FnOnce(&mut Batch<'_>) -> Result<T, ServiceError>) -> Result<T, ServiceError> {
        let mut batch = Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let value = write(&mut batch)?;
        batch.commit(self.shared.bus.as_ref())?;
        Ok(value)
    }

    fn wake(&self, thing: &muster_wire::id::ThingName) {
        wake(&self.shared, thing);
    }

    /// Connectors that were enrolled, but whose first intents were not all stored when the process ended.
    fn finish_enrolments(&self) -> Result<(), ServiceError> {
        let connectors: Vec<_> = self.shared.fleet().connectors.values().cloned().collect();
        for connector in connectors.iter().filter(|connector| connector.enrolled.is_some()) {
            self.intend_wanted(connector)?;
        }
        Ok(())
    }
}

/// Waits on this thread. `None` when the operating system gives no timer, which it does.
fn block_on<T>(wait: impl Future<Output = T>) -> Option<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    Some(runtime.ok()?.block_on(wait))
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Refused> {
    let payload = if payload.is_empty() { b"{}" } else { payload };
    Encoding::of(payload)
        .decode_explained(payload)
        .or_else(|error| refuse(RejectionCode::Invalid, format!("the request is not understood: {error}")))
}

fn result(value: impl Serialize) -> Result<serde_json::Value, Refused> {
    serde_json::to_value(value).map_err(|error| {
        warn!(%error, "a result has no JSON form");
        Refused::No(Rejection::internal())
    })
}
