//! The fleet's certificate authority: a P-256 key and a self-signed certificate, kept as two PEM texts.
//!
//! Hosts carry the root and leaves hang directly below it. Rotation replaces the root; for the time in which some hosts
//! know only the old one, the old authority vouches for the new one ([`succession`]), hence `pathlen:1`.
//! The clock is the caller's: every method takes `now` in Unix seconds.
//!
//! Invariants: a leaf never outlives its authority; nothing a request asks for reaches a certificate but its key;
//! every serial number is 128 fresh random bits.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, DnsName, PrivatePkcs8KeyDer};

use crate::certificate::{self, CertificateError};
use crate::identity::{Fleet, Identity, IdentityError};
use crate::profile;
use crate::request::{RequestError, VerifiedRequest};

pub mod succession;

/// A certificate authority that can sign.
pub struct Authority {
    fleet: Fleet,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    not_before: i64,
    not_after: i64,
}

/// Why an authority could not be made, read, or would not issue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The request was refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The stored certificate cannot be read.
    #[error("cannot read the certificate of the authority; restore it from a backup")]
    Certificate(#[from] CertificateError),
    /// The stored certificate is not an authority's.
    #[error("the certificate is not one of a fleet authority (it may not sign); use the file that `muster init` wrote")]
    NotAnAuthority,
    /// The stored certificate does not name its fleet.
    #[error("the certificate of the authority does not name its fleet; use the file that `muster init` wrote")]
    NoFleet(#[source] IdentityError),
    /// The stored key cannot be read.
    #[error(
        "cannot read the key of the authority; expected a P-256 key in a `-----BEGIN PRIVATE KEY-----` section: {reason}"
    )]
    Key {
        /// What the parser said; never key material.
        reason: String,
    },
    /// Key and certificate do not belong together.
    #[error("the key of the authority does not belong to its certificate; restore both from the same backup")]
    KeyMismatch,
    /// A host name or address for a server certificate is not one.
    #[error("{name:?} is neither a DNS name nor an IP address (without port, brackets or wildcard)")]
    ServerName {
        /// The text.
        name: String,
    },
    /// A server certificate was asked for without a name.
    #[error("a server certificate needs at least one DNS name or IP address")]
    NoServerName,
    /// The identity belongs to another fleet.
    #[error("the authority of fleet {fleet} does not issue for {identity}")]
    OtherFleet {
        /// The fleet of this authority.
        fleet: Fleet,
        /// The identity that was asked for.
        identity: Box<Identity>,
    },
    /// The lifetime is zero or reaches past what a certificate can say.
    #[error("a validity of {seconds} s from Unix time {now} cannot be put into a certificate")]
    Validity {
        /// The lifetime that was asked for.
        seconds: u64,
        /// The time that was given.
        now: i64,
    },
    /// The authority is not valid at this time.
    #[error(
        "the authority is valid from Unix time {not_before} to {not_after}, but it is {now}; check the clock, or make a new authority"
    )]
    OutsideValidity {
        /// First valid second.
        not_before: i64,
        /// Last valid second.
        not_after: i64,
        /// The time that was given.
        now: i64,
    },
    /// The random number generator failed.
    #[error("the operating system gives no random numbers")]
    Random,
    /// The cryptography library failed.
    #[error("cannot make a key or a certificate for {subject:?}")]
    Make {
        /// The subject's name.
        subject: String,
        /// What the library said.
        #[source]
        source: rcgen::Error,
    },
}

impl Authority {
    /// Makes the authority of a new fleet, valid for [`profile::AUTHORITY_LIFETIME`].
    ///
    /// Errors: `Validity`, `Random`, `Make`.
    pub fn create(fleet: &Fleet, now: i64) -> Result<Self, AuthorityError> {
        Self::create_for(fleet, profile::AUTHORITY_LIFETIME, now)
    }

    /// Makes the authority of a new fleet with a lifetime of the caller's choice.
    ///
    /// Errors: `Validity`, `Random`, `Make`.
    pub fn create_for(fleet: &Fleet, lifetime: Duration, now: i64) -> Result<Self, AuthorityError> {
        Self::create_as(format!("Muster fleet CA {fleet}"), fleet, lifetime, now)
    }

