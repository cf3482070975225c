#![allow(clippy::unwrap_used)]

use super::*;
use crate::places::Prefix;
use muster_certs::PublisherKey;
use muster_wire::component::Operation;
use muster_wire::enrol::artifact_path;
use muster_wire::id::{ComponentName, Sha256Hex, Version};
use std::path::PathBuf;
use tar::{Builder, Header};

const RECIPE: &str =
    "name = \"greeter\"\nversion = \"2\"\n[start]\ncommand = [\"bin/run\"]\n[health]\ncommand = [\"/bin/true\"]\n";

/// One entry of a package: kind, path as it stands in the archive, content or link target.
type Item<'a> = (EntryType, &'a str, &'a str);

const GOOD: [Item<'_>; 3] = [
    (EntryType::Regular, "component.toml", RECIPE),
    (EntryType::Regular, "bin/run", "#!/bin/sh\n"),
    (EntryType::Symlink, "bin/alias", "run"),
];

struct Bench {
    folder: tempfile::TempDir,
    home: Home,
    document: UpgradeDocument,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let component = ComponentName::new("greeter").unwrap();
        let home = Prefix::new(folder.path()).unwrap().home(&component);
        let sha256 = Sha256Hex::from_bytes(&[7; 32]);
        let document = UpgradeDocument {
            operation: Operation::Upgrade,
            component,
            version: Version::new("2").unwrap(),
            path: artifact_path(&sha256),
            sha256,
            size: 1,
            signature: String::new(),
            soak_s: 3,
        };
        fs::create_dir_all(home.root()).unwrap();
        Self { folder, home, document }
    }

    fn package(&self, items: &[Item<'_>]) -> PathBuf {
        let mut archive = Builder::new(Vec::new());
        for (kind, path, content) in items {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            // Written past the checks of the library: they are what an attacker leaves out.
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            let mut body: &[u8] = content.as_bytes();
            if *kind != EntryType::Regular {
                header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
                body = &[];
            }
            header.set_size(body.len() as u64);
            header.set_cksum();
            archive.append(&header, body).unwrap();
        }
        let part = self.folder.path().join("x.part");
        fs::write(&part, zstd::encode_all(&*archive.into_inner().unwrap(), 3).unwrap()).unwrap();
        part
    }

    fn unpack(&self, items: &[Item<'_>]) -> Result<(), PackageError> {
        unpack(&self.package(items), &self.home, &self.document, Bounds::default())
    }

    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.home.root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.collect()
    }
}

#[test]
fn a_good_package_is_unpacked_with_its_origin() {
    let bench = Bench::new();
    bench.unpack(&GOOD).unwrap();
    assert_eq!(bench.left(), ["2"]);
    let installed = installed::facts(&bench.home, &bench.document.version).unwrap();
    assert_eq!((installed.package_sha256, installed.soak_s), (bench.document.sha256.clone(), 3));
    assert!(platform::is_executable(&bench.home.version(&bench.document.version).join("bin/alias")));
    // Once more, as after a crash; and again while it is the current version.
    bench.unpack(&GOOD).unwrap();
    installed::point(&bench.home, Some(&bench.document.version)).unwrap();
    assert!(matches!(bench.unpack(&GOOD), Err(PackageError::Recipe(_))));
    assert!(installed::facts(&bench.home, &bench.document.version).is_some());
}

