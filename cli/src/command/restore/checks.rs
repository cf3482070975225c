//! What must be true of an unpacked backup: every record can be read, every key fits its certificate, every package that
//! a published version names is there.

use crate::archive::{RECORDS, Unpacked};
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::settings::Settings;
use muster_certs::certificate::chain_from_pem;
use muster_certs::store::read_pem;
use muster_certs::verifier::provider;
use muster_certs::{PublisherKey, Vault};
use muster_shadow::backup::check_records;
use muster_wire::enrol::artifact_file;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Checked {
    /// Keys that were compared with their certificates.
    pub(super) keys: usize,
    /// Published versions.
    pub(super) packages: usize,
}

/// Checks everything but the digests, which unpacking has compared.
pub(super) fn check(unpacked: &Unpacked) -> Result<Checked, CliError> {
    let data = DataDir::at(&unpacked.data);
    Settings::read(&data.settings())?;
    // Finishes a rotation of the authority that the backup caught half-way, as the server's start would.
    Vault::open(&data.authority()).map_err(|error| {
        CliError::local_because("the authority in the backup is not usable; use another one", error)
    })?;
    let mut keys = 0;
    check_keys(&unpacked.data, &mut keys)?;
    if data.publisher_key().is_file() {
        check_publisher(&data)?;
        keys += 1;
    }
    if keys == 0 {
        return Err(CliError::local("the backup holds no keys; use another one"));
    }
    let records = File::open(&unpacked.records)
        .map_err(|error| CliError::local_because("cannot read the records of the backup", error))?;
    let (entries, published) = check_records(BufReader::new(records))
        .map_err(|error| CliError::local_because("the records of the backup cannot be used", error))?;
    if entries != unpacked.manifest.records {
        return Err(CliError::local(format!(
            "the backup has {entries} entries in {RECORDS}, its manifest says {}; use another one",
            unpacked.manifest.records
        )));
    }
    if unpacked.manifest.with_artifacts {
        let names: BTreeSet<&str> = unpacked.manifest.files.iter().map(|file| file.name.as_str()).collect();
        let missing = published.iter().find(|one| {
            let name = format!("data/artifacts/{}", artifact_file(&one.sha256));
            !names.contains(name.as_str())
        });
        if let Some(missing) = missing {
            return Err(CliError::local(format!(
                "the backup lacks the package of {} {}; use another one, or publish the version again after a restore \
                 from a backup --without-artifacts",
                missing.name, missing.version
            )));
        }
    }
    Ok(Checked { keys, packages: published.len() })
}

/// Compares every `X.key` that has an `X.crt` beside it.
fn check_keys(folder: &Path, checked: &mut usize) -> Result<(), CliError> {
    let unreadable = |error| CliError::local_because(format!("cannot read the folder {}", folder.display()), error);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let certificate = path.with_extension("crt");
        if path.is_dir() && path.file_name().is_none_or(|name| name != "artifacts") {
            check_keys(&path, checked)?;
        } else if path.extension().is_some_and(|end| end == "key") && certificate.is_file() {
            check_pair(&path, &certificate)?;
            *checked += 1;
        }
    }
    Ok(())
}

fn check_pair(key: &Path, certificate: &Path) -> Result<(), CliError> {
    let wrong =
        |what: String| CliError::local(format!("in the backup, {} {what}; use another backup", certificate.display()));
    let read = |path: &Path| read_pem(path).map_err(|error| CliError::local_because("cannot read a key", error));
    let chain = chain_from_pem(&read(certificate)?).map_err(|error| wrong(format!("is not usable ({error})")))?;
    let key = PrivateKeyDer::from_pem_slice(read(key)?.as_bytes())
        .map_err(|error| wrong(format!("has a key that is not usable ({error})")))?;
    CertifiedKey::from_der(chain, key, &provider())
        .and_then(|pair| pair.keys_match())
        .map_err(|error| wrong(format!("does not fit its key ({error})")))
}

fn check_publisher(data: &DataDir) -> Result<(), CliError> {
    let unreadable = "cannot read the publisher's key in the backup";
    let secret = read_pem(&data.publisher_key()).map_err(|error| CliError::local_because(unreadable, error))?;
    let public =
        fs::read_to_string(data.publisher_public()).map_err(|error| CliError::local_because(unreadable, error))?;
    let key = PublisherKey::from_pkcs8_pem(&secret)
        .map_err(|error| CliError::local_because("the publisher's key in the backup is not usable", error))?;
    if public.trim() == key.public_key().to_string() {
        Ok(())
    } else {
        Err(CliError::local("the publisher's keys in the backup do not belong together; use another backup"))
    }
}
