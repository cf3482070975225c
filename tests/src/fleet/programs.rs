//! The built programs, found beside the test.

use std::env;
use std::path::{Path, PathBuf};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Server and command line.
    pub muster: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// The agent with fault points; it need not be there.
    pub agent_with_faults: PathBuf,
    /// The server with fault points; it need not be there.
    pub muster_with_faults: PathBuf,
    /// The component.
    pub greeter: PathBuf,
}

impl Programs {
    /// Finds them in the folder of this build.
    #[track_caller]
    pub fn find() -> Self {
        // A test lies in `release/deps`, a program in `release`.
        let own = env::current_exe().expect("the system names this program");
        let folder = own.parent().map(|dir| if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir });
        let folder = folder.expect("a program lies in a folder");
        Self {
            muster: present(folder.join("muster")),
            agent: present(folder.join("muster-agent")),
            agent_with_faults: folder.join("muster-agent-faults"),
            muster_with_faults: folder.join("muster-faults"),
            greeter: present(folder.join("greeter")),
        }
    }

    /// The agent with fault points.
    #[track_caller]
    pub fn with_faults(&self) -> &Path {
        built_with_faults(&self.agent_with_faults)
    }

    /// The server with fault points.
    #[track_caller]
    pub fn server_with_faults(&self) -> &Path {
        built_with_faults(&self.muster_with_faults)
    }
}

#[track_caller]
fn built_with_faults(path: &Path) -> &Path {
    assert!(path.is_file(), "{} is missing; `cargo verify --only faults` builds it", path.display());
    path
}

#[track_caller]
fn present(path: PathBuf) -> PathBuf {
    assert!(
        path.is_file(),
        "{} is missing; build it with `cargo build --release -p muster-cli -p muster-agent -p muster-greeter`",
        path.display()
    );
    path
}
