//! What the script says when it does not go on, word for word.

use super::*;
use std::fmt::Write;

/// What a run that ended with this code wrote, without what differs from host to host.
#[track_caller]
fn refused(host: &Host, announced: &str, case: Case, code: i32) -> String {
    let done = host.run(announced, case);
    assert_eq!(done.status.code(), Some(code), "{done:?}");
    let mut text = format!("exit code {code}\n");
    let out = String::from_utf8(done.stdout).unwrap();
    for line in out.lines().filter(|line| line.starts_with("FAIL")) {
        let _ = writeln!(text, "{line}");
    }
    text.push_str(&String::from_utf8(done.stderr).unwrap());
    let served = host.text("served");
    let program = text.replace(PATH, "{the agent}").replace(host.folder.path().to_str().unwrap(), "{host}");
    program.replace(&sha256(&served).to_string(), "{found}").replace(&sha256(announced).to_string(), "{announced}")
}

#[test]
fn every_refusal_is_as_written_down() {
    type Env = &'static [(&'static str, &'static str)];
    let mut text = String::new();
    let mut note = |name: &str, said: String| {
        let _ = writeln!(text, "# {name}\n{said}");
    };
    let host = Host::new(AGENT);
    let preview = Case { preview: true, ..PLAIN };
    note("a preview", refused(&host, AGENT, preview, 2));
    note("an unknown argument", refused(&host, AGENT, Case { argument: Some("--dry"), ..PLAIN }, 2));
    fs::write(host.path("prefix"), "").unwrap();
    note("a file where the prefix belongs", refused(&host, AGENT, PLAIN, 3));
    fs::remove_file(host.path("prefix")).unwrap();
    let cases: [(&str, Env); 6] = [
        ("no DNS", &[("PROBE", "6"), ("NO_DATE", "1")]),
        ("no TCP", &[("PROBE", "7"), ("NO_DATE", "1")]),
        ("no proxy", &[("PROBE", "7"), ("NO_DATE", "1"), ("https_proxy", "http://p:1")]),
        ("a proxy that forbids it", &[("PROBE", "97"), ("NO_DATE", "1"), ("https_proxy", "http://p:1")]),
        ("another certificate", &[("PROBE", "60")]),
        ("the agent does not get through", &[("CHECK", "2")]),
    ];
    for (name, env) in cases {
        note(name, refused(&host, AGENT, Case { env, ..PLAIN }, 4));
    }
    note("not enrolled", refused(&host, AGENT, REFUSED, 5));
    let started = Case { start: true, ..PLAIN };
    note("not started", refused(&host, AGENT, Case { env: &[("STUCK", "1")], ..started }, 6));
    note("not confirmed", refused(&host, AGENT, Case { env: &[("UNCONFIRMED", "1")], ..started }, 7));
    let evil = Host::new("#!/bin/sh\necho evil\n");
    note("another agent", refused(&evil, AGENT, PLAIN, 4));
    golden("install-sh-refusals.txt", &text);
}
