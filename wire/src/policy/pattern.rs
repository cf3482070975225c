//! Texts with wildcards and variables: as they stand in a document, and as they are for one connection.

use super::variable::{Facts, Variable};

/// A text as it stands in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// `*`
    Many,
    /// `?`
    One,
    Variable(Variable),
}

/// The same for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Box<[Glyph]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Glyph {
    Char(char),
    One,
    Many,
}

impl Template {
    /// Reads a text. `wild` says whether `*` and `?` are wildcards.
    ///
    /// Errors: a variable that is not closed or not known, as a sentence.
    pub(super) fn parse(text: &str, wild: bool) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("${") {
                let (name, tail) = after.split_once('}').ok_or_else(|| format!("{text:?} has a ${{ without its }}"))?;
                rest = tail;
                // The three characters that have a meaning here are written like this when they have none.
                if matches!(name, "*" | "?" | "$") {
                    plain.push_str(name);
                    continue;
                }
                flush(&mut pieces, &mut plain);
                pieces.push(Piece::Variable(Variable::parse(name)?));
                continue;
            }
            rest = &rest[c.len_utf8()..];
            let wildcard = match c {
                '*' if wild => Some(Piece::Many),
                '?' if wild => Some(Piece::One),
                _ => None,
            };
            match wildcard {
                Some(wildcard) => {
                    flush(&mut pieces, &mut plain);
                    pieces.push(wildcard);
                }
                None => plain.push(c),
            }
        }
        flush(&mut pieces, &mut plain);
        Ok(Self(pieces))
    }

    /// Everything.
    pub(super) fn everything() -> Self {
        Self(vec![Piece::Many])
    }

    pub(super) fn needs_certificate(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Variable(variable) if variable.needs_certificate()))
    }

    /// Puts the values in. A variable without one stays as its text.
    pub(super) fn resolve(&self, facts: &Facts<'_>) -> Pattern {
        let mut glyphs: Vec<Glyph> = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => glyphs.extend(text.chars().map(Glyph::Char)),
                Piece::One => glyphs.push(Glyph::One),
                Piece::Many if glyphs.last() == Some(&Glyph::Many) => {}
                Piece::Many => glyphs.push(Glyph::Many),
                Piece::Variable(variable) => match variable.insertable(facts) {
                    Some(value) => glyphs.extend(value.chars().map(Glyph::Char)),
                    None => glyphs.extend(variable.to_string().chars().map(Glyph::Char)),
                },
            }
        }
        Pattern(glyphs.into())
    }
}

fn flush(pieces: &mut Vec<Piece>, plain: &mut String) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain).into()));
    }
}

impl Pattern {
    /// Whether the text `kind` followed by `name` is meant, from its first character to its last.
    pub(super) fn matches(&self, kind: &str, name: &str) -> bool {
        let mut text = kind.chars().chain(name.chars());
        let mut at = 0;
        // Where to go on when it does not fit: behind the last `*`, which takes one character more.
        let mut again = None;
        loop {
            let before = text.clone();
            match (self.0.get(at), text.next()) {
                (None, None) => return true,
                (Some(Glyph::Many), _) => {
                    again = Some((at + 1, before.clone()));
                    text = before;
                    at += 1;
                    continue;
                }
                (Some(Glyph::Char(wanted)), Some(found)) if *wanted == found => {
                    at += 1;
                    continue;
                }
                (Some(Glyph::One), Some(_)) => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let Some((behind, from)) = &mut again else { return false };
            if from.next().is_none() {
                return false;
            }
            at = *behind;
            text = from.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Template::parse(pattern, true).unwrap().resolve(&Facts::default()).matches("", text)
    }

    /// The definition, without a thought for speed.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => (0..=text.len()).any(|taken| slow(rest, &text[taken..])),
            (Some(('?', rest)), Some((_, others))) => slow(rest, others),
            (Some((wanted, rest)), Some((found, others))) => wanted == found && slow(rest, others),
            _ => false,
        }
    }

    #[test]
    fn wildcards_follow_the_table() {
        for (pattern, text, expected) in [
            ("topic/*", "topic/a/b", true),
            ("topic/*", "topic/", true),
            ("topic/a", "topic/a/b", false),
            ("topic/?/b", "topic/é/b", true),
            ("topic/?", "topic/", false),
            ("*/update", "topic/x/update/update", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("topicfilter/a/+", "topicfilter/a/+", true),
            ("topicfilter/a/+", "topicfilter/a/b", false),
            ("topic/${*}${?}${$}", "topic/*?$", true),
            ("topic/${*}", "topic/x", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), slow(&chars(&pattern), &chars(&text)));
        }
    }
}
