//! What operators are told when they are refused.

use super::*;

#[test]
fn operators_learn_why_they_are_refused() {
    let mut rig = Rig::new();
    rig.add("a");
    rig.publish_version("1");
    let mut other = rig.package("1");
    other["sha256"] = Sha256Hex::from_bytes(&[9; 32]).to_string().into();
    let mut forged = rig.package("2");
    forged["version"] = "3".into();
    let mut missing = rig.package("4");
    std::fs::remove_dir_all(rig.artifacts.path()).unwrap();
    missing["description"] = "gone".into();
    let cases = [
        ("connector-add", json!({ "name": "a" }), "conflict", "a connector is called a already"),
        ("connector-show", json!({ "name": "z" }), "not-found", "no connector is called z"),
        (
            "connector-add",
            json!({ "name": "c", "description": "red\u{1b}[31m\nlife  forged" }),
            "invalid",
            "the description has control characters",
        ),
        (
            "connector-edit",
            json!({ "name": "a", "description": "a\u{9b}b" }),
            "invalid",
            "the description has control characters",
        ),
        ("connector-disable", json!({ "name": "a", "reason": "a\rb" }), "invalid", "the reason has control characters"),
        ("connector-add", json!({ "name": "a/b" }), "invalid", "character '/' is not allowed"),
        (
            "job-create",
            json!({ "job_id": "upgrade-1", "targets": ["a"], "document": {} }),
            "invalid",
            "kept for the server",
        ),
        ("component-publish", other, "conflict", "web 1 is published already with other content"),
        ("component-publish", forged, "forbidden", "the signature is not the publisher's"),
        ("component-publish", missing, "not-found", "the package was not uploaded"),
        (
            "upgrade",
            json!({ "component": "db", "version": "1", "to": "all" }),
            "not-found",
            "no component is called db",
        ),
        ("upgrade", json!({ "component": "web", "version": "9", "to": "all" }), "not-found", "published are 1"),
        (
            "upgrade",
            json!({ "component": "web", "version": "1", "to": "pool=x" }),
            "not-found",
            "no connector matches pool=x",
        ),
        ("upgrade", json!({ "component": "web", "version": "1", "to": "poool" }), "invalid", "\"poool\" has no ="),
    ];
    for (verb, payload, code, message) in cases {
        let (found, text) = rig.operator(verb, payload).unwrap_err();
        assert_eq!(found, code, "{verb}: {text}");
        assert!(text.contains(message), "{verb}: {text}");
    }
}
