//! Shadow requests in both encodings, one after the other on one document.
//!
//! The input is cut at 0xff bytes; each piece is an update, and every fourth is followed by a delete.

#![no_main]

use muster_model::shadow::{Previous, ShadowDoc, delete, get, parse_token, parse_update, update};
use muster_wire::codec::Encoding;
use muster_wire::limits::{SHADOW_DEPTH_MAX, SHADOW_DOCUMENT_BYTES_MAX};
use muster_wire::time::Timestamp;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut doc = ShadowDoc::default();
    for (number, payload) in bytes.split(|byte| *byte == 0xff).take(16).enumerate() {
        let now = Timestamp::from_seconds(i64::try_from(number).unwrap_or(0));
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let token = parse_token(payload, encoding).ok().flatten();
            let Ok(request) = parse_update(payload, encoding, SHADOW_DEPTH_MAX) else { continue };
            let version = doc.version();
            let before = doc.clone();
            match update(&mut doc, &request, now, Previous::Keep) {
                Ok(updated) => {
                    assert_eq!(updated.version(), version + 1);
                    readable(encoding, &updated.accepted(encoding));
                    for payload in [updated.delta(encoding), updated.documents(encoding)].into_iter().flatten() {
                        readable(encoding, &payload);
                    }
                    // What was stored is read back the same.
                    if let Ok(payload) = get(&doc, "thing", now, token.as_deref(), encoding) {
                        readable(encoding, &payload);
                        assert!(payload.len() < 64 * SHADOW_DOCUMENT_BYTES_MAX);
                    }
                }
                Err(_) => assert_eq!(doc, before, "a refused update changed the document"),
            }
        }
        if number % 4 == 3 {
            let _ = delete(&mut doc, "thing", now, None, Encoding::Json);
        }
    }
});

fn readable(encoding: Encoding, payload: &[u8]) {
    let read: Result<Value, _> = encoding.decode(payload);
    assert!(read.is_ok(), "an answer is not readable: {read:?}");
}
