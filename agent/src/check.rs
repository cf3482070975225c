//! `muster-agent check`: what the agent needs of this host and of the way to the server, each with what was measured,
//! what is needed and what to do. It tests exactly the one server and port that a firewall must let out, through the
//! proxy when one is in force, and changes nothing.

mod date;
mod host;
mod network;

use crate::args::Check;
use crate::identity::{Identity, roots, told_authorities};
use crate::places::Prefix;
use crate::settings::{Proxy, Server, Settings};
use crate::typed;
use muster_certs::{certificate, store};
use muster_runtime::clock::Clock;
use muster_runtime::failure::Failure;
use muster_runtime::settings::environment;
use muster_wire::id::Sha256Hex;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// As it should be.
    Pass,
    /// It works, but not well, or not for long.
    Warn,
    /// The agent cannot work like this.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub measured: String,
    /// What is needed.
    pub needed: String,
    /// What to do; nothing when it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// All checks, in the order in which they were made.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each.
    pub checks: Vec<Line>,
}

/// What the checks of the network need.
struct Way {
    server: Server,
    proxy: Proxy,
    ca_pem: String,
    identity: Option<Identity>,
    announced: Option<Announced>,
}

/// What the server has announced, where a file of the host's own decides whom the agent trusts.
struct Announced {
    ca_file: PathBuf,
    /// Where the agent keeps what was announced.
    told: PathBuf,
    /// The ids of what is in there and not in `ca_file`.
    lacking: Vec<Sha256Hex>,
    /// How changed settings are made to count.
    reload: String,
}

impl Announced {
    fn of(prefix: &Prefix, ca_file: &Path, own: &str, told: &str) -> Result<Self, Failure> {
        let held = roots(own)?;
        let lacking = roots(told)?.into_iter().filter(|root| !held.contains(root)).collect();
        Ok(Self {
            ca_file: ca_file.to_owned(),
            told: told_authorities(prefix),
            lacking,
            reload: typed::command(prefix, "reload"),
        })
    }

    fn line(&self) -> Line {
        let (file, told) = (self.ca_file.display(), self.told.display());
        let needed = "every authority that the server names";
        let lacking: Vec<&str> = self.lacking.iter().map(Sha256Hex::as_str).collect();
        if lacking.is_empty() {
            return Line::pass("authority", format!("ca_file {file} has them all"), needed);
        }
        let measured = format!("ca_file {file} lacks {}", lacking.join(", "));
        let fix = format!("compare with `muster ca status`, add it from {told}, then `{}`", self.reload);
        Line::warn("authority", measured, needed, fix)
    }
}

/// Makes all checks. `Ok` also when some failed: [`Report::outcome`] tells.
pub async fn check(args: &Check, prefix: &Prefix, clock: &Clock) -> Result<Report, Failure> {
    let mut checks = host::checks(prefix);
    let way = if args.before_enrol { given(args) } else { enrolled(prefix) };
    match way {
        Ok(way) => {
            if !args.before_enrol {
                checks.push(Line::pass("settings", "usable".to_owned(), "agent.toml and identity without a problem"));
                checks.extend(way.announced.as_ref().map(Announced::line));
            }
            checks.extend(network::checks(&way, clock).await);
        }
        Err(failure) if args.before_enrol => return Err(failure),
        Err(failure) => {
            let enrol = typed::command(prefix, "enrol");
            let fix = format!("correct what is named; `{enrol}` writes settings and identity of a new host");
            checks.push(Line::fail("settings", failure.chain(), "agent.toml and identity without a problem", fix));
        }
    }
    Ok(Report { checks })
}

fn enrolled(prefix: &Prefix) -> Result<Way, Failure> {
    let settings = Settings::read(prefix)
        .map_err(|error| Failure::local_because(format!("{} cannot be used", prefix.settings().display()), error))?;
    let identity = Identity::load(prefix)?;
    let mut announced = None;
    let ca = match &settings.ca_file {
        Some(path) => {
            let own = store::read_pem(path).map_err(|error| Failure::local_because("ca_file cannot be used", error))?;
            announced = Some(Announced::of(prefix, path, &own, identity.ca_pem())?);
            own
        }
        None => identity.ca_pem().to_owned(),
    };
    let identity = identity.trusting_only(ca.clone());
    Ok(Way { server: settings.server, proxy: settings.proxy, ca_pem: ca, identity: Some(identity), announced })
}

fn given(args: &Check) -> Result<Way, Failure> {
    let text = args.server.as_deref().ok_or_else(|| Failure::local("--before-enrol needs --server HOST:PORT"))?;
    let server = Server::parse(text).map_err(|error| Failure::local(format!("--server {error}")))?;
    let path = args.ca.as_ref().ok_or_else(|| Failure::local("--before-enrol needs --ca FILE"))?;
    let ca_pem = store::read_pem(path).map_err(|error| Failure::local_because("--ca cannot be used", error))?;
    if let Some(wanted) = &args.ca_sha256 {
        let ca = certificate::first_from_pem(&ca_pem)
            .map_err(|error| Failure::local_because("--ca cannot be used", error))?;
        let found = certificate::certificate_id(&ca);
        let plain: String = wanted.chars().filter(char::is_ascii_hexdigit).collect();
        if !plain.eq_ignore_ascii_case(&found) {
            return Err(Failure::local(format!(
                "--ca has SHA-256 {found} instead of {wanted}; get the CA of this server"
            )));
        }
    }
    let way = &args.proxy;
    let (url, no_proxy, password) = (&way.proxy, &way.no_proxy, &way.proxy_password_file);
    let proxy = Proxy::given(url.as_deref(), no_proxy.as_deref(), password.as_deref(), &environment);
    Ok(Way { server, proxy: proxy.map_err(Failure::local)?, ca_pem, identity: None, announced: None })
}

impl Report {
    /// A failure when a check failed.
    pub fn outcome(&self) -> Result<(), Failure> {
        let failed: Vec<&str> =
            self.checks.iter().filter(|line| line.verdict == Verdict::Fail).map(|line| line.name).collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(Failure::local(format!("not fit for the agent: {}", failed.join(", ")))),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, line) in self.checks.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let verdict = match line.verdict {
                Verdict::Pass => "PASS",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            write!(f, "{verdict}  {:<9} {}; needed: {}", line.name, line.measured, line.needed)?;
            if let Some(fix) = &line.fix {
                write!(f, "\n      -> {fix}")?;
            }
        }
        Ok(())
    }
}

impl Line {
    fn pass(name: &'static str, measured: String, needed: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Pass, measured, needed: needed.into(), fix: None }
    }

    fn warn(name: &'static str, measured: String, needed: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, measured, needed: needed.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, measured: String, needed: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, measured, needed: needed.into(), fix: Some(fix.into()) }
    }

    /// Passes when at least `needed`, fails below `least`, and warns in between. In megabytes.
    fn at_least(name: &'static str, what: &str, found: u64, needed: u64, least: u64, fix: &str) -> Self {
        let (measured, wanted) = (format!("{found} MB {what}"), format!("{needed} MB, at the very least {least} MB"));
        match found {
            found if found >= needed => Self::pass(name, measured, wanted),
            found if found >= least => Self::warn(name, measured, wanted, fix),
            _ => Self::fail(name, measured, wanted, fix),
        }
    }
}
