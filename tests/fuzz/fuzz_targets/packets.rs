//! The MQTT door: the bytes of a connection after TLS, from CONNECT on.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| muster_broker_bridge::fuzzing::packets(bytes));
