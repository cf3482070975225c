//! The rows of docs/compatibility.md: each one says what shows it, and what it names is there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::source::Source;

/// The head of the tables whose last column is read.
const HEAD: &str = "| Shown by |";
/// The head of the table of marks.
const MARKS: &str = "| mark | script |";
/// Marks that the text explains outside that table.
const MORE_MARKS: [&str; 3] = ["plans", "shadow", "model"];
/// What a row says that nothing shows.
const NONE: &str = "no test";

/// What a row may name.
pub struct Known {
    /// Names of tests.
    pub tests: BTreeSet<String>,
    /// Folders of crates and names of suites.
    pub suites: BTreeSet<String>,
}

/// The names of a Rust file's tests.
pub fn tests_of(source: &Source) -> Vec<String> {
    let after = source.text.split("#[test]").skip(1).chain(source.text.split("#[tokio::test").skip(1));
    after.filter_map(|text| Some(text.split_once("fn ")?.1.split_once('(')?.0.to_owned())).collect()
}

/// Rows that name nothing, and names that stand for nothing.
pub fn complaints(text: &str, known: &Known, root: &Path) -> Vec<String> {
    let marks = marks(text);
    let (mut found, mut inside) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        inside = line.ends_with(HEAD) || inside && line.starts_with('|');
        if !inside || line.ends_with(HEAD) || line.starts_with("|---") {
            continue;
        }
        let cell = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        let marked = cell.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| marks.contains(word));
        if !marked && names.is_empty() && cell != NONE {
            found.push(format!("docs/compatibility.md:{number}: nothing shows this row; name a test, or say {NONE:?}"));
        }
        let unknown = names.into_iter().filter(|name| !is_known(name, known, root));
        found.extend(unknown.map(|name| format!("docs/compatibility.md:{number}: there is no test `{name}`")));
    }
    found
}

fn marks(text: &str) -> BTreeSet<&str> {
    let table = text.lines().skip_while(|line| *line != MARKS).take_while(|line| line.starts_with('|'));
    table.filter_map(|line| line.split('|').nth(1)).map(str::trim).chain(MORE_MARKS).collect()
}

/// A test, the beginning of the names of some, a suite, a crate or a file.
fn is_known(name: &str, known: &Known, root: &Path) -> bool {
    if let Some(start) = name.strip_suffix('…') {
        return known.tests.iter().any(|test| test.starts_with(start));
    }
    known.tests.contains(name) || known.suites.contains(name) || name.contains('/') && root.join(name).exists()
}

mod rules {
    use super::*;

    #[test]
    fn a_row_that_names_nothing_or_what_is_not_there_is_found() {
        let text = "| mark | script |\n|---|---|\n| V2 | `x.py` |\n\n| a | Shown by |\n|---|---|\n| 1 | V2 rules |\n| 2 | |\n\
                    | 3 | Rust: `b5_…`, `suite` |\n| 4 | Rust: `b6_…`, `gone` |\n| 5 | no test |\n| 6 | somebody |\n\n| b | c |\n| 7 | |\n";
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let known = Known { tests: set("b5_it_holds"), suites: set("suite") };
        assert_eq!(
            complaints(text, &known, Path::new("/")),
            [
                "docs/compatibility.md:8: nothing shows this row; name a test, or say \"no test\"",
                "docs/compatibility.md:10: there is no test `b6_…`",
                "docs/compatibility.md:10: there is no test `gone`",
                "docs/compatibility.md:12: nothing shows this row; name a test, or say \"no test\"",
            ]
        );
    }

    #[test]
    fn names_of_tests_are_read_whatever_runs_them() {
        let text = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test(start_paused = true)]\nasync fn three() {}\n";
        assert_eq!(tests_of(&Source::new("x.rs".to_owned(), text.to_owned())), ["one", "three"]);
    }
}
