//! Rules about the tree itself, read from its manifests and sources: which crate may know which, where topics are
//! spelled, what may not stay in a source file, which rows of the conformance checklist and of docs/compatibility.md have
//! tests. Each rule is a function from what was read to a list of complaints.
#![allow(clippy::unwrap_used, reason = "a test that cannot read the tree should stop")]

#[path = "tidy/checklist.rs"]
mod checklist;
#[path = "tidy/compatibility.rs"]
mod compatibility;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/workspace.rs"]
mod workspace;

use std::path::Path;
use std::sync::LazyLock;

use source::Source;
use workspace::{Crate, Lock};

/// Every crate, and the crates of this workspace that it may depend on (for its tests, too). ARCHITECTURE.md draws it.
const MAY_USE: &[(&str, &[&str])] = &[
    ("muster-wire", &[]),
    ("muster-model", &[WIRE]),
    ("muster-runtime", &[WIRE]),
    ("muster-certs", &[WIRE]),
    ("muster-bus", &[WIRE, MODEL, RUNTIME, CERTS]),
    ("muster-broker-bridge", &[WIRE, MODEL, RUNTIME, CERTS, BUS]),
    ("muster-shadow", &[WIRE, MODEL, RUNTIME, CERTS, BUS]),
    ("muster-agent", &[WIRE, MODEL, RUNTIME, CERTS]),
    ("muster-cli", &[WIRE, MODEL, RUNTIME, CERTS, BUS, BRIDGE, SHADOW]),
    ("muster-tests", &[WIRE, MODEL, RUNTIME, CERTS, BUS, BRIDGE, SHADOW]),
    ("muster-greeter", &[]),
    ("muster-task", &[]),
];

const WIRE: &str = "muster-wire";
const MODEL: &str = "muster-model";
const RUNTIME: &str = "muster-runtime";
const CERTS: &str = "muster-certs";
const BUS: &str = "muster-bus";
const BRIDGE: &str = "muster-broker-bridge";
const SHADOW: &str = "muster-shadow";

/// The crates of rules and values: whatever waits, reads, draws or asks the time stays out of them.
const PURE: &[&str] = &[WIRE, MODEL];

/// Crates that wait, do I/O, read a clock or draw random numbers; a pure crate may not reach one by any path.
#[rustfmt::skip]
const IMPURE: &[&str] = &[
    "async-std", "futures", "futures-util", "mio", "smol", "tokio", "tokio-rustls", "tokio-util",
    "h2", "http-body-util", "hyper", "hyper-util", "mqtt-protocol-core", "reqwest", "rumqttc", "rumqttd", "socket2", "ureq",
    "aws-lc-rs", "openssl", "rcgen", "ring", "rustls",
    "fjall", "redb", "rocksdb", "rusqlite", "sled", "tempfile",
    "libc", "nix", "rustix", "sysinfo", "windows-sys",
    "chrono", "jiff", "time",
    "fastrand", "getrandom", "rand", "rand_core", "uuid",
    "tracing", "tracing-subscriber",
];

/// The same for what the standard library and the language offer.
#[rustfmt::skip]
const IMPURE_WORDS: &[&str] = &[
    "std::fs", "std::process", "std::thread", "std::env", "TcpStream", "TcpListener", "UdpSocket", "SystemTime", "Instant",
    "async", "await",
];

/// Files that may spell topics, and why.
const TOPIC_FILES: &[(&str, &str)] = &[
    ("wire/src/topic", "the grammar of topics"),
    ("wire/src/filter.rs", "filters are topics with wildcards; the grammar has to know its own root"),
    (
        "broker-bridge/src/policy.rs",
        "its table of who may subscribe: the literal begins of filters with wildcards, which no Topic can spell",
    ),
];

/// Longest source file that needs no excuse.
const LINES_MAX: usize = 700;

/// Files that may be longer, and why one reader is better off with one long file.
const LONG_FILES: &[(&str, &str)] = &[];

static ROOT: LazyLock<&Path> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the workspace"));
static CRATES: LazyLock<Vec<Crate>> = LazyLock::new(|| workspace::crates(&ROOT));
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| source::read_all(&ROOT));

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaint(s):\n  {}", complaints.len(), complaints.join("\n  "));
}

