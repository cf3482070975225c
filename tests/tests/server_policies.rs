//! Policies on the command line: stored, shown, attached, kept over a restart, refused with words that help.

use muster_tests::client::{Mqtt, Version};
use muster_tests::fleet::{Fleet, Output};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

const OTHER: &str = "$aws/things/behind-1/shadow/update";

fn file(fleet: &Fleet, name: &str, text: &str) -> PathBuf {
    let path = fleet.root().join(name);
    fs::write(&path, text).expect("a new file in the fleet's folder");
    path
}

fn add(fleet: &Fleet, path: &std::path::Path, options: &[&str]) -> Output {
    let mut words = vec!["policy", "add", path.to_str().expect("a path in UTF-8")];
    words.extend(options);
    fleet.muster(&words)
}

#[track_caller]
fn check_refused(output: &Output, words: &[&str]) {
    assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is missing in:\n{}", output.stderr);
    }
}

#[test]
fn a_policy_lives_from_its_file_to_its_end() {
    let mut fleet = Fleet::start();
    fleet.add_connector("line-1");
    let text = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;
    let path = file(&fleet, "line.json", text);
    let stored = add(&fleet, &path, &[]).succeeded();
    assert!(stored.stdout.contains("stored line version 1"), "{}", stored.stdout);
    let listed = fleet.muster_json(&["policy", "list"]);
    let names: Vec<_> = listed["policies"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(json!(names), json!(["dashboard", "default", "gateway", "line"]));

    let shown = fleet.muster_json(&["connector", "show", "line-1"]);
    assert_eq!(shown["policies"], json!(["default"]));
    let attached = fleet.muster_json(&["policy", "attach", "line", "line-1"]);
    assert_eq!(attached["changed"], json!(["line-1"]));
    let again = fleet.muster_json(&["policy", "attach", "line", "line-1"]);
    assert_eq!((again["changed"].clone(), again["unchanged"].clone()), (json!([]), json!(["line-1"])));
    let shown = fleet.muster_json(&["connector", "show", "line-1"]);
    assert_eq!(shown["policies"], json!(["default", "line"]));
    let shown = fleet.muster_json(&["policy", "show", "line"]);
    assert_eq!((shown["connectors"].clone(), shown["document"].clone()), (json!(["line-1"]), json!(text)));

    check_refused(&fleet.muster(&["policy", "delete", "line"]), &["is attached", "muster policy detach line line-1"]);
    fleet.restart();
    let credentials = fleet.issue_cert("line-1", "connector");
    let gateway = Mqtt::connect(fleet.address(), &credentials, "any-client", Version::V5);
    gateway.subscribe(&format!("{OTHER}/+")).expect("the policy allows it");
    let update = json!({ "state": { "reported": { "a": 1 } } });
    assert_eq!(gateway.ask_accepted(OTHER, update)["version"], 1, "the policy holds after a restart");

    fleet.muster(&["policy", "detach", "line", "line-1"]).succeeded();
    assert!(gateway.publish(OTHER, b"{}").is_err(), "it is gone before the command ends");
    fleet.muster(&["policy", "delete", "line"]).succeeded();
    check_refused(&fleet.muster(&["policy", "show", "line"]), &["no policy is called line", "muster policy list"]);
}

#[test]
fn what_is_wrong_with_a_policy_is_told_at_once() {
    let fleet = Fleet::start();
    let bad = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["iot:Publsh"],"Resource":["topci/a","topic/${iot:Client}"]}]}"#;
    check_refused(
        &add(&fleet, &file(&fleet, "bad.json", bad), &[]),
        &[
            "the policy is not usable (3 problems)",
            "Statement[0].Action[0]: no action is called \"iot:Publsh\"",
            "Statement[0].Resource[0]: \"topci/a\" is no resource",
            "Statement[0].Resource[1]: no variable is called \"iot:Client\"",
        ],
    );
    let long = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"topic/{}"}}}}"#,
        "x".repeat(2048)
    );
    check_refused(&add(&fleet, &file(&fleet, "long.json", &long), &[]), &["at most 2048 are allowed"]);

    let good = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
    let path = file(&fleet, "good.json", good);
    check_refused(&add(&fleet, &path, &["--name", "gateway"]), &["gateway is built in"]);
    check_refused(&fleet.muster(&["policy", "delete", "default"]), &["default is built in"]);
    add(&fleet, &path, &[]).succeeded();
    let other = file(&fleet, "other.json", &good.replace("\"*\"}", "\"topic/*\"}"));
    check_refused(&add(&fleet, &other, &["--name", "good"]), &["--replace"]);
    let replaced = add(&fleet, &other, &["--name", "good", "--replace"]).succeeded();
    assert!(replaced.stdout.contains("stored good version 2"), "{}", replaced.stdout);
    check_refused(&fleet.muster(&["policy", "attach", "good", "nobody"]), &["no connector is called nobody"]);
    check_refused(&fleet.muster(&["policy", "attach", "nix", "nobody"]), &["no policy is called nix"]);
}
