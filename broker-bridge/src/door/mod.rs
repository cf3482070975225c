//! From a TCP connection to a session or an HTTP connection.

pub(crate) mod arrival;
pub(crate) mod listener;
pub(crate) mod offenders;
pub(crate) mod prefixed;
pub(crate) mod protocol;
pub(crate) mod recent;
pub(crate) mod visitor;
pub(crate) mod websocket;
