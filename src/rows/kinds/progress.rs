//! `progress`: what happens, on standard error with `--progress json`.

use serde::{Deserialize, Serialize};

use super::CandidatePosition;
use crate::rows::words::ProgressEvent;

/// A `progress` row. Messages of a program have only `program`, `event` and `text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Progress {
    /// `bench-serve`, `bench-load`, `bench-sweep`.
    pub program: String,
    /// What happened.
    pub event: ProgressEvent,
    /// When: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The candidate's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<CandidatePosition>,
    /// The candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_id: Option<String>,
    /// Its framework's name in the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// The scenario of a run or search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Whether a run or search met the SLA; absent if it has none or was not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// Successful requests per second of a run, or the highest request rate that a search found to meet the SLA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_rate: Option<f64>,
    /// How long a start took or a failure came after it, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_s: Option<f64>,
    /// Since the program began with its first candidate, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_s: Option<f64>,
    /// Time left by what was measured so far, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_s: Option<f64>,
    /// Candidates or runs that failed so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
    /// The line that a reader gets.
    pub text: String,
}
