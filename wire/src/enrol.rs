//! HTTPS: paths, enrolment.

use crate::id::{PoolName, Sha256Hex, ThingName, Version};
use crate::label::Label;
use crate::settings::SettingsReport;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `POST`: [`EnrolRequest`] to [`EnrolResponse`], or a [`crate::rejection::Rejection`]. No client certificate.
pub const ENROL_PATH: &str = "/v1/enrol";
/// `POST`: [`crate::certificate::RecoverRequest`] to [`crate::certificate::RecoverResponse`], or a rejection. No client
/// certificate: the one that the host has is not taken any more.
pub const RECOVER_PATH: &str = "/v1/recover";
/// `GET`: the agent for Linux on x86-64. No client certificate; the install script checks the digest.
pub const AGENT_PATH_PREFIX: &str = "/agent/";
/// `GET`: [`ServerTime`]. No client certificate: a host that is not let in learns whether its clock is the reason.
pub const TIME_PATH: &str = "/v1/time";
/// `GET`: `ok` when the server serves.
pub const HEALTH_PATH: &str = "/healthz";
/// `GET` and `HEAD` with ranges for connectors and operators, `PUT` for operators.
pub const ARTIFACT_PATH_PREFIX: &str = "/artifacts/sha256/";

/// Path of the artifact with this digest.
#[must_use]
pub fn artifact_path(sha256: &Sha256Hex) -> String {
    format!("{ARTIFACT_PATH_PREFIX}{sha256}")
}

/// Where the artifact with this digest lies below the folder of artifacts: `ab/abcd…`.
#[must_use]
pub fn artifact_file(sha256: &Sha256Hex) -> String {
    let digest = sha256.as_str();
    format!("{}/{digest}", &digest[..2.min(digest.len())])
}

/// The digest that an artifact path names.
#[must_use]
pub fn artifact_digest(path: &str) -> Option<Sha256Hex> {
    Sha256Hex::new(path.strip_prefix(ARTIFACT_PATH_PREFIX)?).ok().filter(Sha256Hex::is_complete)
}

/// What the server's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTime {
    /// Now.
    pub now: Timestamp,
}

/// Asks for the first certificate of a connector.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The single-use token of the install script.
    pub token: String,
    /// The connector's name; the token is bound to it.
    pub name: ThingName,
    /// The pool that the install script was made for, if it names one; the token is bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolName>,
    /// Absolute path of the agent's folder on the host; the token may be bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// PKCS #10 request in PEM; its common name is the connector's name.
    pub csr: String,
    /// What the agent knows of its host.
    pub host: HostFacts,
}

impl fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolRequest").field("name", &self.name).field("token", &"...").finish_non_exhaustive()
    }
}

/// The connector's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolResponse {
    /// The connector's name.
    pub name: ThingName,
    /// The fleet's name: the trust domain of every identity.
    pub fleet: String,
    /// The certificate, PEM.
    pub certificate: String,
    /// The CA that signs the server and all devices, PEM.
    pub ca: String,
    /// The key that verifies component packages, in its text form.
    pub publisher_key: String,
}

/// Which installation of an agent speaks, and how often it has connected: two places with one identity are told apart
/// by it. The member `installation` of `state.reported` in the shadow `agent`; clients without it are not judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Made once for each installation, kept in its state; at most [`crate::limits::INSTALLATION_ID_BYTES_MAX`] bytes.
    pub id: String,
    /// Grows with every attempt to connect; durable on the host before the attempt is made.
    pub session: u64,
}

/// What an agent knows of its host. Also `state.reported` of the shadow `agent`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostFacts {
    /// Version of the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_version: Option<Version>,
    /// Digest of the agent's program file; the server knows by it whether it offers another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_sha256: Option<Sha256Hex>,
    /// Host name.
    pub hostname: String,
    /// Operating system with its version, for people.
    pub os: String,
    /// Version of the operating system's kernel.
    pub kernel: String,
    /// CPU architecture: `x86_64`, `aarch64`.
    pub arch: String,
    /// Addresses of the host's interfaces, without loopback and link-local ones.
    pub addresses: Vec<String>,
    /// Changes with every boot of the host.
    pub boot_id: String,
    /// When the host booted, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booted_at: Option<Timestamp>,
    /// Changes with every start of the agent.
    pub start_id: String,
    /// Labels from the agent's settings, at most [`crate::label::LABELS_MAX`].
    pub labels: Vec<Label>,
    /// How the agent is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsReport>,
    /// Why the server does not take what the agent reports of its components; absent while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reports_refused: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifact_paths_round_trip_and_nothing_else_is_one() {
        let digest = Sha256Hex::from_bytes(&[7; 32]);
        assert_eq!(artifact_digest(&artifact_path(&digest)), Some(digest));
        for path in ["/artifacts/sha256/", "/artifacts/sha256/ab", "/artifacts/sha256/../x", "/v1/enrol"] {
            assert_eq!(artifact_digest(path), None, "{path}");
        }
    }
}
