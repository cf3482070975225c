//! Who may come in: every connector's standing and every known certificate, in memory, for the door.
//!
//! ```text
//!  fleet's worker ── after each commit ──▶ table ◀── asked on every connection and HTTP request ── door
//! ```
//!
//! | who | is let in with |
//! |---|---|
//! | a connector that enrolled | a certificate of its own that is pending or current |
//! | a connector that is registered and has not enrolled | any certificate of its name that was not revoked |
//! | a connector that is disabled or removed | nothing |
//! | whoever signs with an access key | one that was not revoked; that of a connector as long as it is not disabled or removed |
//! | a name that is not registered (a device SDK's), an operator, an observer | any certificate that was not revoked |
//! | a claim | a certificate that this server issued for it and that was not revoked |
//! | a device that provisions itself | nothing, before it is registered; then it is the connector that it became |
//!
//! Until the records are loaded nobody is let in. Asking never waits for the disk or for a worker: the lock is held for
//! a look-up or an insertion only.

use crate::records::{AccessKey, Attachment, Certificate, CertificateState, Connector, Lifecycle};
use muster_certs::{Identity, Role};
use muster_wire::admin::KeyPolicy;
use muster_wire::id::{AccessKeyId, Sha256Hex, ThingName};
use muster_wire::policy::{DEFAULT, Grants, Policy, PolicyName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Why somebody is not let in; for the log of the server, not for the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// The records are not loaded yet.
    #[error("the server is still starting")]
    Starting,
    /// The connector was removed.
    #[error("the connector was removed from the fleet")]
    Removed,
    /// The connector is disabled.
    #[error("the connector is disabled; `muster connector enable` lets it in again")]
    Disabled,
    /// The certificate was revoked.
    #[error("the certificate was revoked ({reason})")]
    Revoked {
        /// Why.
        reason: String,
    },
    /// The connector uses a newer certificate.
    #[error("the certificate was replaced by a newer one")]
    Replaced,
    /// No access key has this id.
    #[error("there is no such access key")]
    NoKey,
    /// The access key was taken back.
    #[error("the access key was revoked")]
    KeyRevoked,
    /// The device has a certificate and is no connector yet.
    #[error("the certificate waits for its device to be registered")]
    NotRegistered,
    /// The connector enrolled, but not for this certificate.
    #[error("the certificate is none that this connector got when it enrolled or renewed")]
    Unknown,
    /// No claim was made with this certificate.
    #[error("the certificate is of no claim that this server made")]
    UnknownClaim,
}

/// The table. Written by the fleet's worker alone.
#[derive(Debug, Default)]
pub struct Admission {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    is_loaded: bool,
    connectors: HashMap<ThingName, Standing>,
    certificates: HashMap<Sha256Hex, Arc<Certificate>>,
    /// Of each identity.
    ids: HashMap<Identity, BTreeSet<Sha256Hex>>,
    policies: HashMap<PolicyName, Arc<Policy>>,
    /// Of the connectors that have others than the default policy alone.
    grants: HashMap<ThingName, Arc<Grants>>,
    keys: BTreeMap<AccessKeyId, Arc<AccessKey>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Registered,
    Enrolled,
    Disabled,
    Removed,
}

impl Admission {
    /// A table that lets nobody in until it is loaded.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Whether `identity` is let in with the certificate of this id (lower-case hexadecimal SHA-256).
    ///
    /// Errors: [`Denied`].
    pub fn admits(&self, identity: &Identity, certificate: &str) -> Result<(), Denied> {
        let table = self.read();
        if !table.is_loaded {
            return Err(Denied::Starting);
        }
        let known = Sha256Hex::new(certificate).ok().and_then(|id| table.certificates.get(&id));
        match known.map(|certificate| &certificate.state) {
            Some(CertificateState::Revoked { reason, .. }) => return Err(Denied::Revoked { reason: reason.clone() }),
            Some(CertificateState::Replaced { .. }) => return Err(Denied::Replaced),
            Some(CertificateState::Awaiting { .. } | CertificateState::Registering) => {
                return Err(Denied::NotRegistered);
            }
            Some(CertificateState::Pending | CertificateState::Current) | None => {}
        }
        let is_its_own = known.is_some_and(|known| known.identity.as_ref() == Some(identity));
        match identity.role() {
            Role::Connector => {}
            Role::Operator | Role::Observer | Role::Service => return Ok(()),
            Role::Claim => return if is_its_own { Ok(()) } else { Err(Denied::UnknownClaim) },
            Role::Provisioned => return Err(Denied::NotRegistered),
        }
        let standing = ThingName::new(identity.name()).ok().and_then(|name| table.connectors.get(&name).copied());
        match standing {
            None | Some(Standing::Registered) => Ok(()),
            Some(Standing::Removed) => Err(Denied::Removed),
            Some(Standing::Disabled) => Err(Denied::Disabled),
            Some(Standing::Enrolled) if is_its_own => Ok(()),
            Some(Standing::Enrolled) => Err(Denied::Unknown),
        }
    }

