//! Every bound of the product, with its unit in the name and the reason above it.

use std::time::Duration;

/// Largest MQTT payload. AWS IoT Core's figure (quotas, "maximum publish message size").
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024;
/// What an answer says of a payload that cannot be read; the parser quotes what it found.
pub const DECODE_DETAIL_CHARS_MAX: usize = 256;
/// Largest MQTT packet: payload, topic and properties.
pub const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 8 * 1024;
/// Largest packet before CONNECT is accepted: client id, will, user name and properties, from a peer of unknown intent.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// Largest shadow document (desired and reported as JSON, metadata excluded). AWS IoT Core's default.
pub const SHADOW_DOCUMENT_BYTES_MAX: usize = 8 * 1024;
/// Deepest nesting of objects below `desired` or `reported`, unless the settings say otherwise. The literal AWS message
/// names 6, its page of quotas 8.
pub const SHADOW_DEPTH_MAX: usize = 6;
/// The deepest that the settings may allow: what is accepted must stay readable for every JSON reader.
pub const SHADOW_DEPTH_SETTING_MAX: usize = 32;
/// Most values (scalars, also inside arrays) below `desired` and `reported` together. Each has a time in the metadata,
/// and the document before and after an update must fit one message: asserted below.
pub const SHADOW_LEAVES_MAX: usize = 1600;
/// Most shadows of one thing. AWS IoT Core has no limit.
pub const SHADOWS_PER_THING_MAX: usize = 100;
/// How long the version of a deleted shadow is kept, to go on when it is made again. AWS IoT Core's figure.
pub const DELETED_SHADOW_KEPT: Duration = Duration::from_secs(48 * 3600);
/// Deleted shadows of one thing whose versions are kept. Past it the one that was deleted first begins at 1 again when it
/// is made: a thing that makes and deletes endless names fills no disk.
pub const DELETED_SHADOWS_PER_THING_MAX: usize = 100;
/// Longest client token of a shadow or job request.
pub const CLIENT_TOKEN_BYTES_MAX: usize = 64;
/// Largest job document as JSON. AWS IoT Core's figure, which counts characters; so many of four bytes fit no message.
pub const JOB_DOCUMENT_BYTES_MAX: usize = 32 * 1024;
/// Longest description of a job or of a job template, and longest comment of a cancel. AWS IoT Core's figure; characters.
pub const JOB_DESCRIPTION_CHARS_MAX: usize = 2028;
/// Longest reason code of a cancel. AWS IoT Core's figure.
pub const REASON_CODE_BYTES_MAX: usize = 128;
/// Most targets (things and groups) of a job that names groups or is continuous. AWS IoT Core's figure.
pub const JOB_TARGETS_MAX: usize = 100;
/// Most jobs that are not over. Each costs memory, and a look whenever one of its things reports.
pub const JOBS_LIVE_MAX: usize = 1000;
/// Most jobs that are being deleted at one time. AWS IoT Core's figure.
pub const JOBS_DELETING_MAX: usize = 10;
/// Things that the fleet's worker gives a job at one go, before it serves whoever else waits; also the size of a stored
/// page of names (at most 128 bytes each, so that a page fits a record many times).
pub const JOB_PAGE_THINGS: usize = 1000;
/// Most pairs in the `statusDetails` of an execution.
pub const STATUS_DETAILS_MAX: usize = 10;
/// Longest key of `statusDetails`.
pub const STATUS_DETAIL_KEY_BYTES_MAX: usize = 128;
/// Longest value of `statusDetails`, in characters: up to four times so many bytes.
pub const STATUS_DETAIL_VALUE_CHARS_MAX: usize = 1024;
/// Most executions named in one `notify` message. AWS IoT Core's figure.
pub const NOTIFY_EXECUTIONS_MAX: usize = 10;
/// Longest topic or topic filter.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Most `/` in a topic or filter: eight levels. `$aws/things/T/shadow/name/S/update/accepted` has exactly so many.
pub const TOPIC_SLASHES_MAX: usize = 7;
/// Longest MQTT client id.
pub const CLIENT_ID_BYTES_MAX: usize = 128;
/// Most filters in one SUBSCRIBE.
pub const FILTERS_PER_SUBSCRIBE_MAX: usize = 8;
/// Most subscriptions of one connection.
pub const SUBSCRIPTIONS_PER_CONNECTION_MAX: usize = 50;
/// Most connections of one identity.
pub const SESSIONS_PER_IDENTITY_MAX: usize = 4;
/// Requests of one connection that are not answered yet; past it, reading from that connection pauses.
pub const REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: u16 = 100;
/// Of these, shadow requests about one thing, unless the settings say otherwise; more are refused. AWS IoT Core's figure.
pub const SHADOW_REQUESTS_IN_FLIGHT_MAX: usize = 10;
/// QoS 1 messages sent to one connection and not acknowledged yet.
pub const OUTBOUND_IN_FLIGHT_PER_CONNECTION_MAX: u16 = 100;
/// Messages waiting for one connection. Past it QoS 0 loses the oldest and a QoS 1 message ends the connection:
/// the device pulls its state anew when it returns.
pub const OUTBOX_MESSAGES_MAX: usize = 1000;
/// Bytes waiting for one connection, for the same reason.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;
/// Requests waiting for one partition worker; past it the door stops reading from the connections that ask.
pub const PARTITION_QUEUE_MAX: usize = 4 * 1024;
/// Requests that one worker takes into one durable commit. Larger gains little: the flush is already shared.
pub const COMMIT_BATCH_MAX: usize = 256;
/// Connections in TLS handshake or before CONNECT at one time; more wait in the accept queue of the kernel. A silent one
/// costs memory for [`HANDSHAKE_DEADLINE`], about 10 KiB each, and no CPU.
pub const HANDSHAKES_MAX: usize = 4096;
/// Connections accepted at all.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Largest HTTP request body that is held in memory (enrolment).
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;
/// Largest artifact (component package).
pub const ARTIFACT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Largest unpacked component version; a guard against decompression bombs.
pub const UNPACKED_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Most files in one component package.
pub const PACKAGE_FILES_MAX: usize = 100_000;
/// Longest description of a connector or a component.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// Longest text of a selector: a hundred names of common length.
pub const SELECTOR_BYTES_MAX: usize = 4096;
/// Longest id of an agent's installation.
pub const INSTALLATION_ID_BYTES_MAX: usize = 64;
/// Actions that one listing returns.
pub const ACTIONS_LISTED_MAX: usize = 1000;
/// Finished actions kept for each connector; older ones are deleted.
pub const ACTIONS_KEPT_PER_THING: usize = 100;

