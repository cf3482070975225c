//! `muster job template`.

use super::{read_document, show};
use crate::args::{TemplateCreateArgs, TemplateDeleteArgs, TemplateListArgs, TemplateShowArgs};
use crate::command::{Run, course};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Output, Table};
use muster_wire::admin::{
    CreateJobTemplate, JobTemplateList, JobTemplateView, ListJobTemplates, NameJobTemplate, Verb,
};

impl Run for TemplateCreateArgs {
    fn describe(&self) -> String {
        format!("create job template {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let document = self.document.as_deref().map(read_document).transpose()?;
        let request = CreateJobTemplate {
            template: self.id,
            description: self.description,
            document,
            job_id: self.from_job,
            config: course::config(&self.rules, &self.schedule, false),
        };
        let mut operator = cx.connect().await?;
        let made: JobTemplateView = operator.call(Verb::JobTemplateCreate, &request).await?;
        operator.close().await;
        let wants = match made.parameters.as_slice() {
            [] => "without parameters".to_owned(),
            names => format!("with --param {}=…", names.join("=… --param ")),
        };
        Ok(Output::new(&made, format!("job template {} made; use it {wants}", made.job_template_id)))
    }
}

impl Run for TemplateListArgs {
    fn describe(&self) -> String {
        "list job templates".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut templates: Vec<JobTemplateView> = Vec::new();
        let mut question = ListJobTemplates::default();
        loop {
            let page: JobTemplateList = operator.call(Verb::JobTemplateList, &question).await?;
            templates.extend(page.job_templates);
            match page.next_token {
                Some(next) => question.after = Some(next),
                None => break,
            }
        }
        operator.close().await;
        let text = if templates.is_empty() { "no job templates".to_owned() } else { table(&templates) };
        Ok(Output::new(&JobTemplateList { job_templates: templates, next_token: None }, text))
    }
}

impl Run for TemplateShowArgs {
    fn describe(&self) -> String {
        format!("show job template {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let shown: JobTemplateView =
            operator.call(Verb::JobTemplateShow, &NameJobTemplate { template: self.id }).await?;
        operator.close().await;
        let config = serde_json::to_string_pretty(&shown.config).unwrap_or_default();
        let document = serde_json::to_string_pretty(&shown.document).unwrap_or_default();
        let text = format!("{}\n{config}\n\n{document}", table(std::slice::from_ref(&shown)));
        Ok(Output::new(&shown, text))
    }
}

impl Run for TemplateDeleteArgs {
    fn describe(&self) -> String {
        format!("delete job template {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let gone: JobTemplateView =
            operator.call(Verb::JobTemplateDelete, &NameJobTemplate { template: self.id }).await?;
        operator.close().await;
        Ok(Output::new(&gone, format!("job template {} deleted", gone.job_template_id)))
    }
}

fn table(templates: &[JobTemplateView]) -> String {
    let mut table = Table::new(&["TEMPLATE", "CREATED", "PARAMETERS", "DESCRIPTION"]);
    for template in templates {
        table.row([
            template.job_template_id.to_string(),
            show::time(template.created_at),
            template.parameters.join(" "),
            template.description.clone(),
        ]);
    }
    table.to_string()
}
