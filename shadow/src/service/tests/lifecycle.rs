//! Certificates and lives of connectors, as the services keep them.

use super::*;
use crate::admission::Denied;
use crate::records::{Certificate, CertificateState, key};
use crate::store::{Expect, Op, Store};

fn thing(name: &str) -> Identity {
    Identity::new(Fleet::new("test").unwrap(), Role::Connector, name).unwrap()
}

impl Rig {
    /// Registers a connector, or renews its script, and enrols a host as it: the certificate's id.
    fn enrolled(&mut self, name: &str, request: Value) -> String {
        let token = self.operator("connector-add", request).unwrap()["token"].as_str().unwrap().to_owned();
        let pem = self.enrol(&token, name, &csr(name).unwrap().0).unwrap();
        muster_certs::CertificateFacts::from_pem(&pem).unwrap().id
    }

    fn connects(&mut self, name: &str, session: u64, certificate: &str) {
        let change = LinkChange {
            thing: ThingName::new(name).unwrap(),
            session,
            caller: caller(Role::Connector, name, certificate),
            state: LinkState::Up,
        };
        assert!(self.bus.submit(Inbound::Link(change)).is_ok());
    }

    fn admits(&self, identity: &Identity, certificate: &str) -> Result<(), String> {
        self.admission.admits(identity, certificate).map_err(|denied| denied.to_string())
    }

    /// The next identity whose connections are looked at again.
    fn rechecked(&mut self) -> Whose {
        if let Some(whose) = self.rechecks.pop_front() {
            return whose;
        }
        loop {
            match self.heard.recv_timeout(SOON).expect("connections are looked at again") {
                Heard::Rechecked(whose) => return whose,
                Heard::Delivered(message) => self.backlog.push(message),
                Heard::Answer(..) | Heard::Kept(..) => {}
            }
        }
    }

    fn status(&mut self, certificate: &str) -> String {
        let listed = self.operator("cert-list", json!({})).unwrap();
        let found = listed["certificates"].as_array().unwrap().iter().find(|known| known["id"] == certificate).cloned();
        found.map_or("absent".into(), |found| found["status"].as_str().unwrap().to_owned())
    }
}

#[test]
fn a_new_certificate_replaces_the_old_one_once_a_connection_proves_it() {
    let mut rig = Rig::new();
    let a = thing("a");
    let first = rig.enrolled("a", json!({ "name": "a" }));
    assert_eq!(rig.status(&first), "pending");
    assert_eq!(rig.admits(&a, &first), Ok(()));
    rig.connects("a", 1, &first);
    // The worker of the thing tells the fleet's worker; asking again is enough to see it.
    while rig.status(&first) != "current" {}
    rig.clock.set(Timestamp::from_seconds(START + 1));
    let second = rig.enrolled("a", json!({ "name": "a", "renew": true }));
    assert_eq!((rig.admits(&a, &first), rig.admits(&a, &second)), (Ok(()), Ok(())), "both until it is proven");
    rig.connects("a", 2, &second);
    assert_eq!(rig.rechecked(), Whose::Identity(a.clone()));
    assert_eq!(rig.admits(&a, &first).unwrap_err(), "the certificate was replaced by a newer one");
    assert_eq!((rig.status(&first), rig.status(&second)), ("replaced".into(), "current".into()));

    rig.stop();
    rig.start();
    assert!(rig.admits(&a, &first).is_err());
    assert_eq!(rig.admits(&a, &second), Ok(()));
    assert_eq!(rig.admits(&a, &"0".repeat(64)).unwrap_err(), Denied::Unknown.to_string());
}

#[test]
fn a_revoked_certificate_stays_revoked() {
    let mut rig = Rig::new();
    let ann = Identity::new(Fleet::new("test").unwrap(), Role::Operator, "ann").unwrap();
    let id = "ab".repeat(32);
    assert_eq!(rig.admits(&ann, &id), Ok(()));
    let request = json!({ "id": id, "identity": ann.to_string(), "reason": "laptop lost" });
    let view = rig.operator("cert-revoke", request).unwrap();
    assert_eq!((&view["status"], &view["by"]), (&"revoked".into(), &"admin".into()));
    assert_eq!(rig.rechecked(), Whose::Identity(ann.clone()));
    assert_eq!(rig.admits(&ann, &id).unwrap_err(), "the certificate was revoked (laptop lost)");
    // Again changes nothing, and does not change the reason.
    rig.operator("cert-revoke", json!({ "id": id, "reason": "other" })).unwrap();
    rig.stop();
    rig.start();
    assert_eq!(rig.admits(&ann, &id).unwrap_err(), "the certificate was revoked (laptop lost)");
    // By its id alone it is not known whose it is.
    rig.operator("cert-revoke", json!({ "id": "cd".repeat(32) })).unwrap();
    assert_eq!(rig.rechecked(), Whose::Everyone);
    assert_eq!(rig.operator("cert-revoke", json!({ "id": "cd" })).unwrap_err().0, "invalid");
}

