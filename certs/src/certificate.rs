//! The facts of a certificate that has been checked elsewhere: its id and when it is valid.

use aws_lc_rs::digest::{SHA256, digest};
use muster_wire::policy::{CertificateNames, NameField};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// Why a certificate could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is not PEM.
    #[error(
        "the certificate text is not PEM; expected lines from `-----BEGIN CERTIFICATE-----` to `-----END CERTIFICATE-----`"
    )]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// The text is PEM (or empty) but has no certificate.
    #[error("no certificate found in the PEM text; expected a `-----BEGIN CERTIFICATE-----` section")]
    Absent,
    /// The bytes are not one X.509 certificate.
    #[error("the certificate is not readable as X.509 DER: {reason}")]
    Der {
        /// What the parser said.
        reason: String,
    },
}

/// What the server keeps about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// [`certificate_id`] of the certificate.
    pub id: String,
    /// First valid second, Unix time.
    pub not_before: i64,
    /// Last valid second, Unix time.
    pub not_after: i64,
}

impl CertificateFacts {
    /// Reads the facts from DER.
    ///
    /// Errors: [`CertificateError::Der`].
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        Ok(Self::of(&parse(der)?, der))
    }

    /// The facts of a certificate that was read from `der`.
    pub(crate) fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Self {
        let validity = certificate.validity();
        Self {
            id: certificate_id(der),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        }
    }

    /// Reads the facts of the first certificate in a PEM text (the leaf of a chain).
    ///
    /// Errors: any [`CertificateError`].
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        Self::from_der(&first_from_pem(pem)?)
    }

    /// Whether the certificate is inside its validity at `now`.
    ///
    /// A resumed TLS session repeats no certificate check, so a server asks this on every connection.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// The moment at half of the life, when a client should renew.
    pub fn renew_after(&self) -> i64 {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 2
    }
}

/// The id of a certificate: 64 lower-case hexadecimal digits, the SHA-256 of its DER.
pub fn certificate_id(der: &[u8]) -> String {
    hex(digest(&SHA256, der).as_ref())
}

/// What a certificate says of its holder and its issuer. Values that are no text are left out.
///
/// Errors: [`CertificateError::Der`].
pub fn names(der: &[u8]) -> Result<CertificateNames, CertificateError> {
    let certificate = parse(der)?;
    let fields = |name: &X509Name<'_>| {
        let known = |part: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            Some((NameField::of(&part.attr_type().to_id_string())?, part.as_str().ok()?.into()))
        };
        name.iter_attributes().filter_map(known).collect()
    };
    Ok(CertificateNames {
        subject: fields(certificate.subject()),
        issuer: fields(certificate.issuer()),
        serial: hex(certificate.raw_serial()).into(),
    })
}

/// All certificates of a PEM text, in order; at least one.
///
/// Errors: [`CertificateError::Pem`], [`CertificateError::Absent`].
pub fn chain_from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(CertificateError::Pem)?;
    if chain.is_empty() {
        return Err(CertificateError::Absent);
    }
    Ok(chain)
}

/// The first certificate of a PEM text.
///
/// Errors: [`CertificateError::Pem`], [`CertificateError::Absent`].
pub fn first_from_pem(pem: &str) -> Result<CertificateDer<'static>, CertificateError> {
    Ok(chain_from_pem(pem)?.swap_remove(0))
}

/// The DNS names and IP addresses of the first certificate of a PEM text: what a server answers to.
///
/// Errors: any [`CertificateError`].
pub fn server_names(pem: &str) -> Result<Vec<String>, CertificateError> {
    let der = first_from_pem(pem)?;
    let certificate = parse(&der)?;
    let names =
        certificate.subject_alternative_name().map_err(|error| CertificateError::Der { reason: error.to_string() })?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect())
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or(sixteen).ok().map(|address| address.to_string())
}

/// Exactly one certificate: bytes after it would be covered by the id but by no signature.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(CertificateError::Der { reason: format!("{} bytes follow the certificate", rest.len()) }),
        Err(error) => Err(CertificateError::Der { reason: error.to_string() }),
    }
}

/// Whether the key of `root` signed `leaf`. Nothing else about them is looked at.
pub(crate) fn is_signed_by(leaf: &[u8], root: &[u8]) -> bool {
    let (Ok(leaf), Ok(root)) = (parse(leaf), parse(root)) else { return false };
    leaf.verify_signature(Some(root.public_key())).is_ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0x0f])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::identity::Role;
    use crate::throwaway::Throwaway;

    #[test]
    fn id_is_the_sha256_of_the_der() {
        // The well-known digest of the empty string.
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(certificate_id(b""), empty);
    }

    #[test]
    fn validity_and_renewal_are_read_from_the_certificate() {
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let (pem, _) = fleet.issue(Role::Connector, "c1").unwrap();
        let facts = CertificateFacts::from_pem(&pem).unwrap();
        assert!(facts.is_valid_at(facts.not_before) && facts.is_valid_at(facts.not_after));
        assert!(!facts.is_valid_at(facts.not_before - 1) && !facts.is_valid_at(facts.not_after + 1));
        assert!(facts.is_valid_at(facts.renew_after()));
        assert_eq!(facts.id, certificate_id(&first_from_pem(&pem).unwrap()));
    }

    #[test]
    fn names_and_serial_are_read_from_the_certificate() {
        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let (pem, _) = fleet.issue(Role::Connector, "c1").unwrap();
        let der = first_from_pem(&pem).unwrap();
        let names = names(&der).unwrap();
        assert!(names.subject.contains(&(NameField::CommonName, "c1".into())), "{names:?}");
        assert!(!names.issuer.is_empty() && !names.serial.is_empty(), "{names:?}");
        let (_, whole) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(*names.serial, whole.raw_serial_as_string().replace(':', ""));
    }

    #[test]
    fn text_and_bytes_that_are_no_certificate_are_refused() {
        assert!(matches!(first_from_pem(""), Err(CertificateError::Absent)));
        assert!(matches!(first_from_pem("hello"), Err(CertificateError::Absent)));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(first_from_pem(cut), Err(CertificateError::Pem(_))));
        assert!(matches!(CertificateFacts::from_der(b"x"), Err(CertificateError::Der { .. })));

        let fleet = Throwaway::new("test", &["localhost"]).unwrap();
        let mut der = first_from_pem(fleet.authority.certificate_pem()).unwrap().to_vec();
        der.push(0);
        let error = CertificateFacts::from_der(&der).unwrap_err().to_string();
        assert!(error.ends_with("1 bytes follow the certificate"), "{error}");
    }
}
