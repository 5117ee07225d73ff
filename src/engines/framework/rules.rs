//! What is known to go wrong: values that are fixed, that need another GPU, that stay out of a search unless a plan lifts
//! their rule.

use serde::Deserialize;
use serde_json::Value;

/// A knob with one allowed value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedKnob {
    /// The value.
    pub value: Value,
    /// Why any other is refused.
    pub reason: String,
    /// A model folder with one of these files is for another value: an engine that was built.
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
    /// Why.
    pub reason: String,
    /// What to use instead.
    pub instead: String,
}

/// What stays out of a plan's search unless `search.allow` lifts it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchRule {
    /// The word of `search.allow` that lifts it: `memory`, `dbo`.
    pub allow: String,
    /// The knobs that it is about.
    pub knobs: Vec<String>,
    /// Whether it holds in the search alone.
    #[serde(default, rename = "where")]
    pub place: RuleScope,
    /// Only numbers above this.
    #[serde(default)]
    pub above: Option<f64>,
    /// Only these values.
    #[serde(default)]
    pub values: Vec<Value>,
    /// What follows.
    #[serde(default)]
    pub then: RuleEffect,
    /// Why.
    pub reason: String,
}

/// Where a rule holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleScope {
    /// In the base and in the search space.
    #[default]
    Any,
    /// In the search space: the base may have it.
    Search,
}

/// What follows from a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// The candidate is not run.
    #[default]
    Skip,
    /// It is run as a flow check, which is not ranked with measurements.
    Smoke,
}

impl SearchRule {
    /// True when it is about this value of this knob. Null and false leave a knob out, so no rule is about them.
    #[must_use]
    pub fn hits(&self, knob: &str, value: &Value) -> bool {
        let on = !value.is_null() && *value != Value::Bool(false);
        on && self.knobs.iter().any(|known| known == knob)
            && (self.values.is_empty() || self.values.contains(value))
            && self.above.is_none_or(|limit| value.as_f64().is_some_and(|n| n > limit))
    }
}

impl Requirement {
    /// True when this value of this knob needs one of the GPUs.
    #[must_use]
    pub fn hits(&self, knob: &str, value: &Value) -> bool {
        *value == self.value && self.knobs.iter().any(|known| known == knob)
    }

    /// True when the GPU is of one of the families, by the words of its name.
    #[must_use]
    pub fn allows(&self, gpu: &str) -> bool {
        let words: Vec<String> = gpu.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_uppercase).collect();
        self.gpus.iter().any(|family| words.contains(&family.to_ascii_uppercase()))
    }
}
