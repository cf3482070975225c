#![allow(clippy::unwrap_used)]

use super::*;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};

const RECIPE: &str = "name = \"greeter\"\nversion = \"1.0\"\n[start]\ncommand = [\"bin/greeter\", \"serve\"]\n\
                      [health]\nhttp = \"/health\"\nport = 8080\n";

fn component(order: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("bin")).unwrap();
    for name in order {
        fs::write(path(name), if *name == RECIPE_FILE { RECIPE } else { *name }).unwrap();
    }
    fs::set_permissions(path("bin/greeter"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("greeter", path("bin/hello")).unwrap();
    dir
}

fn bytes(package: &Package) -> Vec<u8> {
    fs::read(package.file.path()).unwrap()
}

#[test]
fn the_same_folder_gives_the_same_bytes_whenever_and_in_whatever_order_it_was_made() {
    let one = component(&["component.toml", "bin/greeter", "a.txt", "z.txt"]);
    let two = component(&["z.txt", "a.txt", "bin/greeter", "component.toml"]);
    let old = File::options().write(true).open(two.path().join("a.txt")).unwrap();
    old.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    let (one, two) = (Package::pack(one.path()).unwrap(), Package::pack(two.path()).unwrap());
    assert_eq!(bytes(&one), bytes(&two));
    assert_eq!((&one.sha256, one.size), (&two.sha256, bytes(&two).len() as u64));
    let digest = aws_lc_rs::digest::digest(&SHA256, &bytes(&one));
    assert_eq!(one.sha256, Sha256Hex::from_bytes(digest.as_ref().try_into().unwrap()));
}

#[test]
fn a_package_holds_the_recipe_first_and_only_modes_that_matter() {
    let dir = component(&["component.toml", "bin/greeter", "a.txt"]);
    let package = Package::pack(dir.path()).unwrap();
    let unpacked = zstd::decode_all(File::open(package.file.path()).unwrap()).unwrap();
    let mut archive = tar::Archive::new(&*unpacked);
    let mut names = Vec::new();
    let mut modes = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        modes.insert(name.clone(), header.mode().unwrap());
        names.push(name);
    }
    assert_eq!(names, ["component.toml", "a.txt", "bin/", "bin/greeter", "bin/hello"]);
    assert_eq!((modes["bin/greeter"], modes["a.txt"]), (0o755, 0o644));
}

#[track_caller]
fn check_refused(dir: &Path, words: &[&str]) {
    let error = Package::pack(dir).unwrap_err().chain();
    for word in words {
        assert!(error.contains(word), "{error:?} does not say {word:?}");
    }
}

#[test]
fn every_problem_of_the_recipe_is_named() {
    let dir = component(&["component.toml", "bin/greeter"]);
    fs::write(dir.path().join(RECIPE_FILE), "name = \"-\"\nversion = \"\"\n[start]\n").unwrap();
    check_refused(dir.path(), &["name: ", "version: ", "start.command: ", "health: "]);
    fs::remove_file(dir.path().join(RECIPE_FILE)).unwrap();
    check_refused(dir.path(), &["cannot read the recipe", "component.toml"]);
}

#[test]
fn programs_must_be_there_and_executable() {
    let dir = component(&["component.toml", "bin/greeter"]);
    fs::set_permissions(dir.path().join("bin/greeter"), fs::Permissions::from_mode(0o600)).unwrap();
    check_refused(dir.path(), &["bin/greeter is not executable; run `chmod +x "]);
    fs::remove_file(dir.path().join("bin/hello")).unwrap();
    fs::remove_file(dir.path().join("bin/greeter")).unwrap();
    check_refused(dir.path(), &["starts bin/greeter", "is not there"]);
}

#[test]
fn links_out_of_the_folder_and_sockets_are_refused() {
    let dir = component(&["component.toml", "bin/greeter"]);
    symlink("../../etc/passwd", dir.path().join("bin/out")).unwrap();
    check_refused(dir.path(), &["bin/out", "outside the package"]);
    fs::remove_file(dir.path().join("bin/out")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    check_refused(dir.path(), &["socket cannot be packed: it is no file, folder or link"]);
}
