//! What the doctor says about one thing.

use super::words;

words! {
    /// Whether something is as a sweep needs it.
    pub enum HealthState, "state" {
        /// It is.
        Ok = "ok",
        /// It may lead to failures.
        Warning = "warning",
        /// Nothing of its subject can be run.
        Problem = "problem",
        /// It could not be looked at.
        Unknown = "unknown",
    }
}
