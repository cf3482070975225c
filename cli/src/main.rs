//! Binary `muster`: the server and the operator's command line.

mod archive;
mod args;
mod client;
mod command;
mod confirm;
mod context;
mod datadir;
mod demo;
mod error;
mod hooks;
mod https;
mod narrate;
mod output;
mod package;
mod serve;
mod settings;
mod way;

use args::Cli;
use clap::Parser;
use std::process::ExitCode;

/// A large fleet is many small records of different ages: with the system's allocator a round trip of a shadow update costs
/// a quarter more at 20,000 things than at 1,000 (`load registered`), with this one the same.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command::perform(cli.command)),
        Err(error) => {
            output::say_aside(&format!("muster: the operating system gives no threads: {error}"));
            ExitCode::from(2)
        }
    }
}
