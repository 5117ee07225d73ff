//! Why a server is not what it should be: by its log where that tells, else by its end.

use std::time::{Duration, Instant};

use super::CandidateFailure;
use super::child::Child;
use super::launch::Launch;
use super::log::ServerLog;
use crate::engines::diagnose::{Diagnosis, FailurePatterns};
use crate::engines::framework::ServerPhase;
use crate::rows::kinds::{ProcessExit, Status};
use crate::rows::words::FailureClass;
use crate::system::process::host;
use crate::system::process::signals::Signal;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a server whose log says that it failed is given to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Launch {
    /// A line in the log that says that it will never be ready, although its first process may live on.
    pub(super) async fn fatal(
        &self,
        child: &mut Child,
        patterns: &FailurePatterns,
        looked: &mut LogCheck,
    ) -> Option<CandidateFailure> {
        // A log may be long and the patterns are many: only what is new, and not at every probe.
        let lines = child.log.lines();
        if lines == looked.lines || looked.at.elapsed() < LOOK_EVERY {
            return None;
        }
        *looked = LogCheck { lines, at: Instant::now() };
        if diagnosed(&child.log, patterns, ServerPhase::Starting, false).is_some() {
            // Most servers end by themselves after such a line; then the exit status is known too.
            let _ = tokio::time::timeout(LAST_WORDS, child.ended()).await;
            return Some(self.died(child, patterns).await);
        }
        None
    }

    /// Why a server died, by its log if that tells, else by its exit.
    pub(super) async fn died(&self, child: &mut Child, patterns: &FailurePatterns) -> CandidateFailure {
        // The log's last lines may still be in the pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.diagnosis(child, patterns, FailureClass::ServerDied, ServerPhase::Starting)
    }

    /// Why a process without which the server does not work has gone, by the log if that tells.
    pub async fn lost_worker(
        &self,
        child: &mut Child,
        patterns: &FailurePatterns,
        worker: &str,
        phase: ServerPhase,
    ) -> CandidateFailure {
        // When all of a server goes, its workers may go first.
        if tokio::time::timeout(LAST_WORDS, child.ended()).await.is_ok() {
            return self.diagnosis(child, patterns, FailureClass::ServerDied, phase);
        }
        let found = self.diagnosis(child, patterns, FailureClass::WorkerDied, phase);
        CandidateFailure { reason: format!("the worker process {worker} has gone: {}", found.reason), ..found }
    }

    /// The diagnosis of a server that is not what it should be, with `class` where the log says nothing.
    #[must_use]
    pub fn diagnosis(
        &self,
        child: &Child,
        patterns: &FailurePatterns,
        class: FailureClass,
        phase: ServerPhase,
    ) -> CandidateFailure {
        self.post_mortem(&child.log, child.exit, patterns, class, phase)
    }

    /// The same of a server that is gone: what is left is its log and how it ended.
    #[must_use]
    pub fn post_mortem(
        &self,
        log: &ServerLog,
        exit: Option<ProcessExit>,
        patterns: &FailurePatterns,
        class: FailureClass,
        phase: ServerPhase,
    ) -> CandidateFailure {
        let how = match exit {
            Some(ProcessExit { code: Some(code), .. }) => format!("the server exited with status {code}"),
            Some(ProcessExit { signal: Some(signal), .. }) => format!("the server was ended by {}", named(signal)),
            _ => "the server is not working".into(),
        };
        let see = format!("see {}", self.log.display());
        if let Some(found) = diagnosed(log, patterns, phase, exit.is_some()) {
            let why = format!("{how}: {:?}: {}", found.line, found.advice);
            return CandidateFailure { status: found.status, ..CandidateFailure::of(found.class, why) };
        }
        if let Some(error) = log.look(|tail| patterns.error(tail.iter().map(String::as_str))) {
            return CandidateFailure::of(class, format!("{how}: {error:?}; {see}"));
        }
        let last = log.look(|tail| tail.iter().rev().find(|line| !line.trim().is_empty()).cloned());
        let last: String = last.as_deref().unwrap_or("nothing").chars().take(300).collect();
        let killed = exit.is_some_and(|exit| exit.signal == Some(9) || exit.code == Some(137));
        // SGLang and others kill themselves, and so may anybody: only the kernel knows whether it was the kernel.
        if killed && self.oom_kills.zip(host::oom_kills()).is_some_and(|(before, now)| now > before) {
            let why = format!(
                "{how}, and the kernel killed for want of memory meanwhile (see dmesg): load less, or give the host more memory; {see}"
            );
            return CandidateFailure { status: Status::Oom, ..CandidateFailure::of(FailureClass::HostOom, why) };
        }
        let whom = if killed { "; if the kernel did it for want of memory, `dmesg -T` says so" } else { "" };
        CandidateFailure::of(class, format!("{how}{whom}; its last line is {last:?}; {see}"))
    }

    /// A server that still answers, and whose log says that its engine is dead: why.
    #[must_use]
    pub fn dead_engine(&self, child: &Child, patterns: &FailurePatterns) -> Option<CandidateFailure> {
        let dead = child.log.look(|tail| patterns.engine_is_dead(tail.iter().map(String::as_str)));
        dead.then(|| {
            let found = self.diagnosis(child, patterns, FailureClass::EngineDead, ServerPhase::Ready);
            let why = format!("its HTTP server answers, and its engine is dead: {}", found.reason);
            CandidateFailure { reason: why, ..found }
        })
    }
}

/// True when a server ended as only one that crashed does, and not one that was asked to stop.
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

/// A signal in words.
fn named(signal: i32) -> String {
    let Ok(known) = Signal::try_from(signal) else { return format!("signal {signal}") };
    let means = match known {
        Signal::SIGILL => ": an illegal instruction, so it was built for another CPU",
        Signal::SIGSEGV => ": it used memory that is not its own",
        Signal::SIGBUS => ": memory that could not be had, as a full /dev/shm or a file that was cut",
        _ => "",
    };
    format!("signal {signal} ({known}{means})")
}

/// How far the log was looked at, and when.
pub(super) struct LogCheck {
    pub lines: u64,
    pub at: Instant,
}

fn diagnosed(log: &ServerLog, patterns: &FailurePatterns, phase: ServerPhase, ended: bool) -> Option<Diagnosis> {
    log.look(|tail| patterns.diagnose(tail.iter().map(String::as_str), phase, ended))
}
