//! Patterns for a framework's log: failures, and facts about capacity and start-up.

use crate::rows::words::{FailureClass, Status};
use serde::Deserialize;
use serde_json::Value;

/// Phase of a server when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerPhase {
    /// It was not ready yet.
    Starting,
    /// It had been ready.
    Ready,
}

/// Log text that shows why a server failed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailurePattern {
    /// `bad_flag`, `oom`, `port_in_use`, ….
    pub class: FailureClass,
    /// `failed` or `oom`.
    #[serde(default = "failed")]
    pub status: Status,
    /// A regular expression for one line of the log.
    pub pattern: String,
    /// Only after a line that matches this, which shows what the server was doing.
    pub after: Option<String>,
    /// Not if the line matches this too.
    pub unless: Option<String>,
    /// True if a healthy server may print it too: it counts only without another error after it.
    #[serde(default)]
    pub passing: bool,
    /// True if it counts only when the log names no other error: a kill also follows errors.
    #[serde(default)]
    pub alone: bool,
    /// True if a server that is starting never becomes ready after such a line, even if it does not exit.
    #[serde(default)]
    pub fatal: bool,
    /// Only in this phase.
    pub phase: Option<ServerPhase>,
    /// A line from a real log that it matches.
    pub sample: String,
    /// What to do about it.
    pub advice: String,
}

/// A fact in one line of a log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactPattern {
    /// Its key, with the unit: `kv_cache_tokens`, `model_load_s`, `attention_backend`.
    pub name: String,
    /// A regular expression for one line, whose first group is the value.
    pub pattern: String,
    /// True if the last of several lines counts instead of the first, because a trial pass prints the same before the real one.
    #[serde(default)]
    pub last: bool,
    /// A line from a real log that it matches.
    pub sample: String,
    /// The value in the sample.
    pub value: Value,
}

fn failed() -> Status {
    Status::Failed
}
