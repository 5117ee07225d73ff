//! Why a candidate failed, and what bench-serve does next.

use nix::sys::signal::Signal;

use crate::base::error::Error;
use crate::rows::kinds::Status;
use crate::rows::words::FailureClass;

/// Why a candidate is skipped that comes too late.
pub(super) const NO_TIME: &str = "the time budget (--budget) was used up before its turn";

/// Why a candidate failed.
#[derive(Debug)]
pub struct CandidateFailure {
    /// `failed`, `oom` or `timeout`.
    pub status: Status,
    /// The class of its `server_end` row.
    pub class: FailureClass,
    /// One sentence: the cause and the way out. May quote the server, so it is redacted before it is written.
    pub reason: String,
}

impl CandidateFailure {
    /// A failure with the status `failed`.
    pub(super) fn new(class: FailureClass, reason: impl Into<String>) -> Self {
        Self { status: Status::Failed, class, reason: reason.into() }
    }
}

impl From<Error> for CandidateFailure {
    /// The server could not be started; on a full disk another attempt may succeed.
    fn from(error: Error) -> Self {
        let class = if error.is_disk_full() { FailureClass::DiskFull } else { FailureClass::NotStarted };
        Self::new(class, error.to_string())
    }
}

/// What to do after a candidate.
#[derive(Debug)]
pub(crate) enum NextStep {
    /// Take the next candidate.
    Continue,
    /// End by this signal.
    Signal(Signal),
    /// The reader of standard output has left.
    ReaderLeft,
    /// End with this error: the pipeline is broken, or it is not safe to start another server.
    Broken(Error),
}

/// How the use of a ready server ended.
#[derive(Debug)]
pub(super) enum LeaseOutcome {
    /// The client returned the lease.
    Done,
    /// The server's first process ended.
    Died,
    /// A worker process ended: `pid name`.
    LostWorker(String),
    /// The client or the smoke test failed.
    Failed(CandidateFailure),
    /// bench-serve has to end.
    Ended(NextStep),
}
