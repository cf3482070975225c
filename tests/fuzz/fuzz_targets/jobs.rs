//! Requests about jobs, in both encodings: what is read may be written and read again.

#![no_main]

use muster_model::job::{client_token_of, parse};
use muster_wire::codec::Encoding;
use muster_wire::job::{
    DescribeRequest, GetPendingRequest, JobExecution, JobRejected, NotifyNext, StartNextRequest, UpdateRequest,
};
use serde::{Serialize, de::DeserializeOwned};

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let _ = client_token_of(payload, encoding);
        again::<GetPendingRequest>(payload, encoding);
        again::<StartNextRequest>(payload, encoding);
        again::<DescribeRequest>(payload, encoding);
        again::<UpdateRequest>(payload, encoding);
        // What the agent reads.
        again::<JobExecution>(payload, encoding);
        again::<JobRejected>(payload, encoding);
        again::<NotifyNext>(payload, encoding);
    }
});

fn again<T: DeserializeOwned + Serialize>(payload: &[u8], encoding: Encoding) {
    let Ok(value) = parse::<T>(payload, encoding) else { return };
    for encoding in [Encoding::Json, Encoding::Cbor] {
        let written = encoding.encode(&value);
        assert!(parse::<T>(&written, encoding).is_ok(), "what was written is not readable");
    }
}
