//! How this program is called where somebody shall type it: it lies in a prefix, which no PATH names.

use crate::places::Prefix;
use crate::service::NAME;
use std::path::{Path, PathBuf};

/// `words` as a command for the agent of this prefix, good in any folder: `/opt/muster/agent/current/muster-agent start`.
pub fn command(prefix: &Prefix, words: &str) -> String {
    of(own().as_deref(), prefix, words)
}

/// Where this program is, without links; `None` when that cannot be told, as when it was replaced meanwhile.
pub fn own() -> Option<PathBuf> {
    std::env::current_exe().and_then(|path| path.canonicalize()).ok()
}

fn of(own: Option<&Path>, prefix: &Prefix, words: &str) -> String {
    let linked = prefix.agent_current().join(NAME);
    let root = || prefix.root().canonicalize().unwrap_or_else(|_| prefix.root().to_owned());
    let lies_there = own.and_then(Prefix::of_program).is_some_and(|found| found.root() == root());
    let program = match own {
        // The link goes on to be right when the agent is upgraded.
        _ if linked.is_file() => linked,
        Some(own) => own.to_owned(),
        None => PathBuf::from(NAME),
    };
    // A program in a prefix finds it by itself; any other needs to be told.
    let finds_it = lies_there || program.starts_with(prefix.root());
    let place = if finds_it { String::new() } else { format!(" --prefix {}", quoted(prefix.root())) };
    format!("{} {words}{place}", quoted(&program))
}

/// As one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,\\~".contains(c);
    match text.chars().all(plain) {
        true => text,
        false if cfg!(windows) => format!("\"{text}\""),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn a_program_is_called_by_its_path_and_told_its_prefix_unless_it_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let prefix = Prefix::new(&root.join("it's")).unwrap();
        let elsewhere = Path::new("/tmp/download/muster-agent");
        let place = format!("'{}/it'\\''s'", root.display());
        assert_eq!(of(Some(elsewhere), &prefix, "start"), format!("/tmp/download/muster-agent start --prefix {place}"));
        assert_eq!(of(None, &prefix, "start"), format!("{NAME} start --prefix {place}"));

        let prefix = Prefix::new(&root.join("muster")).unwrap();
        let version = prefix.agent_version("1");
        fs::create_dir_all(&version).unwrap();
        let program = version.join(NAME);
        fs::write(&program, "").unwrap();
        // It lies there, but nothing links to it yet.
        assert_eq!(of(Some(&program), &prefix, "run"), format!("{} run", program.display()));
        crate::platform::switch_link(&prefix.agent_current(), Path::new("versions/1")).unwrap();
        let linked = format!("{} run", prefix.agent_current().join(NAME).display());
        assert_eq!(of(Some(&program), &prefix, "run"), linked);
        assert_eq!(of(Some(elsewhere), &prefix, "run"), linked);
    }
}
