//! Operator requests: MQTT 5 request/response on `muster/op/{verb}`, JSON.
//!
//! The request carries a response topic under `muster/reply/` and correlation data; the answer is a [`Reply`], sent to
//! the requesting connection alone. Who asks is the identity of the connection; no payload says it.

mod backup;
mod ca;
mod cert;
mod component;
mod connector;
mod diagnosis;
mod edit;
mod job;
mod key;
mod lifecycle;
mod policy;
mod provision;
mod recovery;
mod selector;
mod stream;
mod token;
mod upgrade;

pub use backup::{SnapshotTaken, TakeSnapshot};
pub use ca::{CaPhase, CaRoot, CaStatus, LEFT_BEHIND_SHOWN_MAX, RotateCa, ShowCa};
pub use cert::{CertificateList, CertificateStatus, CertificateView, ListCertificates, RevokeCertificate};
pub use component::{ComponentList, ComponentVersion, ListComponents, PublishComponent};
pub use connector::{
    AddConnector, AddedConnector, AgentDownload, ConnectorList, ListConnectors, ShowConnector, ShownConnector,
};
pub use diagnosis::{Finding, LinkEvent, OpenJob};
pub use edit::{Edit, EditConnector, EditedConnector, Intent};
pub use job::{
    AddJobTargets, CancelExecution, CancelJob, CreateJob, CreateJobTemplate, CreatedJob, DeleteExecution, DeleteJob,
    ExecutionChanged, ExecutionList, JobChanged, JobList, JobTemplateList, JobTemplateView, ListExecutions,
    ListJobTemplates, ListJobs, NameJobTemplate, ShowJob, ShownJob, UpdateJob,
};
pub use key::{BadKeyPolicy, CreateKey, CreatedKey, KeyList, KeyPolicy, KeyView, ListKeys, RevokeKey};
pub use lifecycle::{
    DisableConnector, LifecycleChanged, NameConnector, ResolveConnector, UninstallConnector, UninstallProgress,
    UninstallWish,
};
pub use policy::{
    AddPolicy, AttachPolicy, AttachedPolicy, ListPolicies, NamePolicy, PolicyList, PolicyView, ShownPolicy,
};
pub use provision::{
    ClaimList, ClaimState, ClaimView, CreateClaim, CreateTemplate, CreatedClaim, ListClaims, ListTemplates,
    NameTemplate, RevokeClaim, TemplateList, TemplateParameter, TemplateView,
};
pub use recovery::{
    ApproveRecovery, ExpiringCertificate, ExpiringList, ListExpiring, ListRecoveries, Recovery, RecoveryList,
};
pub use selector::{ComponentTest, NotLasting, Pattern, Selector, SelectorError, Status, Term, Test};
pub use stream::{CreateStream, ListStreams, NameStream, StreamFileOf, StreamList, StreamSource, StreamView};
pub use token::{ListTokens, RevokeToken, RevokedToken, TokenList, TokenState, TokenView};
pub use upgrade::{ActionList, ListActions, Upgrade, UpgradeStarted};

