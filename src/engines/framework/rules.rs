//! Known limitations: fixed values, values that need certain GPUs, and values excluded from searches unless a plan allows
//! them.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::engines::architecture::ModelArchitecture;
use crate::engines::gpu_model::{GpuModel, words};

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

/// Values of knobs that need a GPU or another model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The knobs.
    pub knobs: Vec<String>,
    /// The values; a single one needs no list. Empty: any value.
    #[serde(default, alias = "value", deserialize_with = "one_or_many")]
    pub values: Vec<Value>,
    /// Values that it does not apply to.
    #[serde(default)]
    pub except: Vec<Value>,
    /// Only for models of these architectures or with these traits; empty: for all.
    #[serde(default)]
    pub models: Vec<String>,
    /// GPU families by name, compared without case, as part of the GPU's name.
    #[serde(default)]
    pub gpus: Vec<String>,
    /// First numbers of the CUDA compute capabilities of GPUs: 9 for Hopper. Without this and `gpus` no GPU helps.
    #[serde(default)]
    pub capabilities: Vec<u32>,
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
    /// Not these values.
    #[serde(default)]
    pub except: Vec<Value>,
    /// Only for models of these architectures or with these traits; empty: for all.
    #[serde(default)]
    pub models: Vec<String>,
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
    /// True if it applies to this value of this knob, with this model. It never applies to null and false, which leave a knob
    /// out.
    #[must_use]
    pub fn hits<'a>(
        &self,
        knob: &str,
        value: &Value,
        architecture: impl FnOnce() -> Option<&'a ModelArchitecture>,
    ) -> bool {
        let subject =
            RuleSubject { knobs: &self.knobs, values: &self.values, except: &self.except, models: &self.models };
        subject.has(knob, value, architecture)
            && self.above.is_none_or(|limit| value.as_f64().is_some_and(|n| n > limit))
    }
}

impl Requirement {
    /// True if it is about this value of this knob, with this model.
    #[must_use]
    pub fn hits<'a>(
        &self,
        knob: &str,
        value: &Value,
        architecture: impl FnOnce() -> Option<&'a ModelArchitecture>,
    ) -> bool {
        let subject =
            RuleSubject { knobs: &self.knobs, values: &self.values, except: &self.except, models: &self.models };
        subject.has(knob, value, architecture)
    }

    /// True if some GPU meets it.
    #[must_use]
    pub fn needs_gpu(&self) -> bool {
        !self.gpus.is_empty() || !self.capabilities.is_empty()
    }

    /// Whether a GPU meets it, by its name; `None` if that is not known.
    #[must_use]
    pub fn allows(&self, gpu: &str) -> Option<bool> {
        let words = words(gpu);
        if self.gpus.iter().any(|family| words.contains(&family.to_ascii_uppercase())) {
            return Some(true);
        }
        if self.capabilities.is_empty() {
            return Some(false);
        }
        let major = GpuModel::named(gpu)?.major();
        Some(major.is_some_and(|major| self.capabilities.contains(&major)))
    }
}

/// What a rule is about.
struct RuleSubject<'a> {
    knobs: &'a [String],
    /// Empty: any value.
    values: &'a [Value],
    except: &'a [Value],
    /// Empty: for all models.
    models: &'a [String],
}

impl RuleSubject<'_> {
    /// True if this value of this knob, with this model, is among it. Null and false leave a knob out. A rule for all models applies
    /// where the architecture is not known too, and does not ask for it.
    fn has<'a>(&self, knob: &str, value: &Value, architecture: impl FnOnce() -> Option<&'a ModelArchitecture>) -> bool {
        let is_model = |known: &ModelArchitecture| self.models.iter().any(|word| known.is(word));
        self.knobs.iter().any(|known| known == knob)
            && !matches!(value, Value::Null | Value::Bool(false))
            && (self.values.is_empty() || self.values.contains(value))
            && !self.except.contains(value)
            && (self.models.is_empty() || architecture().is_some_and(is_model))
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<Value>, D::Error> {
    Ok(match Value::deserialize(source)? {
        Value::Array(values) => values,
        value => vec![value],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_requirement_is_met_by_a_gpus_capability() {
        let requires = json!({"knobs": ["a"], "value": "fa3", "capabilities": [8, 9], "gpus": ["MI300X"], "reason": "", "instead": ""});
        let rule: Requirement = serde_json::from_value(requires).unwrap();
        assert!(rule.hits("a", &"fa3".into(), || None) && !rule.hits("a", &"fa4".into(), || None));
        let allows = |gpu: &str| rule.allows(gpu);
        assert_eq!((allows("NVIDIA A100-SXM4-80GB"), allows("NVIDIA H200")), (Some(true), Some(true)));
        assert_eq!(
            (allows("NVIDIA B200"), allows("AMD MI300X"), allows("AMD MI250X")),
            (Some(false), Some(true), Some(false))
        );
        assert_eq!(allows("Tesla of tomorrow"), None);
    }

    #[test]
    fn a_rule_for_models_needs_a_known_model() {
        let rule = json!({"allow": "dense", "knobs": ["a"], "except": ["dsa"], "models": ["dsa"], "reason": ""});
        let rule: SearchRule = serde_json::from_value(rule).unwrap();
        let hits = |value: &str, model: &str| rule.hits("a", &value.into(), || ModelArchitecture::named(model));
        assert!(hits("fa3", "zai-org/GLM-5-FP8") && !hits("dsa", "zai-org/GLM-5-FP8"));
        assert!(!hits("fa3", "deepseek-ai/DeepSeek-V3") && !hits("fa3", "m"));
    }
}
