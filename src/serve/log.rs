//! A server's log: drained for ever, redacted, bounded, and read for facts on the way.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::child::create_private;
use crate::base::error::Result;
use crate::base::redact::Redactor;
use crate::engines::diagnose::{LogFacts, undressed};
use crate::rows::kinds::Members;

/// Lines of the log that are kept for the diagnosis.
const TAIL_LINES: usize = 2000;
/// The longest line of a log that is kept whole, in bytes.
const MAX_LINE: usize = 16 << 10;
/// More than this in a second is a flood: the rest of the second is counted and left out, so that nobody waits for us.
const FLOOD: usize = 8 << 20;

/// What is kept of a log while it grows.
#[derive(Debug, Clone)]
pub struct ServerLog(Rc<RefCell<LogBuffer>>);

#[derive(Debug)]
struct LogBuffer {
    tail: VecDeque<String>,
    lines: u64,
    facts: LogFacts,
}

impl ServerLog {
    /// An empty log whose facts are these.
    #[must_use]
    pub fn new(facts: LogFacts) -> Self {
        Self(Rc::new(RefCell::new(LogBuffer { tail: VecDeque::new(), lines: 0, facts })))
    }

    /// Looks at the last lines, oldest first.
    pub fn look<T>(&self, at: impl FnOnce(&VecDeque<String>) -> T) -> T {
        at(&self.0.borrow().tail)
    }

    /// How many lines there were so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.0.borrow().lines
    }

    /// What it told so far.
    #[must_use]
    pub fn facts(&self) -> Members {
        self.0.borrow().facts.found().clone()
    }

    fn keep(&self, line: &str) {
        let line = undressed(line);
        let mut kept = self.0.borrow_mut();
        kept.facts.read(&line);
        kept.lines += 1;
        if kept.tail.len() == TAIL_LINES {
            kept.tail.pop_front();
        }
        kept.tail.push_back(line);
    }
}

/// The log's files: the first half of the limit in one, the latest quarter or two in others.
#[derive(Debug)]
pub struct LogFiles {
    path: PathBuf,
    file: File,
    room: u64,
    limit: u64,
    turned: u32,
}

impl LogFiles {
    /// Makes the log at `path`; all its files together have at most `limit` bytes.
    ///
    /// # Errors
    /// When the file is there already or cannot be made.
    pub fn create(path: &Path, limit: u64) -> Result<Self> {
        Ok(Self { path: path.into(), file: create_private(path)?, room: limit / 2, limit, turned: 0 })
    }

    /// A full disk must not stop the server: what cannot be written is lost, the tail in memory is not.
    fn write(&mut self, text: &str) {
        let size = text.len() as u64;
        if size > self.room {
            self.turn();
        }
        self.room = self.room.saturating_sub(size);
        let _ = self.file.write_all(text.as_bytes());
    }

    /// Goes on in `server.log.1` and `server.log.2` by turns.
    fn turn(&mut self) {
        self.turned += 1;
        let name = format!("{}.{}", self.path.display(), 2 - self.turned % 2);
        let next = PathBuf::from(name);
        let _ = std::fs::remove_file(&next);
        if let Ok(file) = create_private(&next) {
            self.file = file;
        }
        self.room = self.limit / 4;
    }
}

/// Reads the pipe until everybody has closed it; lines go, redacted, to the files and what is kept.
pub async fn drain(read: OwnedFd, mut files: LogFiles, redactor: Redactor, log: ServerLog) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(read) else { return };
    let mut buffer = vec![0; 1 << 16];
    let mut line = Vec::new();
    let (mut second, mut taken, mut left_out) = (Instant::now(), 0, 0);
    loop {
        let read = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        if second.elapsed() > Duration::from_secs(1) {
            (second, taken) = (Instant::now(), 0);
        }
        taken += read;
        if taken > FLOOD {
            left_out += read;
            line.clear();
            continue;
        }
        let mut text = String::new();
        if left_out > 0 {
            text = format!("[{left_out} bytes left out: more than {FLOOD} in a second]\n");
            left_out = 0;
        }
        for &byte in &buffer[..read] {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() >= MAX_LINE {
                keep(&mut line, &redactor, &log, &mut text);
            }
        }
        files.write(&text);
    }
    let mut text = String::new();
    if !line.is_empty() {
        keep(&mut line, &redactor, &log, &mut text);
    }
    if left_out > 0 {
        text.push_str(&format!("[{left_out} bytes left out]\n"));
    }
    files.write(&text);
}

fn keep(line: &mut Vec<u8>, redactor: &Redactor, log: &ServerLog, text: &mut String) {
    let redacted = redactor.redact(&String::from_utf8_lossy(line));
    line.clear();
    text.push_str(&redacted);
    text.push('\n');
    log.keep(&redacted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_keeps_its_head_and_its_latest_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let mut files = LogFiles::create(&path, 400).unwrap();
        for i in 0..100 {
            files.write(&format!("line {i:4}\n"));
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let (head, one, two) = (read("server.log"), read("server.log.1"), read("server.log.2"));
        assert!(head.starts_with("line    0\n") && head.len() <= 200);
        assert!(one.len() <= 100 && two.len() <= 100);
        assert!(one.contains("line   99") || two.contains("line   99"));
    }
}
