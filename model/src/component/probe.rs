//! The `[health]` section: how to tell that a component works, and how patient to be.

use super::reader::Reader;
use super::recipe::command;
use std::time::Duration;

/// How a component is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// Time between the end of one try and the next; 1 s by default.
    pub interval: Duration,
    /// A try must be over by then; 5 s by default.
    pub timeout: Duration,
    /// Failures in a row that make a healthy component unhealthy; 3 by default.
    pub failures: u32,
    /// The first pass must be there by then after a start; 30 s by default.
    pub start_timeout: Duration,
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET` on the loopback address; passes on a status from 200 to 299.
    Http {
        /// Path with an optional query.
        path: String,
        /// Where the component listens.
        port: PortSource,
    },
    /// Passes when the port on the loopback address accepts a connection.
    Tcp {
        /// Where the component listens.
        port: PortSource,
    },
    /// Passes when the command ends with exit code 0.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
    },
}

/// How the port of a component is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortSource {
    /// Always this one.
    Fixed(u16),
    /// The component writes it, in decimal, to this file below its data folder.
    File(String),
}

/// Longest pause or patience that a recipe may ask for: half the time that a job has.
pub(super) const SECONDS_MAX: u32 = 1800;

impl Health {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        if !reader.section("health") {
            reader.problem(
                "health",
                "is missing; say how to tell that it works, for example http = \"/health\" and port = 8080",
            );
            return None;
        }
        let http = reader.parsed("health.http", |path| {
            let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
            if path.starts_with('/') && plain {
                Ok(path.to_owned())
            } else {
                Err("must be a path such as \"/health\", of printable ASCII without spaces".to_owned())
            }
        });
        let tcp = reader.flag("health.tcp") == Some(true);
        let argv = command(reader, "health.command", false);
        let port = port(reader);
        let interval = reader.seconds("health.interval_s", SECONDS_MAX);
        let timeout = reader.seconds("health.timeout_s", SECONDS_MAX);
        let failures = reader.number("health.failures", 1, 1000).and_then(|n| u32::try_from(n).ok());
        let start_timeout = reader.seconds("health.start_timeout_s", SECONDS_MAX);

        let kinds = ["http", "tcp", "command"].iter().filter(|kind| reader.has(&format!("health.{kind}"))).count();
        if kinds != 1 {
            reader.problem("health", format!("needs exactly one of http, tcp = true and command; found {kinds}"));
        }
        let by_port = reader.has("health.http") || reader.has("health.tcp");
        let ports = ["port", "port_file"].iter().filter(|kind| reader.has(&format!("health.{kind}"))).count();
        if by_port && ports != 1 {
            reader.problem("health", format!("needs exactly one of port and port_file for this probe; found {ports}"));
        }
        let probe = match (http, tcp, argv) {
            (Some(path), _, _) => Probe::Http { path, port: port? },
            (_, true, _) => Probe::Tcp { port: port? },
            (_, _, Some(argv)) => Probe::Command { argv },
            _ => {
                if kinds == 1 && reader.has("health.tcp") {
                    reader.problem("health.tcp", "must be true, or left out for another kind of probe");
                }
                return None;
            }
        };
        Some(Self {
            probe,
            interval: interval.unwrap_or(Duration::from_secs(1)),
            timeout: timeout.unwrap_or(Duration::from_secs(5)),
            failures: failures.unwrap_or(3),
            start_timeout: start_timeout.unwrap_or(Duration::from_secs(30)),
        })
    }

    /// Where the component says it listens; a command probe does not know.
    #[must_use]
    pub fn port(&self) -> Option<&PortSource> {
        match &self.probe {
            Probe::Http { port, .. } | Probe::Tcp { port } => Some(port),
            Probe::Command { .. } => None,
        }
    }
}

fn port(reader: &mut Reader) -> Option<PortSource> {
    let fixed = reader.number("health.port", 1, u64::from(u16::MAX)).and_then(|n| u16::try_from(n).ok());
    let file = reader.parsed("health.port_file", |path| {
        super::path::check_inside(path).map(|()| path.to_owned()).map_err(|error| error.to_string())
    });
    fixed.map(PortSource::Fixed).or(file.map(PortSource::File))
}
