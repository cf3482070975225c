//! The greeter as a process, asked over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test stops at what it cannot set up, and its deadlines are on the real clock"
)]

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running greeter; killed when the test is over, whatever its end.
struct Greeter {
    process: Child,
    port: u16,
}

impl Greeter {
    fn start(name: &str, more: &[&str]) -> Self {
        let port_file = port_file(name);
        let process = command(&port_file, more).spawn().unwrap();
        let mut greeter = Self { process, port: 0 };
        greeter.port = eventually("the port file appears", || {
            // One read: whatever is there must be whole, since it is put there in one step.
            let text = fs::read_to_string(&port_file).ok()?;
            Some(text.trim().parse().unwrap())
        });
        greeter
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Status code and body of the answer to these bytes.
    fn ask(&self, request: &[u8]) -> (String, String) {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read_answer(&mut stream)
    }

    fn get(&self, path: &str) -> (String, String) {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(port_file: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greeter"));
    command
        .args(["serve", "--version", "1.1.0", "--port-file"])
        .arg(port_file)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A path in a new, empty folder for one test.
fn port_file(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("greeter").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    fs::create_dir_all(&dir).unwrap();
    dir.join("port")
}

fn read_answer(stream: &mut TcpStream) -> (String, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

fn answer(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}

/// Looks until there is something to see, or the deadline is over.
#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        thread::yield_now();
    }
}

const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_healthy_greeter_tells_its_version() {
    let greeter = Greeter::start("healthy", &[]);
    assert_eq!(greeter.get("/version"), answer("200", "1.1.0"));
    assert_eq!(greeter.get("/health"), answer("200", "ok"));
    assert_eq!(greeter.get("/other").0, "404");
}

#[test]
fn an_unhealthy_greeter_says_why() {
    let greeter = Greeter::start("unhealthy", &["--unhealthy"]);
    assert_eq!(greeter.get("/health"), answer("503", "unhealthy: started with --unhealthy"));
    assert_eq!(greeter.get("/version"), answer("200", "1.1.0"));
}

#[test]
fn bad_requests_are_refused_and_harm_nobody() {
    let greeter = Greeter::start("bad", &[]);
    assert_eq!(greeter.ask(b"\x16\x03\x01\xff\xff\n\n").0, "400");
    assert_eq!(greeter.ask(b"HELLO\r\n\r\n").0, "400");
    assert_eq!(greeter.ask(b"POST /version HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").0, "405");
    let endless = [b"GET /version HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 16_000]].concat();
    assert_eq!(greeter.ask(&endless).0, "431");
    let mut cut = greeter.connect();
    cut.write_all(b"GET /version HT").unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&mut cut).0, "400");
    drop(greeter.connect());
    assert_eq!(greeter.get("/version"), answer("200", "1.1.0"));
}

#[test]
fn a_request_in_pieces_is_understood() {
    let greeter = Greeter::start("pieces", &[]);
    let mut stream = greeter.connect();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /version HTTP/1.1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert_eq!(read_answer(&mut stream), answer("200", "1.1.0"));
}

#[test]
fn silent_connections_are_bounded_and_end_by_themselves() {
    let greeter = Greeter::start("silent", &[]);
    let mut silent: Vec<TcpStream> = (0..40).map(|_| greeter.connect()).collect();
    // With every place taken the answer is an honest 503, or a reset that says as much.
    let mut refused = greeter.connect();
    let mut text = String::new();
    if refused.read_to_string(&mut text).is_ok() {
        assert!(text.starts_with("HTTP/1.1 503 "), "{text:?}");
    }
    assert_eq!(read_answer(&mut silent[0]).0, "408");
    drop(silent);
    eventually("there is a place again", || {
        let mut stream = greeter.connect();
        stream.write_all(b"GET /version HTTP/1.1\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200 ").then_some(())
    });
}

#[test]
fn a_port_that_is_taken_means_try_later_and_no_port_file() {
    let greeter = Greeter::start("taken_first", &[]);
    let second = port_file("taken_second");
    let output: Output =
        command(&second, &["--port", &greeter.port.to_string()]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("choose another --port"), "{stderr}");
    assert!(!second.exists());
}

#[test]
fn a_port_file_that_cannot_be_written_is_an_error() {
    let nowhere = port_file("nowhere").join("missing/port");
    let status = command(&nowhere, &[]).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

#[test]
fn a_new_process_replaces_the_port_of_the_old_one_and_leaves_nothing_beside_it() {
    let path = port_file("replaced");
    fs::write(&path, "1\n").unwrap();
    let process = command(&path, &[]).spawn().unwrap();
    let mut greeter = Greeter { process, port: 0 };
    greeter.port = eventually("the old port is replaced", || {
        let port = fs::read_to_string(&path).ok()?.trim().parse().unwrap();
        (port != 1).then_some(port)
    });
    assert_eq!(greeter.get("/health"), answer("200", "ok"));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn sigterm_ends_it_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let mut greeter = Greeter::start("sigterm", &[]);
    let told =
        Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &greeter.process.id().to_string()]).status().unwrap();
    assert!(told.success());
    let status = eventually("the process is gone", || greeter.process.try_wait().unwrap());
    assert_eq!(status.signal(), Some(15));
}