#[test]
fn dependencies_between_crates_point_one_way() {
    none(wrong_arrows(&CRATES));
}

#[test]
fn wire_and_model_depend_on_nothing_that_waits_reads_or_draws() {
    let lock = Lock::read(&ROOT);
    none(impure_dependencies(&CRATES, &lock));
    none(SOURCES.iter().filter(|source| in_pure_crate(source)).flat_map(impure_words).collect());
}

#[test]
fn topics_are_spelled_in_wire_only() {
    none(SOURCES.iter().flat_map(spelled_topics).collect());
}

#[test]
fn nothing_is_left_for_later() {
    none(SOURCES.iter().flat_map(leftovers).collect());
}

#[test]
fn every_crate_begins_with_its_purpose() {
    let roots = CRATES.iter().flat_map(|one| &one.roots);
    let mut complaints = Vec::new();
    for root in roots {
        match SOURCES.iter().find(|source| source.path == *root) {
            Some(source) => complaints.extend(missing_purpose(source)),
            None => complaints.push(format!("{root}: cargo knows this file, the walk over the tree did not find it")),
        }
    }
    none(complaints);
}

#[test]
fn long_files_have_a_reason() {
    let mut complaints: Vec<String> = SOURCES.iter().filter_map(|source| too_long(source, LONG_FILES)).collect();
    for (path, _) in LONG_FILES {
        let short = SOURCES.iter().all(|source| source.path != *path || source.lines() <= LINES_MAX);
        if short {
            complaints.push(format!("LONG_FILES lists {path}, which is gone or short enough: take it off the list"));
        }
    }
    none(complaints);
}

#[test]
fn every_row_of_the_checklist_is_the_name_of_a_test() {
    let mut named = checklist::in_python(&ROOT.join("tests/aws"));
    named.extend(SOURCES.iter().flat_map(checklist::in_rust));
    none(checklist::missing(&named));
}

#[test]
fn every_row_beside_aws_names_what_shows_it() {
    let suites = SOURCES.iter().filter_map(|source| source.path.strip_prefix("tests/tests/")?.strip_suffix(".rs"));
    let known = compatibility::Known {
        tests: SOURCES.iter().flat_map(compatibility::tests_of).collect(),
        suites: suites.map(str::to_owned).chain(CRATES.iter().map(|one| one.dir.clone())).collect(),
    };
    let text = std::fs::read_to_string(ROOT.join("docs/compatibility.md")).unwrap();
    none(compatibility::complaints(&text, &known, &ROOT));
}

fn wrong_arrows(crates: &[Crate]) -> Vec<String> {
    let mut complaints = Vec::new();
    let inside = |name: &str| crates.iter().any(|one| one.name == name);
    for one in crates {
        let Some((_, may_use)) = MAY_USE.iter().find(|(name, _)| *name == one.name) else {
            complaints
                .push(format!("{}: a new crate; give it a row in MAY_USE and a place in ARCHITECTURE.md", one.name));
            continue;
        };
        for used in one.dependencies.iter().map(|dependency| &dependency.name) {
            if inside(used) && !may_use.contains(&used.as_str()) {
                complaints.push(format!("{} depends on {used}: that arrow is not in the drawing", one.name));
            }
        }
    }
    complaints
}

fn impure_dependencies(crates: &[Crate], lock: &Lock) -> Vec<String> {
    let mut complaints = Vec::new();
    for one in crates.iter().filter(|one| is_pure(&one.name)) {
        let used = one.dependencies.iter().filter(|used| !used.for_tests).map(|used| used.name.as_str());
        // A crate of the workspace is either pure, and then has its own turn here, or a mistake by itself.
        let (inside, outside): (Vec<&str>, Vec<&str>) =
            used.partition(|name| crates.iter().any(|one| one.name == *name));
        let impure = inside.into_iter().filter(|name| !is_pure(name));
        complaints.extend(impure.map(|name| format!("{} is pure, but depends on {name}", one.name)));
        for (reached, path) in lock.reach(&one.name, &outside) {
            if IMPURE.contains(&reached.as_str()) {
                complaints.push(format!("{} is pure, but depends on {reached}: {}", one.name, path.join(" -> ")));
            }
        }
    }
    complaints
}

