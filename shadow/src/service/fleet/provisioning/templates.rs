//! Provisioning templates: made, listed, shown, deleted.

use super::{No, no};
use crate::records::{ProvisioningTemplate, key};
use crate::service::fleet::{FleetWorker, Refused, check_text, refuse};
use muster_model::provision::Template;
use muster_wire::admin::{CreateTemplate, ListTemplates, NameTemplate, TemplateList, TemplateParameter, TemplateView};
use muster_wire::id::{PersonName, TemplateName};
use muster_wire::limits::{HOOK_URL_BYTES_MAX, PROVISIONING_TEMPLATES_MAX};
use muster_wire::policy::PolicyName;
use muster_wire::provision::ProvisioningErrorCode;
use muster_wire::rejection::{Rejection, RejectionCode};
use std::sync::Arc;
use tracing::{error, info};

impl FleetWorker {
    pub(in crate::service::fleet) fn create_provisioning_template(
        &self,
        create: CreateTemplate,
        by: &PersonName,
    ) -> Result<TemplateView, Refused> {
        let invalid = |message: String| refuse(RejectionCode::Invalid, message);
        let template = match Template::read(&create.document) {
            Ok(template) => template,
            Err(error) => return invalid(error.to_string()),
        };
        check_text("description", create.description.as_deref())?;
        if let Some(problem) = create.hook.as_deref().and_then(bad_hook) {
            return invalid(problem);
        }
        if let Some(policy) = template.fixed_policy().filter(|policy| self.policy_called(policy).is_none()) {
            let message = format!("no policy is called {policy:?}; `muster policy list` shows all");
            return refuse(RejectionCode::NotFound, message);
        }
        let (known, count) = {
            let fleet = self.shared.fleet();
            for (component, version) in template.components() {
                fleet.published(component, version)?;
            }
            (fleet.templates.contains_key(&create.template), fleet.templates.len())
        };
        if known && !create.replace {
            let message = format!("a template is called {} already; `--replace` changes it", create.template);
            return refuse(RejectionCode::Conflict, message);
        }
        if !known && count >= PROVISIONING_TEMPLATES_MAX {
            let message = format!("there are {count} templates, as many as there may be; delete one first");
            return refuse(RejectionCode::TooLarge, message);
        }
        let record = ProvisioningTemplate {
            name: create.template,
            document: create.document.to_string(),
            description: create.description,
            hook: create.hook,
            by: by.clone(),
            at: self.shared.clock.now(),
        };
        self.commit(|batch| batch.put(&key::template(&record.name), &record))?;
        info!(template = %record.name, %by, replaced = known, "provisioning template made");
        let view = view(&record, true)?;
        self.shared.fleet_mut().templates.insert(record.name.clone(), Arc::new(record));
        Ok(view)
    }

    pub(in crate::service::fleet) fn list_provisioning_templates(&self, _: &ListTemplates) -> TemplateList {
        let records: Vec<_> = self.shared.fleet().templates.values().cloned().collect();
        // One that cannot be read was written by a newer program: `show` says so.
        TemplateList { templates: records.iter().filter_map(|record| view(record, false).ok()).collect() }
    }

    pub(in crate::service::fleet) fn show_provisioning_template(
        &self,
        name: &NameTemplate,
    ) -> Result<TemplateView, Refused> {
        Ok(view(self.known_template(&name.template)?.as_ref(), true)?)
    }

    /// Its claims are revoked first: a later template of the same name must not find them good.
    pub(in crate::service::fleet) fn delete_provisioning_template(
        &self,
        name: &NameTemplate,
        by: &PersonName,
    ) -> Result<TemplateView, Refused> {
        let record = self.known_template(&name.template)?;
        let claims = self.revoke_claims_of(&record.name, by)?;
        self.commit(|batch| batch.delete(&key::template(&record.name)))?;
        self.shared.fleet_mut().templates.remove(&record.name);
        info!(template = %record.name, %by, claims, "provisioning template deleted, and its claims revoked");
        Ok(view(&record, true)?)
    }

    pub(super) fn known_template(&self, name: &TemplateName) -> Result<Arc<ProvisioningTemplate>, Refused> {
        let known = self.shared.fleet().templates.get(name).cloned();
        let message = || format!("no template is called {name}; `muster template list` shows all");
        known.ok_or_else(|| Rejection::new(RejectionCode::NotFound, message()).into())
    }

    /// The template that a device may use.
    pub(super) fn template_of(&self, name: &TemplateName) -> Result<Arc<ProvisioningTemplate>, No> {
        match self.shared.fleet().templates.get(name).cloned() {
            Some(template) => Ok(template),
            None => no(ProvisioningErrorCode::ResourceNotFound, format!("no template is called {name}")),
        }
    }

    /// The policy of this name, if there is one.
    pub(super) fn policy_called(&self, name: &str) -> Option<PolicyName> {
        PolicyName::new(name).ok().filter(|name| self.is_policy_known(name))
    }

    /// What a template says.
    pub(super) fn parsed(&self, record: &ProvisioningTemplate) -> Result<Template, No> {
        parse(record).or_else(|_| no(ProvisioningErrorCode::InternalFailure, "the server failed; its log says why"))
    }
}

fn parse(record: &ProvisioningTemplate) -> Result<Template, Rejection> {
    let unusable = |error: String| {
        error!(template = %record.name, error, "a stored template cannot be used");
        Rejection::internal()
    };
    let document = serde_json::from_str(&record.document).map_err(|error| unusable(error.to_string()))?;
    Template::read(&document).map_err(|error| unusable(error.to_string()))
}

fn view(record: &ProvisioningTemplate, whole: bool) -> Result<TemplateView, Rejection> {
    let template = parse(record)?;
    let parameter = |(name, default): (&str, Option<&str>)| TemplateParameter {
        name: name.to_owned(),
        default: default.map(str::to_owned),
    };
    Ok(TemplateView {
        name: record.name.clone(),
        description: record.description.clone(),
        hook: record.hook.clone(),
        parameters: template.parameters().map(parameter).collect(),
        ignored: template.ignored().to_vec(),
        created_at: record.at,
        created_by: record.by.clone(),
        document: if whole { serde_json::from_str(&record.document).ok() } else { None },
    })
}

/// Why a text is not the address of a hook. Whether anybody answers there is found out when a device comes.
fn bad_hook(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("the hook must begin with https:// or http://".to_owned());
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') {
        return Some("the hook must name a host, without user and password".to_owned());
    }
    let sound = url.len() <= HOOK_URL_BYTES_MAX && url.bytes().all(|b| matches!(b, b'!'..=b'~')) && !url.contains('#');
    (!sound).then(|| format!("the hook must have at most {HOOK_URL_BYTES_MAX} bytes of printable ASCII, and no #"))
}
