//! Programs of a pipe as one job: one process group, the signals that this program receives, and how each of them ended.
//!
//! The programs are in a group of their own, so a Ctrl-C at the terminal reaches only this program, which forwards it. A
//! program of the pipe that a signal ends ends the others too.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::iterator::Signals as ArrivedSignals;

use super::bound;
use super::signals::{REPEAT, heeded};
use crate::base::error::{Context, Error, Result};
use crate::base::shell;

/// How long programs may take to end after the first signal before they get it again.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// And from then to SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(15);
/// How often to look while programs are ending.
const TICK: Duration = Duration::from_millis(10);

/// A program of this package and its arguments.
#[derive(Debug, Clone)]
pub struct Invocation {
    program: &'static str,
    arguments: Vec<OsString>,
}

impl Invocation {
    /// A program without arguments.
    #[must_use]
    pub fn of(program: &'static str) -> Self {
        Self { program, arguments: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_os_string());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = T>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Its arguments.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.program
    }

    /// Beside this program (`this`), else by its name on the PATH.
    fn file(&self, this: &Path) -> OsString {
        let beside = this.with_file_name(self.program);
        if beside.is_file() { beside.into() } else { self.program.into() }
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arguments = self.arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
        let words: Vec<String> = std::iter::once(self.program.to_string()).chain(arguments).collect();
        f.write_str(&shell::join(&words))
    }
}

/// A program of a running pipe.
struct PipeMember {
    name: &'static str,
    child: Child,
    status: Option<ExitStatus>,
}

/// The streams at both ends of a pipe.
#[derive(Debug)]
pub struct PipeEnds {
    /// Standard input of its first program.
    pub input: Stdio,
    /// Standard output of its last program.
    pub output: Stdio,
}

impl PipeEnds {
    /// Nothing to read; written to `output`.
    #[must_use]
    pub fn to(output: impl Into<Stdio>) -> Self {
        Self { input: Stdio::null(), output: output.into() }
    }
}

/// How a program of a pipe ended.
#[derive(Debug, Clone, Copy)]
pub struct MemberEnd {
    /// The program.
    pub name: &'static str,
    /// Its status.
    pub status: ExitStatus,
}

impl MemberEnd {
    /// It was ended by a signal that asks a program to end.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        stop_signal(self.status).is_some()
    }
}

/// The number of the signal that asked a program to end, and did end it.
fn stop_signal(status: ExitStatus) -> Option<i32> {
    status.signal().filter(|number| heeded().into_iter().any(|signal| signal as i32 == *number))
}

/// Runs pipes one after the other, and hands the signals on that come meanwhile.
pub struct PipeRunner {
    /// This program's file, as it was called at the start: it may be built anew meanwhile.
    this: PathBuf,
    arrived: ArrivedSignals,
    environment: Vec<(OsString, OsString)>,
    first: Option<(Signal, Instant)>,
    /// When the programs get their next signal, because this program received a second one.
    again: Option<(Signal, Instant)>,
    /// The rest is quick and important: signals are only remembered.
    finishing: bool,
}

