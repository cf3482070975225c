#![allow(clippy::unwrap_used)]
use super::*;
use muster_certs::server_config;
use muster_certs::throwaway::Throwaway;
use muster_wire::limits::HTTP_BODY_BYTES_MAX;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// For whatever must happen. None of it takes a second; a busy machine may need many.
const PATIENCE: Duration = Duration::from_secs(60);

fn question() -> HookQuestion {
    HookQuestion {
        claim_certificate_id: "c".into(),
        certificate_id: "d".into(),
        certificate_pem: "pem".into(),
        template_arn: "arn".into(),
        client_id: "client".into(),
        parameters: [("SerialNumber".to_owned(), "7".to_owned())].into(),
    }
}

fn no_tls() -> Result<Arc<ClientConfig>, String> {
    Err("no TLS here".into())
}

/// Reads one request whole; returns its head and its body.
async fn heard(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return (head.to_owned(), body.as_bytes().to_vec());
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request is whole: {text}");
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), status: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // One that asks no further may have hung up.
    let _ = stream.write_all(body).await;
    let _ = stream.flush().await;
}

#[track_caller]
fn silent(said: Result<HookAnswer, HookFailure>) -> String {
    match said {
        Err(HookFailure::Silent(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// What comes of a hook that answers so.
async fn asked(status: &str, body: &[u8]) -> Result<HookAnswer, HookFailure> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/cams?x=1", listener.local_addr().unwrap());
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (head, got) = heard(&mut stream).await;
        assert!(head.starts_with("POST /hooks/cams?x=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(serde_json::from_slice::<HookQuestion>(&got).unwrap(), question());
        say(&mut stream, status, body).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    let (question, tls) = (question(), no_tls());
    let (said, ()) = tokio::join!(ask(&url, &question, &tls, PATIENCE), server);
    said
}

#[tokio::test]
async fn a_hook_allows_denies_and_overrides() {
    let allows = br#"{"allowProvisioning":true,"parameterOverrides":{"Site":"hall"},"more":1}"#;
    let answer = asked("200 OK", allows).await.unwrap();
    assert!(answer.allow_provisioning);
    assert_eq!(answer.parameter_overrides["Site"], "hall");
    assert!(!asked("200 OK", br#"{"allowProvisioning":false}"#).await.unwrap().allow_provisioning);
}

#[tokio::test]
async fn what_is_no_answer_allows_nothing() {
    let flag = "its answer has no allowProvisioning that is true or false";
    let no_object = "its answer is JSON, but no object like {\"allowProvisioning\": true}";
    let overrides = "the parameterOverrides of its answer are not an object of texts";
    for (status, body, expected) in [
        ("500 Internal Server Error", &br#"{"allowProvisioning":true}"#[..], "it answered with HTTP status 500"),
        ("302 Found", br#"{"allowProvisioning":true}"#, "it answered with HTTP status 302"),
        ("200 OK", b"yes", "its answer is not JSON"),
        ("200 OK", b"", "its answer is not JSON"),
        ("200 OK", b"true", no_object),
        ("200 OK", b"[true]", no_object),
        ("200 OK", br#"{"allowProvisioning":"true"}"#, flag),
        ("200 OK", br#"{"parameterOverrides":{}}"#, flag),
        ("200 OK", br#"{"allowProvisioning":true,"parameterOverrides":{"a":1}}"#, overrides),
        ("200 OK", br#"{"allowProvisioning":true,"parameterOverrides":["a"]}"#, overrides),
    ] {
        assert_eq!(asked(status, body).await, Err(HookFailure::Unusable(expected.to_owned())));
    }
    let failure = asked("200 OK", &vec![b' '; HTTP_BODY_BYTES_MAX + 1]).await.unwrap_err();
    assert!(matches!(&failure, HookFailure::Silent(why) if why.contains("not whole")), "{failure:?}");
}

#[tokio::test]
async fn a_hook_that_is_silent_slow_or_away_allows_nothing() {
    let (question, tls, short) = (question(), no_tls(), Duration::from_millis(200));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    // Silent: the kernel accepts, nobody answers.
    let why = ask(&url, &question, &tls, short).await.unwrap_err();
    assert_eq!(why, HookFailure::Silent("it took longer than 200 ms".to_owned()));
    // Slow: a byte now and then, and never the last one.
    let dribble = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        while stream.write_all(b" ").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    let (why, ()) = tokio::join!(ask(&url, &question, &tls, short), async {
        let _ = timeout(PATIENCE, dribble).await;
    });
    let why = silent(why);
    assert!(why.contains("longer than") || why.contains("not whole"), "{why}");
    // Away: bound and not listening, so that nobody else is there.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", nobody.local_addr().unwrap());
    let why = silent(ask(&url, &question, &tls, PATIENCE).await);
    assert!(why.starts_with("it cannot be reached"), "{why}");
    let why = silent(ask("https://localhost:1/", &question, &tls, PATIENCE).await);
    assert!(why.starts_with("it cannot be reached") || why.contains("no TLS here"), "{why}");
}

#[tokio::test]
async fn an_https_hook_must_prove_its_name_to_a_trusted_authority() {
    let fleet = Throwaway::new("test", &["localhost"]).unwrap();
    let stranger = Throwaway::new("stranger", &["localhost"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let (chain, key) = fleet.authority.issue_server(&["localhost".to_owned()], PATIENCE * 1000, now()).unwrap();
    let tls = server_config(&chain, &key, fleet.authority.certificate_pem(), &[b"http/1.1"]).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    for (authority, is_trusted) in [(&fleet.authority, true), (&stranger.authority, false)] {
        std::fs::write(&ca, authority.certificate_pem()).unwrap();
        let trusted = trust(&ca);
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(mut stream) = acceptor.accept(stream).await {
                heard(&mut stream).await;
                say(&mut stream, "200 OK", br#"{"allowProvisioning":true}"#).await;
            }
        };
        let question = question();
        let (said, ()) = tokio::join!(ask(&url, &question, &trusted, PATIENCE), server);
        match is_trusted {
            true => assert!(said.unwrap().allow_provisioning),
            false => assert!(silent(said).starts_with("TLS with it failed")),
        }
    }
}

fn now() -> i64 {
    muster_runtime::clock::Clock::system().now().epoch_seconds()
}

#[test]
fn a_file_that_is_no_authority_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "nonsense").unwrap();
    let error = desk(Some(&ca)).map(drop).unwrap_err().chain();
    assert!(error.contains("provisioning.hook_ca") && error.contains("ca.pem"), "{error}");
}
