//! What devices, templates and claims of provisioning say.

use super::*;
use muster_wire::provision::*;

#[test]
fn provisioning_payloads() {
    let created = CreatedKeys {
        certificate_id: digest(1).to_string(),
        certificate_pem: "-----BEGIN CERTIFICATE-----".into(),
        private_key: "-----BEGIN PRIVATE KEY-----".into(),
        certificate_ownership_token: "mst1_x".into(),
    };
    pin("provision-created-keys", &created);
    pin("provision-create-from-csr", &CreateFromCsr { certificate_signing_request: "-----BEGIN".into() });
    let created = CreatedFromCsr {
        certificate_ownership_token: "mst1_x".into(),
        certificate_id: digest(1).to_string(),
        certificate_pem: "-----BEGIN CERTIFICATE-----".into(),
    };
    pin("provision-created-from-csr", &created);
    let parameters = Parameters::from([("SerialNumber".to_owned(), "7".to_owned())]);
    let register = RegisterThing { certificate_ownership_token: "mst1_x".into(), parameters: parameters.clone() };
    pin("provision-register-thing", &register);
    let registered = RegisteredThing {
        thing_name: ThingName::new("cam-7").unwrap(),
        device_configuration: [("endpoint".to_owned(), "a".to_owned())].into(),
    };
    pin("provision-registered-thing", &registered);
    let question = HookQuestion {
        claim_certificate_id: digest(2).to_string(),
        certificate_id: digest(1).to_string(),
        certificate_pem: "-----BEGIN CERTIFICATE-----".into(),
        template_arn: provisioning_template_arn(&TemplateName::new("cams").unwrap()),
        client_id: "c".into(),
        parameters: parameters.clone(),
    };
    pin("provision-hook-question", &question);
    pin("provision-hook-answer", &HookAnswer { allow_provisioning: true, parameter_overrides: parameters });
}

#[test]
fn operators_make_templates_and_claims() {
    let template = TemplateName::new("cams").unwrap();
    let document = serde_json::json!({ "connector": { "name": "cam-${SerialNumber}" } });
    let create = CreateTemplate {
        template: template.clone(),
        document: document.clone(),
        description: Some("cameras".into()),
        hook: Some("https://hooks.example.org/cams".into()),
        replace: false,
    };
    pin("op-template-create", &create);
    let view = TemplateView {
        name: template.clone(),
        description: Some("cameras".into()),
        hook: Some("https://hooks.example.org/cams".into()),
        parameters: vec![TemplateParameter { name: "SerialNumber".into(), default: None }],
        ignored: vec!["BillingGroup".into()],
        created_at: at(0),
        created_by: PersonName::new("admin").unwrap(),
        document: Some(document),
    };
    pin("op-template-shown", &view);
    let claim: ClaimName = "cams:a1".parse().unwrap();
    pin("op-claim-create", &CreateClaim { claim: claim.clone(), csr: "-----BEGIN".into(), life_s: Some(300) });
    let view = ClaimView {
        claim: claim.clone(),
        certificate: digest(2),
        state: ClaimState::Live,
        issued_at: Some(at(0)),
        not_after: Some(at(300)),
        reason: None,
    };
    pin("op-claim-listed", &ClaimList { now: at(1), claims: vec![view], next: None });
    pin("op-claim-revoke", &RevokeClaim { claim, reason: Some("leaked".into()) });
}
