#![allow(clippy::unwrap_used)]

mod refusals;
mod way;

use super::super::allowlist::entries;
use super::*;
use aws_lc_rs::digest::{SHA256, digest};
use muster_wire::admin::AgentDownload;
use muster_wire::id::Sha256Hex;
use muster_wire::time::Timestamp;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const TOKEN: &str = "mst1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
#[cfg(target_arch = "x86_64")]
const PATH: &str = "/agent/linux-x86_64/muster-agent";
#[cfg(target_arch = "aarch64")]
const PATH: &str = "/agent/linux-aarch64/muster-agent";

/// An agent that notes how it was called, and enrols unless told otherwise.
const AGENT: &str = r#"#!/bin/sh
case $1 in check | --version) ;; *) printf '%s\n' "$*" >>"$CALLS" ;; esac
verb=$1
shift
case $verb in
--version) exit 0 ;;
check)
    # One of an earlier version has no such verb.
    [ -n "${CHECK:-}" ] || exit 2
    [ "$1" != --help ] || exit 0
    printf '%s\n' "$*" >>"$CALLS.check"
    printf '%s\n' 'PASS  memory    64 MB' "PASS  mqtt      asked for" "FAIL  mqtt      not agreed on"
    exit "$CHECK"
    ;;
status) [ "$3" != --wait ] || exit "${UNCONFIRMED:-0}"; cat "$CALLS.status" 2>/dev/null; exit ;;
install) exit 0 ;;
restart) exit "${STUCK:-0}" ;;
esac
[ -z "${REFUSE:-}" ] || exit 1
# The script is ended while it waits for this program.
[ -z "${END:-}" ] || { kill "-$END" "$PPID"; exit 1; }
cat >"$CALLS.token"
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) prefix=$2 ;;
    --ca) cat "$2" >"$CALLS.ca" ;;
    --proxy-password-file) cat "$2" >"$CALLS.password" ;;
    esac
    shift
done
mkdir -p "$prefix/state/identity"
echo cert >"$prefix/state/identity/cert.pem"
"#;

/// A downloader whose server is a file. It notes what it was asked for, and the way there.
const CURL: &str = r#"#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in
    --output) out=$2 ;;
    --dump-header) head=$2 ;;
    esac
    shift
done
printf '%s\n' "$1 ${https_proxy:-direct}" >>"$CALLS.curl"
case $1 in
*/healthz)
    [ -z "${NO_DATE:-}" ] || exit "${PROBE:-0}"
    printf 'HTTP/1.1 200 OK\r\ndate: %s\r\n\r\n' "${DATE:-$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S GMT')}" >"$head"
    exit "${PROBE:-0}"
    ;;
esac
cat "$SERVED" >"$out"
"#;

fn ca() -> &'static str {
    static CA: OnceLock<String> = OnceLock::new();
    CA.get_or_init(|| {
        let fleet = muster_certs::identity::Fleet::new("test").unwrap();
        muster_certs::Authority::create(&fleet, 1_700_000_000).unwrap().certificate_pem().to_owned()
    })
}

fn sha256(text: &str) -> Sha256Hex {
    Sha256Hex::from_bytes(digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap())
}

/// What kind of script to run, and what the host and the server do.
#[derive(Clone, Copy, Default)]
struct Case {
    start: bool,
    renew: bool,
    preview: bool,
    /// muster.example.org:8443 if there is none.
    server: Option<&'static str>,
    way: (Option<&'static str>, Option<&'static str>),
    argument: Option<&'static str>,
    env: &'static [(&'static str, &'static str)],
}

