#![allow(clippy::unwrap_used)]

use super::*;
use aws_lc_rs::digest::{SHA256, digest};
use muster_wire::admin::AgentDownload;
use muster_wire::id::Sha256Hex;
use muster_wire::time::Timestamp;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const TOKEN: &str = "mst1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
#[cfg(target_arch = "x86_64")]
const PATH: &str = "/agent/linux-x86_64/muster-agent";
#[cfg(target_arch = "aarch64")]
const PATH: &str = "/agent/linux-aarch64/muster-agent";
const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n";

/// An agent that notes how it was called, and enrols unless told otherwise.
const AGENT: &str = "#!/bin/sh\nprintf '%s\\n' \"$*\" >>\"$CALLS\"\n\
    case $1 in\nstatus) cat \"$CALLS.status\" 2>/dev/null; exit ;;\nrun) exec sleep 3 ;;\nesac\n\
    [ -z \"${REFUSE:-}\" ] || exit 1\ncat \"${11}\" >\"$CALLS.token\"\ncat \"$9\" >\"$CALLS.ca\"\n\
    mkdir -p \"$3/state/identity\"\necho cert >\"$3/state/identity/cert.pem\"\n";

fn sha256(text: &str) -> Sha256Hex {
    Sha256Hex::from_bytes(digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap())
}

/// What kind of script to run, and what the server does.
#[derive(Clone, Copy, Default)]
struct Case {
    refuse: bool,
    start: bool,
    renew: bool,
}

fn render(prefix: Option<&Path>, agent: Option<&str>, case: Case) -> String {
    let download = |sha256| AgentDownload { path: PATH.into(), sha256, size: 1 };
    let added = AddedConnector {
        name: "host-1".parse().unwrap(),
        token: TOKEN.into(),
        expires_at: Timestamp::from_seconds(1_800_000_000),
        pool: None,
        prefix: None,
        agent: agent.map(|agent| download(sha256(agent))),
    };
    let server = "muster.example.org:8443".parse().unwrap();
    Script { ca_pem: CA, server: &server, added: &added, prefix, start: case.start, renew: case.renew }.render()
}

const REFUSED: Case = Case { refuse: true, start: false, renew: false };

/// A host: a folder for the prefix, and a PATH whose `curl` copies a file.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new(served: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Self { folder };
        fs::write(host.path("served"), served).unwrap();
        fs::create_dir(host.path("bin")).unwrap();
        // The file name follows --output; the address is the last argument.
        let curl = "#!/bin/sh\nwhile [ $# -gt 1 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n\
                    printf '%s\\n' \"$1\" >>\"$CALLS.curl\"\ncat \"$SERVED\" >\"$out\"\n";
        // Whoever runs the tests: the script must not touch the services of this machine.
        for (name, text) in [("bin/curl", curl), ("bin/id", "#!/bin/sh\necho 1000\n")] {
            fs::write(host.path(name), text).unwrap();
            fs::set_permissions(host.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn run(&self, announced: &str, case: Case) -> Output {
        let script = self.path("install.sh");
        fs::write(&script, render(Some(&self.path("prefix")), Some(announced), case)).unwrap();
        let mut command = Command::new("sh");
        command.arg(&script).stdin(Stdio::null()).env("CALLS", self.path("calls")).env("SERVED", self.path("served"));
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()));
        if case.refuse {
            command.env("REFUSE", "1");
        }
        command.output().unwrap()
    }
}

#[test]
fn the_script_has_no_placeholder_left_and_the_shell_can_read_it() {
    for script in
        [render(None, None, Case::default()), render(Some(Path::new("/opt/muster")), Some(AGENT), Case::default())]
    {
        let left = script.match_indices('@').filter(|(at, _)| !script[*at..].starts_with("@reboot")).count();
        // What is left is "$@" alone.
        assert_eq!(left, script.matches("\"$@\"").count(), "{script}");
        assert!(script.contains("MIIB+/=") && script.contains(TOKEN));
        check_with(&["sh", "-n"], &script);
        check_with(&["shellcheck", "--shell=sh"], &script);
    }
}

/// Runs a checker on the script; one that is not installed is passed over.
#[track_caller]
fn check_with(command: &[&str], script: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, script.as_bytes()).unwrap();
    match Command::new(command[0]).args(&command[1..]).arg(file.path()).output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

#[test]
fn a_host_is_installed_and_enrolled_and_a_second_run_changes_nothing() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, Case::default());
    assert!(done.status.success(), "{done:?}");
    assert_eq!(host.text("calls.curl"), format!("https://muster.example.org:8443{PATH}\n"));
    let call = host.text("calls");
    assert!(call.contains("--server muster.example.org:8443 --name host-1"), "{call}");
    assert!(!call.contains(TOKEN), "the token is an argument");
    assert_eq!((host.text("calls.token"), host.text("calls.ca")), (format!("{TOKEN}\n"), CA.to_owned()));
    let current = fs::read_link(host.path("prefix/agent/current")).unwrap();
    assert_eq!(current, Path::new("versions").join(&sha256(AGENT).as_str()[..12]));

    let again = host.run(AGENT, Case::default());
    assert!(again.status.success(), "{again:?}");
    assert_eq!(host.text("calls"), call, "enrolled twice");
    assert_eq!(host.text("calls.curl").lines().count(), 1, "downloaded twice");
}

