//! The rows of the conformance checklist (shadows S, jobs J, provisioning P, broker B): each one is in the name of a test.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::source::Source;

/// Letter and number of the last row.
const ROWS: [(char, u8); 4] = [('S', 22), ('J', 26), ('P', 8), ('B', 17)];

/// Rows without a test.
pub fn missing(named: &BTreeSet<String>) -> Vec<String> {
    let rows = ROWS.into_iter().flat_map(|(letter, last)| (1..=last).map(move |number| format!("{letter}{number}")));
    rows.filter(|row| !named.contains(row)).map(|row| format!("no test is named after row {row}")).collect()
}

/// The rows in the names of a Rust file's tests: `fn j17_j18_what_it_shows`.
pub fn in_rust(source: &Source) -> BTreeSet<String> {
    let after = source.text.split("#[test]").chain(source.text.split("#[tokio::test")).skip(1);
    let names = after.filter_map(|text| text.split_once("fn ")?.1.split_once('('));
    names
        .flat_map(|(name, _)| {
            name.split('_').map(str::to_uppercase).take_while(|word| is_row(word)).collect::<Vec<_>>()
        })
        .collect()
}

/// The rows in the names of the checks of every Python script in `folder`: `@check("J17 J18 what it shows")`.
pub fn in_python(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|extension| extension == "py"));
    scripts.flat_map(|path| in_script(&fs::read_to_string(path).unwrap())).collect()
}

fn in_script(text: &str) -> Vec<String> {
    let decorators = text.lines().filter(|line| line.starts_with('@'));
    let mut names: Vec<&str> = decorators.filter_map(|line| line.split_once("(\"")).map(|(_, name)| name).collect();
    // A file of AWS's own tests: `"test_jobs": "J26"`.
    names.extend(text.split("\"test_").skip(1).filter_map(|rest| rest.split_once("\": \"")).map(|(_, name)| name));
    let rows = |name: &str| {
        let words = name.split([' ', '"']).map(str::to_owned);
        words.take_while(|word| is_row(word)).collect::<Vec<_>>()
    };
    names.into_iter().flat_map(rows).collect()
}

fn is_row(word: &str) -> bool {
    let number = word.strip_prefix(|letter| ROWS.iter().any(|(known, _)| *known == letter));
    number.is_some_and(|number| number.parse::<u8>().is_ok())
}

mod rules {
    use super::*;

    #[test]
    fn rows_are_read_from_names_and_from_nothing_else() {
        let text = "/// J1\n#[test]\nfn j17_j2_shows_b3() {}\n#[tokio::test(start_paused = true)]\nasync fn b1_x() {}\nfn s1() {}\n";
        let found = in_rust(&Source::new("x.rs".to_owned(), text.to_owned()));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["B1", "J17", "J2"]);
        let text = "# S1\n@check(\"S7 S8 tables, not S9\")\n@both(\"the S3\")\nFILES = {\"test_jobs\": \"J26 P1\"}\n";
        assert_eq!(in_script(text), ["S7", "S8", "J26", "P1"]);
    }

    #[test]
    fn a_row_without_a_test_is_found() {
        let all: BTreeSet<String> =
            ROWS.into_iter().flat_map(|(letter, last)| (1..=last).map(move |n| format!("{letter}{n}"))).collect();
        assert!(missing(&all).is_empty());
        let without = all.into_iter().filter(|row| row != "B15").collect();
        assert_eq!(missing(&without), ["no test is named after row B15"]);
    }
}
