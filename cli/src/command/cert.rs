//! `muster cert`: issues certificates for device SDKs, dashboards and load tests, signed here with the authority's key;
//! renews those of operators; lists and revokes those that the server knows.

use super::{Run, connector};
use crate::args::{CertIssueArgs, CertListArgs, CertRenewArgs, CertRevokeArgs};
use crate::context::Context;
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::output::{Output, Table, or_empty, spelling};
use muster_certs::certificate::first_from_pem;
use muster_certs::identity::{Identity, Role};
use muster_certs::{Authority, CertificateError, CertificateFacts, Vault, profile, store};
use muster_runtime::clock::Clock;
use muster_wire::admin::{CertificateList, CertificateView, ListCertificates, RevokeCertificate, Verb};
use muster_wire::id::Sha256Hex;
use muster_wire::time::Timestamp;
use serde_json::json;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

impl Run for CertIssueArgs {
    fn describe(&self) -> String {
        format!("issue certificates for {}", self.name)
    }

    fn json(&self) -> bool {
        self.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let data = DataDir::open(&self.data.data)?;
        let names = match self.count {
            None => vec![self.name.clone()],
            Some(count) => (0..count.get()).map(|at| format!("{}-{at}", self.name)).collect(),
        };
        let role = Role::from(self.policy);
        let lifetime = self.days.map_or(profile::lifetime(role), |days| DAY * days.get());
        let vault = read_vault(&data)?;
        issue(
            &vault.active(),
            &vault.trusted_pem(),
            role,
            &names,
            lifetime,
            Clock::system().now().epoch_seconds(),
            &self.out,
        )?;
        let text = format!(
            "issued {} {role} certificate{} into {}",
            names.len(),
            if names.len() == 1 { "" } else { "s" },
            self.out.display()
        );
        Ok(Output::new(&json!({"out": self.out, "names": names, "policy": role}), text))
    }
}

impl Run for CertListArgs {
    fn describe(&self) -> String {
        "list certificates".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let mut operator = cx.connect().await?;
        let mut certificates: Vec<CertificateView> = Vec::new();
        let mut after = None;
        loop {
            let question = ListCertificates { connector: self.connector.clone(), after };
            let page: CertificateList = operator.call(Verb::CertList, &question).await?;
            certificates.extend(page.certificates);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let meant = connector::meant(&mut operator, self.meant.to).await?;
        if meant.is_some() {
            let is_meant = |view: &CertificateView| connector_of(view).is_some_and(|name| meant.has(name));
            certificates.retain(is_meant);
        }
        operator.close().await;
        // Of one connector the newest first; revoked strangers, whose issue is not known, last.
        certificates.sort_by(|one, other| {
            (&one.identity, std::cmp::Reverse(one.issued_at))
                .cmp(&(&other.identity, std::cmp::Reverse(other.issued_at)))
        });
        let text = if certificates.is_empty() { "no certificates".to_owned() } else { table(&certificates) };
        Ok(Output::new(&CertificateList { certificates, next: None }, text))
    }
}

/// The connector whose certificate it is; `None` for one of somebody else.
fn connector_of(view: &CertificateView) -> Option<&str> {
    let (_, who) = view.identity.as_deref()?.strip_prefix("spiffe://")?.split_once('/')?;
    who.strip_prefix("connector/")
}

fn table(certificates: &[CertificateView]) -> String {
    let mut table = Table::new(&["ID", "WHO", "STATUS", "ISSUED", "ENDS", "NOTE"]);
    for view in certificates {
        let who = view.identity.as_deref().and_then(|uri| uri.strip_prefix("spiffe://")?.split_once('/'));
        let note = [view.reason.clone(), view.by.as_ref().map(|by| format!("by {by}"))].into_iter().flatten();
        table.row([
            view.id.to_string(),
            who.map(|(_, who)| who.to_owned()).unwrap_or_default(),
            spelling(&view.status),
            or_empty(view.issued_at.as_ref()),
            or_empty(view.not_after.as_ref()),
            note.collect::<Vec<_>>().join(", "),
        ]);
    }
    table.to_string()
}

impl Run for CertRevokeArgs {
    fn describe(&self) -> String {
        format!("revoke certificate {}", self.certificate)
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let request = revocation(&self.certificate, self.reason)?;
        let mut operator = cx.connect().await?;
        let view: CertificateView = operator.call(Verb::CertRevoke, &request).await?;
        operator.close().await;
        let whose = view.identity.as_ref().map(|identity| format!(" of {identity}")).unwrap_or_default();
        let text = format!("revoked {}{whose}; whoever shows it is refused from now on", view.id);
        Ok(Output::new(&view, text))
    }
}

/// An id is what has 64 hexadecimal digits; anything else is a file.
fn revocation(certificate: &str, reason: Option<String>) -> Result<RevokeCertificate, CliError> {
    if let Some(id) = Sha256Hex::new(certificate.to_ascii_lowercase()).ok().filter(Sha256Hex::is_complete) {
        return Ok(RevokeCertificate { id, identity: None, not_after: None, reason });
    }
    let unusable =
        |error: CertificateError| CliError::local_because(format!("{certificate} is no certificate of a fleet"), error);
    let pem = store::read_pem(Path::new(certificate)).map_err(|error| {
        CliError::local_because("give a certificate's file, or its id of 64 hexadecimal digits", error)
    })?;
    let der = first_from_pem(&pem).map_err(unusable)?;
    let facts = CertificateFacts::from_der(&der).map_err(unusable)?;
    let id = Sha256Hex::new(&facts.id).map_err(|error| CliError::local_because("no usable id", error))?;
    let not_after = Some(Timestamp::from_seconds(facts.not_after));
    let identity = Identity::of_any_fleet(&der)
        .map_err(|error| CliError::local_because(format!("{certificate} is no certificate of a fleet"), error))?;
    Ok(RevokeCertificate { id, identity: Some(identity.to_string()), not_after, reason })
}

impl Run for CertRenewArgs {
    fn describe(&self) -> String {
        "renew the operator's certificate".to_owned()
    }

