//! A host's way to the server as an operator describes it: the proxy, and what is reached without it.

use muster_wire::proxy::{Bypass, NONE, ProxyUrl, Secret};

/// Longest password; a header line holds it.
const PASSWORD_BYTES_MAX: usize = 1024;

/// The way of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The proxy.
    pub proxy: Proxy,
    /// What is reached without it, perhaps nothing; when absent, what the environment of the host says, and without that
    /// the agent's default.
    pub bypass: Option<Bypass>,
}

/// Three different things: whatever the host's environment says, no proxy, and this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// What the environment of the host says.
    #[default]
    Inherited,
    /// None, whatever the environment says.
    Never,
    /// This one.
    Url(ProxyUrl),
}

impl Way {
    /// Reads `--proxy` and `--no-proxy`.
    ///
    /// Errors: what is wrong with which of them, without the password.
    pub fn parse(proxy: Option<&str>, no_proxy: Option<&str>) -> Result<Self, String> {
        let proxy = match proxy.map(str::trim) {
            None => Proxy::Inherited,
            Some(NONE) => Proxy::Never,
            Some(url) => Proxy::Url(ProxyUrl::parse(url).map_err(|error| format!("--proxy cannot be used: {error}"))?),
        };
        let bypass = no_proxy.map(Bypass::given).transpose();
        let bypass = bypass.map_err(|error| format!("--no-proxy cannot be used: {error}"))?;
        if proxy == Proxy::Never && bypass.is_some() {
            return Err(
                "--proxy none is no proxy at all, and --no-proxy says what is reached without one: give one of \
                        them; --no-proxy none beside a proxy sends everything through it"
                    .to_owned(),
            );
        }
        Ok(Self { proxy, bypass })
    }

    /// Sets the password of the proxy's user.
    ///
    /// Errors: there is no user, or the password is not one line of text.
    pub fn set_password(&mut self, password: &str) -> Result<(), String> {
        match &mut self.proxy {
            Proxy::Url(url) if url.user.is_some() => {
                if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.chars().any(char::is_control)
                {
                    return Err(format!("it must be one line of 1 to {PASSWORD_BYTES_MAX} bytes"));
                }
                url.password = Some(Secret::new(password.to_owned()));
                Ok(())
            }
            _ => Err("--proxy names no user; write http://USER@HOST:PORT".to_owned()),
        }
    }

    /// Whether this server is reached without a proxy.
    pub fn exempts(&self, host: &str, port: u16) -> bool {
        match &self.bypass {
            Some(bypass) => bypass.covers(host, port),
            None => Bypass::default().covers(host, port),
        }
    }

    /// What to say when the proxy that was given is not asked for this server.
    pub fn unused_for(&self, host: &str, port: u16) -> Option<String> {
        let Proxy::Url(url) = &self.proxy else { return None };
        if !self.exempts(host, port) {
            return None;
        }
        Some(match &self.bypass {
            Some(_) => format!("The proxy {url} is not used for the server {host}: --no-proxy covers it"),
            None => format!(
                "The proxy {url} is not used for the server {host}, unless the host's NO_PROXY says otherwise: private \
                 addresses are exempt; to use it all the same, give --no-proxy none"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn not_given_none_and_a_url_are_three_things() {
        assert_eq!(Way::parse(None, None).unwrap(), Way::default());
        assert_eq!(Way::parse(Some("none"), None).unwrap().proxy, Proxy::Never);
        assert!(matches!(Way::parse(Some("http://p:3128"), None).unwrap().proxy, Proxy::Url(_)));
        assert!(Way::parse(Some("socks5://p"), None).unwrap_err().contains("--proxy"));
        assert!(Way::parse(None, Some("a/b")).unwrap_err().contains("--no-proxy"));
        assert_eq!(Way::parse(None, Some("none")).unwrap().bypass.unwrap().to_string(), "none");
        for (proxy, no_proxy) in [(None, ""), (None, "none,a"), (Some("none"), "none"), (Some("none"), "a")] {
            let error = Way::parse(proxy, Some(no_proxy)).unwrap_err();
            assert!(error.contains("--no-proxy") && error.contains("none"), "{no_proxy}: {error}");
        }
    }

    #[test]
    fn private_servers_are_reached_without_the_proxy_unless_somebody_says_otherwise() {
        let way = Way::parse(Some("http://p:3128"), None).unwrap();
        assert!(way.exempts("10.1.2.3", 8443) && !way.exempts("muster.example.org", 8443));
        let said = way.unused_for("10.1.2.3", 8443).unwrap();
        assert!(said.contains("proxy http://p:3128 is not used for the server 10.1.2.3"), "{said}");
        assert_eq!(way.unused_for("muster.example.org", 8443), None);
        assert_eq!(Way::parse(None, None).unwrap().unused_for("10.1.2.3", 8443), None);
        let way = Way::parse(Some("http://p:3128"), Some("example.org")).unwrap();
        assert!(!way.exempts("10.1.2.3", 8443) && way.exempts("muster.example.org", 8443));
        assert!(way.unused_for("muster.example.org", 8443).unwrap().contains("--no-proxy covers it"));
        let way = Way::parse(Some("http://p:3128"), Some("none")).unwrap();
        assert!(!way.exempts("10.1.2.3", 8443) && way.unused_for("127.0.0.1", 8443).is_none());
    }
}
