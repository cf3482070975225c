//! The help of every command, pinned. `MUSTER_GOLDEN=write cargo test -p muster-cli --test help` writes the files anew.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Every command, as words; the file is named after them.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["init"],
    &["serve"],
    &["connector"],
    &["connector", "add"],
    &["connector", "list"],
    &["connector", "show"],
    &["connector", "edit"],
    &["connector", "remove"],
    &["connector", "disable"],
    &["connector", "enable"],
    &["connector", "resolve"],
    &["component"],
    &["component", "publish"],
    &["component", "list"],
    &["upgrade"],
    &["actions"],
    &["watch"],
    &["job"],
    &["job", "create"],
    &["job", "list"],
    &["job", "show"],
    &["job", "update"],
    &["job", "cancel"],
    &["job", "delete"],
    &["job", "add-targets"],
    &["job", "executions"],
    &["job", "execution"],
    &["job", "execution", "cancel"],
    &["job", "execution", "delete"],
    &["job", "template"],
    &["job", "template", "create"],
    &["job", "template", "list"],
    &["job", "template", "show"],
    &["job", "template", "delete"],
    &["cert"],
    &["cert", "issue"],
    &["cert", "list"],
    &["cert", "revoke"],
    &["backup"],
    &["restore"],
    &["demo"],
];

fn muster(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command.args(words).env_remove("MUSTER_DATA");
    command
}

fn golden(words: &[&str]) -> PathBuf {
    let name = std::iter::once("muster").chain(words.iter().copied()).collect::<Vec<_>>().join("-");
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"))
}

#[test]
fn the_help_of_every_command_is_as_written_down() {
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    let write = std::env::var("MUSTER_GOLDEN").is_ok_and(|value| value == "write");
    for words in COMMANDS {
        let done = muster(words).arg("--help").output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
        let found = String::from_utf8(done.stdout).unwrap();
        let file = golden(words);
        if write {
            fs::write(&file, &found).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, expected, "{words:?} differs from {}", file.display());
    }
}

#[test]
fn every_command_in_the_help_is_pinned() {
    for words in COMMANDS {
        let help = String::from_utf8(muster(words).arg("--help").output().unwrap().stdout).unwrap();
        let Some((_, list)) = help.split_once("\nCommands:\n") else { continue };
        for line in list.lines().take_while(|line| line.starts_with("  ")) {
            let Some(name) = line.split_whitespace().next().filter(|name| *name != "help") else { continue };
            let longer: Vec<&str> = words.iter().copied().chain([name]).collect();
            assert!(COMMANDS.contains(&longer.as_slice()), "{longer:?} has no golden file");
        }
    }
}

#[test]
fn mistakes_end_with_2_and_an_absent_server_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let at = data.to_str().unwrap();
    #[track_caller]
    fn check(words: &[&str], code: i32, says: &str) {
        let done = muster(words).output().unwrap();
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(says), "{words:?}: {stderr}");
    }
    check(&["upgrade", "greeter"], 2, "required arguments were not provided");
    check(&["connector", "list"], 2, "--data <DIR>");
    check(&["connector", "show", "a b", "--data", at], 2, "character ' ' is not allowed here");
    check(&["connector", "list", "--to", "pol=x", "--data", at], 2, "terms are all, pool=");
    check(&["connector", "list", "--data", at], 2, "muster init");
    check(&["init", "--data", at, "--host", "a:1"], 2, "without port");
    check(&["init", "--data", at, "--host", "localhost"], 0, "");
    check(&["init", "--data", at, "--host", "localhost"], 2, "holds a fleet already");
    check(&["serve", "--check", "--data", at], 0, "");
    check(&["connector", "list", "--data", at], 3, "muster serve");
    // A port that was free a moment ago: nobody answers there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::write(data.join("server.addr"), format!("{free}\n")).unwrap();
    check(&["connector", "list", "--data", at], 3, "is `muster serve` running?");
    check(&["connector", "add", "a", "--prefix", "x y", "--data", at], 2, "--prefix x y cannot be used");
    fs::write(data.join("muster.toml"), "[server]\nlisten = 1\nlisen = 2\n").unwrap();
    check(&["serve", "--check", "--data", at], 2, "settings are not usable (2 problems)");
}

#[test]
fn certificates_are_issued_from_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    assert!(muster(&["init", "--data", data, "--host", "localhost"]).status().unwrap().success());
    let words = ["cert", "issue", "--data", data, "--name", "n", "--count", "3", "--policy", "connector", "--out", out];
    let done = muster(&words).arg("--json").output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let result: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(result["names"], serde_json::json!(["n-0", "n-1", "n-2"]));
    for file in ["ca.crt", "n-0.crt", "n-0.key", "n-2.key"] {
        assert!(PathBuf::from(out).join(file).is_file(), "{file}");
    }
}