/// A TLS handshake must be over by then.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// After the handshake, CONNECT must be there by then.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// A write to a connection that makes no progress for so long ends it.
pub const WRITE_STALL_DEADLINE: Duration = Duration::from_secs(30);
/// Smallest keep-alive; a shorter wish is raised. AWS IoT Core's figure.
pub const KEEP_ALIVE_MIN: Duration = Duration::from_secs(30);
/// Largest keep-alive; zero or a longer wish becomes this. AWS IoT Core's figure.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(1200);
/// How often an agent speaks at least (its MQTT keep-alive).
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// A connector that has been gone for so long is offline, unless the settings say otherwise; until then it is stale. It is
/// gone when its connection ends, and a silent connection ends after one and a half keep-alives.
pub const OFFLINE_AFTER: Duration = Duration::from_secs(300);
/// Shortest such time that the settings may ask for; a timer is exact to a quarter of a second.
pub const OFFLINE_AFTER_MIN: Duration = Duration::from_secs(1);
/// Longest such time: whoever is gone for a week is not gone for a while.
pub const OFFLINE_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// An agent with changed connection settings must be confirmed over the new path by then, or goes back to the old ones.
pub const SETTINGS_TRIAL: Duration = Duration::from_secs(5 * 60);
/// How often an agent sends telemetry.
pub const TELEMETRY_INTERVAL: Duration = Duration::from_secs(30);
/// How often an agent pulls its whole state although no hint came; ± 20 %.
pub const VERIFY_INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often the reconciler looks at every connector although nothing woke it.
pub const RESCAN_INTERVAL: Duration = Duration::from_secs(60);
/// Life of an enrolment token.
pub const ENROLMENT_TOKEN_LIFE: Duration = Duration::from_secs(5 * 60);
/// Shortest life of an enrolment token that an operator may ask for: time to paste a script.
pub const ENROLMENT_TOKEN_LIFE_MIN: Duration = Duration::from_secs(10);
/// Longest life of an enrolment token: it is a secret in a text that people pass on.
pub const ENROLMENT_TOKEN_LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Tokens that were used or have expired are remembered for so long, so that a late script is told why it fails.
pub const ENROLMENT_TOKEN_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Longest path of an agent's folder; what an operating system takes in a unit or a registry key.
pub const PREFIX_BYTES_MAX: usize = 240;
/// Most components that a connector can be added with.
pub const COMPONENTS_PER_ADD_MAX: usize = 50;
/// Life of a device certificate.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a certificate's record outlives the certificate: what was revoked stays refused under any clock that is not
/// wrong by more, and an agent that was away for long can still be told apart.
pub const CERTIFICATE_RECORD_KEPT: Duration = Duration::from_secs(400 * 24 * 3600);
/// Shortest life of a certificate that a server may be told to issue: shorter ones end before a renewal is done.
pub const CERTIFICATE_LIFE_MIN: Duration = Duration::from_secs(15);
/// Longest life of a connector's certificate: a year and a month.
pub const CERTIFICATE_LIFE_MAX: Duration = Duration::from_secs(398 * 24 * 3600);
/// Certificates that one connector gets within a twentieth of their life; one that asks for more is in a loop.
pub const RENEWALS_PER_INTERVAL_MAX: usize = 5;
/// Renewals that a change of the authority spreads over a second: the fleet's worker does them one by one.
pub const RENEWALS_PER_SECOND: u64 = 20;
/// How long a host that asks to be let in again is listed after it asked last.
pub const RECOVERY_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Operators are warned of the end of their certificate so long before.
pub const OPERATOR_WARNING: Duration = Duration::from_secs(30 * 24 * 3600);
/// First wait of an agent whose renewal was refused or failed; doubles up to [`RENEWAL_RETRY_CAP`], with full jitter.
pub const RENEWAL_RETRY_BASE: Duration = Duration::from_secs(5);
/// Longest of these waits: half of a certificate's life has room for hundreds.
pub const RENEWAL_RETRY_CAP: Duration = Duration::from_secs(60 * 60);
/// First wait of an agent that is not let in and asks to be; doubles up to [`RECOVERY_RETRY_CAP`].
pub const RECOVERY_RETRY_BASE: Duration = Duration::from_secs(5);
/// Longest of these waits: a person who said yes looks at the screen for so long.
pub const RECOVERY_RETRY_CAP: Duration = Duration::from_secs(5 * 60);
/// Clocks further apart than this are told of: certificates begin so long before they are issued.
pub const CLOCK_SKEW_WARN: Duration = Duration::from_secs(5 * 60);
/// With clocks further apart than this nobody asks for a certificate: first the clock is set.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60 * 60);
/// A job execution in progress for so long without an end has timed out.
pub const JOB_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// After the agent said that an upgrade succeeded, the proof must be there by then (plus the soak time).
pub const PROOF_DEADLINE: Duration = Duration::from_secs(5 * 60);
/// First wait of every retry; doubles up to [`RETRY_CAP`], with full jitter.
pub const RETRY_BASE: Duration = Duration::from_secs(1);
/// Longest wait of every retry.
pub const RETRY_CAP: Duration = Duration::from_secs(60);
/// How long a shutdown waits for its tasks.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// `{"timestamp":1800000000},` is what one value adds to the metadata.
const LEAF_METADATA_BYTES: usize = 25;
const _: () = assert!(
    2 * (2 * SHADOW_DOCUMENT_BYTES_MAX + SHADOW_LEAVES_MAX * LEAF_METADATA_BYTES) < PAYLOAD_BYTES_MAX,
    "the documents before and after an update, with metadata, fit a message"
);
const _: () = assert!(
    JOB_DOCUMENT_BYTES_MAX + STATUS_DETAILS_MAX * (STATUS_DETAIL_KEY_BYTES_MAX + 4 * STATUS_DETAIL_VALUE_CHARS_MAX)
        < PAYLOAD_BYTES_MAX - 8 * 1024,
    "an execution with its document and details fits a message"
);
const _: () = assert!(JOB_DOCUMENT_BYTES_MAX * 2 < PAYLOAD_BYTES_MAX, "a job document fits a packet");
const _: () = assert!(PAYLOAD_BYTES_MAX < PACKET_BYTES_MAX && PACKET_BYTES_MAX < OUTBOX_BYTES_MAX);

