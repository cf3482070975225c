//! The form of `muster connector add` on a real terminal, and the list for firewalls that goes with the script.
#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot set up")]

use muster_tests::fleet::Fleet;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// `muster connector add` on a terminal; its standard output goes to a file.
struct Form {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    script: PathBuf,
}

impl Form {
    fn open(fleet: &Fleet, args: &[&str]) -> Self {
        Self::of(fleet, &[&["connector", "add"], args].concat())
    }

    /// Any command that asks.
    fn of(fleet: &Fleet, words: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let line = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let script = fleet.root().join("form.sh");
        let mut command = Command::new(&fleet.programs().muster);
        command.args(words).arg("--data").arg(fleet.data());
        command.stdin(line.try_clone().unwrap()).stderr(line).stdout(File::create(&script).unwrap());
        let child = command.spawn().unwrap();
        // The command holds the other end; when it goes, so does the line.
        drop(command);
        let keyboard = File::from(terminal);
        let mut display = keyboard.try_clone().unwrap();
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = display.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, screen, seen: String::new(), script }
    }

    /// Waits for a question and answers it.
    #[track_caller]
    fn answer(&mut self, question: &str, answer: &str) {
        self.sees(question);
        // What was on the screen before does not answer the next question.
        self.seen.clear();
        self.keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    #[track_caller]
    fn sees(&mut self, words: &str) {
        while !self.seen.contains(words) {
            match self.screen.recv_timeout(SOON) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{words:?} does not appear ({error}) on: {}", self.seen),
            }
        }
    }

    /// Waits for the end; returns the exit code and the script.
    fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        (code, fs::read_to_string(self.script).unwrap())
    }
}

#[test]
fn the_form_asks_for_everything_corrects_shows_and_confirms() {
    let fleet = Fleet::start();
    fleet.publish("1.0", true);
    let mut form = Form::open(&fleet, &[]);
    form.answer("Name: ", "");
    form.answer("this is needed", "a b");
    fleet.muster(&["connector", "add", "taken"]).succeeded();
    form.answer("is not allowed", "taken");
    form.answer("Name: ", "alpha");
    form.answer("Pool [default; none for no pool]: ", "blue");
    form.answer("Site [none]: ", "vienna");
    form.answer("Folder on the host [", "not absolute");
    form.answer("give an absolute path", "/opt/muster");
    form.answer("Description [none]: ", "the first one");
    form.answer("Proxy, ", "http://me:secret@proxy.example.org:3128");
    form.answer("leave the password out", "http://me@proxy.example.org:3128");
    form.answer("Password of me at the proxy, not shown [none]: ", "geheim");
    form.answer("Reached without the proxy, a list or none [as the host is set up", "none,a");
    form.answer("none is no host in a list", "none");
    form.answer("Component to run, NAME=VERSION [no more]: ", "greeter=1.0");
    form.answer("Component to run, NAME=VERSION [no more]: ", "");
    form.sees("proxy        http://me@proxy.example.org:3128");
    form.sees("without it   none");
    assert!(!form.seen.contains("geheim"), "the password is on the screen: {}", form.seen);
    form.answer("Add it? yes or no [yes]: ", "");
    let (code, script) = form.end();
    assert_eq!(code, Some(0), "{script}");
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("PREFIX='/opt/muster'"), "{script}");
    assert!(script.contains("PROXY_URL='http://me:geheim@proxy.example.org:3128'"), "{script}");
    assert!(script.contains("NO_PROXY_GIVEN='yes'\nNO_PROXY_LIST='none'"), "{script}");
    let view = fleet.connector("alpha");
    assert_eq!(
        (&view["pool"], &view["site"], &view["description"]),
        (&json!("blue"), &json!("vienna"), &json!("the first one"))
    );
}

#[test]
fn a_form_that_is_declined_adds_nothing_and_what_is_given_is_not_asked() {
    let fleet = Fleet::start();
    let given = ["--pool", "blue", "--site", "x", "--prefix", "/opt/m", "--description", "d", "--proxy", "none"];
    let mut form = Form::open(&fleet, &given);
    form.answer("Name: ", "alpha");
    form.answer("Component to run", "");
    form.answer("Add it?", "perhaps");
    form.answer("answer yes or no", "no");
    form.sees("given up; nothing was added");
    let (code, script) = form.end();
    assert_eq!((code, script.as_str()), (Some(2), ""));
    fleet.muster(&["connector", "show", "alpha"]).ended_with(1);
}