    /// What was granted to a connector by name; `None` when it has the default policy alone.
    pub fn grants(&self, identity: &Identity) -> Option<Arc<Grants>> {
        let table = self.read();
        if identity.role() != Role::Connector || table.grants.is_empty() {
            return None;
        }
        table.grants.get(&ThingName::new(identity.name()).ok()?).cloned()
    }

    /// A policy was stored. Who has it is told of it by [`Admission::attach`].
    pub(crate) fn policy(&self, name: PolicyName, policy: Policy) {
        self.write().policies.insert(name, Arc::new(policy));
    }

    /// A policy that nobody has was deleted.
    pub(crate) fn forget_policy(&self, name: &PolicyName) {
        self.write().policies.remove(name);
    }

    /// The policies of a connector, or the policies themselves, or its pool or site, are others now.
    pub(crate) fn attach(&self, attachment: &Attachment, connector: Option<&Connector>) {
        let mut table = self.write();
        let is_default = |name: &PolicyName| name.as_str() == DEFAULT;
        let includes_default = attachment.policies.iter().any(is_default);
        if includes_default && attachment.policies.len() == 1 {
            table.grants.remove(&attachment.thing);
            return;
        }
        let named = attachment.policies.iter().filter(|name| !is_default(name));
        let policies = named.filter_map(|name| table.policies.get(name).cloned()).collect();
        let attributes = [
            ("pool", connector.and_then(|connector| connector.pool.as_ref()).map(ToString::to_string)),
            ("site", connector.and_then(|connector| connector.site.as_ref()).map(ToString::to_string)),
        ];
        let attributes = attributes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let grants = Grants { includes_default, policies, attributes };
        table.grants.insert(attachment.thing.clone(), Arc::new(grants));
    }

    /// The access key of this id, when its holder is let in.
    ///
    /// Errors: [`Denied`].
    pub fn admits_key(&self, id: &AccessKeyId) -> Result<Arc<AccessKey>, Denied> {
        let table = self.read();
        if !table.is_loaded {
            return Err(Denied::Starting);
        }
        let key = table.keys.get(id).ok_or(Denied::NoKey)?;
        if key.revoked.is_some() {
            return Err(Denied::KeyRevoked);
        }
        if let KeyPolicy::Connector(thing) = &key.policy {
            match table.connectors.get(thing) {
                Some(Standing::Removed) => return Err(Denied::Removed),
                Some(Standing::Disabled) => return Err(Denied::Disabled),
                None | Some(Standing::Registered | Standing::Enrolled) => {}
            }
        }
        Ok(key.clone())
    }

    /// Takes in the access keys that the store holds, before it is asked for the first time.
    pub(crate) fn load_keys(&self, keys: impl IntoIterator<Item = AccessKey>) {
        self.write().keys = keys.into_iter().map(|key| (key.id.clone(), Arc::new(key))).collect();
    }

    /// An access key's record was written.
    pub(crate) fn key(&self, key: AccessKey) {
        self.write().keys.insert(key.id.clone(), Arc::new(key));
    }

    /// An access key's record was deleted.
    pub(crate) fn forget_key(&self, id: &AccessKeyId) {
        self.write().keys.remove(id);
    }

    /// Every access key, in the order of their ids.
    pub(crate) fn keys(&self) -> Vec<Arc<AccessKey>> {
        self.read().keys.values().cloned().collect()
    }

    /// Whom a certificate speaks for: what it says itself, unless it was issued before its device was registered.
    pub fn speaks_for(&self, identity: Identity, certificate: &str) -> Identity {
        if identity.role() != Role::Provisioned {
            return identity;
        }
        let known = Sha256Hex::new(certificate).ok().and_then(|id| self.get(&id));
        let connector = known.and_then(|known| known.identity.clone());
        connector.filter(|known| known.role() == Role::Connector).unwrap_or(identity)
    }

