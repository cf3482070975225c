//! Devices that provision themselves: claims, tokens, templates, hooks, and what a crash or a restore leaves.

use super::*;
use crate::admission::Denied;
use crate::records::{Certificate, CertificateState, StoredCertificate, key};
use crate::service::batch::Batch;
use crate::store::{Key, Kind, codec};
use muster_bus::HookFailure;
use muster_certs::certificate::{CertificateFacts, first_from_pem};
use muster_wire::limits::{PROVISIONING_PENDING_LIFE, PROVISIONING_PENDING_PER_CLAIM_MAX};
use muster_wire::provision::HookAnswer;
use std::sync::Mutex;

/// Keeps the questions to hooks until a test answers them.
#[derive(Default)]
pub(super) struct Ask {
    calls: Mutex<Vec<HookCall>>,
    is_full: std::sync::atomic::AtomicBool,
}

impl Hooks for Ask {
    fn ask(&self, call: Box<HookCall>) -> Result<(), Box<HookCall>> {
        if self.is_full.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(call);
        }
        self.calls.lock().unwrap().push(*call);
        Ok(())
    }
}

const CREATE: &str = "$aws/certificates/create/json";
const REGISTER: &str = "$aws/provisioning-templates/cams/provision/json";

fn template() -> Value {
    json!({
        "parameters": { "SerialNumber": {}, "Site": { "default": "lab" } },
        "connector": { "name": "cam-${SerialNumber}", "pool": "cameras", "site": "${Site}", "policy": "default" },
        "device": { "site": "${Site}" }
    })
}

/// A template and a claim for it.
fn stage(rig: &mut Rig, document: Value, hook: Option<&str>) -> Arc<Caller> {
    let mut create = json!({ "template": "cams", "document": document });
    if let Some(hook) = hook {
        create["hook"] = hook.into();
    }
    rig.operator("template-create", create).unwrap();
    claim(rig, "cams:one")
}

fn claim(rig: &mut Rig, name: &str) -> Arc<Caller> {
    let made = rig.operator("claim-create", json!({ "claim": name, "csr": csr(name).unwrap().0 })).unwrap();
    caller(Role::Claim, name, made["claim"]["certificate"].as_str().unwrap())
}

/// What a device hears: the last level of the topic, and the payload.
fn ask(rig: &mut Rig, who: &Arc<Caller>, topic: &str, payload: impl Into<Bytes>) -> (String, Value) {
    let tag = rig.publish_as(1, who.clone(), topic, payload);
    heard(rig, tag, topic)
}

fn heard(rig: &mut Rig, tag: Tag, topic: &str) -> (String, Value) {
    let mut messages = rig.until(tag);
    assert_eq!(messages.len(), 1, "one answer, for who asked");
    let message = messages.pop().unwrap();
    let value = Encoding::of(&message.payload).decode(&message.payload).unwrap();
    (message.topic.strip_prefix(topic).unwrap().to_owned(), value)
}

fn register(rig: &mut Rig, who: &Arc<Caller>, token: &Value, serial: &str) -> (String, Value) {
    let payload = json!({ "certificateOwnershipToken": token, "parameters": { "SerialNumber": serial } });
    ask(rig, who, REGISTER, payload.to_string())
}

/// A new device's certificate, and its token.
fn create(rig: &mut Rig, who: &Arc<Caller>) -> (String, Value) {
    let (verdict, created) = ask(rig, who, CREATE, "{}");
    assert_eq!(verdict, "/accepted", "{created}");
    (created["certificatePem"].as_str().unwrap().to_owned(), created["certificateOwnershipToken"].clone())
}

/// Who a certificate lets in, as the door would ask.
fn door(rig: &Rig, pem: &str) -> Result<String, Denied> {
    let der = first_from_pem(pem).unwrap();
    let id = CertificateFacts::from_der(&der).unwrap().id;
    let identity = Identity::from_certificate(&der, &Fleet::new("test").unwrap()).unwrap();
    let identity = rig.admission.speaks_for(identity, &id);
    rig.admission.admits(&identity, &id).map(|()| identity.to_string())
}

#[track_caller]
fn refused(heard: (String, Value), status: u16, code: &str) {
    let (verdict, error) = heard;
    assert_eq!(
        (verdict.as_str(), &error["statusCode"], &error["errorCode"]),
        ("/rejected", &json!(status), &json!(code)),
        "{error}"
    );
}

