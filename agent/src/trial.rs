//! Changed connection settings are tried, and taken back unless the server confirms them in time.
//!
//! What could cut the agent off is the server, the proxy and the CA. Settings that the server has answered over are
//! *proven*; the record keeps the whole `agent.toml` and the files that it names. When the connection of a later
//! `agent.toml` differs, a *trial* is written down before the first packet takes the new way. Its end is one of two:
//!
//! ```text
//! an answer of the server    ->  record: proven = the new settings, no trial
//! no answer until its end    ->  record: trial is being taken back
//!                                agent.toml -> agent.toml.refused, named files -> FILE.refused
//!                                the proven files, then the proven agent.toml, are put in their places
//!                                record: no trial, refused = what was tried and why
//! ```
//! Each line is durable before the next; after a crash between two, the next start goes on where the record says, and
//! every line can be done twice. An `agent.toml` that somebody changed in the meantime is never overwritten.
//! A proxy that is inherited from the environment is not in the file, so a change of it cannot be taken back.

use crate::places::Prefix;
use crate::settings::{Origin, Server, Settings};
use muster_certs::store::{self, StoreError};
use muster_runtime::clock::Clock;
use muster_runtime::faults;
use muster_wire::settings::{RefusedSettings, SettingsReport};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// The record. Private to this user: the settings may hold a password.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(tag = "format", rename = "1")]
struct Record {
    proven: Option<Kept>,
    trial: Option<Trial>,
    refused: Option<RefusedSettings>,
}

/// Settings as they were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    text: String,
    connection: Connection,
    /// The files that the text names, with their content.
    files: Vec<(PathBuf, String)>,
}

/// What decides about the way to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Connection {
    server: String,
    /// The proxy with its password; `inherited` when the file does not name one.
    proxy: String,
    no_proxy: Option<Vec<String>>,
    ca_pem: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trial {
    settings: Kept,
    shown: SettingsReport,
    begun_at: Timestamp,
    /// Why it is being taken back, once it is.
    taken_back: Option<String>,
}

/// Why the state of a trial is not known or not kept.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A file was not read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file was not written.
    #[error("the connection settings are not kept")]
    Write(#[from] StoreError),
    /// The settings are not usable.
    #[error("{path} cannot be used")]
    Settings {
        /// The file.
        path: PathBuf,
        /// Every problem.
        #[source]
        source: muster_runtime::settings::SettingsError,
    },
}

/// The settings that count now, and whether they still have to prove themselves.
#[derive(Debug)]
pub struct Tried {
    /// The settings.
    pub settings: Settings,
    /// Until when the server must have confirmed them; `None` when there is nothing to go back to.
    pub deadline: Option<tokio::time::Instant>,
    prefix: Prefix,
    kept: Kept,
    record: Record,
}

/// What has to be proven is written down, and what has to be taken back is. Returns what to run with.
pub fn begin(prefix: &Prefix, clock: &Clock) -> Result<Tried, TrialError> {
    let mut record = read(prefix)?;
    finish(prefix, &mut record, clock)?;
    let (settings, kept) = current(prefix)?;
    let now = clock.now();
    let mut deadline = None;
    let differs = record.proven.as_ref().is_some_and(|proven| proven.connection != kept.connection);
    if differs {
        let begun_at = match &record.trial {
            // An agent that was killed has no more time than one that was not; a clock that was set back gives no more.
            Some(trial) if trial.settings == kept => trial.begun_at.min(now),
            _ => {
                faults::point("settings.before_trial");
                let (shown, taken_back) = (report(&settings, true, None), None);
                record.trial = Some(Trial { settings: kept.clone(), shown, begun_at: now, taken_back });
                write(prefix, &record)?;
                faults::point("settings.on_trial");
                info!(server = %settings.server, within = ?settings.confirm_within, "changed connection settings are tried");
                now
            }
        };
        let left = settings.confirm_within.saturating_sub(now.since(begun_at));
        deadline = Some(tokio::time::Instant::now() + left);
    } else if record.trial.take().is_some() {
        info!("the connection settings were put back by hand");
        write(prefix, &record)?;
    }
    Ok(Tried { settings, deadline, prefix: prefix.clone(), kept, record })
}

/// What a look from outside finds: whether a trial is going on, and what was refused last.
pub fn look(prefix: &Prefix) -> Result<(bool, Option<RefusedSettings>), TrialError> {
    read(prefix).map(|record| (record.trial.is_some(), record.refused))
}

impl Tried {
    /// What the server is told.
    pub fn report(&self) -> SettingsReport {
        report(&self.settings, self.deadline.is_some(), self.record.refused.clone())
    }

