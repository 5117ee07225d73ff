//! Why runs of a plan are missing.

use super::words;

words! {
    /// Why runs of a plan are missing.
    pub enum UnfinishedReason, "reason" {
        /// A signal ended the sweep.
        Interrupted = "interrupted",
        /// A program of the sweep failed.
        Failed = "failed",
        /// The time was over.
        Budget = "budget",
        /// The sweep is still running.
        Running = "running",
    }
}
