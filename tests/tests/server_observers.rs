//! What others may see: a dashboard sees everything it should, a connector nothing but its own.

use muster_tests::client::{Credentials, Message, Mqtt, Version};
use muster_tests::fleet::{Fleet, Process};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const VIEWS: &str = "muster/view/connectors/+";
const VIEW: &str = "muster/view/connectors/edge-1";

#[test]
fn an_observer_with_mqtt_3_sees_status_presence_and_job_events() {
    observer_sees_the_life_of_a_connector(Version::V4);
}

#[test]
fn an_observer_with_mqtt_5_sees_status_presence_and_job_events() {
    observer_sees_the_life_of_a_connector(Version::V5);
}

fn observer_sees_the_life_of_a_connector(version: Version) {
    let fleet = Fleet::start();
    fleet.add_connector("edge-1");
    let (dashboard, device) = (fleet.issue_cert("dashboard", "observer"), fleet.issue_cert("edge-1", "connector"));

    let observer = Mqtt::connect(fleet.address(), &dashboard, "wall", version);
    for filter in ["$aws/events/presence/#", "$aws/events/jobExecution/#", "$aws/things/+/shadow/#", VIEWS] {
        observer.subscribe(filter).expect("an observer may read this");
    }
    let first = observer.wait_for_topic(VIEW);
    assert!(first.retained, "what was there before the subscription is retained: {first:?}");
    let view = first.json();
    assert_eq!((&view["name"], &view["link"], &view["v"]), (&json!("edge-1"), &json!("never"), &json!(1)));

    let thing = Mqtt::connect(fleet.address(), &device, "edge-1-main", Version::V4);
    let online = observer.wait_for("the view says online", |message| link_is(message, "online"));
    assert!(!online.retained, "what happens after the subscription is live: {online:?}");
    let came = observer.wait_for_topic("$aws/events/presence/connected/edge-1-main").json();
    assert_eq!((&came["clientId"], &came["thingName"]), (&json!("edge-1-main"), &json!("edge-1")));
    assert_eq!(came["eventType"], "connected");

    thing.subscribe("$aws/things/edge-1/shadow/update/+").expect("the own topics may be read");
    thing.ask_accepted("$aws/things/edge-1/shadow/update", json!({ "state": { "reported": { "colour": "red" } } }));
    let documents = observer.wait_for_topic("$aws/things/edge-1/shadow/update/documents").json();
    assert_eq!(documents["current"]["state"]["reported"]["colour"], "red");

    do_a_job(&fleet, &thing, "job-1");
    let event = observer.wait_for_topic("$aws/events/jobExecution/job-1/succeeded").json();
    assert_eq!((&event["status"], &event["jobId"]), (&json!("SUCCEEDED"), &json!("job-1")));

    thing.disconnect();
    let went = observer.wait_for_topic("$aws/events/presence/disconnected/edge-1-main").json();
    assert_eq!(
        (&went["clientInitiatedDisconnect"], &went["disconnectReason"], &went["sessionIdentifier"]),
        (&json!(true), &json!("CLIENT_INITIATED_DISCONNECT"), &came["sessionIdentifier"])
    );
    observer.wait_for("the view says stale", |message| link_is(message, "stale"));

    // Who comes later finds the latest state, and only that.
    let late = Mqtt::connect(fleet.address(), &dashboard, "late", version);
    late.subscribe(VIEWS).expect("an observer may read this");
    let found = late.wait_for_topic(VIEW);
    assert!(found.retained && link_is(&found, "stale").is_some(), "{found:?}");

    assert!(observer.ended().is_none() && late.ended().is_none());
}

fn link_is(message: &Message, link: &str) -> Option<Message> {
    (message.topic == VIEW && message.json()["link"] == link).then(|| message.clone())
}

