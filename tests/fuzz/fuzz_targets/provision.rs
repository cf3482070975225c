//! How a host gets in: payloads of fleet provisioning, templates, and the proxy and its exceptions.
//!
//! A template stands before 0x1e, as JSON or TOML, and what a device says behind it.

#![no_main]

use muster_model::provision::Template;
use muster_wire::codec::Encoding;
use muster_wire::limits::{PAYLOAD_BYTES_MAX, PROVISIONING_VALUE_BYTES_MAX};
use muster_wire::provision::{
    ClaimName, CreateFromCsr, CreatedFromCsr, CreatedKeys, HookAnswer, HookQuestion, Parameters, RegisterThing,
    RegisteredThing,
};
use muster_wire::proxy::{Bypass, ProxyUrl};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::net::IpAddr;

const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Cbor];
/// A refusal quotes what was sent, but not all of it.
const REFUSAL_BYTES_MAX: usize = 4096;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for encoding in BOTH {
        again::<CreateFromCsr>(encoding, bytes);
        again::<RegisterThing>(encoding, bytes);
        again::<HookAnswer>(encoding, bytes);
        again::<HookQuestion>(encoding, bytes);
        // What the device reads.
        again::<CreatedKeys>(encoding, bytes);
        again::<CreatedFromCsr>(encoding, bytes);
        again::<RegisteredThing>(encoding, bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (document, said) = text.split_once('\u{1e}').unwrap_or((text, "{}"));
    let said: Parameters = serde_json::from_str(said).unwrap_or_default();
    let json = serde_json::from_str::<Value>(document).ok();
    for document in json.into_iter().chain(Template::document_of_toml(document).ok()) {
        template(&document, &said);
    }
    if let Ok(name) = text.parse::<ClaimName>() {
        assert_eq!(name.to_string(), text);
    }
    proxy(text);
});

fn again<T: DeserializeOwned + Serialize + PartialEq>(encoding: Encoding, payload: &[u8]) {
    match encoding.decode::<T>(payload) {
        Ok(value) => {
            for encoding in BOTH {
                let read = encoding.decode::<T>(&encoding.encode(&value));
                assert!(read.as_ref() == Ok(&value), "what was written is not read as the same");
            }
        }
        Err(error) => assert!(error.to_string().len() <= REFUSAL_BYTES_MAX, "the refusal is too long"),
    }
}

fn template(document: &Value, said: &Parameters) {
    let template = match Template::read(document) {
        Ok(template) => template,
        Err(error) => return assert!(error.to_string().len() < PAYLOAD_BYTES_MAX, "the problem is too long"),
    };
    // As it is kept.
    let kept: Value = serde_json::from_str(&document.to_string()).expect("it was printed");
    assert_eq!(Template::read(&kept).as_ref(), Ok(&template));
    // Nobody can say the id of the certificate, and what is no parameter changes nothing.
    let mut lied = said.clone();
    lied.insert("AWS::IoT::Certificate::Id".to_owned(), "other".to_owned());
    let defined = template.parameters().any(|(name, _)| name == "AWS::IoT::Certificate::Id");
    let registered = template.register(said, "ab12");
    assert_eq!(template.register(said, "ab12"), registered);
    if !defined && said.len() < 32 {
        assert_eq!(template.register(&lied, "ab12"), registered);
    }
    match registered {
        Ok(device) => {
            let texts = device.attributes.values().chain(device.device_configuration.values());
            assert!(texts.chain(&device.policy).all(|text| text.len() <= PROVISIONING_VALUE_BYTES_MAX));
            assert!(template.fixed_policy().is_none_or(|policy| device.policy.as_deref() == Some(policy)));
        }
        Err(error) => assert!(error.to_string().len() < PAYLOAD_BYTES_MAX / 2, "the refusal is too long"),
    }
}

fn proxy(text: &str) {
    if let Ok(url) = ProxyUrl::parse(text) {
        assert_eq!(ProxyUrl::parse(&url.reveal()).as_ref(), Ok(&url));
        assert_eq!(ProxyUrl::parse(&url.to_string()), Ok(ProxyUrl { password: None, ..url }));
    }
    if let Ok(bypass) = Bypass::parse(text.split(',')) {
        let entries = bypass.entries();
        assert_eq!(Bypass::parse(entries.iter().map(String::as_str)).as_ref(), Ok(&bypass));
        // Whoever is named is reached without the proxy.
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let is_name = entry.starts_with(|c: char| c.is_ascii_alphanumeric()) && !entry.contains([':', '/']);
            if is_name || entry.parse::<IpAddr>().is_ok() {
                assert!(bypass.covers(entry, 443), "{entry}");
            }
        }
    }
}