fn is_pure(name: &str) -> bool {
    PURE.contains(&name)
}

fn in_pure_crate(source: &Source) -> bool {
    let mut pure = CRATES.iter().filter(|one| is_pure(&one.name));
    pure.any(|one| source.path.starts_with(&format!("{}/src/", one.dir)))
}

fn impure_words(source: &Source) -> Vec<String> {
    let found = IMPURE_WORDS.iter().flat_map(|word| source.code_words(word).into_iter().map(move |line| (word, line)));
    found.map(|(word, line)| format!("{}:{line}: `{word}` in a pure crate; pass the value in", source.path)).collect()
}

fn spelled_topics(source: &Source) -> Vec<String> {
    let may = source.path.starts_with("tests/") || TOPIC_FILES.iter().any(|(home, _)| source.path.starts_with(home));
    let spelled = source.literals().filter(|(_, text)| text.starts_with("$aws/") || text.starts_with("muster/"));
    let complain =
        |(line, text)| format!("{}:{line}: the topic {text:?} is spelled here; use wire's Topic", source.path);
    if may { Vec::new() } else { spelled.map(complain).collect() }
}

fn leftovers(source: &Source) -> Vec<String> {
    // Spelled in two halves, so that this file does not complain about itself.
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let macros = [concat!("to", "do!"), concat!("unimple", "mented!"), concat!("db", "g!")];
    let mut complaints = Vec::new();
    for note in notes {
        let lines = source.words(note);
        complaints
            .extend(lines.into_iter().map(|line| format!("{}:{line}: {note}; do it, or say why not", source.path)));
    }
    for name in macros {
        let lines = source.code_words(name);
        complaints.extend(lines.into_iter().map(|line| format!("{}:{line}: {name} is not finished code", source.path)));
    }
    complaints
}

fn missing_purpose(source: &Source) -> Option<String> {
    let docs = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<&str> = docs.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    let words = paragraph.split_whitespace().count();
    (words < 4 || !paragraph.contains(['.', ':'])).then(|| {
        format!(
            "{}: begin with `//!` and a sentence that says what this crate is for; found {paragraph:?}",
            source.path
        )
    })
}

fn too_long(source: &Source, excused: &[(&str, &str)]) -> Option<String> {
    let lines = source.lines();
    let long = lines > LINES_MAX && !excused.iter().any(|(path, _)| source.path == *path);
    long.then(|| format!("{}: {lines} lines; split it by subject, or say in LONG_FILES why not", source.path))
}

/// Each rule finds a deliberate mistake.
mod rules {
    use super::*;
    use crate::workspace::Dependency;

    fn at(path: &str, text: &str) -> Source {
        Source::new(path.to_owned(), text.to_owned())
    }

    fn one(name: &str, uses: &[(&str, bool)]) -> Crate {
        let dependency = |(name, for_tests): &(&str, bool)| Dependency { name: (*name).into(), for_tests: *for_tests };
        let dependencies = uses.iter().map(dependency).collect();
        Crate { name: name.into(), dir: String::new(), dependencies, roots: Vec::new() }
    }

    #[test]
    fn bridge_and_shadow_may_not_know_each_other_nor_anyone_the_tests() {
        let crates = [
            one(SHADOW, &[(BRIDGE, false), (WIRE, false)]),
            one(BRIDGE, &[(SHADOW, true), ("tokio", false)]),
            one(WIRE, &[("muster-tests", true)]),
            one("muster-agent", &[(BUS, false)]),
            one("muster-tests", &[]),
            one("muster-new", &[]),
            one(BUS, &[]),
        ];
        assert_eq!(
            wrong_arrows(&crates),
            [
                "muster-shadow depends on muster-broker-bridge: that arrow is not in the drawing",
                "muster-broker-bridge depends on muster-shadow: that arrow is not in the drawing",
                "muster-wire depends on muster-tests: that arrow is not in the drawing",
                "muster-agent depends on muster-bus: that arrow is not in the drawing",
                "muster-new: a new crate; give it a row in MAY_USE and a place in ARCHITECTURE.md",
            ]
        );
    }

