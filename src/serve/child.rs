//! One server under its guard, with its log.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
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
use crate::system::process::guard::{GUARD_ARGUMENT, GUARD_NAME, GuardReport, OutsideSurvivor};
use crate::system::process::{cgroup, guard};
use crate::system::run_folder::{RunFolder, SERVER_MARK};

/// How long a log is still read after the last process has exited.
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
    /// The process id of the server's first process.
    pub server: Option<i32>,
    /// How the server's first process ended, once it has ended.
    pub exit: Option<ProcessExit>,
    stopped: Option<(Stop, Vec<OutsideSurvivor>)>,
    process: std::process::Child,
    /// The server's control group.
    group: Option<PathBuf>,
    run: RunFolder,
}

impl Drop for Child {
    fn drop(&mut self) {
        // Everything has been stopped, unless bench-serve ends early.
        if let Some(group) = &self.group {
            cgroup::kill(group);
            cgroup::remove(group);
        }
    }
}

/// A server after its stop.
#[derive(Debug)]
pub struct StoppedServer {
    /// How it was stopped; its survivors include those outside the process tree.
    pub stop: Stop,
    /// How its first process ended.
    pub exit: Option<ProcessExit>,
    /// What runs outside the process tree and may still be running: its state could not be determined.
    pub unknown: Option<OutsideSurvivor>,
}

impl Child {
    /// Starts `argv` under a guard with `environment` added to this process's own; its output goes, redacted, to `files` and `log`.
    ///
    /// # Errors
    /// When the guard or the command cannot be started.
    pub async fn start(
        argv: &[String],
        outside: &[OutsideStop],
        environment: &[(String, String)],
        files: LogFiles,
        redactor: Redactor,
        log: ServerLog,
    ) -> Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("cannot create a pipe")?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context("cannot create a socket")?;
        let copy = |fd: &OwnedFd| fd.try_clone().context("cannot copy a descriptor");
        let program = std::env::current_exe().context("cannot find this program")?;
        // Written before the start: whoever is killed from now on, the next start finds what is left.
        let run = RunFolder::make()?;
        let group = cgroup::create(&run.name());
        run.record(None, group.as_deref());
        let process = Command::new(program)
            .arg0(GUARD_NAME)
            .arg(GUARD_ARGUMENT)
            .arg(serde_json::to_string(outside).context("cannot pass the guard its commands")?)
            .arg(group.as_deref().unwrap_or(Path::new("")))
            .args(argv)
            .env(SERVER_MARK, run.name())
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
        run.record(Some(guard), group.as_deref());
        let reports = BufReader::new(reports).lines();
        let mut child = Self {
            reports,
            commands,
            drained,
            log,
            guard,
            server: None,
            exit: None,
            stopped: None,
            process,
            group,
            run,
        };
        match child.report().await {
            Some(GuardReport::Started { pid }) => {
                child.server = Some(pid);
                Ok(child)
            }
            Some(GuardReport::NotStarted { why }) => {
                child.reap();
                Err(Error::new(format!("cannot execute {:?}: {why}", argv.first().map_or("", |s| s.as_str()))))
            }
            _ => Err(Error::new("the guard exited before it started the server")),
        }
    }

    /// The value of [`SERVER_MARK`] in the environment of its processes.
    #[must_use]
    pub fn mark(&self) -> String {
        self.run.name()
    }

    /// Returns when the server's first process has ended; at once if it had ended before.
    pub async fn ended(&mut self) -> ProcessExit {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            if self.report().await.is_none() {
                // The guard itself was killed: how the server ended is unknown.
                return *self.exit.insert(ProcessExit::default());
            }
        }
    }

    /// Stops the server and everything that descended from it.
    pub async fn stop(mut self, grace: Duration) -> StoppedServer {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let _ = self.commands.write_all(format!("stop {grace_ms}\n").as_bytes()).await;
        while self.stopped.is_none() && self.report().await.is_some() {}
        self.reap();
        // A killed guard stopped nothing: its processes are now children of this one.
        let (mut stop, outside) = self.stopped.take().unwrap_or_else(|| (guard::kill_orphans(), Vec::new()));
        self.group.iter().for_each(|group| cgroup::kill(group));
        stop.survivors.extend(outside.iter().map(ToString::to_string));
        let unknown = outside.into_iter().find(|survivor| matches!(survivor, OutsideSurvivor::Unknown { .. }));
        // A survivor may hold the pipe open: do not wait for the end of the log forever.
        let _ = tokio::time::timeout(DRAIN, &mut self.drained).await;
        self.drained.abort();
        StoppedServer { stop, exit: self.exit, unknown }
    }

    /// Reads and records the next report; `None` when the guard has exited.
    async fn report(&mut self) -> Option<GuardReport> {
        let line = self.reports.next_line().await.ok()??;
        let report = serde_json::from_str(&line).ok()?;
        match &report {
            GuardReport::Ended(exit) => self.exit = Some(*exit),
            GuardReport::Stopped { stop, outside } => self.stopped = Some((stop.clone(), outside.clone())),
            GuardReport::Started { .. } | GuardReport::NotStarted { .. } => {}
        }
        Some(report)
    }

    fn reap(&mut self) {
        // After its last report the guard exits by itself.
        let _ = self.process.wait();
    }
}
