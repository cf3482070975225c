//! What is not as it should be with a connector, and what to do next.

mod authority;
mod life;

pub use authority::distrusts;
pub use life::explain;

use muster_wire::admin::{CertificateView, Finding, Recovery};
use muster_wire::component::Health;
use muster_wire::id::ComponentName;
use muster_wire::time::Timestamp;
use muster_wire::view::{ComponentView, ConnectorView, LinkStatus};
use std::time::Duration;

/// How the reason begins when a component does not fit into a connector's shadow.
pub const NO_ROOM: &str = "there is no room for it beside the other components";

/// A clock that is wrong by more makes certificates look invalid sooner or later.
const CLOCK_WRONG_MS: u64 = 60_000;
/// A certificate is renewed around half of its life; with a quarter left something hinders it.
const LATE_PART: u32 = 4;
/// How late that is when nobody knows when it was issued.
const LATE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Everything that is wrong, the most important first. The certificate is the one in use; the recovery, that the host asks
/// to be let in again.
#[must_use]
pub fn diagnose(
    view: &ConnectorView,
    certificate: Option<&CertificateView>,
    recovery: Option<&Recovery>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |about: &str, what: String, next: String| {
        findings.push(Finding { about: about.to_owned(), what, next });
    };
    let name = &view.name;
    let renew = format!("`muster connector add {name} --renew` makes a new install script");
    match (view.link, view.enrolled_at) {
        (LinkStatus::Online, _) => {}
        (_, None) => {
            find("link", "it has not enrolled yet".into(), format!("run its install script on the host; {renew}"))
        }
        (LinkStatus::Never, Some(at)) => find(
            "link",
            format!("it enrolled at {at} and has never connected"),
            "on the host: does `muster-agent status` say that the agent runs, does it reach the server?".into(),
        ),
        (LinkStatus::Stale | LinkStatus::Offline, Some(_)) => find(
            "link",
            format!("it is not connected since {}", view.link_since),
            "on the host: is it on, does `muster-agent status` say that the agent runs, does it reach the server?"
                .into(),
        ),
    }
    if let Some((what, next)) = certificate_finding(view, certificate, recovery, now, &renew) {
        find("certificate", what, next);
    }
    if let Some(ahead) = view.clock_ahead_ms.filter(|ahead| ahead.unsigned_abs() > CLOCK_WRONG_MS) {
        let (seconds, how) = (ahead.unsigned_abs() / 1000, if ahead > 0 { "ahead of" } else { "behind" });
        find(
            "clock",
            format!("its clock is {seconds} s {how} the server's"),
            "set the clock of the host: `timedatectl set-ntp true`; certificates are judged by it".into(),
        );
    }
    for (component, state) in &view.components {
        if let Some((what, next)) = component_finding(view, component, state) {
            find(component.as_str(), what, next);
        }
    }
    if view.agent_outdated == Some(true) {
        let what = "its agent is not the one that the server offers".to_owned();
        find("agent", what, format!("install it again: {renew}"));
    }
    findings
}

fn certificate_finding(
    view: &ConnectorView,
    certificate: Option<&CertificateView>,
    recovery: Option<&Recovery>,
    now: Timestamp,
    renew: &str,
) -> Option<(String, String)> {
    let name = &view.name;
    if let Some(Recovery { why, asked_at, peer, approved_by, .. }) = recovery {
        return Some(match approved_by {
            None => (
                format!("{why}; a host with the old key asks from {peer} since {asked_at} to be let in again"),
                format!(
                    "is it that host? `muster connector approve {name}` lets it in, `muster connector remove {name}` never"
                ),
            ),
            Some(by) => (
                format!("{why}; {by} let it in again, and it has not fetched its certificate yet"),
                "wait some minutes; the log of the agent says when it asks".to_owned(),
            ),
        });
    }
    let certificate = certificate?;
    let end = certificate.not_after?;
    let life = certificate.issued_at.map(|issued| end.since(issued));
    if end <= now {
        let next = format!("when its agent runs it asks to be let in again: `muster connector recoveries`; or {renew}");
        Some((format!("its certificate ended at {end}"), next))
    } else if end.since(now) < life.map_or(LATE, |life| life / LATE_PART) {
        let next = format!("the agent renews it while it is online, its log on the host says why not; {renew}");
        Some((format!("its certificate ends at {end} and was not renewed"), next))
    } else {
        None
    }
}