fn render_for(prefix: Option<&str>, agent: Option<&str>, case: Case, shell: Shell) -> String {
    let download = |sha256| AgentDownload { path: PATH.into(), sha256, size: 1 };
    let added = AddedConnector {
        name: "host-1".parse().unwrap(),
        token: if case.preview { String::new() } else { TOKEN.into() },
        expires_at: Timestamp::from_seconds(1_800_000_000),
        pool: Some("blue".parse().unwrap()),
        prefix: prefix.map(str::to_owned),
        agent: agent.map(|agent| download(sha256(agent))),
    };
    let server = case.server.unwrap_or("muster.example.org:8443").parse().unwrap();
    let script = Script {
        ca_pem: ca(),
        server: &server,
        allowed: &entries(&server, Some(8883)),
        added: &added,
        way: &Way::parse(case.way.0, case.way.1).unwrap(),
        shell,
        start: case.start,
        renew: case.renew,
    };
    script.render().unwrap()
}

fn render(prefix: Option<&Path>, agent: Option<&str>, case: Case) -> String {
    render_for(prefix.map(|prefix| prefix.to_str().unwrap()), agent, case, Shell::Sh)
}

const PLAIN: Case =
    Case { start: false, renew: false, preview: false, server: None, way: (None, None), argument: None, env: &[] };
const REFUSED: Case = Case { env: &[("REFUSE", "1")], ..PLAIN };

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
        fs::create_dir(host.path("tmp")).unwrap();
        // Whoever runs the tests: the script must not touch the services of this machine.
        for (name, text) in [("bin/curl", CURL), ("bin/id", "#!/bin/sh\necho 1000\n")] {
            host.put_program(name, text);
        }
        host
    }

    /// Puts a program there. A child writes it: what this process has open for writing is open in every child too that
    /// another test is about to start, and a program that somebody has open for writing cannot be run.
    fn put_program(&self, name: &str, text: &str) {
        let mut command = Command::new("sh");
        command.args(["-c", "cat >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(self.path(name)).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{name} is not written");
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
        command.arg(&script).args(case.argument).stdin(Stdio::null());
        for name in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"] {
            command.env_remove(name);
        }
        command.env("CALLS", self.path("calls")).env("SERVED", self.path("served")).envs(case.env.iter().copied());
        command.env("TMPDIR", self.path("tmp"));
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.path("bin").display()));
        command.output().unwrap()
    }
}

#[test]
fn the_script_has_no_placeholder_left_and_the_shell_can_read_it() {
    for script in [render(None, None, PLAIN), render(Some(Path::new("/opt/muster")), Some(AGENT), PLAIN)] {
        // What is left are the arguments, and the @ of a URL.
        let known = script.matches("\"$@\"").count() + script.matches("##*@}").count();
        assert_eq!(script.matches('@').count(), known, "{script}");
        assert!(script.contains(ca().lines().nth(1).unwrap()) && script.contains(TOKEN));
        check_with(&["sh", "-n"], &script);
        check_with(&["shellcheck", "--shell=sh"], &script);
    }
}

/// Runs a checker on the script; one that is not installed is passed over.
#[track_caller]
fn check_with(command: &[&str], script: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(script.as_bytes()).unwrap();
    match Command::new(command[0]).args(&command[1..]).arg(file.path()).output() {
        Ok(done) => assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout)),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}

#[test]
fn a_host_is_installed_and_enrolled_and_a_second_run_changes_nothing() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, PLAIN);
    assert!(done.status.success(), "{done:?}");
    let asked =
        format!("https://muster.example.org:8443/healthz direct\nhttps://muster.example.org:8443{PATH} direct\n");
    assert_eq!(host.text("calls.curl"), asked);
    let call = host.text("calls");
    assert!(call.contains("--server muster.example.org:8443 --name host-1"), "{call}");
    assert!(!call.contains(TOKEN), "the token is an argument");
    assert_eq!((host.text("calls.token"), host.text("calls.ca")), (format!("{TOKEN}\n"), ca().to_owned()));
    let current = fs::read_link(host.path("prefix/agent/current")).unwrap();
    assert_eq!(current, Path::new("versions").join(&sha256(AGENT).as_str()[..12]));

    let again = host.run(AGENT, PLAIN);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(host.text("calls"), call, "enrolled twice");
    let downloads = host.text("calls.curl").lines().filter(|line| line.contains(PATH)).count();
    assert_eq!(downloads, 1, "downloaded twice");
}

