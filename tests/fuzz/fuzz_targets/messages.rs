//! All other payloads that come over the network, in the encoding that their first byte tells.

#![no_main]

use muster_wire::admin::{
    AddConnector, CreateJob, ListActions, ListComponents, ListConnectors, PublishComponent, ShowConnector, Upgrade,
};
use muster_wire::codec::Encoding;
use muster_wire::component::{ComponentReport, DesiredComponent, UpgradeDocument};
use muster_wire::enrol::{EnrolRequest, EnrolResponse, HostFacts};
use muster_wire::telemetry::HostTelemetry;
use serde::{Serialize, de::DeserializeOwned};

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    again::<HostTelemetry>(payload);
    again::<HostFacts>(payload);
    again::<EnrolRequest>(payload);
    again::<EnrolResponse>(payload);
    again::<ComponentReport>(payload);
    again::<DesiredComponent>(payload);
    again::<UpgradeDocument>(payload);
    again::<AddConnector>(payload);
    again::<ListConnectors>(payload);
    again::<ShowConnector>(payload);
    again::<PublishComponent>(payload);
    again::<ListComponents>(payload);
    again::<Upgrade>(payload);
    again::<ListActions>(payload);
    again::<CreateJob>(payload);
});

fn again<T: DeserializeOwned + Serialize>(payload: &[u8]) {
    let encoding = Encoding::of(payload);
    let Ok(value) = encoding.decode::<T>(payload) else { return };
    // JSON has no infinity: what CBOR brought need not be readable as JSON, but writing it must not panic.
    let _ = Encoding::Json.encode(&value);
    let written = Encoding::Cbor.encode(&value);
    assert!(Encoding::Cbor.decode::<T>(&written).is_ok(), "what was written is not readable");
}