fn component_finding(
    view: &ConnectorView,
    component: &ComponentName,
    state: &ComponentView,
) -> Option<(String, String)> {
    let failed = state.last_failed.as_ref().filter(|failed| Some(&failed.version) == state.desired.as_ref());
    let log = || format!("look at the log of {component} on the host, below components/{component}");
    if let Some(why) = &state.why {
        if why.starts_with(NO_ROOM) {
            return Some((why.clone(), format!("{}; put it on another connector", life::TOO_MANY)));
        }
        let next = match (failed, view.link) {
            (Some(failed), _) => format!(
                "publish a corrected version, or try this one again: `muster upgrade {component} {} --to name={} --again`",
                failed.version, view.name
            ),
            (None, LinkStatus::Online) => {
                format!("wait; `muster actions --connector {}` shows how far it is", view.name)
            }
            (None, _) => "it goes on by itself when the connector is online".to_owned(),
        };
        return Some((why.clone(), next));
    }
    match state.health {
        Some(Health::Stopped) => Some(("it does not run".to_owned(), log())),
        Some(Health::Unhealthy) => Some(("its health probe fails".to_owned(), log())),
        Some(Health::Starting | Health::Healthy) | None => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn view(changes: &Value) -> ConnectorView {
        let mut value = json!({
            "v": 1, "name": "web-1", "link": "online", "link_since": 0, "work": "healthy", "registered_at": 0,
            "enrolled_at": 0, "host": {}, "components": {},
        });
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn certificate(issued_s: i64, ends_s: i64) -> CertificateView {
        let json = json!({
            "id": "00".repeat(32), "issued_at": issued_s * 1000, "not_after": ends_s * 1000, "status": "current",
        });
        serde_json::from_value(json).unwrap()
    }

    #[track_caller]
    fn check(changes: &Value, expires_s: i64, expected: &[(&str, &str, &str)]) {
        check_with(changes, &certificate(0, expires_s), None, expected);
    }

    #[track_caller]
    fn check_with(
        changes: &Value,
        certificate: &CertificateView,
        recovery: Option<&Recovery>,
        expected: &[(&str, &str, &str)],
    ) {
        let found = diagnose(&view(changes), Some(certificate), recovery, Timestamp::from_seconds(1000));
        let shown: Vec<_> = found.iter().map(|f| (f.about.as_str(), f.what.as_str(), f.next.as_str())).collect();
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for ((about, what, next), (wanted_about, wanted_what, wanted_next)) in shown.iter().zip(expected) {
            assert_eq!(about, wanted_about);
            assert!(what.contains(wanted_what), "{what}");
            assert!(next.contains(wanted_next), "{next}");
        }
    }

    #[test]
    fn whatever_is_wrong_is_told_with_what_to_do_next() {
        let later = 100 * 24 * 3600;
        check(&json!({}), later, &[]);
        check(&json!({ "link": "never" }), later, &[("link", "never connected", "muster-agent status")]);
        let new = json!({ "link": "never", "enrolled_at": null });
        check(&new, later, &[("link", "has not enrolled", "muster connector add web-1 --renew")]);
        check(&json!({ "link": "offline" }), later, &[("link", "is not connected since", "is it on")]);
        check(&json!({}), 1000, &[("certificate", "ended at", "--renew")]);
        check(&json!({}), 1300, &[("certificate", "was not renewed", "its log")]);
        check(&json!({}), 1400, &[]);
        let unknown = |ends_s| CertificateView { issued_at: None, ..certificate(0, ends_s) };
        check_with(&json!({}), &unknown(6 * 86_400), None, &[("certificate", "was not renewed", "")]);
        check_with(&json!({}), &unknown(8 * 86_400), None, &[]);
        check(&json!({ "clock_ahead_ms": -90_000 }), later, &[("clock", "90 s behind", "set the clock")]);
        check(&json!({ "clock_ahead_ms": 59_000 }), later, &[]);
        check(&json!({ "agent_outdated": true }), later, &[("agent", "not the one", "install it again")]);
    }

    #[test]
    fn a_host_that_asks_to_be_let_in_again_is_told_with_the_way_to_let_it_in() {
        let waits = json!({
            "name": "web-1", "why": "its certificate has ended", "key": "11".repeat(32), "certificate": "00".repeat(32),
            "asked_at": 990_000, "peer": "192.0.2.1", "host": {},
        });
        let mut recovery: Recovery = serde_json::from_value(waits).unwrap();
        let ended = certificate(0, 900);
        let expected = ("certificate", "asks from 192.0.2.1", "`muster connector approve web-1`");
        check_with(&json!({}), &ended, Some(&recovery), &[expected]);
        recovery.approved_by = serde_json::from_value(json!("admin")).unwrap();
        check_with(&json!({}), &ended, Some(&recovery), &[("certificate", "admin let it in again", "wait")]);
    }

    #[test]
    fn a_component_tells_why_it_is_not_where_it_should_be() {
        let later = 100 * 24 * 3600;
        let failed = json!({
            "version": "1.2", "package_sha256": "00".repeat(32), "reason": "no probe passed", "at": 0,
        });
        let state = json!({ "desired": "1.2", "reported": "1.1", "health": "healthy", "why": "1.2 was rolled back",
                            "last_failed": failed });
        check(
            &json!({ "components": { "web": state } }),
            later,
            &[("web", "rolled back", "`muster upgrade web 1.2 --to name=web-1 --again`")],
        );
        let no_room = json!({ "web": { "why": format!("{NO_ROOM}: too large") } });
        check(&json!({ "components": no_room }), later, &[("web", "too large", "about 24 components")]);
        let waits = json!({ "web": { "desired": "1.2", "why": "the job waits" } });
        check(&json!({ "components": waits }), later, &[("web", "waits", "muster actions --connector web-1")]);
        check(
            &json!({ "components": waits, "link": "stale" }),
            later,
            &[("link", "is not connected", ""), ("web", "waits", "when the connector is online")],
        );
        check(
            &json!({ "components": { "web": { "health": "stopped" } } }),
            later,
            &[("web", "does not run", "the log")],
        );
    }
}
