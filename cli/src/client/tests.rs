#![allow(clippy::unwrap_used)]

use super::*;
use bytes::BytesMut;
use muster_certs::{Role, Throwaway};
use muster_wire::admin::{ListComponents, ShowConnector};
use rumqttc::v5::mqttbytes::v5::{ConnAck, PubAck, SubAck};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A server of one connection that answers as it is told.
struct Stand {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Stand {
    async fn new(fleet: &Throwaway) -> (Self, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(fleet.server_config(&[b"mqtt"]).unwrap()));
        (Self { listener, acceptor }, address)
    }

    async fn accept(&self, code: ConnectReturnCode) -> Peer {
        let (tcp, _) = self.listener.accept().await.unwrap();
        let mut peer = Peer { stream: self.acceptor.accept(tcp).await.unwrap(), buffer: BytesMut::new() };
        assert!(matches!(peer.read().await, Packet::Connect(..)));
        peer.write(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await;
        peer
    }
}

struct Peer {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
}

impl Peer {
    async fn read(&mut self) -> Packet {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, None) {
                return packet;
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the client went away");
        }
    }

    async fn write(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn request(&mut self) -> Publish {
        loop {
            if let Packet::Publish(publish) = self.read().await {
                return publish;
            }
        }
    }

    async fn ack(&mut self, request: &Publish, reason: PubAckReason) {
        self.write(Packet::PubAck(PubAck { pkid: request.pkid, reason, properties: None })).await;
    }

    async fn say(&mut self, topic: &str, correlation: Option<Bytes>, payload: &Value) {
        let properties = PublishProperties { correlation_data: correlation, ..PublishProperties::default() };
        let publish = Publish::new(topic, QoS::AtMostOnce, payload.to_string(), Some(properties));
        self.write(Packet::Publish(publish)).await;
    }
}

fn credentials(fleet: &Throwaway) -> Credentials {
    let (certificate_pem, key_pem) = fleet.issue(Role::Operator, "admin").unwrap();
    Credentials { ca_pem: fleet.ca_pem().to_owned(), certificate_pem, key_pem }
}

fn fleet() -> Throwaway {
    Throwaway::new("acme", &["127.0.0.1"]).unwrap()
}

#[tokio::test]
async fn a_request_names_its_answer_and_takes_no_other() {
    let fleet = fleet();
    let (stand, address) = Stand::new(&fleet).await;
    let serve = async {
        let mut peer = stand.accept(ConnectReturnCode::Success).await;
        let request = peer.request().await;
        assert_eq!((&*request.topic, request.qos), (&b"muster/op/component-list"[..], QoS::AtLeastOnce));
        assert_eq!(&*request.payload, b"{}");
        let properties = request.properties.clone().unwrap();
        let (topic, data) = (properties.response_topic.unwrap(), properties.correlation_data.unwrap());
        assert!(topic.starts_with("muster/reply/muster-cli-") && topic.ends_with("/1"), "{topic}");
        // News, an answer to someone else and a late answer come first.
        peer.say("muster/view/actions", None, &json!({"news": true})).await;
        peer.say("muster/reply/other/1", None, &json!({"ok": 1})).await;
        peer.say(&topic, Some("0".into()), &json!({"ok": 2})).await;
        peer.say(&topic, Some(data), &json!({"ok": 3})).await;
        peer.ack(&request, PubAckReason::Success).await;
        peer
    };
    let ask = async {
        let mut operator = Operator::connect(&address, &credentials(&fleet), Clock::system()).await.unwrap();
        let answer: u8 = operator.call(Verb::ComponentList, &ListComponents::default()).await.unwrap();
        let news = operator.next_message().await.unwrap();
        (answer, news.topic, operator)
    };
    let (_peer, (answer, topic, _operator)) = tokio::join!(serve, ask);
    assert_eq!((answer, topic.as_str()), (3, "muster/view/actions"));
}

#[tokio::test]
async fn a_refusal_carries_the_words_of_the_server() {
    let fleet = fleet();
    let (stand, address) = Stand::new(&fleet).await;
    let serve = async {
        let mut peer = stand.accept(ConnectReturnCode::Success).await;
        let request = peer.request().await;
        peer.ack(&request, PubAckReason::Success).await;
        let properties = request.properties.clone().unwrap();
        let error = json!({"error": {"code": "not-found", "message": "no connector is called x"}});
        peer.say(&properties.response_topic.unwrap(), properties.correlation_data, &error).await;
        let request = peer.request().await;
        peer.ack(&request, PubAckReason::NotAuthorized).await;
        peer
    };
    let ask = async {
        let mut operator = Operator::connect(&address, &credentials(&fleet), Clock::system()).await.unwrap();
        let question = ShowConnector { name: "x".parse().unwrap() };
        let first = operator.call::<_, Value>(Verb::ConnectorShow, &question).await.unwrap_err();
        let second = operator.call::<_, Value>(Verb::ConnectorShow, &question).await.unwrap_err();
        (first, second)
    };
    let (_peer, (first, second)) = tokio::join!(serve, ask);
    assert!(matches!(first, CliError::Refused(_)), "{first}");
    assert_eq!(first.to_string(), "no connector is called x");
    assert!(matches!(second, CliError::Outcome(_)) && second.to_string().contains("policy operator"), "{second}");
}

#[tokio::test]
async fn a_filter_that_is_not_allowed_is_an_error() {
    let fleet = fleet();
    let (stand, address) = Stand::new(&fleet).await;
    let serve = async {
        let mut peer = stand.accept(ConnectReturnCode::Success).await;
        let Packet::Subscribe(subscribe) = peer.read().await else { panic!("no subscription") };
        let return_codes = vec![SubscribeReasonCode::NotAuthorized];
        peer.write(Packet::SubAck(SubAck { pkid: subscribe.pkid, return_codes, properties: None })).await;
        peer
    };
    let ask = async {
        let mut operator = Operator::connect(&address, &credentials(&fleet), Clock::system()).await.unwrap();
        operator.subscribe("muster/view/#").await.unwrap_err()
    };
    let (_peer, error) = tokio::join!(serve, ask);
    assert!(error.to_string().contains("does not allow to read muster/view/#"), "{error}");
}

#[track_caller]
fn check_unreachable(error: &CliError, says: &str) {
    assert!(matches!(error, CliError::Unreachable { .. }), "{error:?}");
    assert!(error.chain().contains(says), "{} does not say {says:?}", error.chain());
}

#[tokio::test]
async fn each_way_not_to_connect_has_its_own_words() {
    let fleet = fleet();
    let other = Throwaway::new("acme", &["127.0.0.1"]).unwrap();
    let connect = async |address: &Address, credentials: &Credentials| {
        Operator::connect(address, credentials, Clock::system()).await.err().unwrap()
    };
    let (stand, address) = Stand::new(&fleet).await;
    let ours = credentials(&fleet);

    // The server refuses at CONNECT.
    let (_peer, error) = tokio::join!(stand.accept(ConnectReturnCode::NotAuthorized), connect(&address, &ours));
    check_unreachable(&error, "the operator's certificate is not accepted");

    // The certificate is of another authority, and the server says so in TLS.
    let mut stranger = credentials(&other);
    stranger.ca_pem = fleet.ca_pem().to_owned();
    let refuse = async {
        let (tcp, _) = stand.listener.accept().await.unwrap();
        stand.acceptor.accept(tcp).await.err().unwrap()
    };
    let (_, error) = tokio::join!(refuse, connect(&address, &stranger));
    check_unreachable(&error, "certificate of this fleet and valid?");

    // The server is of another authority.
    let mut misled = credentials(&fleet);
    misled.ca_pem = other.ca_pem().to_owned();
    let refuse = async {
        let (tcp, _) = stand.listener.accept().await.unwrap();
        stand.acceptor.accept(tcp).await.err().unwrap()
    };
    let (_, error) = tokio::join!(refuse, connect(&address, &misled));
    check_unreachable(&error, "the CA of this data folder does not vouch for");

    // Nobody listens, and nobody else can.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = connect(&nobody.local_addr().unwrap().to_string().parse().unwrap(), &ours).await;
    check_unreachable(&error, "is `muster serve` running?");
}
