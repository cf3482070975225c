//! `muster serve`: composes the door, the services and the store.

use crate::error::CliError;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How to serve; flags win over the settings file.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The data folder.
    pub data: PathBuf,
    /// The port for MQTT and HTTPS.
    pub listen: Option<SocketAddr>,
    /// The second port, for MQTT only.
    pub mqtt_listen: Option<SocketAddr>,
}

/// Serves until it is told to stop.
pub async fn run(options: ServeOptions) -> Result<(), CliError> {
    let _ = options;
    Err(CliError::local("the server is not composed yet"))
}
