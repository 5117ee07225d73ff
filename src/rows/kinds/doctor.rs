//! `doctor`: one thing that bench-sweep --doctor looked at.

use serde::{Deserialize, Serialize};

use crate::rows::words::HealthState;

/// A `doctor` row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DoctorRow {
    /// The plan; absent for what does not depend on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The framework's name in the plan; absent for what concerns the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework: Option<String>,
    /// How it is.
    pub state: HealthState,
    /// What was found.
    pub text: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}
