//! `plan`: a plan file's own keys as given, and where they came from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Members;

/// A `plan` row. The plan's own keys stand beside these as given; [`crate::plan`] reads them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The file that the plan came from.
    pub plan: PlanFile,
    /// Every value that was not given and is used, by its dotted name: `"benchmark.num_prompts": 80`.
    #[serde(default)]
    pub defaults: Members,
}

/// Where a plan came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFile {
    /// Path as given, `-` for standard input.
    pub path: String,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
}
