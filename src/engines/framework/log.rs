//! What a framework's log tells: why it failed, and what it has.

use crate::rows::words::FailureClass;
use serde::Deserialize;
use serde_json::Value;

/// What a server was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerPhase {
    /// It had not been ready yet.
    Starting,
    /// It had been.
    Ready,
}

/// Log text that tells why a server failed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailurePattern {
    /// `bad_flag`, `oom`, `port_in_use`, ….
    pub class: FailureClass,
    /// `failed` or `oom`.
    #[serde(default = "failed")]
    pub status: String,
    /// A regular expression for one line of the log.
    pub pattern: String,
    /// Only when an earlier line matches this: what the server was doing.
    pub after: Option<String>,
    /// Not when the line matches this too.
    pub unless: Option<String>,
    /// A healthy server may print it as well: it counts once the server has ended and names no other error after it.
    #[serde(default)]
    pub passing: bool,
    /// Only `starting` or only `ready`.
    pub phase: Option<ServerPhase>,
    /// A line that it matches, from a real log.
    pub sample: String,
    /// What to do about it.
    pub advice: String,
}

/// A fact that one line of a log tells.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactPattern {
    /// Its key, with the unit: `kv_cache_tokens`, `model_load_s`, `attention_backend`.
    pub name: String,
    /// A regular expression for one line, whose first group is the value.
    pub pattern: String,
    /// Of several lines the last counts, not the first: a trial pass prints the same before the real one.
    #[serde(default)]
    pub last: bool,
    /// A line that it matches, from a real log.
    pub sample: String,
    /// The value that the sample gives.
    pub value: Value,
}

fn failed() -> String {
    "failed".into()
}
