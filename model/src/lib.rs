//! placeholder
pub mod component;
