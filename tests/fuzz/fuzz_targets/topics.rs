//! Topics, filters and selectors: what is read prints as it was, and matching follows the rules of MQTT.

#![no_main]

use muster_wire::admin::Selector;
use muster_wire::filter::{Subscribed, TopicFilter};
use muster_wire::topic::Topic;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(topic) = Topic::parse(text) {
        assert_eq!(topic.to_string(), text);
        assert_eq!(Topic::parse(&topic.to_string()), Ok(topic));
    }
    if let Ok(selector) = text.parse::<Selector>() {
        assert_eq!(selector.to_string().parse(), Ok(selector));
    }
    // The part before the first line feed as a filter, the rest as a topic.
    let (filter, topic) = text.split_once('\n').unwrap_or((text, text));
    if let Ok(subscribed) = Subscribed::parse(filter) {
        assert_eq!(Subscribed::parse(&subscribed.to_string()), Ok(subscribed));
    }
    if let Ok(filter) = TopicFilter::new(filter) {
        assert!(filter.covers(&filter), "{}", filter.as_str());
        if !topic.is_empty() && !topic.contains(['+', '#']) {
            assert_eq!(filter.matches(topic), matches(filter.as_str(), topic), "{} {topic}", filter.as_str());
        }
        let _ = filter.thing();
    }
});

/// MQTT's rules, written plainly: `a/#` matches below `a` and not `a` itself, as AWS IoT has it; a wildcard in front
/// matches nothing that begins with `$`.
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), Some(_)) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}
