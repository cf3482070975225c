//! What fuzz targets reach of this crate; built with `--cfg fuzzing` alone.

/// Reads user properties of a message over HTTP: these are the bytes inside of their header.
pub use crate::http::plane::message::read_user_properties as user_properties;

use crate::http::range::{self, Selected};
use crate::session::connect;
use crate::session::encode;
use crate::session::frame::{self, Framed};
use crate::session::packet::{self, Version};
use crate::settings::MqttSettings;
use muster_wire::limits::{CONNECT_BYTES_MAX, PACKET_BYTES_MAX};

/// Reads the bytes of a connection after TLS, as the door and the session do: CONNECT, then what follows it.
pub fn packets(bytes: &[u8]) {
    let Ok(Framed::Whole(first, length)) = frame::next(bytes, CONNECT_BYTES_MAX) else { return };
    let version = match connect::read(first, &MqttSettings::default()) {
        Ok(connect) => {
            let connack = connect::connack(&connect, connect.client_id.as_deref().unwrap_or("auto"), connect.clean);
            assert_eq!(connack.first(), Some(&0x20));
            connect.version
        }
        Err(refused) => {
            let connack = refused.connack();
            assert!(connack.is_none_or(|connack| connack.first() == Some(&0x20)));
            // What follows is read in both versions.
            [Version::V3, Version::V5].into_iter().for_each(|version| rest(version, &bytes[length..]));
            return;
        }
    };
    rest(version, &bytes[length..]);
}

fn rest(version: Version, mut bytes: &[u8]) {
    while let Ok(Framed::Whole(frame, length)) = frame::next(bytes, PACKET_BYTES_MAX) {
        assert!(length >= 2 && length <= bytes.len());
        if let Err(end) = packet::parse(version, frame) {
            let mut goodbye = Vec::new();
            if let Some(code) = end.code() {
                encode::disconnect(&mut goodbye, code);
            }
            return;
        }
        bytes = &bytes[length..];
    }
}

/// Reads a `Range` header for something of this length.
pub fn range(header: &str, length: u64) {
    if let Selected::Part(first, count) = range::select(header, length) {
        assert!(count > 0 && first.checked_add(count).is_some_and(|end| end <= length));
    }
}
