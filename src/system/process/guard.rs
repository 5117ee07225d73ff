//! The guard: bench-serve executed again, in a session of its own, as the parent and sub-reaper of one server.
//!
//! It outlives bench-serve by as long as stopping takes: when its standard input ends, whatever the reason, it stops the
//! server and everything that ever descended from it. Standard input is one end of a Unix socket: the guard writes JSON
//! lines ([`GuardReport`]) and reads commands, of which there is one: `stop MILLISECONDS` asks for the ladder with that grace.
//!
//! Should the guard itself be killed, the server's first process goes with it (it asked the kernel for that before it
//! became the server), and bench-serve, to whom the rest falls, sweeps that.

use std::ffi::CString;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
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
use super::proc::{Process, descendants, on_path};
use crate::base::error::{Context, Error, Result};
use crate::engines::launcher::OutsideStop;
use crate::rows::kinds::{ProcessExit, Stop};

/// The first argument that makes bench-serve a guard.
pub const GUARD_ARGUMENT: &str = "--guard-of-one-server";
/// The name of a guard's process: who kills `bench-serve` by name does not mean it.
pub const GUARD_NAME: &str = "bench-guard";
/// The first argument that makes bench-serve become the server.
const EXEC_ARGUMENT: &str = "--become-the-server";
/// Grace for processes that left the server's group, once the group is gone.
const STRAY_GRACE: Duration = Duration::from_secs(1);
/// The grace when nobody asked for another: bench-serve has died and cannot tell.
const ORPHAN_GRACE: Duration = Duration::from_millis(1000);
/// How long killing goes on before what is left is called a survivor.
const KILL_LIMIT: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);
/// How long a command outside may take, beyond the grace that it is told.
const COMMAND: Duration = Duration::from_secs(15);
/// What was started outside so lately may only be about to appear when its client is killed: that it is not there is asked
/// again, so much later.
const YOUNG: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(500);
/// How a survivor of which nothing is known begins.
pub const REMOTE_UNKNOWN: &str = "remote_unknown";

/// What the guard tells bench-serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardReport {
    /// The server runs.
    Started {
        /// Its process id, which is its process group's too.
        pid: i32,
    },
    /// The command could not be executed.
    NotStarted {
        /// What the system says.
        why: String,
    },
    /// The server's first process has ended.
    Ended(ProcessExit),
    /// The ladder is done: nothing is left but the survivors named.
    Stopped(Stop),
}

/// Runs as the guard, or as what becomes the server, if the arguments say so; `None` for an ordinary bench-serve.
pub fn run(mut arguments: impl Iterator<Item = String>) -> Option<Result<()>> {
    match arguments.nth(1).as_deref() {
        Some(GUARD_ARGUMENT) => Some(guard()),
        Some(EXEC_ARGUMENT) => Some(become_server()),
        _ => None,
    }
}

/// Asks to be killed when the guard dies, then becomes the server, which keeps that wish.
fn become_server() -> Result<()> {
    let command: Vec<String> = std::env::args().skip(2).collect();
    let [program, arguments @ ..] = &command[..] else { return Err(Error::new("no command was given")) };
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot bind the server to its guard")?;
    let failed = Command::new(program).args(arguments).exec();
    // The log is on standard error.
    let _ = writeln!(std::io::stderr(), "cannot execute {program:?}: {failed}");
    Err(Error::new("cannot become the server").because(failed))
}

/// Whether a program can be executed, as `execvp` would find it.
fn find(program: &str) -> std::io::Result<()> {
    let found = on_path(program).iter().any(|path| access(path, AccessFlags::X_OK).is_ok());
    if found { Ok(()) } else { Err(std::io::Error::from_raw_os_error(nix::errno::Errno::ENOENT as i32)) }
}

fn guard() -> Result<()> {
    // The command line was given its name already; this is the short one.
    let name = CString::new(GUARD_NAME).context("a name without a zero byte")?;
    prctl::set_name(&name).context("cannot take a name")?;
    setsid().context("cannot begin a session")?;
    prctl::set_child_subreaper(true).context("cannot become a sub-reaper")?;
    let link = std::io::stdin().as_fd().try_clone_to_owned().context("the guard has no link to bench-serve")?;
    let mut reports = UnixStream::from(link);
    let commands_from = reports.try_clone().context("the guard's link fails")?;
    let mut tell = |report: &GuardReport| {
        // bench-serve may be gone: its end is what standard input tells.
        let _ = reports.write_all(format!("{}\n", serde_json::json!(report)).as_bytes());
    };
    let outside: Vec<OutsideStop> =
        serde_json::from_str(&std::env::args().nth(2).unwrap_or_default()).context("the guard was given no spec")?;
    let command: Vec<String> = std::env::args().skip(3).collect();
    let Some(program) = command.first() else { return Err(Error::new("the guard was given no command")) };
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut server = Command::new(this);
    // Standard output and error are the log's pipe, inherited; the link is not.
    server.arg(EXEC_ARGUMENT).args(&command).stdin(Stdio::null()).process_group(0);
    let child = match find(program).and_then(|()| server.spawn()) {
        Ok(child) => child,
        Err(e) => {
            tell(&GuardReport::NotStarted { why: e.to_string() });
            return Ok(());
        }
    };
    let started = Instant::now();
    let leader = Pid::from_raw(i32::try_from(child.id()).context("a process id is positive")?);
    tell(&GuardReport::Started { pid: leader.as_raw() });

    let (send, commands) = channel();
    thread::spawn(move || listen(commands_from, &send));
    let grace = watch(leader, &commands, &mut tell);
    for outside in &outside {
        each(&outside.stop, grace);
    }
    let mut stop = stop(leader, grace, &mut tell);
    let young = started.elapsed() < YOUNG;
    stop.survivors.extend(outside.iter().filter_map(finish));
    if young && !outside.is_empty() && stop.survivors.is_empty() {
        thread::sleep(AGAIN);
        stop.survivors.extend(outside.iter().filter(|outside| inspect(outside).is_err()).filter_map(finish));
    }
    tell(&GuardReport::Stopped(stop));
    Ok(())
}

