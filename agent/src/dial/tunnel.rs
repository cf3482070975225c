//! HTTP CONNECT as values: the request to a proxy, and what its answer means. Reads and writes nothing itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_wire::proxy::ProxyUrl;

/// Longest head of an answer; a proxy's page of explanations comes after it and is not read.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Words of the proxy that are repeated in an error.
const WORDS_MAX: usize = 120;

/// Why there is no tunnel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 407, and no user was named.
    #[error(
        "wants to know who asks (it offers {schemes}); put the user into the setting `proxy` and the password into \
         `proxy_password_file`"
    )]
    WhoAsks {
        /// What it offers, in its own words.
        schemes: String,
    },
    /// 407 or 401, and a user was named.
    #[error("does not accept user {user:?} with this password; correct `proxy` or `proxy_password_file`")]
    Credentials {
        /// The user.
        user: String,
    },
    /// 407 without Basic.
    #[error("offers only {schemes}, and the agent speaks only Basic; ask for an exception for this host")]
    Scheme {
        /// What it offers, in its own words.
        schemes: String,
    },
    /// 403 and the like.
    #[error("forbids CONNECT to {target} ({status}); ask its administrators to allow this host and port")]
    Forbidden {
        /// `HOST:PORT`.
        target: String,
        /// The status line.
        status: String,
    },
    /// 5xx.
    #[error("does not reach {target} itself ({status}); is the name right, and may the proxy go there?")]
    Unreached {
        /// `HOST:PORT`.
        target: String,
        /// The status line.
        status: String,
    },
    /// Any other status.
    #[error("answers {status} to CONNECT {target}; is it a proxy for HTTPS?")]
    Status {
        /// `HOST:PORT`.
        target: String,
        /// The status line.
        status: String,
    },
    /// Not HTTP, or too much of it.
    #[error("does not answer like an HTTP proxy (it says {found:?}); check host and port of the setting `proxy`")]
    Garbage {
        /// The beginning of what came.
        found: String,
    },
    /// The end before the end of the head.
    #[error("closed the connection without an answer; check host and port of the setting `proxy`")]
    Closed,
}

