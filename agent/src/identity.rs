//! The identity of this host on its disk: key, certificate, the CA, and whose packages are installed.
//!
//! A new identity is completed in a folder beside the old one and then takes its place, so at any moment one whole
//! identity is there.

pub mod next;

use crate::hands::files;
use crate::places::Prefix;
use crate::platform;
use crate::typed;
use muster_certs::certificate_id;
use muster_certs::{
    CertificateFacts, Fleet, Identity as Name, PublisherPublicKey, Role, certificate, client_config, possession, store,
};
use muster_runtime::failure::Failure;
use muster_runtime::faults;
use muster_wire::id::{Sha256Hex, ThingName};
use std::fs;
use std::path::{Path, PathBuf};

/// What the agent is known by.
pub struct Identity {
    /// The connector's name, from the certificate.
    pub name: ThingName,
    /// The fleet that vouches for it.
    pub fleet: Fleet,
    /// How long the certificate is good.
    pub certificate: CertificateFacts,
    /// Whose packages are installed.
    pub publisher: PublisherPublicKey,
    ca_pem: String,
    /// What the settings say instead.
    pinned_ca: Option<String>,
    certificate_pem: String,
    key_pem: String,
}

/// The texts of an identity.
pub struct Texts<'a> {
    /// Private key.
    pub key: &'a str,
    /// Certificate.
    pub certificate: &'a str,
    /// CA.
    pub ca: &'a str,
    /// The publisher's key.
    pub publisher: &'a str,
}

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "cert.pem";
const CA: &str = "ca.pem";
const PUBLISHER: &str = "publisher.pub";

impl Identity {
    /// Whether this host is enrolled.
    pub fn exists(prefix: &Prefix) -> bool {
        prefix.identity().join(CERTIFICATE).exists() || waiting(prefix).join(CERTIFICATE).exists()
    }

    /// That this host is not enrolled.
    pub fn missing(prefix: &Prefix) -> Failure {
        let root = prefix.root().display();
        Failure::local(format!(
            "{root} is not enrolled; run the script of `muster connector add`, or `{}`",
            typed::command(prefix, "enrol")
        ))
    }

    /// Reads and checks the identity.
    pub fn load(prefix: &Prefix) -> Result<Self, Failure> {
        if !Self::exists(prefix) {
            return Err(Self::missing(prefix));
        }
        complete_swap(prefix)?;
        Self::look(prefix)
    }

    /// Reads and checks the identity that is in its place, and leaves an exchange that is under way to whoever does it.
    pub fn look(prefix: &Prefix) -> Result<Self, Failure> {
        let folder = prefix.identity();
        let pem = |name: &str| {
            store::read_pem(&folder.join(name))
                .map_err(|error| Failure::local_because("the identity cannot be used", error))
        };
        let publisher = folder.join(PUBLISHER);
        let publisher = fs::read_to_string(&publisher)
            .map_err(|error| Failure::local_because(format!("cannot read {}", publisher.display()), error))?;
        Self::check(&Texts { key: &pem(KEY)?, certificate: &pem(CERTIFICATE)?, ca: &pem(CA)?, publisher: &publisher })
    }

    /// Checks that the texts belong together.
    pub fn check(texts: &Texts<'_>) -> Result<Self, Failure> {
        fn unusable(error: impl Into<muster_runtime::failure::Cause>) -> Failure {
            Failure::local_because("the identity cannot be used; enrol again with --force", error)
        }
        let authority = certificate::first_from_pem(texts.ca).map_err(unusable)?;
        let fleet = Fleet::from_certificate(&authority).map_err(unusable)?;
        let own = certificate::first_from_pem(texts.certificate).map_err(unusable)?;
        let name = Name::from_certificate(&own, &fleet).map_err(unusable)?;
        if name.role() != Role::Connector {
            return Err(unusable(format!("the certificate is for an {}, not for a connector", name.role().as_str())));
        }
        let identity = Self {
            name: ThingName::new(name.name()).map_err(unusable)?,
            fleet,
            certificate: CertificateFacts::from_der(&own).map_err(unusable)?,
            publisher: texts.publisher.trim().parse().map_err(unusable)?,
            ca_pem: texts.ca.to_owned(),
            pinned_ca: None,
            certificate_pem: texts.certificate.to_owned(),
            key_pem: texts.key.to_owned(),
        };
        // This also finds a key that belongs to another certificate.
        identity.tls(&[])?;
        Ok(identity)
    }

