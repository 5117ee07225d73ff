//! Copies of this program that work at the same time, each on rows of its own: its input is written, and its lines are read, here.
//!
//! A copy ends with the program that started it (see [`super::bound`]) and is in a group of its own, so a Ctrl-C at the terminal
//! reaches only the one that started it, which forwards it.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use super::bound;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;

/// A row that is written behind those of one task: once it comes back, the copy has done all of them. Rows of unknown kinds pass
/// through these programs unchanged and in order.
pub const TASK_END: &str = r#"{"schema_version":1,"record":"task_end"}"#;

/// How long to read what a copy says after it has ended.
const REST: Duration = Duration::from_secs(1);
const BUFFER: usize = 64 << 10;
/// The wait status of a program that exits with 1.
const FAILED: i32 = 1 << 8;

/// What a copy does.
#[derive(Debug)]
pub enum CopyEvent {
    /// It wrote a row.
    Row(String),
    /// It says something on standard error: a line with its end.
    Said(String),
    /// It has ended, and all that it wrote has been read.
    Ended(ExitStatus),
}

/// How copies are started.
#[derive(Debug)]
pub struct CopyStarter {
    this: PathBuf,
    arguments: Vec<OsString>,
}

impl CopyStarter {
    /// Copies of this program with the arguments of this process, after `first`.
    ///
    /// # Errors
    /// When the file of this program is unknown.
    pub fn new(first: &[&str]) -> Result<Self> {
        let this = std::env::current_exe().context("cannot find this program")?;
        let arguments = first.iter().map(Into::into).chain(std::env::args_os().skip(1)).collect();
        Ok(Self { this, arguments })
    }

    /// Starts a copy, whose events are sent with its `number`.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&self, number: usize, events: &Sender<(usize, CopyEvent)>) -> Result<ProgramCopy> {
        let mut command = Command::from(bound::command(&self.this, &self.this.clone().into_os_string()));
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().context("cannot start a copy of this program")?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).ok_or_else(|| Error::new("a copy has ended"))?;
        let (rows, lines) = unbounded_channel();
        if let Some(input) = child.stdin.take() {
            tokio::task::spawn_local(write(input, lines));
        }
        tokio::task::spawn_local(follow(number, child, events.clone()));
        Ok(ProgramCopy { rows: Some(rows), pid: Pid::from_raw(pid) })
    }
}

/// A running copy.
#[derive(Debug)]
pub struct ProgramCopy {
    /// `None` once its input has ended.
    rows: Option<UnboundedSender<String>>,
    pid: Pid,
}

impl ProgramCopy {
    /// Writes a row to it, without waiting until it reads it.
    pub fn give(&self, line: String) {
        // One that has ended says so.
        self.rows.iter().for_each(|rows| drop(rows.send(line.clone())));
    }

    /// Ends its input: it ends when it has done what it was given.
    fn close(&mut self) {
        self.rows = None;
    }

    /// Sends it a signal. It must not have ended: its process id may be another's by then.
    fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
    }
}

/// The copies of this program, by their numbers.
#[derive(Debug)]
pub struct ProgramCopies {
    copies: Vec<Option<ProgramCopy>>,
    send: Sender<(usize, CopyEvent)>,
    events: Receiver<(usize, CopyEvent)>,
}

impl ProgramCopies {
    /// None of `number` copies, of whose events at most `waiting` wait to be taken.
    #[must_use]
    pub fn new(number: usize, waiting: usize) -> Self {
        let (send, events) = channel(waiting);
        Self { copies: (0..number).map(|_| None).collect(), send, events }
    }

    /// The copy of this number, which is started if it does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn started(&mut self, number: usize, starter: impl FnOnce() -> Result<CopyStarter>) -> Result<&ProgramCopy> {
        let copy = match self.copies[number].take() {
            Some(copy) => copy,
            None => starter()?.start(number, &self.send)?,
        };
        Ok(self.copies[number].insert(copy))
    }

    /// The copy of this number, if it runs.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&ProgramCopy> {
        self.copies[number].as_ref()
    }

    /// True if no copy runs.
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.copies.iter().all(Option::is_none)
    }

    /// Those that run, but not this one.
    pub fn others(&self, number: usize) -> impl Iterator<Item = &ProgramCopy> {
        self.copies.iter().enumerate().filter(move |(other, _)| *other != number).filter_map(|(_, copy)| copy.as_ref())
    }

    /// Ends the input of all.
    pub fn close(&mut self) {
        self.copies.iter_mut().flatten().for_each(ProgramCopy::close);
    }

    /// Sends all a signal.
    pub fn signal(&self, signal: Signal) {
        self.copies.iter().flatten().for_each(|copy| copy.signal(signal));
    }

    /// What one of them does next, with its number. It can be cancelled.
    pub async fn next(&mut self) -> (usize, CopyEvent) {
        let Some((number, event)) = self.events.recv().await else { return std::future::pending().await };
        if matches!(event, CopyEvent::Ended(_)) {
            self.copies[number] = None;
        }
        (number, event)
    }

    /// Stops all with a signal, and passes on what they still say; `write` takes the rows that they still write.
    ///
    /// # Errors
    /// The first of `write`.
    pub async fn end(
        &mut self,
        signal: Signal,
        notice: &Notice,
        mut write: impl FnMut(String) -> Result<()>,
    ) -> Result<()> {
        self.close();
        self.signal(signal);
        let mut written = Ok(());
        while !self.all_ended() {
            match self.next().await.1 {
                // They must not wait for a reader that has left: what they write is read all the same.
                CopyEvent::Row(line) if line != TASK_END => written = written.and(write(line)),
                CopyEvent::Said(line) => notice.relay(&line),
                CopyEvent::Row(_) | CopyEvent::Ended(_) => {}
            }
        }
        written
    }
}

async fn write(mut input: ChildStdin, mut lines: UnboundedReceiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        if input.write_all(line.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn follow(number: usize, mut child: Child, events: Sender<(usize, CopyEvent)>) {
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let said = tokio::task::spawn_local(read(number, errors, |line| CopyEvent::Said(line + "\n"), events.clone()));
    read(number, output, CopyEvent::Row, events.clone()).await;
    // Somebody else cannot have waited for it: without a status it failed.
    let status = child.wait().await.unwrap_or_else(|_| ExitStatus::from_raw(FAILED));
    let _ = tokio::time::timeout(REST, said).await;
    let _ = events.send((number, CopyEvent::Ended(status))).await;
}

async fn read(
    number: usize,
    from: Option<impl AsyncRead + Unpin>,
    event: fn(String) -> CopyEvent,
    events: Sender<(usize, CopyEvent)>,
) {
    let Some(from) = from else { return };
    let mut lines = BufReader::with_capacity(BUFFER, from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if events.send((number, event(line))).await.is_err() {
            return;
        }
    }
}