    fn json(&self) -> bool {
        self.operator.json
    }

    /// Needs the authority's key, not the server, and not a certificate that is still good: it can be repeated.
    async fn run(self) -> Result<Output, CliError> {
        let cx = Context::open(&self.operator)?;
        let name = cx.operator_name()?;
        let vault = read_vault(&cx.data)?;
        let authority = vault.active();
        let identity = Identity::new(authority.fleet().clone(), Role::Operator, name.as_str())
            .map_err(|error| CliError::local_because("--as cannot be used", error))?;
        let lifetime = self.days.map_or(profile::OPERATOR_LIFETIME, |days| DAY * days.get());
        let now = cx.clock.now().epoch_seconds();
        let failed = |error| CliError::local_because(format!("cannot issue a certificate for {name}"), error);
        let (certificate, key) = authority.issue_with_new_key(&identity, lifetime, now).map_err(failed)?;
        let end = CertificateFacts::from_pem(&certificate)
            .map_err(|error| CliError::local_because("cannot read the new certificate", error))?;
        let (certificate_path, key_path) = cx.data.operator(&name);
        let failed = |error| CliError::local_because("cannot write the new certificate; run this again", error);
        store::write_secret(&key_path, key.as_bytes()).map_err(failed)?;
        store::write_public(&certificate_path, certificate.as_bytes()).map_err(failed)?;
        let until = Timestamp::from_seconds(end.not_after);
        let text = format!("the certificate of operator {name} is good until {until}");
        Ok(Output::new(&json!({"name": name, "not_after": until}), text))
    }
}

fn read_vault(data: &DataDir) -> Result<Vault, CliError> {
    Vault::read(&data.authority())
        .map_err(|error| CliError::local_because("cannot use the authority of the fleet", error))
}

/// Writes `{name}.crt` and `{name}.key` for every name, and `ca.crt`.
fn issue(
    authority: &Authority,
    trusted_pem: &str,
    role: Role,
    names: &[String],
    lifetime: Duration,
    now: i64,
    out: &Path,
) -> Result<(), CliError> {
    // Every name is checked before the first file is written.
    let identity = |name: &String| Identity::new(authority.fleet().clone(), role, name.as_str());
    let identities = names
        .iter()
        .map(identity)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CliError::local_because("--name cannot be used", error))?;
    fs::create_dir_all(out)
        .map_err(|error| CliError::local_because(format!("cannot make the folder {}", out.display()), error))?;
    store::write_public(&out.join("ca.crt"), trusted_pem.as_bytes())
        .map_err(|error| CliError::local_because("cannot write the CA certificate", error))?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = identities.len().div_ceil(threads).max(1);
    let issue_part = |identities: &[Identity]| -> Result<(), CliError> {
        for identity in identities {
            let (certificate, key) = authority.issue_with_new_key(identity, lifetime, now).map_err(|error| {
                CliError::local_because(format!("cannot issue a certificate for {}", identity.name()), error)
            })?;
            let path = |end: &str| out.join(format!("{}.{end}", identity.name()));
            write(&path("key"), &key, 0o600)?;
            write(&path("crt"), &certificate, 0o644)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = identities.chunks(part).map(|part| scope.spawn(|| issue_part(part))).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Writes a file without waiting for the disk: thousands of these can be made again, unlike the keys of the server.
/// The file never has a wider mode than it should, also when it was there before.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CliError> {
    let failed = |error| CliError::local_because(format!("cannot write {}", path.display()), error);
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::identity::Fleet;
    use muster_certs::verifier;
    use std::os::unix::fs::PermissionsExt;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn every_name_gets_a_usable_pair_and_the_key_is_private() {
        let authority = Authority::create(&Fleet::new("acme").unwrap(), NOW).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("certs");
        let names: Vec<String> = (0..5).map(|at| format!("load-{at}")).collect();
        // Twice: the second run replaces the files.
        for _ in 0..2 {
            issue(&authority, authority.certificate_pem(), Role::Connector, &names, DAY, NOW, &out).unwrap();
        }
        let ca = fs::read_to_string(out.join("ca.crt")).unwrap();
        for name in &names {
            let (certificate, key) = (out.join(format!("{name}.crt")), out.join(format!("{name}.key")));
            assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
            let pair = (fs::read_to_string(certificate).unwrap(), fs::read_to_string(key).unwrap());
            verifier::client_config(&ca, Some((&pair.0, &pair.1)), &[]).unwrap();
            let der = muster_certs::certificate::first_from_pem(&pair.0).unwrap();
            let identity = Identity::from_certificate(&der, authority.fleet()).unwrap();
            assert_eq!((identity.role(), identity.name()), (Role::Connector, name.as_str()));
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 11);
    }

    #[test]
    fn a_bad_name_writes_nothing() {
        let authority = Authority::create(&Fleet::new("acme").unwrap(), NOW).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("certs");
        for name in ["", "a/b", "..", "a b"] {
            let names = ["good".to_owned(), name.to_owned()];
            assert!(
                issue(&authority, authority.certificate_pem(), Role::Observer, &names, DAY, NOW, &out).is_err(),
                "{name}"
            );
        }
        assert!(!out.exists());
    }
}
