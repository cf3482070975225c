//! Requests about streams, in both encodings: what is read may be written and read again, and no answer is too long.

#![no_main]

use muster_wire::codec::Encoding;
use muster_wire::limits::{PACKET_BYTES_MAX, STREAM_BYTES_PER_REQUEST_MAX};
use muster_wire::stream::{
    Blob, GetStream, Refusal, StreamBlock, StreamDescription, StreamRejected, read_describe, read_get, token_of,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// A refusal quotes the request, but not all of it.
const REFUSAL_BYTES_MAX: usize = 4096;
const VERSION: u32 = 1;
const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Cbor];

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    for encoding in BOTH {
        match read_describe(encoding, payload) {
            Ok(request) => assert_eq!(read_describe(encoding, &encoding.encode(&request)), Ok(request)),
            Err(refusal) => refused(encoding, payload, refusal),
        }
        match read_get(encoding, payload) {
            Ok(request) => {
                for encoding in BOTH {
                    assert_eq!(read_get(encoding, &encoding.encode(&request)).as_ref(), Ok(&request));
                }
                // A request that is refused later is answered with the token too; one that is no map need not be.
                let is_map =
                    matches!((encoding, payload), (Encoding::Json, [b'{', ..]) | (Encoding::Cbor, [0xa0..=0xbf, ..]));
                assert!(!is_map || token_of(encoding, payload) == request.token);
                for encoding in BOTH {
                    blocks(encoding, &request);
                }
            }
            Err(refusal) => refused(encoding, payload, refusal),
        }
        // What devices read.
        again::<StreamDescription>(encoding, payload);
        again::<StreamBlock>(encoding, payload);
        again::<StreamRejected>(encoding, payload);
    }
});

fn refused(encoding: Encoding, payload: &[u8], (code, message): Refusal) {
    assert!(message.len() <= REFUSAL_BYTES_MAX, "the refusal has {} bytes", message.len());
    again::<StreamRejected>(
        encoding,
        &encoding.encode(&StreamRejected { code, message, token: token_of(encoding, payload) }),
    );
}

fn size_of(file: u8) -> Option<u64> {
    [0, 1, 1_000_000, 1 << 40, u64::MAX].get(usize::from(file)).copied()
}

fn blocks(encoding: Encoding, request: &GetStream) {
    let blocks = match request.blocks(encoding, VERSION, size_of) {
        Ok(blocks) => blocks,
        Err((_, message)) => return assert!(message.len() <= REFUSAL_BYTES_MAX),
    };
    let (block, count) = (u64::from(blocks.block), blocks.numbers.len() as u64);
    assert!(blocks.numbers.is_sorted_by(|one, next| one < next));
    let size = size_of(blocks.file).expect("the file was found");
    assert!(blocks.numbers.last().is_none_or(|last| *last < size.div_ceil(block)));
    assert!(count <= 1 || count * block <= u64::from(STREAM_BYTES_PER_REQUEST_MAX));
    assert!(request.count.is_none_or(|most| i128::from(most) >= i128::from(count)));
    if let Some(bitmap) = &request.bitmap {
        let first = u64::try_from(request.offset.unwrap_or(0)).expect("it was read");
        for number in &blocks.numbers {
            let bit = usize::try_from(number - first).expect("inside of the bitmap");
            assert_eq!(bitmap.0[bit / 8] >> (bit % 8) & 1, 1);
        }
    }
    // The largest ones only: all others are shorter.
    if blocks.block > 90_000
        && let Some(number) = blocks.numbers.last()
    {
        let (token, payload) = (request.token.clone(), Blob(vec![0xff; blocks.block as usize]));
        let answer = StreamBlock { token, file: blocks.file, length: blocks.block, number: *number, payload };
        assert!(encoding.encode(&answer).len() < PACKET_BYTES_MAX);
    }
}

fn again<T: DeserializeOwned + Serialize + PartialEq + Debug>(encoding: Encoding, payload: &[u8]) {
    let Ok(value) = encoding.decode::<T>(payload) else { return };
    for encoding in BOTH {
        assert_eq!(encoding.decode::<T>(&encoding.encode(&value)).as_ref(), Ok(&value));
    }
}
