//! Certificates that end, and hosts whose certificate has ended.

use crate::enrol::HostFacts;
use crate::id::{PersonName, Sha256Hex, ThingName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Asks for the certificates of connectors that end soon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListExpiring {
    /// Only those that end before this moment.
    pub before: Timestamp,
}

/// A connector's certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiringCertificate {
    /// Whose.
    pub name: ThingName,
    /// Which.
    pub id: Sha256Hex,
    /// When it ends, or ended.
    pub not_after: Timestamp,
}

/// The certificates, the most urgent first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiringList {
    /// As many as fit one message.
    pub certificates: Vec<ExpiringCertificate>,
    /// How many more there are.
    pub more: u64,
}

/// Asks for the hosts that wait for an operator's yes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRecoveries {}

/// Lets a host in again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRecovery {
    /// The connector.
    pub name: ThingName,
    /// The new key, as it was listed: nothing else is approved. Absent: the one that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Sha256Hex>,
}

/// A host that has proved the key of a certificate that is not taken any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The connector.
    pub name: ThingName,
    /// Why its certificate is not taken.
    pub why: String,
    /// The new key that is to be certified.
    pub key: Sha256Hex,
    /// The certificate whose key was proved.
    pub certificate: Sha256Hex,
    /// When it asked; noted once in an hour.
    pub asked_at: Timestamp,
    /// From which address.
    pub peer: String,
    /// What the agent says of its host.
    pub host: HostFacts,
    /// Who said yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<PersonName>,
    /// When they said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
}

/// The hosts that wait, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryList {
    /// As many as fit one message.
    pub recoveries: Vec<Recovery>,
}