const TOKEN: &str = "InvalidCertificateOwnershipToken";

#[test]
fn p1_keys_are_made_and_kept_by_nobody() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (verdict, created) = ask(&mut rig, &who, CREATE, "{}");
    assert_eq!(verdict, "/accepted");
    let (pem, key) = (created["certificatePem"].as_str().unwrap(), created["privateKey"].as_str().unwrap());
    muster_certs::verifier::client_config(&rig.vault.trusted_pem(), Some((pem, key)), &[]).unwrap();
    assert_eq!(created["certificateId"], CertificateFacts::from_pem(pem).unwrap().id);
    assert_eq!(door(&rig, pem), Err(Denied::NotRegistered), "a pending certificate opens nothing");
    // Neither the key nor the token is in the store, in whatever form it is written.
    let secret = key.lines().nth(1).unwrap();
    let token = created["certificateOwnershipToken"].as_str().unwrap();
    rig.stop();
    for (_, stored) in rig.store.scan_all(b"").unwrap() {
        let text = String::from_utf8_lossy(&stored.value).into_owned();
        assert!(!text.contains(secret) && !text.contains(token));
    }
}

#[test]
fn p2_a_request_of_the_device_is_certified() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let topic = "$aws/certificates/create-from-csr/json";
    let (request, key) = csr("whatever name").unwrap();
    let (verdict, created) = ask(&mut rig, &who, topic, json!({ "certificateSigningRequest": request }).to_string());
    assert_eq!(verdict, "/accepted");
    assert_eq!(created.as_object().unwrap().len(), 3, "{created}");
    let pem = created["certificatePem"].as_str().unwrap();
    muster_certs::verifier::client_config(&rig.vault.trusted_pem(), Some((pem, &key)), &[]).unwrap();
    let bad = "InvalidCertificateSigningRequest";
    for csr in ["", "nonsense", &"x".repeat(5000)] {
        refused(ask(&mut rig, &who, topic, json!({ "certificateSigningRequest": csr }).to_string()), 400, bad);
    }
    refused(ask(&mut rig, &who, topic, ""), 400, bad);
    refused(ask(&mut rig, &who, topic, "[1"), 400, "InvalidPayload");
    refused(ask(&mut rig, &who, topic, "{\"certificateSigningRequest\":7}"), 400, "InvalidPayload");
}

#[test]
fn p3_cbor_is_asked_and_answered_in_cbor() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let cbor = |value: Value| Encoding::Cbor.encode(&value);
    let topic = "$aws/certificates/create/cbor";
    let tag = rig.publish_as(1, who.clone(), topic, cbor(json!({})));
    let message = rig.until(tag).pop().unwrap();
    assert_eq!(
        (&*message.topic, Encoding::of(&message.payload)),
        ("$aws/certificates/create/cbor/accepted", Encoding::Cbor)
    );
    let created: Value = Encoding::Cbor.decode(&message.payload).unwrap();
    let topic = "$aws/provisioning-templates/cams/provision/cbor";
    let asked = json!({ "certificateOwnershipToken": created["certificateOwnershipToken"], "parameters": { "SerialNumber": "1" } });
    // The topic says how it is written, not the first byte.
    refused(ask(&mut rig, &who, topic, asked.to_string()), 400, "InvalidPayload");
    // A list is no object, even where no field is needed.
    for (topic, must) in [
        (CREATE, "the payload must be an object"),
        ("$aws/certificates/create-from-csr/json", "certificateSigningRequest is a text"),
        (REGISTER, "parameters is an object of texts"),
    ] {
        for list in ["[]", r#"["x",{}]"#, "1"] {
            let (verdict, error) = ask(&mut rig, &who, topic, list);
            assert!(error["errorMessage"].as_str().unwrap().contains(must), "{error}");
            refused((verdict, error), 400, "InvalidPayload");
        }
        let (_, error) = ask(&mut rig, &who, topic, "{");
        assert_eq!(error["errorMessage"], "the payload is not valid JSON");
    }
    let (verdict, registered) = ask(&mut rig, &who, topic, cbor(asked));
    assert_eq!((verdict.as_str(), &registered["thingName"]), ("/accepted", &json!("cam-1")));
    let topic = "$aws/certificates/create-from-csr/cbor";
    let (verdict, _) = ask(&mut rig, &who, topic, cbor(json!({ "certificateSigningRequest": csr("x").unwrap().0 })));
    assert_eq!(verdict, "/accepted");
}

