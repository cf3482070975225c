//! The proxy that a host needs to get out: how it is written, and for which servers it is not asked.
//!
//! A setting has three states: not given (whatever the environment says), [`NONE`] (never a proxy), and a URL.

mod bypass;

pub use bypass::{Bypass, NO_PROXY_DEFAULT};

use std::fmt;

/// The word for "never a proxy", whatever the environment says.
pub const NONE: &str = "none";

/// A port is left out of a proxy's URL as in any other one.
const PORT_DEFAULT: u16 = 80;
/// Longest user name or password; a header line holds both.
const CREDENTIAL_BYTES_MAX: usize = 1024;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one who is meant to have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// An HTTP proxy: `http://[USER[:PASSWORD]@]HOST[:PORT]`. Printed, it has no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Who asks, when the proxy wants to know.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
}

impl ProxyUrl {
    /// Reads a URL. `http://` may be missing, as it often is in the environment. User and password may be
    /// percent-encoded, and must be where they hold `@`, `:`, `/` or `%`.
    ///
    /// Errors: what is wrong, without any part of the text: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if ["https", "socks", "socks4", "socks5", "socks5h"].contains(&scheme) => {
                return Err(format!(
                    "proxies that are spoken to with {scheme} are not supported; name one with http://"
                ));
            }
            Some(_) => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let (host, port) = place_of(place).ok_or_else(wrong)?;
        let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            None => (None, None),
            Some((user, password)) => {
                let user = decoded(user).filter(|user| !user.is_empty() && !user.contains(':'));
                let user =
                    user.ok_or("the user before the @ is not usable; percent-encode what is not a letter or digit")?;
                let password = decoded(password)
                    .ok_or("the password before the @ is not usable; percent-encode what is not a letter or digit")?;
                (Some(user), Some(password).filter(|password| !password.is_empty()).map(Secret))
            }
        };
        Ok(Self { host, port, user, password })
    }

    /// The URL with its password, for a file that only its owner reads.
    #[must_use]
    pub fn reveal(&self) -> String {
        let credentials = match (&self.user, &self.password) {
            (Some(user), Some(password)) => format!("{}:{}@", encoded(user), encoded(password.reveal())),
            (Some(user), None) => format!("{}@", encoded(user)),
            _ => String::new(),
        };
        format!("http://{credentials}{}", Place(&self.host, self.port))
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Self { password: None, ..self.clone() }.reveal())
    }
}

/// `HOST:PORT`, with brackets around an IPv6 address.
struct Place<'a>(&'a str, u16);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(host, port) = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

fn wrong() -> String {
    "must be \"none\" or a URL such as http://proxy.example.org:3128 or http://user@10.0.0.1:3128".to_owned()
}

fn place_of(place: &str) -> Option<(String, u16)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.len() <= 255 && host.chars().all(plain)).then(|| (host.to_owned(), port))
}

/// Percent-decoded; `None` when it is not text without control characters, or too long.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next()?)? * 16 + digit(rest.next()?)?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (text.len() <= CREDENTIAL_BYTES_MAX && !text.chars().any(char::is_control)).then_some(text)
}

fn encoded(text: &str) -> String {
    use fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn urls_are_read_and_printed_without_their_password() {
        for (text, shown, revealed) in [
            ("http://proxy:3128", "http://proxy:3128", "http://proxy:3128"),
            ("proxy.example.org:8080/", "http://proxy.example.org:8080", "http://proxy.example.org:8080"),
            ("HTTP://proxy", "http://proxy:80", "http://proxy:80"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128", "http://[fd00::1]:3128"),
            ("http://me@10.0.0.1:1", "http://me@10.0.0.1:1", "http://me@10.0.0.1:1"),
            ("http://me:p%40ss%3a@10.0.0.1:1", "http://me@10.0.0.1:1", "http://me:p%40ss%3A@10.0.0.1:1"),
            ("http://dom%5cme:x@p:1", "http://dom%5Cme@p:1", "http://dom%5Cme:x@p:1"),
        ] {
            let url = ProxyUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.reveal().as_str()), (shown, revealed), "{text}");
            assert_eq!(ProxyUrl::parse(revealed).unwrap(), url);
        }
        let url = ProxyUrl::parse("http://me:p%40ss@p:1").unwrap();
        assert_eq!(url.password.as_ref().unwrap().reveal(), "p@ss");
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_repeating_a_password() {
        for bad in [
            "",
            "http://",
            "http://:3128",
            "http://p:0",
            "http://p:x",
            "ftp://p:1",
            "https://u:geheim@p:1",
            "socks5://u:geheim@p:1",
            "http://p:1/path",
            "http://a b:1",
            "http://:geheim@p:1",
            "http://u:geheim%zz@p:1",
            "http://u:geheim%0a@p:1",
            "http://[p]:1",
            "http://fd00::1:3128",
        ] {
            let why = ProxyUrl::parse(bad).unwrap_err();
            assert!(!why.contains("geheim"), "{why}");
        }
    }
}
