//! What the life of a connector explains: whether it is let in, how it got there, and what its host asked for.

use muster_wire::admin::{CertificateStatus, CertificateView, Finding, TokenState, TokenView};
use muster_wire::id::ThingName;
use muster_wire::view::{ConnectorView, Life, LifecycleView};

/// Joins what the life of a connector explains with what else was found: the explanation comes first, and what only
/// follows from it is left out. `token` is that of its latest script; `certificates` begin with the latest one.
///
/// Who is disabled is not connected either, and to look whether the host is on would be wasted time.
#[must_use]
pub fn explain(
    view: &ConnectorView,
    token: Option<&TokenView>,
    certificates: &[CertificateView],
    mut found: Vec<Finding>,
) -> Vec<Finding> {
    let name = &view.name;
    let life = &view.lifecycle;
    let mut findings = Vec::new();
    let mut find = |about: &str, what: String, next: String| {
        findings.push(Finding { about: about.to_owned(), what, next });
    };
    match life.state {
        Life::Removed => {
            let next = format!("`muster connector add {name} --reinstall` brings it back with its history");
            find("life", format!("it has been removed{}", circumstances(life)), next);
            return findings;
        }
        Life::Disabled => {
            let next = format!("`muster connector enable {name}` lets it in again");
            find("life", format!("it has been disabled{}", circumstances(life)), next);
            found.retain(|other| other.about != "link" && other.about != "certificate");
        }
        // It was resolved: both places are shut out, and the one that goes on has to be installed.
        Life::Quarantined if is_shut_out(certificates) => {
            let next = format!(
                "install the one place that goes on, with the script of `muster connector add {name} --reinstall`"
            );
            let what = "its quarantine is resolved, and every certificate of it revoked: no place is let in until one is \
                        installed anew";
            find("life", what.to_owned(), next);
            found.retain(|other| other.about != "link" && other.about != "certificate");
        }
        Life::Quarantined => {
            let next = format!(
                "find out which place goes on, then `muster connector resolve {name}` and install that one anew; with \
                 --keep-current if there is one host only, whose state was restored"
            );
            find("life", format!("it has been quarantined{}", circumstances(life)), next);
        }
        Life::Active => {}
    }
    if view.enrolled_at.is_none() && life.state == Life::Active {
        found.retain(|other| other.about != "link");
        let (what, next) = not_enrolled(name, token);
        find("link", what, next);
    }
    let is_told = life.state == Life::Quarantined;
    if let Some(revoked) = certificates.first().filter(|_| is_shut_out(certificates) && !is_told) {
        found.retain(|other| other.about != "link" && other.about != "certificate");
        let by = revoked.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let at = revoked.since.map(|at| format!(" at {at}")).unwrap_or_default();
        let why = revoked.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        let next = format!("`muster connector add {name} --renew` makes a script that gives the host a new one");
        find("certificate", format!("its certificate was revoked{by}{at}{why}"), next);
    }
    if let Some(refused) = view.host.settings.as_ref().and_then(|settings| settings.refused.as_ref()) {
        let next =
            "correct agent.toml on the host (what was tried is in agent.toml.refused beside it), try the way with \
                    `muster-agent check`, then `muster-agent reload`"
                .to_owned();
        find("settings", refused.to_string(), next);
    }
    if let Some(refused) = &view.host.reports_refused {
        let what =
            format!("what its agent reports of its components is refused, so they look older than they are: {refused}");
        find("agent", what, format!("{TOO_MANY}; take some off this host, or run a second connector on it"));
    }
    findings.append(&mut found);
    findings
}

/// About 8 KiB of shadow, a third of a kilobyte for each component.
pub(super) const TOO_MANY: &str =
    "a connector can have about 24 components, less with long names and reasons of failures";

/// ` since … by …: why`, as far as it is known.
fn circumstances(life: &LifecycleView) -> String {
    let since = life.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let by = life.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let why = life.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{since}{by}{why}")
}

fn not_enrolled(name: &ThingName, token: Option<&TokenView>) -> (String, String) {
    let renew = format!("`muster connector add {name} --renew` makes a new install script");
    match token {
        Some(TokenView { state: TokenState::Live, expires_at, issued_by, .. }) => (
            format!("it has not enrolled yet; the install script that {issued_by} made works until {expires_at}"),
            format!("run that script on the host; {renew}"),
        ),
        Some(TokenView { expires_at, .. }) => {
            (format!("it has not enrolled, and its install script works no more since {expires_at}"), renew)
        }
        None => ("it has not enrolled, and it has no install script that works".to_owned(), renew),
    }
}

