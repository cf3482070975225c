//! Topic filters of subscriptions.

use crate::id::ThingName;
use crate::limits::{SHARE_NAME_BYTES_MAX, TOPIC_BYTES_MAX, TOPIC_SLASHES_MAX};
use crate::topic::{first_level, is_answer_filter, is_application_level};
use std::fmt;

/// A checked MQTT topic filter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TopicFilter(Box<str>);

/// Why a text is not a topic filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Empty, or longer than [`TOPIC_BYTES_MAX`].
    #[error("filter has {0} bytes; 1 to {TOPIC_BYTES_MAX} are allowed")]
    Length(usize),
    /// More than [`TOPIC_SLASHES_MAX`] separators.
    #[error("filter has {0} slashes; at most {TOPIC_SLASHES_MAX} are allowed")]
    TooDeep(usize),
    /// A wildcard beside other characters, or `#` before the end.
    #[error("filter {0:?} has a wildcard that is not a whole level, or a # that is not the last one")]
    Wildcard(String),
    /// `$share/` without a usable name or filter after it.
    #[error(
        "filter {0:?} is no shared subscription: $share/, a name of 1 to {SHARE_NAME_BYTES_MAX} bytes without + and #, a filter"
    )]
    Shared(String),
}

/// What a client subscribes to: a filter of its own, or one whose messages are shared among a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subscribed {
    /// Every message for this client.
    Own(TopicFilter),
    /// Each message for one member of the group: `$share/{group}/{filter}`.
    Shared {
        /// The group's name.
        group: Box<str>,
        /// What the group wants.
        filter: TopicFilter,
    },
}

impl Subscribed {
    /// Reads what stands in a SUBSCRIBE. The prefix of a shared subscription does not count for length and slashes.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let Some(rest) = text.strip_prefix(SHARE) else { return TopicFilter::new(text).map(Self::Own) };
        let bad = || FilterError::Shared(text.to_owned());
        let (group, filter) = rest.split_once('/').ok_or_else(bad)?;
        if group.is_empty() || group.len() > SHARE_NAME_BYTES_MAX || group.contains(['+', '#', '\0']) {
            return Err(bad());
        }
        Ok(Self::Shared { group: group.into(), filter: TopicFilter::new(filter)? })
    }

    /// The filter, without the group.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        match self {
            Self::Own(filter) | Self::Shared { filter, .. } => filter,
        }
    }
}

impl fmt::Display for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(filter) => write!(f, "{filter}"),
            Self::Shared { group, filter } => write!(f, "{SHARE}{group}/{filter}"),
        }
    }
}

/// Begin of a shared subscription.
const SHARE: &str = "$share/";