/// Connections of one address in TLS handshake or before CONNECT; more are closed at once. An eighth of
/// [`HANDSHAKES_MAX`]: one address cannot hold the door shut, and hundreds of hosts behind one NAT still return together.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 512;
/// HTTP connections of clients without a usable certificate; more get a 503. A slow reader holds about 200 KB.
pub const HTTP_ANONYMOUS_MAX: usize = 256;
/// The same for one address, so that one alone cannot keep all others from enrolling.
pub const HTTP_ANONYMOUS_PER_ADDRESS_MAX: usize = 64;
/// Life of such a connection, whatever moves on it: enough for the agent's binary on a slow line.
pub const HTTP_ANONYMOUS_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Longest name of a group in a shared subscription. AWS IoT Core's figure.
pub const SHARE_NAME_BYTES_MAX: usize = 128;
/// Groups of shared subscriptions at one time, in the whole bridge: each is a queue and maybe a reader.
pub const SHARE_GROUPS_MAX: usize = 1000;
/// Longest life of a session without its connection. AWS IoT Core's figure.
pub const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Life of the session of an MQTT 3.1.1 client, which cannot say how long. AWS IoT Core's default.
pub const SESSION_EXPIRY_V3: Duration = Duration::from_secs(3600);
/// Sessions that wait for their client at one time. Each holds its subscriptions, about 1 KiB, and its queue.
pub const SESSIONS_WAITING_MAX: usize = 10_000;
/// Bytes in the queues of all waiting sessions and groups. Past it a new message is dropped for them, and counted.
pub const SESSIONS_WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Retained messages of applications.
pub const RETAINED_MESSAGES_MAX: usize = 10_000;
/// Bytes of them, topics and properties included: in the store, and in memory for whoever subscribes.
pub const RETAINED_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Messages that wait to be retained; past it the door stops reading from the connections that publish them. Any of them
/// may be as large as a packet, and all that wait go into one commit.
pub const RETAINED_QUEUE_MAX: usize = 128;
/// Longest life of a message that has one; a longer wish becomes this. AWS IoT Core's figure.
pub const MESSAGE_EXPIRY_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Topic aliases of one connection, in each direction. AWS IoT Core's figure.
pub const TOPIC_ALIASES_MAX: u16 = 8;
/// Longest policy document, white space not counted. AWS IoT Core's figure.
pub const POLICY_CHARS_MAX: usize = 2048;
/// The same with white space: what is read and stored.
pub const POLICY_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Problems of a policy document that are told at once, and how much of each: they quote the document.
pub const POLICY_PROBLEMS_MAX: usize = 20;
/// See [`POLICY_PROBLEMS_MAX`]. The longest sentence that does not quote has about 500.
pub const POLICY_PROBLEM_CHARS_MAX: usize = 1000;
/// Longest value that stands for a variable of a policy. AWS IoT Core's figure.
pub const POLICY_VARIABLE_BYTES_MAX: usize = 1024;
/// Policies of one connector. AWS IoT Core's figure for a certificate.
pub const POLICIES_PER_CONNECTOR_MAX: usize = 10;
/// Policies of a fleet. Each is held in memory, read, by the door.
pub const POLICIES_MAX: usize = 1000;
/// Connectors in one request that attaches a policy or takes it away; the answer names them all.
pub const POLICY_TARGETS_PER_REQUEST_MAX: usize = 500;

