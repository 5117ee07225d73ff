//! `plan`: the keys of a plan file as given, the file's name and hash, and the results of checking it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Members;

/// A `plan` row. The plan's own keys are beside these, unchanged; [`crate::plan`] reads them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanRow {
    /// The file that the plan came from.
    pub plan: PlanFile,
    /// Every default that was used, by its dotted name: `"benchmark.num_prompts": 80`.
    #[serde(default)]
    pub defaults: Members,
    /// The results of checking it.
    #[serde(flatten)]
    pub checked: PlanCheck,
}

/// The file a plan was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanFile {
    /// Path as given; `-` for standard input.
    pub path: String,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
}

/// The results of checking a plan, for the programs that read its row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanCheck {
    /// Caveats for readers of the results: baselines that differ, rules that the plan lifts, skipped checks.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// Knobs that were renamed or dropped for the version at hand.
    #[serde(default)]
    pub substitutions: Vec<Substitution>,
    /// Candidates that are not run, and why.
    #[serde(default)]
    pub rejections: Vec<Rejection>,
    /// By model, its architecture according to the model's own files; empty if the table does not have it. Models
    /// without local files are recognized by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub architectures: BTreeMap<String, String>,
    /// Flags checked against captured help, by framework; only with `--help-dir`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub validated_cli_flags: BTreeMap<String, FlagCheck>,
    /// What `--preflight` found; absent without it.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub environment: Members,
}

/// A knob that was renamed or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Substitution {
    /// The framework's name in the plan.
    pub framework: String,
    /// As the plan spells it.
    pub knob: String,
    /// Its name in the version at hand; null: it is dropped from the search.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

/// Candidates that are not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rejection {
    /// The framework's name in the plan.
    pub framework: String,
    /// Candidates with this knob; null: all candidates of the framework.
    #[serde(default)]
    pub knob: Option<String>,
    /// Of those, the ones with this value; null: any value.
    #[serde(default)]
    pub value: Option<Value>,
    /// Why.
    pub reason: String,
}

/// One framework's flags, checked against its captured help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlagCheck {
    /// The version that the help belongs to, if known.
    pub version: Option<String>,
    /// Names of the captured files.
    pub help: Vec<String>,
    /// The server's flags.
    pub server: Verdicts,
    /// Flags of its own benchmark client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<Verdicts>,
}

/// Flags by verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdicts {
    /// Listed in the help.
    pub accepted: Vec<String>,
    /// Not listed in the help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Not listed in the help, which is known to be incomplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverifiable: Vec<String>,
}
