#![allow(clippy::unwrap_used)]

use super::*;

const SMALL: &str = "name = \"greeter\"\nversion = \"1.0.0\"\n[start]\ncommand = [\"bin/greeter\"]\n[health]\nhttp = \"/health\"\nport = 8080\n";

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    Recipe::parse(text).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_small_recipe_gets_the_defaults() {
    let recipe = Recipe::parse(SMALL).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.version.as_str(), recipe.soak_s), ("greeter", "1.0.0", 10));
    assert_eq!(recipe.stop, Stop { argv: None, timeout: Duration::from_secs(10) });
    assert_eq!(
        recipe.health,
        Health {
            probe: Probe::Http { path: "/health".into(), port: PortSource::Fixed(8080) },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            failures: 3,
            start_timeout: Duration::from_secs(30),
        }
    );
    assert_eq!((recipe.install, recipe.uninstall, recipe.log_files), (None, None, vec![]));
    assert_eq!(recipe.prechecks, Prechecks::default());
}

#[test]
fn the_example_of_the_documentation_is_usable() {
    let source = include_str!("../recipe.rs");
    let example =
        source.lines().skip_while(|line| *line != "//! ```toml").skip(1).take_while(|line| *line != "//! ```");
    let text: String = example.map(|line| line.trim_start_matches("//!").trim_start().to_owned() + "\n").collect();
    let recipe = Recipe::parse(&text).unwrap();
    assert_eq!(recipe.programs().collect::<Vec<_>>(), ["bin/greeter", "bin/prepare"]);
    assert_eq!(recipe.port(), Some(&PortSource::File("port".into())));
    assert_eq!(recipe.health.interval, Duration::from_millis(500));
    assert_eq!(recipe.prechecks.ports, [8080]);
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "name = \"a/b\"\nsupervision = \"systemd\"\nsoak_s = -1\ncolour = 3\n\
                [start]\ncommand = [\"../x\"]\nenv = { MUSTER_DATA = \"x\" }\n\
                [stop]\ntimeout_s = 0\n\
                [health]\nhttp = \"health\"\ntcp = true\nevery = 3\ndescription = \"x\"\n\
                [prechecks]\nos = [\"beos\"]\nports = [0]\n\
                [logs]\nfiles = [\"/var/log/x\"]\n";
    assert_eq!(
        problems(text),
        [
            "name: component name \"a/b\": character '/' is not allowed here; use A-Z a-z 0-9 _ - (the first a letter or digit)",
            "version: is missing",
            "soak_s: must be a whole number from 0 to 1800",
            "supervision: \"systemd\" is not offered yet; use \"process\": the agent starts and watches it",
            "start.command: path \"../x\" contains \"..\"; use one that stays inside the folder",
            "start.env: \"MUSTER_DATA\" cannot be set; use another name (MUSTER_… is the agent's)",
            "stop.timeout_s: must be a number of seconds above 0 and at most 1800",
            "health.http: must be a path such as \"/health\", of printable ASCII without spaces",
            "health: needs exactly one of http, tcp = true and command; found 2",
            "health: needs exactly one of port and port_file for this probe; found 0",
            "prechecks.os: \"beos\" is unknown; use \"linux\", \"macos\" or \"windows\"",
            "prechecks.ports: must be a list of ports from 1 to 65535, for example [80, 443]",
            "logs.files: path \"/var/log/x\" is absolute; use one relative to the folder, such as \"bin/tool\"",
            "colour: no key of a recipe has this name",
            "health.description: description belongs before the first [section]",
            "health.every: no key of a recipe has this name",
        ]
    );
}

#[test]
fn an_empty_recipe_says_what_it_needs() {
    assert_eq!(
        problems(""),
        [
            "name: is missing",
            "version: is missing",
            "start.command: is missing; give program and arguments, for example [\"bin/tool\", \"--flag\"]",
            "health: is missing; say how to tell that it works, for example http = \"/health\" and port = 8080",
        ]
    );
    assert_eq!(problems("a = 1\nb = = 2\n").len(), 1);
    assert!(problems("a = 1\nb = = 2\n")[0].starts_with("(syntax): not TOML, line 2"));
}

#[test]
fn parts_of_the_wrong_kind_are_problems_not_defaults() {
    for (line, key) in [
        ("start = 3", "start"),
        ("[health]\ntcp = false", "health.tcp"),
        ("[health]\ncommand = []", "health.command"),
        ("[install]\ntimeout_s = 3", "install.command"),
        ("[stop]\ncommand = \"kill\"", "stop.command"),
        ("[start]\ncommand = [\"/bin/sh\", \"a\\u0000b\"]", "start.command"),
    ] {
        assert!(
            problems(line).iter().any(|problem| problem.starts_with(&format!("{key}: "))),
            "{line}: {:?}",
            problems(line)
        );
    }
}

#[test]
fn placeholders_are_filled_once_and_other_braces_stay() {
    let places = Places { version: "{data}", dir: "/d", data: "/data" };
    assert_eq!(places.fill("{version}:{dir}/x:{data}"), "{data}:/d/x:/data");
    assert_eq!(places.fill("${HOME} {} { {dir}"), "${HOME} {} { /d");
}

#[test]
fn exit_codes_mean_what_the_documentation_says() {
    let meanings = [Some(0), Some(1), Some(2), Some(3), Some(77), None].map(ExitMeaning::of);
    use ExitMeaning::{Done, Failed, TryLater, Usage};
    assert_eq!(meanings, [Done, Usage, Failed, TryLater, Failed, Failed]);
}
