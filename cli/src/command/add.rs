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
use crate::way::{Proxy, Way};
use muster_wire::admin::{AddConnector, AddedConnector, Verb};
use muster_wire::id::{PoolName, ThingName};
use muster_wire::proxy::Secret;
use std::collections::BTreeMap;
use std::io::{BufRead, Write, stdin};
use std::path::Path;

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
        if let Some(file) = &self.output {
            check_output(file, self.force)?;
        }
        let args = match self.name {
            Some(_) => self,
            None => {
                let mut args = form::begin(self)?;
                args.name = Some(free_name(&cx).await?);
                form::ask(args)?
            }
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
        let script = script.render()?;
        let Some(file) = &args.output else { return Ok(Output::new(&added, script)) };
        write_script(file, &script, args.force).map_err(|problem| {
            let (shown, name) = (file.display(), &added.name);
            CliError::local(format!(
                "the script was not written to {shown}: {problem}; for another one: muster connector add {name} --renew"
            ))
        })?;
        let what = if args.preview { "a preview" } else { "the script with its token" };
        let mut text = format!("{what} is in {}; only its owner can read it", file.display());
        if !args.preview {
            let name = file.file_name().unwrap_or_default().display();
            let run = match plan.shell {
                Shell::Sh => format!("sh {name}"),
                Shell::Powershell => format!("powershell -ExecutionPolicy Bypass -File {name}"),
            };
            text.push_str(&format!("\n\nnext, on the host and before {}:\n  {run}", added.expires_at));
        }
        Ok(Output::new(&added, text))
    }
}

/// Asks for a name until the server would take it: better now than after all the other questions.
async fn free_name(cx: &Context) -> Result<ThingName, CliError> {
    loop {
        let name = form::ask_name()?;
        let mut operator = cx.connect().await?;
        let request = AddConnector { preview: true, ..AddConnector::new(name.clone(), None) };
        let answer = add(&mut operator, &request).await;
        operator.close().await;
        match answer {
            Ok(_) => return Ok(name),
            Err(CliError::Refused(rejection)) => say_aside(&format!("  {rejection}")),
            Err(error) => return Err(error),
        }
    }
}

/// Before anything is made: a token whose script cannot be written helps nobody.
fn check_output(file: &Path, force: bool) -> Result<(), CliError> {
    if !force && file.symlink_metadata().is_ok() {
        let shown = file.display();
        return Err(CliError::local(format!(
            "--output {shown} is there already; choose another name, or --force to replace it"
        )));
    }
    if !folder_of(file).is_dir() {
        return Err(CliError::local(format!("--output {}: there is no such folder; make it first", file.display())));
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the script whole or not at all, for its owner alone from its first byte on.
fn write_script(file: &Path, script: &str, force: bool) -> Result<(), String> {
    let mut part = tempfile::NamedTempFile::new_in(folder_of(file)).map_err(|error| error.to_string())?;
    let written = part.write_all(script.trim_end_matches('\n').as_bytes()).and_then(|()| part.write_all(b"\n"));
    written.and_then(|()| part.as_file().sync_all()).map_err(|error| error.to_string())?;
    let kept = if force { part.persist(file) } else { part.persist_noclobber(file) };
    kept.map(drop).map_err(|error| error.error.to_string())
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
        if matches!(&way.proxy, Proxy::Url(url) if url.password.is_some()) {
            return Err(CliError::local(
                "--proxy: every user of this host can read arguments; write http://USER@HOST:PORT, and give the password \
                 with --proxy-password-file (- for standard input) or when it is asked for",
            ));
        }
        if let Some(file) = &args.proxy_password_file {
            let shown = file.display();
            let read = if file == Path::new("-") {
                let mut line = String::new();
                stdin().lock().read_line(&mut line).map(|_| line)
            } else {
                std::fs::read_to_string(file)
            };
            let text = read.map_err(|error| {
                CliError::local_because(format!("cannot read the proxy's password in {shown}"), error)
            })?;
            way.set_password(text.lines().next().unwrap_or_default()).map_err(|problem| {
                CliError::local(format!("the proxy's password in {shown} cannot be used: {problem}"))
            })?;
        } else if let Some(password) = &args.proxy_password {
            // An empty answer is none.
            if !password.reveal().is_empty() {
                set(&mut way, password)?;
            }
        } else if let Some(password) = form::ask_password(&way)? {
            set(&mut way, &password)?;
        }
        Ok(Self { request, server, way, shell })
    }
}

fn set(way: &mut Way, password: &Secret) -> Result<(), CliError> {
    way.set_password(password.reveal())
        .map_err(|problem| CliError::local(format!("the proxy's password cannot be used: {problem}")))
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