    /// Takes in everything that the store holds; from now on the table answers.
    pub(crate) fn load<'a>(
        &self,
        connectors: impl Iterator<Item = &'a Connector>,
        certificates: impl IntoIterator<Item = Certificate>,
    ) {
        let mut table = self.write();
        connectors.for_each(|connector| table.connector(connector));
        certificates.into_iter().for_each(|certificate| table.certificate(certificate));
        table.is_loaded = true;
    }

    /// A connector's record was written.
    pub(crate) fn connector(&self, connector: &Connector) {
        self.write().connector(connector);
    }

    /// A certificate's record was written.
    pub(crate) fn certificate(&self, certificate: Certificate) {
        self.write().certificate(certificate);
    }

    /// A certificate's record was deleted.
    pub(crate) fn forget(&self, id: &Sha256Hex) {
        let mut table = self.write();
        let identity = table.certificates.remove(id).and_then(|certificate| certificate.identity.clone());
        if let Some(identity) = identity
            && let Some(ids) = table.ids.get_mut(&identity)
        {
            ids.remove(id);
        }
    }

    /// What is known of a certificate.
    pub(crate) fn get(&self, id: &Sha256Hex) -> Option<Arc<Certificate>> {
        self.read().certificates.get(id).cloned()
    }

    /// The certificates of an identity, oldest first.
    pub(crate) fn of(&self, identity: &Identity) -> Vec<Arc<Certificate>> {
        let table = self.read();
        let ids = table.ids.get(identity).into_iter().flatten();
        let mut certificates: Vec<_> = ids.filter_map(|id| table.certificates.get(id).cloned()).collect();
        certificates.sort_by_key(|certificate| certificate.issued_at);
        certificates
    }

    /// Every certificate, in the order of their ids.
    pub(crate) fn all(&self) -> Vec<Arc<Certificate>> {
        let mut certificates: Vec<_> = self.read().certificates.values().cloned().collect();
        certificates.sort_by(|one, other| one.id.cmp(&other.id));
        certificates
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn connector(&mut self, connector: &Connector) {
        let standing = match (&connector.lifecycle, &connector.enrolled) {
            (Lifecycle::Removed { .. }, _) => Standing::Removed,
            (Lifecycle::Disabled { .. }, _) => Standing::Disabled,
            (Lifecycle::Active, Some(_)) => Standing::Enrolled,
            (Lifecycle::Active, None) => Standing::Registered,
        };
        self.connectors.insert(connector.name.clone(), standing);
    }

    fn certificate(&mut self, certificate: Certificate) {
        if let Some(identity) = &certificate.identity {
            self.ids.entry(identity.clone()).or_default().insert(certificate.id.clone());
        }
        self.certificates.insert(certificate.id.clone(), Arc::new(certificate));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::records::Enrolled;
    use muster_certs::Fleet;
    use muster_wire::enrol::HostFacts;
    use muster_wire::id::PersonName;
    use muster_wire::time::Timestamp;

    fn identity(role: Role, name: &str) -> Identity {
        Identity::new(Fleet::new("test").unwrap(), role, name).unwrap()
    }

    fn id(byte: u8) -> Sha256Hex {
        Sha256Hex::from_bytes(&[byte; 32])
    }

    fn at() -> Timestamp {
        Timestamp::from_seconds(1)
    }

    fn admin() -> PersonName {
        PersonName::new("admin").unwrap()
    }

    fn connector(name: &str, lifecycle: Lifecycle, is_enrolled: bool) -> Connector {
        let certificate_id = id(1).to_string();
        let enrolled = Enrolled { at: at(), certificate_id, host: HostFacts::default() };
        Connector {
            lifecycle,
            enrolled: is_enrolled.then_some(enrolled),
            ..Connector::new(ThingName::new(name).unwrap(), admin(), at())
        }
    }

    fn certificate(byte: u8, identity: Identity, state: CertificateState) -> Certificate {
        Certificate {
            id: id(byte),
            identity: Some(identity),
            issued_at: Some(at()),
            not_after: None,
            state,
            issuer: None,
            key: None,
        }
    }

    #[test]
    fn who_is_let_in_follows_the_table() {
        let thing = |name| identity(Role::Connector, name);
        let revoked = || CertificateState::Revoked { at: at(), by: admin(), reason: "lost".into() };
        let admission = Admission::new();
        assert_eq!(admission.admits(&thing("sdk"), id(0).as_str()), Err(Denied::Starting));
        let connectors = [
            connector("in", Lifecycle::Active, true),
            connector("new", Lifecycle::Active, false),
            connector("off", Lifecycle::Disabled { at: at(), by: admin(), reason: None }, true),
            connector("gone", Lifecycle::Removed { at: at(), by: admin() }, true),
        ];
        let certificates = [
            certificate(1, thing("in"), CertificateState::Current),
            certificate(2, thing("in"), CertificateState::Pending),
            certificate(3, thing("in"), CertificateState::Replaced { at: at() }),
            certificate(4, thing("in"), revoked()),
            certificate(5, thing("off"), CertificateState::Current),
            certificate(6, thing("gone"), CertificateState::Current),
            certificate(7, identity(Role::Operator, "ann"), revoked()),
            certificate(8, thing("sdk"), revoked()),
            certificate(9, thing("new"), revoked()),
            certificate(10, identity(Role::Claim, "cams:a"), CertificateState::Pending),
            certificate(11, identity(Role::Claim, "cams:b"), revoked()),
            certificate(12, thing("cam"), CertificateState::Pending),
            Certificate { identity: None, ..certificate(13, thing("x"), CertificateState::Awaiting { until: at() }) },
            Certificate { identity: None, ..certificate(14, thing("x"), CertificateState::Registering) },
        ];
        admission.load(connectors.iter(), certificates);
        let why = |denied: Denied| Err(denied);
        let lost = || why(Denied::Revoked { reason: "lost".into() });
        for (who, byte, expected) in [
            (thing("in"), 1, Ok(())),
            (thing("in"), 2, Ok(())),
            (thing("in"), 3, why(Denied::Replaced)),
            (thing("in"), 4, lost()),
            // Signed by the same authority, but for somebody else or by hand.
            (thing("in"), 5, why(Denied::Unknown)),
            (thing("in"), 99, why(Denied::Unknown)),
            (thing("off"), 5, why(Denied::Disabled)),
            (thing("gone"), 6, why(Denied::Removed)),
            (thing("gone"), 99, why(Denied::Removed)),
            (thing("new"), 99, Ok(())),
            (thing("new"), 9, lost()),
            (thing("sdk"), 99, Ok(())),
            (thing("sdk"), 8, lost()),
            (identity(Role::Operator, "ann"), 7, lost()),
            (identity(Role::Operator, "ann"), 99, Ok(())),
            (identity(Role::Observer, "gone"), 99, Ok(())),
            (identity(Role::Claim, "cams:a"), 10, Ok(())),
            (identity(Role::Claim, "cams:b"), 10, why(Denied::UnknownClaim)),
            (identity(Role::Claim, "cams:a"), 99, why(Denied::UnknownClaim)),
            (identity(Role::Claim, "cams:b"), 11, lost()),
            (admission.speaks_for(identity(Role::Provisioned, "p"), id(12).as_str()), 12, Ok(())),
            (identity(Role::Provisioned, "p"), 12, why(Denied::NotRegistered)),
            (identity(Role::Provisioned, "p"), 13, why(Denied::NotRegistered)),
            (identity(Role::Provisioned, "p"), 14, why(Denied::NotRegistered)),
            (identity(Role::Provisioned, "p"), 99, why(Denied::NotRegistered)),
        ] {
            assert_eq!(admission.admits(&who, id(byte).as_str()), expected, "{who} with {byte}");
        }
        let key = |name: &str, policy: &str, revoked: bool| AccessKey {
            id: AccessKeyId::new(name).unwrap(),
            policy: policy.parse().unwrap(),
            description: None,
            created_at: at(),
            created_by: admin(),
            revoked: revoked.then(|| crate::records::KeyRevoked { at: at(), by: admin() }),
        };
        admission.load_keys([key("A", "operator", false), key("B", "operator", true)]);
        for (name, policy) in
            [("C", "connector:off"), ("D", "connector:gone"), ("E", "connector:sdk"), ("F", "connector:in")]
        {
            admission.key(key(name, policy, false));
        }
        for (name, expected) in [
            ("A", Ok(())),
            ("B", Err(Denied::KeyRevoked)),
            ("C", Err(Denied::Disabled)),
            ("D", Err(Denied::Removed)),
            ("E", Ok(())),
            ("F", Ok(())),
            ("G", Err(Denied::NoKey)),
        ] {
            assert_eq!(admission.admits_key(&AccessKeyId::new(name).unwrap()).map(drop), expected, "{name}");
        }
        let device = || identity(Role::Provisioned, "p");
        assert_eq!(admission.speaks_for(device(), id(12).as_str()), thing("cam"));
        for byte in [10, 13, 14, 99] {
            assert_eq!(admission.speaks_for(device(), id(byte).as_str()), device(), "{byte}");
        }
        assert_eq!(admission.speaks_for(thing("in"), id(12).as_str()), thing("in"), "its own word counts");
        admission.forget(&id(8));
        assert_eq!(admission.admits(&thing("sdk"), id(8).as_str()), Ok(()));
        assert_eq!(admission.of(&thing("in")).len(), 4);
    }
}
