//! For which servers the proxy is not asked.

use super::NONE;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is reached without the proxy unless somebody says otherwise: this host, its link, and private networks.
pub const NO_PROXY_DEFAULT: [&str; 9] = [
    "localhost",
    "127.0.0.0/8",
    "::1",
    "169.254.0.0/16",
    "fe80::/10",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

/// Servers that are reached without the proxy. Names are compared as names: none is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bypass(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    who: Who,
    /// Only with this port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    Everybody,
    /// This name, and what is below it.
    Name(String),
    /// What is below this name.
    Below(String),
    Network {
        address: IpAddr,
        bits: u8,
    },
}

impl Bypass {
    /// Reads the entries: a name (it and all below it), `.domain` (all below it), an address, a network `10.0.0.0/8`,
    /// each of these but the network with `:PORT` behind it, or `*`.
    ///
    /// Errors: the first entry that is none of these.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let rule = |entry: &str| {
            Rule::parse(entry)
                .ok_or_else(|| format!("{entry:?} is no host, .domain, address, network (10.0.0.0/8), HOST:PORT or *"))
        };
        entries
            .into_iter()
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(rule)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads what somebody wrote for Muster, where a choice has three states: not given at all (whatever the environment
    /// says), the word `none` (nothing is exempt), and entries with commas or spaces in between.
    ///
    /// Errors: as [`Bypass::parse`]; nothing at all, or `none` beside an entry, since either may be meant.
    pub fn given(text: &str) -> Result<Self, String> {
        let entries: Vec<&str> = text.split([',', ' ']).filter(|entry| !entry.is_empty()).collect();
        match entries.as_slice() {
            [] => Err(format!(
                "it is empty; write {NONE} to send everything through the proxy, or leave it out for what the environment \
                 of the host says"
            )),
            [NONE] => Ok(Self(Vec::new())),
            entries => Self::listed(entries.iter().copied()),
        }
    }

    /// Reads a list of a settings file; an empty one exempts nothing.
    ///
    /// Errors: as [`Bypass::parse`]; `none`, which here would be a host of that name.
    pub fn listed<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let entries: Vec<&str> = entries.into_iter().collect();
        if entries.iter().any(|entry| entry.trim().eq_ignore_ascii_case(NONE)) {
            return Err(format!(
                "{NONE} is no host in a list; an empty list (as an argument {NONE} by itself) sends everything through the \
                 proxy"
            ));
        }
        Self::parse(entries)
    }

    /// Whether `host` (a name or an address without brackets) is reached without the proxy.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        self.0.iter().any(|rule| rule.port.is_none_or(|only| only == port) && rule.who.is(&host, address))
    }

    /// The entries, as they can be read again.
    #[must_use]
    pub fn entries(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl Default for Bypass {
    fn default() -> Self {
        Self::parse(NO_PROXY_DEFAULT).expect("a test reads the entries of the default")
    }
}

/// As [`Bypass::given`] reads it.
impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(NONE) } else { f.write_str(&self.entries().join(",")) }
    }
}

impl Rule {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { who: Who::Everybody, port: None });
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then(|| Self { who: Who::network(address, bits), port: None });
        }
        let (host, port) = match entry.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
            }
            None if entry.parse::<Ipv6Addr>().is_ok() => (entry, None),
            None => match entry.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (entry, None),
            },
        };
        let port = match port {
            None => None,
            Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        };
        // The root's dot behind it makes no name of an address: nothing would be called that.
        if let Ok(address) = host.trim_end_matches('.').parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Some(Self { who: Who::network(address, bits), port });
        }
        let name = |name: &str| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            (!name.is_empty() && !name.starts_with('.') && name.chars().all(plain)).then_some(name)
        };
        let who = match host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
            Some(domain) => Who::Below(name(domain)?),
            None => Who::Name(name(host)?),
        };
        Some(Self { who, port })
    }
}

impl Who {
    /// IPv4 addresses that are written as IPv6 ones are the IPv4 addresses, as those of servers are.
    fn network(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(inner) if address.is_ipv6() && bits >= 96 => {
                Self::Network { address: inner.into(), bits: bits - 96 }
            }
            _ => Self::Network { address, bits },
        }
    }

    fn is(&self, host: &str, address: Option<IpAddr>) -> bool {
        let is_below = |domain: &str| host.strip_suffix(domain).is_some_and(|left| left.ends_with('.'));
        match self {
            Self::Everybody => true,
            // An address is no name, whatever its last digits are.
            Self::Name(name) => address.is_none() && (host == name || is_below(name)),
            Self::Below(domain) => address.is_none() && is_below(domain),
            Self::Network { address: network, bits } => address.is_some_and(|found| is_in(found, *network, *bits)),
        }
    }
}

fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let number = |address: Ipv4Addr| u32::from(address) & mask;
            number(address) == number(network)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let number = |address: Ipv6Addr| u128::from(address) & mask;
            number(address) == number(network)
        }
        _ => false,
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Everybody => f.write_str("*")?,
            Who::Name(name) => f.write_str(name)?,
            Who::Below(domain) => write!(f, ".{domain}")?,
            Who::Network { address: IpAddr::V4(address), bits: 32 } => write!(f, "{address}")?,
            Who::Network { address: IpAddr::V6(address), bits: 128 } if self.port.is_some() => {
                write!(f, "[{address}]")?
            }
            Who::Network { address: IpAddr::V6(address), bits: 128 } => write!(f, "{address}")?,
            Who::Network { address, bits } => write!(f, "{address}/{bits}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(entries: &[&str], covered: &[&str], not_covered: &[&str]) {
        let bypass = Bypass::parse(entries.iter().copied()).unwrap();
        for (server, expected) in covered.iter().map(|s| (s, true)).chain(not_covered.iter().map(|s| (s, false))) {
            let (host, port) = server.rsplit_once(' ').unwrap_or((server, "8443"));
            assert_eq!(bypass.covers(host, port.parse().unwrap()), expected, "{entries:?} and {server}");
        }
        let again = bypass.entries();
        assert_eq!(Bypass::parse(again.iter().map(String::as_str)).unwrap(), bypass, "{again:?}");
    }

    #[test]
    fn entries_cover_what_they_say() {
        check(&[], &[], &["localhost", "10.0.0.1", "a.example.org"]);
        check(&["*"], &["localhost", "10.0.0.1", "a.example.org"], &[]);
        check(&["example.org"], &["example.org", "EXAMPLE.org.", "a.b.example.org"], &["anexample.org", "example.com"]);
        check(&[".example.org"], &["a.example.org"], &["example.org", "anexample.org"]);
        check(&["*.Example.org"], &["a.example.org"], &["example.org"]);
        check(&["10.1.2.3"], &["10.1.2.3", "::ffff:10.1.2.3"], &["10.1.2.4", "10.1.2.3.example.org"]);
        check(&["10.1.2.3."], &["10.1.2.3", "10.1.2.3."], &["10.1.2.4"]);
        check(&["::ffff:10.1.2.3", "[::ffff:10.1.2.4]:1"], &["10.1.2.3", "10.1.2.4 1"], &["10.1.2.4"]);
        check(&["::ffff:10.0.0.0/104"], &["10.1.2.3"], &["11.1.2.3", "::1"]);
        check(&["3"], &["3"], &["10.1.2.3"]);
        check(&["10.0.0.0/8"], &["10.255.0.1"], &["11.0.0.1", "::1", "ten.example.org"]);
        check(&["0.0.0.0/0"], &["1.2.3.4"], &["::1", "a"]);
        check(&["fd00::/8", "2001:db8::1"], &["fd12::1", "2001:db8::1"], &["2001:db8::2", "fe80::1"]);
        check(
            &["a:443", "[::1]:1", "10.0.0.1:2"],
            &["a 443", "b.a 443", "::1 1", "10.0.0.1 2"],
            &["a", "::1", "10.0.0.1"],
        );
    }

    #[test]
    fn the_default_covers_this_host_its_link_and_private_networks() {
        let default = Bypass::default();
        for host in [
            "localhost",
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "10.0.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "fd00::1",
        ] {
            assert!(default.covers(host, 8443), "{host}");
        }
        for host in ["muster.example.org", "172.32.0.1", "9.255.255.255", "192.169.0.1", "2001:db8::1", "8.8.8.8"] {
            assert!(!default.covers(host, 8443), "{host}");
        }
    }

    #[test]
    fn none_entries_and_nothing_are_three_things() {
        for (text, entries) in [("none", &[][..]), (" none ", &[]), ("a, .b", &["a", ".b"]), ("a .b", &["a", ".b"])] {
            let bypass = Bypass::given(text).unwrap();
            assert_eq!(bypass.entries(), entries, "{text}");
            assert_eq!(Bypass::given(&bypass.to_string()).unwrap(), bypass, "{text}");
        }
        for text in ["", " ", ","] {
            assert!(Bypass::given(text).unwrap_err().starts_with("it is empty; write none"), "{text:?}");
        }
        for text in ["none,a", "a None", "NONE"] {
            assert!(Bypass::given(text).unwrap_err().starts_with("none is no host in a list"), "{text:?}");
        }
        assert!(Bypass::listed(["none"]).is_err() && Bypass::listed([]).unwrap().entries().is_empty());
        // What others wrote into the environment is read as they mean it.
        assert!(Bypass::parse(["none"]).unwrap().covers("none", 1));
    }

    #[test]
    fn what_is_no_entry_is_named() {
        for bad in ["a/8", "10.0.0.0/33", "::/129", "a:0", "a:b", "a b", "..", "http://a", "[a]:1", "*.", "a*"] {
            assert!(Bypass::parse(["ok", bad]).unwrap_err().contains(&format!("{bad:?}")), "{bad}");
        }
    }
}
