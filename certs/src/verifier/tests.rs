#![allow(clippy::unwrap_used)]

use std::time::Duration;

use rustls::{ClientConnection, ConnectionCommon, HandshakeKind, ServerConnection, SideData};
use rustls_pki_types::ServerName;

use super::*;
use crate::authority::Authority;
use crate::identity::{Fleet, Identity, Role};
use crate::throwaway::Throwaway;

/// What the server knows after a handshake.
struct Met {
    identity: Option<Identity>,
    kind: HandshakeKind,
    alpn: Option<Vec<u8>>,
}

/// Moves what one side wants to send to the other and lets it work on it.
fn deliver<A: SideData, B: SideData>(
    from: &mut ConnectionCommon<A>,
    to: &mut ConnectionCommon<B>,
) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A whole handshake in memory, tickets included. The error is that of the side that refused.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, host: &str) -> Result<Met, rustls::Error> {
    let fleet = Fleet::new("acme").unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), host).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        deliver(&mut client, &mut server)?;
        deliver(&mut server, &mut client)?;
    }
    let leaf = server.peer_certificates().and_then(|chain| chain.first());
    Ok(Met {
        identity: leaf.map(|der| Identity::from_certificate(der, &fleet).unwrap()),
        kind: server.handshake_kind().unwrap(),
        alpn: server.alpn_protocol().map(<[u8]>::to_vec),
    })
}

/// The fleet `acme`, its server at `muster.example` and 127.0.0.1, and client settings for each TLS version.
struct World {
    fleet: Throwaway,
    server: Arc<ServerConfig>,
}

const EACH_VERSION: [&[&SupportedProtocolVersion]; 2] = [&[&TLS13], &[&TLS12]];

impl World {
    fn new() -> Self {
        let fleet = Throwaway::new("acme", &["muster.example", "127.0.0.1"]).unwrap();
        let server = Arc::new(fleet.server_config(&[b"mqtt", b"http/1.1"]).unwrap());
        Self { fleet, server }
    }

    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&(String, String)>,
    ) -> Arc<ClientConfig> {
        let own = own.map(|(chain, key)| (chain.as_str(), key.as_str()));
        Arc::new(client_config_for(versions, self.fleet.ca_pem(), own, &[b"mqtt"]).unwrap())
    }

    fn meet(&self, client: &Arc<ClientConfig>) -> Result<Met, rustls::Error> {
        handshake(client, &self.server, "muster.example")
    }
}

#[test]
fn client_of_our_authority_is_known_by_its_identity() {
    let world = World::new();
    let own = world.fleet.issue(Role::Connector, "c1").unwrap();
    for versions in EACH_VERSION {
        let met = world.meet(&world.client(versions, Some(&own))).unwrap();
        assert_eq!(met.identity.unwrap().to_string(), "spiffe://acme/connector/c1");
        assert_eq!(met.alpn.as_deref(), Some(&b"mqtt"[..]));
    }
}

#[test]
fn client_without_certificate_comes_in_without_identity() {
    let world = World::new();
    for versions in EACH_VERSION {
        let met = world.meet(&world.client(versions, None)).unwrap();
        assert_eq!(met.identity, None);
    }
}

#[test]
fn client_of_another_authority_is_refused() {
    // The other authority has the same fleet name: only the signature tells them apart.
    let world = World::new();
    let foreign = Throwaway::new("acme", &["localhost"]).unwrap().issue(Role::Operator, "root").unwrap();
    for versions in EACH_VERSION {
        let error = world.meet(&world.client(versions, Some(&foreign))).err().unwrap();
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    }
}

#[test]
fn expired_client_is_refused() {
    let world = World::new();
    let identity = world.fleet.identity(Role::Connector, "c1").unwrap();
    // One day in January 2020.
    let day = Duration::from_secs(86_400);
    let expired = world.fleet.authority.issue_with_new_key(&identity, day, 1_578_000_000).unwrap();
    for versions in EACH_VERSION {
        let error = world.meet(&world.client(versions, Some(&expired))).err().unwrap();
        assert!(error.to_string().contains("xpired"), "{error}");
    }
}

