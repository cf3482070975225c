//! The section `[mqtt]`: what devices may do, and how much of it.

use super::{Key, number};
use muster_broker_bridge::MqttSettings;
use muster_runtime::settings::SettingsFile;
use muster_shadow::service::RetainedBounds;
use muster_wire::filter::TopicFilter;
use muster_wire::limits::{
    CLIENT_ID_BYTES_MAX, OUTBOX_MESSAGES_MAX, PAYLOAD_BYTES_MAX, REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX,
    RETAINED_BYTES_MAX, RETAINED_MESSAGES_MAX, TOPIC_BYTES_MAX, TOPIC_SLASHES_MAX,
};
use std::time::Duration;

/// The keys of the section.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "application_topics",
        help: "Topics of your own that every connector may publish and subscribe to. {thing} is its name.\n\
               Example: [\"sensors/{thing}/#\", \"news/+\"]",
        default: "[\"app/{thing}/#\"]",
    },
    Key {
        name: "session_expiry_max_seconds",
        help: "How long a session may wait for its client, in seconds, 0 to 604800. 0: none waits.",
        default: "604800",
    },
    Key {
        name: "session_expiry_default_seconds",
        help: "The same for clients of MQTT 3.1.1, which cannot say how long; not above the one before.",
        default: "3600",
    },
    Key {
        name: "session_messages_max",
        help: "Messages that one waiting session holds, 1 to 1000. Past it new ones are dropped for it.",
        default: "1000",
    },
    Key { name: "sessions_waiting_max", help: "Sessions that wait at one time, 1 to 100000.", default: "10000" },
    Key {
        name: "sessions_waiting_mb",
        help: "Memory for what waits in all sessions, in megabytes, 1 to 4096.",
        default: "64",
    },
    Key { name: "retained_messages_max", help: "Retained messages, 0 to 1000000. They are stored.", default: "10000" },
    Key {
        name: "retained_mb",
        help: "Memory for them, in megabytes, 1 to 4096; the store takes as much.",
        default: "32",
    },
    Key { name: "keep_alive_min_seconds", help: "A shorter keep-alive is raised to this, 1 to 1200.", default: "30" },
    Key { name: "keep_alive_max_seconds", help: "None, or a longer one, becomes this, 30 to 65535.", default: "1200" },
    Key {
        name: "payload_max_kb",
        help: "Largest payload of a message, in units of 1024 bytes, 1 to 128.",
        default: "128",
    },
    Key { name: "subscriptions_max", help: "Subscriptions of one connection, 1 to 1000.", default: "50" },
    Key { name: "filters_per_subscribe_max", help: "Filters in one SUBSCRIBE packet, 1 to 100.", default: "8" },
    Key {
        name: "topic_bytes_max",
        help: "Longest topic or filter of your own topics, in bytes, 16 to 256.",
        default: "256",
    },
    Key { name: "topic_slashes_max", help: "Most slashes in one, 1 to 7.", default: "7" },
    Key {
        name: "hash_matches_parent",
        help: "a/# matches a too, on your own topics, as the MQTT standard has it and AWS IoT Core does not.",
        default: "false",
    },
    Key {
        name: "client_id_bytes_max",
        help: "Longest client id, in bytes, 16 to 128. An agent's is its name, and once in a while its name with -proof.",
        default: "128",
    },
    Key {
        name: "unacknowledged_in_max",
        help: "Messages of QoS 1 taken from one connection before they are acknowledged to it, 1 to 100; more wait.",
        default: "100",
    },
    Key {
        name: "unacknowledged_out_max",
        help: "Messages of QoS 1 sent to one connection before it acknowledges them, 1 to 100; more wait.",
        default: "100",
    },
    Key {
        name: "connections_per_thing_max",
        help: "Connections of one device at a time, 2 to 64: an agent needs two while it renews its certificate.",
        default: "4",
    },
    Key {
        name: "publishes_per_second",
        help: "Messages taken from one connection in a second; more wait. 0: no limit. AWS IoT Core: 100",
        default: "0",
    },
    Key {
        name: "kb_per_second",
        help: "Data taken from one connection in a second, in units of 1024 bytes. 0: no limit. AWS IoT Core: 512",
        default: "0",
    },
    Key {
        name: "shadow_requests_max",
        help: "Shadow requests of one connection, or over HTTP of one client, about one thing that are not answered yet,\n\
               1 to 100. More are refused with code 429, except that 100 only slow the reading of MQTT down.",
        default: "10",
    },
    Key {
        name: "connects_per_second",
        help: "Connections with one client id in a second; more are refused. 0: no limit. AWS IoT Core: 1",
        default: "0",
    },
    Key {
        name: "server_name_required",
        help: "Refuse MQTT clients that name no server in TLS (SNI), as AWS IoT Core does. A client that connects to an\n\
               IP address cannot name one, so this is for servers that all hosts reach by name.",
        default: "false",
    },
];

