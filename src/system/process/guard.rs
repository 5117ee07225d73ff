//! The guard: bench-serve executed again, in a session of its own, as the parent and sub-reaper of one server.
//!
//! It outlives bench-serve for as long as a stop takes: when its standard input ends, for whatever reason, it stops the
//! server and all of its descendants. Standard input is one end of a Unix socket: the guard writes JSON lines
//! ([`GuardReport`]) and reads one command, `stop MILLISECONDS`, which starts the stop ladder with that grace.
//!
//! If the guard itself is killed, the kernel kills the server's first process (`PR_SET_PDEATHSIG`); orphans are reparented to
//! bench-serve, which kills them.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, getpid, setsid};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::capture::capture;
use super::cgroup;
use super::proc::{Process, descendants, on_path};
use crate::base::error::{Context, Error, Result};
use crate::engines::launcher::OutsideStop;
use crate::rows::kinds::{ProcessExit, Stop};
use crate::rows::words::FailureClass;

/// The first argument that makes bench-serve a guard.
pub const GUARD_ARGUMENT: &str = "--guard-of-one-server";
/// The name of a guard's process, so that `pkill bench-serve` does not match it.
pub const GUARD_NAME: &str = "bench-guard";
/// The first argument that makes bench-serve become the server.
const EXEC_ARGUMENT: &str = "--become-the-server";
/// Grace for processes that left the server's group, once the group has ended.
const STRAY_GRACE: Duration = Duration::from_secs(1);
/// Grace when bench-serve has died and cannot request another.
const ORPHAN_GRACE: Duration = Duration::from_millis(1000);
/// How long to repeat SIGKILL before the remaining processes are reported as survivors.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);
/// How long a launcher's stop command may take, in addition to the grace that it is passed.
const COMMAND_LIMIT: Duration = Duration::from_secs(15);
/// A server younger than this may appear outside only after its client was killed: its absence is checked once more, after
/// `RECHECK`.
const YOUNG: Duration = Duration::from_secs(10);
const RECHECK: Duration = Duration::from_millis(500);

/// What the guard reports to bench-serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardReport {
    /// The server was started.
    Started {
        /// Its process id, which is also its process group.
        pid: i32,
    },
    /// The command could not be executed.
    NotStarted {
        /// What the system reports.
        why: String,
    },
    /// The server's first process has ended.
    Ended(ProcessExit),
    /// The stop ladder is complete: only the survivors are left.
    Stopped {
        /// How the processes were stopped.
        stop: Stop,
        /// What is left outside the process tree.
        outside: Vec<OutsideSurvivor>,
    },
}

/// A server outside the process tree (a container, a process on another host) that was not stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideSurvivor {
    /// It is still running.
    Running {
        /// The launcher's name for it: `container NAME`.
        what: String,
    },
    /// The launcher's `inspect` command shows neither that it runs nor that it is gone.
    Unknown {
        /// The launcher's name for it.
        what: String,
        /// What `inspect` printed, or why it failed.
        output: String,
    },
}

impl fmt::Display for OutsideSurvivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { what } => write!(f, "{what} still runs"),
            Self::Unknown { what, output } => {
                write!(f, "{}: {what}: {output:?}", FailureClass::RemoteUnknown.as_str())
            }
        }
    }
}

/// True for an argument that makes bench-serve a guard or the server.
#[must_use]
pub fn is_for(argument: &OsStr) -> bool {
    argument == GUARD_ARGUMENT || argument == EXEC_ARGUMENT
}

/// Runs as the guard, or becomes the server, if the first argument is a special one; `None` for an ordinary bench-serve.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<Result<()>> {
    let first = arguments.nth(1)?;
    let is_guard = first == GUARD_ARGUMENT;
    if !is_guard && first != EXEC_ARGUMENT {
        return None;
    }
    // bench-serve has only text to pass on.
    let text = |word: OsString| word.into_string().map_err(|word| Error::new(format!("{word:?} is not UTF-8")));
    Some(match arguments.map(text).collect::<Result<Vec<String>>>() {
        Ok(words) if is_guard => guard(&words),
        Ok(words) => become_server(&words),
        Err(e) => Err(e),
    })
}

/// Has the kernel kill this process when the guard dies, then becomes the server; exec preserves that setting.
fn become_server(command: &[String]) -> Result<()> {
    let [group, program, arguments @ ..] = command else { return Err(Error::new("no command")) };
    if !group.is_empty() {
        cgroup::join(Path::new(group));
    }
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot bind the server to its guard")?;
    let failed = Command::new(program).args(arguments).exec();
    // The log is on standard error.
    let _ = writeln!(std::io::stderr(), "cannot execute {program:?}: {failed}");
    Err(Error::new("cannot become the server").because(failed))
}

