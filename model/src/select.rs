//! Which connectors a selector means: the one place where it is decided.
//!
//! What an operator or a host's settings say is known of every connector; how it is now is known of a listing only. A
//! lasting intent may not ask for the latter ([`Selector::check_lasting`]), so a missing "now" makes such a term false.

use muster_wire::admin::{ComponentTest, Pattern, Selector, Status, Term, Test};
use muster_wire::id::{PoolName, SiteName, ThingName};
use muster_wire::label::{Label, LabelKey};
use muster_wire::view::ConnectorView;

/// What a selector can ask of a connector.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Name.
    pub name: &'a ThingName,
    /// Pool, if it has one.
    pub pool: Option<&'a PoolName>,
    /// Site, if it has one.
    pub site: Option<&'a SiteName>,
    /// Operating system, as its agent says.
    pub os: &'a str,
    /// Labels, as its agent says.
    pub labels: &'a [Label],
    /// How it is now.
    pub now: Option<&'a ConnectorView>,
}

impl<'a> From<&'a ConnectorView> for Facts<'a> {
    fn from(view: &'a ConnectorView) -> Self {
        Self {
            name: &view.name,
            pool: view.pool.as_ref(),
            site: view.site.as_ref(),
            os: &view.host.os,
            labels: &view.host.labels,
            now: Some(view),
        }
    }
}

/// Whether `selector` means the connector with these facts.
#[must_use]
pub fn selects(selector: &Selector, facts: &Facts<'_>) -> bool {
    selector.terms().iter().all(|term| holds(term, facts))
}

fn holds(term: &Term, facts: &Facts<'_>) -> bool {
    let unknown = facts.now.is_none()
        && matches!(term.test, Test::Outdated | Test::Status(_) | Test::Work(_) | Test::Component(_));
    !unknown && passes(&term.test, facts) != term.negated
}

fn passes(test: &Test, facts: &Facts<'_>) -> bool {
    match test {
        Test::All => true,
        Test::Outdated => facts.now.is_some_and(ConnectorView::is_outdated),
        Test::Pool(wanted) => named(wanted, facts.pool.map(PoolName::as_str)),
        Test::Site(wanted) => named(wanted, facts.site.map(SiteName::as_str)),
        Test::Name(wanted) => named(wanted, Some(facts.name.as_str())),
        Test::Os(wanted) => wanted.iter().any(|pattern| pattern.matches_any_case(facts.os)),
        Test::Label(key, wanted) => named(wanted, label(facts.labels, key)),
        Test::Status(wanted) => facts.now.is_some_and(|view| wanted.iter().any(|one| stands(view, *one))),
        Test::Work(wanted) => facts.now.is_some_and(|view| wanted.contains(&view.work)),
        Test::Component(wanted) => facts.now.is_some_and(|view| wanted.iter().any(|one| runs(view, one))),
    }
}

/// Whether a value that may be absent is one of these; the empty pattern means that it is absent.
fn named(wanted: &[Pattern], found: Option<&str>) -> bool {
    wanted.iter().any(|pattern| match found {
        None => pattern.is_none(),
        Some(found) => !pattern.is_none() && pattern.matches(found),
    })
}

fn label<'a>(labels: &'a [Label], key: &LabelKey) -> Option<&'a str> {
    labels.iter().find(|label| label.key == *key).map(Label::value).filter(|value| !value.is_empty())
}

fn stands(view: &ConnectorView, wanted: Status) -> bool {
    match wanted {
        Status::Link(link) => view.link == link,
        Status::Life(life) => view.lifecycle.state == life,
    }
}

/// A component counts as soon as its agent reports it.
fn runs(view: &ConnectorView, wanted: &ComponentTest) -> bool {
    let reported = view.components.get(&wanted.name).and_then(|component| component.reported.as_ref());
    match (&wanted.version, reported) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(version), Some(reported)) => version == reported,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn view() -> ConnectorView {
        serde_json::from_value(json!({
            "v": 1, "name": "web-1", "pool": "blue", "link": "stale", "link_since": 0, "work": "failed",
            "registered_at": 0, "host": {"os": "Linux (Debian GNU/Linux 12)", "labels": ["env=prod", "rack="]},
            "components": {
                "greeter": {"reported": "1.1", "outdated": true},
                "wanted-only": {"desired": "2"},
            },
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(facts: &Facts<'_>, yes: &[&str], no: &[&str]) {
        for (texts, expected) in [(yes, true), (no, false)] {
            for text in texts {
                assert_eq!(selects(&text.parse().unwrap(), facts), expected, "{text}");
            }
        }
    }

    #[test]
    fn every_test_has_two_sides() {
        let view = view();
        check(
            &Facts::from(&view),
            &[
                "all",
                "pool=blue",
                "pool=red|blue",
                "pool=b*",
                "!pool=red",
                "!unassigned",
                "site=",
                "!site=*",
                "name=web-*",
                "os=*debian*",
                "label.env=prod",
                "label.env=*",
                "label.rack=",
                "label.none=",
                "status=stale|offline",
                "work=failed",
                "component=greeter",
                "component=x|greeter@1.1",
                "outdated",
                "pool=blue,status=stale",
            ],
            &[
                "!all",
                "pool=red",
                "unassigned",
                "pool=*,site=*",
                "name=web",
                "name=*-2",
                "os=windows*",
                "label.env=",
                "label.env=test",
                "label.none=*",
                "status=online",
                "work=healthy",
                "component=wanted-only",
                "component=greeter@1.0",
                "!outdated",
                "pool=blue,status=online",
            ],
        );
    }

    #[test]
    fn what_is_not_known_is_never_selected() {
        let view = view();
        let facts = Facts { now: None, ..Facts::from(&view) };
        check(
            &facts,
            &["all", "pool=blue,label.env=prod"],
            &["status=stale", "!status=online", "!outdated", "outdated"],
        );
    }
}