/// Runs commands one after the other; what comes of them the inspection tells.
fn each(commands: &[Vec<String>], grace: Duration) {
    for command in commands {
        let fill = |word: &String| word.replace("{grace_s}", &grace.as_secs().to_string());
        let command: Vec<String> = command.iter().map(fill).collect();
        let _ = capture(&command, grace + COMMAND);
    }
}

/// Whether a text is what a launcher says.
fn says(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(text.trim()))
}

/// Asks whether what is outside is gone; what is said instead.
fn inspect(outside: &OutsideStop) -> std::result::Result<(), String> {
    match capture(&outside.inspect, COMMAND) {
        Ok(text) if says(&outside.gone, &text) => Ok(()),
        Ok(text) => Err(text),
        Err(e) => Err(e.to_string()),
    }
}

/// Kills what is outside unless it is gone, cleans up behind it; what is left of it, or that nothing is known.
fn finish(outside: &OutsideStop) -> Option<String> {
    let mut said = String::new();
    for round in 0..3 {
        match inspect(outside) {
            Ok(()) => {
                each(&outside.clean, Duration::ZERO);
                return None;
            }
            Err(other) => said = other,
        }
        if round < 2 {
            each(&outside.kill, Duration::ZERO);
            thread::sleep(Duration::from_millis(200));
        }
    }
    let said = said.trim().replace('\n', " ");
    Some(match says(&outside.running, &said) {
        true => format!("{} still runs", outside.what),
        false => format!("{REMOTE_UNKNOWN}: {}: {said:?}", outside.what),
    })
}

/// Passes on the grace of a `stop` command; the channel's end means that bench-serve has gone.
fn listen(link: UnixStream, send: &Sender<Duration>) {
    for line in BufReader::new(link).lines().map_while(Result::ok) {
        if let Some(grace) = line.strip_prefix("stop ").and_then(|ms| ms.parse().ok()) {
            let _ = send.send(Duration::from_millis(grace));
        }
    }
}

/// Reaps and waits until the server's first process ends or a stop is asked for; the grace to give.
fn watch(leader: Pid, commands: &Receiver<Duration>, tell: &mut impl FnMut(&GuardReport)) -> Duration {
    let mut ended = false;
    loop {
        if let Some(exit) = reap(leader) {
            tell(&GuardReport::Ended(exit));
            ended = true;
        }
        match commands.recv_timeout(TICK) {
            // What a dead leader leaves is swept at once.
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
/// Whoever left the group gets its own SIGTERM once the group is gone, and a short grace: nobody leads it any more.
fn stop(leader: Pid, grace: Duration, tell: &mut impl FnMut(&GuardReport)) -> Stop {
    let begun = Instant::now();
    let me = getpid().as_raw();
    // The guard leads its session, so whoever is in it came from here even if its parents are gone.
    let left = || descendants(me, Some(me));
    let mut stop = Stop { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX), ..Stop::default() };
    let mut reap_and_tell = || {
        if let Some(exit) = reap(leader) {
            tell(&GuardReport::Ended(exit));
        }
    };
    if !grace.is_zero() {
        let _ = killpg(leader, Signal::SIGTERM);
        let mut end = begun + grace;
        let mut alone = false;
        while Instant::now() < end {
            reap_and_tell();
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
        reap_and_tell();
        let _ = killpg(leader, Signal::SIGKILL);
    });
    stop.took_ms = Some(begun.elapsed().as_secs_f64() * 1000.0);
    stop
}

/// Kills what is left until nothing is, each time after `before`: who needed it and who survived it, `pid name`.
fn kill_all(left: impl Fn() -> Vec<Process>, mut before: impl FnMut()) -> (Vec<String>, Vec<String>) {
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
        // Looked at again right before the signal: a pid that was given to somebody else stays unharmed.
        for process in rest.iter().filter(|process| process.lives()) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Makes this program the one to whom the processes of a killed guard fall.
///
/// # Errors
/// When the system does not let us.
pub fn stand_behind() -> Result<()> {
    prctl::set_child_subreaper(true).context("cannot become a sub-reaper")
}

/// Kills what fell to this program when a guard was killed: whatever descends from it in another session.
#[must_use]
pub fn sweep() -> Stop {
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