#[test]
fn another_agent_than_announced_is_not_installed() {
    let host = Host::new("#!/bin/sh\necho evil\n");
    let done = host.run(AGENT, PLAIN);
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
    assert!(host.run(AGENT, PLAIN).status.success());
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
    let done = host.run(AGENT, PLAIN);
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("muster connector add host-1 --renew"), "{done:?}");
    assert_eq!(host.text("calls"), "");

    let renewed = Case { renew: true, ..PLAIN };
    assert!(host.run(AGENT, renewed).status.success());
    assert!(host.text("calls").contains(" --force --pool blue"), "{}", host.text("calls"));
    assert_eq!(host.text("prefix/state/identity/cert.pem"), "cert\n");
    assert!(host.run(AGENT, renewed).status.success());
    assert_eq!(host.text("calls").lines().count(), 1, "enrolled twice");
}

#[test]
fn success_is_the_servers_word_and_nothing_else() {
    let host = Host::new(AGENT);
    fs::create_dir_all(host.path("prefix/state")).unwrap();
    fs::write(host.path("calls.status"), "{\"agent_runs\":false}").unwrap();
    let started = Case { start: true, ..PLAIN };
    let done = host.run(AGENT, Case { env: &[("STUCK", "1")], ..started });
    assert_eq!(done.status.code(), Some(6), "{done:?}");
    let done = host.run(AGENT, Case { env: &[("UNCONFIRMED", "1")], ..started });
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert!(!String::from_utf8_lossy(&done.stdout).contains("done"), "{done:?}");
    // What is enrolled stays: the next run finishes it.
    let done = host.run(AGENT, started);
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("confirmed by the server"), "{done:?}");
    let verbs = |verb: &str| host.text("calls").lines().filter(|call| call.starts_with(verb)).count();
    assert_eq!((verbs("enrol"), verbs("restart")), (1, 3));

    // An agent that runs is left alone, unless it has a new identity.
    fs::write(host.path("calls.status"), "{\n  \"agent_runs\": true\n}").unwrap();
    let done = host.run(AGENT, started);
    assert!(String::from_utf8_lossy(&done.stdout).contains("the agent runs already"), "{done:?}");
    assert_eq!(verbs("restart"), 3);
    fs::remove_file(host.path("prefix/state/enrolled-with")).unwrap();
    assert!(host.run(AGENT, Case { renew: true, ..started }).status.success());
    assert_eq!((verbs("enrol"), verbs("restart")), (2, 4));
}

/// The line of a check, and the exit code.
#[track_caller]
fn precheck(host: &Host, case: Case, code: i32, check: &str) -> String {
    let done = host.run(AGENT, case);
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert_eq!(done.status.code(), Some(code), "{done:?}");
    let line = out.lines().find(|line| line.get(6..).is_some_and(|rest| rest.starts_with(check)));
    line.unwrap_or_else(|| panic!("no line on {check}: {out}")).to_owned()
}

#[test]
fn prechecks_say_what_was_measured_what_is_needed_and_what_to_do() {
    let host = Host::new(AGENT);
    let dry = Case { argument: Some("--dry-run"), ..PLAIN };
    for check in ["system", "memory", "disk", "rights", "path", "tools", "clock", "dns", "tcp", "tls"] {
        let line = precheck(&host, dry, 0, check);
        assert!(line.contains("; needed: ") && !line.starts_with("FAIL"), "{line}");
    }
    type Env = &'static [(&'static str, &'static str)];
    let cases: [(Env, &str, &str); 7] = [
        (&[("PROBE", "6"), ("NO_DATE", "1")], "dns", "fix: correct /etc/resolv.conf"),
        (&[("PROBE", "7"), ("NO_DATE", "1")], "tcp", "let it out in the firewall"),
        (&[("PROBE", "28"), ("NO_DATE", "1")], "tcp", "cannot connect"),
        (&[("PROBE", "60")], "tls", "exempt muster.example.org:8443 from TLS inspection"),
        (&[("DATE", "Sat, 22 Nov 2025 04:01:49 GMT")], "clock", "s ahead of the server; needed: at most 300 s"),
        (&[("DATE", "Sat, 29 Feb 2048 04:01:49 GMT"), ("PROBE", "60")], "clock", "fix: set the clock: timedatectl"),
        (&[("PROBE", "7"), ("NO_DATE", "1"), ("https_proxy", "http://p:1")], "proxy", "allow muster.example.org:8443"),
    ];
    for (env, check, words) in cases {
        let line = precheck(&host, Case { env, ..PLAIN }, 4, check);
        assert!(line.starts_with("FAIL") && line.contains(words), "{line}");
    }
    assert!(!host.path("prefix").exists() && host.text("calls").is_empty(), "something was done");
}

