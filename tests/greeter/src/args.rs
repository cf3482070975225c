//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

/// Shown for `--help` and after a mistake.
pub const USAGE: &str = "usage: greeter serve --version V --port-file PATH [--port N] [--unhealthy]";

/// What the caller asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Print the usage text.
    Help,
    /// Serve until killed.
    Serve(Serve),
}

/// How to serve.
#[derive(Debug, PartialEq, Eq)]
pub struct Serve {
    /// The answer to `/version`.
    pub version: String,
    /// Where the port is written once it accepts connections.
    pub port_file: PathBuf,
    /// The port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// What `/health` says.
    pub healthy: bool,
}

/// Reads the words after the program name.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut words = words.into_iter();
    match words.next() {
        Some(verb) if verb == "serve" => {}
        Some(verb) if verb == "--help" || verb == "-h" => return Ok(Request::Help),
        Some(verb) => return Err(format!("there is no verb {verb:?}")),
        None => return Err("a verb is missing".to_owned()),
    }
    let (mut version, mut port_file, mut port, mut healthy) = (None, None, 0, true);
    while let Some(flag) = words.next() {
        let flag = flag.to_string_lossy();
        let mut value = || words.next().ok_or(format!("{flag} needs a value"));
        match &*flag {
            "--version" => version = Some(version_from(value()?)?),
            "--port-file" => port_file = Some(PathBuf::from(value()?)),
            "--port" => port = port_from(&value()?)?,
            "--unhealthy" => healthy = false,
            "--help" | "-h" => return Ok(Request::Help),
            _ => return Err(format!("`serve` does not know {flag:?}")),
        }
    }
    Ok(Request::Serve(Serve {
        version: version.ok_or("--version is missing")?,
        port_file: port_file.ok_or("--port-file is missing")?,
        port,
        healthy,
    }))
}

fn version_from(value: OsString) -> Result<String, String> {
    match value.into_string() {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text),
        Ok(text) => Err(format!("--version {text:?} must be some text on one line, for example 1.0.0")),
        Err(bytes) => Err(format!("--version {bytes:?} is not UTF-8")),
    }
}

fn port_from(value: &OsString) -> Result<u16, String> {
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("--port {value:?} must be a number from 0 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Request, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_port_is_chosen_and_health_is_good_unless_told_otherwise() {
        let mut want = Serve { version: "1.0".to_owned(), port_file: "p".into(), port: 0, healthy: true };
        assert_eq!(
            parse_words("serve --version 1.0 --port-file p"),
            Ok(Request::Serve(Serve { version: want.version.clone(), port_file: want.port_file.clone(), ..want }))
        );
        want.port = 80;
        want.healthy = false;
        assert_eq!(parse_words("serve --unhealthy --port 80 --port-file p --version 1.0"), Ok(Request::Serve(want)));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, want) in [
            ("", "a verb is missing"),
            ("run", "there is no verb \"run\""),
            ("serve", "--version is missing"),
            ("serve --version 1", "--port-file is missing"),
            ("serve --version", "--version needs a value"),
            ("serve --fast", "`serve` does not know \"--fast\""),
            ("serve --port 65536", "--port \"65536\" must be a number from 0 to 65535"),
        ] {
            assert_eq!(parse_words(line), Err(want.to_owned()), "{line:?}");
        }
    }

    #[test]
    fn a_version_is_one_line() {
        for bad in ["", "1\n2", "1\r"] {
            let words = ["serve", "--version", bad].map(OsString::from);
            assert!(parse(words).is_err(), "{bad:?}");
        }
    }
}
