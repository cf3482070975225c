//! The form of `muster connector add` on a terminal: asks each thing with a default, shows a summary and confirms.
//!
//! It speaks on standard error: standard output is for the script, and often goes to a file.

mod hidden;

use crate::args::{Choice, ConnectorAddArgs, Shell};
use crate::command::script::prefix_problem;
use crate::error::CliError;
use crate::way::{Proxy, Way};
use muster_wire::id::{PoolName, SiteName, ThingName};
use muster_wire::proxy::Secret;
use std::fmt::Display;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::path::PathBuf;
use std::str::FromStr;

/// The word for "leave it out" where an empty answer means something else.
const NONE: &str = "none";
/// What a host reaches without the proxy when nobody says it here.
const EXEMPT_DEFAULT: &str = "as the host is set up, else loopback, link-local and private ranges";

/// Greets whoever is there.
///
/// Errors: `Local` without a terminal.
pub fn begin(given: ConnectorAddArgs) -> Result<ConnectorAddArgs, CliError> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        return Err(CliError::local("a name is needed; without a terminal there is no form that asks for it"));
    }
    say("Adds a connector. An empty answer takes what stands in brackets; Ctrl-C gives up.\n");
    Ok(given)
}

/// Asks for a name.
///
/// Errors: `Local` when the form was given up.
pub fn ask_name() -> Result<ThingName, CliError> {
    needed("Name", |text| read(ThingName::new(text)))
}

/// Asks for the password of the proxy's user, if there is one and somebody to ask.
///
/// Errors: `Local` when the form was given up.
pub fn ask_password(way: &Way) -> Result<Option<Secret>, CliError> {
    let Proxy::Url(url) = &way.proxy else { return Ok(None) };
    let Some(user) = url.user.as_ref().filter(|_| stdin().is_terminal() && stderr().is_terminal()) else {
        return Ok(None);
    };
    let password = hidden::read_line(&format!("Password of {user} at the proxy, not shown [{NONE}]: "))?;
    Ok(Some(password).filter(|password| !password.is_empty()).map(Secret::new))
}

/// Asks for everything else that was not given.
///
/// Errors: `Local` when the form was given up.
pub fn ask(given: ConnectorAddArgs) -> Result<ConnectorAddArgs, CliError> {
    let mut args = given;
    if args.pool.is_none() && !args.no_pool {
        args.pool = optional("Pool", "default; none for no pool", |text| match text {
            NONE => Ok(None),
            text => read(PoolName::new(text)).map(Some),
        })?
        .unwrap_or_else(|| Some(super::default_pool()));
        args.no_pool = args.pool.is_none();
    }
    if args.site.is_none() {
        args.site = optional("Site", NONE, |text| read(SiteName::new(text)))?;
    }
    if args.prefix.is_none() {
        let shell = if args.windows { Shell::Powershell } else { args.shell };
        args.prefix = optional("Folder on the host", folder_default(&args), |text| {
            let prefix = PathBuf::from(text);
            prefix_problem(&prefix, shell).map_or(Ok(prefix), Err)
        })?;
    }
    if args.description.is_none() {
        args.description = optional("Description", NONE, |text| Ok(text.to_owned()))?;
    }
    if args.proxy.is_none() {
        let check = |text: &str| match Way::parse(Some(text), None)?.proxy {
            Proxy::Url(url) if url.password.is_some() => Err("leave the password out; it is asked for".to_owned()),
            _ => Ok(text.to_owned()),
        };
        args.proxy = optional("Proxy, http://[USER@]HOST:PORT or none", "as the host is set up", check)?;
    }
    if args.proxy_password_file.is_none()
        && let Ok(way) = Way::parse(args.proxy.as_deref(), None)
    {
        // An empty one was asked for, too.
        args.proxy_password = ask_password(&way)?.or_else(|| Some(Secret::new(String::new())));
    }
    if args.no_proxy.is_none() && args.proxy.as_deref().is_some_and(|proxy| proxy != NONE) {
        let check = |text: &str| Way::parse(None, Some(text)).map(|_| text.to_owned());
        args.no_proxy = optional("Reached without the proxy, a list or none", EXEMPT_DEFAULT, check)?;
    }
    if args.components.is_empty() {
        while let Some(choice) = optional("Component to run, NAME=VERSION", "no more", Choice::from_str)? {
            args.components.push(choice);
        }
    }
    summary(&args);
    let sure = optional("Add it? yes or no", "yes", |text| match text.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "n" | "no" => Ok(false),
        _ => Err("answer yes or no".to_owned()),
    })?;
    match sure {
        Some(false) => Err(CliError::local("given up; nothing was added")),
        Some(true) | None => Ok(args),
    }
}

fn folder_default(args: &ConnectorAddArgs) -> &'static str {
    if args.windows || args.shell == Shell::Powershell {
        "%ProgramData%\\Muster"
    } else {
        "/opt/muster for root, else ~/.muster"
    }
}

fn summary(args: &ConnectorAddArgs) {
    let way = Way::parse(args.proxy.as_deref(), args.no_proxy.as_deref()).unwrap_or_default();
    let bypass = way.bypass.map_or(EXEMPT_DEFAULT.to_owned(), |list| list.to_string());
    let (proxy, bypass) = match way.proxy {
        Proxy::Inherited => ("as the host is set up".to_owned(), None),
        Proxy::Never => (NONE.to_owned(), None),
        // Printed, it has no password.
        Proxy::Url(url) => (url.to_string(), Some(bypass)),
    };
    let components: Vec<String> = args.components.iter().map(|c| format!("{} {}", c.component, c.version)).collect();
    let or_none = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| NONE.to_owned());
    let lines = [
        ("name", or_none(args.name.as_ref().map(ToString::to_string))),
        ("pool", or_none(args.pool.as_ref().map(ToString::to_string))),
        ("site", or_none(args.site.as_ref().map(ToString::to_string))),
        ("folder", args.prefix.as_ref().map_or(folder_default(args).to_owned(), |p| p.display().to_string())),
        ("description", or_none(args.description.clone())),
        ("proxy", proxy),
        ("components", or_none(Some(components.join(", ")))),
    ];
    let without = bypass.map(|bypass| ("without it", bypass));
    say("");
    for (name, value) in lines.into_iter().chain(without) {
        say(&format!("  {name:<12} {value}"));
    }
    say("");
}

/// Asks until the answer can be used.
fn needed<T>(question: &str, check: impl Fn(&str) -> Result<T, String>) -> Result<T, CliError> {
    loop {
        match answer(question, None)?.as_deref() {
            Some(text) => match check(text) {
                Ok(value) => return Ok(value),
                Err(problem) => say(&format!("  {problem}")),
            },
            None => say("  this is needed"),
        }
    }
}

/// Asks until the answer can be used; `None` for an empty one.
fn optional<T>(
    question: &str,
    default: &str,
    check: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, CliError> {
    loop {
        let Some(text) = answer(question, Some(default))? else { return Ok(None) };
        match check(&text) {
            Ok(value) => return Ok(Some(value)),
            Err(problem) => say(&format!("  {problem}")),
        }
    }
}

fn answer(question: &str, default: Option<&str>) -> Result<Option<String>, CliError> {
    let prompt = match default {
        Some(default) => format!("{question} [{default}]: "),
        None => format!("{question}: "),
    };
    let mut out = stderr().lock();
    let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    match read {
        Ok(0) => Err(CliError::local("the form was given up; nothing was added")),
        Ok(_) => Ok(Some(line.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) => Err(CliError::local_because("cannot read from the terminal", error)),
    }
}

fn read<T, E: Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn say(line: &str) {
    crate::output::say_aside(line);
}