#[test]
fn connectors_from_before_there_were_records_are_let_in_and_two_current_certificates_become_one() {
    let mut rig = Rig::new();
    let a = thing("a");
    let old = rig.enrolled("a", json!({ "name": "a" }));
    rig.stop();
    let record = key::certificate(&Sha256Hex::new(&old).unwrap());
    let stored = rig.store.get(record.as_bytes()).unwrap().unwrap();
    let op = Op { key: record.into(), expect: Expect::Revision(stored.revision), change: crate::store::Change::Delete };
    rig.store.apply(vec![op]).wait().unwrap();
    rig.start();
    assert_eq!(rig.admits(&a, &old), Ok(()));
    assert_eq!(rig.status(&old), "current");

    // As a crash leaves it between the two steps of a renewal.
    rig.stop();
    let newer = Certificate {
        id: Sha256Hex::from_bytes(&[9; 32]),
        identity: Some(a.clone()),
        issued_at: Some(Timestamp::from_seconds(START + 5)),
        not_after: None,
        state: CertificateState::Current,
        issuer: None,
        key: None,
    };
    let mut batch = batch::Batch::new(rig.store.as_ref(), rig.clock.now());
    batch.put(&key::certificate(&newer.id), &newer).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.start();
    assert_eq!((rig.status(&old), rig.status(newer.id.as_str())), ("replaced".into(), "current".into()));
    assert!(rig.admits(&a, &old).is_err());
}

#[test]
fn a_removed_connector_is_refused_forgotten_by_intents_and_keeps_its_history() {
    let mut rig = Rig::new();
    let a = thing("a");
    let first = rig.enrolled("a", json!({ "name": "a", "pool": "blue" }));
    rig.publish_version("1");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "pool=blue" })).unwrap();
    rig.offered("upgrade-1");
    let token = rig.operator("connector-add", json!({ "name": "a", "renew": true })).unwrap()["token"].clone();
    let removed = rig.operator("connector-remove", json!({ "name": "a" })).unwrap();
    assert_eq!((&removed["lifecycle"]["state"], &removed["certificates_revoked"]), (&"removed".into(), &1.into()));
    assert_eq!(rig.rechecked(), Whose::Identity(a.clone()));
    assert_eq!(rig.admits(&a, &first).unwrap_err(), "the certificate was revoked (the connector was removed)");
    assert_eq!(rig.admits(&a, &"0".repeat(64)).unwrap_err(), Denied::Removed.to_string());
    let csr = || csr("a").unwrap().0;
    assert_eq!(rig.enrol(token.as_str().unwrap(), "a", &csr()).unwrap_err().0, RejectionCode::Forbidden);
    // What it still had in hand gets no answer that it could use.
    assert_eq!(rig.job("a", "start-next", json!({}))["code"], "RequestThrottled");
    assert_eq!(rig.action("t1")["reason"], "the connector was removed");

    let names = |rig: &mut Rig, request| rig.operator("connector-list", request).unwrap()["connectors"].clone();
    assert_eq!(names(&mut rig, json!({})).as_array().unwrap().len(), 0);
    assert_eq!(names(&mut rig, json!({ "removed": true }))[0]["name"], "a");
    let upgrade = json!({ "component": "web", "version": "1", "to": "all" });
    assert_eq!(rig.operator("upgrade", upgrade).unwrap_err().0, "not-found");
    let job = json!({ "job_id": "j", "targets": ["a"], "document": {} });
    assert!(rig.operator("job-create", job).unwrap_err().1.contains("a was removed"));
    for verb in ["connector-enable", "connector-disable"] {
        assert!(rig.operator(verb, json!({ "name": "a" })).unwrap_err().1.contains("--reinstall"));
    }
    assert!(rig.operator("connector-add", json!({ "name": "a" })).unwrap_err().1.contains("--reinstall"));
    assert!(rig.operator("connector-add", json!({ "name": "a", "renew": true })).is_err());
    // Again changes nothing, neither does a restart.
    assert_eq!(rig.operator("connector-remove", json!({ "name": "a" })).unwrap()["certificates_revoked"], 0);
    rig.stop();
    rig.start();
    assert!(rig.admits(&a, &first).is_err());

    // The operator's yes: it stays out until the token is used.
    let token = rig.operator("connector-add", json!({ "name": "a", "reinstall": true })).unwrap()["token"].clone();
    assert_eq!(rig.admits(&a, &"0".repeat(64)).unwrap_err(), Denied::Removed.to_string());
    let pem = rig.enrol(token.as_str().unwrap(), "a", &csr()).unwrap();
    let second = muster_certs::CertificateFacts::from_pem(&pem).unwrap().id;
    assert_eq!((rig.admits(&a, &second), rig.admits(&a, &first).is_err()), (Ok(()), true));
    // What is wanted of it is wanted again, by an intent of its own.
    rig.offered("upgrade-2");
    let shown = rig.operator("connector-show", json!({ "name": "a" })).unwrap();
    assert_eq!(
        (&shown["connector"]["pool"], &shown["connector"]["lifecycle"]["state"]),
        (&"blue".into(), &"active".into())
    );
    let targets: Vec<_> = shown["actions"].as_array().unwrap().iter().map(|action| action["target"].clone()).collect();
    assert_eq!(targets, ["t2", "t1"]);
}

