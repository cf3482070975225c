//! A small HTTP server with a version and a health probe: the component that the demo and the tests deploy and upgrade.
#![allow(
    clippy::disallowed_methods,
    reason = "a stand-in for other people's software: it uses nothing of Muster, its clock included"
)]

mod answer;
mod args;
mod server;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use answer::Greeting;
use args::Request;
use server::Server;

fn main() -> ExitCode {
    let serve = match args::parse(std::env::args_os().skip(1)) {
        Ok(Request::Serve(serve)) => serve,
        Ok(Request::Help) => {
            let _ = writeln!(io::stdout(), "{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            let _ = writeln!(io::stderr(), "greeter: {problem}\n\n{}", args::USAGE);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let server = match Server::bind(serve.port) {
        Ok(server) => server,
        Err(error) => {
            let _ = writeln!(
                io::stderr(),
                "greeter: cannot listen on 127.0.0.1:{}: {error}; choose another --port, or 0 for any free one",
                serve.port
            );
            return ExitCode::from(match error.kind() {
                ErrorKind::AddrInUse => EXIT_TRY_LATER,
                _ => EXIT_FAILED,
            });
        }
    };
    if let Err(error) = server.publish_port(&serve.port_file) {
        let _ = writeln!(io::stderr(), "greeter: cannot write the port file {}: {error}", serve.port_file.display());
        return ExitCode::from(EXIT_FAILED);
    }
    let _ = writeln!(io::stdout(), "greeter {} serves on 127.0.0.1:{}", serve.version, server.port());
    server.run(Greeting { version: serve.version, healthy: serve.healthy })
}

// The exit codes of a component: 0 done, 1 usage, 2 failed, 3 try later.
const EXIT_USAGE: u8 = 1;
const EXIT_FAILED: u8 = 2;
const EXIT_TRY_LATER: u8 = 3;
