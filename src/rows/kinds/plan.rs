//! `plan`: a plan file's own keys as given, where they came from, and what checking them found out.

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
    /// Every value that was not given and is used, by its dotted name: `"benchmark.num_prompts": 80`.
    #[serde(default)]
    pub defaults: Members,
    /// What checking it found out.
    #[serde(flatten)]
    pub checked: PlanCheck,
}

/// Where a plan came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanFile {
    /// Path as given, `-` for standard input.
    pub path: String,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
}

/// What checking a plan found out, for those who read its row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanCheck {
    /// What a reader of the results has to know: baselines that differ, rules that the plan lifts, checks left out.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// Knobs that go by another name, or are left out, in the version at hand.
    #[serde(default)]
    pub substitutions: Vec<Substitution>,
    /// What is not run, and why.
    #[serde(default)]
    pub rejections: Vec<Rejection>,
    /// By model, its architecture as the model's own files tell it; empty for one that is not in the table. Other models are
    /// known by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub architectures: BTreeMap<String, String>,
    /// Flags against captured help, by framework; only with `--help-dir`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub validated_cli_flags: BTreeMap<String, FlagCheck>,
    /// What `--preflight` saw; absent without it.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub environment: Members,
}

/// A knob that goes by another name, or is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Substitution {
    /// The framework's name in the plan.
    pub framework: String,
    /// As the plan spells it.
    pub knob: String,
    /// What it is called; null: it is left out of the search.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

/// What is not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rejection {
    /// The framework's name in the plan.
    pub framework: String,
    /// Candidates with this knob; null: all of the framework.
    #[serde(default)]
    pub knob: Option<String>,
    /// Of those, the ones with this value; null: any.
    #[serde(default)]
    pub value: Option<Value>,
    /// Why.
    pub reason: String,
}

/// One framework's flags against its captured help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FlagCheck {
    /// The version that the help is of, where it is known.
    pub version: Option<String>,
    /// Names of the files with the help.
    pub help: Vec<String>,
    /// The server's flags.
    pub server: Verdicts,
    /// Those of its own benchmark client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<Verdicts>,
}

/// Flags by verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdicts {
    /// The help has them.
    pub accepted: Vec<String>,
    /// The help has them not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// The help is known not to list everything, and has them not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverifiable: Vec<String>,
}