/// Connector `a`, whose upgrade of `web` to version 1 is confirmed.
fn upgraded() -> Rig {
    let mut rig = Rig::new();
    rig.enrolled("a", json!({ "name": "a" }));
    rig.publish_version("1");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    rig.offered("upgrade-1");
    rig.job("a", "start-next", json!({}));
    rig.shadow("a", "components", &Rig::report("1", "s1"));
    rig.job("a", "upgrade-1/update", json!({ "status": "SUCCEEDED" }));
    assert_eq!(rig.action("t1")["state"], "confirmed");
    rig
}

#[test]
fn a_reinstalled_host_is_not_taken_for_the_one_that_reported_before() {
    let mut rig = upgraded();
    rig.enrolled("a", json!({ "name": "a", "reinstall": true }));
    rig.offered("upgrade-2");
    let shown = rig.operator("connector-show", json!({ "name": "a" })).unwrap();
    assert_eq!(shown["connector"]["components"]["web"].get("reported"), None, "{shown}");
    assert_eq!(rig.action("t2")["state"], "queued");
}

#[test]
fn a_look_that_a_reinstallation_overtakes_plans_nothing() {
    let mut rig = upgraded();
    // Nobody looks from here on but the test, which has the moments in its hand.
    let name = ThingName::new("a").unwrap();
    let shared = rig.service.as_ref().unwrap().shared.clone();
    rig.stop();
    let before = shared.fleet().connectors[&name].clone();
    let anew = Arc::new(Connector { incarnation: before.incarnation + 1, ..before.as_ref().clone() });
    shared.fleet_mut().connectors.insert(name.clone(), anew);
    let target = shared.fleet().targets[0].as_ref().clone();
    let target = Target { id: "t2".parse().unwrap(), number: 2, job: "upgrade-2".parse().unwrap(), ..target };
    shared.fleet_mut().targets.push(Arc::new(target));
    let mut batch = batch::Batch::new(shared.store.as_ref(), shared.clock.now());
    reconcile::look(&shared, &mut batch, &before, &views::Link::default()).unwrap();
    let actions: Vec<muster_model::reconcile::Action> = batch.scan(&key::actions(&name)).unwrap();
    assert_eq!(actions.iter().map(|action| action.intent).collect::<Vec<_>>(), [1], "{actions:?}");
}

