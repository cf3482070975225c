//! What the server is told of the components, and what it knows already.

use crate::brain::health::healthy_for_s;
use crate::brain::record::cut;
use crate::hands::installed;
use crate::hands::supervisor::Status;
use crate::places::Home;
use muster_wire::component::{ComponentReport, Health, LastFailed};
use muster_wire::id::ComponentName;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A component's report, and whether its probe has passed for the soak time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    facts: ComponentReport,
    soaked: bool,
}

/// What the server was told last.
#[derive(Debug, Default)]
pub struct Reported(BTreeMap<ComponentName, Option<Report>>);

/// The members that a report may leave out. In a shadow an absent member stays as it was, so they are taken away
/// explicitly: a stopped component must not keep the facts of its last process.
const OPTIONAL: [&str; 5] = ["program_sha256", "start_id", "started_at", "port", "last_failed"];
/// A reason shares 8 KiB with every other component.
const REASON_BYTES_MAX: usize = 300;

/// The report of a component; `None` when no version of it is installed.
pub fn of(home: &Home, status: &Status, last_failed: Option<LastFailed>, now: Instant) -> Option<Report> {
    let version = installed::current(home)?;
    let installed = installed::facts(home, &version)?;
    let is_current = status.version.as_ref() == Some(&version);
    let process = status.process.as_ref().filter(|_| is_current);
    let healthy_for_s = if process.is_some() { healthy_for_s(status.healthy_since, now) } else { 0 };
    let last_failed = last_failed.map(|failed| LastFailed { reason: cut(&failed.reason, REASON_BYTES_MAX), ..failed });
    let facts = ComponentReport {
        version,
        package_sha256: installed.package_sha256,
        program_sha256: process.and_then(|process| process.program_sha256.clone()),
        start_id: process.map(|process| process.start_id.clone()),
        started_at: process.map(|process| process.started_at),
        health: if process.is_some() { status.health } else { Health::Stopped },
        healthy_for_s,
        restarts: if is_current { status.restarts } else { 0 },
        port: process.and(status.port),
        last_failed,
    };
    let soaked = status.healthy_since.is_some() && healthy_for_s >= installed.soak_s;
    Some(Report { facts, soaked })
}

impl Reported {
    /// What to tell of a component, if it differs from what was told last; remembers it as told. The growing age of
    /// good health is no news, except for the moment when it reaches the soak time.
    pub fn news(&mut self, name: &ComponentName, report: Option<Report>) -> Option<Value> {
        let told = self.0.get(name);
        let is_news = match (told, &report) {
            (None | Some(None), None) => false,
            (Some(Some(told)), Some(report)) => told.without_age() != report.without_age(),
            _ => true,
        };
        if !is_news {
            return None;
        }
        let value = report.as_ref().map_or(Value::Null, Report::to_value);
        self.0.insert(name.clone(), report);
        Some(value)
    }

    /// The server may know nothing; everything is news again. What was told to be gone stays in mind.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

/// When the good health of a component reaches its soak time.
pub fn soak_at(home: &Home, status: &Status) -> Option<Instant> {
    let soak_s = installed::facts(home, status.version.as_ref()?)?.soak_s;
    Some(status.healthy_since? + Duration::from_secs(soak_s.into()))
}

impl Report {
    fn without_age(&self) -> Self {
        let mut report = self.clone();
        report.facts.healthy_for_s = 0;
        report
    }

    fn to_value(&self) -> Value {
        let mut value = serde_json::to_value(&self.facts).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            for name in OPTIONAL {
                members.entry(name).or_insert(Value::Null);
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    #![allow(clippy::disallowed_methods, reason = "a test needs some moment to count from")]
    use super::*;
    use crate::hands::files;
    use crate::hands::installed::Installed;
    use crate::hands::supervisor::ProcessFacts;
    use crate::places::Prefix;
    use muster_model::component::INSTALLED_FILE;
    use muster_wire::id::{Sha256Hex, Version};
    use muster_wire::time::Timestamp;

    #[test]
    fn a_report_is_news_when_facts_change_and_when_the_soak_time_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let name = ComponentName::new("greeter").unwrap();
        let home = Prefix::new(folder.path()).unwrap().home(&name);
        let version = Version::new("1").unwrap();
        std::fs::create_dir_all(home.version(&version)).unwrap();
        let installed = Installed { package_sha256: Sha256Hex::from_bytes(&[1; 32]), soak_s: 5 };
        files::replace_json(&home.version(&version).join(INSTALLED_FILE), &installed).unwrap();
        installed::point(&home, Some(&version)).unwrap();

        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let process = ProcessFacts {
            start_id: "boot-1-2".into(),
            started_at: Timestamp::from_seconds(9),
            since: start,
            program_sha256: None,
        };
        let mut status = Status {
            version: Some(version.clone()),
            process: Some(process),
            health: Health::Healthy,
            healthy_since: Some(start),
            trouble: None,
            restarts: 0,
            port: Some(80),
        };
        let mut reported = Reported::default();
        let value = reported.news(&name, of(&home, &status, None, at(1))).unwrap();
        assert_eq!(
            (&value["healthy_for_s"], &value["port"], &value["last_failed"]),
            (&1.into(), &80.into(), &Value::Null)
        );
        assert!(reported.news(&name, of(&home, &status, None, at(4))).is_none());
        assert_eq!(soak_at(&home, &status), Some(at(5)));
        assert_eq!(reported.news(&name, of(&home, &status, None, at(5))).unwrap()["healthy_for_s"], 5);

        status.process = None;
        status.health = Health::Stopped;
        let value = reported.news(&name, of(&home, &status, None, at(6))).unwrap();
        assert_eq!((&value["health"], &value["start_id"]), (&"stopped".into(), &Value::Null));
        installed::point(&home, None).unwrap();
        assert_eq!(reported.news(&name, of(&home, &status, None, at(7))), Some(Value::Null));
        assert_eq!(reported.news(&name, of(&home, &status, None, at(7))), None);
    }
}
