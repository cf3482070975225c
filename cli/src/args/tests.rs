//! The help of every command, pinned: `MUSTER_GOLDEN=write cargo test -p muster-cli help` writes the files anew.
#![allow(clippy::unwrap_used)]

use super::Cli;
use clap::{Command, CommandFactory, Parser};
use std::collections::BTreeMap;
use std::path::Path;

/// Help by file name, of this command and of all below it. The tree is clap's own: no command can be left out.
fn pages(command: &Command, words: &[String], pages: &mut BTreeMap<String, String>) {
    let asked = words.iter().map(String::as_str).chain(["--help"]);
    let help = Cli::try_parse_from(asked).unwrap_err();
    assert!(!help.use_stderr(), "{words:?} has no help: {help}");
    pages.insert(format!("{}.txt", words.join("-")), help.to_string());
    for below in command.get_subcommands() {
        self::pages(below, &[words, &[below.get_name().to_owned()]].concat(), pages);
    }
}

#[test]
fn the_help_of_every_command_is_as_written_down() {
    let command = Cli::command();
    let mut found = BTreeMap::new();
    pages(&command, &[command.get_name().to_owned()], &mut found);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let write = std::env::var("MUSTER_GOLDEN").is_ok_and(|value| value == "write");
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        // Other tests have their files there too.
        names.filter(|name| name.starts_with(command.get_name())).collect()
    };
    if write {
        std::fs::create_dir_all(&folder).unwrap();
        for stale in names(&folder).iter().filter(|name| !found.contains_key(*name)) {
            std::fs::remove_file(folder.join(stale)).unwrap();
        }
        for (name, help) in &found {
            std::fs::write(folder.join(name), help).unwrap();
        }
    }
    for (name, help) in &found {
        let expected = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert_eq!(*help, expected, "the help differs from {name}");
    }
    let stale: Vec<String> = names(&folder).into_iter().filter(|name| !found.contains_key(name)).collect();
    assert!(stale.is_empty(), "no command has these pages: {stale:?}");
}

/// Every command, argument and value says what it is for.
#[test]
fn nothing_is_without_a_word_of_help() {
    fn check(command: &Command, path: &str) {
        assert!(command.get_about().is_some() || command.get_long_about().is_some(), "{path} says nothing of itself");
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{path} {} says nothing of itself", argument.get_id());
        }
        for below in command.get_subcommands() {
            check(below, &format!("{path} {}", below.get_name()));
        }
    }
    let mut command = Cli::command();
    command.build();
    check(&command, command.get_name());
    command.debug_assert();
}
