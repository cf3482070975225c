//! Text of hosts and of the network on a terminal: a host name must not paint, erase or forge what an operator reads.

use std::borrow::Cow;

/// Text as it may go to a terminal: whatever it was made of, it steers nothing. Its own lines and tabs stay.
///
/// This is the last gate. It cannot tell a line of ours from one that a host made up: a value goes through [`plain`].
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    match text.contains(|c| !matches!(c, '\n' | '\t') && steers(c)) {
        true => text.replace(|c| !matches!(c, '\n' | '\t') && steers(c), REPLACED).into(),
        false => text.into(),
    }
}

/// One value that a host, an operator or the network said, as a part of a line: it neither ends the line nor steers the
/// terminal.
#[must_use]
pub fn plain(value: &str) -> String {
    value.replace(steers, REPLACED)
}

/// Control characters, and those that make later text look like something else: they turn its direction round.
#[must_use]
pub const fn steers(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Stands for a character that is not shown.
const REPLACED: &str = "\u{fffd}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_steers_nothing_and_makes_no_line() {
        let evil = "evil\u{1b}[31m\nlife  forged\u{9b}2J\u{202e}";
        assert_eq!(plain(evil), "evil\u{fffd}[31m\u{fffd}life  forged\u{fffd}2J\u{fffd}");
        assert_eq!(harmless("a\n\tb\u{1b}[2J\rc"), "a\n\tb\u{fffd}[2J\u{fffd}c");
        assert_eq!((plain("é 名"), harmless("é\n")), ("é 名".to_owned(), "é\n".into()));
    }
}
