//! The way to the server, step by step: the first step that fails is the last that is tried.

use super::{Line, Way, date};
use crate::dial::{self, DialError};
use crate::hands::http::{Endpoint, HttpError, get};
use crate::link;
use crate::tls::Tls;
use muster_certs::client_config;
use muster_runtime::clock::Clock;
use muster_runtime::ids;
use muster_wire::enrol::HEALTH_PATH;
use muster_wire::id::ThingName;
use muster_wire::limits::HEARTBEAT;

/// A clock may be off by so much; certificates are valid from some minutes before they are made.
const SKEW_GOOD_S: u64 = 30;
const SKEW_MOST_S: u64 = 240;
/// How MQTT is asked for in the TLS handshake.
const MQTT: &[u8] = b"x-amzn-mqtt-ca";

/// The checks of the network.
pub async fn checks(way: &Way, clock: &Clock) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.push(Line::pass(
        "proxy",
        way.proxy.explain(&way.server),
        "what agent.toml, arguments or the environment say",
    ));
    // An error ends the checks; its line is in there already.
    let _ = steps(way, clock, &mut lines).await;
    lines
}

async fn steps(way: &Way, clock: &Clock, lines: &mut Vec<Line>) -> Result<(), ()> {
    let (server, path) = (&way.server, way.proxy.way(&way.server));
    let mut done = |line: Line| {
        let is_bad = line.verdict == super::Verdict::Fail;
        lines.push(line);
        if is_bad { Err(()) } else { Ok(()) }
    };
    let next_hop = match &path {
        dial::Way::Direct => server.to_string(),
        dial::Way::Through(proxy) => proxy.to_string(),
    };
    let needed = format!("TCP to {server}, {}", if path == dial::Way::Direct { "direct" } else { "through the proxy" });
    let stream = match dial::connect(server, &path).await {
        Ok(stream) => {
            done(Line::pass("dns", format!("{next_hop} is found"), "the name of the next hop is known"))?;
            done(Line::pass("tcp", format!("connected by {next_hop}"), needed))?;
            stream
        }
        Err(error @ DialError::Lookup { .. }) => {
            let fix = "correct the name, or DNS or /etc/hosts of this host";
            return done(Line::fail("dns", error.to_string(), "the name of the next hop is known", fix));
        }
        Err(error) => {
            done(Line::pass("dns", format!("{next_hop} is found"), "the name of the next hop is known"))?;
            let fix =
                format!("let this host out to {next_hop}; `muster allowlist` prints what a firewall must let out");
            return done(Line::fail("tcp", error.to_string(), needed, fix));
        }
    };

    let own = way.identity.as_ref();
    let tls = |alpn: &[u8]| match own {
        Some(identity) => Tls::of(identity, &[alpn], clock).map_err(|failure| failure.chain()),
        None => {
            let config = client_config(&way.ca_pem, None, &[alpn]).map_err(|error| error.to_string())?;
            Ok(Tls::fixed(config, clock))
        }
    };
    let needed = "TLS with a certificate of this fleet's CA";
    let mqtt_tls = match tls(MQTT) {
        Ok(tls) => tls,
        Err(why) => return done(Line::fail("tls", why, needed, "use the CA file of this server")),
    };
    let spoken = match dial::secure(stream, server, &path, &mqtt_tls.current()).await {
        Ok(stream) => stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
        Err(error) => {
            let now = clock.now();
            let fix =
                format!("check that this is the right server and CA, and that the clock of this host, {now}, is right");
            return done(Line::fail("tls", error.to_string(), needed, fix));
        }
    };
    done(Line::pass("tls", format!("{server} proved itself"), needed))?;

    let endpoint = match tls(b"http/1.1") {
        Ok(tls) => Endpoint { server: server.clone(), way: path.clone(), tls: Some(tls) },
        Err(why) => return done(Line::fail("tls", why, needed, "use the CA file of this server")),
    };
    done(skew(&endpoint, clock).await)?;

    let needed = "MQTT on the same port";
    match own {
        None if spoken.as_deref() == Some(MQTT) => {
            done(Line::pass("mqtt", "agreed on in the TLS handshake".to_owned(), needed))
        }
        None => {
            let fix = "is something in between that takes TLS apart? It must pass it through as it is";
            done(Line::fail("mqtt", "not agreed on in the TLS handshake".to_owned(), needed, fix))
        }
        Some(identity) => {
            let target = link::Target {
                server: server.clone(),
                way: path,
                thing: ThingName::clone(&identity.name),
                tls: mqtt_tls,
                heartbeat: HEARTBEAT,
                counter: None,
            };
            // A client id of its own: the agent's session stays.
            let client_id = format!("check-{}", ids::random_hex::<8>());
            match link::try_once(&target, &client_id).await {
                Ok(()) => done(Line::pass("mqtt", format!("{server} accepts {}", identity.name), needed)),
                Err(error) => {
                    let fix = "`muster connector show` tells whether the server knows and wants this connector";
                    done(Line::fail("mqtt", error.to_string(), needed, fix))
                }
            }
        }
    }
}

async fn skew(endpoint: &Endpoint, clock: &Clock) -> Line {
    let needed = format!("at most {SKEW_GOOD_S} s off the server's clock");
    let fix = "set the clock, and keep it right with NTP: certificates depend on it";
    let request = match get(&endpoint.server.to_string(), HEALTH_PATH) {
        Ok(request) => request,
        Err(error) => return Line::warn("clock", format!("not compared: {error}"), needed, fix),
    };
    let told = endpoint.exchange::<_, HttpError, _>(request, async |answer| {
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned);
        Ok(date)
    });
    let told = match told.await {
        Ok(told) => told,
        Err(error) => {
            let fix = "HTTPS must pass on the same port as MQTT";
            return Line::fail("https", error.to_string(), "an answer of the server over HTTPS", fix);
        }
    };
    let Some(theirs) = told.as_deref().and_then(date::parse) else {
        return Line::warn("clock", "the server told no time".to_owned(), needed, fix);
    };
    let ours = clock.now();
    let off = ours.since(theirs).max(theirs.since(ours)).as_secs();
    let measured = format!("{off} s {} the server's clock", if ours < theirs { "behind" } else { "ahead of" });
    if off <= SKEW_GOOD_S {
        Line::pass("clock", measured, needed)
    } else if off <= SKEW_MOST_S {
        Line::warn("clock", measured, needed, fix)
    } else {
        Line::fail("clock", measured, needed, fix)
    }
}
