//! The crates of the workspace as cargo sees them, and what the lock file says about everybody else's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

/// One crate of the workspace.
#[derive(Debug)]
pub struct Crate {
    pub name: String,
    /// Its folder, from the root of the workspace.
    pub dir: String,
    pub dependencies: Vec<Dependency>,
    /// `lib.rs`, `main.rs` and other files that a target begins with, without those of tests.
    pub roots: Vec<String>,
}

#[derive(Debug)]
pub struct Dependency {
    pub name: String,
    pub for_tests: bool,
}

/// Asks cargo, without the network and without resolving anything.
pub fn crates(root: &Path) -> Vec<Crate> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Cargo's own spelling of the root, which the paths below begin with.
    let root = Path::new(text(&metadata["workspace_root"]));
    let packages = list(&metadata["packages"]);
    assert!(!packages.is_empty());
    packages.iter().map(|package| one(package, root)).collect()
}

fn one(package: &Value, root: &Path) -> Crate {
    let manifest = Path::new(text(&package["manifest_path"]));
    let targets = list(&package["targets"]).iter();
    let programs = targets.filter(|target| list(&target["kind"]).iter().any(|kind| kind == "lib" || kind == "bin"));
    Crate {
        name: text(&package["name"]).to_owned(),
        dir: relative(manifest.parent().unwrap(), root),
        dependencies: list(&package["dependencies"])
            .iter()
            .map(|used| Dependency { name: text(&used["name"]).to_owned(), for_tests: used["kind"] == "dev" })
            .collect(),
        roots: programs.map(|target| relative(Path::new(text(&target["src_path"])), root)).collect(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

/// A path from the root, with `/` on every system.
pub fn relative(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap();
    path.components().map(|part| part.as_os_str().to_str().unwrap()).collect::<Vec<_>>().join("/")
}

/// Who depends on whom, from `Cargo.lock`. Keys are `name`, and `name version` where a name alone is not enough.
pub struct Lock(BTreeMap<String, BTreeSet<String>>);

impl Lock {
    pub fn read(root: &Path) -> Self {
        let lock = Self::parse(&fs::read_to_string(root.join("Cargo.lock")).unwrap());
        assert!(lock.0.contains_key("serde"), "Cargo.lock has another form than this test knows");
        lock
    }

    /// The file is written by cargo in one form, one value to a line; that is all that is understood here.
    pub fn parse(lock: &str) -> Self {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in lock.split("[[package]]").skip(1) {
            let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)).map(unquoted);
            let (name, version) = (value("name = ").unwrap(), value("version = ").unwrap());
            let inside = package.split_once("dependencies = [").map_or("", |(_, rest)| rest);
            let used = inside.lines().take_while(|line| *line != "]").map(unquoted).filter(|used| !used.is_empty());
            let used: BTreeSet<String> = used.collect();
            uses.entry(name.clone()).or_default().extend(used.clone());
            uses.insert(format!("{name} {version}"), used);
        }
        Self(uses)
    }

    /// Every crate that `start` reaches through `direct` (some of its dependencies), with a shortest path to it.
    pub fn reach(&self, start: &str, direct: &[&str]) -> Vec<(String, Vec<String>)> {
        let first = self.0[start].iter().filter(|used| direct.contains(&name_of(used)));
        let begin = vec![start.to_owned()];
        let mut queue: VecDeque<(&String, Vec<String>)> = first.map(|used| (used, begin.clone())).collect();
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        while let Some((key, mut path)) = queue.pop_front() {
            if !seen.insert(key) {
                continue;
            }
            path.push(name_of(key).to_owned());
            queue.extend(self.0[key].iter().map(|used| (used, path.clone())));
            found.push((name_of(key).to_owned(), path));
        }
        found
    }
}

fn name_of(key: &str) -> &str {
    key.split(' ').next().unwrap_or(key)
}

fn unquoted(value: &str) -> String {
    value.trim().trim_end_matches(',').trim_matches('"').to_owned()
}