#[test]
fn what_leads_out_of_a_package_is_refused_and_leaves_nothing() {
    use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let bad: &[&[Item<'_>]] = &[
        &[(Regular, "../evil", "x")],
        &[(Regular, "a/../../evil", "x")],
        &[(Regular, "/tmp/evil", "x")],
        &[(Directory, "..", "")],
        &[(Symlink, "a", "/etc")],
        &[(Symlink, "a", "../x")],
        &[(Symlink, "a", "b/../../x")],
        &[(Directory, "d", ""), (Symlink, "l", "d"), (Regular, "l/file", "x")],
        &[(Symlink, "l", "d"), (Regular, "l", "x")],
        &[(Regular, "a", "x"), (Regular, "a/b", "x")],
        &[(Regular, "a", "x"), (Regular, "a", "y")],
        &[(Regular, ".muster.json", "{}")],
        &[(Regular, "./.muster.json", "{}")],
        &[(Regular, "a", "x"), (Link, "b", "a")],
        &[(Char, "a", "")],
        &[(Block, "a", "")],
        &[(Fifo, "a", "")],
    ];
    let bench = Bench::new();
    for items in bad {
        let all: Vec<Item<'_>> = items.iter().chain(&GOOD).copied().collect();
        let refused = bench.unpack(&all);
        assert!(refused.as_ref().is_err_and(|error| error.to_string().contains("refused")), "{items:?}: {refused:?}");
        assert_eq!(bench.left(), Vec::<String>::new(), "{items:?}");
        assert!(!bench.folder.path().join("components/evil").exists() && !Path::new("/tmp/evil").exists());
    }
}

#[test]
fn a_recipe_must_be_that_of_the_order_and_find_its_programs() {
    let bench = Bench::new();
    let other = RECIPE.replace("\"2\"", "\"3\"");
    let cases: [(&[Item<'_>], &str); 4] = [
        (&GOOD[1..], "cannot read component.toml"),
        (&[(EntryType::Regular, "component.toml", "name = 3")], "component.toml is not usable"),
        (&[(EntryType::Regular, "component.toml", &other), GOOD[1]], "says greeter 3, the order says greeter 2"),
        (&GOOD[..1], "no executable file bin/run"),
    ];
    for (items, expected) in cases {
        let error = bench.unpack(items).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(bench.left(), Vec::<String>::new());
    }
}

#[test]
fn a_package_that_grows_too_large_is_refused() {
    let bench = Bench::new();
    let zeros = "\0".repeat(4 * 1024 * 1024);
    let items = [GOOD[0], GOOD[1], (EntryType::Regular, "bomb", zeros.as_str())];
    let part = bench.package(&items);
    assert!(fs::metadata(&part).unwrap().len() < 4096, "it is small until it is unpacked");
    for bounds in [Bounds { bytes: 1024 * 1024, entries: 10 }, Bounds { bytes: u64::MAX, entries: 2 }] {
        let refused = unpack(&part, &bench.home, &bench.document, bounds);
        assert!(matches!(refused, Err(PackageError::TooMuch(_))), "{refused:?}");
        assert_eq!(bench.left(), Vec::<String>::new());
    }
    fs::write(&part, "no package").unwrap();
    let refused = unpack(&part, &bench.home, &bench.document, Bounds::default());
    assert!(matches!(refused, Err(PackageError::Read(_))), "{refused:?}");
}

#[test]
fn an_order_must_be_signed_by_the_publisher_and_name_its_own_package() {
    let bench = Bench::new();
    let publisher = PublisherKey::generate().unwrap();
    let mut good = bench.document.clone();
    let signed = signed_text(&good.component, &good.version, &good.sha256, good.size);
    good.signature = publisher.sign(signed.as_bytes()).unwrap();
    let check = |document: &UpgradeDocument| check_document(document, &publisher.public_key());
    assert_eq!(check(&good), Ok(()));
    let change = |change: fn(&mut UpgradeDocument)| {
        let mut document = good.clone();
        change(&mut document);
        document
    };
    for bad in [
        change(|document| document.size = 2),
        change(|document| document.size = 0),
        change(|document| document.version = Version::new("3").unwrap()),
        change(|document| document.version = Version::new("current").unwrap()),
        change(|document| document.path = "/v1/enrol".into()),
        change(|document| document.path = artifact_path(&Sha256Hex::from_bytes(&[8; 32]))),
        change(|document| document.signature = String::new()),
    ] {
        assert!(check(&bad).is_err(), "{bad:?}");
    }
    let stranger = PublisherKey::generate().unwrap().public_key();
    assert!(check_document(&good, &stranger).unwrap_err().contains("another publisher signed it"));
}
