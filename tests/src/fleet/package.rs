//! The component of the tests: the greeter, packed like any other.

use super::Fleet;
use std::fs;
use std::path::PathBuf;

/// A version of the component `greeter`.
#[derive(Clone, Debug)]
pub struct Package {
    /// The version.
    pub version: String,
    /// Whether its health probe passes.
    pub healthy: bool,
    /// How long the probe must pass, in seconds.
    pub soak_s: u32,
    /// Bytes that cannot be compressed, to make a download last.
    pub padding: usize,
}

impl Package {
    /// A healthy version.
    pub fn new(version: &str) -> Self {
        Self { version: version.to_owned(), healthy: true, soak_s: 1, padding: 0 }
    }

    /// Writes its folder.
    #[track_caller]
    pub fn write(&self, fleet: &Fleet) -> PathBuf {
        let dir = fleet.root().join("packages").join(format!("greeter-{}", self.version));
        let written = fs::create_dir_all(dir.join("bin"))
            .and_then(|()| fs::copy(&fleet.programs().greeter, dir.join("bin/greeter")))
            .and_then(|_| fs::write(dir.join("component.toml"), self.recipe()))
            .and_then(|()| match self.padding {
                0 => Ok(()),
                length => fs::write(dir.join("padding"), noise(length)),
            });
        written.unwrap_or_else(|error| panic!("cannot write the component in {}: {error}", dir.display()));
        dir
    }

    fn recipe(&self) -> String {
        // A busy machine may take long to start a healthy one; an unhealthy one shall be found out soon.
        let (flag, timeout_s, start_timeout_s) = if self.healthy { ("", 10, 60) } else { (", \"--unhealthy\"", 2, 3) };
        format!(
            "name = \"greeter\"\n\
             version = \"{}\"\n\
             description = \"Answers with its version\"\n\
             soak_s = {}\n\n\
             [start]\n\
             command = [\"bin/greeter\", \"serve\", \"--version\", \"{{version}}\", \
             \"--port-file\", \"{{data}}/port\"{flag}]\n\n\
             [stop]\n\
             timeout_s = 5\n\n\
             [health]\n\
             http = \"/health\"\n\
             port_file = \"port\"\n\
             interval_s = 0.2\n\
             timeout_s = {timeout_s}\n\
             start_timeout_s = {start_timeout_s}\n",
            self.version, self.soak_s
        )
    }
}

/// The same noise for the same length (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