#[test]
fn p4_a_registered_device_is_a_connector() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (pem, token) = create(&mut rig, &who);
    let (verdict, registered) = register(&mut rig, &who, &token, "7");
    let expected = json!({ "thingName": "cam-7", "deviceConfiguration": { "site": "lab" } });
    assert_eq!((verdict.as_str(), &registered), ("/accepted", &expected));
    assert_eq!(door(&rig, &pem).unwrap(), "spiffe://test/connector/cam-7");
    let shown = rig.operator("connector-show", json!({ "name": "cam-7" })).unwrap();
    assert_eq!((&shown["connector"]["pool"], &shown["connector"]["site"]), (&json!("cameras"), &json!("lab")));
    assert_eq!(shown["certificates"][0]["identity"], "spiffe://test/connector/cam-7");
    // The certificates of a connector that is removed go with it, however they came.
    rig.operator("connector-remove", json!({ "name": "cam-7" })).unwrap();
    assert!(matches!(door(&rig, &pem), Err(Denied::Revoked { .. })));
    let (_, token) = create(&mut rig, &who);
    refused(register(&mut rig, &who, &token, "7"), 403, "ACCESS_DENIED");
}

#[test]
fn p4_the_same_device_may_provision_itself_again() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (first, token) = create(&mut rig, &who);
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    let (second, token) = create(&mut rig, &who);
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    // Both, until the device shows that it has the new one.
    assert!(door(&rig, &first).is_ok() && door(&rig, &second).is_ok());
    let certificate = Sha256Hex::new(CertificateFacts::from_pem(&second).unwrap().id).unwrap();
    assert!(rig.bus.submit(Inbound::Proven { thing: ThingName::new("cam-7").unwrap(), certificate }).is_ok());
    rig.operator("template-list", json!({})).unwrap();
    assert_eq!((door(&rig, &first), door(&rig, &second).is_ok()), (Err(Denied::Replaced), true));
}

#[test]
fn p4_no_claim_takes_over_a_connector_that_its_template_did_not_make() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    rig.add("cam-1");
    let token = rig.add("cam-2");
    rig.enrol(&token, "cam-2", &csr("cam-2").unwrap().0).unwrap();
    rig.operator("template-create", json!({ "template": "other", "document": template() })).unwrap();
    let other = claim(&mut rig, "other:x");
    let (_, token) = create(&mut rig, &other);
    let payload = json!({ "certificateOwnershipToken": token, "parameters": { "SerialNumber": "3" } });
    let topic = "$aws/provisioning-templates/other/provision/json";
    assert_eq!(ask(&mut rig, &other, topic, payload.to_string()).0, "/accepted");
    for serial in ["1", "2", "3"] {
        let (pem, token) = create(&mut rig, &who);
        refused(register(&mut rig, &who, &token, serial), 409, "ResourceConflictsException");
        assert_eq!(door(&rig, &pem), Err(Denied::NotRegistered));
        // A refusal costs the token nothing.
        assert_eq!(register(&mut rig, &who, &token, &format!("new-{serial}")).0, "/accepted");
    }
}

#[test]
fn p5_a_token_is_good_once_for_an_hour_and_for_its_claim() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let other = claim(&mut rig, "cams:two");
    let (_, token) = create(&mut rig, &who);
    let (verdict, error) = register(&mut rig, &who, &json!(""), "1");
    assert_eq!(verdict, "/rejected");
    let literal = json!({ "statusCode": 400, "errorCode": TOKEN, "errorMessage": "Certificate ownership token cannot be empty." });
    assert_eq!(error, literal);
    assert_eq!(ask(&mut rig, &who, REGISTER, "{}").1, literal);
    refused(register(&mut rig, &who, &json!("nonsense"), "1"), 400, TOKEN);
    refused(register(&mut rig, &who, &json!(format!("mst1_{}", "A".repeat(43))), "1"), 400, TOKEN);
    refused(register(&mut rig, &other, &token, "1"), 400, TOKEN);
    refused(
        ask(&mut rig, &who, REGISTER, json!({ "certificateOwnershipToken": token }).to_string()),
        400,
        "InvalidParameters",
    );
    assert_eq!(register(&mut rig, &who, &token, "1").0, "/accepted");
    refused(register(&mut rig, &who, &token, "1"), 400, TOKEN);
    refused(register(&mut rig, &who, &token, "2"), 400, TOKEN);
}

