//! Speculative decoding of a candidate, and what became of its drafts in a run.

use serde::{Deserialize, Serialize};

use crate::rows::words::AcceptanceVerdict;

/// How the drafts of a candidate are accepted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Speculation {
    /// Mean number of output tokens per step that is forced, the model's own token included; absent: drafts are accepted as the model
    /// does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_acceptance_length: Option<f64>,
    /// What forces it, which `server_command` and `launch_command` leave out: `--spec-synth-len 2.8`, `SGLANG_SIMULATE_ACC_LEN=2.8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced_by: Vec<String>,
}

/// What became of the drafts in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DraftQuality {
    /// What that is worth.
    pub verdict: AcceptanceVerdict,
    /// Mean number of output tokens per step that was forced, the model's own token included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_acceptance_length: Option<f64>,
    /// The mean number that the server counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance_length: Option<f64>,
    /// What forced it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forced_by: Vec<String>,
}
