//! What differs between operating systems: processes by their kernel identity, process groups, links, free space.
//!
//! Another platform is another file with the same functions.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub use linux::*;

#[cfg(not(target_os = "linux"))]
compile_error!("the agent runs on Linux; another platform needs its own file beside platform/linux.rs");
