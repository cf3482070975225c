//! A host that the script of `muster connector add` is run on: an ordinary user with an empty home, and nothing on the PATH
//! but what the script may need.

use super::{Fleet, Namespace, Output, Process};
use crate::eventually::eventually;
use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// A user that no machine has, when the test itself runs as root; others are ordinary users already.
const STRANGER: u32 = 61_235;

/// What the script may use besides a downloader. There is no `systemctl`: a test installs no unit on the machine.
const TOOLS: [&str; 19] = [
    "base64",
    "cat",
    "chmod",
    "cut",
    "date",
    "df",
    "id",
    "ln",
    "mkdir",
    "mktemp",
    "mv",
    "nohup",
    "readlink",
    "rm",
    "rmdir",
    "sha256sum",
    "sleep",
    "tr",
    "uname",
];

/// The host. Dropped, everything that runs from its prefix is killed, and an account that was made for it is gone.
pub struct Site {
    prefix: PathBuf,
    home: PathBuf,
    path: PathBuf,
    /// Who the script runs as; nobody in particular when the test is no root.
    user: Option<u32>,
    account: Option<String>,
    network: Option<String>,
}

impl Site {
    /// A host whose PATH has these downloaders.
    #[track_caller]
    pub fn new(fleet: &Fleet, name: &str, downloaders: &[&str]) -> Self {
        let mut site = Self::empty(fleet, name, downloaders);
        fs::create_dir_all(&site.home).expect("a folder in the fleet's own");
        site.user = geteuid().is_root().then_some(STRANGER);
        chown(&site.home, site.user, site.user).expect("root gives away what is its own");
        site
    }

    /// A host with a user account that was made for it, as the system makes them. Only root can make one: without root it
    /// is the user of the test with another home, which is said.
    #[track_caller]
    pub fn with_account(fleet: &Fleet, name: &str, downloaders: &[&str]) -> Self {
        if !geteuid().is_root() {
            eprintln!("SKIPPED: only root can make an account; the current user stands in for it");
            return Self::new(fleet, name, downloaders);
        }
        let mut site = Self::empty(fleet, name, downloaders);
        // The name is the test folder's: no other test has it.
        let folder = fleet.root().file_name().and_then(|folder| folder.to_str()).unwrap_or_default();
        let account = format!("{}-{name}", folder.to_lowercase());
        eventually("an account is made", SOON, || {
            let mut command = Command::new("/usr/sbin/useradd");
            command.args(["--no-log-init", "--create-home", "--shell", "/bin/sh", "--comment", "made by a test"]);
            let made = command.arg("--home-dir").arg(&site.home).arg(&account).output();
            match made.map_err(|error| error.to_string())? {
                output if output.status.success() => Ok(()),
                // Somebody else makes one at the same moment, above all.
                output => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            }
        });
        site.account = Some(account);
        site.user = Some(fs::metadata(&site.home).expect("a new account has a home").uid());
        site
    }

    fn empty(fleet: &Fleet, name: &str, downloaders: &[&str]) -> Self {
        let home = fleet.root().join("hosts").join(name);
        let path = fleet.root().join("bin").join(name);
        fs::create_dir_all(&path).expect("a folder in the fleet's own");
        // Another user must get to its home, and finds it empty.
        for folder in [fleet.root(), &fleet.root().join("hosts")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a folder of this user");
        }
        for tool in TOOLS.iter().chain(downloaders) {
            let found = find(tool).unwrap_or_else(|| panic!("{tool} is not on the PATH"));
            symlink(found, path.join(tool)).expect("a link in a new folder");
        }
        Self { prefix: home.join("muster"), home, path, user: None, account: None, network: None }
    }

    /// The same, with this network and no other one.
    #[must_use]
    pub fn within(mut self, network: &Namespace) -> Self {
        self.network = Some(network.name().to_owned());
        self
    }

    /// The script of a new connector for this host.
    #[track_caller]
    pub fn script(&self, fleet: &Fleet, name: &str) -> String {
        self.script_with(fleet, name, &[])
    }