    /// The CA that the server is known by.
    pub fn ca_pem(&self) -> &str {
        self.pinned_ca.as_ref().unwrap_or(&self.ca_pem)
    }

    /// The same, but the settings say by which CA the server is known, whatever the server says.
    pub fn trusting_only(self, ca_pem: String) -> Self {
        Self { pinned_ca: Some(ca_pem), ..self }
    }

    /// The same, but the CA is pinned if and as it is in `other`.
    pub fn pinned_as(self, other: &Self) -> Self {
        Self { pinned_ca: other.pinned_ca.clone(), ..self }
    }

    /// Whether the settings name the CA.
    pub fn is_pinned(&self) -> bool {
        self.pinned_ca.is_some()
    }

    /// How TLS is spoken with the server.
    pub fn tls(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, Failure> {
        let config = client_config(self.ca_pem(), Some((&self.certificate_pem, &self.key_pem)), alpn);
        config.map_err(|error| Failure::local_because("the identity cannot be used for TLS", error))
    }

    /// How TLS is spoken with the server by somebody whom it need not know.
    pub fn anonymous_tls(&self, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, Failure> {
        let config = client_config(self.ca_pem(), None, alpn);
        config.map_err(|error| Failure::local_because("the CA certificate cannot be used for TLS", error))
    }

    /// Its certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Signs a statement with its key.
    pub fn sign(&self, statement: &str) -> Result<String, Failure> {
        possession::sign(&self.key_pem, statement)
            .map_err(|error| Failure::local_because("the key of this host cannot sign", error))
    }

    /// The authorities that are trusted here.
    pub fn roots(&self) -> Result<Vec<Sha256Hex>, Failure> {
        roots(self.ca_pem())
    }
}

/// The file with the authorities that the server names, whatever the settings say.
pub fn told_authorities(prefix: &Prefix) -> PathBuf {
    prefix.identity().join(CA)
}

/// The ids of the authorities in a PEM text.
pub fn roots(ca_pem: &str) -> Result<Vec<Sha256Hex>, Failure> {
    let unreadable = |error| Failure::local_because("the CA certificates are not readable", error);
    let chain = certificate::chain_from_pem(ca_pem).map_err(unreadable)?;
    chain
        .iter()
        .map(|der| Sha256Hex::new(certificate_id(der)))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::local_because("the CA certificates have no usable id", error))
}

/// Trusts these authorities from now on: the same identity, another list.
pub fn trust(prefix: &Prefix, identity: &Identity, ca_pem: &str) -> Result<Identity, Failure> {
    let publisher = identity.publisher.to_string();
    let texts =
        Texts { key: &identity.key_pem, certificate: &identity.certificate_pem, ca: ca_pem, publisher: &publisher };
    let trusting = Identity::check(&texts)?;
    // One file, replaced whole.
    store::write_public(&prefix.identity().join(CA), ca_pem.as_bytes())
        .map_err(|error| Failure::local_because("the CA certificates were not written", error))?;
    faults::point("trust.stored");
    Ok(trusting.pinned_as(identity))
}

/// Writes a new identity in place of the old one, if there is one.
pub fn write(prefix: &Prefix, texts: &Texts<'_>) -> Result<(), Failure> {
    let folder = waiting(prefix);
    let failed = |error: std::io::Error| Failure::local_because(format!("cannot write {}", folder.display()), error);
    platform::create_private_folder(&prefix.state()).map_err(failed)?;
    files::remove_tree(&folder).map_err(failed)?;
    platform::create_private_folder(&folder).map_err(failed)?;
    // The certificate comes last: it says that the rest is there.
    for (name, text, is_secret) in [
        (KEY, texts.key, true),
        (CA, texts.ca, false),
        (PUBLISHER, texts.publisher, false),
        (CERTIFICATE, texts.certificate, false),
    ] {
        let path = folder.join(name);
        let write = if is_secret { store::write_secret } else { store::write_public };
        write(&path, text.as_bytes()).map_err(|error| Failure::local_because("the identity was not written", error))?;
    }
    complete_swap(prefix)
}

/// Puts a complete new identity in its place; also after a crash half-way.
fn complete_swap(prefix: &Prefix) -> Result<(), Failure> {
    let (new, place) = (waiting(prefix), prefix.identity());
    if !new.join(CERTIFICATE).exists() {
        return Ok(());
    }
    let old = beside(&place, "old");
    let swap = || {
        files::remove_tree(&old)?;
        if place.exists() {
            fs::rename(&place, &old)?;
        }
        fs::rename(&new, &place)?;
        platform::sync_parent(&place)?;
        files::remove_tree(&old)
    };
    swap().map_err(|error| Failure::local_because(format!("cannot put the new identity to {}", place.display()), error))
}

fn waiting(prefix: &Prefix) -> PathBuf {
    beside(&prefix.identity(), "new")
}

fn beside(place: &Path, extension: &str) -> PathBuf {
    place.with_extension(extension)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::{PublisherKey, Throwaway};

    #[test]
    fn an_identity_is_replaced_whole_also_after_a_crash_between_the_renames() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = Prefix::new(folder.path()).unwrap();
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let publisher = PublisherKey::generate().unwrap().public_key().to_string();
        let write_new = |name: &str| {
            let (certificate, key) = fleet.issue(Role::Connector, name).unwrap();
            write(&prefix, &Texts { key: &key, certificate: &certificate, ca: fleet.ca_pem(), publisher: &publisher })
        };
        assert!(Identity::load(&prefix).is_err());
        write_new("one").unwrap();
        assert_eq!(Identity::load(&prefix).unwrap().name.as_str(), "one");
        write_new("two").unwrap();
        assert_eq!(Identity::load(&prefix).unwrap().name.as_str(), "two");
        // As a crash leaves it: complete, but not in its place; the old one moved away.
        fs::rename(prefix.identity(), waiting(&prefix)).unwrap();
        assert!(Identity::exists(&prefix));
        assert_eq!(Identity::load(&prefix).unwrap().name.as_str(), "two");
        assert_eq!(fs::read_dir(prefix.state()).unwrap().count(), 1);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let publisher = PublisherKey::generate().unwrap().public_key().to_string();
        let (certificate, key) = fleet.issue(Role::Connector, "one").unwrap();
        let (_, other_key) = fleet.issue(Role::Connector, "one").unwrap();
        let (operator, operator_key) = fleet.issue(Role::Operator, "one").unwrap();
        let stranger = Throwaway::new("other", &["localhost"]).unwrap();
        let check = |key: &str, certificate: &str, ca: &str, publisher: &str| {
            Identity::check(&Texts { key, certificate, ca, publisher }).map(drop)
        };
        check(&key, &certificate, fleet.ca_pem(), &publisher).unwrap();
        assert!(check(&other_key, &certificate, fleet.ca_pem(), &publisher).is_err());
        assert!(check(&operator_key, &operator, fleet.ca_pem(), &publisher).is_err());
        assert!(check(&key, &certificate, stranger.ca_pem(), &publisher).is_err());
        assert!(check(&key, &certificate, fleet.ca_pem(), "AAAA").is_err());
    }
}
