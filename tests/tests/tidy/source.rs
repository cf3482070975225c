//! A source file, taken apart just far enough to tell code, comments and string literals, and to know what is test code.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::workspace::relative;

/// One `.rs` file.
pub struct Source {
    /// From the root of the workspace, with `/`.
    pub path: String,
    pub text: String,
    pieces: Vec<Piece>,
    /// The text with everything but code blanked, byte for byte.
    code: String,
    tests: Vec<Range<usize>>,
}

struct Piece {
    kind: Kind,
    range: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Comment,
    /// What stands between the quotes.
    Literal,
}

/// Every source file under `root`, without hidden folders and build folders.
pub fn read_all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() && !hidden && !path.join("CACHEDIR.TAG").exists() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source::new(relative(&path, root), text));
            }
        }
    }
    mark_test_files(&mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// `#[cfg(test)] mod x;` makes a whole file, and the files below it, test code.
fn mark_test_files(sources: &mut [Source]) {
    let homes: BTreeSet<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in sources {
        let below = |home: &String| {
            source.path.strip_prefix(home.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        if source.path.split('/').any(|part| part == "tests") || homes.iter().any(below) {
            source.tests.clear();
            source.tests.push(0..source.text.len());
        }
    }
}

impl Source {
    pub fn new(path: String, text: String) -> Self {
        let pieces = take_apart(&text);
        let mut code = text.clone().into_bytes();
        for piece in &pieces {
            for byte in &mut code[piece.range.clone()] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        let code = String::from_utf8(code).expect("pieces begin and end between characters");
        let tests = test_items(&code);
        Self { path, text, pieces, code, tests }
    }

    pub fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The string literals outside test code, with their lines.
    pub fn literals(&self) -> impl Iterator<Item = (usize, &str)> {
        let literals = self.pieces.iter().filter(|piece| piece.kind == Kind::Literal);
        let outside = literals.filter(|piece| !self.in_tests(piece.range.start));
        outside.map(|piece| (self.line_at(piece.range.start), &self.text[piece.range.clone()]))
    }

    /// The lines in which `word` stands by itself, in code outside tests.
    pub fn code_words(&self, word: &str) -> Vec<usize> {
        let found = words_in(&self.code, word).filter(|at| !self.in_tests(*at));
        found.map(|at| self.line_at(at)).collect()
    }

    /// The lines in which `word` stands by itself, anywhere.
    pub fn words(&self, word: &str) -> Vec<usize> {
        words_in(&self.text, word).map(|at| self.line_at(at)).collect()
    }

    fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    fn line_at(&self, at: usize) -> usize {
        1 + self.text[..at].bytes().filter(|byte| *byte == b'\n').count()
    }

    /// The paths, without `.rs`, of the modules that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let home = match file {
            "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let items = self.tests.iter().map(|range| self.code[range.clone()].trim_end());
        let names = items.filter_map(|item| item.strip_suffix(';')?.rsplit_once("mod ").map(|(_, name)| name.trim()));
        names.map(|name| format!("{home}/{name}")).collect()
    }
}

fn words_in<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let alone =
        move |at: usize| !text[..at].ends_with(part_of_name) && !text[at + word.len()..].starts_with(part_of_name);
    text.match_indices(word).map(|(at, _)| at).filter(move |at| alone(*at))
}

/// The items under `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> Vec<Range<usize>> {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    let starts = code.match_indices(ATTRIBUTE).map(|(at, _)| at);
    starts.map(|start| start..item_end(code, start + ATTRIBUTE.len())).collect()
}

/// Where the item that begins at `start` ends: at its semicolon, or after its outermost braces.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[start..].bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (byte == b'}' || byte == b';') {
            return start + offset + 1;
        }
    }
    code.len()
}