/// Checks that a program can be executed, found as `execvp` finds it.
fn check_executable(program: &str) -> std::io::Result<()> {
    let found = on_path(program).iter().any(|path| access(path, AccessFlags::X_OK).is_ok());
    if found { Ok(()) } else { Err(std::io::Error::from_raw_os_error(nix::errno::Errno::ENOENT as i32)) }
}

fn guard(words: &[String]) -> Result<()> {
    // The name in the command line was set by the parent; this is the short one.
    let name = CString::new(GUARD_NAME).context("a name without a zero byte")?;
    prctl::set_name(&name).context("cannot set the process name")?;
    setsid().context("cannot create a session")?;
    prctl::set_child_subreaper(true).context("cannot become a sub-reaper")?;
    let link = std::io::stdin().as_fd().try_clone_to_owned().context("the guard has no link to bench-serve")?;
    let mut reports = UnixStream::from(link);
    let commands_from = reports.try_clone().context("cannot use the guard's link")?;
    let mut send_report = |report: &GuardReport| {
        // bench-serve may have exited: the end of standard input shows that.
        let _ = reports.write_all(format!("{}\n", serde_json::json!(report)).as_bytes());
    };
    let [outside, group, command @ ..] = words else { return Err(Error::new("the guard has no launcher commands")) };
    let outside: Vec<OutsideStop> = serde_json::from_str(outside).context("the guard has no launcher commands")?;
    let Some(program) = command.first() else { return Err(Error::new("the guard has no command to run")) };
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut server = Command::new(this);
    // Standard output and error are the log's pipe, inherited; the link is not.
    server.arg(EXEC_ARGUMENT).arg(group).args(command).stdin(Stdio::null()).process_group(0);
    let child = match check_executable(program).and_then(|()| server.spawn()) {
        Ok(child) => child,
        Err(e) => {
            send_report(&GuardReport::NotStarted { why: e.to_string() });
            return Ok(());
        }
    };
    let started = Instant::now();
    let leader = Pid::from_raw(i32::try_from(child.id()).context("a process id is positive")?);
    send_report(&GuardReport::Started { pid: leader.as_raw() });

    let (send, commands) = channel();
    thread::spawn(move || listen(commands_from, &send));
    let grace = watch(leader, &commands, &mut send_report);
    for outside in &outside {
        run_all(&outside.stop, grace);
    }
    let stop = stop(leader, grace, &mut send_report);
    let young = started.elapsed() < YOUNG;
    let mut survivors: Vec<OutsideSurvivor> = outside.iter().filter_map(finish).collect();
    if young && !outside.is_empty() && stop.survivors.is_empty() && survivors.is_empty() {
        thread::sleep(RECHECK);
        survivors.extend(outside.iter().filter(|outside| inspect(outside).is_err()).filter_map(finish));
    }
    send_report(&GuardReport::Stopped { stop, outside: survivors });
    Ok(())
}

/// Runs commands one after the other; their results do not matter, the inspection decides.
fn run_all(commands: &[Vec<String>], grace: Duration) {
    for command in commands {
        let fill = |word: &String| word.replace("{grace_s}", &grace.as_secs().to_string());
        let command: Vec<String> = command.iter().map(fill).collect();
        let _ = capture(&command, grace + COMMAND_LIMIT);
    }
}

/// Whether a launcher's pattern matches what its command printed.
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text.trim()))
}

/// Checks that nothing is left outside; otherwise what the launcher's command printed.
fn inspect(outside: &OutsideStop) -> std::result::Result<(), String> {
    match capture(&outside.inspect, COMMAND_LIMIT) {
        Ok(text) if matches(&outside.gone, &text) => Ok(()),
        Ok(text) => Err(text),
        Err(e) => Err(e.to_string()),
    }
}

/// Kills what is outside unless it is gone, and cleans up after it; the survivor, if any.
fn finish(outside: &OutsideStop) -> Option<OutsideSurvivor> {
    let mut output = String::new();
    for round in 0..3 {
        match inspect(outside) {
            Ok(()) => {
                run_all(&outside.clean, Duration::ZERO);
                return None;
            }
            Err(text) => output = text,
        }
        if round < 2 {
            run_all(&outside.kill, Duration::ZERO);
            thread::sleep(Duration::from_millis(200));
        }
    }
    let (what, output) = (outside.what.clone(), output.trim().replace('\n', " "));
    Some(match matches(&outside.running, &output) {
        true => OutsideSurvivor::Running { what },
        false => OutsideSurvivor::Unknown { what, output },
    })
}

