//! A proxy that is something else than it should be.
#![allow(clippy::unwrap_used)]

use super::*;
use muster_certs::Throwaway;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

fn server() -> Server {
    Server::parse("muster.example.org:8443").unwrap()
}

/// Dials through a proxy that says `answer` and then goes on as `fleet`'s server, if there is one.
async fn dial(answer: &str, answering: Option<&Throwaway>, trusted: &Throwaway) -> Result<(), DialError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://me:geheim@{}", listener.local_addr().unwrap());
    let way = Way::Through(ProxyUrl::parse(&place).unwrap());
    let proxy = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"CONNECT muster.example.org:8443 HTTP/1.1\r\n"));
        stream.write_all(answer.as_bytes()).await.unwrap();
        if let Some(fleet) = answering {
            let acceptor = TlsAcceptor::from(Arc::new(fleet.server_config(&[b"http/1.1"]).unwrap()));
            // Whether it comes about is the client's to say.
            let _ = acceptor.accept(stream).await;
        }
    };
    let tls = Arc::new(muster_certs::client_config(trusted.ca_pem(), None, &[b"http/1.1"]).unwrap());
    let client = async {
        let (server, way) = (server(), way);
        let stream = connect(&server, &way).await?;
        secure(stream, &server, &way, &tls).await.map(drop)
    };
    tokio::join!(proxy, client).1
}

const YES: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

#[tokio::test]
async fn tls_goes_through_the_tunnel_to_the_server() {
    let fleet = Throwaway::new("ours", &["muster.example.org"]).unwrap();
    dial(YES, Some(&fleet), &fleet).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_opens_tls_is_named_as_one() {
    let ours = Throwaway::new("ours", &["muster.example.org"]).unwrap();
    let stranger = Throwaway::new("stranger", &["muster.example.org"]).unwrap();
    let error = dial(YES, Some(&stranger), &ours).await.unwrap_err();
    assert!(matches!(error, DialError::Intercepted { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(
        text.contains("seems to open TLS") && text.contains("without inspection") && !text.contains("geheim"),
        "{text}"
    );
}

#[tokio::test]
async fn a_refusing_a_strange_and_an_absent_proxy_are_told_apart() {
    let fleet = Throwaway::new("ours", &["muster.example.org"]).unwrap();
    for (answer, expected) in [
        ("HTTP/1.1 403 Filtered\r\n\r\n", "forbids CONNECT to muster.example.org:8443"),
        ("HTTP/1.1 407 No\r\n\r\n", "does not accept user \"me\""),
        ("220 mail ready\r\n", "does not answer like an HTTP proxy"),
        ("", "closed the connection without an answer"),
    ] {
        let error = dial(answer, None, &fleet).await.unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("http://me@127.0.0.1:"), "{answer:?}: {error}");
    }
    // Bound and not listening: nobody answers there, and nobody else can take it.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let way = Way::Through(ProxyUrl::parse(&nobody.local_addr().unwrap().to_string()).unwrap());
    let error = connect(&server(), &way).await.unwrap_err();
    assert!(matches!(error, DialError::ConnectProxy { .. }), "{error}");
}
