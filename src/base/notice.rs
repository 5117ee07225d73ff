//! The only writer of standard error. It ignores write errors, since there is no other place to report them.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::error::Error;
use super::exit::ExitStatus;
use super::redact;
use super::visible::visible;

/// Writes the messages of one program, and remembers whether any of them was an error.
#[derive(Debug)]
pub struct Notice {
    program: &'static str,
    quiet: bool,
    draws: bool,
    troubled: AtomicBool,
    drawn: Mutex<usize>,
}

impl Notice {
    /// `quiet`: print only warnings and errors. Progress is shown only on a terminal.
    #[must_use]
    pub fn new(program: &'static str, quiet: bool) -> Self {
        let draws = !quiet && stderr().is_terminal();
        Self { program, quiet, draws, troubled: AtomicBool::new(false), drawn: Mutex::new(0) }
    }

    /// The program's name.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Reports an error and remembers it: the program ends with [`ExitStatus::Trouble`]. Ignores that the reader has ended.
    pub fn error(&self, error: &Error) {
        if !error.is_reader_left() {
            self.troubled.store(true, Relaxed);
            self.line(&format!("{}: {error}", self.program));
        }
    }

    /// Reports a warning, which does not change the exit status.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.line(&format!("{}: warning: {}", self.program, message.as_ref()));
    }

    /// Reports progress, unless quiet.
    pub fn say(&self, message: impl AsRef<str>) {
        if !self.quiet {
            self.line(&format!("{}: {}", self.program, message.as_ref()));
        }
    }

    /// A line without the program's name, unless quiet.
    pub fn plain_note(&self, message: impl AsRef<str>) {
        if !self.quiet {
            self.line(message.as_ref());
        }
    }

    /// A line without the program's name, for findings that start with their own place.
    pub fn plain(&self, message: impl AsRef<str>) {
        self.line(message.as_ref());
    }

    /// Replaces the progress line; the next message or [`Notice::clear`] removes it. Does nothing unless on a terminal.
    pub fn progress(&self, message: impl AsRef<str>) {
        if !self.draws {
            return;
        }
        let text: String = redact::foreign(message.as_ref()).chars().filter(|c| !c.is_control()).take(160).collect();
        let mut drawn = self.lock();
        let width = text.chars().count();
        let pad = " ".repeat(drawn.saturating_sub(width));
        let _ = stderr().write_all(format!("\r{text}{pad}").as_bytes());
        *drawn = width;
    }

    /// True if [`Notice::progress`] shows anything.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.draws
    }

    /// Removes the progress line.
    pub fn clear(&self) {
        let mut drawn = self.lock();
        if *drawn > 0 {
            let _ = stderr().write_all(format!("\r{}\r", " ".repeat(*drawn)).as_bytes());
            *drawn = 0;
        }
    }

    /// `exit`, or [`ExitStatus::Trouble`] when an error was reported.
    #[must_use]
    pub fn exit(&self, exit: ExitStatus) -> ExitStatus {
        if self.troubled.load(Relaxed) { ExitStatus::Trouble } else { exit }
    }

    /// Passes on what another program prints for people, without secrets.
    pub fn relay(&self, piece: &str) {
        self.clear();
        let _ = stderr().write_all(redact::foreign(piece).as_bytes());
    }

    fn line(&self, text: &str) {
        self.clear();
        // Messages quote servers, files and other programs.
        let text = redact::foreign(text);
        let text = visible(&text);
        // One write, so that lines of several programs on one terminal do not mix.
        let _ = stderr().write_all(format!("{text}\n").as_bytes());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        self.drawn.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