    #[test]
    fn an_impure_crate_is_found_behind_another_one_but_not_behind_a_test_dependency() {
        let lock = Lock::parse(
            "[[package]]\nname = \"muster-wire\"\nversion = \"0.1.0\"\ndependencies = [\n \"codec\",\n \"proptest\",\n]\n\n\
             [[package]]\nname = \"codec\"\nversion = \"1.0.0\"\ndependencies = [\n \"rand 0.9.0\",\n]\n\n\
             [[package]]\nname = \"proptest\"\nversion = \"1.0.0\"\ndependencies = [\n \"getrandom\",\n]\n\n\
             [[package]]\nname = \"getrandom\"\nversion = \"1.0.0\"\n\n\
             [[package]]\nname = \"rand\"\nversion = \"0.8.0\"\ndependencies = [\n \"libc\",\n]\n\n\
             [[package]]\nname = \"rand\"\nversion = \"0.9.0\"\n\n\
             [[package]]\nname = \"muster-model\"\nversion = \"0.1.0\"\ndependencies = [\n \"muster-wire\",\n]\n",
        );
        let crates = [
            one(WIRE, &[("codec", false), ("proptest", true)]),
            one(MODEL, &[(WIRE, false), (RUNTIME, false)]),
            one(RUNTIME, &[]),
        ];
        assert_eq!(
            impure_dependencies(&crates, &lock),
            [
                "muster-wire is pure, but depends on rand: muster-wire -> codec -> rand",
                "muster-model is pure, but depends on muster-runtime",
            ]
        );
    }

    #[test]
    fn a_clock_in_a_pure_crate_is_found_unless_only_its_tests_read_it() {
        let text =
            "// Instant\nfn f() { Instant::now(); }\n#[cfg(test)]\nmod tests { use std::fs; }\nasync fn g() {}\n";
        let found = impure_words(&at("model/src/x.rs", text));
        assert_eq!(
            found,
            [
                "model/src/x.rs:2: `Instant` in a pure crate; pass the value in",
                "model/src/x.rs:5: `async` in a pure crate; pass the value in",
            ]
        );
    }

    #[test]
    fn a_topic_outside_wire_is_found_and_one_in_a_comment_or_a_test_is_not() {
        let text = "/// `\"$aws/things/x\"`\nfn f() { g(\"$aws/things/x\", r\"muster/view\", \"at muster/view\"); }\n\
                    #[cfg(test)]\nmod tests {\n    const T: &str = \"muster/op\";\n}\n";
        assert_eq!(spelled_topics(&at("shadow/src/x.rs", text)).len(), 2);
        assert!(spelled_topics(&at("wire/src/topic/view.rs", text)).is_empty());
        assert!(spelled_topics(&at("tests/src/x.rs", text)).is_empty());
    }

    #[test]
    fn what_was_left_for_later_is_found() {
        let text = concat!("// TO", "DO: more\nfn f() { to", "do!(); db", "g!(1); }\nconst X: &str = \"db", "g!\";\n");
        let lines: Vec<String> = leftovers(&at("x.rs", text));
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(leftovers(&at("x.rs", concat!("fn TO", "DOS() {}"))).is_empty());
    }

    #[test]
    fn a_crate_without_a_sentence_is_found() {
        for bad in ["", "//! placeholder\n", "mod a;\n//! Says what it is for.\n", "//!\n//! Says what it is for.\n"] {
            assert!(missing_purpose(&at("lib.rs", bad)).is_some(), "{bad:?}");
        }
        assert_eq!(missing_purpose(&at("lib.rs", "//! Says what\n//! it is for.\n\nmod a;\n")), None);
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_excused() {
        let text = "\n".repeat(LINES_MAX);
        assert_eq!(too_long(&at("x.rs", &text), &[]), None);
        let longer = at("x.rs", &(text + "\n"));
        assert!(too_long(&longer, &[]).is_some());
        assert_eq!(too_long(&longer, &[("x.rs", "one table")]), None);
    }
}
