//! `muster job`: jobs of the operator's own making.

use super::Run;
use crate::args::JobCreateArgs;
use crate::context::Context;
use crate::error::CliError;
use crate::output::Output;
use muster_wire::admin::{CreateJob, CreatedJob, Verb};
use muster_wire::limits::JOB_DOCUMENT_BYTES_MAX;
use std::fs;

impl Run for JobCreateArgs {
    fn describe(&self) -> String {
        format!("create job {}", self.id)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let file = self.document.display();
        let text = fs::read(&self.document)
            .map_err(|error| CliError::local_because(format!("cannot read the job document {file}"), error))?;
        if text.len() > JOB_DOCUMENT_BYTES_MAX {
            return Err(CliError::local(format!(
                "the job document {file} has {} bytes; at most {JOB_DOCUMENT_BYTES_MAX} are allowed",
                text.len()
            )));
        }
        let document = serde_json::from_slice(&text)
            .map_err(|error| CliError::local_because(format!("the job document {file} is not a JSON object"), error))?;
        let request = CreateJob { job_id: self.id, targets: self.to_things, document };
        let mut operator = cx.connect().await?;
        let created: CreatedJob = operator.call(Verb::JobCreate, &request).await?;
        operator.close().await;
        Ok(Output::new(&created, format!("job {} made for {} things", created.job_id, created.executions)))
    }
}