#[test]
fn a_clock_is_compared_to_the_second() {
    let host = Host::new(AGENT);
    // The host's clock, as a program that the script asks.
    let date = "#!/bin/sh\ncase $2 in +%s) echo 1709251199 ;; *) echo \"Thu, 29 Feb 2024 23:58:59 GMT\" ;; esac\n";
    host.put_program("bin/date", date);
    let dry = Case { argument: Some("--dry-run"), ..PLAIN };
    for (theirs, measured) in [
        ("Thu, 29 Feb 2024 23:59:59 GMT", "PASS  clock   0 s ahead"),
        ("Fri, 01 Mar 2024 00:00:09 GMT", "PASS  clock   10 s behind"),
        ("Fri, 01 Mar 2024 00:00:59 GMT", "WARN  clock   60 s behind"),
        ("Thu, 29 Feb 2024 23:55:00 GMT", "WARN  clock   299 s ahead"),
    ] {
        let line = precheck(&host, Case { env: Vec::leak(vec![("DATE", theirs)]), ..dry }, 0, "clock");
        assert!(line.starts_with(measured), "{line}");
    }
}

#[test]
fn a_dry_run_changes_nothing_and_keeps_the_token() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, Case { argument: Some("--dry-run"), ..PLAIN });
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("nothing was changed, and the token is still good"));
    assert!(!host.path("prefix").exists(), "folders are made");
    assert_eq!(host.text("calls"), "", "the agent was called");
}

#[test]
fn a_run_that_is_ended_leaves_nothing_and_one_that_is_killed_is_finished_by_the_next() {
    let host = Host::new(AGENT);
    let left = || fs::read_dir(host.path("tmp")).unwrap().count();
    // Signals of a terminal may be ignored where tests run, and what is ignored stays so in a shell.
    let done = host.run(AGENT, Case { env: &[("END", "TERM")], ..PLAIN });
    assert_eq!(done.status.code(), Some(143), "{done:?}");
    assert!(!host.path("prefix").exists() && left() == 0, "something is left behind");
    let done = host.run(AGENT, Case { env: &[("END", "KILL")], ..PLAIN });
    assert_eq!(done.status.code(), None, "{done:?}");
    assert!(host.path("prefix/agent/current/muster-agent").exists() && left() == 1);
    let done = host.run(AGENT, PLAIN);
    assert!(done.status.success(), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stdout).contains("the agent is here already"), "{done:?}");
    assert!(host.path("prefix/state/identity/cert.pem").exists());
    // What the killed one could not take away is private to this user; the next one leaves nothing of its own.
    assert_eq!(left(), 1);
}

