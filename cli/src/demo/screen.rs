//! What the demo shows: events as lines, and on a terminal a status line that is drawn over and over.

use crate::output::plain;
use muster_runtime::clock::Clock;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Where the demo speaks.
pub struct Screen {
    /// Stdout belongs to the JSON object, so everything else goes to stderr.
    aside: bool,
    live: bool,
    clock: Clock,
    began: Instant,
    status: String,
}

impl Screen {
    /// Speaks on stdout, or with `aside` on stderr; with a status line when that is a terminal.
    pub fn new(aside: bool, clock: Clock) -> Self {
        let live = if aside { std::io::stderr().is_terminal() } else { std::io::stdout().is_terminal() };
        let began = clock.instant();
        Self { aside, live, clock, began, status: String::new() }
    }

    /// A line that stays, with the time since the start.
    pub fn event(&mut self, text: &str) {
        let elapsed = self.clock.instant().duration_since(self.began).as_secs_f32();
        self.note(&format!("{elapsed:6.1} s  {}", plain(text)));
    }

    /// A line that stays.
    pub fn note(&mut self, text: &str) {
        let (erase, status) = (self.erase(), if self.live { self.status.clone() } else { String::new() });
        self.write(&format!("{erase}{text}\n{status}"));
    }

    /// What is going on now; only a terminal shows it.
    pub fn status(&mut self, text: &str) {
        let text: String = text.chars().take(STATUS_CHARACTERS_MAX).collect();
        if self.live && text != self.status {
            let erase = self.erase();
            self.write(&format!("{erase}{text}"));
            self.status = text;
        }
    }

    /// Removes the status line.
    pub fn clear(&mut self) {
        let erase = self.erase();
        self.status.clear();
        self.write(erase);
    }

    fn erase(&self) -> &'static str {
        if self.live { "\r\x1b[2K" } else { "" }
    }

    /// A reader that went away is no reason to stop.
    fn write(&self, text: &str) {
        if self.aside {
            let mut out = std::io::stderr().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        } else {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

/// A line that a narrow terminal wraps could not be erased.
const STATUS_CHARACTERS_MAX: usize = 79;
