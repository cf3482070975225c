//! What an operator may set about MQTT. The bounds of each value are checked where the settings file is read.

use muster_wire::filter::TopicFilter;
use muster_wire::limits::{
    CLIENT_ID_BYTES_MAX, FILTERS_PER_SUBSCRIBE_MAX, KEEP_ALIVE_MAX, KEEP_ALIVE_MIN,
    OUTBOUND_IN_FLIGHT_PER_CONNECTION_MAX, OUTBOX_MESSAGES_MAX, PAYLOAD_BYTES_MAX,
    REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX, SESSION_EXPIRY_MAX, SESSION_EXPIRY_V3, SESSIONS_PER_IDENTITY_MAX,
    SESSIONS_WAITING_BYTES_MAX, SESSIONS_WAITING_MAX, SHADOW_REQUESTS_IN_FLIGHT_MAX, SUBSCRIPTIONS_PER_CONNECTION_MAX,
    TOPIC_BYTES_MAX, TOPIC_SLASHES_MAX,
};
use std::time::Duration;

/// The MQTT settings of a bridge. The default is what AWS IoT Core does, except that nothing is slowed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttSettings {
    /// Smallest keep-alive; a shorter wish is raised.
    pub keep_alive_min: Duration,
    /// Largest keep-alive; zero or a longer wish becomes this.
    pub keep_alive_max: Duration,
    /// Longest life of a session without its connection; zero keeps none.
    pub session_expiry_max: Duration,
    /// Life of the session of an MQTT 3.1.1 client that asks for one; not above the one before.
    pub session_expiry_v3: Duration,
    /// Messages that one waiting session holds, at most [`OUTBOX_MESSAGES_MAX`].
    pub session_messages_max: usize,
    /// Sessions that wait at one time.
    pub sessions_waiting_max: usize,
    /// Bytes in all their queues.
    pub sessions_waiting_bytes_max: usize,
    /// Largest payload, at most [`PAYLOAD_BYTES_MAX`].
    pub payload_bytes_max: usize,
    /// Filters in one SUBSCRIBE.
    pub filters_per_subscribe_max: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Longest topic or filter of an application, at most [`TOPIC_BYTES_MAX`].
    pub topic_bytes_max: usize,
    /// Most `/` in one, at most [`TOPIC_SLASHES_MAX`].
    pub topic_slashes_max: usize,
    /// `a/#` matches `a` too, on topics of applications, as in the MQTT standard and unlike AWS IoT Core.
    pub hash_matches_parent: bool,
    /// Longest client id, at most [`CLIENT_ID_BYTES_MAX`].
    pub client_id_bytes_max: usize,
    /// QoS 1 messages of one connection that are not acknowledged to it yet; past it, reading from it pauses.
    pub unacknowledged_in_max: u16,
    /// QoS 1 messages sent to one connection that it has not acknowledged yet; past it, the next ones wait.
    pub unacknowledged_out_max: u16,
    /// Connections of one device at a time.
    pub connections_per_thing_max: usize,
    /// Publishes that are read from one connection in a second; `None`: as they come.
    pub publishes_per_second_max: Option<u32>,
    /// Bytes that are read from one connection in a second; `None`: as they come.
    pub bytes_per_second_max: Option<u32>,
    /// Shadow requests of one connection about one thing that are not answered yet; more are refused, with code 429.
    pub shadow_requests_max: usize,
    /// Connections with the same client id and identity in a second; `None`: as they come.
    pub connects_per_second_max: Option<u32>,
    /// A client that names no server in its TLS handshake is refused.
    pub server_name_required: bool,
    /// Where connectors may publish and subscribe beside the service's own topics; `{thing}` is a whole level.
    pub application_topics: Vec<TopicFilter>,
}

impl Default for MqttSettings {
    fn default() -> Self {
        Self {
            keep_alive_min: KEEP_ALIVE_MIN,
            keep_alive_max: KEEP_ALIVE_MAX,
            session_expiry_max: SESSION_EXPIRY_MAX,
            session_expiry_v3: SESSION_EXPIRY_V3,
            session_messages_max: OUTBOX_MESSAGES_MAX,
            sessions_waiting_max: SESSIONS_WAITING_MAX,
            sessions_waiting_bytes_max: SESSIONS_WAITING_BYTES_MAX,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            filters_per_subscribe_max: FILTERS_PER_SUBSCRIBE_MAX,
            subscriptions_max: SUBSCRIPTIONS_PER_CONNECTION_MAX,
            topic_bytes_max: TOPIC_BYTES_MAX,
            topic_slashes_max: TOPIC_SLASHES_MAX,
            hash_matches_parent: false,
            client_id_bytes_max: CLIENT_ID_BYTES_MAX,
            unacknowledged_in_max: REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX,
            unacknowledged_out_max: OUTBOUND_IN_FLIGHT_PER_CONNECTION_MAX,
            connections_per_thing_max: SESSIONS_PER_IDENTITY_MAX,
            publishes_per_second_max: None,
            bytes_per_second_max: None,
            shadow_requests_max: SHADOW_REQUESTS_IN_FLIGHT_MAX,
            connects_per_second_max: None,
            server_name_required: false,
            application_topics: vec![TopicFilter::new(APPLICATION_TOPICS).expect("a filter without a mistake")],
        }
    }
}

impl MqttSettings {
    /// Whether a topic or filter of an application is short and flat enough. Those of the service always are.
    pub(crate) fn fits(&self, text: &str) -> bool {
        text.len() <= self.topic_bytes_max && text.bytes().filter(|b| *b == b'/').count() <= self.topic_slashes_max
    }
}

/// The default of [`MqttSettings::application_topics`].
pub const APPLICATION_TOPICS: &str = "app/{thing}/#";
