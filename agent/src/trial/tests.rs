#![allow(clippy::unwrap_used)]

use super::*;
use std::time::Duration;

struct Bench {
    folder: tempfile::TempDir,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        Self { folder, clock: Clock::system() }
    }

    fn prefix(&self) -> Prefix {
        Prefix::new(self.folder.path()).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn set(&self, rest: &str) -> String {
        let text = format!("name = \"a\"\nconfirm_within_s = 300\nproxy = \"none\"\n{rest}");
        store::write_secret(&self.file("agent.toml"), text.as_bytes()).unwrap();
        text
    }

    fn begin(&self) -> Tried {
        begin(&self.prefix(), &self.clock).unwrap()
    }

    fn is(&self, name: &str, text: &str) {
        assert_eq!(fs::read_to_string(self.file(name)).unwrap(), text, "{name}");
    }
}

#[test]
fn the_first_settings_are_no_trial_and_a_change_of_something_else_is_none() {
    let bench = Bench::new();
    bench.set("server = \"old:1\"\n");
    let mut first = bench.begin();
    assert!(first.deadline.is_none());
    first.confirm().unwrap();
    bench.set("server = \"old:1\"\nheartbeat_s = 7\n");
    assert!(bench.begin().deadline.is_none());
}

#[test]
fn a_change_is_confirmed_or_taken_back_whole() {
    let bench = Bench::new();
    fs::write(bench.file("ca.pem"), "old CA").unwrap();
    let old = bench.set("server = \"old:1\"\nca_file = \"ca.pem\"\n");
    bench.begin().confirm().unwrap();
    let new = bench.set("server = \"new:1\"\nca_file = \"ca.pem\"\n");
    let mut tried = bench.begin();
    assert!(tried.deadline.is_some() && tried.report().on_trial);
    tried.confirm().unwrap();
    assert!(bench.begin().deadline.is_none());

    // Only the content of a named file changes.
    fs::write(bench.file("ca.pem"), "new CA").unwrap();
    let tried = bench.begin();
    assert!(tried.deadline.is_some());
    tried.take_back(&bench.clock).unwrap();
    bench.is("ca.pem", "old CA");
    bench.is("ca.pem.refused", "new CA");
    bench.is("agent.toml", &new);

    bench.set("server = \"old:1\"\nca_file = \"ca.pem\"\n");
    bench.begin().take_back(&bench.clock).unwrap();
    bench.is("agent.toml", &new);
    bench.is("agent.toml.refused", &old);
    let after = bench.begin();
    assert!(after.deadline.is_none());
    let refused = after.report().refused.unwrap();
    assert_eq!((refused.server.as_str(), refused.reason.contains("within 300 s")), ("old:1", true));
}

#[test]
fn taking_back_goes_on_from_every_step_and_overwrites_nobody() {
    let bench = Bench::new();
    let old = bench.set("server = \"old:1\"\n");
    bench.begin().confirm().unwrap();
    let new = bench.set("server = \"new:1\"\n");
    let mut tried = bench.begin();
    tried.record.trial.as_mut().unwrap().taken_back = Some("because".to_owned());
    // As a crash leaves it: written down, nothing done; and, the second time, done but not written down.
    for found in [&new, &old] {
        write(&bench.prefix(), &tried.record).unwrap();
        store::write_secret(&bench.file("agent.toml"), found.as_bytes()).unwrap();
        assert!(bench.begin().deadline.is_none());
        bench.is("agent.toml", &old);
        bench.is("agent.toml.refused", &new);
    }
    // Somebody was faster: these are new settings, and tried as such.
    write(&bench.prefix(), &tried.record).unwrap();
    let newer = bench.set("server = \"newer:1\"\n");
    let again = bench.begin();
    assert!(again.deadline.is_some());
    assert_eq!(again.report().refused.unwrap().server, "new:1");
    bench.is("agent.toml", &newer);
    assert!(look(&bench.prefix()).unwrap().0);
}

#[test]
fn a_trial_has_its_time_once_also_over_restarts() {
    let bench = Bench::new();
    bench.set("server = \"old:1\"\n");
    bench.begin().confirm().unwrap();
    bench.set("server = \"new:1\"\n");
    let mut tried = bench.begin();
    let long_ago = Timestamp::from_seconds(bench.clock.now().epoch_seconds() - 290);
    tried.record.trial.as_mut().unwrap().begun_at = long_ago;
    write(&bench.prefix(), &tried.record).unwrap();
    let left = bench.begin().deadline.unwrap() - tokio::time::Instant::now();
    assert!(left <= Duration::from_secs(10), "{left:?}");
    // Put back by hand: no trial any more.
    bench.set("server = \"old:1\"\n");
    assert!(bench.begin().deadline.is_none());
    assert_eq!(look(&bench.prefix()).unwrap(), (false, None));
    // A damaged record proves nothing and stops nobody.
    fs::write(bench.prefix().trial(), "{").unwrap();
    assert!(bench.begin().deadline.is_none());
}
