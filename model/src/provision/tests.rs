#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::json;

fn said(pairs: &[(&str, &str)]) -> Parameters {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The template of AWS's guide, with every function.
fn guide() -> Value {
    json!({
        "Parameters": {
            "SerialNumber": { "Type": "String" },
            "DeviceLocation": { "Type": "String", "Default": "Seattle" }
        },
        "Mappings": {
            "LocationTable": { "Seattle": { "LocationUrl": "https://example.aws", "Codes": ["s", "ea"] } }
        },
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "AttributePayload": {
                        "version": "v1",
                        "serialNumber": { "Ref": "SerialNumber" },
                        "site": { "Fn::Select": [1, ["a", { "Ref": "DeviceLocation" }]] }
                    },
                    "ThingName": { "Fn::Join": ["", ["ThingPrefix_", { "Ref": "SerialNumber" }]] },
                    "ThingTypeName": "widget",
                    "ThingGroups": ["widgets"],
                    "BillingGroup": { "Ref": "DeviceLocation" }
                },
                "OverrideSettings": {
                    "AttributePayload": "MERGE", "ThingTypeName": "REPLACE", "ThingGroups": "DO_NOTHING"
                }
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": { "CertificateId": { "Ref": "AWS::IoT::Certificate::Id" }, "Status": "Active" },
                "OverrideSettings": { "Status": "REPLACE" }
            },
            "policy": { "Type": "AWS::IoT::Policy", "Properties": { "PolicyName": "default" } }
        },
        "DeviceConfiguration": {
            "FallbackUrl": "https://www.example.com/test-site",
            "LocationUrl": { "Fn::FindInMap": ["LocationTable", { "Ref": "DeviceLocation" }, "LocationUrl"] },
            "Code": { "Fn::Select": ["1", { "Fn::FindInMap": ["LocationTable", "Seattle", "Codes"] }] },
            "Tail": { "Fn::Select": [1, { "Fn::Split": ["|", "a|b|c"] }] },
            "Sub": { "Fn::Sub": ["${x}-${SerialNumber}-${!no}", { "x": { "Ref": "DeviceLocation" } }] },
            "Certificate": { "Ref": "AWS::IoT::Certificate::Id" }
        }
    })
}

fn own() -> Value {
    json!({
        "parameters": { "SerialNumber": {}, "Site": { "default": "lab" } },
        "connector": {
            "name": "cam-${SerialNumber}", "pool": "cameras", "site": "${Site}", "description": "at ${Site}",
            "attributes": { "serial": "${SerialNumber}" }, "policy": "default", "existing": "refuse"
        },
        "components": { "recorder": "2.1" },
        "device": { "where": "${Site}", "plain": "x" }
    })
}

#[test]
fn the_template_of_the_guide_makes_its_thing() {
    let template = Template::read(&guide()).unwrap();
    let parameters: Vec<_> = template.parameters().collect();
    assert_eq!(parameters, [("DeviceLocation", Some("Seattle")), ("SerialNumber", None)]);
    assert_eq!(template.ignored(), ["BillingGroup", "ThingTypeName", "OverrideSettings.ThingTypeName"]);
    let made = template.register(&said(&[("SerialNumber", "7"), ("extra", "for the hook")]), "c1").unwrap();
    assert_eq!(made.name.as_str(), "ThingPrefix_7");
    assert_eq!(made.pool.unwrap().as_str(), "widgets");
    assert_eq!(made.site.unwrap().as_str(), "Seattle");
    assert_eq!(made.attributes, said(&[("version", "v1"), ("serialNumber", "7")]));
    assert_eq!((made.policy.as_deref(), made.active), (Some("default"), true));
    assert_eq!(made.overrides, Overrides { pool: Override::Keep, attributes: Override::Merge });
    let expected = [
        ("FallbackUrl", "https://www.example.com/test-site"),
        ("LocationUrl", "https://example.aws"),
        ("Code", "ea"),
        ("Tail", "b"),
        ("Sub", "Seattle-7-${no}"),
        ("Certificate", "c1"),
    ];
    assert_eq!(made.device_configuration, said(&expected));
}

