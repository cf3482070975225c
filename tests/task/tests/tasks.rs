//! The task runner as a process, with a stand-in for cargo: what it calls, in which order, and how it ends.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot set up its files should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A target folder and a source tree of its own for one test. The task runner finds its binaries beside itself.
struct Bench {
    dir: PathBuf,
    fail: String,
}

impl Bench {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tasks").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(dir.join("release")).unwrap();
        fs::create_dir_all(dir.join("source/tests/task")).unwrap();
        fs::write(dir.join("source/Cargo.toml"), "").unwrap();
        // A link, not a copy: a file that was just written may still be open in a child of another test.
        fs::hard_link(env!("CARGO_BIN_EXE_muster-task"), dir.join("release/muster-task")).unwrap();
        Self { dir, fail: String::new() }
    }

    fn failing_at(mut self, call: &str) -> Self {
        self.fail = call.to_owned();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("release/muster-task"));
        command
            .args(args)
            .env("CARGO", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-cargo.sh"))
            .env("CARGO_MANIFEST_DIR", self.dir.join("source/tests/task"))
            .env("FAKE_DIR", &self.dir)
            .env("FAKE_FAIL", &self.fail)
            .env_remove("RUSTDOCFLAGS")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    fn binary(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join("release").join(name)).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const BUILD: &str = "|build --release -p muster-cli -p muster-agent -p muster-greeter";
const BUILD_FAULTS: &str = "|build --release -p muster-agent --features faults";
const BUILD_SERVER_FAULTS: &str = "|build --release -p muster-cli --features faults";

#[test]
fn demo_builds_then_becomes_the_demo() {
    let bench = Bench::new("demo");
    let child =
        bench.command(&["demo", "--", "--once", "a b"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(bench.calls(), [BUILD]);
    assert_eq!(output.status.code(), Some(7), "the demo's own exit code");
    // The same process id: a signal to what the caller started is a signal to the demo.
    assert_eq!(text(&output.stdout), format!("{pid}\ndemo\n--once\na b\n"));
    assert!(text(&output.stderr).contains("noise of a build"));
}

#[test]
fn demo_is_not_started_when_the_build_fails() {
    let bench = Bench::new("demo_build_fails").failing_at("build");
    let output = bench.run(&["demo"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert!(text(&output.stderr).contains("the demo was not started"));
}

#[test]
fn verify_runs_every_step_in_order() {
    let bench = Bench::new("verify");
    let output = bench.run(&["verify"]);
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(
        bench.calls(),
        [
            "|fmt --all --check",
            "|clippy --release --workspace --all-targets -- -D warnings",
            BUILD,
            BUILD_FAULTS,
            BUILD_SERVER_FAULTS,
            BUILD,
            "|test --release --workspace",
            "-D warnings|doc --release --workspace --no-deps",
        ]
    );
    let summary = stdout.split_once("step       seconds").unwrap().1;
    for step in ["fmt", "clippy", "build", "faults", "test", "doc"] {
        let row = summary.lines().find(|line| line.starts_with(step));
        assert!(row.unwrap().ends_with("  ok"), "{summary}");
    }
    assert!(summary.contains("skipped: there is no shell script"));
    assert!(summary.contains("skipped: there is no tests/aws/requirements.txt"));
    assert!(summary.contains("skipped: there is no tests/js"));
    assert!(summary.contains("skipped: there is no tests/fuzz"));
    assert!(summary.contains("\ntotal "));
}

#[test]
fn both_agents_are_there_after_the_fault_build() {
    let bench = Bench::new("faults");
    let output = bench.run(&["verify", "--only", "faults"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(bench.calls(), [BUILD_FAULTS, BUILD_SERVER_FAULTS, BUILD]);
    assert_eq!(bench.binary("muster-agent-faults"), "faults");
    assert_eq!(bench.binary("muster-agent"), "ordinary");
}

#[test]
fn the_first_failure_ends_the_run_and_says_how_to_repeat_it() {
    let bench = Bench::new("verify_fails").failing_at("test");
    let output = bench.run(&["verify"]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(bench.calls().last().unwrap(), "|test --release --workspace");
    assert!(stdout.contains("FAILED"), "{stdout}");
    assert!(stdout.contains("not run"), "{stdout}");
    for part in [
        "verify failed in step test: `cargo test --release --workspace` failed (exit status: 101)",
        "cargo verify --only test",
        "\n    cargo test --release --workspace",
    ] {
        assert!(stderr.contains(part), "{part:?} is not in:\n{stderr}");
    }
}

#[test]
fn a_shell_script_with_a_mistake_fails_where_shellcheck_is_installed() {
    let installed = Command::new("shellcheck").arg("--version").output().is_ok();
    let bench = Bench::new("shell");
    let script = bench.dir.join("source/wrong.sh");
    fs::write(script, "#!/bin/sh\nrm $1/*\n").unwrap();
    let output = bench.run(&["verify", "--only=shell"]);
    if installed {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("verify failed in step shell"));
    } else {
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("skipped: shellcheck is not installed here"));
    }
}

#[test]
fn a_mistake_on_the_command_line_is_told_and_nothing_runs() {
    let bench = Bench::new("usage");
    let output = bench.run(&["verify", "--only", "lint"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`verify` has no step \"lint\""));
    assert!(bench.calls().is_empty());
}

/// `verify --only python` on a machine whose only other program is a stand-in for Python, if that.
fn verify_python(bench: &Bench, with_python: bool, requirements: &str) -> Output {
    let programs = bench.dir.join("programs");
    let python = programs.join("python3");
    fs::create_dir_all(bench.dir.join("source/tests/aws")).unwrap();
    fs::write(bench.dir.join("source/tests/aws/requirements.txt"), requirements).unwrap();
    fs::create_dir_all(&programs).unwrap();
    if with_python && !python.exists() {
        std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-python.sh"), &python).unwrap();
    }
    bench.command(&["verify", "--only", "python"]).env("PATH", &programs).output().unwrap()
}

#[test]
fn without_python_the_step_is_skipped() {
    let bench = Bench::new("no_python");
    let output = verify_python(&bench, false, "paho-mqtt==1\n");
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("skipped: no python3"), "{stdout}");
}

#[test]
fn an_environment_is_made_once_for_each_list_of_packages() {
    let bench = Bench::new("python");
    let made = ["-m venv --clear DIR/python", "-m pip install", "-m pip download", "-m tarfile --extract"];
    let found = "-c import awsiot, boto3, paho.mqtt";
    let (one, two) = ("awsiotsdk==1\n", "awsiotsdk==2\n");
    for (requirements, want) in [(one, &made[..]), (one, &[found][..]), (two, &made[..])] {
        let _ = fs::remove_file(bench.dir.join("calls"));
        let output = verify_python(&bench, true, requirements);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let calls: Vec<String> =
            bench.calls().iter().map(|call| call.replace(bench.dir.to_str().unwrap(), "DIR")).collect();
        assert_eq!(calls.len(), want.len(), "{calls:?}");
        assert!(calls.iter().zip(want).all(|(call, want)| call.starts_with(want)), "{calls:?}");
    }
}

#[test]
fn a_pip_that_fails_fails_the_step_and_leaves_nothing_that_looks_whole() {
    let bench = Bench::new("pip_fails").failing_at("-m pip");
    for _ in 0..2 {
        let output = verify_python(&bench, true, "awsiotsdk==1\n");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("pip cannot install tests/aws/requirements.txt"), "{stderr}");
        assert!(stderr.contains("/python/bin/python' -m pip install -r tests/aws/requirements.txt"), "{stderr}");
    }
}

/// `verify --only node` on a machine whose only other programs are stand-ins for these.
fn verify_node(bench: &Bench, installed: &[&str], lock: &str) -> Output {
    let (programs, source) = (bench.dir.join("programs"), bench.dir.join("source/tests/js"));
    for folder in [&programs, &source] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(source.join("package.json"), "{}").unwrap();
    fs::write(source.join("package-lock.json"), lock).unwrap();
    for name in installed.iter().map(|name| programs.join(name)).filter(|path| !path.exists()) {
        std::os::unix::fs::symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake-node.sh"), name).unwrap();
    }
    bench.command(&["verify", "--only", "node"]).env("PATH", &programs).output().unwrap()
}

#[test]
fn without_node_or_npm_the_step_is_skipped_and_says_what_is_missing() {
    for (name, installed, missing) in [("no_node", &[][..], "node"), ("no_npm", &["node"][..], "npm")] {
        let bench = Bench::new(name);
        let output = verify_node(&bench, installed, "{}");
        let stdout = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{stdout}");
        assert!(stdout.contains(&format!("skipped: no {missing}; the tests with MQTT.js are skipped")), "{stdout}");
    }
}

#[test]
fn the_packages_for_node_are_installed_once_for_each_lock_file() {
    let bench = Bench::new("node");
    let asked = ["node --version", "npm --version"];
    let install = "npm ci --ignore-scripts --no-audit --no-fund --loglevel error";
    for (lock, last) in [("1", install), ("1", "node -e require('mqtt')"), ("2", install)] {
        let _ = fs::remove_file(bench.dir.join("calls"));
        let output = verify_node(&bench, &["node", "npm"], lock);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(bench.calls(), [asked[0], asked[1], last]);
        assert_eq!(fs::read_to_string(bench.dir.join("node/package-lock.json")).unwrap(), lock);
    }
}

#[test]
fn an_npm_that_fails_fails_the_step_and_leaves_nothing_that_looks_whole() {
    let bench = Bench::new("npm_fails").failing_at("npm ci");
    for _ in 0..2 {
        let output = verify_node(&bench, &["node", "npm"], "{}");
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("npm cannot install what tests/js/package-lock.json names"), "{stderr}");
        assert!(stderr.contains("&& cp tests/js/package*.json"), "{stderr}");
    }
}