/// What the agent finds before it is enrolled decides, and nothing is left of one that cannot work here.
#[test]
fn the_agent_checks_what_must_be_let_out_and_whether_it_runs_here() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, Case { env: &[("CHECK", "2")], ..PLAIN });
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(4), "{done:?}");
    assert!(out.contains("PASS  memory    64 MB") && err.contains("the lines with FAIL say what to do"), "{done:?}");
    assert!(!host.path("prefix").exists() && host.text("calls").is_empty(), "something was done");
    // The server and nothing else: the second port of the list is for other clients.
    let asked = host.text("calls.check");
    assert_eq!(asked.lines().count(), 1, "{asked}");
    assert!(asked.starts_with("--before-enrol ") && asked.contains(" --server muster.example.org:8443 "), "{asked}");

    let done = host.run(AGENT, Case { env: &[("CHECK", "0")], ..PLAIN });
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && out.contains("PASS  mqtt ") && !out.contains("64 MB\n"), "{done:?}");

    let broken = "#!/nowhere/sh\n";
    let host = Host::new(broken);
    let done = host.run(broken, PLAIN);
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("the agent does not run on this host"), "{done:?}");
    assert!(!host.path("prefix").exists(), "it was left behind");
}

#[test]
fn a_preview_shows_no_secret_and_only_rehearses() {
    let host = Host::new(AGENT);
    let case = Case { preview: true, way: (Some("http://me:secret@proxy:3128"), None), ..PLAIN };
    let script = render(Some(&host.path("prefix")), Some(AGENT), case);
    assert!(script.contains("# This is a preview: it has no token") && !script.contains("this script works once"));
    assert!(!script.contains(TOKEN) && !script.contains("secret@") && script.contains("mst1_***"), "{script}");
    assert_eq!(host.run(AGENT, case).status.code(), Some(2));
    assert_eq!(host.text("calls.curl"), "");
    assert!(host.run(AGENT, Case { argument: Some("--dry-run"), ..case }).status.success());
}

#[test]
fn the_proxy_is_asked_by_the_downloader_and_told_to_the_agent_without_its_password() {
    let host = Host::new(AGENT);
    let way = (Some("http://me:pa%27ss@proxy.example.org:3128"), Some("127.0.0.1,.intern"));
    let done = host.run(AGENT, Case { way, ..PLAIN });
    assert!(done.status.success(), "{done:?}");
    let asked = host.text("calls.curl");
    assert!(asked.lines().all(|line| line.ends_with(" http://me:pa%27ss@proxy.example.org:3128")), "{asked}");
    let calls = host.text("calls");
    assert!(calls.contains("--proxy http://me@proxy.example.org:3128 --no-proxy 127.0.0.1,.intern"), "{calls}");
    assert!(!calls.contains("pa'ss") && !calls.contains("pa%27ss"), "the password is an argument");
    assert_eq!(host.text("calls.password"), "pa'ss\n");

    // None at all, whatever the environment says; and not for a server that is exempt.
    for (way, told) in [
        ((Some("none"), None), "--proxy none"),
        ((Some("http://proxy:1"), Some("example.org")), "--proxy http://proxy:1 --no-proxy example.org"),
    ] {
        let host = Host::new(AGENT);
        let env = &[("https_proxy", "http://other:1")];
        assert!(host.run(AGENT, Case { way, env, ..PLAIN }).status.success());
        assert!(host.text("calls.curl").lines().all(|line| line.ends_with(" direct")));
        assert!(host.text("calls").contains(told), "{}", host.text("calls"));
    }
}

#[test]
fn a_busy_server_is_asked_again_by_wget_too() {
    let host = Host::new(AGENT);
    fs::remove_file(host.path("bin/curl")).unwrap();
    let wget = r#"#!/bin/sh
for word in "$@"; do
    case $word in
    --output-document=*) out=${word#*=} ;;
    esac
    url=$word
done
echo "$url" >>"$CALLS.curl"
case $url in */healthz) exit 0 ;; esac
if [ "$(grep -c agent "$CALLS.curl")" -lt 3 ]; then
    printf '  HTTP/1.1 503 Service Unavailable\n  Retry-After: 0\n' >&2
    exit 8