#[test]
fn our_own_template_makes_its_connector() {
    let template = Template::read(&own()).unwrap();
    let made = template.register(&said(&[("SerialNumber", "9"), ("Site", "hall-2")]), "c1").unwrap();
    assert_eq!(made.name.as_str(), "cam-9");
    assert_eq!((made.pool.unwrap().as_str(), made.site.unwrap().as_str()), ("cameras", "hall-2"));
    assert_eq!(made.description.as_deref(), Some("at hall-2"));
    assert_eq!(made.attributes, said(&[("serial", "9")]));
    assert_eq!(made.device_configuration, said(&[("where", "hall-2"), ("plain", "x")]));
    assert_eq!(made.components.len(), 1);
    assert_eq!(made.overrides.pool, Override::Refuse);
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_its_place() {
    #[track_caller]
    fn check(document: &Value, expected: &str) {
        let error = Template::read(document).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let with = |pointer: &str, value: Value| {
        let mut document = guide();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[field] = value;
        document
    };
    let thing = "/Resources/thing/Properties";
    check(&json!([]), "must be an object");
    check(&json!({ "connector": {} }), "missing field `name`");
    check(&json!({ "connector": { "name": "a", "colour": 1 } }), "unknown field `colour`");
    check(&json!({ "connector": { "name": "a-${X}" } }), "X: no parameter has this name");
    check(&json!({ "connector": { "name": "a-${X" } }), "without `}`");
    check(&json!({ "connector": { "name": "a-${}" } }), "without a name");
    check(&json!({ "Resources": {} }), "AWS::IoT::Thing is missing");
    check(&with("/Resources/policy/Type", json!("AWS::IoT::Role")), "Resources.policy.Type: must be AWS::IoT::Thing");
    check(&with("/Resources/policy/Type", json!("AWS::IoT::Certificate")), "one resource of this type");
    check(&with("/Resources/policy/Properties", json!({ "PolicyDocument": "{}" })), "name one with PolicyName");
    check(&with("/Resources/certificate/Properties/CertificateId", json!("x")), "AWS::IoT::Certificate::Id");
    check(&with("/Resources/certificate/Properties/Status", json!("MAYBE")), "ACTIVE or INACTIVE");
    check(&with(&format!("{thing}/ThingGroups"), json!(["a", "b"])), "one pool");
    check(&with(&format!("{thing}/Colour"), json!("red")), "no property of a thing");
    check(&with(&format!("{thing}/ThingName"), json!({ "Ref": "Nobody" })), "Nobody: no parameter");
    check(&with(&format!("{thing}/ThingName"), json!({ "Fn::Base64": "x" })), "is no function");
    check(&with(&format!("{thing}/ThingName"), json!({ "Fn::Split": ["", "x"] })), "not empty");
    check(&with(&format!("{thing}/ThingName"), json!({ "Fn::Select": [-1, ["x"]] })), "counted from 0");
    check(&with(&format!("{thing}/ThingName"), json!({ "Fn::FindInMap": ["No", "a", "b"] })), "No: Fn::FindInMap");
    check(&with("/Parameters/SerialNumber/Type", json!("Number")), "Parameters.SerialNumber.Type");
    check(&with("/Resources/thing/OverrideSettings/ThingGroups", json!("MAYBE")), "must be DO_NOTHING");
    check(&with("/Extra", json!({})), "Extra: is no part of a template");
    check(&json!({ "connector": { "name": "x".repeat(11_000) } }), "at most 10240 are allowed");
    let deep = (0..40).fold(json!("x"), |inner, _| json!({ "Fn::Join": ["", [inner]] }));
    check(&with(&format!("{thing}/ThingName"), deep), "nested deeper than 16");
}

#[test]
fn a_device_is_refused_with_the_reason() {
    let template = Template::read(&guide()).unwrap();
    let refused = |pairs: &[(&str, &str)]| template.register(&said(pairs), "c").unwrap_err().to_string();
    assert_eq!(refused(&[]), "thing name: the parameter \"SerialNumber\" is missing");
    assert!(
        refused(&[("SerialNumber", "a/b")]).starts_with("thing name: thing name \"ThingPrefix_a/b\": character '/'")
    );
    assert!(refused(&[("SerialNumber", &"x".repeat(129))]).contains("at most 128"));
    assert!(refused(&[("SerialNumber", &"x".repeat(3000))]).contains("too long"));
    let elsewhere = refused(&[("SerialNumber", "1"), ("DeviceLocation", "Rome")]);
    assert_eq!(
        elsewhere,
        "DeviceConfiguration.LocationUrl: the mapping LocationTable has no \"Rome\" with \"LocationUrl\""
    );
    let many: Parameters = (0..65).map(|n| (n.to_string(), String::new())).collect();
    assert!(template.register(&many, "c").unwrap_err().to_string().contains("at most 64"));
}

#[test]
fn a_template_cannot_be_made_to_fill_the_memory() {
    // Each level repeats the one inside it ten times.
    let bomb = (0..10)
        .fold(json!({ "Ref": "SerialNumber" }), |inner, _| json!({ "Fn::Sub": ["${x}".repeat(10), { "x": inner }] }));
    let mut document = guide();
    document["DeviceConfiguration"] = json!({ "bomb": bomb });
    let template = Template::read(&document).unwrap();
    let error = template.register(&said(&[("SerialNumber", "0123456789")]), "c").unwrap_err();
    assert_eq!(error.to_string(), "DeviceConfiguration.bomb: a text becomes longer than 4096 bytes");
}

#[test]
fn a_device_cannot_name_its_certificate() {
    let template = Template::read(&guide()).unwrap();
    let made = template.register(&said(&[("SerialNumber", "7"), (CERTIFICATE_ID, "mine")]), "c1").unwrap();
    assert_eq!(made.device_configuration["Certificate"], "c1");
}