    /// The same with more arguments of `muster connector add`.
    #[track_caller]
    pub fn script_with(&self, fleet: &Fleet, name: &str, more: &[&str]) -> String {
        let prefix = self.prefix.to_str().expect("a temporary folder has an ASCII name");
        fleet.muster(&[&["connector", "add", name, "--prefix", prefix], more].concat()).succeeded().stdout
    }

    /// Runs a script to its end.
    #[track_caller]
    pub fn run(&self, script: &str) -> Output {
        self.run_with(script, &[])
    }

    /// The same with arguments.
    #[track_caller]
    pub fn run_with(&self, script: &str, args: &[&str]) -> Output {
        let file = self.path.join("install.sh");
        fs::write(&file, script).expect("a file in a folder of the test");
        self.start("/bin/sh", &[&[file.to_str().expect("a temporary folder has an ASCII name")], args].concat())
    }

    /// Runs a program as this host's user, in the home, with an environment that holds HOME and PATH alone.
    #[track_caller]
    pub fn start(&self, program: &str, args: &[&str]) -> Output {
        Output::of(self.command(program, args), SOON)
    }

    /// Starts a script and does not wait for its end. Its temporary files are in the home, which is empty otherwise.
    #[track_caller]
    pub fn begin(&self, script: &str) -> Process {
        let file = self.path.join("install.sh");
        fs::write(&file, script).expect("a file in a folder of the test");
        let mut command = self.command("/bin/sh", &[file.to_str().expect("a temporary folder has an ASCII name")]);
        command.env("TMPDIR", &self.home);
        Process::spawn("the script", command, &self.path.join("install.log"))
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(network) = &self.network {
            words.extend(["/usr/sbin/ip", "netns", "exec", network].map(str::to_owned));
        }
        if let Some(user) = self.user {
            let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
            words.extend(["/usr/bin/setpriv", &user, &group, "--clear-groups", "--"].map(str::to_owned));
        }
        // What these tests' own parent ignores, as nohup does, a shell below them could not trap.
        words.extend(["/usr/bin/env", "--default-signal"].map(str::to_owned));
        words.push(program.to_owned());
        words.extend(args.iter().map(|&arg| arg.to_owned()));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("HOME", &self.home).env("PATH", &self.path).current_dir(&self.home);
        command
    }

    /// Where the script installs the agent.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The home of this host's user.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The processes whose program lies in the prefix.
    pub fn pids(&self) -> Vec<i32> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(&self.prefix));
        processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).filter(ours).collect()
    }

    /// Waits until the server sees the agent.
    #[track_caller]
    pub fn comes_online(&self, fleet: &Fleet, name: &str) {
        let log = || fs::read_to_string(self.prefix.join("state/agent.log")).unwrap_or_default();
        eventually(&format!("{name} is online"), SOON, || match fleet.connector(name) {
            view if view["link"] == "online" => Ok(()),
            view => Err(format!("{view}; its log:\n{}", log())),
        });
    }

    /// Nothing of an installation is there.
    #[track_caller]
    pub fn is_bare(&self) {
        let mut left = Vec::new();
        let mut folders = vec![self.prefix.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                } else {
                    left.push(entry.path());
                }
            }
        }
        assert!(left.is_empty(), "left behind: {left:?}");
        assert_eq!(self.pids(), [0; 0], "something runs");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.pids().into_iter().filter_map(Pid::from_raw) {
            // A component leads its group; what it started is in there too.
            if kill_process_group(pid, Signal::KILL).is_err() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if let Some(account) = &self.account {
            // Its home is in the fleet's folder, and goes with that.
            let gone = Command::new("/usr/sbin/userdel").args(["--force", account]).output();
            if !gone.is_ok_and(|output| output.status.success()) {
                eprintln!("the account {account} is still there: userdel --force {account}");
            }
        }
    }
}

/// A program on the PATH of the test.
pub fn find(program: &str) -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", "command -v \"$1\"", "sh", program]).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?.trim().to_owned();
    Path::new(&path).is_file().then(|| path.into())
}
