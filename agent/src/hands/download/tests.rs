//! A server that answers each connection with the next of some prepared answers.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::dial::Way;
use crate::settings::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const CONTENT: &[u8] = b"0123456789";

fn source(port: u16) -> Source {
    let https = Endpoint { server: Server { host: "127.0.0.1".into(), port }, way: Way::Direct, tls: None };
    Source { https, mqtt: None, over: Over::Https }
}

struct Bench {
    folder: tempfile::TempDir,
    wanted: Wanted,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("content");
        fs::write(&file, CONTENT).unwrap();
        let wanted = Wanted {
            path: "/artifacts/x".into(),
            sha256: sha256(File::open(file).unwrap()).unwrap(),
            size: CONTENT.len() as u64,
            part: folder.path().join("spool").join("x.part"),
        };
        Self { folder, wanted }
    }

    /// Fetches from a server with these answers; returns the result and the requests.
    async fn fetch(&self, answers: &[&str]) -> (Result<(), String>, Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = source(listener.local_addr().unwrap().port());
        let serve = async {
            let mut requests = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                requests.push(String::from_utf8_lossy(&request[..length]).to_lowercase());
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
            requests
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        tokio::join!(fetch(&server, &self.wanted, deadline), serve)
    }
}

fn ok(content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len())
}

#[tokio::test]
async fn a_broken_download_is_resumed_where_it_ended() {
    let bench = Bench::new();
    let broken = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123";
    let rest = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 4-9/10\r\ncontent-length: 6\r\n\r\n456789";
    let (result, requests) = bench.fetch(&[broken, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", rest]).await;
    assert_eq!(result, Ok(()));
    assert_eq!(fs::read(&bench.wanted.part).unwrap(), CONTENT);
    let ranges: Vec<bool> = requests.iter().map(|request| request.contains("range: bytes=4-\r\n")).collect();
    assert_eq!(ranges, [false, true, true]);
    // All is there: nobody is asked.
    assert_eq!(bench.fetch(&[]).await.0, Ok(()));
}

#[tokio::test]
async fn a_server_that_ignores_the_range_is_read_from_the_beginning() {
    let bench = Bench::new();
    fs::create_dir_all(bench.folder.path().join("spool")).unwrap();
    fs::write(&bench.wanted.part, "xxxx").unwrap();
    assert_eq!(bench.fetch(&[&ok("0123456789")]).await.0, Ok(()));
    assert_eq!(fs::read(&bench.wanted.part).unwrap(), CONTENT);
}

#[tokio::test]
async fn wrong_content_is_removed_and_final() {
    for (answer, expected) in [
        (ok("0123456780"), "instead of"),
        (ok("0123456789x"), "longer than the 10 bytes"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(), "404"),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_owned(), "403"),
    ] {
        let bench = Bench::new();
        let (result, _) = bench.fetch(&[&answer]).await;
        assert!(result.as_ref().is_err_and(|error| error.contains(expected)), "{expected}: {result:?}");
        assert!(!bench.wanted.part.exists(), "{expected}");
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_download_and_leaves_nothing() {
    let bench = Bench::new();
    let full = io::Error::from(io::ErrorKind::StorageFull);
    fs::create_dir_all(bench.folder.path().join("spool")).unwrap();
    fs::write(&bench.wanted.part, "0123").unwrap();
    let trouble = write_failed(full, &bench.wanted);
    assert!(matches!(trouble, Trouble::Lasting(why) if why.starts_with("disk full")));
    assert!(!bench.wanted.part.exists());
}

#[tokio::test]
async fn an_unreachable_server_is_tried_until_the_deadline() {
    let bench = Bench::new();
    let server = source(1);
    let result = fetch(&server, &bench.wanted, tokio::time::Instant::now()).await;
    assert!(result.unwrap_err().starts_with("the package was not fetched in time: cannot connect to 127.0.0.1:1"));
}

#[test]
fn a_way_that_brings_nothing_is_left_for_the_other() {
    for (over, is_mqtt, progress, expected) in [
        (Over::Auto, false, false, true),
        (Over::Auto, false, true, false),
        (Over::Auto, true, false, false),
        (Over::Auto, true, true, true),
        (Over::Https, false, false, false),
        (Over::Mqtt, true, false, true),
    ] {
        assert_eq!(over.next(is_mqtt, progress), expected, "{over:?} {is_mqtt} {progress}");
    }
}
