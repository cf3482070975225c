//! `muster init`: the data folder of a new fleet.

use super::Run;
use crate::args::InitArgs;
use crate::datadir::DataDir;
use crate::error::CliError;
use crate::output::Output;
use crate::settings::{Settings, is_host};
use muster_certs::identity::{Fleet, Identity, Role};
use muster_certs::{Authority, PublisherKey, profile, store};
use muster_runtime::clock::Clock;
use muster_wire::id::PersonName;
use serde_json::json;
use std::path::PathBuf;

/// A fleet to be made.
#[derive(Clone, Debug)]
pub struct Init {
    /// The data folder.
    pub data: PathBuf,
    /// Where hosts reach the server.
    pub hosts: Vec<String>,
    /// Name of the fleet.
    pub fleet: Fleet,
    /// Name of the first operator.
    pub operator: PersonName,
    /// The content of `muster.toml`; [`Settings::template`] when absent.
    pub settings: Option<String>,
}

impl Run for InitArgs {
    fn describe(&self) -> String {
        format!("make a fleet in {}", self.data.data.display())
    }

    fn json(&self) -> bool {
        self.json
    }

    async fn run(self) -> Result<Output, CliError> {
        let (hosts, operator) = (self.hosts.clone(), self.operator.clone());
        let data = init(
            Init {
                data: self.data.data,
                hosts: self.hosts,
                fleet: self.fleet.clone(),
                operator: self.operator,
                settings: None,
            },
            &Clock::system(),
        )?;
        let (root, fleet) = (data.root().display(), self.fleet.as_str());
        let text = format!(
            "made the fleet {fleet} in {root}\n  \
             {:<10} {}  (keep ca.key safe: who has it can join and steer the fleet)\n  \
             {:<10} {}  (for {})\n  \
             {:<10} {}  (signs packages)\n  \
             {:<10} {}  (operator {operator})\n  \
             {:<10} {}\n\n\
             next:\n  muster serve --data {root}\n  muster connector add NAME --data {root} --output install.sh",
            "authority",
            data.ca_certificate().display(),
            "server",
            data.server_chain().display(),
            server_names(&hosts).join(", "),
            "publisher",
            data.publisher_key().display(),
            "operator",
            data.operator(operator.as_str()).0.display(),
            "settings",
            data.settings().display(),
        );
        let value = json!({
            "data": data.root(), "fleet": fleet, "hosts": server_names(&hosts), "operator": operator,
            "settings": data.settings(),
        });
        Ok(Output::new(&value, text))
    }
}

/// Makes a fleet: authority, server certificate, publisher key, operator certificate, settings, in this order.
///
/// Errors: `Local`.
pub fn init(fleet: Init, clock: &Clock) -> Result<DataDir, CliError> {
    if let Some(bad) = fleet.hosts.iter().find(|host| !is_host(host)) {
        return Err(CliError::local(format!(
            "--host {bad} is neither a DNS name nor an IP address; give it without port, brackets or https://"
        )));
    }
    let data = DataDir::create(&fleet.data)?;
    let now = clock.now().epoch_seconds();
    let issuing = |what: &str| {
        let message = format!("cannot make {what}");
        move |error| CliError::local_because(message, error)
    };
    let authority = Authority::create(&fleet.fleet, now).map_err(issuing("the authority"))?;
    let (chain, server_key) = authority
        .issue_server(&server_names(&fleet.hosts), profile::SERVER_LIFETIME, now)
        .map_err(issuing("the server certificate"))?;
    let publisher =
        PublisherKey::generate().map_err(|error| CliError::local_because("cannot make the publisher's key", error))?;
    let identity = Identity::new(fleet.fleet, Role::Operator, fleet.operator.as_str())
        .map_err(|error| CliError::local_because("cannot name the operator", error))?;
    let (certificate, key) = authority
        .issue_with_new_key(&identity, profile::OPERATOR_LIFETIME, now)
        .map_err(issuing("the operator's certificate"))?;
    let settings = fleet.settings.unwrap_or_else(|| Settings::template(&fleet.hosts));
    let (operator_certificate, operator_key) = data.operator(fleet.operator.as_str());

    let secrets = [
        (data.ca_key(), authority.key_pem()),
        (data.server_key(), server_key),
        (data.publisher_key(), publisher.to_pem()),
        (operator_key, key),
    ];
    let public = [
        (data.ca_certificate(), authority.certificate_pem().to_owned()),
        (data.server_chain(), chain),
        (data.publisher_public(), format!("{}\n", publisher.public_key())),
        (operator_certificate, certificate),
        // Last: a folder with settings is a finished one.
        (data.settings(), settings),
    ];
    let written = secrets
        .iter()
        .try_for_each(|(path, text)| store::write_secret(path, text.as_bytes()))
        .and_then(|()| public.iter().try_for_each(|(path, text)| store::write_public(path, text.as_bytes())));
    written.map_err(|error| CliError::local_because("cannot write the data folder", error))?;
    Ok(data)
}

/// The names in the server certificate: those asked for, and this machine's own.
fn server_names(hosts: &[String]) -> Vec<String> {
    let mut names = hosts.to_vec();
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use muster_certs::verifier;
    use std::os::unix::fs::PermissionsExt;

    fn fleet(data: PathBuf, host: &str) -> Init {
        let (fleet, operator) = ("acme".parse().unwrap(), "admin".parse().unwrap());
        Init { data, hosts: vec![host.to_owned()], fleet, operator, settings: None }
    }

    #[test]
    fn a_new_fleet_is_complete_and_its_keys_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let data = init(fleet(folder.path().join("d"), "muster.example.org"), &Clock::system()).unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(data.root()), 0o700);
        let (certificate, key) = data.operator("admin");
        for secret in [data.ca_key(), data.server_key(), data.publisher_key(), key.clone()] {
            assert_eq!(mode(&secret), 0o600, "{}", secret.display());
        }
        let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
        let ca = read(&data.ca_certificate());
        verifier::server_config(&read(&data.server_chain()), &read(&data.server_key()), &ca, &[]).unwrap();
        verifier::client_config(&ca, Some((&read(&certificate), &read(&key))), &[]).unwrap();
        assert_eq!(Authority::from_pem(&ca, &read(&data.ca_key())).unwrap().fleet().as_str(), "acme");
        assert_eq!(Settings::read(&data.settings()).unwrap().hosts, ["muster.example.org"]);
        let public = PublisherKey::from_pkcs8_pem(&read(&data.publisher_key())).unwrap().public_key();
        assert_eq!(read(&data.publisher_public()).trim(), public.to_string());
    }

    #[test]
    fn a_second_init_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("d");
        let data = init(fleet(root.clone(), "a"), &Clock::system()).unwrap();
        let before = std::fs::read(data.ca_key()).unwrap();
        assert!(init(fleet(root, "a"), &Clock::system()).is_err());
        assert_eq!(std::fs::read(data.ca_key()).unwrap(), before);
    }

    #[test]
    fn a_host_with_a_port_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("d");
        let error = init(fleet(root.clone(), "a:8443"), &Clock::system()).unwrap_err();
        assert!(error.to_string().contains("without port"), "{error}");
        assert!(!root.exists());
    }
}
