//! Logs: to stderr, as text or JSON lines.

use tracing_subscriber::EnvFilter;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging to stderr.
///
/// `default` is a filter such as `info` or `muster=debug,warn`; the environment variable `MUSTER_LOG` replaces it.
/// Calling it again does nothing: the first call of a process wins.
pub fn init(default: &str, format: LogFormat) {
    let wanted = crate::settings::environment("MUSTER_LOG").unwrap_or_else(|| default.to_owned());
    let filter = EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
        eprintln!("the log filter {wanted:?} is not usable ({error}); logging at level info");
        EnvFilter::new("info")
    });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    // An error only says that logging was started before.
    drop(started);
}