impl PipeRunner {
    /// Listens for signals from now on. Programs get `environment` in addition to this process's own.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen(environment: Vec<(OsString, OsString)>) -> Result<Self> {
        let numbers = heeded().into_iter().chain([Signal::SIGCHLD]).map(|signal| signal as i32);
        let arrived = ArrivedSignals::new(numbers).context("cannot listen for signals")?;
        let this = std::env::current_exe().context("cannot find this program")?;
        Ok(Self { this, arrived, environment, first: None, again: None, finishing: false })
    }

    /// The first signal that asked this program, or one of those that it ran, to end.
    pub fn signal(&mut self) -> Option<Signal> {
        let pending: Vec<i32> = self.arrived.pending().collect();
        pending.into_iter().for_each(|number| self.receive(number, None));
        self.first.map(|(signal, _)| signal)
    }

    /// From now on programs are left alone.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Runs a pipe until all of its programs have ended.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn run(&mut self, pipe: &[Invocation], ends: PipeEnds) -> Result<Vec<MemberEnd>> {
        let mut members = Vec::new();
        let started = self.start(pipe, ends, &mut members);
        let group = members.first().and_then(|member: &PipeMember| i32::try_from(member.child.id()).ok());
        let group = group.map(Pid::from_raw);
        if started.is_err() {
            group.map(|group| killpg(group, Signal::SIGKILL));
        }
        self.wait(&mut members, group)?;
        started?;
        let end = |member: PipeMember| Some(MemberEnd { name: member.name, status: member.status? });
        Ok(members.into_iter().rev().filter_map(end).collect())
    }

    /// Starts the programs, the last one first: it leads the group, and the first one finds all others there.
    fn start(&self, pipe: &[Invocation], ends: PipeEnds, members: &mut Vec<PipeMember>) -> Result<()> {
        let (mut output, mut input, mut leader) = (ends.output, Some(ends.input), 0);
        for (i, invocation) in pipe.iter().enumerate().rev() {
            let (stdin, feed) = match i {
                0 => (input.take().unwrap_or(Stdio::null()), None),
                _ => {
                    let (read, write) = std::io::pipe().context("cannot create a pipe")?;
                    (Stdio::from(read), Some(write))
                }
            };
            let mut command = bound::command(&self.this, &invocation.file(&self.this));
            command.args(&invocation.arguments).envs(self.environment.iter().cloned());
            let child = command.stdin(stdin).stdout(output).process_group(leader).spawn();
            let child = child.map_err(|e| Error::new(format!("cannot start {}", invocation.program)).because(e))?;
            output = feed.map_or_else(Stdio::null, Stdio::from);
            leader = if leader == 0 { i32::try_from(child.id()).context("a process id")? } else { leader };
            members.push(PipeMember { name: invocation.program, child, status: None });
        }
        Ok(())
    }

    fn wait(&mut self, members: &mut [PipeMember], group: Option<Pid>) -> Result<()> {
        loop {
            for member in members.iter_mut().filter(|member| member.status.is_none()) {
                member.status = member.child.try_wait().context("cannot wait for a program")?;
                let stop = member.status.and_then(stop_signal);
                if let Some(number) = stop.filter(|_| self.first.is_none()) {
                    self.receive(number, group);
                }
            }
            if members.iter().all(|member| member.status.is_some()) {
                return Ok(());
            }
            let numbers: Vec<i32> = if self.first.is_none() {
                self.arrived.wait().collect()
            } else {
                std::thread::sleep(TICK);
                self.urge(group);
                self.arrived.pending().collect()
            };
            numbers.into_iter().for_each(|number| self.receive(number, group));
        }
    }

    /// Takes a signal, and hands it on to the programs in `group`.
    fn receive(&mut self, number: i32, group: Option<Pid>) {
        let Ok(signal) = Signal::try_from(number) else { return };
        if signal == Signal::SIGCHLD {
            return;
        }
        let now = Instant::now();
        match self.first {
            None => {
                self.first = Some((signal, now));
                self.again = Some((signal, now + STOP_LIMIT));
                self.send(signal, group);
            }
            // A service manager and a shell may send the same one twice.
            Some((first, at)) if signal == first && signal != Signal::SIGINT && at.elapsed() < REPEAT => {}
            // Programs take a second one for the first within this time too.
            Some((_, at)) => self.again = Some((signal, now.max(at + REPEAT + TICK))),
        }
    }

    /// Sends what is due to programs that are still there.
    fn urge(&mut self, group: Option<Pid>) {
        let Some((signal, _)) = self.again.filter(|(_, at)| Instant::now() >= *at) else { return };
        self.send(signal, group);
        self.again = Some((Signal::SIGKILL, Instant::now() + KILL_LIMIT));
    }

    fn send(&self, signal: Signal, group: Option<Pid>) {
        if let Some(group) = group.filter(|_| !self.finishing) {
            // They may have ended meanwhile.
            let _ = killpg(group, signal);
        }
    }
}

/// Makes a file the end of a pipe.
///
/// # Errors
/// When it cannot be used twice.
pub fn end_of(file: &File) -> Result<PipeEnds> {
    file.try_clone().context("cannot use the file twice").map(PipeEnds::to)
}