/// Sends the grace of each `stop` command; the channel ends when bench-serve has exited.
fn listen(link: UnixStream, send: &Sender<Duration>) {
    for line in BufReader::new(link).lines().map_while(Result::ok) {
        if let Some(grace) = line.strip_prefix("stop ").and_then(|ms| ms.parse().ok()) {
            let _ = send.send(Duration::from_millis(grace));
        }
    }
}

/// Reaps children until the server's first process ends or a stop is requested; the grace of the stop.
fn watch(leader: Pid, commands: &Receiver<Duration>, report: &mut impl FnMut(&GuardReport)) -> Duration {
    let mut ended = false;
    loop {
        if let Some(exit) = reap(leader) {
            report(&GuardReport::Ended(exit));
            ended = true;
        }
        match commands.recv_timeout(TICK) {
            // What a dead leader leaves behind is killed at once.
            _ if ended => return Duration::ZERO,
            Ok(grace) => return grace,
            Err(RecvTimeoutError::Disconnected) => return ORPHAN_GRACE,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Reaps every child that has ended; how the leader ended, if it was among them.
fn reap(leader: Pid) -> Option<ProcessExit> {
    let mut found = None;
    loop {
        let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, ProcessExit { code: Some(code), signal: None }),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, ProcessExit { code: None, signal: Some(signal as i32) }),
            Ok(WaitStatus::StillAlive) | Err(_) => return found,
            Ok(_) => continue,
        };
        if pid == leader {
            found = Some(exit);
        }
    }
}

/// The stop ladder: SIGTERM to the group, grace, then SIGKILL to group, session and every descendant until none is left.
/// Processes that left the group get a SIGTERM of their own once the group has ended, and a short grace.
fn stop(leader: Pid, grace: Duration, report: &mut impl FnMut(&GuardReport)) -> Stop {
    let begun = Instant::now();
    let me = getpid().as_raw();
    // The guard leads its session, so every process in it is the server's, even if its parents have exited.
    let left = || descendants(me, Some(me));
    let mut stop = Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), ..Stop::default() };
    let mut reap_and_report = || {
        if let Some(exit) = reap(leader) {
            report(&GuardReport::Ended(exit));
        }
    };
    if !grace.is_zero() {
        let _ = killpg(leader, Signal::SIGTERM);
        let mut end = begun + grace;
        let mut alone = false;
        while Instant::now() < end {
            reap_and_report();
            let rest = left();
            if rest.is_empty() {
                break;
            }
            if !alone && rest.iter().all(|process| process.group != leader.as_raw()) {
                alone = true;
                end = end.min(Instant::now() + STRAY_GRACE);
                for process in rest.iter().filter(|process| process.lives()) {
                    let _ = kill(Pid::from_raw(process.pid), Signal::SIGTERM);
                }
            }
            thread::sleep(TICK);
        }
    }
    (stop.killed, stop.survivors) = kill_all(left, || {
        reap_and_report();
        let _ = killpg(leader, Signal::SIGKILL);
    });
    stop.took_ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
    stop
}

/// Kills the processes of `left` until none is left, calling `before` each time. Returns the processes that were killed and
/// those that survived, as `pid name`.
pub fn kill_all(left: impl Fn() -> Vec<Process>, mut before: impl FnMut()) -> (Vec<String>, Vec<String>) {
    let begun = Instant::now();
    let mut killed = Vec::new();
    loop {
        let rest = left();
        if rest.is_empty() {
            before();
            return (killed, Vec::new());
        }
        if begun.elapsed() > KILL_LIMIT {
            return (killed, rest.iter().map(Process::label).collect());
        }
        for process in &rest {
            let label = process.label();
            if !killed.contains(&label) {
                killed.push(label);
            }
        }
        before();
        // Checked again right before the signal: the kernel may have reused the pid.
        for process in rest.iter().filter(|process| process.lives()) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Makes this process the new parent of the processes of a killed guard.
///
/// # Errors
/// What the system reports.
pub fn adopt_orphans() -> Result<()> {
    prctl::set_child_subreaper(true).context("cannot become a sub-reaper")
}

/// Kills the processes of a killed guard: the descendants of this process in other sessions.
#[must_use]
pub fn kill_orphans() -> Stop {
    let me = getpid().as_raw();
    let ours = Process::read(me).map(|process| process.session);
    let left = || descendants(me, None).into_iter().filter(|p| Some(p.session) != ours).collect::<Vec<_>>();
    let zombies = || {
        for process in super::proc::children(me).iter().filter(|p| Some(p.session) != ours) {
            let _ = waitpid(Pid::from_raw(process.pid), Some(WaitPidFlag::WNOHANG));
        }
    };
    let begun = Instant::now();
    let (killed, survivors) = kill_all(left, zombies);
    Stop { took_ms: Some(begun.elapsed().as_secs_f64() * 1000.0), killed, survivors, ..Stop::default() }
}
