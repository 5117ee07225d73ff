//! Why a server failed: by its log if a pattern matches, else by its exit status.

use std::time::{Duration, Instant};

use super::child::Child;
use super::failure::CandidateFailure;
use super::launch::Launch;
use super::log::ServerLog;
use crate::engines::diagnose::FailurePatterns;
use crate::engines::framework::ServerPhase;
use crate::rows::kinds::{ProcessExit, Status};
use crate::rows::words::FailureClass;
use crate::system::process::cgroup;
use crate::system::process::signals::Signal;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a server whose log reports a fatal error may take to exit by itself.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// How far the log was read, and when.
#[derive(Debug)]
pub(super) struct LogCheck {
    /// Number of lines read.
    pub lines: u64,
    /// When they were read.
    pub at: Instant,
}

/// Explains the failures of one server.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerDiagnosis<'a> {
    launch: &'a Launch,
    patterns: &'a FailurePatterns,
}

impl<'a> ServerDiagnosis<'a> {
    pub fn new(launch: &'a Launch, patterns: &'a FailurePatterns) -> Self {
        Self { launch, patterns }
    }

    /// The failure if the log has a line after which the server never becomes ready, although its first process may live.
    pub async fn fatal_line(self, child: &mut Child, last_check: &mut LogCheck) -> Option<CandidateFailure> {
        // A log may be long: read only what is new, and not at every probe.
        let lines = child.log.lines();
        if lines == last_check.lines || last_check.at.elapsed() < LOOK_EVERY {
            return None;
        }
        *last_check = LogCheck { lines, at: Instant::now() };
        if child.log.look(|tail| self.patterns.start_is_over(tail.iter().map(String::as_str))) {
            // Most servers exit by themselves after such a line; then the exit status is known too.
            let _ = tokio::time::timeout(EXIT_LIMIT, child.ended()).await;
            return Some(self.died_while_starting(child).await);
        }
        None
    }

    /// The failure of a server that was not ready within `limit`, by its log if that explains it; `last` is the answer of the last probe.
    pub fn not_ready(self, child: &Child, limit: Duration, last: &str) -> CandidateFailure {
        let how = format!("not ready after {} s: {last}", limit.as_secs());
        let found = child.log.look(|tail| {
            let lines = || tail.iter().map(String::as_str);
            let error = || self.patterns.error(lines()).map(|line| (line, None));
            self.patterns
                .diagnose(lines(), ServerPhase::Starting)
                .map(|found| (found.line.clone(), Some(found)))
                .or_else(error)
        });
        let see = format!("see {}, or raise --ready-timeout", self.launch.log.display());
        match found {
            Some((line, Some(found))) => CandidateFailure {
                status: found.status,
                ..CandidateFailure::new(found.class, format!("{how}; its log says {line:?}: {}", found.advice))
            },
            Some((line, None)) => CandidateFailure {
                status: Status::Timeout,
                ..CandidateFailure::new(FailureClass::NotReady, format!("{how}; its log says {line:?}; {see}"))
            },
            None => CandidateFailure {
                status: Status::Timeout,
                ..CandidateFailure::new(FailureClass::NotReady, format!("{how}; {see}"))
            },
        }
    }

    /// The failure of a server that died before it was ready.
    pub async fn died_while_starting(self, child: &Child) -> CandidateFailure {
        // The last lines of the log may still be in the pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.running(child, FailureClass::ServerDied, ServerPhase::Starting)
    }

    /// The failure of a server that lost a process without which it does not work.
    pub async fn lost_worker(self, child: &mut Child, worker: &str, phase: ServerPhase) -> CandidateFailure {
        // When the whole server exits, its workers may exit first.
        if tokio::time::timeout(EXIT_LIMIT, child.ended()).await.is_ok() {
            return self.running(child, FailureClass::ServerDied, phase);
        }
        let failure = self.running(child, FailureClass::WorkerDied, phase);
        CandidateFailure { reason: format!("worker process {worker} exited: {}", failure.reason), ..failure }
    }

    /// The failure of a server that has not been stopped yet; `class` applies if the log does not explain it.
    pub fn running(self, child: &Child, class: FailureClass, phase: ServerPhase) -> CandidateFailure {
        self.post_mortem(&child.log, (child.server, child.exit), class, phase)
    }

    /// The failure of a server that has been stopped, from its log and its exit.
    pub fn post_mortem(
        self,
        log: &ServerLog,
        (pid, exit): (Option<i32>, Option<ProcessExit>),
        class: FailureClass,
        phase: ServerPhase,
    ) -> CandidateFailure {
        // Anybody may send signal 9, and SGLang kills itself: only the kernel knows whether it did it.
        let in_group = || self.launch.oom_kills.zip(cgroup::oom_kills()).is_some_and(|(before, now)| now > before);
        let kernel_log = self.launch.kernel_log.as_ref();
        let in_log = || pid.zip(kernel_log).is_some_and(|(pid, log)| log.was_oom_killed(pid));
        let oom_killer = is_killed(exit) && (in_log() || in_group());
        let failure = log.look(|tail| {
            let end = ServerEnding { lines: tail.iter().map(String::as_str), exit, phase, oom_killer };
            end.explained(self.patterns, class, &format!("see {}", self.launch.log.display()))
        });
        match log.failed_rank() {
            Some(failed) => {
                let reason = format!("rank {} failed first ({:?}): {}", failed.rank, failed.line, failure.reason);
                CandidateFailure { reason, ..failure }
            }
            None => failure,
        }
    }

