//! The messages to a service manager that started us with `Type=notify`: each is one datagram to the socket that it
//! names in the environment (sd_notify(3)). They are hints to the manager; one that is lost or not taken stops nothing.

use crate::platform;
use muster_runtime::settings;
use std::time::Duration;
use tracing::debug;

/// The socket of the manager.
pub const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// How long the manager waits for a sign of life, in microseconds.
pub const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
/// Whose signs of life it waits for.
pub const WATCHDOG_PID_VARIABLE: &str = "WATCHDOG_PID";

/// Speaks with the manager; clones speak with the same one.
#[derive(Clone, Debug)]
pub struct Notifier {
    socket: Option<String>,
    life_every: Option<Duration>,
}

impl Notifier {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let number = |name: &str| settings::environment(name).and_then(|text| text.parse::<u64>().ok());
        let is_ours = number(WATCHDOG_PID_VARIABLE).is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = number(WATCHDOG_VARIABLE).filter(|_| is_ours).map(Duration::from_micros);
        Self::new(settings::environment(SOCKET_VARIABLE), patience)
    }

    /// Nobody listens.
    #[cfg(test)]
    pub fn silent() -> Self {
        Self::new(None, None)
    }

    /// A manager that listens at `socket` and waits at most `patience` for a sign of life.
    fn new(socket: Option<String>, patience: Option<Duration>) -> Self {
        // Half of it, as sd_watchdog_enabled(3) recommends. None is due when nobody listens.
        let life_every = patience.filter(|patience| socket.is_some() && !patience.is_zero()).map(|all| all / 2);
        Self { socket, life_every }
    }

    /// How often the manager wants a sign of life.
    pub fn life_every(&self) -> Option<Duration> {
        self.life_every
    }

    /// The agent works.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)));
    }

    /// What people read beside the service.
    pub fn status(&self, status: &str) {
        self.send(&format!("STATUS={}", one_line(status)));
    }

    /// A sign of life.
    pub fn life(&self) {
        self.send("WATCHDOG=1");
    }

    /// The agent was asked to end, and does.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping; components go on");
    }

    fn send(&self, text: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = platform::send_datagram(socket, text)
        {
            debug!(%error, socket, "the service manager was not told");
        }
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_message_is_one_datagram_and_a_status_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(Some(path.to_str().unwrap().to_owned()), Some(Duration::from_secs(10)));
        assert_eq!(notifier.life_every(), Some(Duration::from_secs(5)));
        notifier.ready("a\nREADY=0");
        notifier.life();
        let heard = || {
            let mut buffer = [0; 256];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(heard(), "READY=1\nSTATUS=a READY=0");
        assert_eq!(heard(), "WATCHDOG=1");
        // Nobody listens any more, and nothing happens.
        drop(manager);
        notifier.stopping();
        assert_eq!(Notifier::new(None, Some(Duration::from_secs(10))).life_every(), None);
    }
}