#[test]
fn another_agent_than_announced_is_not_installed() {
    let host = Host::new("#!/bin/sh\necho evil\n");
    let done = host.run(AGENT, Case::default());
    assert_eq!(done.status.code(), Some(4), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("is not the announced one"));
    assert!(!host.path("prefix").exists(), "folders are left");
    assert_eq!(host.text("calls"), "");
}

#[test]
fn a_refused_enrolment_leaves_no_agent_behind() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, REFUSED);
    assert_eq!(done.status.code(), Some(5), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("muster connector add host-1 --renew"));
    assert!(!host.path("prefix").exists(), "folders are left");

    // What was there before stays.
    fs::create_dir_all(host.path("prefix/state")).unwrap();
    assert_eq!(host.run(AGENT, REFUSED).status.code(), Some(5));
    assert!(host.path("prefix/state").exists() && !host.path("prefix/agent").exists());
}

#[test]
fn a_refused_renewal_leaves_the_agent_that_was_there() {
    let host = Host::new(AGENT);
    assert!(host.run(AGENT, Case::default()).status.success());
    let current = fs::read_link(host.path("prefix/agent/current")).unwrap();
    // The renewed script has another token.
    fs::remove_file(host.path("prefix/state/enrolled-with")).unwrap();
    let newer = format!("{AGENT}# newer\n");
    fs::write(host.path("served"), &newer).unwrap();
    let done = host.run(&newer, Case { renew: true, ..REFUSED });
    assert_eq!(done.status.code(), Some(5), "{done:?}");
    assert_eq!(fs::read_link(host.path("prefix/agent/current")).unwrap(), current);
    assert_eq!(fs::read_dir(host.path("prefix/agent/versions")).unwrap().count(), 1);
}

#[test]
fn only_a_renewed_script_replaces_an_identity_and_only_once() {
    let host = Host::new(AGENT);
    let identity = host.path("prefix/state/identity");
    fs::create_dir_all(&identity).unwrap();
    fs::write(identity.join("cert.pem"), "old").unwrap();
    let done = host.run(AGENT, Case::default());
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("muster connector add host-1 --renew"), "{done:?}");
    assert_eq!(host.text("calls"), "");

    let renewed = Case { renew: true, ..Case::default() };
    assert!(host.run(AGENT, renewed).status.success());
    assert!(host.text("calls").trim_end().ends_with("--force"), "{}", host.text("calls"));
    assert_eq!(host.text("prefix/state/identity/cert.pem"), "cert\n");
    assert!(host.run(AGENT, renewed).status.success());
    assert_eq!(host.text("calls").lines().count(), 1, "enrolled twice");
}

#[test]
fn the_lock_says_whether_the_agent_runs_and_not_a_process_number() {
    let host = Host::new(AGENT);
    let started = Case { start: true, ..Case::default() };
    fs::create_dir_all(host.path("prefix/state")).unwrap();
    // A living process, but not the agent.
    fs::write(host.path("prefix/state/agent.pid"), std::process::id().to_string()).unwrap();
    fs::write(host.path("calls.status"), "{\"agent_runs\":false}").unwrap();
    let done = host.run(AGENT, started);
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("started as process"), "{done:?}");
    let runs = || host.text("calls").lines().filter(|call| call.starts_with("run --prefix")).count();
    assert_eq!(runs(), 1);

    fs::write(host.path("calls.status"), "{\n  \"agent_runs\": true\n}").unwrap();
    let done = host.run(AGENT, started);
    assert!(String::from_utf8_lossy(&done.stdout).contains("the agent runs already"), "{done:?}");
    assert_eq!((done.status.code(), runs()), (Some(0), 1));

    // A new identity needs a new start, and this test's process is not to be killed for it.
    fs::write(host.path("prefix/state/agent.pid"), std::process::id().to_string()).unwrap();
    fs::remove_file(host.path("prefix/state/enrolled-with")).unwrap();
    let done = host.run(AGENT, Case { renew: true, ..started });
    assert_eq!(done.status.code(), Some(6), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("old identity"), "{done:?}");
}

#[test]
fn only_plain_absolute_prefixes_are_taken() {
    for good in ["/opt/muster", "/home/x/.muster", "/a-b_c.d+e"] {
        assert_eq!(prefix_problem(Path::new(good)), None, "{good}");
    }
    for bad in ["", "/", "opt", "/a b", "/a'b", "/a/../b", "/$HOME", "/a\nb", "/é"] {
        assert!(prefix_problem(Path::new(bad)).is_some(), "{bad:?}");
    }
}
