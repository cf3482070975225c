//! `muster connector add`: registers a connector, or renews its token, and prints the install script for its host.

mod form;

use super::Run;
use super::allowlist::{entries, public_address};
use super::script::{Script, prefix_problem};
use crate::args::{ConnectorAddArgs, Shell};
use crate::client::Operator;
use crate::context::{Address, Context};
use crate::error::CliError;
use crate::output::{Output, say_aside};
use crate::way::Way;
use muster_wire::admin::{AddConnector, AddedConnector, Verb};
use muster_wire::id::{PoolName, ThingName};
use std::collections::BTreeMap;

impl Run for ConnectorAddArgs {
    fn describe(&self) -> String {
        match &self.name {
            Some(name) => format!("add connector {name}"),
            None => "add a connector".to_owned(),
        }
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let args = match self.name {
            Some(_) => self,
            None => form::ask(self)?,
        };
        let plan = Plan::check(&args, &cx)?;
        let mut operator = cx.connect().await?;
        let added = add(&mut operator, &plan.request).await?;
        if let Some(note) = plan.way.unused_for(&plan.server.host, plan.server.port) {
            say_aside(&format!("muster: {note}"));
        }
        operator.close().await;
        let script = Script {
            ca_pem: &cx.credentials()?.ca_pem,
            server: &plan.server,
            allowed: &entries(&plan.server, None),
            added: &added,
            way: &plan.way,
            shell: plan.shell,
            start: !args.no_start,
            renew: args.renew || args.reinstall,
        };
        Ok(Output::new(&added, script.render()?))
    }
}

/// What was asked for, checked as far as it can be without the server.
struct Plan {
    request: AddConnector,
    server: Address,
    way: Way,
    shell: Shell,
}

impl Plan {
    fn check(args: &ConnectorAddArgs, cx: &Context) -> Result<Self, CliError> {
        let shell = if args.windows { Shell::Powershell } else { args.shell };
        if let Some(problem) = args.prefix.as_deref().and_then(|prefix| prefix_problem(prefix, shell)) {
            return Err(CliError::local(problem));
        }
        let server = match &args.server {
            Some(text) => text.parse().map_err(|error| CliError::local_because("--server cannot be used", error))?,
            None => public_address(cx)?,
        };
        let pool = match (&args.pool, args.no_pool || args.renew || args.reinstall) {
            (Some(pool), _) => Some(pool.clone()),
            (None, false) => Some(default_pool()),
            (None, true) => None,
        };
        let mut components = BTreeMap::new();
        for choice in &args.components {
            if let Some(other) = components.insert(choice.component.clone(), choice.version.clone()) {
                let (component, version) = (&choice.component, &choice.version);
                return Err(CliError::local(format!(
                    "--component names {component} with {other} and with {version}; one version runs at a time"
                )));
            }
        }
        let name: ThingName = args.name.clone().ok_or_else(|| CliError::local("a name is needed"))?;
        let request = AddConnector {
            site: args.site.clone(),
            description: args.description.clone(),
            renew: args.renew,
            reinstall: args.reinstall,
            prefix: args.prefix.as_ref().map(|prefix| prefix.display().to_string()),
            components,
            token_life_s: args.ttl.map(|life| u32::try_from(life.0.as_secs()).unwrap_or(u32::MAX)),
            preview: args.preview,
            ..AddConnector::new(name, pool)
        };
        let mut way = Way::parse(args.proxy.as_deref(), args.no_proxy.as_deref()).map_err(CliError::local)?;
        if let Some(file) = &args.proxy_password_file {
            let shown = file.display();
            let password = std::fs::read_to_string(file).map_err(|error| {
                CliError::local_because(format!("cannot read the proxy's password in {shown}"), error)
            })?;
            way.set_password(password.trim_end_matches(['\r', '\n'])).map_err(|problem| {
                CliError::local(format!("the proxy's password in {shown} cannot be used: {problem}"))
            })?;
        }
        Ok(Self { request, server, way, shell })
    }
}

/// Registers a connector.
///
/// Errors: `Refused`, `Unreachable`.
pub async fn add(operator: &mut Operator, request: &AddConnector) -> Result<AddedConnector, CliError> {
    operator.call(Verb::ConnectorAdd, request).await
}

/// The pool of a connector whose operator named none.
pub fn default_pool() -> PoolName {
    PoolName::new("default").expect("the default pool has a valid name")
}
