//! RegisterThing: with the token that came with it, a certificate becomes that of a connector.
//!
//! Who may become whom: a name that nobody has, or that of a connector that this very template made and that is active.
//! A connector that an operator added, or that another template made, is never taken over: a claim lies in the firmware
//! of many devices, and whoever has it could otherwise be any host of the fleet.

use super::{Claim, No, no, read};
use crate::records::{
    Certificate, CertificateState, Connector, Enrolled, Lifecycle, Ownership, ProvisioningTemplate, key,
};
use crate::service::ServiceError;
use crate::service::fleet::FleetWorker;
use crate::service::hooks::{HookCall, HookReply};
use muster_bus::{HookFailure, Request, Verdict};
use muster_certs::token::Token;
use muster_model::provision::{Override, Registration};
use muster_wire::enrol::HostFacts;
use muster_wire::id::{PersonName, TemplateName};
use muster_wire::provision::{
    HookQuestion, Parameters, ProvisioningErrorCode as Code, RegisterThing, RegisteredThing, provisioning_template_arn,
};
use muster_wire::time::Timestamp;
use muster_wire::topic::{ProvisioningApi, ProvisioningTopic, Topic};
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::{info, warn};

/// A registration whose token is good.
struct Asked {
    claim: Claim,
    template: Arc<ProvisioningTemplate>,
    hash: String,
    ownership: Ownership,
    certificate: Arc<Certificate>,
    parameters: Parameters,
}

impl FleetWorker {
    /// Registers, or returns `None` when a hook is to be asked first.
    pub(super) fn register_or_ask(
        &self,
        template: &TemplateName,
        topic: &ProvisioningTopic,
        request: &Request,
    ) -> Result<Option<Vec<u8>>, No> {
        let asked = self.asked(template, topic, request)?;
        if self.waiting.borrow().asked.contains(&asked.hash) {
            return no(Code::InvalidCertificateOwnershipToken, "The certificate ownership token is in use.");
        }
        if asked.template.hook.is_some() {
            return Ok(None);
        }
        self.register(topic, asked).map(Some)
    }

    /// Hands the question to whoever asks hooks. The fleet's worker does not wait for the answer.
    pub(super) fn ask_hook(&self, topic: &ProvisioningTopic, request: Request) {
        let ProvisioningApi::Register(template) = &topic.api else { return };
        let asked = match self.asked(template, topic, &request) {
            Ok(asked) => asked,
            Err(refused) => return self.say(topic, &request, Err(refused)),
        };
        let url = asked.template.hook.clone().unwrap_or_default();
        let question = HookQuestion {
            claim_certificate_id: asked.claim.certificate.to_string(),
            certificate_id: asked.ownership.certificate.to_string(),
            certificate_pem: asked.ownership.pem,
            template_arn: provisioning_template_arn(template),
            client_id: request.caller.client_id.to_string(),
            parameters: asked.parameters,
        };
        self.waiting.borrow_mut().asked.insert(asked.hash.clone());
        let reply = HookReply { bus: self.shared.bus.clone(), request, hook: url.as_str().into() };
        if let Err(call) = self.shared.config.hooks.ask(Box::new(HookCall { url, question, reply })) {
            self.waiting.borrow_mut().asked.remove(&asked.hash);
            let busy = no(Code::Throttling, "too many devices wait for the hook of the template; try again later");
            self.say(topic, &call.reply.request, busy);
        }
    }