#[test]
fn a_form_for_windows_offers_a_folder_of_windows() {
    let fleet = Fleet::start();
    let mut form = Form::open(&fleet, &["--windows", "--pool", "blue", "--site", "x"]);
    form.answer("Name: ", "alpha");
    form.sees("Folder on the host [%ProgramData%\\Muster]: ");
    form.child.kill().unwrap();
    form.end();
}

#[test]
fn a_script_in_a_file_is_for_its_owner_alone_and_no_password_stands_in_an_argument() {
    let fleet = Fleet::start();
    let file = fleet.root().join("install.sh");
    let output = file.to_str().unwrap();
    let said = fleet.muster(&["connector", "add", "alpha", "--output", output]).succeeded().stdout;
    assert!(said.contains("only its owner can read it") && !said.contains("mst1_"), "{said}");
    assert!(said.contains("next, on the host and before 20") && said.ends_with("\n  sh install.sh\n"), "{said}");
    let script = fs::read_to_string(&file).unwrap();
    assert!(script.starts_with("#!/bin/sh\n") && script.ends_with("main \"$@\"\n") && script.contains("mst1_"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Neither replaced nor is a token made for it.
    let refused = fleet.muster(&["connector", "add", "beta", "--output", output]).ended_with(2);
    refused.explaining("is there already").explaining("--force");
    fleet.muster(&["connector", "show", "beta"]).ended_with(1);
    let away = fleet.root().join("none/install.sh");
    fleet
        .muster(&["connector", "add", "beta", "--output", away.to_str().unwrap()])
        .ended_with(2)
        .explaining("no such folder");
    fleet.muster(&["connector", "add", "beta", "--output", output, "--force"]).succeeded();
    assert!(fs::read_to_string(&file).unwrap().contains("NAME='beta'"));

    let inline = fleet.muster(&["connector", "add", "gamma", "--proxy", "http://me:geheim@p:1"]).ended_with(2);
    assert!(!inline.stderr.contains("geheim"), "{inline:?}");
    inline.explaining("every user of this host can read arguments").explaining("--proxy-password-file");
    fleet.muster(&["connector", "show", "gamma"]).ended_with(1);
}

#[test]
fn the_allowlist_and_the_script_name_the_same_hosts_and_ports() {
    let fleet = Fleet::start();
    let port = fleet.address().port();
    let listed = fleet.muster_json(&["allowlist"]);
    assert_eq!(listed, json!([{ "host": "localhost", "port": port, "protocol": "tcp", "used_by": "agents" }]));
    let script = fleet.muster(&["connector", "add", "alpha"]).succeeded().stdout;
    assert!(script.contains(&format!("ALLOWED='localhost:{port}'")), "{script}");
    let fixed = fleet.muster_json(&["allowlist", "--static"]);
    let hosts: Vec<&str> = fixed.as_array().unwrap().iter().map(|entry| entry["host"].as_str().unwrap()).collect();
    assert!(hosts.contains(&"127.0.0.1"), "{hosts:?}");
    let pattern = fleet.muster_json(&["allowlist", "--wildcard", "--server", "muster.example.org:443"]);
    assert_eq!((&pattern[0]["host"], &pattern[0]["port"]), (&json!("*.example.org"), &json!(443)));
    let table = fleet.muster(&["allowlist"]).succeeded().stdout;
    assert!(table.starts_with("HOST") && table.contains(&port.to_string()), "{table}");
}

#[test]
fn who_changes_many_is_asked_and_shown_whom() {
    let fleet = Fleet::start();
    for name in ["a-1", "a-2", "b"] {
        fleet.add_connector(name);
    }
    let disabled = || {
        let list = fleet.muster_json(&["connector", "list", "--to", "status=disabled"]);
        let names = list["connectors"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let words = ["connector", "disable", "--to", "name=a-*"];
    let mut form = Form::of(&fleet, &words);
    form.answer("This disables 2 connectors: a-1, a-2. They are refused until they are enabled", "n");
    form.sees("nothing was changed");
    assert_eq!(form.end().0, Some(2));
    assert_eq!(disabled(), [""; 0]);
    let mut form = Form::of(&fleet, &words);
    form.answer("[y/N]", "y");
    let (code, told) = form.end();
    assert_eq!((code, disabled()), (Some(0), vec!["a-1".to_owned(), "a-2".to_owned()]));
    assert!(told.contains("a-1: disabled since") && told.contains("a-2: disabled since"), "{told}");
}
