//! Everything that touches the host: files, processes, packages, the network. Each file does one kind of thing and
//! decides nothing; the decisions are in [`crate::brain`].

mod blocks;
pub mod command;
pub mod download;
pub mod files;
pub mod http;
pub mod https;
pub mod installed;
pub mod journal;
pub mod lifecycle;
pub mod log;
pub mod package;
pub mod prechecks;
pub mod probe;
pub mod process;
pub mod supervisor;