#[test]
fn server_certificate_is_no_client_certificate() {
    let world = World::new();
    let own = (world.fleet.server_chain_pem.clone(), world.fleet.server_key_pem().to_owned());
    let error = world.meet(&world.client(VERSIONS, Some(&own))).err().unwrap();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn client_refuses_a_server_of_another_authority_or_name() {
    let world = World::new();
    let client = world.client(VERSIONS, None);
    let foreign = Throwaway::new("acme", &["muster.example"]).unwrap();
    let foreign = Arc::new(foreign.server_config(&[b"mqtt"]).unwrap());
    assert!(matches!(handshake(&client, &foreign, "muster.example"), Err(rustls::Error::InvalidCertificate(_))));
    assert!(matches!(handshake(&client, &world.server, "other.example"), Err(rustls::Error::InvalidCertificate(_))));
    handshake(&client, &world.server, "127.0.0.1").unwrap();
}

#[test]
fn client_certificate_does_not_make_a_server() {
    let world = World::new();
    let (chain, key) = world.fleet.issue(Role::Connector, "c1").unwrap();
    let impostor = Arc::new(server_config(&chain, &key, world.fleet.ca_pem(), &[b"mqtt"]).unwrap());
    let error = handshake(&world.client(VERSIONS, None), &impostor, "muster.example").err().unwrap();
    assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
}

#[test]
fn second_connection_resumes_and_keeps_the_identity() {
    let world = World::new();
    let own = world.fleet.issue(Role::Connector, "c1").unwrap();
    for versions in EACH_VERSION {
        let client = world.client(versions, Some(&own));
        assert_ne!(world.meet(&client).unwrap().kind, HandshakeKind::Resumed);
        let met = world.meet(&client).unwrap();
        assert_eq!(met.kind, HandshakeKind::Resumed);
        assert_eq!(met.identity.unwrap().name(), "c1");
    }
}

#[test]
fn server_accepts_both_roots_while_the_authority_is_replaced() {
    let world = World::new();
    let next = Throwaway::new("acme", &["muster.example"]).unwrap();
    let both = format!("{}{}", world.fleet.ca_pem(), next.ca_pem());
    let (chain, key) = (&world.fleet.server_chain_pem, world.fleet.server_key_pem());
    let server = Arc::new(server_config(chain, key, &both, &[b"mqtt"]).unwrap());
    for fleet in [&world.fleet, &next] {
        let own = fleet.issue(Role::Connector, "c1").unwrap();
        assert!(handshake(&world.client(VERSIONS, Some(&own)), &server, "muster.example").unwrap().identity.is_some());
    }
}

#[test]
fn certified_csr_key_can_connect() {
    let world = World::new();
    let (csr_pem, key) = crate::csr("c1").unwrap();
    let identity = world.fleet.identity(Role::Connector, "c1").unwrap();
    let day = Duration::from_secs(86_400 * 36_000);
    let certificate = world.fleet.authority.issue_from_csr(&csr_pem, &identity, day, 1_600_000_000).unwrap();
    let met = world.meet(&world.client(VERSIONS, Some(&(certificate, key)))).unwrap();
    assert_eq!(met.identity, Some(identity));
}

#[test]
fn unusable_settings_are_refused_with_the_part_that_is_wrong() {
    let fleet = Throwaway::new("acme", &["localhost"]).unwrap();
    let other: Authority = Throwaway::new("acme", &["localhost"]).unwrap().authority;
    let (chain, key, ca) = (fleet.server_chain_pem.as_str(), fleet.server_key_pem(), fleet.ca_pem());
    let server = |chain: &str, key: &str, ca: &str| server_config(chain, key, ca, &[]).err().unwrap();
    assert!(matches!(server(chain, key, ""), VerifierError::Authority(CertificateError::Absent)));
    assert!(matches!(server("", key, ca), VerifierError::Chain(CertificateError::Absent)));
    assert!(matches!(server(chain, "", ca), VerifierError::Key(_)));
    assert!(matches!(server(chain, &other.key_pem(), ca), VerifierError::KeyPair(_)));
    let client = |own, ca: &str| client_config(ca, own, &[]).err().unwrap();
    assert!(matches!(client(None, ""), VerifierError::Authority(_)));
    assert!(matches!(client(Some((chain, &other.key_pem())), ca), VerifierError::KeyPair(_)));
}