#[test]
fn a_disabled_connector_is_kept_out_and_its_work_waits() {
    let mut rig = Rig::new();
    let a = thing("a");
    let id = rig.enrolled("a", json!({ "name": "a" }));
    rig.publish_version("1");
    let view = rig.operator("connector-disable", json!({ "name": "a", "reason": "moves" })).unwrap();
    let life = &view["lifecycle"];
    assert_eq!((&life["state"], &life["by"], &life["why"]), (&"disabled".into(), &"admin".into(), &"moves".into()));
    assert_eq!(rig.rechecked(), Whose::Identity(a.clone()));
    assert_eq!(rig.admits(&a, &id).unwrap_err(), Denied::Disabled.to_string());
    let started = rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    assert_eq!(started["matched"], json!([]));
    rig.stop();
    rig.start();
    assert!(rig.admits(&a, &id).is_err());
    assert_eq!(rig.operator("connector-show", json!({ "name": "a" })).unwrap()["connector"]["lifecycle"], *life);
    let view = rig.operator("connector-enable", json!({ "name": "a" })).unwrap();
    assert_eq!(view["lifecycle"], json!({ "state": "active" }));
    assert_eq!(rig.admits(&a, &id), Ok(()));
    rig.offered("upgrade-1");
}

#[test]
fn an_agent_is_told_once_to_uninstall_itself() {
    let mut rig = Rig::new();
    let ask = |rig: &mut Rig, wish: Value| rig.operator("connector-uninstall", json!({ "name": "a", "wish": wish }));
    let start = |purge: bool| json!({ "start": { "purge": purge } });
    let id = rig.enrolled("a", json!({ "name": "a" }));
    assert_eq!(ask(&mut rig, start(false)).unwrap().get("job"), None, "it is not connected");
    rig.connects("a", 1, &id);
    // Its worker answers after it has taken note of the connection.
    rig.job("a", "get", json!({}));
    while rig.status(&id) != "current" {}
    let job = ask(&mut rig, start(true)).unwrap()["job"].clone();
    let notice = rig.delivered("$aws/things/a/jobs/notify-next");
    assert_eq!(notice["execution"]["jobId"], job);
    assert_eq!(notice["execution"]["jobDocument"], json!({ "operation": "uninstall", "purge": true }));
    assert_eq!(ask(&mut rig, start(true)).unwrap()["job"], job, "once");
    assert_eq!(ask(&mut rig, start(false)).unwrap_err().0, "conflict");
    // Called off before it began; then it is another job.
    assert_eq!(ask(&mut rig, json!("withdraw")).unwrap().get("job"), None);
    while rig.delivered("$aws/things/a/jobs/notify-next").get("execution").is_some() {}
    let again = ask(&mut rig, start(false)).unwrap()["job"].clone();
    assert_ne!(again, job);
    let api = format!("{}/update", again.as_str().unwrap());
    while rig.job("a", "start-next", json!({}))["execution"]["jobId"] != again {}
    let details = json!({ "status": "SUCCEEDED", "statusDetails": { "removed": "service", "kept": "components" } });
    rig.job("a", &api, details);
    let done = ask(&mut rig, json!("ask")).unwrap();
    assert_eq!((&done["status"], &done["details"]["kept"]), (&"SUCCEEDED".into(), &"components".into()));
    assert_eq!(ask(&mut rig, start(false)).unwrap()["status"], "SUCCEEDED", "it is not told again");
}

