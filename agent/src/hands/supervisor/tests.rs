//! Real processes: a shell script that works, dies or ignores signals as its recipe says.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::hands::files;
use crate::hands::installed::Installed;
use crate::places::Prefix;
use crate::platform;
use muster_model::component::{INSTALLED_FILE, Recipe};
use muster_wire::id::Sha256Hex;
use std::fs;

const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

struct Bench {
    _folder: tempfile::TempDir,
    home: Home,
    name: ComponentName,
}

/// Ends the components of a test, whatever becomes of it.
impl Drop for Bench {
    fn drop(&mut self) {
        if let Ok(Some(run)) = Run::read(&self.home)
            && let Some(key) = run.process
        {
            let _ = platform::kill_group(key.pid);
        }
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = ComponentName::new("greeter").unwrap();
        let home = Prefix::new(folder.path()).unwrap().home(&name);
        fs::create_dir_all(home.root()).unwrap();
        Self { _folder: folder, home, name }
    }

    /// A version whose program is this script; its probe passes while the file `up` is in the data folder.
    fn unit(&self, version: &str, script: &str) -> Unit {
        let recipe = format!(
            "name = \"greeter\"\nversion = \"{version}\"\n[start]\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n\
             [stop]\ntimeout_s = 0.3\n[health]\ncommand = [\"/bin/sh\", \"-c\", \"test -e up\"]\ninterval_s = 0.02\n"
        );
        let version = Version::new(version).unwrap();
        fs::create_dir_all(self.home.version(&version)).unwrap();
        let installed = Installed { package_sha256: Sha256Hex::from_bytes(&[1; 32]), soak_s: 1 };
        files::replace_json(&self.home.version(&version).join(INSTALLED_FILE), &installed).unwrap();
        fs::write(self.home.version(&version).join("component.toml"), &recipe).unwrap();
        let recipe = Recipe::parse(&recipe).unwrap();
        Unit { component: self.name.clone(), version, home: self.home.clone(), recipe, installed }
    }

    /// A supervisor as an agent has it; the token stops the agent.
    fn agent(&self, tasks: &mut tokio::task::JoinSet<()>) -> (Supervisor, CancellationToken) {
        let stop = CancellationToken::new();
        let (supervisor, work) = Supervisor::new(
            self.name.clone(),
            self.home.clone(),
            Clock::system(),
            Arc::new(Notify::new()),
            stop.clone(),
        );
        tasks.spawn(work);
        (supervisor, stop)
    }

    fn pid(&self) -> u32 {
        Run::read(&self.home).unwrap().unwrap().process.unwrap().pid
    }
}

/// Waits until the process has become this program and shows its mark: while it turns into another program, the kernel
/// shows no environment of it.
async fn becomes(bench: &Bench, pid: u32, program: &str) {
    let mark = Run::read(&bench.home).unwrap().unwrap().mark;
    eventually(&format!("process {pid} is {program}"), || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim_end() == program && platform::variable(pid, RUN_VARIABLE).as_ref() == Some(&mark)
    })
    .await;
}

/// Waits for what nothing announces.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn until(supervisor: &Supervisor, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = supervisor.status();
    let reached = tokio::time::timeout(DEADLINE, status.wait_for(|status| wanted(status))).await;
    match reached {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!("{what}; last seen: {:?}", supervisor.status().borrow()),
    }
}

#[tokio::test]
async fn a_component_is_probed_and_told_to_be_what_really_runs() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let (supervisor, _stop) = bench.agent(&mut tasks);
    supervisor.run(bench.unit("1", "touch up; read x < /dev/null; exec sleep 1000"), true).await.unwrap();
    let status = until(&supervisor, "healthy", |status| status.health == Health::Healthy).await;
    let process = status.process.unwrap();
    let boot = platform::boot_id();
    assert!(process.start_id.starts_with(&format!("{boot}-{}-", bench.pid())), "{}", process.start_id);
    assert!(process.program_sha256.is_some());
    fs::remove_file(bench.home.data().join("up")).unwrap();
    until(&supervisor, "unhealthy", |status| status.health == Health::Unhealthy && status.healthy_since.is_none())
        .await;
    supervisor.halt().await.unwrap();
    assert_eq!(supervisor.status().borrow().health, Health::Stopped);
    assert_eq!(platform::start_mark(bench.pid()), None);
}

#[tokio::test]
async fn a_kept_component_that_dies_is_started_again_and_one_on_trial_is_not() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let (supervisor, _stop) = bench.agent(&mut tasks);
    let unit = bench.unit("1", "exec sleep 1000");
    supervisor.run(unit.clone(), false).await.unwrap();
    let first = bench.pid();
    platform::kill_group(first).unwrap();
    let status = until(&supervisor, "started again", |status| status.restarts == 1 && status.process.is_some()).await;
    assert_ne!(bench.pid(), first);
    assert_eq!(status.version, Some(unit.version));

    supervisor.run(bench.unit("2", "exit 7"), true).await.unwrap();
    let status = until(&supervisor, "the verdict", |status| status.process.is_none()).await;
    assert!(status.trouble.unwrap().contains("ended with exit code 7"));
    assert_eq!((status.restarts, status.version), (0, Version::new("2").ok()));
}