/// Names of shadows in one answer of the HTTP data plane. AWS IoT Core's figure.
pub const PLANE_SHADOWS_PAGE_MAX: usize = 100;
/// The same, when the client does not say. That of AWS IoT Greengrass.
pub const PLANE_SHADOWS_PAGE_USUAL: usize = 25;
/// Retained messages in one answer of the HTTP data plane. AWS IoT Core's figure.
pub const PLANE_RETAINED_PAGE_MAX: usize = 200;
/// Subscriptions in one answer of the HTTP data plane. AWS IoT Core's figure.
pub const PLANE_SUBSCRIPTIONS_PAGE_MAX: usize = 20;
/// User properties of a message that is published over HTTP, as JSON: what a packet has room for beside the payload.
pub const PLANE_PROPERTIES_BYTES_MAX: usize = PACKET_BYTES_MAX - PAYLOAD_BYTES_MAX;
/// Shortest wait for the acknowledgement of a direct message.
pub const PLANE_DIRECT_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Longest wait for the acknowledgement of a direct message.
pub const PLANE_DIRECT_TIMEOUT_MAX: Duration = Duration::from_secs(15);
/// How far the clock of a program that signs its requests may be off. AWS's figure.
pub const SIGNATURE_SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// Access keys, revoked ones included. Past it the oldest revoked one is forgotten for each new one.
pub const ACCESS_KEYS_MAX: usize = 500;

