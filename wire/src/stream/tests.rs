#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn get(json: &str) -> Result<Blocks, StreamError> {
    let request = read_get(Encoding::Json, json.as_bytes()).map_err(|(code, _)| code)?;
    // Version 3; file 0 has 100 blocks of 256 bytes and one byte, file 7 is empty.
    let size = |file| [(0, 25_601), (7, 0)].into_iter().find(|(known, _)| *known == file).map(|(_, size)| size);
    request.blocks(Encoding::Json, 3, size).map_err(|(code, _)| code)
}

#[track_caller]
fn check(json: &str, numbers: &[u64]) {
    assert_eq!(get(json).map(|blocks| blocks.numbers), Ok(numbers.to_vec()), "{json}");
}

#[test]
fn blocks_are_chosen_by_offset_count_and_bitmap() {
    check(r#"{"f":0,"l":256,"n":3}"#, &[0, 1, 2]);
    check(r#"{"f":0,"l":256,"o":99,"n":5}"#, &[99, 100]);
    check(r#"{"c":"rdy","s":3,"f":0,"l":256,"o":20,"n":1}"#, &[20]);
    // The guide's example.
    for bitmap in ["130080", "0x130080", "0X130080"] {
        check(&format!(r#"{{"f":0,"l":256,"o":20,"b":"{bitmap}"}}"#), &[20, 21, 24, 43]);
    }
    check(r#"{"f":0,"l":256,"o":20,"n":2,"b":"130080"}"#, &[20, 21]);
    check(r#"{"f":0,"l":256,"o":99,"b":"ff"}"#, &[99, 100]);
    let all: Vec<u64> = (0..=100).collect();
    check(r#"{"f":0,"l":256}"#, &all);
    // 128 KiB have one block of 97,000 bytes.
    check(r#"{"f":0,"l":97000}"#, &[0]);
}

#[test]
fn a_request_never_asks_for_more_than_128_kib() {
    let request = read_get(Encoding::Json, br#"{"f":0,"l":4096,"n":98304}"#).unwrap();
    let blocks = request.blocks(Encoding::Json, 1, |_| Some(1 << 40)).unwrap();
    assert_eq!(blocks.numbers, (0..32).collect::<Vec<_>>());
    let request = read_get(Encoding::Json, format!(r#"{{"f":0,"l":256,"b":"{}"}}"#, "ff".repeat(12_287)).as_bytes());
    let blocks = request.unwrap().blocks(Encoding::Json, 1, |_| Some(1 << 40)).unwrap();
    assert_eq!(blocks.numbers.len(), 512);
}

#[test]
fn every_error_has_its_cause() {
    use StreamError::*;
    for (json, code) in [
        ("", InvalidJson),
        ("{", InvalidJson),
        (r#"{"f":"0","l":256,"n":1}"#, InvalidJson),
        (r#"{"f":0,"l":256,"b":"xyz"}"#, InvalidJson),
        (r#"{"f":0,"l":256,"b":"123"}"#, InvalidJson),
        (r#"{"l":256,"n":1}"#, InvalidRequest),
        (r#"{"f":0,"n":1}"#, InvalidRequest),
        (r#"{"f":256,"l":256,"n":1}"#, InvalidRequest),
        (r#"{"f":-1,"l":256,"n":1}"#, InvalidRequest),
        (r#"{"f":0,"l":255,"n":1}"#, BlockSizeOutOfBounds),
        (r#"{"f":0,"l":131073,"n":1}"#, BlockSizeOutOfBounds),
        (r#"{"f":0,"l":131072,"n":1}"#, BlockSizeOutOfBounds),
        (r#"{"f":0,"l":256,"o":-1,"n":1}"#, OffsetOutOfBounds),
        (r#"{"f":0,"l":256,"o":98305,"n":1}"#, OffsetOutOfBounds),
        (r#"{"f":0,"l":256,"n":98305}"#, BlockCountLimitExceeded),
        (r#"{"f":0,"l":256,"n":-1}"#, BlockCountLimitExceeded),
        (r#"{"f":0,"l":256,"n":0}"#, InvalidRequest),
        (r#"{"f":0,"l":256,"n":0,"b":"01"}"#, InvalidRequest),
        (r#"{"f":0,"l":256,"b":"00"}"#, ResourceNotFound),
        (r#"["t",1,0,256]"#, InvalidJson),
        (r#"{"s":2,"f":0,"l":256,"n":1}"#, VersionMismatch),
        (r#"{"f":1,"l":256,"n":1}"#, ResourceNotFound),
        (r#"{"f":0,"l":256,"o":101,"n":1}"#, ResourceNotFound),
        (r#"{"f":0,"l":256,"o":101,"b":"01"}"#, ResourceNotFound),
        (r#"{"f":7,"l":256,"n":1}"#, ResourceNotFound),
    ] {
        assert_eq!(get(json), Err(code), "{json}");
    }
    let long = format!(r#"{{"c":"{}","f":0,"l":256,"n":1}}"#, "x".repeat(65));
    assert_eq!(get(&long), Err(InvalidRequest));
    let wide = format!(r#"{{"f":0,"l":256,"b":"{}"}}"#, "00".repeat(12_288));
    assert_eq!(get(&wide), Err(BlockBitmapLimitExceeded));
    assert_eq!(read_get(Encoding::Cbor, b"\xff").unwrap_err().0, InvalidCbor);
    let infinite = b"\xa2\x61c\x61t\x61x\xf9\x7c\0";
    let refusal = (InvalidCbor, "a number of the payload is infinite or not a number".to_owned());
    assert_eq!(read_get(Encoding::Cbor, infinite), Err(refusal));
    assert_eq!(token_of(Encoding::Cbor, infinite), Some("t".to_owned()));
    assert_eq!(read_describe(Encoding::Json, b"").unwrap(), DescribeStream::default());
}

#[test]
fn a_refusal_has_the_words_of_the_protocol_and_the_token() {
    let words = |encoding, payload| read_get(encoding, payload).unwrap_err().1;
    assert_eq!(words(Encoding::Cbor, b"\xa1"), "the payload is not valid CBOR");
    assert_eq!(words(Encoding::Json, b"{"), "the payload is not valid JSON");
    let shape = words(Encoding::Json, br#"{"f":"0","c":"t"}"#);
    assert!(shape.starts_with("a request is an object in which c is a text"), "{shape}");
    // Beside bits as bytes too.
    let bytes = b"\xa3\x61c\x63rdy\x61f\x61x\x61b\x44\x03\x00\x00\x00";
    assert!(read_get(Encoding::Cbor, bytes).is_err());
    assert_eq!(token_of(Encoding::Cbor, bytes), Some("rdy".to_owned()));
}

#[test]
fn in_cbor_the_largest_block_is_taken_and_bits_are_bytes() {
    let request = GetStream { file: Some(0), block: Some(131_072), count: Some(1), ..GetStream::default() };
    let read = read_get(Encoding::Cbor, &Encoding::Cbor.encode(&request)).unwrap();
    assert_eq!(read.blocks(Encoding::Cbor, 1, |_| Some(200_000)).unwrap().numbers, [0]);
    // As the embedded library writes it: c "rdy", f, l, o, and four bytes of bits.
    let bytes = b"\xa6\x61c\x63rdy\x61f\x00\x61l\x19\x01\x00\x61o\x00\x61b\x44\x03\x00\x00\x00\x61n\x02";
    let read = read_get(Encoding::Cbor, bytes).unwrap();
    assert_eq!(read.bitmap, Some(Bitmap(vec![3, 0, 0, 0])));
    assert_eq!(read.blocks(Encoding::Cbor, 1, |_| Some(25_600)).unwrap().numbers, [0, 1]);
}

#[test]
fn blocks_are_text_in_json_and_bytes_in_cbor() {
    let block = StreamBlock { token: Some("t".into()), file: 0, length: 3, number: 9, payload: Blob(vec![0, 255, 7]) };
    let json = String::from_utf8(Encoding::Json.encode(&block)).unwrap();
    assert_eq!(json, r#"{"c":"t","f":0,"l":3,"i":9,"p":"AP8H"}"#);
    for encoding in [Encoding::Json, Encoding::Cbor] {
        assert_eq!(encoding.decode::<StreamBlock>(&encoding.encode(&block)).unwrap(), block);
    }
    let large = StreamBlock { payload: Blob(vec![7; 128 * 1024]), ..block.clone() };
    assert_eq!(Encoding::Cbor.decode::<StreamBlock>(&Encoding::Cbor.encode(&large)).unwrap(), large);
    assert!(Encoding::Cbor.encode(&block).windows(4).any(|bytes| bytes == [0x43, 0, 255, 7]));
}

#[test]
fn packages_have_streams_of_their_own() {
    let digest = crate::id::Sha256Hex::from_bytes(&[7; 32]);
    let id = StreamId::of_package(&digest);
    assert_eq!(StreamId::new(id.as_str()).unwrap().package(), Some(digest));
    for other in ["package-", "package-0707", "x"] {
        assert_eq!(StreamId::new(other).unwrap().package(), None);
    }
}

#[test]
fn a_refusal_has_the_token_of_a_request_with_a_bitmap_in_either_encoding() {
    let request =
        GetStream { token: Some("t1".to_owned()), bitmap: Some(Bitmap(vec![0x13, 0x80])), ..GetStream::default() };
    for encoding in [Encoding::Json, Encoding::Cbor] {
        assert_eq!(token_of(encoding, &encoding.encode(&request)).as_deref(), Some("t1"), "{encoding:?}");
    }
}

proptest! {
    #[test]
    fn no_request_chooses_what_is_not_there(
        l in 256_i64..200_000, o in 0_i64..100_000, n in proptest::option::of(0_i64..100_000),
        bits in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64)), size in 0_u64..10_000_000,
    ) {
        let bitmap = bits.map(Bitmap);
        let request = GetStream { file: Some(0), block: Some(l), offset: Some(o), count: n, bitmap, ..GetStream::default() };
        if let Ok(blocks) = request.blocks(Encoding::Cbor, 1, |_| Some(size)) {
            prop_assert!(!blocks.numbers.is_empty());
            prop_assert!(blocks.numbers.is_sorted_by(|one, other| one < other));
            prop_assert!(blocks.numbers.iter().all(|number| number * l as u64 <= size));
            prop_assert!(blocks.numbers.len() as u64 * l as u64 <= u64::from(STREAM_BYTES_PER_REQUEST_MAX));
        }
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let _ = read_get(encoding, &bytes).map(|request| request.blocks(encoding, 1, |_| Some(1000)));
            let _ = token_of(encoding, &bytes);
        }
    }
}