/// Finds the comments and the string literals of a file that compiles.
fn take_apart(text: &str) -> Vec<Piece> {
    let bytes = text.as_bytes();
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let (kind, range, next) = if rest.starts_with("//") {
            let end = at + rest.find('\n').unwrap_or(rest.len());
            (Kind::Comment, at..end, end)
        } else if rest.starts_with("/*") {
            let end = at + block_comment_length(rest);
            (Kind::Comment, at..end, end)
        } else if let Some(hashes) = raw_string_hashes(text, at) {
            let begin = at + 1 + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = begin + text[begin..].find(&close).unwrap_or(text.len() - begin);
            (Kind::Literal, begin..end, (end + close.len()).min(text.len()))
        } else if bytes[at] == b'"' {
            let end = at + 1 + string_length(&text[at + 1..]);
            (Kind::Literal, at + 1..end, (end + 1).min(text.len()))
        } else if let Some(length) = character_length(rest) {
            (Kind::Literal, at + 1..at + length - 1, at + length)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        pieces.push(Piece { kind, range });
        at = next;
    }
    pieces
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let bytes = &rest.as_bytes()[at..];
        let (step, new_depth) = match bytes {
            [b'/', b'*', ..] => (2, depth + 1),
            [b'*', b'/', ..] => (2, depth - 1),
            _ => (1, depth),
        };
        (at, depth) = (at + step, new_depth);
        if depth == 0 {
            break;
        }
    }
    at
}

/// How many `#` a raw string at `at` has; none when there is no raw string here.
fn raw_string_hashes(text: &str, at: usize) -> Option<usize> {
    let rest = text[at..].strip_prefix('r')?;
    let before = text[..at].strip_suffix(['b', 'c']).unwrap_or(&text[..at]);
    let in_name = before.ends_with(|character: char| character.is_alphanumeric() || character == '_');
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    (!in_name && rest[hashes..].starts_with('"')).then_some(hashes)
}

/// The length up to the closing quote.
fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal with its quotes; none when this is a lifetime or something else.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        // The escaped character may be a quote itself.
        let close = inside.get(2..)?.find('\'')?;
        return Some(1 + 2 + close + 1);
    }
    let length = first.len_utf8();
    inside[length..].starts_with('\'').then_some(1 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let source = Source::new("x.rs".to_owned(), text.to_owned());
        let found: Vec<&str> = source.literals().map(|(_, literal)| literal).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn literals_are_told_from_comments_names_and_lifetimes() {
        check(r#"f("a", b"b", "\"c\\") // "no""#, &["a", "b", "\\\"c\\\\"]);
        check("f(r\"a\\\", br#\"b\"c\"#, r#type, car\"d\")", &["a\\", "b\"c", "d"]);
        check("/* \"no\" /* \"no\" */ \"no\" */ \"yes\"", &["yes"]);
        check("fn f<'a>(x: &'a str) { g('\"', '\\'', 'é', \"yes\") }", &["\"", "\\'", "é", "yes"]);
        check("\"// yes\"", &["// yes"]);
    }

    #[test]
    fn code_words_are_found_outside_comments_literals_and_tests() {
        let text = "word();\n// word\n\"word\";\nwords; sword;\n#[cfg(test)]\n#[allow(x)]\nmod t { word() }\nword\n";
        let source = Source::new("x.rs".to_owned(), text.to_owned());
        assert_eq!(source.code_words("word"), [1, 8]);
        assert_eq!(source.words("word"), [1, 2, 3, 7, 8]);
    }

    #[test]
    fn a_file_that_is_declared_for_tests_is_test_code() {
        let file = |path: &str, text: &str| Source::new(path.to_owned(), text.to_owned());
        let mut sources = [
            file("a/src/lib.rs", "#[cfg(test)]\nmod check;\nmod real;\n"),
            file("a/src/check.rs", "\"no\""),
            file("a/src/check/deep.rs", "\"no\""),
            file("a/src/checks.rs", "\"yes\""),
            file("a/src/real.rs", "\"yes\"; #[cfg(test)]\npub(crate) mod proof;"),
            file("a/src/real/proof.rs", "\"no\""),
            file("a/tests/real.rs", "\"no\""),
        ];
        mark_test_files(&mut sources);
        let seen = sources.iter().filter(|source| source.literals().next().is_some());
        assert_eq!(seen.map(|source| &*source.path).collect::<Vec<_>>(), ["a/src/checks.rs", "a/src/real.rs"]);
    }
}