/// Whether the latest certificate was revoked and there is no other.
fn is_shut_out(certificates: &[CertificateView]) -> bool {
    let works = |one: &CertificateView| matches!(one.status, CertificateStatus::Pending | CertificateStatus::Current);
    certificates.first().is_some_and(|latest| latest.status == CertificateStatus::Revoked)
        && !certificates.iter().any(works)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn view(changes: &Value) -> ConnectorView {
        let mut value = json!({
            "v": 1, "name": "web-1", "link": "offline", "link_since": 0, "work": "unknown", "registered_at": 0,
            "enrolled_at": 0, "host": {}, "components": {},
        });
        value.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn token(state: &str) -> TokenView {
        let json = json!({
            "id": "ab", "connector": "web-1", "issued_by": "ann", "expires_at": 300_000, "state": state, "uses": 0,
            "uses_max": 1,
        });
        serde_json::from_value(json).unwrap()
    }

    fn certificate(status: &str) -> CertificateView {
        let json = json!({
            "id": "00".repeat(32), "status": status, "since": 60_000, "by": "ann", "reason": "the laptop was stolen",
        });
        serde_json::from_value(json).unwrap()
    }

    fn finding(about: &str) -> Finding {
        Finding { about: about.to_owned(), what: "what".to_owned(), next: "next".to_owned() }
    }

    /// `about what -> next` of each finding, for a connector of which link, certificate and a component were found.
    fn explained(changes: &Value, token: Option<&TokenView>, certificates: &[CertificateView]) -> Vec<String> {
        let found = ["link", "certificate", "web"].map(finding).into();
        let findings = explain(&view(changes), token, certificates, found);
        findings.iter().map(|one| format!("{} {} -> {}", one.about, one.what, one.next)).collect()
    }

    #[track_caller]
    fn check(changes: &Value, token: Option<&TokenView>, certificates: &[CertificateView], expected: &[&[&str]]) {
        let found = explained(changes, token, certificates);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, words) in found.iter().zip(expected) {
            for word in *words {
                assert!(found.contains(word), "{found:?} does not say {word:?}");
            }
        }
    }

    fn life(state: &str) -> Value {
        json!({ "lifecycle": { "state": state, "since": 60_000, "by": "ann", "why": "moves" } })
    }

    #[test]
    fn who_is_not_let_in_is_told_first_and_with_the_way_back() {
        let (link, certificate, web) = (["link what"], ["certificate what"], ["web what"]);
        check(&life("active"), None, &[], &[&link, &certificate, &web]);
        let disabled =
            ["life it has been disabled since 1970-01-01T00:01:00Z by ann: moves", "connector enable web-1`"];
        check(&life("disabled"), None, &[], &[&disabled, &web]);
        let removed = ["life it has been removed since", "`muster connector add web-1 --reinstall`"];
        check(&life("removed"), None, &[], &[&removed]);
        let quarantined = ["life it has been quarantined", "`muster connector resolve web-1`", "--keep-current"];
        check(&life("quarantined"), None, &[], &[&quarantined, &link, &certificate, &web]);
        // Once resolved there is one step left, and it is told once.
        let resolved = ["life its quarantine is resolved", "`muster connector add web-1 --reinstall`"];
        check(&life("quarantined"), None, &[self::certificate("revoked")], &[&resolved, &web]);
    }

    #[test]
    fn who_never_came_is_told_whether_its_script_works() {
        let new = json!({ "link": "never", "enrolled_at": null });
        let others: [&[&str]; 2] = [&["certificate what"], &["web what"]];
        let live = ["link it has not enrolled yet", "ann made works until 1970-01-01T00:05:00Z", "run that script"];
        check(&new, Some(&token("live")), &[], &[&live, others[0], others[1]]);
        let expired = ["works no more since 1970-01-01T00:05:00Z -> `muster connector add web-1 --renew`"];
        check(&new, Some(&token("expired")), &[], &[&expired, others[0], others[1]]);
        check(&new, None, &[], &[&["no install script that works", "--renew"], others[0], others[1]]);
        // For one that is enrolled, a script only waits to be used.
        check(&json!({}), Some(&token("expired")), &[], &[&["link what"], others[0], others[1]]);
    }

    #[test]
    fn a_revoked_certificate_counts_where_there_is_no_other() {
        let revoked = ["certificate its certificate was revoked by ann at", "(the laptop was stolen)", "--renew`"];
        check(&json!({}), None, &[certificate("revoked")], &[&revoked, &["web what"]]);
        let replaced = [certificate("revoked"), certificate("replaced")];
        check(&json!({}), None, &replaced, &[&revoked, &["web what"]]);
        for works in ["pending", "current"] {
            let one = [certificate(works), certificate("revoked")];
            check(&json!({}), None, &one, &[&["link"], &["certificate what"], &["web"]]);
        }
    }

    #[test]
    fn reports_that_the_server_refuses_are_told() {
        let changes = json!({ "host": { "reports_refused": "the shadow is too large (30 components)" } });
        let told = ["agent what its agent reports", "(30 components)", "about 24 components"];
        check(&changes, None, &[], &[&told, &["link"], &["certificate"], &["web"]]);
    }

    #[test]
    fn settings_that_were_taken_back_are_told() {
        let refused = json!({ "server": "new:8443", "proxy": null, "at": 60_000, "reason": "no answer in 300 s" });
        let changes = json!({ "host": { "settings": { "server": "old:8443", "refused": refused } } });
        let told = ["settings server new:8443", "taken back at", "no answer in 300 s", "agent.toml.refused", "reload"];
        check(&changes, None, &[], &[&told, &["link"], &["certificate"], &["web"]]);
    }
}
