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
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::bound;
use crate::base::error::{Context, Error, Result};

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
    pub fn start(&self, number: usize, events: &Sender<(usize, CopyEvent)>) -> Result<ProgramCopy> {
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
    pub fn close(&mut self) {
        self.rows = None;
    }

    /// Sends it a signal. It must not have ended: its process id may be another's by then.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(self.pid, signal);
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