    /// The hook has spoken. Everything is looked at anew: it may have taken its time.
    pub(in crate::service::fleet) fn hook_spoke(&self, verdict: Verdict) {
        let Verdict { request, hook, said } = verdict;
        let Topic::Provisioning(topic) = request.topic.clone() else { return };
        let ProvisioningApi::Register(template) = &topic.api else { return };
        let done = self.asked(template, &topic, &request).and_then(|mut asked| {
            self.waiting.borrow_mut().asked.remove(&asked.hash);
            if asked.template.hook.as_deref() != Some(&*hook) {
                return no(Code::AccessDenied, "the template was changed; try again");
            }
            match said {
                Ok(answer) if answer.allow_provisioning => asked.parameters.extend(answer.parameter_overrides),
                Ok(_) => return no(Code::AccessDenied, "the hook of the template did not allow it"),
                Err(failure) => {
                    let (what, told) = match &failure {
                        HookFailure::Silent(_) => ("silent", "the hook of the template did not answer"),
                        HookFailure::Unusable(_) => ("unusable", "the answer of the template's hook is not usable"),
                    };
                    warn!(%template, what, why = failure.why(), "the hook of a template failed");
                    return no(Code::AccessDenied, told);
                }
            }
            self.register(&topic, asked)
        });
        self.say(&topic, &request, done);
    }

    /// Checks the claim and the token. Nothing is changed.
    fn asked(&self, template: &TemplateName, topic: &ProvisioningTopic, request: &Request) -> Result<Asked, No> {
        let claim = self.claim(request)?;
        if claim.name.template != *template {
            return no(Code::AccessDenied, "the claim is for another template");
        }
        let template = self.template_of(template)?;
        let asked: RegisterThing = read(topic, &request.payload)?;
        let bad = |why: &str| no(Code::InvalidCertificateOwnershipToken, why);
        if asked.certificate_ownership_token.is_empty() {
            return bad("Certificate ownership token cannot be empty.");
        }
        // One answer for every token that is not good: which of them it is helps only somebody who tries.
        let not_good = "The certificate ownership token is not valid, was used or has expired.";
        let Ok(token) = asked.certificate_ownership_token.parse::<Token>() else { return bad(not_good) };
        let hash = token.hash().to_string();
        let mut batch = crate::service::batch::Batch::new(self.shared.store.as_ref(), self.shared.clock.now());
        let Some(ownership) = batch.get::<Ownership>(&key::ownership(&hash))? else { return bad(not_good) };
        let is_in_time = self.shared.clock.now() < ownership.expires_at;
        let certificate = self.shared.config.admission.get(&ownership.certificate);
        let unused = certificate.filter(|known| matches!(known.state, CertificateState::Awaiting { .. }) && is_in_time);
        match unused {
            Some(certificate) if ownership.claim == claim.certificate => {
                Ok(Asked { claim, template, hash, ownership, certificate, parameters: asked.parameters })
            }
            _ => bad(not_good),
        }
    }

    fn register(&self, topic: &ProvisioningTopic, asked: Asked) -> Result<Vec<u8>, No> {
        let Asked { claim, template, hash, ownership, certificate, parameters } = asked;
        let made = match self.parsed(&template)?.register(&parameters, certificate.id.as_str()) {
            Ok(made) => made,
            Err(why) => return no(Code::InvalidParameters, why.to_string()),
        };
        let policy = made.policy.as_deref().map(|name| (name, self.policy_called(name)));
        if let Some((name, None)) = policy {
            return no(Code::ResourceNotFound, format!("no policy is called {name:?}"));
        }
        let is_new = !self.shared.fleet().connectors.contains_key(&made.name);
        let Some(identity) = self.shared.thing_identity(&made.name) else {
            return no(Code::InvalidParameters, format!("{} is no name of a connector", made.name));
        };
        let now = self.shared.clock.now();
        let connector = self.connector_of(&claim, &template.name, &made, &certificate, now)?;
        // From here on the token is used, whatever happens.
        let registering = Certificate { state: CertificateState::Registering, ..certificate.as_ref().clone() };
        self.put_certificates(vec![registering.clone()])?;
        self.waiting.borrow_mut().remove(ownership.expires_at, &hash);
        // Before there is a connector that could do more. What an operator gave to one that is there stays.
        if let Some(policy) = policy.and_then(|(_, policy)| policy).filter(|_| is_new) {
            let policies = BTreeSet::from([policy]);
            self.set_policies(vec![(made.name.clone(), policies)], &connector.registered_by)?;
        }
        self.commit(|batch| batch.put(&key::connector(&made.name), &connector))?;
        self.know(connector.clone());
        let state = CertificateState::Pending;
        self.put_certificates(vec![Certificate { identity: Some(identity), state, ..registering }])?;
        self.commit(|batch| batch.delete(&key::ownership(&hash)))?;
        info!(connector = %made.name, claim = %claim.name, certificate = %certificate.id, "connector provisioned");
        if let Err(error) = self.intend_wanted(&connector) {
            // The device has its identity; the intents are stored at the next start.
            self.shared.report("store the first intents of a connector", &error);
        }
        self.wake(&made.name);
        let device_configuration = made.device_configuration;
        Ok(topic.format.encode(&RegisteredThing { thing_name: made.name, device_configuration }))
    }

