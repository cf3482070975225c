//! Every payload of Muster's own contract, pinned byte by byte: a changed golden file is a reviewed decision.
//!
//! After a change that is meant, run the test with `MUSTER_GOLDEN=write` and read the difference.

#![allow(clippy::unwrap_used)]

#[path = "golden_tests/provision.rs"]
mod provision;

use muster_wire::admin::*;
use muster_wire::certificate::*;
use muster_wire::component::*;
use muster_wire::enrol::*;
use muster_wire::id::*;
use muster_wire::job::*;
use muster_wire::label::Label;
use muster_wire::policy::PolicyName;
use muster_wire::presence::*;
use muster_wire::rejection::*;
use muster_wire::settings::SettingsReport;
use muster_wire::shadow::*;
use muster_wire::stream::StreamId;
use muster_wire::telemetry::HostTelemetry;
use muster_wire::time::Timestamp;
use muster_wire::view::*;
use serde::Serialize;
use std::path::Path;

#[track_caller]
fn pin(name: &str, payload: &impl Serialize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    let found = serde_json::to_string_pretty(payload).unwrap() + "\n";
    if std::env::var_os("MUSTER_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found, expected, "{name}: the contract changed");
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

fn thing() -> ThingName {
    ThingName::new("web-1").unwrap()
}

fn component() -> ComponentName {
    ComponentName::new("greeter").unwrap()
}

fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

fn digest(byte: u8) -> Sha256Hex {
    Sha256Hex::from_bytes(&[byte; 32])
}

fn published() -> PublishedComponent {
    PublishedComponent {
        name: component(),
        version: version("1.1"),
        sha256: digest(0xab),
        size: 227_745,
        signature: "MEUCIQ==".into(),
        soak_s: 10,
        description: "Answers with its version".into(),
        published_at: at(0),
        published_by: PersonName::new("admin").unwrap(),
    }
}

fn last_failed() -> LastFailed {
    LastFailed { version: version("1.2"), package_sha256: digest(0xcd), reason: "no probe passed".into(), at: at(5) }
}

fn host() -> HostFacts {
    HostFacts {
        agent_version: Some(version("0.1.0")),
        agent_sha256: Some(digest(0x11)),
        hostname: "box".into(),
        os: "Linux (Debian GNU/Linux 12)".into(),
        kernel: "6.1.0-18-amd64".into(),
        arch: "x86_64".into(),
        addresses: vec!["192.0.2.7".into()],
        boot_id: "b1".into(),
        booted_at: Some(at(-3600)),
        start_id: "s1".into(),
        labels: vec![Label::new("env", "prod").unwrap()],
        settings: Some(SettingsReport {
            server: "muster.example.org:8443".into(),
            proxy: Some("http://proxy:3128".into()),
            on_trial: false,
            refused: None,
        }),
        reports_refused: None,
    }
}

fn telemetry() -> HostTelemetry {
    HostTelemetry {
        at: at(9),
        cpu_percent: 12.5,
        load_1m: Some(0.25),
        memory_total_bytes: 8_000_000_000,
        memory_available_bytes: 4_000_000_000,
        disk_total_bytes: 100_000_000_000,
        disk_available_bytes: 50_000_000_000,
        uptime_s: 3600,
        agent_memory_bytes: 11_000_000,
    }
}

fn connector() -> ConnectorView {
    let view = ComponentView {
        desired: Some(version("1.2")),
        reported: Some(version("1.1")),
        confirmed: Some(version("1.1")),
        latest: Some(version("1.2")),
        outdated: true,
        health: Some(Health::Healthy),
        port: Some(8080),
        last_failed: Some(last_failed()),
        why: Some("version 1.2 was rolled back: no probe passed".into()),
    };
    ConnectorView {
        v: VIEW_VERSION,
        name: thing(),
        pool: Some(PoolName::new("blue").unwrap()),
        site: Some(SiteName::new("hq").unwrap()),
        description: Some("front".into()),
        lifecycle: LifecycleView::default(),
        link: LinkStatus::Online,
        link_since: at(1),
        work: WorkStatus::Degraded,
        work_since: at(2),
        last_sync: Some(at(8)),
        registered_at: at(-100),
        enrolled_at: Some(at(-50)),
        host: host(),
        agent_outdated: Some(false),
        components: [(component(), view)].into(),
        telemetry: None,
        clock_ahead_ms: None,
    }
}

fn action() -> ActionView {
    ActionView {
        v: VIEW_VERSION,
        target: TargetId::new("t2").unwrap(),
        job: JobId::new("upgrade-2").unwrap(),
        thing: thing(),
        component: component(),
        from: Some(version("1.1")),
        to: version("1.2"),
        state: ActionState::RolledBack,
        step: None,
        reason: Some("no probe passed".into()),
        by: PersonName::new("admin").unwrap(),
        created_at: at(3),
        updated_at: at(7),
    }
}

#[test]
fn the_views_of_dashboards() {
    pin("view-connector", &connector());
    pin("view-metrics", &telemetry());
    pin("view-action", &action());
}

#[test]
fn the_life_of_a_connector() {
    let admin = || PersonName::new("admin").unwrap();
    let disable = DisableConnector { name: thing(), reason: Some("moves".into()) };
    pin("op-connector-disable", &disable);
    pin("op-connector-remove", &NameConnector { name: thing() });
    pin("op-connector-resolve", &ResolveConnector { name: thing(), keep_current: true });
    let lifecycle = LifecycleView { state: Life::Disabled, since: Some(at(1)), by: Some(admin()), why: disable.reason };
    let changed = LifecycleChanged { name: thing(), lifecycle, certificates_revoked: 1 };
    pin("op-connector-lifecycle", &Reply::Ok(changed));
    let wish = UninstallWish::Start { purge: true };
    pin("op-connector-uninstall", &UninstallConnector { name: thing(), wish });
    let progress = UninstallProgress {
        name: thing(),
        link: LinkStatus::Online,
        link_since: at(1),
        job: Some(JobId::new("uninstall-1").unwrap()),
        status: Some(JobStatus::InProgress),
        details: StatusDetails::new(),
    };
    pin("op-connector-uninstalling", &Reply::Ok(progress));
    pin("job-uninstall", &UninstallDocument { operation: Operation::Uninstall, purge: false });
    pin("installation", &Installation { id: "i1".into(), session: 7 });

    let identity = Some("spiffe://acme/connector/edge-1".to_owned());
    let revoke = RevokeCertificate {
        id: digest(2),
        identity: identity.clone(),
        not_after: Some(at(9)),
        reason: Some("lost".into()),
    };
    let key = KeyView {
        id: AccessKeyId::new("MSTAAAAAAAAAAAAAAAAB").unwrap(),
        policy: KeyPolicy::Connector(thing()),
        description: Some("the data lake".into()),
        created_at: at(0),
        created_by: PersonName::new("admin").unwrap(),
        revoked_at: Some(at(9)),
        revoked_by: Some(PersonName::new("admin").unwrap()),
    };
    pin("op-key-create", &CreateKey { policy: KeyPolicy::Operator, description: Some("the data lake".into()) });
    pin("op-key-created", &Reply::Ok(CreatedKey { key: key.clone(), secret: "shown once".into() }));
    pin("op-key-listed", &Reply::Ok(KeyList { keys: vec![key.clone()], next: Some(key.id.clone()) }));
    pin("op-key-revoke", &RevokeKey { id: key.id });
    pin("op-cert-revoke", &revoke);
    let after = Some(digest(1));
    pin("op-cert-list", &ListCertificates { connector: Some(thing()), after: after.clone() });
    let view = CertificateView {
        id: digest(2),
        identity,
        issued_at: Some(at(0)),
        not_after: Some(at(9)),
        status: CertificateStatus::Revoked,
        since: Some(at(3)),
        by: Some(admin()),
        reason: Some("lost".into()),
    };
    pin("op-cert-listed", &Reply::Ok(CertificateList { certificates: vec![view], next: after }));
}

#[test]
fn certificates_are_renewed_and_authorities_told_over_the_connection() {
    let client_token = "t".to_owned();
    let token = || client_token.clone();
    pin("certificate-renew", &RenewRequest { csr: "CSR".into(), client_token: token() });
    let renewed = RenewAccepted { certificate: "CERTIFICATE".into(), ca: "CA".into(), client_token: token() };
    pin("certificate-renewed", &renewed);
    pin("certificate-prove", &ProveRequest { client_token: token() });
    let proven = ProveAccepted { certificate_id: digest(1).to_string(), client_token: token() };
    pin("certificate-proven", &proven);
    let trust = TrustRequest { roots: vec![digest(1), digest(2)], now: at(1), client_token: token() };
    pin("certificate-trust", &trust);
    let trusted = TrustAccepted { ca: "CA".into(), now: at(2), renew_within_s: Some(60), client_token: token() };
    pin("certificate-trusted", &trusted);
    let rejected = CertificateRejected {
        code: RejectionCode::Busy,
        message: "too many".into(),
        retry_after_s: Some(30),
        client_token: Some(token()),
    };
    pin("certificate-rejected", &rejected);
    let recover = RecoverRequest {
        name: thing(),
        csr: "CSR".into(),
        certificate: "CERTIFICATE".into(),
        signature: "MEUCIQ==".into(),
        host: HostFacts::default(),
    };
    pin("recover", &recover);
    pin("recover-waiting", &RecoverResponse::Waiting { retry_after_s: 30, hint: "an operator lets it in".into() });
    pin("time", &ServerTime { now: at(3) });

    pin("op-ca-status", &ShowCa {});
    pin("op-ca-rotate", &RotateCa { phase: Some(CaPhase::Switched), force: true });
    let status = CaStatus {
        roots: vec![CaRoot { fingerprint: digest(1).to_string(), not_after: at(9), issues: true }],
        phase: Some(CaPhase::TrustBoth),
        since: Some(at(4)),
        connectors: 3,
        trusting: 2,
        renewed: 1,
        left_behind: vec![thing()],
        left_behind_total: 1,
    };
    pin("op-ca-shown", &Reply::Ok(status));
    pin("op-certs-expiring", &ListExpiring { before: at(5) });
    let expiring = ExpiringCertificate { name: thing(), id: digest(2), not_after: at(4) };
    pin("op-certs-listed", &Reply::Ok(ExpiringList { certificates: vec![expiring], more: 1 }));
    pin("op-connector-recoveries", &ListRecoveries {});
    pin("op-connector-approve", &ApproveRecovery { name: thing(), key: Some(digest(3)) });
    let recovery = Recovery {
        name: thing(),
        why: "its certificate has ended".into(),
        key: digest(3),
        certificate: digest(2),
        asked_at: at(6),
        peer: "192.0.2.1".into(),
        host: HostFacts::default(),
        approved_by: Some(PersonName::new("admin").unwrap()),
        approved_at: Some(at(7)),
    };
    pin("op-connector-recovering", &Reply::Ok(RecoveryList { recoveries: vec![recovery] }));
}

#[test]
fn the_requests_and_answers_of_operators() {
    pin(
        "op-connector-add",
        &AddConnector {
            prefix: Some("/opt/muster".into()),
            components: [(component(), version("1.1"))].into(),
            token_life_s: Some(900),
            ..AddConnector::new(thing(), Some(PoolName::new("blue").unwrap()))
        },
    );
    let agent = AgentDownload { path: "/agent/linux-x86_64/muster-agent".into(), sha256: digest(1), size: 11_718_464 };
    pin(
        "op-connector-added",
        &Reply::Ok(AddedConnector {
            name: thing(),
            token: "mst1_x".into(),
            expires_at: at(300),
            pool: Some(PoolName::new("blue").unwrap()),
            prefix: Some("/opt/muster".into()),
            agent: Some(agent),
        }),
    );
    let token = TokenView {
        id: "0123456789ab".into(),
        connector: thing(),
        pool: Some(PoolName::new("blue").unwrap()),
        prefix: Some("/opt/muster".into()),
        issued_by: PersonName::new("admin").unwrap(),
        issued_at: Some(at(0)),
        expires_at: at(300),
        state: TokenState::Used,
        uses: 1,
        uses_max: 1,
        used_at: Some(at(60)),
        used_from: Some("192.0.2.1".into()),
    };
    pin("op-token-list", &ListTokens { all: true });
    pin("op-token-listed", &Reply::Ok(TokenList { now: at(100), tokens: vec![token.clone()], left_off: 0 }));
    pin("op-token-revoke", &RevokeToken { connector: thing() });
    pin("op-token-revoked", &Reply::Ok(RevokedToken { token }));
    pin("op-connector-list", &ListConnectors { selector: Some(Selector::all()), after: Some(thing()), removed: false });
    pin("op-connector-listed", &Reply::Ok(ConnectorList { connectors: vec![connector()], next: Some(thing()) }));
    pin(
        "op-connector-shown",
        &Reply::Ok(ShownConnector {
            connector: connector(),
            actions: vec![action()],
            findings: vec![Finding {
                about: "greeter".into(),
                what: "version 1.2 was rolled back: no probe passed".into(),
                next: "publish a corrected version".into(),
            }],
            certificates: Vec::new(),
            policies: vec![PolicyName::new("default").unwrap()],
            jobs: vec![OpenJob {
                job: JobId::new("reboot-7").unwrap(),
                status: JobStatus::Queued,
                step: None,
                queued_at: at(1),
                updated_at: at(1),
            }],
            provisioned_by: None,
            attributes: Default::default(),
            link_history: vec![LinkEvent { at: at(1), up: true }],
        }),
    );
    let stream = StreamId::new("firmware").unwrap();
    let package = ComponentVersion { name: component(), version: version("1.1") };
    let create = CreateStream {
        stream: stream.clone(),
        description: "for line 4".into(),
        files: vec![
            StreamSource::File { sha256: digest(0xcd), name: "image.bin".into() },
            StreamSource::Component(package),
        ],
        replace: true,
    };
    pin("op-stream-create", &create);
    pin("op-stream-name", &NameStream { stream: stream.clone() });
    pin("op-stream-list", &ListStreams { after: Some(stream.clone()) });
    let view = StreamView {
        stream: stream.clone(),
        version: 2,
        description: "for line 4".into(),
        files: vec![StreamFileOf { file: 0, name: "image.bin".into(), size: 5_000, sha256: digest(0xcd) }],
        by: PersonName::new("admin").unwrap(),
        at: at(0),
    };
    pin("op-stream-listed", &Reply::Ok(StreamList { streams: vec![view], next: Some(stream) }));
    let policy = PolicyName::new("line-gateway").unwrap();
    let view = PolicyView {
        name: policy.clone(),
        built_in: None,
        version: 2,
        connectors: 1,
        by: Some(PersonName::new("admin").unwrap()),
        at: Some(at(0)),
    };
    pin("op-policy-add", &AddPolicy { name: policy.clone(), document: "{}".into(), replace: true });
    pin("op-policy-list", &ListPolicies { after: Some(policy.clone()) });
    pin("op-policy-listed", &Reply::Ok(PolicyList { policies: vec![view.clone()], next: Some(policy.clone()) }));
    pin("op-policy-name", &NamePolicy { name: policy.clone() });
    let shown = ShownPolicy { policy: view, document: "{}".into(), connectors: vec![thing()] };
    pin("op-policy-shown", &Reply::Ok(shown));
    pin("op-policy-attach", &AttachPolicy { name: policy.clone(), connectors: vec![thing()], any_name: true });
    let attached = AttachedPolicy { name: policy, changed: vec![thing()], unchanged: Vec::new() };
    pin("op-policy-attached", &Reply::Ok(attached));
    let edit = EditConnector {
        name: thing(),
        pool: Edit::Set(PoolName::new("green").unwrap()),
        site: Edit::Clear,
        description: Edit::Keep,
    };
    pin("op-connector-edit", &edit);
    let intent = Intent { component: component(), version: version("1.1"), target: TargetId::new("t2").unwrap() };
    let edited = EditedConnector { connector: connector(), wanted_now: vec![intent], wanted_no_more: Vec::new() };
    pin("op-connector-edited", &Reply::Ok(edited));
    let publish = PublishComponent {
        name: component(),
        version: version("1.1"),
        sha256: digest(0xab),
        size: 227_745,
        signature: "MEUCIQ==".into(),
        soak_s: 10,
        description: String::new(),
    };
    pin("op-component-publish", &publish);
    pin("op-component-listed", &Reply::Ok(ComponentList { components: vec![published()], next: None }));
    pin(
        "op-upgrade",
        &Upgrade {
            component: component(),
            version: version("1.1"),
            to: Selector::pool(&PoolName::new("blue").unwrap()),
            again: false,
        },
    );
    let started = UpgradeStarted { target: TargetId::new("t2").unwrap(), matched: vec![thing()] };
    pin("op-upgrade-started", &Reply::Ok(started));
    pin("op-actions", &ListActions { thing: Some(thing()), target: None });
    let job = JobId::new("reboot-7").unwrap();
    let document = serde_json::Map::from_iter([("do".to_owned(), "reboot".into())]);
    let config = serde_json::json!({
        "targetSelection": "CONTINUOUS",
        "jobExecutionsRolloutConfig": { "maximumPerMinute": 100, "exponentialRate": { "baseRatePerMinute": 50,
            "incrementFactor": 1.5, "rateIncreaseCriteria": { "numberOfSucceededThings": 1000 } } },
        "abortConfig": { "criteriaList": [{ "failureType": "ALL", "action": "CANCEL", "thresholdPercentage": 12.5,
            "minNumberOfExecutedThings": 10 }] },
        "timeoutConfig": { "inProgressTimeoutInMinutes": 30 },
        "jobExecutionsRetryConfig": { "criteriaList": [{ "failureType": "FAILED", "numberOfRetries": 3 }] },
        "schedulingConfig": { "startTime": "2027-01-15 08:00", "endTime": "2027-01-16 08:00",
            "endBehavior": "FORCE_CANCEL",
            "maintenanceWindows": [{ "startTime": "cron(30 22 ? * FRI *)", "durationInMinutes": 120 }] },
    });
    let config: JobConfig = serde_json::from_value(config).unwrap();
    let create = CreateJob {
        job_id: job.clone(),
        targets: vec![thing()],
        groups: vec!["pool=blue".parse().unwrap()],
        document: Some(document.clone()),
        template: None,
        parameters: [].into(),
        description: Some("Saturday's restart".into()),
        config: config.clone(),
    };
    pin("op-job-create", &create);
    let created = CreatedJob { job_arn: job_arn(&job), job_id: job.clone(), description: None, executions: 1 };
    pin("op-job-created", &Reply::Ok(created));
    let summary = JobSummary {
        job_arn: job_arn(&job),
        job_id: job.clone(),
        target_selection: TargetSelection::Continuous,
        status: WholeJobStatus::InProgress,
        created_at: 1_800_000_000,
        last_updated_at: 1_800_000_001,
        completed_at: None,
        targets: vec![thing_arn(&thing()), group_arn(&"pool=blue")],
        number_of_waiting_things: 4,
        job_process_details: JobProcessDetails { number_of_queued_things: 3, ..JobProcessDetails::default() },
    };
    let described = JobDescription {
        summary: summary.clone(),
        description: Some("Saturday's restart".into()),
        force_canceled: None,
        reason_code: None,
        comment: None,
        job_executions_rollout_config: None,
        abort_config: None,
        timeout_config: None,
        job_executions_retry_config: None,
        scheduling_config: None,
        job_template_arn: None,
        document_parameters: [].into(),
        created_by: "admin".into(),
    };
    pin("op-job-shown", &Reply::Ok(ShownJob { job: described.with_config(config), document }));
    pin("op-job-listed", &Reply::Ok(JobList { jobs: vec![summary], next_token: None }));
    let execution = ExecutionDescription {
        job_id: job.clone(),
        thing_arn: thing_arn(&thing()),
        status: JobStatus::Canceled,
        force_canceled: true,
        status_details: NestedDetails { details_map: [("step".to_owned(), "1".to_owned())].into() },
        queued_at: 1_800_000_000,
        started_at: Some(1_800_000_001),
        last_updated_at: 1_800_000_002,
        execution_number: 1,
        version_number: 3,
        approximate_seconds_before_timed_out: None,
    };
    pin(
        "op-job-executions-listed",
        &Reply::Ok(ExecutionList { execution_summaries: vec![execution], next_token: None }),
    );
    let event = JobEvent {
        event_type: "JOB".into(),
        event_id: "e".into(),
        timestamp: 1_800_000_002,
        operation: JobOperation::Completed,
        job_id: job,
        status: JobOperation::Completed.status(),
        target_selection: TargetSelection::Snapshot,
        targets: vec![thing_arn(&thing())],
        description: None,
        completed_at: Some(at(2)),
        created_at: at(0),
        last_updated_at: at(2),
        comment: None,
        job_process_details: Some(EndDetails { number_of_succeeded_things: 1, ..EndDetails::default() }),
    };
    pin("event-job", &event);
    pin("op-snapshot", &TakeSnapshot {});
    let taken = SnapshotTaken { file: "snapshot-0.records".into(), entries: 1200, bytes: 840_000, at: at(20) };
    pin("op-snapshot-taken", &Reply::Ok(taken));
    let refused: Reply<()> = Reply::Error(Rejection::new(RejectionCode::NotFound, "no connector is called x"));
    pin("op-refused", &refused);
}

#[test]
fn what_agents_and_the_server_tell_each_other() {
    let report = ComponentReport {
        version: version("1.1"),
        package_sha256: digest(0xab),
        program_sha256: Some(digest(0xef)),
        start_id: Some("b1/4711/99".into()),
        started_at: Some(at(2)),
        health: Health::Healthy,
        healthy_for_s: 10,
        restarts: 0,
        port: Some(8080),
        last_failed: Some(last_failed()),
    };
    pin("component-report", &report);
    pin("component-desired", &DesiredComponent { version: version("1.1") });
    pin("job-document-upgrade", &published().upgrade_document());
    pin("host-facts", &host());
    let request = EnrolRequest {
        token: "mst1_x".into(),
        name: thing(),
        pool: Some(PoolName::new("blue").unwrap()),
        prefix: Some("/opt/muster".into()),
        csr: "-----BEGIN".into(),
        host: host(),
    };
    pin("enrol-request", &request);
    let response = EnrolResponse {
        name: thing(),
        fleet: "muster".into(),
        certificate: "-----BEGIN".into(),
        ca: "-----BEGIN".into(),
        publisher_key: "MFkw".into(),
    };
    pin("enrol-response", &response);
}

#[test]
fn the_messages_of_the_aws_apis() {
    let error = ShadowError::new(404, "No shadow exists with name: 'web-1'");
    pin("shadow-rejected", &ShadowRejected::new(&error, Some("t"), at(0)));
    let summary = JobExecutionSummary {
        job_id: JobId::new("reboot-7").unwrap(),
        queued_at: 1,
        started_at: Some(2),
        last_updated_at: 3,
        version_number: 2,
        execution_number: 1,
    };
    let execution = JobExecution {
        job_id: JobId::new("reboot-7").unwrap(),
        thing_name: None,
        job_document: Some(JobDocument::from_iter([("do".to_owned(), "reboot".into())])),
        status: JobStatus::InProgress,
        status_details: [("step".to_owned(), "probing".to_owned())].into(),
        queued_at: 1,
        started_at: Some(2),
        last_updated_at: 3,
        version_number: 2,
        execution_number: 1,
        approximate_seconds_before_timed_out: Some(3600),
    };
    pin("jobs-notify", &Notify { timestamp: 4, jobs: NotifyJobs { in_progress: vec![summary], queued: vec![] } });
    pin("jobs-notify-next", &NotifyNext { timestamp: 4, execution: Some(execution) });
    let rejected = JobRejected {
        code: JobErrorCode::VersionMismatch,
        message: "Expected version 99 but found version 1".into(),
        timestamp: 4,
        client_token: Some("t".into()),
        execution_state: Some(JobExecutionState {
            status: JobStatus::Queued,
            status_details: StatusDetails::new(),
            version_number: 1,
        }),
    };
    pin("jobs-rejected", &rejected);
    let event = JobExecutionEvent {
        event_type: "JOB_EXECUTION".into(),
        event_id: "e".into(),
        timestamp: 4,
        operation: "succeeded".into(),
        job_id: JobId::new("reboot-7").unwrap(),
        thing_arn: "arn:aws:iot:::thing/web-1".into(),
        status: "SUCCEEDED".into(),
        status_details: StatusDetails::new(),
    };
    pin("event-job-execution", &event);
    let presence = Presence {
        client_id: "web-1".into(),
        timestamp: 1_800_000_000_000,
        event_type: "disconnected".into(),
        session_identifier: "5".into(),
        principal_identifier: "c".into(),
        ip_address: None,
        client_initiated_disconnect: Some(false),
        disconnect_reason: Some(DisconnectReason::DuplicateClientId),
        version_number: 3,
        thing_name: Some("web-1".into()),
    };
    pin("event-presence", &presence);
    let failed = ConnectFailed {
        client_id: "web-1".into(),
        timestamp: 1_800_000_000_000,
        event_type: "connect_failed".into(),
        connect_failure_reason: ConnectFailureReason::AuthorizationFailed,
        principal_identifier: "c".into(),
        ip_address: "192.0.2.7".into(),
    };
    pin("event-connect-failed", &failed);
    let subscriptions = Subscriptions {
        client_id: "web-1".into(),
        timestamp: 1_800_000_000_000,
        event_type: "subscribed".into(),
        session_identifier: "5".into(),
        principal_identifier: "c".into(),
        topics: vec!["app/web-1/#".into(), "$share/g/app/+/x".into()],
    };
    pin("event-subscriptions", &subscriptions);
}