#[test]
fn p5_an_unused_certificate_is_dropped_after_an_hour() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (pem, token) = create(&mut rig, &who);
    let listed = |rig: &mut Rig| {
        let all = rig.operator("cert-list", json!({})).unwrap();
        let all = all["certificates"].as_array().unwrap();
        all.iter().filter(|one| one["status"] == "pending-activation").count()
    };
    assert_eq!(listed(&mut rig), 1);
    rig.stop();
    let end = Timestamp::from_seconds(START).plus(PROVISIONING_PENDING_LIFE);
    rig.clock = Clock::fixed(end);
    // The rest of the old life: a server that was down in between drops it at its start.
    rig.start();
    refused(register(&mut rig, &who, &token, "1"), 400, TOKEN);
    assert_eq!((listed(&mut rig), door(&rig, &pem)), (0, Err(Denied::NotRegistered)));
    assert!(rig.store.scan_all(b"o").unwrap().is_empty(), "its token is forgotten");
}

#[test]
fn p7_two_claims_hear_their_own_answers_only() {
    let mut rig = Rig::new();
    let one = stage(&mut rig, template(), None);
    let two = claim(&mut rig, "cams:two");
    let first = rig.publish_as(1, one.clone(), CREATE, "{}");
    let second = rig.publish_as(2, two.clone(), CREATE, "{}");
    let (_, first) = heard(&mut rig, first, CREATE);
    let (_, second) = heard(&mut rig, second, CREATE);
    assert_ne!(first["privateKey"], second["privateKey"]);
    assert!(rig.backlog.is_empty(), "nothing is delivered to subscribers: {:?}", rig.backlog);
}

#[test]
fn p8_a_claim_that_ended_or_was_revoked_provisions_nothing() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (_, token) = create(&mut rig, &who);
    let shown = rig.operator("claim-revoke", json!({ "claim": "cams:one", "reason": "leaked" })).unwrap();
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("revoked"), &json!("leaked")));
    assert!(rig.rechecks.iter().any(|whose| *whose == Whose::Identity(who.identity.clone())), "it is thrown out");
    refused(ask(&mut rig, &who, CREATE, "{}"), 403, "ACCESS_DENIED");
    refused(register(&mut rig, &who, &token, "1"), 403, "ACCESS_DENIED");
    // A short one, whose time ends while it is connected.
    let short = json!({ "claim": "cams:short", "csr": csr("cams:short").unwrap().0, "life_s": 300 });
    let made = rig.operator("claim-create", short).unwrap();
    let short = caller(Role::Claim, "cams:short", made["claim"]["certificate"].as_str().unwrap());
    create(&mut rig, &short);
    rig.stop();
    rig.clock = Clock::fixed(Timestamp::from_seconds(START + 301));
    rig.start();
    refused(ask(&mut rig, &short, CREATE, "{}"), 403, "ACCESS_DENIED");
    // And somebody who is no claim at all, should the door let it through.
    let thing = caller(Role::Connector, "cam-1", "c");
    refused(ask(&mut rig, &thing, CREATE, "{}"), 403, "ACCESS_DENIED");
    let elsewhere = "$aws/provisioning-templates/other/provision/json";
    refused(ask(&mut rig, &who, elsewhere, "{}"), 403, "ACCESS_DENIED");
}

#[test]
fn a_deleted_template_takes_its_claims_with_it() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    rig.operator("template-delete", json!({ "template": "cams" })).unwrap();
    rig.operator("template-create", json!({ "template": "cams", "document": template() })).unwrap();
    refused(ask(&mut rig, &who, CREATE, "{}"), 403, "ACCESS_DENIED");
    let listed = rig.operator("claim-list", json!({ "template": "cams" })).unwrap();
    assert_eq!(listed["claims"][0]["reason"], "its template was deleted");
}