    /// The connector that the device becomes.
    fn connector_of(
        &self,
        claim: &Claim,
        template: &TemplateName,
        made: &Registration,
        certificate: &Certificate,
        now: Timestamp,
    ) -> Result<Connector, No> {
        let conflict = |why: String| no(Code::ResourceConflict, why);
        let enrolled =
            Some(Enrolled { at: now, certificate_id: certificate.id.to_string(), host: HostFacts::default() });
        let by = PersonName::new(format!("claim:{}", claim.name)).expect("both halves have the letters of a name");
        let known = self.shared.fleet().connectors.get(&made.name).cloned();
        let Some(known) = known else {
            let reason = Some(format!("the template {template} makes connectors that an operator lets in"));
            return Ok(Connector {
                pool: made.pool.clone(),
                site: made.site.clone(),
                description: made.description.clone(),
                attributes: made.attributes.clone(),
                wanted: made.components.clone(),
                enrolled,
                incarnation: 1,
                provisioned_by: Some(template.clone()),
                lifecycle: match made.active {
                    true => Lifecycle::Active,
                    false => Lifecycle::Disabled { at: now, by: by.clone(), reason },
                },
                ..Connector::new(made.name.clone(), by, now)
            });
        };
        if known.provisioned_by.as_ref() != Some(template) {
            return conflict(format!("{} is there already and was not made by this template", made.name));
        }
        if !known.is_managed() {
            return no(Code::AccessDenied, format!("{} was disabled or removed by an operator", made.name));
        }
        let overrides = made.overrides;
        if !made.active || [overrides.pool, overrides.attributes].contains(&Override::Refuse) {
            return conflict(format!("{} is there already", made.name));
        }
        let mut connector =
            Connector { enrolled, incarnation: known.incarnation + 1, uninstall: None, ..known.as_ref().clone() };
        match overrides.pool {
            Override::Keep | Override::Refuse => {}
            Override::Merge => connector.pool = connector.pool.or_else(|| made.pool.clone()),
            Override::Replace => connector.pool.clone_from(&made.pool),
        }
        match overrides.attributes {
            Override::Keep | Override::Refuse => {}
            Override::Merge => {
                connector.site = made.site.clone().or(connector.site);
                connector.description = made.description.clone().or(connector.description);
                connector.attributes.extend(made.attributes.clone());
            }
            Override::Replace => {
                connector.site.clone_from(&made.site);
                connector.description.clone_from(&made.description);
                connector.attributes.clone_from(&made.attributes);
            }
        }
        Ok(connector)
    }

    /// A crash came between the token's use and the end: finishes when the connector is there. Returns whether it is.
    pub(super) fn finish_registration(&self, certificate: &Certificate) -> Result<bool, ServiceError> {
        let is_its = |connector: &&Arc<Connector>| {
            connector.enrolled.as_ref().is_some_and(|enrolled| enrolled.certificate_id == certificate.id.as_str())
        };
        let connector = self.shared.fleet().connectors.values().find(is_its).cloned();
        let identity = connector.and_then(|connector| self.shared.thing_identity(&connector.name));
        let Some(identity) = identity else { return Ok(false) };
        info!(connector = identity.name(), certificate = %certificate.id, "a registration is finished");
        let state = CertificateState::Pending;
        self.put_certificates(vec![Certificate { identity: Some(identity), state, ..certificate.clone() }])?;
        Ok(true)
    }
}
