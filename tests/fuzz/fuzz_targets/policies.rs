//! Policies: reading is stable, and what is asked is answered by the rules whatever the documents say.
//!
//! The first line is the name that is asked about; the documents follow, with 0x1e between them.

#![no_main]

use muster_wire::limits::{PAYLOAD_BYTES_MAX, POLICY_CHARS_MAX};
use muster_wire::policy::{
    Action, CertificateNames, ConnectAttributes, Facts, Grants, NameField, Permit, Policy, Resource, Verdict,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// More is cut off: every statement is asked alone.
const STATEMENTS_MAX: usize = 8;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (name, documents) = text.split_once('\n').unwrap_or((text, text));
    let documents = documents.split('\u{1e}').take(3).filter_map(read);
    let (policies, values): (Vec<Arc<Policy>>, Vec<Value>) = documents.unzip();
    if policies.is_empty() {
        return;
    }
    let names = CertificateNames {
        subject: vec![(NameField::CommonName, name.into()), (NameField::Organization, "Acme".into())],
        issuer: vec![(NameField::CommonName, "Acme".into())],
        serial: "0a".into(),
    };
    let attributes = [("pool", "blue".to_owned()), ("site", name.to_owned())];
    let known = Facts {
        client_id: name,
        thing: "t1",
        attributes: &attributes,
        certificate_id: "ab12",
        certificate: Some(&names),
        source: "192.0.2.7".parse().ok(),
    };
    for facts in [&known, &Facts::default()] {
        let verdicts = |policies: &[Arc<Policy>]| verdicts(policies, facts, name);
        let all = verdicts(&policies);
        // The order does not matter, and one that denies beats every one that allows.
        let alone = policies.iter().map(|policy| verdicts(std::slice::from_ref(policy)));
        assert_eq!(all, alone.reduce(both).unwrap_or_default());
        let turned: Vec<_> = policies.iter().rev().cloned().collect();
        assert_eq!(all, verdicts(&turned));
        let denied = [&policies[..], &[policy(&statement(json!({"Effect": "Deny", "Action": "*", "Resource": "*"})))]];
        assert!(verdicts(&denied.concat()).iter().all(|verdict| *verdict == Verdict::Denied));
        for (policy, value) in policies.iter().zip(&values) {
            statements(policy, value, &verdicts);
        }
    }
    // A value that would be a wildcard is as good as none.
    if !values.iter().any(|value| value.to_string().contains("Condition")) {
        let wild = |value: &'static str| Facts { client_id: value, thing: value, ..Facts::default() };
        assert_eq!(verdicts(&policies, &wild("*"), name), verdicts(&policies, &wild("a+?"), name));
    }
});

/// A document that is sound, and its value.
fn read(document: &str) -> Option<(Arc<Policy>, Value)> {
    match Policy::parse(document) {
        Ok(policy) => {
            let value: Value = serde_json::from_str(document).ok()?;
            // Printed without white space it says the same. A number that nobody reads may print longer than it was.
            let printed = value.to_string();
            assert!(printed.len() > POLICY_CHARS_MAX || Policy::parse(&printed).as_ref() == Ok(&policy), "{printed}");
            Some((Arc::new(policy), value))
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            assert!(problems.to_string().len() < PAYLOAD_BYTES_MAX / 2, "the problems do not fit an answer");
            None
        }
    }
}

/// A document says what its statements say one by one, and a statement turned round the opposite.
fn statements(policy: &Arc<Policy>, value: &Value, verdicts: &impl Fn(&[Arc<Policy>]) -> Vec<Verdict>) {
    let statements = match &value["Statement"] {
        Value::Array(statements) => statements.clone(),
        one => vec![one.clone()],
    };
    // Turned round, one is longer by a letter.
    if statements.len() > STATEMENTS_MAX || value.to_string().len() >= POLICY_CHARS_MAX {
        return;
    }
    let mut whole: Option<Vec<Verdict>> = None;
    for mut one in statements {
        let found = verdicts(&[self::policy(&statement(one.clone()))]);
        one["Effect"] = if one["Effect"] == "Deny" { "Allow" } else { "Deny" }.into();
        let turned = verdicts(&[self::policy(&statement(one))]);
        assert_eq!(found, turned.into_iter().map(opposite).collect::<Vec<_>>());
        whole = Some(match whole {
            Some(whole) => both(whole, found),
            None => found,
        });
    }
    assert_eq!(whole, Some(verdicts(std::slice::from_ref(policy))));
}

fn statement(statement: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": statement}).to_string()
}

fn policy(document: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(document).expect("a part of what was read"))
}

/// Asks everything that can be asked about a name.
fn verdicts(policies: &[Arc<Policy>], facts: &Facts<'_>, name: &str) -> Vec<Verdict> {
    let permit = Permit::new(Arc::new(Grants { policies: policies.to_vec(), ..Grants::default() }), facts);
    let about = [
        Resource::Client(name),
        Resource::Topic(name),
        Resource::TopicFilter(name),
        Resource::Thing(name),
        Resource::Everything,
    ];
    let asked = Action::ALL.iter().flat_map(|action| about.map(|resource| permit.ask(*action, resource)));
    let connects = [(false, false), (false, true), (true, false), (true, true)]
        .map(|(persistent, will)| permit.ask_connect(name, ConnectAttributes { persistent, will }));
    asked.chain(connects).collect()
}

fn both(one: Vec<Verdict>, other: Vec<Verdict>) -> Vec<Verdict> {
    let pairs = one.into_iter().zip(other);
    pairs
        .map(|pair| match pair {
            (Verdict::Denied, _) | (_, Verdict::Denied) => Verdict::Denied,
            (Verdict::Allowed, _) | (_, Verdict::Allowed) => Verdict::Allowed,
            (Verdict::Silent, Verdict::Silent) => Verdict::Silent,
        })
        .collect()
}

fn opposite(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Denied => Verdict::Allowed,
        Verdict::Allowed => Verdict::Denied,
        Verdict::Silent => Verdict::Silent,
    }
}
