//! A throwaway authority for mosquitto, with as many device certificates as are asked for.
//!
//! Shaped like Muster's own (P-256, one step from the authority, name in the common name), and laid out as
//! `muster cert issue` lays them out, so both servers verify the same amount.

use std::{fs, path::Path, thread};

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{identity::SERVER_NAME, machine::processors, traffic};

/// Name of the server's certificate and key in the folder.
pub const SERVER: &str = "server";

/// Makes sure that `dir` holds an authority, a server certificate and certificates for `count` things.
/// What an earlier run left there is used again.
pub fn ensure(dir: &Path, count: usize) -> Result<()> {
    let name = dir.display();
    fs::create_dir_all(dir).with_context(|| format!("cannot create {name}"))?;
    let (ca, ca_key) = (dir.join("ca.crt"), dir.join("ca.key"));
    if !ca.exists() || !ca_key.exists() {
        new_authority(dir).with_context(|| format!("cannot make an authority in {name}"))?;
    }
    let key =
        KeyPair::from_pem(&fs::read_to_string(&ca_key).with_context(|| format!("cannot read {}", ca_key.display()))?)?;
    let issuer = Issuer::from_ca_cert_pem(
        &fs::read_to_string(&ca).with_context(|| format!("cannot read {}", ca.display()))?,
        key,
    )
    .with_context(|| format!("{} is not usable; delete {name}", ca.display()))?;
    let missing: Vec<usize> =
        (0..count).filter(|index| !dir.join(format!("{}.crt", traffic::thing(*index))).exists()).collect();
    let threads = processors();
    thread::scope(|scope| {
        let parts: Vec<_> = missing
            .chunks(missing.len().div_ceil(threads).max(1))
            .map(|part| {
                let issuer = &issuer;
                scope.spawn(move || part.iter().try_for_each(|index| device(dir, issuer, &traffic::thing(*index))))
            })
            .collect();
        parts
            .into_iter()
            .try_for_each(|part| part.join().map_err(|_| anyhow!("a thread that makes certificates broke"))?)
    })
    .with_context(|| format!("cannot make certificates in {name}"))
}

fn new_authority(dir: &Path) -> Result<()> {
    // Device certificates of an older authority are of no use.
    for entry in fs::read_dir(dir)? {
        fs::remove_file(entry?.path())?;
    }
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "load throwaway authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned(), "127.0.0.1".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
    leaf(dir, &issuer, SERVER, params, ExtendedKeyUsagePurpose::ServerAuth)?;

    fs::write(dir.join("ca.key"), issuer.key().serialize_pem())?;
    Ok(fs::write(dir.join("ca.crt"), issuer.pem())?)
}

fn device(dir: &Path, issuer: &Issuer<'_, KeyPair>, name: &str) -> Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    leaf(dir, issuer, name, params, ExtendedKeyUsagePurpose::ClientAuth)
}

fn leaf(
    dir: &Path,
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
) -> Result<()> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?;
    // The certificate last: where it exists, the key does too.
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
    Ok(fs::write(dir.join(format!("{name}.crt")), certificate.pem())?)
}
