//! Who may use which application topic. Pure.
//!
//! A connector has the topics that the settings give it, with its own name in place of `{thing}`. Observers read every
//! application topic, operators read and publish on every one. A filter is allowed when some pattern covers all of it.

use super::{Decision, decide};
use muster_certs::identity::{Identity, Role};
use muster_wire::filter::TopicFilter;
use muster_wire::topic::ApplicationTopic;

/// A level that stands for the name of the connector.
const THING: &str = "{thing}";

/// Whether a client may publish on an application topic.
pub(crate) fn may_publish(patterns: &[TopicFilter], identity: &Identity, topic: &ApplicationTopic) -> Decision {
    decide(match identity.role() {
        Role::Connector => covered(patterns, identity.name(), topic.as_str()),
        Role::Operator => true,
        Role::Observer | Role::Service | Role::Claim | Role::Provisioned => false,
    })
}

/// Whether a client may subscribe to a filter of application topics.
pub(crate) fn may_subscribe(patterns: &[TopicFilter], identity: &Identity, filter: &TopicFilter) -> Decision {
    decide(match identity.role() {
        Role::Connector => covered(patterns, identity.name(), filter.as_str()),
        Role::Observer | Role::Operator => true,
        Role::Service | Role::Claim | Role::Provisioned => false,
    })
}

/// Whether one of the patterns matches everything that `text`, a topic or a filter, matches.
fn covered(patterns: &[TopicFilter], name: &str, text: &str) -> bool {
    patterns.iter().any(|pattern| covers(pattern, name, text))
}

fn covers(pattern: &TopicFilter, name: &str, text: &str) -> bool {
    let mut levels = text.split('/');
    for wanted in pattern.levels() {
        match (wanted, levels.next()) {
            ("#", Some(_)) => return true,
            ("+", Some(level)) if level != "#" => {}
            (THING, Some(level)) if level == name => {}
            (wanted, Some(level)) if wanted == level && wanted != THING => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::identity::Fleet;
    use muster_wire::topic::Topic;

    fn identity(role: Role) -> Identity {
        Identity::new(Fleet::new("test").unwrap(), role, if role == Role::Claim { "t1:a" } else { "t1" }).unwrap()
    }

    #[test]
    fn application_topics_follow_the_table() {
        let patterns = ["app/{thing}/#", "site/+/temperature"].map(|text| TopicFilter::new(text).unwrap());
        let roles = [Role::Connector, Role::Observer, Role::Operator, Role::Claim];
        let cases = [
            // topic, then: connector t1, observer, operator, claim
            ("app/t1/a", [true, false, true, false]),
            ("app/t1/a/b", [true, false, true, false]),
            ("app/t1", [false, false, true, false]),
            ("app/t2/a", [false, false, true, false]),
            ("app/{thing}/a", [false, false, true, false]),
            ("site/3/temperature", [true, false, true, false]),
            ("site/3/4/temperature", [false, false, true, false]),
            ("sensors/x", [false, false, true, false]),
        ];
        for (text, expected) in cases {
            let Topic::Application(topic) = Topic::parse(text).unwrap() else { panic!("{text}") };
            let found = roles.map(|role| may_publish(&patterns, &identity(role), &topic) == Decision::Allow);
            assert_eq!(found, expected, "{text}");
        }
        let cases = [
            ("app/t1/#", [true, true, true, false]),
            ("app/t1/+/x", [true, true, true, false]),
            ("app/+/a", [false, true, true, false]),
            ("app/#", [false, true, true, false]),
            ("site/+/temperature", [true, true, true, false]),
            ("site/#", [false, true, true, false]),
        ];
        for (text, expected) in cases {
            let filter = TopicFilter::new(text).unwrap();
            let found = roles.map(|role| may_subscribe(&patterns, &identity(role), &filter) == Decision::Allow);
            assert_eq!(found, expected, "{text}");
        }
    }
}
