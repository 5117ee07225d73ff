//! The decision on one ranking, for programs.

use serde::{Deserialize, Serialize};

use super::Members;

/// A `decision` row: what bench-rank decided about one group of comparable results, or that there is none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DecisionRow {
    /// Number of the group, from 1, as in the `group` of its result rows; null if no result has metrics.
    pub group: Option<usize>,
    /// Scenario; empty if the rows do not have one.
    pub scenario: String,
    /// `open`, `closed`, `burst`.
    pub load_mode: String,
    /// The decision as one sentence, with the frameworks that have no result.
    pub decision: String,
    /// The framework to deploy, or the fastest one without an SLA; null if no candidate meets the SLA.
    pub framework: Option<String>,
    /// Its candidate.
    pub candidate_id: Option<String>,
    /// The command to deploy; empty if the row does not have it.
    pub server_command: Option<String>,
    /// True if a requested framework has no valid result in the group.
    pub provisional: bool,
    /// These frameworks, and why.
    pub missing: Members,
    /// The comparison with the others, a sentence each.
    pub why: Vec<String>,
    /// What makes the decision more certain, a sentence each; empty if nothing does.
    pub next: Vec<String>,
}
