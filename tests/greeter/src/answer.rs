//! What is answered to the head of a request. A function of its bytes; no socket in sight.

/// What this process says about itself.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The answer to `/version`.
    pub version: String,
    /// What `/health` says.
    pub healthy: bool,
}

/// An answer that can be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: &'static str,
    headers: &'static str,
    body: String,
    /// False for HEAD: the length is told, the body is not sent.
    with_body: bool,
}

impl Greeting {
    /// The answer to a request whose head (request line and headers) is `head`.
    pub fn answer(&self, head: &[u8]) -> Answer {
        let Some((method, path)) = request_line(head) else {
            return Answer::bad_request();
        };
        if method != "GET" && method != "HEAD" {
            let mut refusal = Answer::new("405 Method Not Allowed", "only GET and HEAD\n");
            refusal.headers = "Allow: GET, HEAD\r\n";
            return refusal;
        }
        let mut answer = match path {
            "/version" => Answer::new("200 OK", &self.version),
            "/health" if self.healthy => Answer::new("200 OK", "ok"),
            "/health" => Answer::new("503 Service Unavailable", "unhealthy: started with --unhealthy"),
            _ => Answer::new("404 Not Found", "try /version or /health\n"),
        };
        answer.with_body = method == "GET";
        answer
    }
}

impl Answer {
    /// For bytes that are not HTTP/1.
    pub fn bad_request() -> Self {
        Self::new("400 Bad Request", "this is not an HTTP/1.1 request\n")
    }

    /// For a head that does not end.
    pub fn head_too_large() -> Self {
        Self::new("431 Request Header Fields Too Large", "the request has too many headers\n")
    }

    /// For a peer that takes too long to ask.
    pub fn too_slow() -> Self {
        Self::new("408 Request Timeout", "the request took too long\n")
    }

    /// For one connection too many.
    pub fn busy() -> Self {
        Self::new("503 Service Unavailable", "too many connections\n")
    }

    /// The bytes on the wire. Every answer is the last one on its connection.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (status, headers, length) = (self.status, self.headers, self.body.len());
        let body = if self.with_body { &*self.body } else { "" };
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }

    fn new(status: &'static str, body: &str) -> Self {
        Self { status, headers: "", body: body.to_owned(), with_body: true }
    }
}

/// Method and path, without the query, when the head begins like an HTTP/1 request.
fn request_line(head: &[u8]) -> Option<(&str, &str)> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = str::from_utf8(line).ok()?.trim_end_matches('\r');
    let mut words = line.split(' ');
    let (method, target, protocol) = (words.next()?, words.next()?, words.next()?);
    let well_formed = words.next().is_none()
        && !method.is_empty()
        && method.bytes().all(|byte| byte.is_ascii_uppercase())
        && target.starts_with('/')
        && (protocol == "HTTP/1.1" || protocol == "HTTP/1.0");
    let path = target.split('?').next()?;
    well_formed.then_some((method, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(healthy: bool, head: &[u8], status: &str, body: &str) {
        let version = "1.2".to_owned();
        let answer = Greeting { version, healthy }.answer(head);
        let sent = String::from_utf8(answer.to_bytes()).expect("answers are text");
        let (headers, sent_body) = sent.split_once("\r\n\r\n").expect("the head ends");
        assert!(headers.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}");
        assert_eq!(sent_body, body);
    }

    #[test]
    fn version_and_health_are_answered() {
        check(true, b"GET /version HTTP/1.1\r\n\r\n", "200", "1.2");
        check(true, b"GET /version?x=1 HTTP/1.0\n\n", "200", "1.2");
        check(true, b"GET /health HTTP/1.1\r\n\r\n", "200", "ok");
        let why = "unhealthy: started with --unhealthy";
        check(false, b"GET /health HTTP/1.1\r\n\r\n", "503", why);
        check(false, b"GET /version HTTP/1.1\r\n\r\n", "200", "1.2");
    }

    #[test]
    fn head_tells_the_length_without_the_body() {
        check(true, b"HEAD /version HTTP/1.1\r\n\r\n", "200", "");
        let greeting = Greeting { version: "1.2".to_owned(), healthy: true };
        let sent = greeting.answer(b"HEAD /version HTTP/1.1\r\n\r\n").to_bytes();
        assert!(String::from_utf8_lossy(&sent).contains("\r\nContent-Length: 3\r\n"));
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        let hint = "try /version or /health\n";
        check(true, b"GET / HTTP/1.1\r\n\r\n", "404", hint);
        check(true, b"GET /versions HTTP/1.1\r\n\r\n", "404", hint);
        check(true, b"POST /version HTTP/1.1\r\n\r\n", "405", "only GET and HEAD\n");
    }

    #[test]
    fn what_is_not_http_is_a_bad_request() {
        for head in [
            &b""[..],
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /version\r\n\r\n",
            b"GET /version HTTP/2\r\n\r\n",
            b"GET /version HTTP/1.1 more\r\n\r\n",
            b"get /version HTTP/1.1\r\n\r\n",
            b" /version HTTP/1.1\r\n\r\n",
            b"GET version HTTP/1.1\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ] {
            check(true, head, "400", "this is not an HTTP/1.1 request\n");
        }
    }
}
