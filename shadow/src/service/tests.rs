#![allow(clippy::unwrap_used)]
//! The services over a store in memory, driven through the bus by a door that writes down what it gets.

mod connectors;
mod jobs;
mod lifecycle;
mod provisioning;
mod refusals;
mod retained;
mod rig;
mod shadows;
mod tokens;
mod upgrades;

use super::*;
use crate::store::MemoryStore;
use bytes::Bytes;
use muster_bus::{
    Answer, Caller, Connection, Door, Inbound, LinkChange, LinkState, Message, Outcome, Request, Requests, ResponseTo,
    Tag, Whose,
};
use muster_certs::{Authority, Fleet, Identity, PublisherKey, Role, csr};
use muster_wire::codec::Encoding;
use muster_wire::component::signed_text;
use muster_wire::enrol::{EnrolRequest, HostFacts, artifact_file};
use muster_wire::id::Sha256Hex;
use muster_wire::limits::{RETAINED_BYTES_MAX, RETAINED_MESSAGES_MAX, SHADOW_DEPTH_MAX};
use muster_wire::rejection::RejectionCode;
use muster_wire::time::Timestamp;
use muster_wire::topic::Topic;
use rig::{Heard, Rejection2, Rig, SOON, START, caller};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, Sender, channel};