    /// The failure of a server that still responds, if its log says that the engine is dead.
    pub fn dead_engine(self, child: &Child) -> Option<CandidateFailure> {
        let dead = child.log.look(|tail| self.patterns.engine_is_dead(tail.iter().map(String::as_str)));
        dead.then(|| {
            let failure = self.running(child, FailureClass::EngineDead, ServerPhase::Ready);
            let why = format!("the HTTP server still responds, but its engine is dead: {}", failure.reason);
            CandidateFailure { reason: why, ..failure }
        })
    }
}

/// How a server ended, and what it printed.
#[derive(Debug, Clone)]
struct ServerEnding<L> {
    /// The last lines of its log, oldest first.
    lines: L,
    exit: Option<ProcessExit>,
    phase: ServerPhase,
    /// The kernel's OOM killer killed it.
    oom_killer: bool,
}

impl<'a, L: DoubleEndedIterator<Item = &'a str> + Clone> ServerEnding<L> {
    /// Why: by the log if a pattern matches, else by the line that names an error, else by how it ended.
    fn explained(self, patterns: &FailurePatterns, class: FailureClass, see: &str) -> CandidateFailure {
        let how = match self.exit {
            Some(ProcessExit { code: Some(code), .. }) => match signal_of_status(code) {
                Some(signal) => format!("the server exited with status {code} ({})", described(signal)),
                None => format!("the server exited with status {code}"),
            },
            Some(ProcessExit { signal: Some(signal), .. }) => format!("the server was killed by {}", described(signal)),
            _ => "the server is not working".into(),
        };
        if let Some(found) = patterns.diagnose(self.lines.clone(), self.phase) {
            let why = format!("{how}: {:?}: {}", found.line, found.advice);
            return CandidateFailure { status: found.status, ..CandidateFailure::new(found.class, why) };
        }
        if let Some(error) = patterns.error(self.lines.clone()) {
            return CandidateFailure::new(class, format!("{how}: {error:?}; {see}"));
        }
        let last = match patterns.last_line(self.lines) {
            Some(line) => format!("last log line: {:?}", line.chars().take(300).collect::<String>()),
            None => "the log is empty".to_string(),
        };
        let killed = is_killed(self.exit);
        if killed && self.oom_killer {
            let why =
                format!("{how} by the kernel's OOM killer (see dmesg): load less, or give the host more memory; {see}");
            return CandidateFailure { status: Status::Oom, ..CandidateFailure::new(FailureClass::HostOom, why) };
        }
        let hint = if killed { "; `dmesg -T` shows whether the kernel's OOM killer did it" } else { "" };
        CandidateFailure::new(class, format!("{how}{hint}; {last}; {see}"))
    }
}

/// True of SIGKILL, also as a shell reports it.
fn is_killed(exit: Option<ProcessExit>) -> bool {
    exit.is_some_and(|exit| exit.signal == Some(9) || exit.code == Some(137))
}

/// The signal that a shell or a container's runtime reports with this exit status.
fn signal_of_status(code: i32) -> Option<i32> {
    let number = code.checked_sub(128)?;
    let reported = [
        Signal::SIGILL,
        Signal::SIGTRAP,
        Signal::SIGABRT,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGKILL,
        Signal::SIGSEGV,
    ];
    reported.iter().any(|signal| *signal as i32 == number).then_some(number)
}

/// True when a server ended by a signal that means a crash, and not by one that asked it to stop.
pub(super) fn crashed(exit: Option<ProcessExit>) -> bool {
    let signal =
        exit.and_then(|exit| exit.signal.or_else(|| exit.code.filter(|code| *code > 128).map(|code| code - 128)));
    let signal = signal.and_then(|signal| Signal::try_from(signal).ok());
    matches!(
        signal,
        Some(
            Signal::SIGILL
                | Signal::SIGTRAP
                | Signal::SIGABRT
                | Signal::SIGBUS
                | Signal::SIGFPE
                | Signal::SIGSEGV
                | Signal::SIGSYS
        )
    )
}

/// A signal with its name and usual cause.
fn described(number: i32) -> String {
    let Ok(signal) = Signal::try_from(number) else { return format!("signal {number}") };
    let cause = match signal {
        Signal::SIGILL => ": an illegal instruction, so it was built for another CPU",
        Signal::SIGSEGV => ": an invalid memory access",
        Signal::SIGBUS => ": memory that could not be provided, for example a full /dev/shm or a truncated file",
        _ => "",
    };
    format!("signal {number} ({signal}{cause})")
}

#[cfg(test)]
mod tests;