/// Takes the section out of the file: what the door may do, and how much the services retain.
pub(super) fn take(file: &mut SettingsFile) -> (MqttSettings, RetainedBounds) {
    let default = MqttSettings::default();
    let mut seconds = |key: &str, default: Duration, min, max| {
        Duration::from_secs(file.take(key, default.as_secs(), |text| number(text, min, max)))
    };
    let session_expiry_max = seconds("mqtt.session_expiry_max_seconds", default.session_expiry_max, 0, 604_800);
    let session_expiry_v3 =
        seconds("mqtt.session_expiry_default_seconds", default.session_expiry_v3, 0, 604_800).min(session_expiry_max);
    let keep_alive_min = seconds("mqtt.keep_alive_min_seconds", default.keep_alive_min, 1, 1200);
    let keep_alive_max = seconds("mqtt.keep_alive_max_seconds", default.keep_alive_max, 30, 65_535);
    if keep_alive_min > keep_alive_max {
        let problem = "is more than mqtt.keep_alive_max_seconds".to_owned();
        file.problem("mqtt.keep_alive_min_seconds", Some(keep_alive_min.as_secs().to_string()), problem);
    }
    let mut count = |key: &str, default: usize, min, max| {
        let taken = file.take(key, default as u64, |text| number(text, min, max));
        usize::try_from(taken).unwrap_or(usize::MAX)
    };
    let megabyte = 1024 * 1024;
    let session_messages_max =
        count("mqtt.session_messages_max", default.session_messages_max, 1, OUTBOX_MESSAGES_MAX as u64);
    let sessions_waiting_max = count("mqtt.sessions_waiting_max", default.sessions_waiting_max, 1, 100_000);
    let sessions_waiting_mb = count("mqtt.sessions_waiting_mb", default.sessions_waiting_bytes_max / megabyte, 1, 4096);
    let retained_messages_max = count("mqtt.retained_messages_max", RETAINED_MESSAGES_MAX, 0, 1_000_000);
    let retained_mb = count("mqtt.retained_mb", RETAINED_BYTES_MAX / megabyte, 1, 4096);
    let payload_kb = count("mqtt.payload_max_kb", default.payload_bytes_max / 1024, 1, PAYLOAD_BYTES_MAX as u64 / 1024);
    let subscriptions_max = count("mqtt.subscriptions_max", default.subscriptions_max, 1, 1000);
    let filters_per_subscribe_max = count("mqtt.filters_per_subscribe_max", default.filters_per_subscribe_max, 1, 100);
    let topic_bytes_max = count("mqtt.topic_bytes_max", default.topic_bytes_max, 16, TOPIC_BYTES_MAX as u64);
    let topic_slashes_max = count("mqtt.topic_slashes_max", default.topic_slashes_max, 1, TOPIC_SLASHES_MAX as u64);
    let client_id_bytes_max =
        count("mqtt.client_id_bytes_max", default.client_id_bytes_max, 16, CLIENT_ID_BYTES_MAX as u64);
    let connections_per_thing_max = count("mqtt.connections_per_thing_max", default.connections_per_thing_max, 2, 64);
    let in_flight_max = u64::from(REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX);
    let shadow_requests_max = count("mqtt.shadow_requests_max", default.shadow_requests_max, 1, in_flight_max);
    let mut in_flight = |key: &str, max: u16| {
        let taken = file.take(key, max.into(), |text| number(text, 1, max.into()));
        u16::try_from(taken).unwrap_or(max)
    };
    let unacknowledged_in_max = in_flight("mqtt.unacknowledged_in_max", default.unacknowledged_in_max);
    let unacknowledged_out_max = in_flight("mqtt.unacknowledged_out_max", default.unacknowledged_out_max);
    let mut rate = |key: &str, unit: u32, max| {
        let found = file.take(key, 0, |text| number(text, 0, max));
        u32::try_from(found).ok().filter(|rate| *rate > 0).map(|rate| rate.saturating_mul(unit))
    };
    let publishes_per_second_max = rate("mqtt.publishes_per_second", 1, 1_000_000);
    let bytes_per_second_max = rate("mqtt.kb_per_second", 1024, 1_000_000);
    let connects_per_second_max = rate("mqtt.connects_per_second", 1, 1000);
    let mut switch = |key: &str, default: bool| {
        file.take(key, default, |text| text.parse().map_err(|_| "must be true or false".to_owned()))
    };
    let server_name_required = switch("mqtt.server_name_required", default.server_name_required);
    let hash_matches_parent = switch("mqtt.hash_matches_parent", default.hash_matches_parent);
    let retained = RetainedBounds { messages: retained_messages_max, bytes: retained_mb * megabyte };
    let mqtt = MqttSettings {
        keep_alive_min,
        keep_alive_max,
        session_expiry_max,
        session_expiry_v3,
        session_messages_max,
        sessions_waiting_max,
        sessions_waiting_bytes_max: sessions_waiting_mb * megabyte,
        payload_bytes_max: payload_kb * 1024,
        filters_per_subscribe_max,
        subscriptions_max,
        topic_bytes_max,
        topic_slashes_max,
        hash_matches_parent,
        client_id_bytes_max,
        unacknowledged_in_max,
        unacknowledged_out_max,
        connections_per_thing_max,
        publishes_per_second_max,
        bytes_per_second_max,
        shadow_requests_max,
        connects_per_second_max,
        server_name_required,
        application_topics: application_topics(file).unwrap_or(default.application_topics),
    };
    (mqtt, retained)
}

/// `None` when the file does not name any.
fn application_topics(file: &mut SettingsFile) -> Option<Vec<TopicFilter>> {
    let key = "mqtt.application_topics";
    let texts = file.take_list(key);
    let mut filters = Vec::new();
    for text in &texts {
        match TopicFilter::new(text) {
            Ok(filter) if filter.is_application() => filters.push(filter),
            Ok(_) => {
                let problem = "must not begin with a wildcard, $ or muster/: those topics are the service's";
                file.problem(key, Some(format!("{text:?}")), problem.to_owned());
            }
            Err(error) => file.problem(key, Some(format!("{text:?}")), error.to_string()),
        }
    }
    (!texts.is_empty()).then_some(filters)
}
