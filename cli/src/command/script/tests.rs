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
const AGENT: &str = "#!/bin/sh\nprintf '%s\\n' \"$*\" >>\"$CALLS\"\n[ \"$1\" = enrol ] || exit 0\n\
    [ -z \"${REFUSE:-}\" ] || exit 1\ncat \"${11}\" >\"$CALLS.token\"\ncat \"$9\" >\"$CALLS.ca\"\n\
    mkdir -p \"$3/state/identity\"\necho cert >\"$3/state/identity/cert.pem\"\n";

fn sha256(text: &str) -> Sha256Hex {
    Sha256Hex::from_bytes(digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap())
}

fn render(prefix: Option<&Path>, agent: Option<&str>) -> String {
    let download = |sha256| AgentDownload { path: PATH.into(), sha256, size: 1 };
    let added = AddedConnector {
        name: "host-1".parse().unwrap(),
        token: TOKEN.into(),
        expires_at: Timestamp::from_seconds(1_800_000_000),
        agent: agent.map(|agent| download(sha256(agent))),
    };
    let server = "muster.example.org:8443".parse().unwrap();
    Script { ca_pem: CA, server: &server, added: &added, prefix, start: false }.render()
}

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
        fs::write(host.path("bin/curl"), curl).unwrap();
        fs::set_permissions(host.path("bin/curl"), fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn run(&self, announced: &str, refuse: bool) -> Output {
        let script = self.path("install.sh");
        fs::write(&script, render(Some(&self.path("prefix")), Some(announced))).unwrap();
        let mut command = Command::new("sh");
        command.arg(&script).stdin(Stdio::null()).env("CALLS", self.path("calls")).env("SERVED", self.path("served"));
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()));
        if refuse {
            command.env("REFUSE", "1");
        }
        command.output().unwrap()
    }
}

#[test]
fn the_script_has_no_placeholder_left_and_the_shell_can_read_it() {
    for script in [render(None, None), render(Some(Path::new("/opt/muster")), Some(AGENT))] {
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
    let done = host.run(AGENT, false);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(host.text("calls.curl"), format!("https://muster.example.org:8443{PATH}\n"));
    let call = host.text("calls");
    assert!(call.contains("--server muster.example.org:8443 --name host-1"), "{call}");
    assert!(!call.contains(TOKEN), "the token is an argument");
    assert_eq!((host.text("calls.token"), host.text("calls.ca")), (format!("{TOKEN}\n"), CA.to_owned()));
    let current = fs::read_link(host.path("prefix/agent/current")).unwrap();
    assert_eq!(current, Path::new("versions").join(&sha256(AGENT).as_str()[..12]));

    let again = host.run(AGENT, false);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(host.text("calls"), call, "enrolled twice");
    assert_eq!(host.text("calls.curl").lines().count(), 1, "downloaded twice");
}

#[test]
fn another_agent_than_announced_is_not_installed() {
    let host = Host::new("#!/bin/sh\necho evil\n");
    let done = host.run(AGENT, false);
    assert_eq!(done.status.code(), Some(4), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("is not the announced one"));
    assert_eq!(fs::read_dir(host.path("prefix/agent/versions")).unwrap().count(), 0);
    assert_eq!(host.text("calls"), "");
}

#[test]
fn a_refused_enrolment_leaves_no_agent_behind() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, true);
    assert_eq!(done.status.code(), Some(5), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("muster connector add host-1 --renew"));
    assert!(!host.path("prefix/agent").exists());
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
