//! The identity that will be: a new key beside the one in use, then its certificate, until a connection has proven it.
//!
//! ```text
//! state/identity.next/key.pem                     a key was made; its request may be on its way
//! state/identity.next/{key,ca,cert}.pem …         complete: to be proven
//! state/identity.new/…                            proven: takes the place of state/identity
//! ```
//! The identity in use is not touched before the last step, which is two renames; [`super::Identity::load`] finishes
//! them after a crash. So at any moment the host has an identity that the server takes.

use super::{CA, CERTIFICATE, Identity, KEY, PUBLISHER, Texts, beside, complete_swap, waiting};
use crate::hands::files;
use crate::places::Prefix;
use crate::platform;
use muster_certs::{csr, csr_for, store};
use muster_runtime::failure::Failure;
use muster_runtime::faults;
use std::fs;
use std::path::PathBuf;

/// The folder of the identity that will be.
pub struct Next {
    prefix: Prefix,
    folder: PathBuf,
}

impl Next {
    /// The one of this prefix, whether there is anything in it or not.
    pub fn of(prefix: &Prefix) -> Self {
        Self { prefix: prefix.clone(), folder: beside(&prefix.identity(), "next") }
    }

    /// A request for a certificate: over the key that is there already, because the answer to an earlier one may have
    /// been lost, or over a new one.
    pub fn request(&self, name: &str) -> Result<String, Failure> {
        let failed =
            |error: std::io::Error| Failure::local_because(format!("cannot write {}", self.folder.display()), error);
        let path = self.folder.join(KEY);
        if let Ok(key) = store::read_pem(&path)
            && let Ok(request) = csr_for(name, &key)
        {
            return Ok(request);
        }
        platform::create_private_folder(&self.folder).map_err(failed)?;
        let (request, key) = csr(name).map_err(|error| Failure::local_because("cannot make a new key", error))?;
        store::write_secret(&path, key.as_bytes())
            .map_err(|error| Failure::local_because("the new key was not written", error))?;
        faults::point("renew.key_made");
        Ok(request)
    }

    /// Keeps the certificate for the key that is there, if the two belong together and to this host.
    pub fn complete(&self, old: &Identity, certificate: &str, ca: &str, publisher: &str) -> Result<Identity, Failure> {
        let key = store::read_pem(&self.folder.join(KEY))
            .map_err(|error| Failure::local_because("the new key cannot be read", error))?;
        let new = Identity::check(&Texts { key: &key, certificate, ca, publisher })?;
        if new.name != old.name || new.fleet != old.fleet {
            return Err(Failure::Outcome(format!(
                "the new certificate is for {} of fleet {}; it is not used",
                new.name, new.fleet
            )));
        }
        // The certificate comes last: it says that the rest is there.
        for (name, text) in [(CA, ca), (PUBLISHER, publisher), (CERTIFICATE, certificate)] {
            store::write_public(&self.folder.join(name), text.as_bytes())
                .map_err(|error| Failure::local_because("the new certificate was not written", error))?;
        }
        faults::point("renew.certificate_stored");
        Ok(new)
    }

    /// The identity that is there to be proven.
    pub fn load(&self) -> Option<Identity> {
        let read = |name: &str| store::read_pem(&self.folder.join(name)).ok();
        let certificate = read(CERTIFICATE)?;
        let publisher = fs::read_to_string(self.folder.join(PUBLISHER)).ok()?;
        let texts = Texts { key: &read(KEY)?, certificate: &certificate, ca: &read(CA)?, publisher: &publisher };
        Identity::check(&texts).ok()
    }

    /// It is proven: it takes the place of the one before.
    pub fn take_over(&self) -> Result<Identity, Failure> {
        faults::point("renew.proven");
        let new = waiting(&self.prefix);
        let moved = files::remove_tree(&new)
            .and_then(|()| fs::rename(&self.folder, &new))
            .and_then(|()| platform::sync_parent(&new));
        moved.map_err(|error| {
            Failure::local_because(format!("cannot put the new identity to {}", new.display()), error)
        })?;
        faults::point("renew.before_swap");
        complete_swap(&self.prefix)?;
        faults::point("renew.swapped");
        Identity::load(&self.prefix)
    }

    /// Throws it away; the next request begins with a new key.
    pub fn discard(&self) -> Result<(), Failure> {
        files::remove_tree(&self.folder)
            .map_err(|error| Failure::local_because(format!("cannot remove {}", self.folder.display()), error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::{PublisherKey, Role, Throwaway};
    use std::time::Duration;

    #[test]
    fn a_new_identity_takes_over_whole_and_the_key_is_kept_until_then() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(folder.path()).unwrap();
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let publisher = PublisherKey::generate().unwrap().public_key().to_string();
        let (certificate, key) = fleet.issue(Role::Connector, "one").unwrap();
        let texts = Texts { key: &key, certificate: &certificate, ca: fleet.ca_pem(), publisher: &publisher };
        super::super::write(&prefix, &texts).unwrap();
        let old = Identity::load(&prefix).unwrap();

        let next = Next::of(&prefix);
        assert!(next.load().is_none());
        let request = next.request("one").unwrap();
        let key_of =
            |request: &str| muster_certs::request::VerifiedRequest::from_pem(request).unwrap().key_id().to_owned();
        // Asked again, it is the same key; thrown away, it is another.
        assert_eq!(key_of(&request), key_of(&next.request("one").unwrap()));
        next.discard().unwrap();
        let request = next.request("one").unwrap();

        let issue = |name: &str, request: &str| {
            let identity = fleet.identity(Role::Connector, name).unwrap();
            fleet.authority.issue_from_csr(request, &identity, Duration::from_secs(3600), 1_800_000_000).unwrap()
        };
        let (other, _) = fleet.issue(Role::Connector, "one").unwrap();
        assert!(next.complete(&old, &other, fleet.ca_pem(), &publisher).is_err(), "another key");
        let new = next.complete(&old, &issue("one", &request), fleet.ca_pem(), &publisher).unwrap();
        assert_eq!(next.load().unwrap().certificate, new.certificate);
        // Until it is proven, the old one is in its place.
        assert_eq!(Identity::load(&prefix).unwrap().certificate, old.certificate);
        assert_eq!(next.take_over().unwrap().certificate, new.certificate);
        assert!(next.load().is_none());
        assert_eq!(Identity::load(&prefix).unwrap().certificate, new.certificate);
    }
}
