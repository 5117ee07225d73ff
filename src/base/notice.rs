//! The only writer of standard error. It ignores write errors, since there is no other place to report them.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::error::Error;
use super::exit::ExitStatus;
use super::redact;
use super::visible::visible;

/// How often the moving line is drawn at most.
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// How often it becomes a row, with `--progress json`.
const ROW_EVERY: Duration = Duration::from_secs(10);
/// Moves to the start of the line and erases it, whichever program of a pipe drew it.
const ERASE: &str = "\r\x1b[K";

/// Makes the row of a message from the program's name, the event and the text.
pub type MessageRow = fn(&str, &str, &str) -> String;

/// Writes the messages of one program, and remembers whether any of them was an error.
#[derive(Debug)]
pub struct Notice {
    program: &'static str,
    quiet: bool,
    draws: bool,
    /// Makes a row of each message, if messages are rows.
    rows: Option<MessageRow>,
    troubled: AtomicBool,
    shown: Mutex<Shown>,
}

/// What is on the screen, or not yet.
#[derive(Debug, Default)]
struct Shown {
    /// The moving line is shown.
    moving: bool,
    /// Lines that are written together once all are there.
    held: Option<String>,
}

impl Notice {
    /// `quiet`: print only warnings and errors. Progress is shown only on a terminal.
    #[must_use]
    pub fn new(program: &'static str, quiet: bool) -> Self {
        let draws = !quiet && stderr().is_terminal();
        Self { program, quiet, draws, rows: None, troubled: AtomicBool::new(false), shown: Mutex::default() }
    }

    /// Writes rows instead of text.
    #[must_use]
    pub fn in_rows(self, row: MessageRow) -> Self {
        Self { rows: Some(row), draws: false, ..self }
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
            self.message("error", "", &error.to_string());
        }
    }

    /// Reports a warning, which does not change the exit status.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.message("warning", "warning: ", message.as_ref());
    }

    /// Reports progress, unless quiet.
    pub fn say(&self, message: impl AsRef<str>) {
        if !self.quiet {
            self.message("message", "", message.as_ref());
        }
    }

    /// A line without the program's name, unless quiet.
    pub fn plain_note(&self, message: impl AsRef<str>) {
        if !self.quiet {
            self.plain(message);
        }
    }

    /// A line without the program's name, for findings that start with their own place.
    pub fn plain(&self, message: impl AsRef<str>) {
        match self.rows {
            Some(_) => self.message("message", "", message.as_ref()),
            None => self.line(message.as_ref()),
        }
    }

    /// Writes the lines of `work` together once it is done: for many lines in a moment.
    pub fn together<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.lock().held.is_some() {
            return work();
        }
        self.lock().held = Some(String::new());
        let done = work();
        if let Some(held) = self.lock().held.take().filter(|held| !held.is_empty()) {
            let _ = stderr().write_all(held.as_bytes());
        }
        done
    }

    /// Something that happened: a line that lasts, without the program's name, or its row; nothing if quiet.
    pub fn event(&self, text: &str, row: impl FnOnce() -> String) {
        match (self.quiet, self.rows.is_some()) {
            (true, _) => {}
            (false, true) => self.line(&row()),
            (false, false) => self.line(text),
        }
    }

    /// How often [`Notice::progress`] may be called; `None` if it does nothing.
    #[must_use]
    pub fn progress_every(&self) -> Option<Duration> {
        match (self.quiet, self.rows.is_some(), self.draws) {
            (false, true, _) => Some(ROW_EVERY),
            (false, false, true) => Some(DRAW_EVERY),
            _ => None,
        }
    }

    /// Replaces the moving line at a terminal, cut to its width; the next message or [`Notice::clear`] removes it. Where messages are
    /// rows, it is one of them; in any other file it is left out.
    pub fn progress(&self, text: &str, row: impl FnOnce() -> String) {
        match (self.progress_every(), self.rows) {
            (None, _) => {}
            (Some(_), Some(_)) => self.line(&row()),
            (Some(_), None) => {
                // The last column is left free: some terminals go to the next line after it.
                let width = terminal_size::terminal_size_of(stderr()).map_or(80, |(width, _)| usize::from(width.0));
                let text = redact::foreign(text);
                let text: String = text.chars().filter(|c| !c.is_control()).take(width.max(20) - 1).collect();
                let mut shown = self.lock();
                let _ = stderr().write_all(format!("{ERASE}{text}").as_bytes());
                shown.moving = true;
            }
        }
    }

    /// True if [`Notice::progress`] shows a moving line.
    #[must_use]
    pub fn draws(&self) -> bool {
        self.draws
    }

    /// Removes the moving line.
    pub fn clear(&self) {
        let mut shown = self.lock();
        if std::mem::take(&mut shown.moving) {
            let _ = stderr().write_all(ERASE.as_bytes());
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

    /// A message of the program, as text or as a row.
    fn message(&self, event: &str, before: &str, text: &str) {
        match self.rows {
            Some(row) => self.line(&row(self.program, event, &redact::foreign(text))),
            None => self.line(&format!("{}: {before}{text}", self.program)),
        }
    }

    fn line(&self, text: &str) {
        let mut shown = self.lock();
        shown.moving = false;
        // Messages quote servers, files and other programs.
        let text = redact::foreign(text);
        let text = visible(&text);
        // One write, so that lines of several programs on one terminal do not mix; another program may have drawn a line.
        let erase = if self.draws { ERASE } else { "" };
        match &mut shown.held {
            Some(held) => [erase, &text, "\n"].iter().for_each(|part| held.push_str(part)),
            None => _ = stderr().write_all(format!("{erase}{text}\n").as_bytes()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
