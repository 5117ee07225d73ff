//! One server under its guard, with its log.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::net::unix::{OwnedWriteHalf, pipe};
use tokio::task::JoinHandle;

use crate::error::{Context, Error, Result};
use crate::process::guard::{GUARD_ARGUMENT, Report};
use crate::redact::Redactor;
use crate::schema::{Exit, Stop};

/// Lines of the log that are kept for the diagnosis.
const TAIL_LINES: usize = 2000;
/// The longest line of a log that is kept whole, in bytes.
const MAX_LINE: usize = 16 << 10;
/// How long a log is still read after the last process has gone.
const DRAIN: Duration = Duration::from_secs(2);

/// The last lines of a server's log.
pub type Tail = Rc<RefCell<VecDeque<String>>>;

/// A running server.
#[derive(Debug)]
pub struct Child {
    reports: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    commands: OwnedWriteHalf,
    log: JoinHandle<()>,
    /// What the server printed last.
    pub tail: Tail,
    /// The guard's process id: every process of the server descends from it.
    pub guard: i32,
    /// How the server's first process ended, once it has.
    pub exit: Option<Exit>,
    stopped: Option<Stop>,
    process: std::process::Child,
}

impl Child {
    /// Starts `argv` under a guard with `environment` beside ours; its output goes, redacted, to `log_path`.
    ///
    /// # Errors
    /// When the guard or the command cannot be started, or the log not be made.
    pub async fn start(
        argv: &[String],
        environment: &[(String, String)],
        log_path: &Path,
        redactor: Redactor,
    ) -> Result<Self> {
        let log_file = create_private(log_path)?;
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("cannot make a socket")?;
        let copy = |fd: &OwnedFd| fd.try_clone().context("cannot copy a descriptor");
        let program = std::env::current_exe().context("cannot find this program")?;
        let process = Command::new(program)
            .arg(GUARD_ARGUMENT)
            .args(argv)
            .envs(environment.iter().cloned())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(copy(&write)?))
            .stderr(Stdio::from(write))
            .spawn()
            .context("cannot start the guard")?;
        ours.set_nonblocking(true).context("cannot use the guard's socket")?;
        let (reports, commands) = UnixStream::from_std(ours).context("cannot use the guard's socket")?.into_split();
        let tail = Tail::default();
        let log = tokio::task::spawn_local(drain(read, log_file, redactor, tail.clone()));
        let guard = i32::try_from(process.id()).context("a process id is positive")?;
        let reports = BufReader::new(reports).lines();
        let mut child = Self { reports, commands, log, tail, guard, exit: None, stopped: None, process };
        match child.report().await {
            Some(Report::Started { .. }) => Ok(child),
            Some(Report::NotStarted { why }) => {
                child.reap();
                Err(Error::new(format!("cannot execute {:?}: {why}", argv.first().map_or("", |s| s.as_str()))))
            }
            _ => Err(Error::new("the guard ended before it had started the server")),
        }
    }

    /// Returns when the server's first process has ended, or was known to have.
    pub async fn ended(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            if self.report().await.is_none() {
                // The guard itself was killed: what it guarded cannot be known any more.
                return *self.exit.insert(Exit::default());
            }
        }
    }

    /// Stops the server and everything that descended from it.
    pub async fn stop(mut self, grace: Duration) -> (Stop, Option<Exit>) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let _ = self.commands.write_all(format!("stop {grace_ms}\n").as_bytes()).await;
        while self.stopped.is_none() && self.report().await.is_some() {}
        self.reap();
        // A process that kept the pipe open may have survived: the log is not waited for for ever.
        let _ = tokio::time::timeout(DRAIN, &mut self.log).await;
        self.log.abort();
        (self.stopped.take().unwrap_or_default(), self.exit)
    }

    /// The next report, kept in its place; `None` when the guard has gone.
    async fn report(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok()??;
        let report = serde_json::from_str(&line).ok()?;
        match &report {
            Report::Ended(exit) => self.exit = Some(*exit),
            Report::Stopped(stop) => self.stopped = Some(stop.clone()),
            Report::Started { .. } | Report::NotStarted { .. } => {}
        }
        Some(report)
    }

    fn reap(&mut self) {
        // The guard has said its last word; it ends by itself.
        let _ = self.process.wait();
    }
}

/// Creates a file that only its owner can read, and that was not there before.
///
/// # Errors
/// When it is there, or what the system says.
pub fn create_private(path: &Path) -> Result<File> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.map_err(|e| Error::new("cannot make the file").because(e).at(path.display().to_string()))
}

/// Reads the pipe until everybody has closed it; lines go, redacted, to the file and the tail.
async fn drain(read: OwnedFd, mut file: File, redactor: Redactor, tail: Tail) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(read) else { return };
    let mut buffer = vec![0; 1 << 16];
    let mut line = Vec::new();
    loop {
        let read = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let mut text = String::new();
        for &byte in &buffer[..read] {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() >= MAX_LINE {
                keep(&mut line, &redactor, &tail, &mut text);
            }
        }
        // A full disk must not stop the server: the tail is kept all the same.
        let _ = file.write_all(text.as_bytes());
    }
    if !line.is_empty() {
        let mut text = String::new();
        keep(&mut line, &redactor, &tail, &mut text);
        let _ = file.write_all(text.as_bytes());
    }
}

fn keep(line: &mut Vec<u8>, redactor: &Redactor, tail: &Tail, text: &mut String) {
    let redacted = redactor.redact(&String::from_utf8_lossy(line));
    line.clear();
    text.push_str(&redacted);
    text.push('\n');
    let mut tail = tail.borrow_mut();
    if tail.len() == TAIL_LINES {
        tail.pop_front();
    }
    tail.push_back(redacted);
}
