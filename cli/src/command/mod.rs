//! One file for each noun. A command is its arguments, already checked; it says what it does, and does it.

mod action;
mod add;
mod allowlist;
mod backup;
mod ca;
mod cert;
mod certs;
mod component;
mod connector;
pub mod course;
mod diagnosis;
mod edit;
mod init;
mod job;
mod key;
mod lifecycle;
mod listing;
mod policy;
mod provision;
mod recovery;
mod remove;
mod restore;
mod script;
mod serve;
mod stream;
mod token;
mod upgrade;
mod watch;
mod whom;

pub use add::{add, default_pool};
pub use component::publish;
pub use connector::list;
pub use init::{Init, init};
pub use watch::view_filter;

use crate::args::{
    CaCommand, CertCommand, CertsCommand, ClaimCommand, Command, ComponentCommand, ConnectorCommand, ExecutionCommand,
    JobCommand, KeyCommand, PolicyCommand, ProvisioningTemplateCommand, StreamCommand, TemplateCommand, TokenCommand,
};
use crate::error::CliError;
use crate::output::{Output, say_aside};
use std::process::ExitCode;

/// A command that can be run.
pub trait Run {
    /// What it does, to be read after "cannot": `list connectors`.
    fn describe(&self) -> String;

    /// Whether the result is wanted as JSON.
    fn json(&self) -> bool;

    /// Does it.
    fn run(self) -> impl Future<Output = Result<Output, CliError>>;
}

/// Runs a command, prints its result and returns its exit code.
pub async fn perform(command: Command) -> ExitCode {
    match command {
        Command::Init(args) => finish(args).await,
        Command::Serve(args) => finish(args).await,
        Command::Connector(ConnectorCommand::Add(args)) => finish(*args).await,
        Command::Connector(ConnectorCommand::List(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Show(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Edit(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Remove(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Disable(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Enable(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Resolve(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Recoveries(args)) => finish(args).await,
        Command::Connector(ConnectorCommand::Approve(args)) => finish(args).await,
        Command::Token(TokenCommand::List(args)) => finish(args).await,
        Command::Token(TokenCommand::Revoke(args)) => finish(args).await,
        Command::Allowlist(args) => finish(args).await,
        Command::Component(ComponentCommand::Publish(args)) => finish(args).await,
        Command::Component(ComponentCommand::List(args)) => finish(args).await,
        Command::Upgrade(args) => finish(args).await,
        Command::Actions(args) => finish(args).await,
        Command::Watch(args) => finish(args).await,
        Command::Job(JobCommand::Create(args)) => finish(*args).await,
        Command::Job(JobCommand::List(args)) => finish(args).await,
        Command::Job(JobCommand::Show(args)) => finish(args).await,
        Command::Job(JobCommand::Update(args)) => finish(args).await,
        Command::Job(JobCommand::Cancel(args)) => finish(args).await,
        Command::Job(JobCommand::Delete(args)) => finish(args).await,
        Command::Job(JobCommand::AddTargets(args)) => finish(args).await,
        Command::Job(JobCommand::Executions(args)) => finish(args).await,
        Command::Job(JobCommand::Execution(ExecutionCommand::Cancel(args))) => finish(args).await,
        Command::Job(JobCommand::Execution(ExecutionCommand::Delete(args))) => finish(args).await,
        Command::Job(JobCommand::Template(TemplateCommand::Create(args))) => finish(*args).await,
        Command::Job(JobCommand::Template(TemplateCommand::List(args))) => finish(args).await,
        Command::Job(JobCommand::Template(TemplateCommand::Show(args))) => finish(args).await,
        Command::Job(JobCommand::Template(TemplateCommand::Delete(args))) => finish(args).await,
        Command::Stream(StreamCommand::Create(args)) => finish(args).await,
        Command::Stream(StreamCommand::List(args)) => finish(args).await,
        Command::Stream(StreamCommand::Delete(args)) => finish(args).await,
        Command::Policy(PolicyCommand::List(args)) => finish(args).await,
        Command::Policy(PolicyCommand::Show(args)) => finish(args).await,
        Command::Policy(PolicyCommand::Add(args)) => finish(args).await,
        Command::Policy(PolicyCommand::Delete(args)) => finish(args).await,
        Command::Policy(PolicyCommand::Attach(args)) => finish(policy::Attach(args)).await,
        Command::Policy(PolicyCommand::Detach(args)) => finish(policy::Detach(args)).await,
        Command::Cert(CertCommand::Issue(args)) => finish(args).await,
        Command::Cert(CertCommand::List(args)) => finish(args).await,
        Command::Cert(CertCommand::Renew(args)) => finish(args).await,
        Command::Cert(CertCommand::Revoke(args)) => finish(args).await,
        Command::Key(KeyCommand::Create(args)) => finish(args).await,
        Command::Key(KeyCommand::List(args)) => finish(args).await,
        Command::Key(KeyCommand::Revoke(args)) => finish(args).await,
        Command::Certs(CertsCommand::Expiring(args)) => finish(args).await,
        Command::Ca(CaCommand::Status(args)) => finish(args).await,
        Command::Ca(CaCommand::Rotate(args)) => finish(args).await,
        Command::Template(ProvisioningTemplateCommand::Create(args)) => finish(args).await,
        Command::Template(ProvisioningTemplateCommand::List(args)) => finish(args).await,
        Command::Template(ProvisioningTemplateCommand::Show(args)) => finish(args).await,
        Command::Template(ProvisioningTemplateCommand::Delete(args)) => finish(args).await,
        Command::Claim(ClaimCommand::Create(args)) => finish(args).await,
        Command::Claim(ClaimCommand::List(args)) => finish(args).await,
        Command::Claim(ClaimCommand::Revoke(args)) => finish(args).await,
        Command::Backup(args) => finish(args).await,
        Command::Restore(args) => finish(args).await,
        Command::Demo(args) => finish(args).await,
    }
}

async fn finish(command: impl Run) -> ExitCode {
    let (describe, json) = (command.describe(), command.json());
    match command.run().await.and_then(|output| output.print(json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_aside(&format!("muster: cannot {describe}: {}", error.chain()));
            error.exit_code()
        }
    }
}