#[test]
fn operators_are_told_what_is_wrong_with_templates_and_claims() {
    let mut rig = Rig::new();
    let mut refused = |verb: &str, payload: Value, why: &str| {
        let (_, message) = rig.operator(verb, payload).unwrap_err();
        assert!(message.contains(why), "{message}");
    };
    let create = |change: Value| {
        let mut create = json!({ "template": "cams", "document": template() });
        create.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        create
    };
    refused("template-create", create(json!({ "document": {} })), "missing field `connector`");
    refused("template-create", create(json!({ "hook": "ftp://a" })), "https://");
    refused("template-create", create(json!({ "hook": "https://user:secret@a/" })), "without user and password");
    refused("template-create", create(json!({ "hook": "https://a b" })), "printable");
    let wants = json!({ "document": { "connector": { "name": "a" }, "components": { "web": "1" } } });
    refused("template-create", create(wants), "no component is called web");
    let policy = json!({ "document": { "connector": { "name": "a", "policy": "root" } } });
    refused("template-create", create(policy), "no policy is called \"root\"");
    refused("template-show", json!({ "template": "cams" }), "no template is called cams");
    refused("claim-create", json!({ "claim": "cams:a", "csr": "x" }), "no template is called cams");
    refused("claim-create", json!({ "claim": "cams", "csr": "x" }), "TEMPLATE:ID");
    rig.operator("template-create", create(json!({}))).unwrap();
    let mut refused = |verb: &str, payload: Value, why: &str| {
        let (_, message) = rig.operator(verb, payload).unwrap_err();
        assert!(message.contains(why), "{message}");
    };
    refused("template-create", create(json!({})), "--replace");
    refused("claim-create", json!({ "claim": "cams:a", "csr": "x" }), "not PEM");
    refused("claim-create", json!({ "claim": "cams:a", "csr": csr("b").unwrap().0 }), "another name");
    refused("claim-create", json!({ "claim": "cams:a", "csr": csr("cams:a").unwrap().0, "life_s": 1 }), "5 minutes");
    refused("claim-revoke", json!({ "claim": "cams:a" }), "no claim is called cams:a");
    rig.operator("template-create", create(json!({ "replace": true }))).unwrap();
    let shown = rig.operator("template-show", json!({ "template": "cams" })).unwrap();
    assert_eq!(shown["document"], template());
    claim(&mut rig, "cams:a");
    let (_, message) =
        rig.operator("claim-create", json!({ "claim": "cams:a", "csr": csr("cams:a").unwrap().0 })).unwrap_err();
    assert!(message.contains("already"), "{message}");
}

#[test]
fn an_inactive_connector_waits_for_an_operator() {
    let mut rig = Rig::new();
    let mut document = template();
    document["connector"]["status"] = "inactive".into();
    let who = stage(&mut rig, document, None);
    let (pem, token) = create(&mut rig, &who);
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    assert_eq!(door(&rig, &pem), Err(Denied::Disabled));
    rig.operator("connector-enable", json!({ "name": "cam-7" })).unwrap();
    assert!(door(&rig, &pem).is_ok());
    let (_, token) = create(&mut rig, &who);
    refused(register(&mut rig, &who, &token, "7"), 409, "ResourceConflictsException");
}

#[test]
fn a_claim_cannot_fill_the_store() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let other = claim(&mut rig, "cams:two");
    for _ in 0..PROVISIONING_PENDING_PER_CLAIM_MAX {
        create(&mut rig, &who);
    }
    refused(ask(&mut rig, &who, CREATE, "{}"), 429, "Throttling");
    create(&mut rig, &other);
}

/// Answers the hook that waits, and returns what the device hears.
fn hook_says(rig: &mut Rig, tag: Tag, said: Result<HookAnswer, HookFailure>) -> (String, Value) {
    let call = loop {
        if let Some(call) = rig.hooks.calls.lock().unwrap().pop() {
            break call;
        }
        std::thread::yield_now();
    };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(call.reply.said(said));
    heard(rig, tag, REGISTER)
}

