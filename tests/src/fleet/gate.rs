//! A stretch of network in front of the server that a test can close: for all, or for what is not MQTT, as firewalls that
//! look into a ClientHello do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A port that leads to another one. Dropped, it and its connections are gone.
pub struct Gate {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    accepting: Option<JoinHandle<()>>,
}

/// What a gate does and has done.
struct Inner {
    to: SocketAddr,
    rule: Rule,
    passed: usize,
    held: usize,
    cut: usize,
    streams: Vec<TcpStream>,
    closed: bool,
}

/// What may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Everything.
    All,
    /// So many connections more; those that come later are accepted and hear nothing.
    First(usize),
    /// What offers MQTT in its ClientHello; everything else is cut.
    Mqtt,
}

impl Gate {
    /// Opens a gate to this address, on a free port of the same machine.
    #[track_caller]
    pub fn open(to: SocketAddr, rule: Rule) -> Self {
        let listener = TcpListener::bind((to.ip(), 0)).expect("an address of this machine");
        let address = listener.local_addr().expect("a bound socket has an address");
        let inner = Inner { to, rule, passed: 0, held: 0, cut: 0, streams: Vec::new(), closed: false };
        let inner = Arc::new(Mutex::new(inner));
        let shared = inner.clone();
        let accepting = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut inner = lock(&shared);
                if inner.closed {
                    break;
                }
                // Here, in the order in which they come, unless it has to be heard what they say.
                let rule = inner.rule;
                match &mut inner.rule {
                    Rule::First(0) => {
                        inner.held += 1;
                        inner.streams.push(client);
                        continue;
                    }
                    Rule::First(left) => *left -= 1,
                    Rule::All | Rule::Mqtt => {}
                }
                inner.passed += usize::from(rule != Rule::Mqtt);
                drop(inner);
                let shared = shared.clone();
                thread::spawn(move || match rule {
                    Rule::Mqtt => attend(client, &shared),
                    Rule::All | Rule::First(_) => lead(client, &[], &shared),
                });
            }
        });
        Self { address, inner, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it lets this through; open connections stay.
    pub fn let_through(&self, rule: Rule) {
        lock(&self.inner).rule = rule;
    }

    /// Connections that got through.
    pub fn passed(&self) -> usize {
        lock(&self.inner).passed
    }

    /// Connections that were accepted and hear nothing.
    pub fn held(&self) -> usize {
        lock(&self.inner).held
    }

    /// Connections that were cut.
    pub fn cut(&self) -> usize {
        lock(&self.inner).cut
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        for stream in inner.streams.drain(..) {
            // What the peer has closed already needs nothing.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(inner);
        // The loop looks up when somebody comes.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hears what a connection offers, and cuts it or carries it to its end.
fn attend(mut client: TcpStream, shared: &Mutex<Inner>) {
    let Some(hello) = first_record(&mut client) else { return };
    if offers_mqtt(&hello) {
        lock(shared).passed += 1;
        lead(client, &hello, shared);
    } else {
        lock(shared).cut += 1;
    }
}

/// Carries a connection to its end, of which so much has been read.
fn lead(client: TcpStream, hello: &[u8], shared: &Mutex<Inner>) {
    let mut inner = lock(shared);
    let Ok(mut server) = TcpStream::connect(inner.to) else { return };
    let (Ok(from), Ok(back)) = (client.try_clone(), server.try_clone()) else { return };
    inner.streams.extend([client.try_clone(), server.try_clone()].into_iter().flatten());
    drop(inner);
    if server.write_all(hello).is_ok() {
        let there = thread::spawn(move || carry(from, server));
        carry(back, client);
        let _ = there.join();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // A broken connection is the end of it, like a closed one.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// The first TLS record of a client, whole.
fn first_record(client: &mut TcpStream) -> Option<Vec<u8>> {
    client.set_read_timeout(Some(HELLO_DEADLINE)).ok()?;
    let mut record = vec![0; HEADER_BYTES];
    client.read_exact(&mut record).ok()?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(HEADER_BYTES + length, 0);
    client.read_exact(&mut record[HEADER_BYTES..]).ok()?;
    client.set_read_timeout(None).ok()?;
    Some(record)
}

/// Whether one of the protocols that a ClientHello names is MQTT's.
fn offers_mqtt(hello: &[u8]) -> bool {
    // As an entry of the list: its length, then the name.
    let names: [&[u8]; 2] = [b"\x04mqtt", b"\x0ex-amzn-mqtt-ca"];
    names.iter().any(|name| hello.windows(name.len()).any(|part| part == *name))
}

/// Type, version and length of a TLS record.
const HEADER_BYTES: usize = 5;
const HELLO_DEADLINE: Duration = Duration::from_secs(30);