/// An operator makes a job, the device does it.
fn do_a_job(fleet: &Fleet, thing: &Mqtt, job: &str) {
    let document = fleet.root().join("job.json");
    std::fs::write(&document, r#"{"operation":"blink"}"#).expect("a file in the fleet's folder");
    let document = document.to_str().expect("a plain name");
    fleet.muster(&["job", "create", job, "--to-things", "edge-1", "--document", document]).succeeded();
    let started = thing.ask_accepted("$aws/things/edge-1/jobs/start-next", json!({}));
    assert_eq!(started["execution"]["jobId"], job);
    let update = format!("$aws/things/edge-1/jobs/{job}/update");
    thing.ask_accepted(&update, json!({ "status": "SUCCEEDED" }));
}

#[test]
fn mosquitto_sub_sees_status_and_job_events() {
    let program = Path::new("/usr/bin/mosquitto_sub");
    if !program.exists() {
        eprintln!("skipped: {} is not installed", program.display());
        return;
    }
    let fleet = Fleet::start();
    fleet.add_connector("edge-1");
    fleet.issue_cert("dashboard", "observer");
    let device = fleet.issue_cert("edge-1", "connector");
    for (version, name) in [("mqttv311", "old"), ("mqttv5", "new")] {
        let files = fleet.root().join("certificates/observer");
        let mut command = Command::new(program);
        command.args(["-h", "localhost", "-p", &fleet.address().port().to_string(), "-V", version, "-i", name, "-v"]);
        command.arg("--cafile").arg(files.join("ca.crt"));
        command.arg("--cert").arg(files.join("dashboard.crt")).arg("--key").arg(files.join("dashboard.key"));
        // The events first: when the retained view is there, the rest is subscribed.
        for filter in ["$aws/events/jobExecution/#", "$aws/events/presence/#", VIEWS] {
            command.args(["-t", filter]);
        }
        let log = fleet.root().join("logs").join(format!("mosquitto_sub-{name}.log"));
        let mut observer = Process::spawn_and_listen("mosquitto_sub", command, &log);
        observer.wait_for_line(&format!("{VIEW} "), DEADLINE);
        let thing = Mqtt::connect(fleet.address(), &device, &format!("for-{name}"), Version::V4);
        observer.wait_for_line(&format!("$aws/events/presence/connected/for-{name} "), DEADLINE);
        do_a_job(&fleet, &thing, &format!("job-{name}"));
        let line = observer.wait_for_line(&format!("$aws/events/jobExecution/job-{name}/succeeded "), DEADLINE);
        assert!(line.contains("\"status\":\"SUCCEEDED\""), "{line}");
        thing.disconnect();
        observer.kill();
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

/// What belongs to edge-2 or to nobody, for edge-1.
const FOREIGN_FILTERS: [&str; 13] = [
    "$aws/things/edge-2/shadow/#",
    "$aws/things/edge-2/shadow/update/accepted",
    "$aws/things/edge-2/jobs/notify",
    "$aws/things/edge-2/#",
    "$aws/things/+/shadow/#",
    "$aws/things/+/shadow/update/documents",
    "$aws/things/#",
    "$aws/events/#",
    "muster/view/#",
    "muster/op/#",
    "muster/reply/#",
    "#",
    "+/#",
];

const FOREIGN_TOPICS: [&str; 6] = [
    "$aws/things/edge-2/shadow/update",
    "$aws/things/edge-2/shadow/delete",
    "$aws/things/edge-2/shadow/name/components/update",
    "$aws/things/edge-2/jobs/start-next",
    "muster/things/edge-2/telemetry/host",
    "muster/op/connector-list",
];

/// The service's own voice.
const SERVICE_TOPICS: [&str; 8] = [
    "$aws/things/edge-1/shadow/update/accepted",
    "$aws/things/edge-1/shadow/update/delta",
    "$aws/things/edge-2/shadow/update/documents",
    "$aws/things/edge-1/jobs/notify-next",
    "$aws/events/presence/connected/edge-2",
    "$aws/events/jobExecution/job-1/succeeded",
    "muster/view/connectors/edge-2",
    "muster/reply/dashboard/1",
];

/// A fleet where edge-2 has a shadow, and somebody of each kind.
struct Neighbours {
    fleet: Fleet,
    edge_1: Credentials,
    edge_2: Credentials,
}

impl Neighbours {
    fn new() -> Self {
        let fleet = Fleet::start();
        let (edge_1, edge_2) = (fleet.issue_cert("edge-1", "connector"), fleet.issue_cert("edge-2", "connector"));
        let neighbours = Self { fleet, edge_1, edge_2 };
        let owner = neighbours.owner();
        owner.ask_accepted("$aws/things/edge-2/shadow/update", json!({ "state": { "reported": { "secret": 42 } } }));
        neighbours
    }

    fn owner(&self) -> Mqtt {
        let owner = Mqtt::connect(self.fleet.address(), &self.edge_2, "edge-2", Version::V4);
        owner.subscribe("$aws/things/edge-2/shadow/+/+").expect("the own topics may be read");
        owner
    }

    fn stranger(&self, version: Version) -> Mqtt {
        let stranger = Mqtt::connect(self.fleet.address(), &self.edge_1, "edge-1", version);
        stranger.subscribe("$aws/things/edge-1/shadow/+/+").expect("the own topics may be read");
        stranger
    }

    fn shadow(&self) -> Value {
        let mut shadow = self.owner().ask_accepted("$aws/things/edge-2/shadow/get", json!({}));
        let fields = shadow.as_object_mut().expect("a shadow is an object");
        fields.remove("clientToken");
        fields.remove("timestamp");
        shadow
    }
}

#[test]
fn a_connector_cannot_read_what_is_not_its_own() {
    let neighbours = Neighbours::new();
    let (stranger, owner) = (neighbours.stranger(Version::V5), neighbours.owner());
    for filter in FOREIGN_FILTERS {
        let denied = stranger.subscribe(filter).expect_err(filter);
        assert!(denied.contains("NotAuthorized"), "{filter}: {denied}");
    }
    // 3.1.1 has no word for it: the connection ends, as with AWS IoT Core.
    for filter in FOREIGN_FILTERS {
        let stranger = Mqtt::connect(neighbours.fleet.address(), &neighbours.edge_1, "edge-1-old", Version::V4);
        let denied = stranger.subscribe(filter).expect_err(filter);
        assert!(denied.contains("the connection ended"), "{filter}: {denied}");
    }
    for number in 0..10 {
        let update = json!({ "state": { "reported": { "secret": number } } });
        owner.ask_accepted("$aws/things/edge-2/shadow/update", update);
    }
    // Whatever was delivered wrongly would have been before this answer.
    stranger.ask_accepted("$aws/things/edge-1/shadow/update", json!({ "state": { "reported": { "own": 1 } } }));
    let heard = stranger.messages();
    assert!(heard.iter().all(|message| message.topic.starts_with("$aws/things/edge-1/")), "{heard:?}");
}

#[test]
fn a_connector_cannot_write_what_is_not_its_own() {
    let neighbours = Neighbours::new();
    let before = neighbours.shadow();
    let payload = json!({ "state": { "reported": { "secret": "stolen" } } }).to_string();
    let stranger = neighbours.stranger(Version::V5);
    for topic in FOREIGN_TOPICS.iter().chain(&SERVICE_TOPICS) {
        let denied = stranger.publish(topic, payload.clone()).expect_err(topic);
        assert!(denied.contains("NotAuthorized"), "{topic}: {denied}");
    }
    for topic in FOREIGN_TOPICS.iter().chain(&SERVICE_TOPICS) {
        let stranger = Mqtt::connect(neighbours.fleet.address(), &neighbours.edge_1, "edge-1-old", Version::V4);
        let denied = stranger.publish(topic, payload.clone()).expect_err(topic);
        assert!(denied.contains("the connection ended"), "{topic}: {denied}");
    }
    assert_eq!(neighbours.shadow(), before);
    // The one that was told off and stayed can go on with its own work.
    stranger.ask_accepted("$aws/things/edge-1/shadow/update", json!({ "state": { "reported": { "own": 1 } } }));
}

#[test]
fn an_observer_reads_and_writes_nothing() {
    let neighbours = Neighbours::new();
    let before = neighbours.shadow();
    let dashboard = neighbours.fleet.issue_cert("dashboard", "observer");
    let observer = Mqtt::connect(neighbours.fleet.address(), &dashboard, "dashboard", Version::V5);
    for topic in FOREIGN_TOPICS.iter().chain(&SERVICE_TOPICS) {
        let denied = observer.publish(topic, r#"{"state":{"reported":{"secret":0}}}"#).expect_err(topic);
        assert!(denied.contains("NotAuthorized"), "{topic}: {denied}");
    }
    // Jobs carry what operators ask of hosts; that is between them.
    for filter in ["$aws/things/edge-2/jobs/#", "$aws/things/#", "muster/op/#", "muster/reply/#", "#"] {
        let denied = observer.subscribe(filter).expect_err(filter);
        assert!(denied.contains("NotAuthorized"), "{filter}: {denied}");
    }
    assert_eq!(neighbours.shadow(), before);
}
