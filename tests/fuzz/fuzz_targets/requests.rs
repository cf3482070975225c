//! Certificate signing requests, as text and as the bytes inside of the text.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_certs::request::VerifiedRequest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        look(text);
    }
    // A mutation of the text seldom reaches what is inside of it.
    let inside = STANDARD.encode(bytes);
    look(&format!("-----BEGIN CERTIFICATE REQUEST-----\n{inside}\n-----END CERTIFICATE REQUEST-----\n"));
});

fn look(pem: &str) {
    if let Ok(request) = VerifiedRequest::from_pem(pem) {
        let _ = request.check_name("thing");
        let _ = request.common_name();
    }
}