#[tokio::test]
async fn the_next_agent_adopts_what_runs() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let unit = bench.unit("1", "exec sleep 1000");
    let (supervisor, stop) = bench.agent(&mut tasks);
    supervisor.run(unit.clone(), false).await.unwrap();
    let pid = bench.pid();
    becomes(&bench, pid, "sleep").await;
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    assert!(platform::start_mark(pid).is_some(), "the component outlives its agent");

    // As a crash between the start and the second note leaves it: only the mark finds the process.
    let mut run = Run::read(&bench.home).unwrap().unwrap();
    run.process = None;
    files::replace_json(&bench.home.run(), &run).unwrap();
    let (supervisor, _stop) = bench.agent(&mut tasks);
    supervisor.run(unit, false).await.unwrap();
    assert_eq!(bench.pid(), pid);
    // It is no child of anybody here any more, and its death is noticed all the same.
    platform::kill_group(pid).unwrap();
    until(&supervisor, "started again", |status| status.restarts == 1 && status.process.is_some()).await;
    assert_ne!(bench.pid(), pid);
}

#[tokio::test]
async fn a_damaged_run_file_is_set_aside_and_what_runs_is_found_by_its_environment() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let unit = bench.unit("1", "exec sleep 1000");
    let (supervisor, stop) = bench.agent(&mut tasks);
    supervisor.run(unit.clone(), false).await.unwrap();
    let old = bench.pid();
    becomes(&bench, old, "sleep").await;
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    fs::write(bench.home.run(), "{\"version\":").unwrap();

    let (supervisor, _stop) = bench.agent(&mut tasks);
    supervisor.run(unit, false).await.unwrap();
    assert_eq!(platform::start_mark(old), None, "two of it run at once");
    assert!(platform::start_mark(bench.pid()).is_some());
    assert_eq!(fs::read_to_string(bench.home.root().join("run.json.damaged")).unwrap(), "{\"version\":");
}

#[tokio::test]
async fn what_a_dead_leader_left_is_killed_and_a_group_without_the_mark_is_not() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let (supervisor, stop) = bench.agent(&mut tasks);
    supervisor.run(bench.unit("1", "sleep 1000 & echo $! > child; touch up; sleep 1000"), false).await.unwrap();
    until(&supervisor, "its child runs", |status| status.health == Health::Healthy).await;
    let child: u32 = fs::read_to_string(bench.home.data().join("child")).unwrap().trim().parse().unwrap();
    becomes(&bench, child, "sleep").await;
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    let leader = i32::try_from(bench.pid()).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(leader, rustix::process::Signal::KILL).unwrap();
    tokio::time::timeout(DEADLINE, async {
        while platform::start_mark(bench.pid()).is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    let ours = Run::read(&bench.home).unwrap().unwrap();
    // As if the number had gone to a stranger: the group carries another mark than the one that was written down.
    files::replace_json(&bench.home.run(), &Run { mark: "another".into(), ..ours.clone() }).unwrap();
    let (supervisor, _stop) = bench.agent(&mut tasks);
    supervisor.halt().await.unwrap();
    assert!(platform::start_mark(child).is_some(), "a stranger was killed");
    files::replace_json(&bench.home.run(), &ours).unwrap();
    supervisor.halt().await.unwrap();
    assert_eq!(platform::start_mark(child), None);
}

#[tokio::test]
async fn another_version_replaces_what_an_earlier_agent_left() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let (supervisor, stop) = bench.agent(&mut tasks);
    supervisor.run(bench.unit("1", "exec sleep 1000"), false).await.unwrap();
    let old = bench.pid();
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
    let (supervisor, _stop) = bench.agent(&mut tasks);
    supervisor.run(bench.unit("2", "exec sleep 1000"), true).await.unwrap();
    assert_eq!(platform::start_mark(old), None, "two versions run at once");
    assert_eq!(supervisor.status().borrow().version, Version::new("2").ok());
}

#[tokio::test]
async fn a_stubborn_component_is_killed_with_its_children() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let (supervisor, _stop) = bench.agent(&mut tasks);
    let script = "trap \"\" TERM; (trap \"\" TERM; while :; do sleep 0.1; done) & echo $! > child; touch up; while :; do sleep 0.1; done";
    supervisor.run(bench.unit("1", script), false).await.unwrap();
    until(&supervisor, "its child runs", |status| status.health == Health::Healthy).await;
    let child: u32 = fs::read_to_string(bench.home.data().join("child")).unwrap().trim().parse().unwrap();
    assert!(platform::start_mark(child).is_some());
    supervisor.halt().await.unwrap();
    assert_eq!((platform::start_mark(bench.pid()), platform::start_mark(child)), (None, None));
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_an_error_with_its_name() {
    let (bench, mut tasks) = (Bench::new(), tokio::task::JoinSet::new());
    let (supervisor, _stop) = bench.agent(&mut tasks);
    let mut unit = bench.unit("1", "true");
    unit.recipe.start.argv = vec!["bin/none".into()];
    let error = supervisor.run(unit, true).await.unwrap_err();
    assert!(error.contains("cannot start bin/none"), "{error}");
    assert_eq!(supervisor.status().borrow().health, Health::Stopped);
}