#[test]
fn p6_a_device_is_registered_only_when_the_hook_allows_it() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), Some("https://hooks.example.org/cams"));
    let (pem, token) = create(&mut rig, &who);
    let payload = json!({ "certificateOwnershipToken": token, "parameters": { "SerialNumber": "7" } }).to_string();
    let allow = |allow: bool, site: Option<&str>| HookAnswer {
        allow_provisioning: allow,
        parameter_overrides: site.map(|site| ("Site".to_owned(), site.to_owned())).into_iter().collect(),
    };
    for (said, told) in [
        (Ok(allow(false, None)), "the hook of the template did not allow it"),
        (Err(HookFailure::Silent("it took longer than 5 s".into())), "the hook of the template did not answer"),
        (
            Err(HookFailure::Unusable("its answer is not JSON".into())),
            "the answer of the template's hook is not usable",
        ),
    ] {
        let tag = rig.publish_as(1, who.clone(), REGISTER, payload.clone());
        let (verdict, error) = hook_says(&mut rig, tag, said);
        assert_eq!(error["errorMessage"], told);
        refused((verdict, error), 403, "ACCESS_DENIED");
        assert_eq!(door(&rig, &pem), Err(Denied::NotRegistered));
    }
    // While it is asked, the fleet's worker serves others, and the token is in use.
    let tag = rig.publish_as(1, who.clone(), REGISTER, payload.clone());
    refused(ask(&mut rig, &who, REGISTER, payload.clone()), 400, TOKEN);
    {
        let calls = rig.hooks.calls.lock().unwrap();
        let call = calls.last().unwrap();
        assert_eq!(call.url, "https://hooks.example.org/cams");
        assert_eq!(call.question.parameters["SerialNumber"], "7");
        assert_eq!(call.question.certificate_pem, pem);
        assert_eq!(call.question.claim_certificate_id, &*who.certificate_id);
        assert_eq!(call.question.template_arn, "arn:aws:iot:::provisioningtemplate/cams");
    }
    let (verdict, registered) = hook_says(&mut rig, tag, Ok(allow(true, Some("hall"))));
    assert_eq!((verdict.as_str(), &registered["deviceConfiguration"]["site"]), ("/accepted", &json!("hall")));
    assert!(door(&rig, &pem).is_ok());
}

#[test]
fn p6_what_changed_while_the_hook_was_asked_counts() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), Some("https://hooks.example.org/cams"));
    let (pem, token) = create(&mut rig, &who);
    let payload = json!({ "certificateOwnershipToken": token, "parameters": { "SerialNumber": "7" } }).to_string();
    let allow = || Ok(HookAnswer { allow_provisioning: true, parameter_overrides: Default::default() });
    let tag = rig.publish_as(1, who.clone(), REGISTER, payload.clone());
    let other =
        json!({ "template": "cams", "document": template(), "hook": "https://other.example.org/", "replace": true });
    rig.operator("template-create", other).unwrap();
    refused(hook_says(&mut rig, tag, allow()), 403, "ACCESS_DENIED");
    let tag = rig.publish_as(1, who.clone(), REGISTER, payload.clone());
    rig.operator("claim-revoke", json!({ "claim": "cams:one" })).unwrap();
    refused(hook_says(&mut rig, tag, allow()), 403, "ACCESS_DENIED");
    assert_eq!(door(&rig, &pem), Err(Denied::NotRegistered));
}

#[test]
fn p6_a_full_queue_of_hooks_refuses_for_now() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), Some("https://hooks.example.org/cams"));
    let (_, token) = create(&mut rig, &who);
    rig.hooks.is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    refused(register(&mut rig, &who, &token, "7"), 429, "Throttling");
    rig.hooks.is_full.store(false, std::sync::atomic::Ordering::SeqCst);
    let payload = json!({ "certificateOwnershipToken": token, "parameters": { "SerialNumber": "7" } }).to_string();
    let tag = rig.publish_as(1, who.clone(), REGISTER, payload);
    let allow = HookAnswer { allow_provisioning: true, parameter_overrides: Default::default() };
    assert_eq!(hook_says(&mut rig, tag, Ok(allow)).0, "/accepted");
}

/// Puts a certificate back to where a crash would have left it.
fn rewind(rig: &Rig, pem: &str) {
    let id = Sha256Hex::new(CertificateFacts::from_pem(pem).unwrap().id).unwrap();
    let mut batch = Batch::new(rig.store.as_ref(), rig.clock.now());
    let known: Certificate = batch.get(&key::certificate(&id)).unwrap().unwrap();
    let cut = Certificate { identity: None, state: CertificateState::Registering, ..known };
    batch.put(&key::certificate(&id), &cut).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
}