fi
cat "$SERVED" >"$out"
"#;
    host.put_program("bin/wget", wget);
    // Only what is in this folder, so that no curl is found.
    for tool in [
        "sh",
        "cat",
        "chmod",
        "cut",
        "date",
        "df",
        "grep",
        "ln",
        "mkdir",
        "mktemp",
        "mv",
        "readlink",
        "rm",
        "rmdir",
        "sha256sum",
        "sleep",
        "tr",
        "uname",
    ] {
        let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", tool]).output().unwrap();
        let path = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(path.trim(), host.path("bin").join(tool)).unwrap();
    }
    let path: &'static str = host.path("bin").to_str().unwrap().to_owned().leak();
    let script = host.path("install.sh");
    fs::write(&script, render(Some(&host.path("prefix")), Some(AGENT), PLAIN)).unwrap();
    let mut command = Command::new("/bin/sh");
    command.arg(&script).env_clear().env("PATH", path).env("HOME", host.path("home"));
    command.env("CALLS", host.path("calls")).env("SERVED", host.path("served"));
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(host.text("calls.curl").lines().filter(|line| line.contains(PATH)).count(), 3);
    assert!(String::from_utf8_lossy(&done.stdout).contains("the server is busy"), "{done:?}");
}

#[test]
fn the_help_and_the_exit_codes_of_the_script_are_as_written_down() {
    let host = Host::new(AGENT);
    let done = host.run(AGENT, Case { argument: Some("--help"), ..PLAIN });
    golden("install-sh-help.txt", &String::from_utf8(done.stdout).unwrap());
    let done = host.run(AGENT, Case { argument: Some("--nonsense"), ..PLAIN });
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("unknown argument --nonsense"));
    // The codes stand in the head of the script as well.
    let script = render(None, Some(AGENT), PLAIN);
    let codes = |text: &str| {
        text.lines()
            .filter(|line| line.trim_start_matches(['#', ' ']).starts_with(|c: char| c.is_ascii_digit()))
            .count()
    };
    assert!(codes(script.split_once("set -eu").unwrap().0) >= 7);
}

#[test]
fn the_powershell_script_is_as_written_down() {
    let script =
        render_for(Some("C:\\Program Files\\Muster"), Some(AGENT), Case { start: true, ..PLAIN }, Shell::Powershell);
    let pem = ca().trim_end();
    let der = muster_certs::certificate::first_from_pem(ca()).unwrap();
    let fixed =
        script.replace(pem, "(the authority)").replace(&muster_certs::certificate_id(&der), "(its fingerprint)");
    golden(
        "install-ps1.txt",
        &fixed.replace(&sha256(AGENT).to_string(), "(the agent's digest)").replace(PATH, "(the agent's path)"),
    );
}

/// Compares with a file; `MUSTER_GOLDEN=write` writes it.
#[track_caller]
fn golden(name: &str, found: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    #[expect(clippy::disallowed_methods, reason = "a switch of this test alone")]
    if std::env::var("MUSTER_GOLDEN").is_ok_and(|value| value == "write") {
        fs::write(&file, found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&file).unwrap_or_default(), "differs from {}", file.display());
}

#[test]
fn only_plain_absolute_prefixes_are_taken() {
    for good in ["/opt/muster", "/home/x/.muster", "/a-b_c.d+e"] {
        assert_eq!(prefix_problem(Path::new(good), Shell::Sh), None, "{good}");
    }
    for bad in ["", "/", "opt", "/a b", "/a'b", "/a/../b", "/$HOME", "/a\nb", "/é"] {
        assert!(prefix_problem(Path::new(bad), Shell::Sh).is_some(), "{bad:?}");
    }
    for good in ["C:\\Muster", "d:\\Program Files\\Muster"] {
        assert_eq!(prefix_problem(Path::new(good), Shell::Powershell), None, "{good}");
    }
    for bad in ["/opt/muster", "C:", "C:\\", "C:\\a\\..\\b", "\\\\host\\share", "C:\\a'b", "C:\\a\\", "C:\\a "] {
        assert!(prefix_problem(Path::new(bad), Shell::Powershell).is_some(), "{bad:?}");
    }
}
