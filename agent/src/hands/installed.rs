//! The versions of a component on the disk: which is current, and from which package each came.

use super::files;
use crate::places::Home;
use crate::platform;
use muster_model::component::{INSTALLED_FILE, RECIPE_BYTES_MAX, RECIPE_FILE, Recipe};
use muster_wire::id::{ComponentName, Sha256Hex, Version};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What the agent notes in the folder of a version before that folder gets its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Digest of the package.
    pub package_sha256: Sha256Hex,
    /// How long the probe must pass before an upgrade counts, in seconds.
    pub soak_s: u32,
}

/// One version on the disk, with all that is needed to run it.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Component.
    pub component: ComponentName,
    /// Version.
    pub version: Version,
    /// The component's folder.
    pub home: Home,
    /// Its recipe.
    pub recipe: Recipe,
    /// Where it came from.
    pub installed: Installed,
}

impl Unit {
    /// Reads a version from the disk.
    pub fn load(home: &Home, component: &ComponentName, version: &Version) -> Result<Self, String> {
        let installed = facts(home, version).ok_or_else(|| format!("version {version} is not installed completely"))?;
        let recipe = recipe(&home.version(version))?;
        Ok(Self { component: component.clone(), version: version.clone(), home: home.clone(), recipe, installed })
    }

    /// The folder of the version's files.
    pub fn dir(&self) -> PathBuf {
        self.home.version(&self.version)
    }
}

/// The version that `current` points to.
pub fn current(home: &Home) -> Option<Version> {
    Version::new(platform::link_target(&home.current()).ok()?.to_str()?).ok()
}

/// Points `current` at a version, or removes it.
pub fn point(home: &Home, version: Option<&Version>) -> io::Result<()> {
    match version {
        Some(version) => platform::switch_link(&home.current(), Path::new(version.as_str())),
        None => {
            platform::remove_link(&home.current())?;
            platform::sync_parent(&home.current())
        }
    }
}

/// Removes `current` for good; a component whose folder is gone already is fine.
pub fn forget(home: &Home) -> io::Result<()> {
    if home.root().exists() { point(home, None) } else { Ok(()) }
}

/// What is known of a version; `None` when its files are not complete.
pub fn facts(home: &Home, version: &Version) -> Option<Installed> {
    files::read_json(&home.version(version).join(INSTALLED_FILE)).ok().flatten()
}

/// The recipe of a version on the disk.
pub fn recipe(folder: &Path) -> Result<Recipe, String> {
    let path = folder.join(RECIPE_FILE);
    let unreadable = |error: io::Error| format!("cannot read {RECIPE_FILE} of the package: {error}");
    let mut text = String::new();
    let most = RECIPE_BYTES_MAX as u64 + 1;
    File::open(path).map_err(unreadable)?.take(most).read_to_string(&mut text).map_err(unreadable)?;
    Recipe::parse(&text).map_err(|error| error.to_string())
}

/// Removes every version but those in `keep`, and what a crash left of unpacking.
pub fn prune(home: &Home, keep: &[&Version]) -> io::Result<()> {
    for entry in fs::read_dir(home.root())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let is_version = entry.path().join(INSTALLED_FILE).exists() && entry.file_type()?.is_dir();
        let is_kept = keep.iter().any(|version| version.as_str() == name);
        if (is_version && !is_kept) || name.starts_with(".new-") {
            files::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::places::Prefix;
    use muster_wire::id::ComponentName;

    #[test]
    fn pruning_keeps_data_current_and_the_way_back() {
        let folder = tempfile::tempdir().unwrap();
        let home = Prefix::new(folder.path()).unwrap().home(&ComponentName::new("greeter").unwrap());
        let versions: Vec<Version> = ["1", "2", "3"].map(|text| Version::new(text).unwrap()).into();
        let installed = Installed { package_sha256: Sha256Hex::from_bytes(&[1; 32]), soak_s: 1 };
        for version in &versions {
            fs::create_dir_all(home.version(version)).unwrap();
            files::replace_json(&home.version(version).join(INSTALLED_FILE), &installed).unwrap();
        }
        fs::create_dir_all(home.data()).unwrap();
        fs::create_dir_all(home.unpacking(&versions[0])).unwrap();
        point(&home, Some(&versions[2])).unwrap();
        prune(&home, &[&versions[2], &versions[1]]).unwrap();
        let mut left: Vec<String> =
            fs::read_dir(home.root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["2", "3", "current", "data"]);
        assert_eq!((current(&home), facts(&home, &versions[0])), (Some(versions[2].clone()), None));
        point(&home, None).unwrap();
        assert_eq!(current(&home), None);
    }
}