#[test]
fn a_copied_identity_is_quarantined_until_it_is_resolved() {
    let mut rig = Rig::new();
    let a = thing("a");
    let id = rig.enrolled("a", json!({ "name": "a" }));
    rig.publish_version("1");
    let report = |rig: &mut Rig, session: u64, count: u64| {
        let installation = json!({ "id": "i1", "session": count });
        let payload = json!({ "state": { "reported": { "hostname": "box", "installation": installation } } });
        let topic = "$aws/things/a/shadow/name/agent/update";
        let tag = rig.publish_from(session, Role::Connector, "a", topic, payload.to_string());
        rig.until(tag);
    };
    let life = |rig: &mut Rig| {
        rig.operator("connector-show", json!({ "name": "a" })).unwrap()["connector"]["lifecycle"].clone()
    };
    for (session, count) in [(10, 1), (11, 2), (11, 2), (10, 1)] {
        rig.connects("a", session, &id);
        report(&mut rig, session, count);
    }
    assert_eq!(life(&mut rig)["state"], "active");
    assert_eq!(rig.operator("connector-resolve", json!({ "name": "a" })).unwrap_err().0, "conflict");
    rig.operator("upgrade", json!({ "component": "web", "version": "1", "to": "all" })).unwrap();
    rig.offered("upgrade-1");
    // The copy counts on from where it was taken.
    rig.connects("a", 12, &id);
    report(&mut rig, 12, 2);
    let refused = rig.job("a", "start-next", json!({ "clientToken": "t" }));
    assert_eq!((&refused["code"], &refused["clientToken"]), (&"RequestThrottled".into(), &"t".into()));
    assert!(refused["message"].as_str().unwrap().contains("a is quarantined"), "{refused}");
    let quarantined = life(&mut rig);
    assert_eq!(quarantined["state"], "quarantined");
    assert!(quarantined["why"].as_str().unwrap().contains("its session 2 was begun twice"), "{quarantined}");
    assert_eq!(rig.admits(&a, &id), Ok(()), "it is heard");
    rig.stop();
    rig.start();
    assert_eq!(life(&mut rig), quarantined);
    rig.publish_version("2");
    let started = rig.operator("upgrade", json!({ "component": "web", "version": "2", "to": "all" })).unwrap();
    assert_eq!(started["matched"], json!([]));

    // There is one place only, says the operator, and is wrong.
    let kept = rig.operator("connector-resolve", json!({ "name": "a", "keep_current": true })).unwrap();
    assert_eq!(kept["lifecycle"]["state"], "active");
    // At work again, it gets what the fleet wants by now.
    rig.offered("upgrade-2");
    assert_eq!(rig.job("a", "start-next", json!({}))["execution"]["jobId"], "upgrade-2");
    for (session, count, expected) in [(20, 3, "active"), (21, 4, "active"), (22, 4, "quarantined")] {
        rig.connects("a", session, &id);
        report(&mut rig, session, count);
        assert_eq!(life(&mut rig)["state"], expected, "{session}");
    }
    // So both places are shut out, and one enrols again.
    let resolved = rig.operator("connector-resolve", json!({ "name": "a" })).unwrap();
    assert_eq!(resolved["certificates_revoked"], 1);
    assert!(resolved["lifecycle"]["why"].as_str().unwrap().contains("--reinstall"), "{resolved}");
    assert!(rig.admits(&a, &id).is_err());
    let second = rig.enrolled("a", json!({ "name": "a", "reinstall": true }));
    assert_eq!((rig.admits(&a, &second), rig.admits(&a, &id).is_err()), (Ok(()), true));
    rig.connects("a", 30, &second);
    report(&mut rig, 30, 1);
    assert_eq!(life(&mut rig), json!({ "state": "active" }));
}

#[test]
fn the_life_of_a_connector_is_among_what_is_found() {
    let mut rig = Rig::new();
    let finding = |rig: &mut Rig, at: usize| {
        let shown = rig.operator("connector-show", json!({ "name": "a" })).unwrap();
        let found = &shown["findings"][at];
        format!("{} {} -> {}", found["about"], found["what"], found["next"]).replace('"', "")
    };
    #[track_caller]
    fn says(found: &str, words: &[&str]) {
        for word in words {
            assert!(found.contains(word), "{found} does not say {word:?}");
        }
    }
    rig.operator("connector-add", json!({ "name": "a" })).unwrap();
    says(&finding(&mut rig, 0), &["link it has not enrolled yet", "that admin made works until", "run that script"]);
    rig.clock.set(Timestamp::from_seconds(START + 3600));
    says(&finding(&mut rig, 0), &["works no more since", "`muster connector add a --renew`"]);
    let certificate = rig.enrolled("a", json!({ "name": "a", "renew": true }));
    says(&finding(&mut rig, 0), &["link it enrolled at", "never connected"]);
    rig.operator("connector-disable", json!({ "name": "a", "reason": "moves" })).unwrap();
    says(&finding(&mut rig, 0), &["life it has been disabled since", "by admin: moves", "`muster connector enable a`"]);
    rig.operator("connector-enable", json!({ "name": "a" })).unwrap();
    rig.operator("cert-revoke", json!({ "id": certificate, "reason": "stolen" })).unwrap();
    says(&finding(&mut rig, 0), &["certificate its certificate was revoked by admin", "(stolen)", "add a --renew`"]);
    rig.operator("connector-remove", json!({ "name": "a" })).unwrap();
    says(&finding(&mut rig, 0), &["life it has been removed since", "`muster connector add a --reinstall`"]);
    says(&finding(&mut rig, 1), &["null"]);
}
