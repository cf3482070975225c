//! A real HTTP proxy, and a network whose only way out it is.

use super::process::{Output, Process};
use super::{Fleet, Port};
use crate::eventually::eventually;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A tinyproxy. Dropped, it is gone.
pub struct Proxy {
    process: Process,
    port: Port,
    log: PathBuf,
}

impl Proxy {
    /// Starts one on this address that lets these clients through; with credentials only those who know them.
    #[track_caller]
    pub fn start(fleet: &Fleet, name: &str, address: IpAddr, credentials: Option<(&str, &str)>) -> Self {
        let program = program("tinyproxy");
        let port = Port::reserve_at(address);
        let [log, config] = ["log", "conf"].map(|kind| fleet.root().join("logs").join(format!("{name}.{kind}")));
        let auth = credentials.map(|(user, password)| format!("BasicAuth {user} {password}\n")).unwrap_or_default();
        let text = format!(
            "Port {}\nListen {address}\nTimeout 600\nMaxClients 50\nLogFile \"{}\"\nLogLevel Connect\n{auth}",
            port.address().port(),
            log.display()
        );
        fs::write(&config, text).expect("a file in the fleet's folder");
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&config);
        let output = fleet.root().join("logs").join(format!("{name}.out"));
        let proxy = Self { process: Process::spawn(name, command, &output), port, log };
        eventually("the proxy listens", Duration::from_secs(60), || {
            TcpStream::connect(proxy.port.address()).map(drop).map_err(|error| error.to_string())
        });
        proxy
    }

    /// Its URL, with a user if one is given.
    pub fn url(&self, user: Option<&str>) -> String {
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("http://{user}{}", self.port.address())
    }

    /// How often a tunnel was asked for.
    pub fn tunnels(&self) -> usize {
        fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .filter(|line| line.contains("CONNECT 127.0.0.1:"))
            .count()
    }

    /// Every HOST:PORT that a tunnel was asked for to.
    pub fn targets(&self) -> BTreeSet<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let asked = log.lines().filter_map(|line| line.split_once(": CONNECT ")?.1.split(' ').next());
        asked.map(str::to_owned).collect()
    }

    /// From now on it accepts connections, by the kernel's courtesy, and answers nobody.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// It works again.
    pub fn thaw(&self) {
        self.process.thaw();
    }
}

/// A network namespace with one wire to this machine and no route to anywhere else. Dropped, it is gone.
pub struct Namespace {
    name: String,
    gateway: Ipv4Addr,
}

impl Namespace {
    /// Makes one; `None`, loudly, without root.
    #[track_caller]
    pub fn make() -> Option<Self> {
        program("ip");
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can make a network namespace");
            return None;
        }
        let id = std::process::id();
        let (name, wire) = (format!("muster-{id}"), format!("mu{}", id % 1_000_000));
        // A /30 of 10.200.0.0/13 by the process number: two tests at once do not share one.
        let number = 0x0AC8_0000_u32 + (id % 0x1_0000) * 4;
        let [gateway, inner] = [1, 2].map(|host| Ipv4Addr::from(number + host));
        let namespace = Self { name: name.clone(), gateway };
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &wire, "type", "veth", "peer", "name", "out", "netns", &name]);
        ip(&["addr", "add", &format!("{gateway}/30"), "dev", &wire]);
        ip(&["link", "set", &wire, "up"]);
        ip(&["-n", &name, "addr", "add", &format!("{inner}/30"), "dev", "out"]);
        ip(&["-n", &name, "link", "set", "out", "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Some(namespace)
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The only address outside that it reaches.
    pub fn gateway(&self) -> IpAddr {
        self.gateway.into()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // With its end of the wire goes the other one.
        let _ = Command::new("/usr/sbin/ip").args(["netns", "delete", &self.name]).status();
    }
}

#[track_caller]
fn ip(args: &[&str]) {
    let mut command = Command::new("/usr/sbin/ip");
    command.args(args);
    Output::of(command, Duration::from_secs(20)).succeeded();
}

/// A program that `cargo verify` installs.
#[track_caller]
fn program(name: &str) -> PathBuf {
    let found =
        ["/usr/sbin", "/usr/bin", "/sbin"].iter().map(|folder| Path::new(folder).join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed; `cargo verify --only packages`, run by root, installs it"))
}