    /// The server has answered over these settings.
    pub fn confirm(&mut self) -> Result<(), TrialError> {
        let was_tried = self.deadline.take().is_some();
        if self.record.proven.as_ref() == Some(&self.kept) && !was_tried {
            return Ok(());
        }
        faults::point("settings.before_confirm");
        self.record.proven = Some(self.kept.clone());
        self.record.trial = None;
        if was_tried {
            self.record.refused = None;
            info!(server = %self.settings.server, "the server confirmed the changed connection settings");
        }
        write(&self.prefix, &self.record)
    }

    /// The server has not answered in time: the proven settings count again.
    pub fn take_back(mut self, clock: &Clock) -> Result<(), TrialError> {
        let within = self.settings.confirm_within.as_secs();
        let Some(trial) = self.record.trial.as_mut() else { return Ok(()) };
        trial.taken_back = Some(format!("the server did not confirm it within {within} s"));
        faults::point("settings.before_take_back");
        write(&self.prefix, &self.record)?;
        faults::point("settings.take_back");
        finish(&self.prefix, &mut self.record, clock)
    }
}

/// Goes on with taking a trial back, if that was begun.
fn finish(prefix: &Prefix, record: &mut Record, clock: &Clock) -> Result<(), TrialError> {
    let Record { proven: Some(proven), trial: Some(trial), .. } = &*record else { return Ok(()) };
    let Some(reason) = trial.taken_back.clone() else { return Ok(()) };
    let path = prefix.settings();
    let found = text(&path)?;
    if found == trial.settings.text || found == proven.text {
        store::write_secret(&beside(&path), trial.settings.text.as_bytes())?;
        for (path, content) in &trial.settings.files {
            store::write_secret(&beside(path), content.as_bytes())?;
        }
        faults::point("settings.half_taken_back");
        for (path, content) in &proven.files {
            store::write_secret(path, content.as_bytes())?;
        }
        store::write_secret(&path, proven.text.as_bytes())?;
        faults::point("settings.taken_back");
        warn!(reason, refused = %beside(&path).display(), "the proven connection settings count again");
    }
    let (server, proxy) = (trial.shown.server.clone(), trial.shown.proxy.clone());
    record.refused = Some(RefusedSettings { server, proxy, at: clock.now(), reason });
    record.trial = None;
    write(prefix, record)
}

/// `agent.toml` as it is now, checked.
fn current(prefix: &Prefix) -> Result<(Settings, Kept), TrialError> {
    let path = prefix.settings();
    let settings = Settings::read(prefix).map_err(|source| TrialError::Settings { path: path.clone(), source })?;
    let proxy = match (settings.proxy.origin, &settings.proxy.url) {
        (Origin::File, Some(url)) => url.reveal(),
        (Origin::File, None) => muster_wire::proxy::NONE.to_owned(),
        _ => "inherited".to_owned(),
    };
    let no_proxy = (settings.proxy.bypass_origin == Origin::File).then(|| settings.proxy.bypass.entries());
    let mut files = Vec::new();
    for path in [&settings.ca_file, &settings.proxy.password_file].into_iter().flatten() {
        files.push((path.clone(), text(path)?));
    }
    let ca_pem = settings.ca_file.as_ref().map(|path| text(path)).transpose()?;
    let connection = Connection { server: settings.server.to_string(), proxy, no_proxy, ca_pem };
    let kept = Kept { text: text(&path)?, connection, files };
    Ok((settings, kept))
}

fn report(settings: &Settings, on_trial: bool, refused: Option<RefusedSettings>) -> SettingsReport {
    let server: &Server = &settings.server;
    let proxy = match settings.proxy.way(server) {
        crate::dial::Way::Through(url) => Some(url.to_string()),
        crate::dial::Way::Direct => None,
    };
    SettingsReport { server: server.to_string(), proxy, on_trial, refused }
}

fn read(prefix: &Prefix) -> Result<Record, TrialError> {
    let path = prefix.trial();
    match crate::hands::files::read_json(&path) {
        Ok(record) => Ok(record.unwrap_or_default()),
        Err(source) if source.kind() == io::ErrorKind::Other => {
            // Without it nothing is proven, which only means that there is nothing to go back to.
            warn!(path = %path.display(), %source, "the record of the proven settings is damaged and set aside");
            crate::hands::files::set_aside(&path).map_err(|source| TrialError::Read { path, source })?;
            Ok(Record::default())
        }
        Err(source) => Err(TrialError::Read { path, source }),
    }
}

fn write(prefix: &Prefix, record: &Record) -> Result<(), TrialError> {
    let text = serde_json::to_vec_pretty(record).expect("a record of texts and lists is JSON");
    Ok(store::write_secret(&prefix.trial(), &text)?)
}

fn text(path: &Path) -> Result<String, TrialError> {
    fs::read_to_string(path).map_err(|source| TrialError::Read { path: path.to_owned(), source })
}

/// Where a refused file is kept: `FILE.refused`.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".refused");
    name.into()
}

#[cfg(test)]
mod tests;
