//! One server under its guard, with its log.

use std::fs::{File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinHandle;

use super::log::{LogFiles, ServerLog, drain};
use crate::base::error::{Context, Error, Result};
use crate::base::redact::Redactor;
use crate::engines::launcher::OutsideStop;
use crate::rows::kinds::{ProcessExit, Stop};
use crate::system::process::guard;
use crate::system::process::guard::{GUARD_ARGUMENT, GUARD_NAME, GuardReport};

/// How long a log is still read after the last process has gone.
const DRAIN: Duration = Duration::from_secs(2);

/// A running server.
#[derive(Debug)]
pub struct Child {
    reports: tokio::io::Lines<BufReader<OwnedReadHalf>>,
    commands: OwnedWriteHalf,
    drained: JoinHandle<()>,
    /// What the server printed.
    pub log: ServerLog,
    /// The guard's process id: every process of the server descends from it.
    pub guard: i32,
    /// How the server's first process ended, once it has.
    pub exit: Option<ProcessExit>,
    stopped: Option<Stop>,
    process: std::process::Child,
}

impl Child {
    /// Starts `argv` under a guard with `environment` beside ours; its output goes, redacted, to `files` and `log`.
    ///
    /// # Errors
    /// When the guard or the command cannot be started, or the log not be made.
    pub async fn start(
        argv: &[String],
        outside: &[OutsideStop],
        environment: &[(String, String)],
        files: LogFiles,
        redactor: Redactor,
        log: ServerLog,
    ) -> Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("cannot make a socket")?;
        let copy = |fd: &OwnedFd| fd.try_clone().context("cannot copy a descriptor");
        let program = std::env::current_exe().context("cannot find this program")?;
        let process = Command::new(program)
            .arg0(GUARD_NAME)
            .arg(GUARD_ARGUMENT)
            .arg(serde_json::to_string(outside).context("cannot tell the guard its commands")?)
            .args(argv)
            .envs(environment.iter().cloned())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(copy(&write)?))
            .stderr(Stdio::from(write))
            .spawn()
            .context("cannot start the guard")?;
        ours.set_nonblocking(true).context("cannot use the guard's socket")?;
        let (reports, commands) = UnixStream::from_std(ours).context("cannot use the guard's socket")?.into_split();
        let drained = tokio::task::spawn_local(drain(read, files, redactor, log.clone()));
        let guard = i32::try_from(process.id()).context("a process id is positive")?;
        let reports = BufReader::new(reports).lines();
        let mut child = Self { reports, commands, drained, log, guard, exit: None, stopped: None, process };
        match child.report().await {
            Some(GuardReport::Started { .. }) => Ok(child),
            Some(GuardReport::NotStarted { why }) => {
                child.reap();
                Err(Error::new(format!("cannot execute {:?}: {why}", argv.first().map_or("", |s| s.as_str()))))
            }
            _ => Err(Error::new("the guard ended before it had started the server")),
        }
    }

    /// Returns when the server's first process has ended, or was known to have.
    pub async fn ended(&mut self) -> ProcessExit {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            if self.report().await.is_none() {
                // The guard itself was killed: what it guarded cannot be known any more.
                return *self.exit.insert(ProcessExit::default());
            }
        }
    }

    /// Stops the server and everything that descended from it.
    pub async fn stop(mut self, grace: Duration) -> (Stop, Option<ProcessExit>) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let _ = self.commands.write_all(format!("stop {grace_ms}\n").as_bytes()).await;
        while self.stopped.is_none() && self.report().await.is_some() {}
        self.reap();
        // A guard that was killed did not stop anything: what it guarded has fallen to us.
        let stopped = self.stopped.take().unwrap_or_else(guard::sweep);
        // A process that kept the pipe open may have survived: the log is not waited for for ever.
        let _ = tokio::time::timeout(DRAIN, &mut self.drained).await;
        self.drained.abort();
        (stopped, self.exit)
    }

    /// The next report, kept in its place; `None` when the guard has gone.
    async fn report(&mut self) -> Option<GuardReport> {
        let line = self.reports.next_line().await.ok()??;
        let report = serde_json::from_str(&line).ok()?;
        match &report {
            GuardReport::Ended(exit) => self.exit = Some(*exit),
            GuardReport::Stopped(stop) => self.stopped = Some(stop.clone()),
            GuardReport::Started { .. } | GuardReport::NotStarted { .. } => {}
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
