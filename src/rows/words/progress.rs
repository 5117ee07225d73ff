//! What `progress` rows are about.

use super::words;

words! {
    /// What happened.
    pub enum ProgressEvent, "event" {
        /// A server is being started.
        Starting = "starting",
        /// A server is ready.
        Ready = "ready",
        /// A candidate or a run failed.
        Failed = "failed",
        /// A candidate or a run is skipped.
        Skipped = "skipped",
        /// A run ended.
        Run = "run",
        /// A search ended.
        Search = "search",
        /// How far a start or a run is: every ten seconds.
        Moving = "moving",
        /// A message of the program.
        Message = "message",
        /// A warning.
        Warning = "warning",
        /// An error, which changes the exit status.
        Error = "error",
    }
}
