//! Topic aliases of one connection, in both directions. Made at the first alias, so most connections have none.

use muster_wire::limits::TOPIC_ALIASES_MAX;

/// The names that a connection gave to topics.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    /// What the client calls by number.
    heard: Vec<Option<Box<str>>>,
    /// What the client was told; the place is the alias less one.
    said: Vec<Box<str>>,
}

/// An alias that is not allowed, or that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoAlias;

/// How a topic is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As it is.
    Whole,
    /// As it is, and with a number for the next time.
    New(u16),
    /// By its number.
    Known(u16),
}

impl Aliases {
    /// The topic that a client means: it names one anew, or one that it named before.
    pub(crate) fn hear(&mut self, alias: u16, topic: Box<str>) -> Result<Box<str>, NoAlias> {
        if alias == 0 || alias > TOPIC_ALIASES_MAX {
            return Err(NoAlias);
        }
        let at = usize::from(alias) - 1;
        if topic.is_empty() {
            return self.heard.get(at).cloned().flatten().ok_or(NoAlias);
        }
        if self.heard.len() <= at {
            self.heard.resize(at + 1, None);
        }
        self.heard[at] = Some(topic.clone());
        Ok(topic)
    }

    /// How to write a topic to a client that takes so many aliases. The first topics get them.
    pub(crate) fn spell(&mut self, topic: &str, max: u16) -> Spelling {
        if let Some(at) = self.said.iter().position(|known| **known == *topic) {
            return Spelling::Known(number(at));
        }
        if self.said.len() >= usize::from(max.min(TOPIC_ALIASES_MAX)) {
            return Spelling::Whole;
        }
        self.said.push(topic.into());
        Spelling::New(number(self.said.len() - 1))
    }
}

fn number(at: usize) -> u16 {
    u16::try_from(at + 1).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn aliases_are_bounded_in_both_directions() {
        let mut aliases = Aliases::default();
        assert_eq!(aliases.hear(3, "".into()), Err(NoAlias));
        assert_eq!(aliases.hear(3, "a".into()).as_deref(), Ok("a"));
        assert_eq!(aliases.hear(3, "".into()).as_deref(), Ok("a"));
        assert_eq!(aliases.hear(3, "b".into()).as_deref(), Ok("b"));
        assert_eq!(aliases.hear(3, "".into()).as_deref(), Ok("b"));
        assert_eq!((aliases.hear(0, "a".into()), aliases.hear(9, "a".into())), (Err(NoAlias), Err(NoAlias)));
        assert_eq!((aliases.spell("a", 1), aliases.spell("b", 1)), (Spelling::New(1), Spelling::Whole));
        assert_eq!((aliases.spell("a", 1), aliases.spell("b", 2)), (Spelling::Known(1), Spelling::New(2)));
    }
}
