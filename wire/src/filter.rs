//! Topic filters of subscriptions.

use crate::id::ThingName;
use crate::limits::{TOPIC_BYTES_MAX, TOPIC_SLASHES_MAX};
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
    /// Shared subscriptions are not served.
    #[error("filter {0:?} is a shared subscription, which is not served")]
    Shared(String),
}

impl TopicFilter {
    /// Checks `text` and makes a filter of it.
    pub fn new(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX {
            return Err(FilterError::Length(text.len()));
        }
        if text.starts_with("$share/") {
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

    /// Whether the filter has a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.0.split('/').any(|level| matches!(level, "+" | "#"))
    }

    /// The one thing that every topic of this filter is about: `$aws/things/{thing}/…`.
    /// `None` when the filter spans several things or none.
    #[must_use]
    pub fn thing(&self) -> Option<ThingName> {
        let rest = self.0.strip_prefix("$aws/things/")?;
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
    fn unsound_filters_are_refused() {
        for text in ["", "a#", "a/#/b", "a+/b", "a/b+", "$share/g/a", "a/b/c/d/e/f/g/h/i", "a\0"] {
            assert!(TopicFilter::new(text).is_err(), "{text:?}");
        }
        assert!(TopicFilter::new(&"x".repeat(257)).is_err());
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