impl TopicFilter {
    /// Checks `text` and makes a filter of it.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX {
            return Err(FilterError::Length(text.len()));
        }
        if text.starts_with(SHARE) {
            return Err(FilterError::Shared(text.to_owned()));
        }
        let levels: Vec<&str> = text.split('/').collect();
        if levels.len() > TOPIC_SLASHES_MAX + 1 {
            return Err(FilterError::TooDeep(levels.len() - 1));
        }
        let last = levels.len() - 1;
        let sound = levels.iter().enumerate().all(|(at, level)| match *level {
            "#" => at == last,
            "+" => true,
            level => !level.contains(['+', '#', '\0']),
        });
        if sound { Ok(Self(text.into())) } else { Err(FilterError::Wildcard(text.to_owned())) }
    }

    /// Everything that dashboards read.
    #[must_use]
    pub fn views() -> Self {
        Self("muster/view/#".into())
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a message on `topic` is meant.
    ///
    /// As AWS IoT Core does and unlike the MQTT standard, `a/#` does not match `a` itself.
    /// A wildcard at the first level never matches a topic that begins with `$`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        // Most filters are a topic: looking level by level would be a tenth of the cost of a job's way to its thing.
        if !self.0.ends_with('#') && !self.0.contains('+') {
            return *self.0 == *topic;
        }
        if topic.starts_with('$') && !self.0.starts_with('$') {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            match (wanted, levels.next()) {
                ("#", Some(_)) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether `topic` is one level above what the filter matches: `a` with `a/#`, which in the MQTT standard is meant too.
    #[must_use]
    pub fn matches_as_parent(&self, topic: &str) -> bool {
        let Some(parent) = self.0.strip_suffix("/#") else { return false };
        let (mut wanted, mut levels) = (parent.split('/'), topic.split('/'));
        // A wildcard at the first level never matches a topic that begins with `$`.
        if topic.starts_with('$') && !parent.starts_with('$') {
            return false;
        }
        loop {
            match (wanted.next(), levels.next()) {
                (None, None) => return true,
                (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
                _ => return false,
            }
        }
    }

    /// Whether the filter has a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.split('/').any(|level| matches!(level, "+" | "#"))
    }

    /// The levels, in order.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether every topic of this filter belongs to the user: see [`crate::topic::ApplicationTopic`].
    #[must_use]
    pub fn is_application(&self) -> bool {
        let first = first_level(&self.0);
        !matches!(first, "+" | "#") && is_application_level(first)
    }

    /// Whether the filter is about answers that go to the connection that asked, whoever else subscribes.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.0.starts_with("muster/reply/") || is_answer_filter(&self.0)
    }

    /// Whether every topic that `other` matches is matched by this filter too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if other.0.starts_with('$') != self.0.starts_with('$') {
            return false;
        }
        let mut theirs = other.levels();
        for ours in self.levels() {
            match (ours, theirs.next()) {
                ("#", Some(_)) => return true,
                ("+", Some(level)) if level != "#" => {}
                (ours, Some(level)) if ours == level => {}
                _ => return false,
            }
        }
        theirs.next().is_none()
    }

    /// The one thing that every topic of this filter is about: `$aws/things/{thing}/…` or `muster/things/{thing}/…`.
    /// `None` when the filter spans several things or none.
    #[must_use]
    pub fn thing(&self) -> Option<ThingName> {
        let rest = self.0.strip_prefix("$aws/things/").or_else(|| self.0.strip_prefix("muster/things/"))?;
        ThingName::new(rest.split_once('/')?.0).ok()
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn matching_follows_the_table() {
        let cases = [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+/c", "a/b/c", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a/", true),
            ("a/#", "a", false),
            ("#", "a/b", true),
            ("#", "$aws/x", false),
            ("+/x", "$aws/x", false),
            ("$aws/#", "$aws/x", true),
            ("$aws/things/+/jobs/notify", "$aws/things/t/jobs/notify", true),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(TopicFilter::new(filter).unwrap().matches(topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn a_filter_knows_its_parent() {
        let cases = [
            ("a/#", "a", true),
            ("a/#", "a/b", false),
            ("a/+/#", "a/b", true),
            ("a/+/#", "a", false),
            ("a/+", "a", false),
            ("#", "a", false),
            ("+/#", "$aws", false),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(TopicFilter::new(filter).unwrap().matches_as_parent(topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn unsound_filters_are_refused() {
        for text in ["", "a#", "a/#/b", "a+/b", "a/b+", "$share/g/a", "a/b/c/d/e/f/g/h/i", "a\0"] {
            assert!(TopicFilter::new(text).is_err(), "{text:?}");
        }
        assert!(TopicFilter::new(&"x".repeat(257)).is_err());
    }

    #[test]
    fn shared_subscriptions_are_read() {
        let parse = |text: &str| Subscribed::parse(text).map(|found| (found.filter().to_string(), found.to_string()));
        assert_eq!(parse("a/+"), Ok(("a/+".into(), "a/+".into())));
        assert_eq!(parse("$share/g/a/#"), Ok(("a/#".into(), "$share/g/a/#".into())));
        let deep = format!("$share/{}/1/2/3/4/5/6/7/8", "g".repeat(128));
        assert!(parse(&deep).is_ok(), "the prefix does not count");
        for bad in ["$share/", "$share/g", "$share//a", "$share/g/", "$share/g+/a", "$share/g/a#"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("$share/{}/a", "g".repeat(129))).is_err());
        assert!(matches!(parse("$share/g/$share/h/a"), Err(FilterError::Shared(_))));
    }

    #[test]
    fn covering_follows_the_table() {
        let cases = [
            ("app/t/#", "app/t/#", true),
            ("app/t/#", "app/t/a/+", true),
            ("app/t/#", "app/t", false),
            ("app/t/#", "app/+/a", false),
            ("app/+/a", "app/t/a", true),
            ("app/+/a", "app/+/a", true),
            ("app/+", "app/#", false),
            ("#", "$aws/x", false),
            ("a", "a", true),
            ("a", "a/b", false),
        ];
        for (ours, theirs, expected) in cases {
            let (ours, theirs) = (TopicFilter::new(ours).unwrap(), TopicFilter::new(theirs).unwrap());
            assert_eq!(ours.covers(&theirs), expected, "{ours} {theirs}");
        }
    }

    #[test]
    fn filters_of_applications_begin_with_a_level_of_their_own() {
        let is = |text: &str| TopicFilter::new(text).unwrap().is_application();
        assert!(is("app/#") && is("sensors/+/t") && is("a"));
        assert!(!is("#") && !is("+/a") && !is("$aws/a") && !is("muster/view/#") && !is("/a"));
    }

    #[test]
    fn thing_is_known_only_when_it_is_one() {
        let thing = |text: &str| TopicFilter::new(text).unwrap().thing().map(|t| t.to_string());
        assert_eq!(thing("$aws/things/t1/jobs/#"), Some("t1".into()));
        assert_eq!(thing("$aws/things/+/jobs/#"), None);
        assert_eq!(thing("$aws/things/t1"), None);
        assert_eq!(thing("$aws/#"), None);
    }
}
