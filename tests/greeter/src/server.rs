//! The socket side: one short-lived thread per connection, a bound on their number, a deadline on each.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process, thread};

use crate::answer::{Answer, Greeting};

/// A bound socket on the loopback address.
pub struct Server {
    listener: TcpListener,
    port: u16,
}

impl Server {
    /// Binds 127.0.0.1; port 0 lets the system choose.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The port that was bound.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes the port to `path` in one step: a reader sees the old file, none, or the whole new one.
    pub fn publish_port(&self, path: &Path) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.new", process::id()));
        let beside = PathBuf::from(beside);
        fs::write(&beside, format!("{}\n", self.port)).and_then(|()| fs::rename(&beside, path)).inspect_err(|_| {
            let _ = fs::remove_file(&beside);
        })
    }

    /// Serves until the process is killed.
    pub fn run(self, greeting: Greeting) -> ! {
        let greeting = Arc::new(greeting);
        let places = Arc::new(AtomicUsize::new(CONNECTIONS_MAX));
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => admit(stream, &greeting, &places),
                // Out of file handles, or a peer that left early: the next accept may do better.
                Err(_) => thread::sleep(ACCEPT_PAUSE),
            }
        }
    }
}

/// One of the places for connections; given back when dropped, however the connection ends.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(places: &Arc<AtomicUsize>) -> Option<Self> {
        let fewer = |free: usize| free.checked_sub(1);
        places.fetch_update(Ordering::AcqRel, Ordering::Acquire, fewer).ok().map(|_| Self(Arc::clone(places)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

fn admit(mut stream: TcpStream, greeting: &Arc<Greeting>, places: &Arc<AtomicUsize>) {
    let Some(place) = Place::take(places) else {
        // A few hundred bytes into an empty send buffer: this cannot block the accept loop.
        let _ = stream.write_all(&Answer::busy().to_bytes());
        return;
    };
    let greeting = Arc::clone(greeting);
    // When no thread can be had, the stream is dropped, and the peer sees its connection closed.
    let _ = thread::Builder::new().spawn(move || {
        let _place = place;
        // The peer's errors are the peer's; the log of a component is no place for them.
        let _ = serve(stream, &greeting);
    });
}

fn serve(mut stream: TcpStream, greeting: &Greeting) -> io::Result<()> {
    let deadline = Instant::now() + CONNECTION_TIME_MAX;
    stream.set_write_timeout(Some(CONNECTION_TIME_MAX))?;
    let answer = match read_head(&mut stream, deadline) {
        Ok(Head::Whole(head)) => greeting.answer(&head),
        Ok(Head::TooLarge) => Answer::head_too_large(),
        Ok(Head::Cut) => Answer::bad_request(),
        Ok(Head::Absent) => return Ok(()),
        Err(error) if is_timeout(&error) => Answer::too_slow(),
        Err(error) => return Err(error),
    };
    stream.write_all(&answer.to_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    // Closing with unread bytes would reset the connection, and the peer could lose the answer.
    let mut rest = [0; 1024];
    while read_before(&mut stream, &mut rest, deadline)? > 0 {}
    Ok(())
}

enum Head {
    Whole(Vec<u8>),
    /// The peer closed in the middle.
    Cut,
    /// The peer closed without a word.
    Absent,
    TooLarge,
}

fn read_head(stream: &mut TcpStream, deadline: Instant) -> io::Result<Head> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    loop {
        let count = read_before(stream, &mut chunk, deadline)?;
        if count == 0 {
            return Ok(if head.is_empty() { Head::Absent } else { Head::Cut });
        }
        head.extend_from_slice(&chunk[..count]);
        if ends(&head) {
            return Ok(Head::Whole(head));
        }
        if head.len() > HEAD_BYTES_MAX {
            return Ok(Head::TooLarge);
        }
    }
}

/// One read that ends at the deadline, so that a peer that sends a byte now and then gains no time.
fn read_before(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether the head is complete: it ends with an empty line, with or without carriage returns.
fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|bytes| bytes == b"\r\n\r\n") || head.windows(2).any(|bytes| bytes == b"\n\n")
}

/// An expired read timeout is `WouldBlock` on Unix and `TimedOut` on Windows.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

/// Enough for a prober and a few curious people; a flood costs at most this many threads.
const CONNECTIONS_MAX: usize = 32;
/// A request line and the headers of any browser fit several times over.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// From accept to close. A health probe waits less than this.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);
/// Keeps a lasting accept error from spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
