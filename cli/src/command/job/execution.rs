//! `muster job executions` and `muster job execution`.

use super::show;
use crate::args::{ExecutionCancelArgs, ExecutionDeleteArgs, JobExecutionsArgs};
use crate::client::Operator;
use crate::command::{Run, connector};
use crate::context::Context;
use crate::error::CliError;
use crate::output::Output;
use muster_wire::admin::{CancelExecution, DeleteExecution, ExecutionChanged, ExecutionList, ListExecutions, Verb};
use muster_wire::job::ExecutionDescription;

impl Run for JobExecutionsArgs {
    fn describe(&self) -> String {
        "list executions".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let question = ListExecutions { job_id: self.id, thing: self.thing, status: self.status, after: None };
        let mut executions = all(&mut operator, question).await?;
        let meant = connector::meant(&mut operator, self.meant.to).await?;
        executions.retain(|one| meant.has(show::bare(&one.thing_arn)));
        operator.close().await;
        let text = if executions.is_empty() { "no executions".to_owned() } else { show::executions(&executions) };
        Ok(Output::new(&ExecutionList { execution_summaries: executions, next_token: None }, text))
    }
}

/// Every page of an answer.
///
/// Errors: `Refused`, `Unreachable`.
pub async fn all(operator: &mut Operator, mut question: ListExecutions) -> Result<Vec<ExecutionDescription>, CliError> {
    let mut executions = Vec::new();
    loop {
        let page: ExecutionList = operator.call(Verb::JobExecutions, &question).await?;
        executions.extend(page.execution_summaries);
        match page.next_token {
            Some(next) => question.after = Some(next),
            None => return Ok(executions),
        }
    }
}

impl Run for ExecutionCancelArgs {
    fn describe(&self) -> String {
        format!("cancel job {} on {}", self.id, self.thing)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request = CancelExecution {
            job_id: self.id,
            thing: self.thing,
            force: self.force,
            expected_version: self.expected_version,
            status_details: (!self.detail.is_empty()).then(|| self.detail.into_iter().collect()),
        };
        let mut operator = cx.connect().await?;
        let changed: ExecutionChanged = operator.call(Verb::JobExecutionCancel, &request).await?;
        operator.close().await;
        let text = show::executions(std::slice::from_ref(&changed.execution));
        Ok(Output::new(&changed, text))
    }
}

impl Run for ExecutionDeleteArgs {
    fn describe(&self) -> String {
        format!("delete the execution of job {} on {}", self.id, self.thing)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request =
            DeleteExecution { job_id: self.id, thing: self.thing, execution_number: self.number, force: self.force };
        let mut operator = cx.connect().await?;
        let changed: ExecutionChanged = operator.call(Verb::JobExecutionDelete, &request).await?;
        operator.close().await;
        let number = changed.execution.execution_number;
        Ok(Output::new(&changed, format!("execution {number} of job {} deleted", changed.execution.job_id)))
    }
}