use crate::rejection::Rejection;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Defines [`Verb`]: one line for each request.
macro_rules! verbs {
    ($($(#[$doc:meta])* $verb:ident = $text:literal,)+) => {
        /// What an operator can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb {
            $($(#[$doc])* $verb,)+
        }

        impl Verb {
            /// Every verb.
            pub const ALL: &'static [Self] = &[$(Self::$verb),+];

            /// The last level of the topic.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$verb => $text,)+
                }
            }
        }
    };
}

verbs! {
    /// Registers a connector and makes its enrolment token: [`AddConnector`] to [`AddedConnector`].
    ConnectorAdd = "connector-add",
    /// Lists connectors: [`ListConnectors`] to [`ConnectorList`].
    ConnectorList = "connector-list",
    /// Shows one connector: [`ShowConnector`] to [`ShownConnector`].
    ConnectorShow = "connector-show",
    /// Takes a connector out of the fleet: [`NameConnector`] to [`LifecycleChanged`].
    ConnectorRemove = "connector-remove",
    /// Has an agent take itself off its host: [`UninstallConnector`] to [`UninstallProgress`].
    ConnectorUninstall = "connector-uninstall",
    /// Keeps a connector out for a while: [`DisableConnector`] to [`LifecycleChanged`].
    ConnectorDisable = "connector-disable",
    /// Lets a disabled connector in again: [`NameConnector`] to [`LifecycleChanged`].
    ConnectorEnable = "connector-enable",
    /// Ends a quarantine: [`ResolveConnector`] to [`LifecycleChanged`].
    ConnectorResolve = "connector-resolve",
    /// Lists enrolment tokens: [`ListTokens`] to [`TokenList`].
    TokenList = "token-list",
    /// Makes a connector's live token invalid: [`RevokeToken`] to [`RevokedToken`].
    TokenRevoke = "token-revoke",
    /// Changes pool, site or description of a connector: [`EditConnector`] to [`EditedConnector`].
    ConnectorEdit = "connector-edit",
    /// Makes an uploaded package a version of a component: [`PublishComponent`] to
    /// [`crate::component::PublishedComponent`].
    ComponentPublish = "component-publish",
    /// Lists published components: [`ListComponents`] to [`ComponentList`].
    ComponentList = "component-list",
    /// States which connectors shall run which version: [`Upgrade`] to [`UpgradeStarted`].
    Upgrade = "upgrade",
    /// Lists upgrade actions: [`ListActions`] to [`ActionList`].
    Actions = "actions",
    /// Takes back a certificate: [`RevokeCertificate`] to [`CertificateView`].
    CertRevoke = "cert-revoke",
    /// Lists certificates: [`ListCertificates`] to [`CertificateList`].
    CertList = "cert-list",
    /// Shows the authority and its rotation: [`ShowCa`] to [`CaStatus`].
    CaStatus = "ca-status",
    /// Takes the rotation of the authority one phase further: [`RotateCa`] to [`CaStatus`].
    CaRotate = "ca-rotate",
    /// Lists connectors' certificates by the time that is left: [`ListExpiring`] to [`ExpiringList`].
    CertsExpiring = "certs-expiring",
    /// Lists hosts that ask to be let in again: [`ListRecoveries`] to [`RecoveryList`].
    ConnectorRecoveries = "connector-recoveries",
    /// Lets a host in again: [`ApproveRecovery`] to [`Recovery`].
    ConnectorApprove = "connector-approve",
    /// Makes a job for many things: [`CreateJob`] to [`CreatedJob`].
    JobCreate = "job-create",
    /// Lists jobs: [`ListJobs`] to [`JobList`].
    JobList = "job-list",
    /// Shows one job: [`ShowJob`] to [`ShownJob`].
    JobShow = "job-show",
    /// Changes description or course of a job: [`UpdateJob`] to [`ShownJob`].
    JobUpdate = "job-update",
    /// Calls a job off: [`CancelJob`] to [`JobChanged`].
    JobCancel = "job-cancel",
    /// Deletes a job and its executions: [`DeleteJob`] to [`JobChanged`].
    JobDelete = "job-delete",
    /// Adds targets to a continuous job: [`AddJobTargets`] to [`JobChanged`].
    JobTargets = "job-targets",
    /// Lists executions of a job or of a thing: [`ListExecutions`] to [`ExecutionList`].
    JobExecutions = "job-executions",
    /// Calls one execution off: [`CancelExecution`] to [`ExecutionChanged`].
    JobExecutionCancel = "job-execution-cancel",
    /// Deletes one execution: [`DeleteExecution`] to [`ExecutionChanged`].
    JobExecutionDelete = "job-execution-delete",
    /// Makes a job template: [`CreateJobTemplate`] to [`JobTemplateView`].
    JobTemplateCreate = "job-template-create",
    /// Lists job templates: [`ListJobTemplates`] to [`JobTemplateList`].
    JobTemplateList = "job-template-list",
    /// Shows a job template: [`NameJobTemplate`] to [`JobTemplateView`].
    JobTemplateShow = "job-template-show",
    /// Deletes a job template: [`NameJobTemplate`] to [`JobTemplateView`].
    JobTemplateDelete = "job-template-delete",
    /// Adds or replaces a policy: [`AddPolicy`] to [`PolicyView`].
    PolicyAdd = "policy-add",
    /// Lists policies: [`ListPolicies`] to [`PolicyList`].
    PolicyList = "policy-list",
    /// Shows a policy: [`NamePolicy`] to [`ShownPolicy`].
    PolicyShow = "policy-show",
    /// Deletes a policy that nobody has: [`NamePolicy`] to [`PolicyView`].
    PolicyDelete = "policy-delete",
    /// Gives a policy to connectors: [`AttachPolicy`] to [`AttachedPolicy`].
    PolicyAttach = "policy-attach",
    /// Takes a policy away from connectors: [`AttachPolicy`] to [`AttachedPolicy`].
    PolicyDetach = "policy-detach",
    /// Makes an access key: [`CreateKey`] to [`CreatedKey`].
    KeyCreate = "key-create",
    /// Lists access keys: [`ListKeys`] to [`KeyList`].
    KeyList = "key-list",
    /// Takes an access key back: [`RevokeKey`] to [`KeyView`].
    KeyRevoke = "key-revoke",
    /// Makes or replaces a stream: [`CreateStream`] to [`StreamView`].
    StreamCreate = "stream-create",
    /// Lists streams: [`ListStreams`] to [`StreamList`].
    StreamList = "stream-list",
    /// Deletes a stream: [`NameStream`] to [`StreamView`].
    StreamDelete = "stream-delete",
    /// Makes a provisioning template: [`CreateTemplate`] to [`TemplateView`].
    TemplateCreate = "template-create",
    /// Lists provisioning templates: [`ListTemplates`] to [`TemplateList`].
    TemplateList = "template-list",
    /// Shows a provisioning template: [`NameTemplate`] to [`TemplateView`].
    TemplateShow = "template-show",
    /// Deletes a provisioning template: [`NameTemplate`] to [`TemplateView`].
    TemplateDelete = "template-delete",
    /// Makes a claim certificate: [`CreateClaim`] to [`CreatedClaim`].
    ClaimCreate = "claim-create",
    /// Lists claim certificates: [`ListClaims`] to [`ClaimList`].
    ClaimList = "claim-list",
    /// Takes back a claim certificate: [`RevokeClaim`] to [`ClaimView`].
    ClaimRevoke = "claim-revoke",
    /// Writes all records down for a backup: [`TakeSnapshot`] to [`SnapshotTaken`].
    Snapshot = "snapshot",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Verb`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no operator request is called {0:?}")]
pub struct UnknownVerb(pub String);

impl std::str::FromStr for Verb {
    type Err = UnknownVerb;
    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        Self::ALL.iter().copied().find(|verb| verb.as_str() == text).ok_or_else(|| UnknownVerb(text.to_owned()))
    }
}

/// The answer to an operator: `{"ok": …}` or `{"error": {"code": …, "message": …}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply<T> {
    /// It was done; the result.
    Ok(T),
    /// It was refused.
    Error(Rejection),
}

impl<T> Reply<T> {
    /// As a `Result`.
    pub fn into_result(self) -> Result<T, Rejection> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error(rejection) => Err(rejection),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn verbs_round_trip() {
        for verb in Verb::ALL.iter().copied() {
            assert_eq!(verb.as_str().parse(), Ok(verb));
        }
        assert!("drop-all".parse::<Verb>().is_err());
    }

    #[test]
    fn replies_have_the_documented_shape() {
        let ok: Reply<u8> = Reply::Ok(1);
        assert_eq!(serde_json::to_string(&ok).unwrap(), r#"{"ok":1}"#);
        let error: Reply<u8> =
            Reply::Error(Rejection::new(crate::rejection::RejectionCode::NotFound, "no connector is called x"));
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"error":{"code":"not-found","message":"no connector is called x"}}"#
        );
    }
}
