//! A server's log: always drained, redacted, limited in size, and searched for facts on the way.

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

use super::private_file::create_private;
use super::ranks::{FailedRank, RankPatterns};
use crate::base::error::Result;
use crate::base::redact::Redactor;
use crate::engines::diagnose::{LogFacts, undressed};
use crate::rows::kinds::Members;

/// Number of last lines that the diagnosis reads.
const TAIL_LINES: usize = 2000;
/// Longer lines are split, in bytes.
const MAX_LINE: usize = 16 << 10;
/// How much more is read before a line is split, so that a secret at the place of the split is found, bytes.
const OVERLAP: usize = 4 << 10;
/// Maximum bytes recorded per second; the rest is counted and dropped, so that the server never waits for the log.
const FLOOD: usize = 8 << 20;

/// The last lines of a log and the facts found in it, while it grows.
#[derive(Debug, Clone)]
pub struct ServerLog(Rc<RefCell<LogBuffer>>);

#[derive(Debug)]
struct LogBuffer {
    tail: VecDeque<String>,
    lines: u64,
    facts: LogFacts,
    /// How a server over several nodes tells its ranks apart.
    patterns: Option<RankPatterns>,
    /// Which rank printed each line of the tail, where there are several.
    ranks: VecDeque<Option<u32>>,
    /// The first that failed.
    failed: Option<FailedRank>,
}

impl ServerLog {
    /// An empty log in which these facts are looked for.
    #[must_use]
    pub(super) fn new(facts: LogFacts, patterns: Option<RankPatterns>) -> Self {
        let (tail, ranks) = (VecDeque::new(), VecDeque::new());
        Self(Rc::new(RefCell::new(LogBuffer { tail, lines: 0, facts, patterns, ranks, failed: None })))
    }

    /// Reads the last lines, oldest first: once a rank has failed only its own, since what the others say follows from that.
    pub fn look<T>(&self, at: impl FnOnce(&VecDeque<String>) -> T) -> T {
        let buffer = self.0.borrow();
        if let Some(failed) = &buffer.failed {
            let lines = buffer.tail.iter().zip(&buffer.ranks).filter(|(_, rank)| **rank == Some(failed.rank));
            let own: VecDeque<String> = lines.map(|(line, _)| line.clone()).collect();
            if !own.is_empty() {
                return at(&own);
            }
        }
        at(&buffer.tail)
    }

    /// The rank that failed first, if the launcher said so.
    pub(super) fn failed_rank(&self) -> Option<FailedRank> {
        self.0.borrow().failed.clone()
    }

    /// Number of lines so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.0.borrow().lines
    }

    /// The facts found so far.
    #[must_use]
    pub fn facts(&self) -> Members {
        self.0.borrow().facts.found().clone()
    }

    fn push(&self, line: &str) {
        let mut buffer = self.0.borrow_mut();
        let rank = buffer.patterns.as_ref().and_then(|patterns| patterns.of(line));
        if buffer.failed.is_none() && rank.is_none() {
            buffer.failed = buffer.patterns.as_ref().and_then(|patterns| patterns.failed(line));
        }
        let line = undressed(line);
        buffer.facts.read(&line);
        buffer.lines += 1;
        if buffer.tail.len() == TAIL_LINES {
            buffer.tail.pop_front();
            buffer.ranks.pop_front();
        }
        buffer.tail.push_back(line);
        buffer.ranks.push_back(rank);
    }
}

/// The log's files: the head in `server.log` (half of the limit), the tail in `server.log.1` and `.2` (a quarter each).
#[derive(Debug)]
pub struct LogFiles {
    path: PathBuf,
    file: File,
    room: u64,
    limit: u64,
    rotations: u32,
}

impl LogFiles {
    /// Creates the log at `path`; all its files together have at most `limit` bytes.
    ///
    /// # Errors
    /// When the file already exists or cannot be created.
    pub fn create(path: &Path, limit: u64) -> Result<Self> {
        Ok(Self { path: path.into(), file: create_private(path)?, room: limit / 2, limit, rotations: 0 })
    }

    /// Ignores write errors: a full disk must not stop the server, and the tail in memory remains.
    fn write(&mut self, text: &str) {
        let size = text.len() as u64;
        if size > self.room {
            self.rotate();
        }
        self.room = self.room.saturating_sub(size);
        let _ = self.file.write_all(text.as_bytes());
    }

    /// Continues in `server.log.1` and `server.log.2`, alternately.
    fn rotate(&mut self) {
        self.rotations += 1;
        let name = format!("{}.{}", self.path.display(), 2 - self.rotations % 2);
        let next = PathBuf::from(name);
        let _ = std::fs::remove_file(&next);
        if let Ok(file) = create_private(&next) {
            self.file = file;
        }
        self.room = self.limit / 4;
    }
}

/// Reads the pipe until every writer has closed it; redacts each line and appends it to the files and to `log`.
pub async fn drain(read: OwnedFd, mut files: LogFiles, redactor: Redactor, log: ServerLog) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(read) else { return };
    let mut buffer = vec![0; 1 << 16];
    let mut line = Vec::new();
    let (mut second, mut bytes, mut dropped) = (Instant::now(), 0, 0);
    loop {
        let read = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        if second.elapsed() > Duration::from_secs(1) {
            (second, bytes) = (Instant::now(), 0);
        }
        bytes += read;
        if bytes > FLOOD {
            dropped += read;
            line.clear();
            continue;
        }
        let mut text = String::new();
        if dropped > 0 {
            text = format!("[{dropped} bytes dropped: more than {FLOOD} in a second]\n");
            dropped = 0;
        }
        for &byte in &buffer[..read] {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' {
                append(&mut line, &redactor, &log, &mut text);
            } else if line.len() >= MAX_LINE + OVERLAP {
                split(&mut line, &redactor, &log, &mut text);
            }
        }
        files.write(&text);
    }
    let mut text = String::new();
    if !line.is_empty() {
        append(&mut line, &redactor, &log, &mut text);
    }
    if dropped > 0 {
        text.push_str(&format!("[{dropped} bytes dropped]\n"));
    }
    files.write(&text);
}

/// Appends the beginning of a line that is too long, up to where no secret is cut.
fn split(line: &mut Vec<u8>, redactor: &Redactor, log: &ServerLog, text: &mut String) {
    let whole = String::from_utf8_lossy(line).into_owned();
    let (head, rest) = whole.split_at(redactor.cut(&whole, MAX_LINE));
    *line = head.as_bytes().to_vec();
    append(line, redactor, log, text);
    *line = rest.as_bytes().to_vec();
}

fn append(line: &mut Vec<u8>, redactor: &Redactor, log: &ServerLog, text: &mut String) {
    let redacted = redactor.redact(&String::from_utf8_lossy(line));
    line.clear();
    text.push_str(&redacted);
    text.push('\n');
    log.push(&redacted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_whole_where_a_long_line_is_split() {
        let redactor = Redactor::default().with_secrets(["quiet harbour".to_string()].into_iter());
        for shift in [0, 3, 12] {
            let log = ServerLog::new(LogFacts::new(&[]).unwrap(), None);
            let mut line = format!("{}quiet harbour{}", "x".repeat(MAX_LINE - shift), "y".repeat(OVERLAP)).into_bytes();
            let mut text = String::new();
            split(&mut line, &redactor, &log, &mut text);
            append(&mut line, &redactor, &log, &mut text);
            assert!(!text.contains("quiet") && !text.contains("harbour"), "{shift}");
            assert_eq!(text.matches("[REDACTED:value]").count(), 1);
        }
    }

    #[test]
    fn a_long_log_keeps_its_head_and_its_tail() {
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