/// The request for a tunnel to `target` (`HOST:PORT`).
pub fn request(target: &str, proxy: &ProxyUrl) -> Vec<u8> {
    let mut text = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: muster-agent\r\n");
    if let Some(user) = &proxy.user {
        let password = proxy.password.as_ref().map_or("", |password| password.reveal());
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        text.push_str(&format!("Proxy-Authorization: Basic {credentials}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Reads an answer piece by piece.
pub struct Answer<'a> {
    target: &'a str,
    proxy: &'a ProxyUrl,
    head: Vec<u8>,
}

impl<'a> Answer<'a> {
    /// The answer to a request for `target`.
    pub fn new(target: &'a str, proxy: &'a ProxyUrl) -> Self {
        Self { target, proxy, head: Vec::new() }
    }

    /// Takes what came; an empty piece is the end of the connection. `true` when the tunnel stands.
    pub fn feed(&mut self, piece: &[u8]) -> Result<bool, Refusal> {
        if piece.is_empty() {
            return Err(if self.head.is_empty() { Refusal::Closed } else { self.garbage() });
        }
        self.head.extend_from_slice(piece);
        let expected = b"HTTP/1.";
        let common = self.head.len().min(expected.len());
        if self.head[..common] != expected[..common] {
            return Err(self.garbage());
        }
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if self.head.len() > HEAD_BYTES_MAX { Err(self.garbage()) } else { Ok(false) };
        };
        let head = String::from_utf8_lossy(&self.head[..end]).into_owned();
        let code = head.get(9..12).and_then(|code| code.parse::<u16>().ok()).ok_or_else(|| self.garbage())?;
        match code {
            // A server speaks after its client, so whatever follows the head is not the server's.
            200..300 if self.head.len() == end + 4 => Ok(true),
            200..300 => Err(self.garbage()),
            _ => Err(self.refusal(code, &head)),
        }
    }

    fn refusal(&self, code: u16, head: &str) -> Refusal {
        let (target, status) = (self.target.to_owned(), words(head.lines().next().unwrap_or_default()));
        let schemes: Vec<&str> = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authenticate"))
            .filter_map(|(_, value)| value.split_whitespace().next())
            .collect();
        let has_basic = schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
        let schemes = words(&if schemes.is_empty() { "nothing in particular".to_owned() } else { schemes.join(", ") });
        match (code, &self.proxy.user) {
            (407 | 401, _) if !has_basic => Refusal::Scheme { schemes },
            (407 | 401, Some(user)) => Refusal::Credentials { user: user.clone() },
            (407 | 401, None) => Refusal::WhoAsks { schemes },
            (403 | 405 | 451, _) => Refusal::Forbidden { target, status },
            (500..600, _) => Refusal::Unreached { target, status },
            _ => Refusal::Status { target, status },
        }
    }

    fn garbage(&self) -> Refusal {
        Refusal::Garbage { found: words(&String::from_utf8_lossy(&self.head)) }
    }
}

/// The beginning of a stranger's text, fit for a log.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn proxy(user: bool) -> ProxyUrl {
        ProxyUrl::parse(if user { "http://me:geheim@p:1" } else { "http://p:1" }).unwrap()
    }

    /// Feeds the answer whole and byte by byte; both mean the same.
    fn read(answer: &[u8], user: bool) -> Result<bool, Refusal> {
        let proxy = proxy(user);
        let whole = Answer::new("muster:8443", &proxy).feed(answer);
        let mut slow = Answer::new("muster:8443", &proxy);
        let mut last = Ok(false);
        for byte in answer {
            last = slow.feed(&[*byte]);
            if last != Ok(false) {
                break;
            }
        }
        if matches!(&whole, Ok(true) | Err(Refusal::Forbidden { .. } | Refusal::Unreached { .. })) {
            assert_eq!(last, whole);
        }
        whole
    }

    #[test]
    fn the_request_names_the_target_and_who_asks() {
        let text = |user| String::from_utf8(request("muster:8443", &proxy(user))).unwrap();
        assert_eq!(
            text(false),
            "CONNECT muster:8443 HTTP/1.1\r\nHost: muster:8443\r\nUser-Agent: muster-agent\r\n\r\n"
        );
        assert!(text(true).contains("\r\nProxy-Authorization: Basic bWU6Z2VoZWlt\r\n"));
    }

    #[test]
    fn every_answer_has_its_meaning() {
        let is = |answer: &str, user, expected: &str| {
            let found = read(answer.as_bytes(), user).unwrap_err().to_string();
            assert!(found.contains(expected), "{answer:?}: {found}");
            assert!(!found.contains("geheim") && !found.contains("bWU6Z2VoZWlt"), "{found}");
        };
        assert_eq!(read(b"HTTP/1.1 200 Connection established\r\n\r\n", false), Ok(true));
        assert_eq!(read(b"HTTP/1.0 200\r\nProxy-agent: x\r\n\r\n", false), Ok(true));
        assert_eq!(read(b"HTTP/1.1 200 O", false), Ok(false));
        let basic = "Proxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
        is(&format!("HTTP/1.1 407 No\r\n{basic}"), false, "wants to know who asks (it offers Basic)");
        is(&format!("HTTP/1.1 407 No\r\n{basic}"), true, "does not accept user \"me\"");
        is("HTTP/1.1 401 Unauthorized\r\n\r\n", true, "does not accept user \"me\"");
        is(
            "HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n",
            true,
            "only NTLM, Negotiate",
        );
        is("HTTP/1.1 403 Filtered\r\n\r\n<html>", false, "forbids CONNECT to muster:8443 (HTTP/1.1 403 Filtered)");
        is("HTTP/1.1 502 Bad Gateway\r\n\r\n", false, "does not reach muster:8443 itself");
        is("HTTP/1.1 302 Found\r\n\r\n", false, "answers HTTP/1.1 302 Found");
        is("SSH-2.0-OpenSSH_9\r\n", false, "does not answer like an HTTP proxy (it says \"SSH-2.0-OpenSSH_9\")");
        is("HTTP/1.1 abc\r\n\r\n", false, "does not answer like an HTTP proxy");
        is("HTTP/1.1 200 OK\r\n\r\nmore", false, "does not answer like an HTTP proxy");
        is(&format!("HTTP/1.1 200 {}", "x".repeat(HEAD_BYTES_MAX)), false, "does not answer like an HTTP proxy");
        let proxy = proxy(false);
        assert_eq!(Answer::new("a:1", &proxy).feed(b""), Err(Refusal::Closed));
    }
}
