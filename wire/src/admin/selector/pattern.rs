//! A text with `*` for any run of characters.

use std::fmt;

/// A pattern: every character stands for itself, but `*`. The empty pattern stands for "there is none".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for "there is none".
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it means this text, to the letter. Takes at most the product of both lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.matches_by(text, |a, b| a == b)
    }

    /// As [`Pattern::matches`], but `a` is `A`.
    #[must_use]
    pub fn matches_any_case(&self, text: &str) -> bool {
        self.matches_by(text, |a, b| a.eq_ignore_ascii_case(&b))
    }

    fn matches_by(&self, text: &str, same: fn(char, char) -> bool) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), text.chars());
        // Where to go on when a character does not fit: behind the last star, one character further in the text.
        let mut back = None;
        loop {
            let at = rest.clone();
            match (pattern.next(), rest.next()) {
                (Some('*'), _) => {
                    rest = at;
                    back = Some((pattern.clone(), rest.clone()));
                    continue;
                }
                (Some(wanted), Some(found)) if same(wanted, found) => continue,
                (None, None) => return true,
                _ => {}
            }
            let Some((behind, mut longer)) = back.take() else { return false };
            if longer.next().is_none() {
                // The star has eaten everything and the pattern wants more.
                return false;
            }
            pattern = behind.clone();
            rest = longer.clone();
            back = Some((behind, longer));
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let pattern = Pattern::new(pattern);
        yes.iter().for_each(|text| assert!(pattern.matches(text), "{pattern} means {text}"));
        no.iter().for_each(|text| assert!(!pattern.matches(text), "{pattern} does not mean {text}"));
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        check("web", &["web"], &["web-1", "we", ""]);
        check("web-*", &["web-", "web-1", "web-*"], &["web", "xweb-1"]);
        check("*-1", &["-1", "a-1", "a-1-1"], &["a-10", ""]);
        check("a*b*c", &["abc", "a-b-c", "abbbc", "abcbc"], &["ab", "acb", "abcd"]);
        check("*", &["", "x"], &[]);
        check("**", &["", "x"], &[]);
        check("", &[""], &["x"]);
        assert!(Pattern::new("Debian*").matches_any_case("debian 12"));
    }

    /// The plain recursive meaning.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            Some((wanted, rest)) => text.split_first().is_some_and(|(found, text)| found == wanted && slow(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_plain_meaning(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), slow(&p, &t));
        }
    }
}