    fn create_as(subject: String, fleet: &Fleet, lifetime: Duration, now: i64) -> Result<Self, AuthorityError> {
        let (not_before, not_after) = validity(lifetime, now)?;
        let params = authority_params(&subject, fleet, not_before, not_after, 1)?;
        let (key, certificate) = (|| {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            let certificate = params.self_signed(&key)?;
            Ok((key, certificate))
        })()
        .map_err(|source| AuthorityError::Make { subject, source })?;
        Ok(Self {
            fleet: fleet.clone(),
            certificate_pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            not_before,
            not_after,
        })
    }

    /// Reads an authority back from [`Authority::certificate_pem`] and [`Authority::key_pem`].
    ///
    /// Errors: `Certificate`, `NotAnAuthority`, `NoFleet`, `Key`, `KeyMismatch`.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, AuthorityError> {
        let der = certificate::first_from_pem(certificate_pem)?;
        let key = read_key(key_pem)?;
        let certificate = certificate::parse(&der)?;
        let may_sign = certificate.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
        if !certificate.is_ca() || !may_sign {
            return Err(AuthorityError::NotAnAuthority);
        }
        let fleet = Fleet::from_certificate(&der).map_err(AuthorityError::NoFleet)?;
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        let not_before = certificate.validity().not_before.timestamp();
        let not_after = certificate.validity().not_after.timestamp();
        let issuer = read_issuer(&der, key)?;
        Ok(Self { fleet, certificate_pem: certificate_pem.to_owned(), issuer, not_before, not_after })
    }

    /// The fleet that this authority speaks for.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The certificate, for everyone.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key as PKCS #8, for [`crate::store::write_secret`] and nothing else.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The last second at which the authority is valid.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Issues a server certificate with a new key for DNS names and IP addresses: `(chain_pem, key_pem)`.
    ///
    /// The chain is the leaf alone: clients hold the root, so sending it would only cost bytes.
    /// Errors: `NoServerName`, `ServerName`, `Validity`, `OutsideValidity`, `Random`, `Make`.
    pub fn issue_server(
        &self,
        names: &[String],
        lifetime: Duration,
        now: i64,
    ) -> Result<(String, String), AuthorityError> {
        let first = names.first().ok_or(AuthorityError::NoServerName)?;
        let mut params = self.leaf_params(first, lifetime, now)?;
        params.subject_alt_names = names.iter().map(|name| server_name(name)).collect::<Result<_, _>>()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign_with_new_key(first, &params)
    }

    /// Issues a certificate for `identity` over the key of a request: the certificate as PEM.
    ///
    /// Whatever else the request asks for is ignored. A lifetime past the authority's end is cut to it.
    /// Errors: `Request` (with [`RequestError::OtherName`] for another name), `OtherFleet`, `Validity`,
    /// `OutsideValidity`, `Random`, `Make`.
    pub fn issue_from_csr(
        &self,
        csr_pem: &str,
        identity: &Identity,
        lifetime: Duration,
        now: i64,
    ) -> Result<String, AuthorityError> {
        let request = VerifiedRequest::from_pem(csr_pem)?;
        request.check_name(identity.name())?;
        let params = self.client_params(identity, lifetime, now)?;
        self.sign(identity.name(), &params, &request.public_key)
    }

    /// As [`Authority::issue_from_csr`], whatever name the request has: of a device that does not know its name yet, the
    /// key alone counts.
    ///
    /// Errors: those of [`Authority::issue_from_csr`] but for the name.
    pub fn issue_over_key(
        &self,
        csr_pem: &str,
        identity: &Identity,
        lifetime: Duration,
        now: i64,
    ) -> Result<String, AuthorityError> {
        let request = VerifiedRequest::from_pem(csr_pem)?;
        let params = self.client_params(identity, lifetime, now)?;
        self.sign(identity.name(), &params, &request.public_key)
    }

    /// Issues a certificate for `identity` with a new key made here: `(certificate_pem, key_pem)`.
    ///
    /// For operators and device SDKs that are handed files; agents make their own key and send a request.
    /// Errors: `OtherFleet`, `Validity`, `OutsideValidity`, `Random`, `Make`.
    pub fn issue_with_new_key(
        &self,
        identity: &Identity,
        lifetime: Duration,
        now: i64,
    ) -> Result<(String, String), AuthorityError> {
        let params = self.client_params(identity, lifetime, now)?;
        self.sign_with_new_key(identity.name(), &params)
    }

    fn client_params(
        &self,
        identity: &Identity,
        lifetime: Duration,
        now: i64,
    ) -> Result<CertificateParams, AuthorityError> {
        if *identity.fleet() != self.fleet {
            let identity = Box::new(identity.clone());
            return Err(AuthorityError::OtherFleet { fleet: self.fleet.clone(), identity });
        }
        let mut params = self.leaf_params(identity.name(), lifetime, now)?;
        params.subject_alt_names = vec![uri(identity.to_string())?];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params)
    }

    fn leaf_params(&self, subject: &str, lifetime: Duration, now: i64) -> Result<CertificateParams, AuthorityError> {
        if !(self.not_before..=self.not_after).contains(&now) {
            let (not_before, not_after) = (self.not_before, self.not_after);
            return Err(AuthorityError::OutsideValidity { not_before, not_after, now });
        }
        let (not_before, not_after) = validity(lifetime, now)?;
        let mut params = params(subject, not_before.max(self.not_before), not_after.min(self.not_after))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn sign_with_new_key(&self, subject: &str, params: &CertificateParams) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(|source| AuthorityError::Make { subject: subject.to_owned(), source })?;
        Ok((self.sign(subject, params, &key)?, key.serialize_pem()))
    }

    fn sign(
        &self,
        subject: &str,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<String, AuthorityError> {
        let certificate = params.signed_by(key, &self.issuer);
        let certificate = certificate.map_err(|source| AuthorityError::Make { subject: subject.to_owned(), source })?;
        Ok(certificate.pem())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("fleet", &self.fleet)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What all certificates share. The library's own defaults (name, years 1975 to 4096) are all replaced.
fn params(subject: &str, not_before: i64, not_after: i64) -> Result<CertificateParams, AuthorityError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    let at = |seconds: i64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.unsigned_abs());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // May exceed the 64 characters of X.520: cutting would make two names look alike, and `openssl verify
    // -x509_strict` takes 128.
    params.distinguished_name.push(DnType::CommonName, subject);
    params.not_before = at(not_before);
    params.not_after = at(not_after);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// What every certificate of an authority says; `below` is how many authorities may hang under it.
fn authority_params(
    subject: &str,
    fleet: &Fleet,
    not_before: i64,
    not_after: i64,
    below: u8,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(subject, not_before, not_after)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![uri(fleet.uri())?];
    Ok(params)
}

/// From a little before `now` until the lifetime after it, both within what X.509 can write.
fn validity(lifetime: Duration, now: i64) -> Result<(i64, i64), AuthorityError> {
    let seconds = lifetime.as_secs();
    let not_before = now.saturating_sub_unsigned(profile::backdate(lifetime).as_secs());
    let not_after = now.saturating_add_unsigned(seconds);
    if seconds == 0 || not_before < 0 || not_after > YEAR_9999_END {
        return Err(AuthorityError::Validity { seconds, now });
    }
    Ok((not_before, not_after))
}

fn server_name(name: &str) -> Result<SanType, AuthorityError> {
    let refused = || AuthorityError::ServerName { name: name.to_owned() };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    DnsName::try_from(name).map_err(|_| refused())?;
    Ok(SanType::DnsName(Ia5String::try_from(name).map_err(|_| refused())?))
}

fn uri(text: String) -> Result<SanType, AuthorityError> {
    let ascii = Ia5String::try_from(text.as_str());
    Ok(SanType::URI(ascii.map_err(|source| AuthorityError::Make { subject: text, source })?))
}

fn read_key(pem: &str) -> Result<KeyPair, AuthorityError> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| AuthorityError::Key { reason: "no such section found".into() })?;
    KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
        .map_err(|error| AuthorityError::Key { reason: error.to_string() })
}

fn read_issuer(der: &CertificateDer<'_>, key: KeyPair) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
    Issuer::from_ca_cert_der(der, key).map_err(|error| CertificateError::Der { reason: error.to_string() }.into())
}

/// 9999-12-31T23:59:59Z, the last moment of X.509 time.
const YEAR_9999_END: i64 = 253_402_300_799;

#[cfg(test)]
mod tests;
