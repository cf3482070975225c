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
                Heard::Answer(..) => {}
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
    };
    let mut batch = batch::Batch::new(rig.store.as_ref(), rig.clock.now());
    batch.put(&key::certificate(&newer.id), &newer).unwrap();
    batch.commit(rig.bus.as_ref()).unwrap();
    rig.start();
    assert_eq!((rig.status(&old), rig.status(newer.id.as_str())), ("replaced".into(), "current".into()));
    assert!(rig.admits(&a, &old).is_err());
}