#[test]
fn a_registration_that_a_crash_cut_off_is_finished_or_undone() {
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (done, token) = create(&mut rig, &who);
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    let (undone, token) = create(&mut rig, &who);
    rig.stop();
    rewind(&rig, &done);
    rewind(&rig, &undone);
    rig.start();
    // The worker serves nobody before it has looked.
    refused(register(&mut rig, &who, &token, "8"), 400, TOKEN);
    assert_eq!(door(&rig, &done).unwrap(), "spiffe://test/connector/cam-7");
    assert_eq!(door(&rig, &undone), Err(Denied::NotRegistered));
    for (found, stored) in rig.store.scan_all(Key::new(Kind::Certificate).as_bytes()).unwrap() {
        let known: Certificate = codec::decode::<StoredCertificate>(&found, &stored.value).unwrap().into();
        assert_ne!(known.state, CertificateState::Registering);
    }
}

#[test]
fn a_restore_revives_neither_a_used_token_nor_a_revoked_claim() {
    use crate::store::{Ledger, Ledgered};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.log");
    let mut rig = Rig::new();
    let who = stage(&mut rig, template(), None);
    let (pem, token) = create(&mut rig, &who);
    let backup: Vec<_> = rig.store.scan_all(b"").unwrap();
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    rig.operator("claim-revoke", json!({ "claim": "cams:one" })).unwrap();
    rig.stop();
    // A ledger that saw everything, and the store as it was before.
    drop(Ledgered::open(copy(&rig.store.scan_all(b"").unwrap()), &path, &"a".repeat(32)).unwrap());
    let ledger = Ledger::read(&path).unwrap();
    for ledger in [Some(&ledger), None] {
        let restored = copy(&backup);
        crate::backup::mend(&restored, ledger, rig.clock.now()).unwrap();
        rig.store = Arc::new(restored);
        rig.start();
        refused(ask(&mut rig, &who, CREATE, "{}"), 403, "ACCESS_DENIED");
        refused(register(&mut rig, &who, &token, "8"), 403, "ACCESS_DENIED");
        let fresh = claim(&mut rig, "cams:fresh");
        refused(register(&mut rig, &fresh, &token, "8"), 400, TOKEN);
        let is_in = door(&rig, &pem).is_ok();
        assert_eq!(is_in, ledger.is_some(), "what the ledger knows goes on, what nobody knows does not");
        let kept = rig.store.scan_all(b"o").unwrap().len();
        assert_eq!(kept, 0, "every token dies");
        rig.stop();
    }
}

fn copy(entries: &[(Vec<u8>, crate::store::Stored)]) -> MemoryStore {
    use crate::store::{Expect, Op};
    let store = MemoryStore::new();
    let ops = entries.iter().map(|(key, stored)| Op::put(key.clone(), Expect::Any, stored.value.clone())).collect();
    store.apply(ops).wait().unwrap();
    store
}

#[test]
fn a_new_connector_has_the_policy_of_its_template_and_an_old_one_keeps_its_own() {
    let mut rig = Rig::new();
    let mut document = template();
    document["connector"]["policy"] = "gateway".into();
    let who = stage(&mut rig, document, None);
    let policies =
        |rig: &mut Rig| rig.operator("connector-show", json!({ "name": "cam-7" })).unwrap()["policies"].clone();
    let (_, token) = create(&mut rig, &who);
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    assert_eq!(policies(&mut rig), json!(["gateway"]));
    rig.operator("policy-attach", json!({ "name": "default", "connectors": ["cam-7"] })).unwrap();
    let (_, token) = create(&mut rig, &who);
    assert_eq!(register(&mut rig, &who, &token, "7").0, "/accepted");
    assert_eq!(policies(&mut rig), json!(["default", "gateway"]));
    // One that hangs on what the device says, and that nobody has added.
    let mut document = template();
    document["connector"]["policy"] = "${Site}".into();
    rig.operator("template-create", json!({ "template": "cams", "document": document, "replace": true })).unwrap();
    let (_, token) = create(&mut rig, &who);
    refused(register(&mut rig, &who, &token, "8"), 404, "ResourceNotFound");
}
