//! A connector, and what an operator made of it.

use muster_wire::enrol::HostFacts;
use muster_wire::id::{
    ComponentName, JobId, PersonName, PoolName, Sha256Hex, SiteName, TemplateName, ThingName, Version,
};
use muster_wire::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A registered connector. Written by the fleet's worker alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connector {
    /// Name.
    pub name: ThingName,
    /// Pool, if it has one.
    pub pool: Option<PoolName>,
    /// Site, if it has one.
    pub site: Option<SiteName>,
    /// Free text for people.
    pub description: Option<String>,
    /// When an operator added it.
    pub registered_at: Timestamp,
    /// Who added it.
    pub registered_by: PersonName,
    /// Its latest enrolment; absent before the first.
    pub enrolled: Option<Enrolled>,
    /// Hash of its live token, if it has one.
    pub token_hash: Option<String>,
    /// Whether it is let in and managed.
    #[serde(default)]
    pub lifecycle: Lifecycle,
    /// Grows with every enrolment, and when an operator believes a restored state: what was learned of an earlier
    /// installation says nothing of this one.
    #[serde(default)]
    pub incarnation: u64,
    /// Folder of the agent on the host, if an operator chose one.
    #[serde(default)]
    pub prefix: Option<String>,
    /// What it shall run once it is enrolled. Emptied when the intents are stored.
    #[serde(default)]
    pub wanted: BTreeMap<ComponentName, Version>,
    /// That its agent was told to take itself off the host.
    #[serde(default)]
    pub uninstall: Option<Uninstall>,
    /// The authorities that its host said to trust.
    #[serde(default)]
    pub trusts: Vec<Sha256Hex>,
    /// The template by which it provisioned itself; none if an operator added it.
    #[serde(default)]
    pub provisioned_by: Option<TemplateName>,
    /// What its template knows of it besides.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// That an agent was told to take itself off its host. The job's document follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uninstall {
    /// The job that tells it.
    pub job: JobId,
    /// Whether components and their data go too.
    pub purge: bool,
    /// Who asked.
    pub by: PersonName,
    /// When.
    pub at: Timestamp,
}

impl Connector {
    /// One that has just been added.
    #[must_use]
    pub fn new(name: ThingName, registered_by: PersonName, registered_at: Timestamp) -> Self {
        Self {
            name,
            pool: None,
            site: None,
            description: None,
            registered_at,
            registered_by,
            enrolled: None,
            token_hash: None,
            lifecycle: Lifecycle::Active,
            incarnation: 0,
            prefix: None,
            wanted: BTreeMap::new(),
            uninstall: None,
            trusts: Vec::new(),
            provisioned_by: None,
            attributes: BTreeMap::new(),
        }
    }

    /// Whether it was removed.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::Removed { .. })
    }

    /// Whether the server looks after its components.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.lifecycle == Lifecycle::Active
    }
}

/// Whether a connector is let in and managed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// It is.
    #[default]
    Active,
    /// Not at present.
    Disabled {
        /// Since when.
        at: Timestamp,
        /// Who did it.
        by: PersonName,
        /// Why, if they said so.
        reason: Option<String>,
    },
    /// Not any more. What is known of it stays; it comes back with a new enrolment only.
    Removed {
        /// Since when.
        at: Timestamp,
        /// Who did it.
        by: PersonName,
    },
}

/// That a connector has its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the certificate, hexadecimal.
    pub certificate_id: String,
    /// What the host said of itself then.
    pub host: HostFacts,
}
