//! Why a run ends early, and what its `run_end` row says about that.

use crate::rows::kinds::Status;
use crate::rows::words::{FailureClass, Limit};

/// Why a run ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// A signal came.
    Interrupted,
    /// The lease was lost.
    ServerLost,
    /// A client on another host that shares the load left, or did not come in time.
    ClientMissing,
    /// The reader of our rows closed its end of the pipe.
    ReaderLeft,
    /// The requests that finished can no longer meet this limit: the rest would only take time.
    CannotPass(Limit),
}

impl StopReason {
    /// Status, failure class and failure reason of a run that ended for this reason.
    #[must_use]
    pub fn end(self) -> (Status, FailureClass, String) {
        match self {
            Self::Interrupted | Self::ReaderLeft => {
                (Status::Failed, FailureClass::Interrupted, "interrupted; rerun to resume".into())
            }
            Self::ServerLost => (
                Status::Failed,
                FailureClass::ServerLost,
                "the server stopped during the run; see its log for the reason".into(),
            ),
            Self::ClientMissing => (
                Status::Failed,
                FailureClass::ShardsMissing,
                "another client that shares the load left, or was not ready in time; see the messages of bench-load"
                    .into(),
            ),
            Self::CannotPass(limit) => (
                Status::Ok,
                FailureClass::CannotPass,
                format!("cut short: the finished requests can no longer meet {limit}"),
            ),
        }
    }
}