/// Shortest block of a stream. AWS IoT Core's figure, as the next three.
pub const STREAM_BLOCK_BYTES_MIN: u32 = 256;
/// Longest block of a stream. In JSON it must fit a message as base64, and is shorter.
pub const STREAM_BLOCK_BYTES_MAX: u32 = 128 * 1024;
/// Largest offset and count of blocks in a request.
pub const STREAM_BLOCKS_MAX: u64 = 98_304;
/// Longest bitmap in a request. AWS IoT Core's figure: less than one bit for each block that there may be.
pub const STREAM_BITMAP_BYTES_MAX: usize = 12_288 - 1;
const _: () = assert!(STREAM_BITMAP_BYTES_MAX as u64 == STREAM_BLOCKS_MAX / 8 - 1);
/// Bytes of a file that one request brings. AWS IoT Core's figure; eight such answers fit the queue of a connection.
pub const STREAM_BYTES_PER_REQUEST_MAX: u32 = 128 * 1024;
const _: () = assert!(STREAM_BYTES_PER_REQUEST_MAX as usize * 4 < OUTBOX_BYTES_MAX);
/// Files of one stream. AWS IoT Core's figure.
pub const STREAM_FILES_MAX: usize = 50;
/// Streams that operators made. Each is held in memory.
pub const STREAMS_MAX: usize = 1000;
/// Requests that wait for the thread that reads files; past it devices are refused.
pub const STREAM_REQUESTS_WAITING_MAX: usize = 1024;

/// Largest provisioning template. AWS IoT Core's figure.
pub const PROVISIONING_TEMPLATE_BYTES_MAX: usize = 10_240;
/// Provisioning templates of a fleet: a listing of all fits one answer.
pub const PROVISIONING_TEMPLATES_MAX: usize = 100;
/// Deepest nesting of functions in a provisioning template.
pub const PROVISIONING_TEMPLATE_DEPTH_MAX: usize = 16;
/// Longest text that a function in a provisioning template may make: each function may repeat what is inside it.
pub const PROVISIONING_VALUE_BYTES_MAX: usize = 4096;
/// Most parameters of one RegisterThing, those that a hook adds included.
pub const PROVISIONING_PARAMETERS_MAX: usize = 64;
/// Longest name of a parameter.
pub const PROVISIONING_PARAMETER_NAME_BYTES_MAX: usize = 128;
/// Longest value of a parameter.
pub const PROVISIONING_PARAMETER_BYTES_MAX: usize = 2048;
/// Longest certificate request of a device that provisions itself. AWS IoT Core's figure.
pub const PROVISIONING_CSR_BYTES_MAX: usize = 4096;
/// How long a certificate waits for RegisterThing before it is dropped. AWS IoT Core's figure.
pub const PROVISIONING_PENDING_LIFE: Duration = Duration::from_secs(3600);
/// Certificates that wait for RegisterThing, of one claim: a stolen claim fills no disk, and a batch of devices that is
/// switched on at one time goes through.
pub const PROVISIONING_PENDING_PER_CLAIM_MAX: usize = 1000;
/// The same of all claims together.
pub const PROVISIONING_PENDING_MAX: usize = 10_000;
/// Life of the certificate of a device that provisioned itself. It has no agent that renews it.
pub const PROVISIONED_CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Life of a claim certificate unless the operator says otherwise: it lies in the firmware of devices until they are
/// first switched on.
pub const CLAIM_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// Life of a temporary claim certificate. AWS IoT Core's figure.
pub const CLAIM_LIFE_TEMPORARY: Duration = Duration::from_secs(5 * 60);
/// Longest life of a claim certificate.
pub const CLAIM_LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Connections of one claim certificate at one time: every new device of a batch has the same.
pub const SESSIONS_PER_CLAIM_MAX: usize = 1000;
/// A hook must have answered by then. AWS IoT Core's figure.
pub const HOOK_DEADLINE: Duration = Duration::from_secs(5);
/// Hooks that are asked at one time.
pub const HOOKS_AT_ONCE_MAX: usize = 32;
/// Registrations that wait for their hook to be asked; past it they are refused, and the device tries again.
pub const HOOK_QUEUE_MAX: usize = 256;
/// Longest address of a hook.
pub const HOOK_URL_BYTES_MAX: usize = 512;
