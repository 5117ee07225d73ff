//! What runs next, and the time for it.

use crate::plan::expand::{Fitted, StageCandidates};
use crate::rows::kinds::Candidate;

/// The time in which the runs of a plan are to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimit {
    /// It, s.
    pub seconds: f64,
    /// The key of the plan that says it.
    pub source: Option<&'static str>,
}

/// What runs next.
pub(super) struct ChosenRuns {
    /// The candidate rows.
    pub candidates: Vec<Candidate>,
    /// All that is left, the stages after the next one included if the time is limited.
    pub rest: Vec<StageCandidates>,
    /// What of it fits into the time, if that is limited.
    pub fitted: Option<Fitted>,
}
