//! Known limitations: fixed values, values that need certain GPUs, and values excluded from searches unless a plan allows
//! them.

use serde::Deserialize;
use serde_json::Value;

/// A knob with one allowed value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedKnob {
    /// The value.
    pub value: Value,
    /// Why other values are refused.
    pub reason: String,
    /// A model folder with one of these files contains a built engine, which needs another value.
    #[serde(default)]
    pub model_files: Vec<String>,
}

/// A knob's value that needs one of these GPUs, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The knobs.
    pub knobs: Vec<String>,
    /// The value.
    pub value: Value,
    /// GPU families by name, compared without case, as part of the GPU's name.
    pub gpus: Vec<String>,
    /// The reason, for messages.
    pub reason: String,
    /// What to use instead.
    pub instead: String,
}

/// Values that are excluded unless `search.allow` lifts the rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRule {
    /// The word of `search.allow` that lifts it: `memory`, `dbo`.
    pub allow: String,
    /// The knobs it applies to.
    pub knobs: Vec<String>,
    /// Whether it applies only to the search.
    #[serde(default, rename = "where")]
    pub place: RuleScope,
    /// Only numbers above this.
    #[serde(default)]
    pub above: Option<f64>,
    /// Only these values.
    #[serde(default)]
    pub values: Vec<Value>,
    /// Its effect.
    #[serde(default)]
    pub then: RuleEffect,
    /// The reason, for messages.
    pub reason: String,
}

/// Where a rule applies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleScope {
    /// To the base and the search space.
    #[default]
    Any,
    /// Only to the search space.
    Search,
}

/// The effect of a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// The candidate is not run.
    #[default]
    Skip,
    /// It is run as a smoke test, which is not ranked with measurements.
    Smoke,
}

impl SearchRule {
    /// True if it applies to this value of this knob. It never applies to null and false, which leave a knob out.
    #[must_use]
    pub fn hits(&self, knob: &str, value: &Value) -> bool {
        let on = !value.is_null() && *value != Value::Bool(false);
        on && self.knobs.iter().any(|known| known == knob)
            && (self.values.is_empty() || self.values.contains(value))
            && self.above.is_none_or(|limit| value.as_f64().is_some_and(|n| n > limit))
    }
}

impl Requirement {
    /// True if this value of this knob needs one of the GPUs.
    #[must_use]
    pub fn hits(&self, knob: &str, value: &Value) -> bool {
        *value == self.value && self.knobs.iter().any(|known| known == knob)
    }

    /// True if the GPU belongs to one of the families, by the words of its name.
    #[must_use]
    pub fn allows(&self, gpu: &str) -> bool {
        let words: Vec<String> = gpu.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_uppercase).collect();
        self.gpus.iter().any(|family| words.contains(&family.to_ascii_uppercase()))
    }
}
