//! Job templates.

use super::create::{check_description, check_document, checked};
use crate::records::{JobTemplate, StoredJobTemplate, key};
use crate::service::ServiceError;
use crate::service::fleet::{FleetWorker, ROOM_BYTES, Refused, refuse};
use crate::store::{Key, Kind, codec};
use muster_model::job::template;
use muster_wire::admin::{CreateJobTemplate, JobTemplateList, JobTemplateView, ListJobTemplates, NameJobTemplate};
use muster_wire::id::PersonName;
use muster_wire::job::template_arn;
use muster_wire::rejection::RejectionCode;
use tracing::info;

/// Templates that are read at one go.
const TEMPLATES_READ: usize = 50;

impl FleetWorker {
    pub(in crate::service::fleet) fn create_template(
        &self,
        create: CreateJobTemplate,
        by: &PersonName,
    ) -> Result<JobTemplateView, Refused> {
        let (document, config) = match (create.document, create.job_id) {
            (Some(document), None) => (document, create.config),
            (None, Some(job)) => {
                let job = self.stored_job(&job)?;
                (job.document, job.config)
            }
            _ => return refuse(RejectionCode::Invalid, "a template needs a document, or a job to take it from"),
        };
        check_document(&document)?;
        check_description(Some(&create.description))?;
        if create.description.trim().is_empty() {
            return refuse(RejectionCode::Invalid, "a template needs a description: say what it is for");
        }
        checked(&config)?;
        let key = key::job_template(&create.template);
        if self.shared.store.get(key.as_bytes()).map_err(ServiceError::from)?.is_some() {
            let message = format!("a job template is called {} already; delete it first", create.template);
            return refuse(RejectionCode::Conflict, message);
        }
        let template = JobTemplate {
            id: create.template,
            description: create.description,
            document,
            config,
            by: by.clone(),
            at: self.shared.clock.now(),
        };
        self.commit(|batch| batch.put(&key, &template))?;
        info!(template = %template.id, %by, "job template created");
        Ok(view(&template, true))
    }

    pub(in crate::service::fleet) fn show_template(&self, name: &NameJobTemplate) -> Result<JobTemplateView, Refused> {
        Ok(view(&self.stored_template(&name.template)?, true))
    }

    /// Jobs that were made from it stay as they are.
    pub(in crate::service::fleet) fn delete_template(
        &self,
        name: &NameJobTemplate,
        by: &PersonName,
    ) -> Result<JobTemplateView, Refused> {
        let template = self.stored_template(&name.template)?;
        self.commit(|batch| batch.delete(&key::job_template(&name.template)))?;
        info!(template = %name.template, %by, "job template deleted");
        Ok(view(&template, true))
    }

    pub(in crate::service::fleet) fn list_templates(
        &self,
        list: &ListJobTemplates,
    ) -> Result<JobTemplateList, Refused> {
        let mut page = JobTemplateList { job_templates: Vec::new(), next_token: None };
        let mut room = ROOM_BYTES;
        let mut after = list.after.as_ref().map(|after| key::job_template(after).as_bytes().to_vec());
        loop {
            let prefix = Key::new(Kind::JobTemplate);
            let read = self.shared.store.scan_after(prefix.as_bytes(), after.as_deref(), TEMPLATES_READ);
            let read = read.map_err(ServiceError::from)?;
            let Some((last, _)) = read.last() else { return Ok(page) };
            after = Some(last.clone());
            for (found, stored) in &read {
                let template = codec::decode::<StoredJobTemplate>(found, &stored.value).map_err(ServiceError::from)?;
                let view = view(&template.into(), false);
                let bytes = serde_json::to_vec(&view).map_or(0, |bytes| bytes.len() + 1);
                if bytes > room {
                    page.next_token =
                        page.job_templates.last().map(|last: &JobTemplateView| last.job_template_id.clone());
                    return Ok(page);
                }
                room -= bytes;
                page.job_templates.push(view);
            }
        }
    }
}

fn view(template: &JobTemplate, whole: bool) -> JobTemplateView {
    JobTemplateView {
        job_template_arn: template_arn(&template.id),
        job_template_id: template.id.clone(),
        description: template.description.clone(),
        created_at: template.at.epoch_seconds(),
        parameters: template::parameters(&template.document).into_iter().collect(),
        document: whole.then(|| template.document.clone()),
        config: whole.then(|| template.config.clone()),
    }
}
