//! Speculative decoding: which settings turn it on, and how a benchmark forces an acceptance length. An acceptance length is the mean
//! number of output tokens per step, the model's own token included.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Framework;
use crate::rows::kinds::Members;

/// The family of its knobs.
const FAMILY: &str = "speculative";

/// What turns speculative decoding on, and what forces an acceptance length.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeculationStyle {
    /// Knobs, or members of their maps: each of them turns it on.
    pub set_by: Vec<String>,
    /// How an acceptance length is forced; absent: not possible.
    #[serde(default)]
    pub force: Option<ForcedAcceptance>,
}

/// Settings that force an acceptance length: in their values `{length}` is that length, and `{drafts}` the number of drafted tokens in
/// it, one less. A switch among them turns on the counters that say what was accepted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForcedAcceptance {
    /// Knobs, or members of their maps.
    #[serde(default)]
    pub flags: BTreeMap<String, Value>,
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl ForcedAcceptance {
    /// The knobs with which this length is forced.
    #[must_use]
    pub fn flags_for(&self, length: f64) -> Members {
        let value = |value: &Value| match value.as_str() {
            Some("{length}") => number(length).parse().map_or(Value::Null, Value::Number),
            Some("{drafts}") => number(length - 1.0).parse().map_or(Value::Null, Value::Number),
            Some(text) => filled(text, length).into(),
            None => value.clone(),
        };
        self.flags.iter().map(|(knob, of)| (knob.clone(), value(of))).collect()
    }

    /// The variables with which it is forced.
    #[must_use]
    pub fn env_for(&self, length: f64) -> BTreeMap<String, String> {
        self.env.iter().map(|(name, value)| (name.clone(), filled(value, length))).collect()
    }
}

/// A length as text, without the dust of a subtraction.
fn number(length: f64) -> String {
    format!("{}", (length * 1e6).round() / 1e6)
}

fn filled(text: &str, length: f64) -> String {
    text.replace("{length}", &number(length)).replace("{drafts}", &number(length - 1.0))
}

impl Framework {
    /// True for a knob of the second stage of a search.
    #[must_use]
    pub fn is_speculative(&self, knob: &str) -> bool {
        let root = knob.split('.').next().unwrap_or(knob);
        let family = self.knobs.get(FAMILY);
        let inside =
            |path: &String| knob.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        family.is_some_and(|family| family.0.iter().any(|(known, _)| known == root))
            || self.speculation.as_ref().is_some_and(|style| style.set_by.iter().any(inside))
    }

    /// True if a server with these flags, whose dotted knobs are in their maps, drafts tokens.
    #[must_use]
    pub fn is_drafting(&self, flags: &Members) -> bool {
        let Some(style) = &self.speculation else { return false };
        style.set_by.iter().any(|path| member(flags, path).is_some_and(|value| is_on(&value)))
    }

    /// The setting of these flags or variables that forces an acceptance length already.
    #[must_use]
    pub fn forced_by(&self, flags: &Members, env: &BTreeMap<String, Option<String>>) -> Option<String> {
        let force = self.speculation.as_ref()?.force.as_ref()?;
        // A switch only turns the counters on.
        let forcing = force.flags.iter().filter(|(_, value)| value.is_string()).map(|(path, _)| path);
        let flag = forcing.into_iter().find(|path| member(flags, path).is_some_and(|value| is_on(&value)));
        flag.or_else(|| force.env.keys().find(|name| env.contains_key(*name))).cloned()
    }
}

/// The value of a knob, or of a member of its map, which may be JSON text.
fn member(flags: &Members, path: &str) -> Option<Value> {
    let mut parts = path.split('.');
    let mut value = flags.get(parts.next()?)?.clone();
    for part in parts {
        if let Some(text) = value.as_str() {
            value = serde_json::from_str(text).ok()?;
        }
        value = value.get(part)?.clone();
    }
    Some(value)
}

/// False for what leaves a knob out, and for words that say so.
fn is_on(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty() && text != "none",
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Array(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::framework::Frameworks;
    use serde_json::json;

    fn members(value: Value) -> Members {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn each_framework_forces_a_length_in_its_own_way() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let forced = |name: &str, length: f64| {
            let force = frameworks.get(name).unwrap().speculation.as_ref().unwrap().force.as_ref()?;
            Some((Value::Object(force.flags_for(length)), json!(force.env_for(length))))
        };
        let vllm = json!({"speculative_config.rejection_sample_method": "synthetic",
                          "speculative_config.synthetic_acceptance_length": 2.8});
        assert_eq!(forced("vllm", 2.8), Some((vllm, json!({}))));
        let sglang = json!({"SGLANG_SIMULATE_ACC_LEN": "2.8", "SGLANG_SIMULATE_ACC_METHOD": "match-expected",
                            "SGLANG_SIMULATE_ACC_TOKEN_MODE": "real-draft-token"});
        assert_eq!(forced("sglang", 2.8), Some((json!({"enable_metrics": true}), sglang)));
        // It counts drafted tokens only.
        let trtllm = json!({"TLLM_SPEC_DECODE_FORCE_NUM_ACCEPTED_TOKENS": "1.8"});
        let counters = json!({"extra_llm_api_options.return_perf_metrics": true});
        assert_eq!(forced("tensorrt_llm", 2.8), Some((counters, trtllm)));
        assert_eq!(forced("llama_cpp", 3.0), Some((json!({"metrics": true, "spec_synth_len": 3}), json!({}))));
        assert_eq!(forced("sim", 2.5), Some((json!({"spec_acceptance_length": 2.5}), json!({}))));
        assert_eq!(forced("tokenspeed", 2.5), None);
    }

    #[test]
    fn drafting_is_seen_in_flags_maps_and_json_text() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let drafts = |name: &str, flags: Value| frameworks.get(name).unwrap().is_drafting(&members(flags));
        assert!(drafts("vllm", json!({"speculative_config": {"method": "mtp"}})));
        assert!(drafts("vllm", json!({"speculative_config": "{\"method\": \"mtp\"}"})));
        assert!(drafts(
            "tensorrt_llm",
            json!({"extra_llm_api_options": {"speculative_config": {"decoding_type": "MTP"}}})
        ));
        assert!(drafts("llama_cpp", json!({"spec_type": "ngram-simple"})) && drafts("sim", json!({"spec_tokens": 2})));
        assert!(!drafts("llama_cpp", json!({"spec_type": "none"})) && !drafts("sim", json!({"spec_tokens": 0})));
        assert!(
            !drafts("vllm", json!({"max_num_seqs": 4}))
                && !drafts("tensorrt_llm", json!({"extra_llm_api_options": "x.yaml"}))
        );
        let vllm = frameworks.get("vllm").unwrap();
        assert!(
            vllm.is_speculative("speculative_config.num_speculative_tokens") && !vllm.is_speculative("max_num_seqs")
        );
        let trtllm = frameworks.get("tensorrt_llm").unwrap();
        assert!(trtllm.is_speculative("extra_llm_api_options.speculative_config.max_draft_len"));
        assert!(!trtllm.is_speculative("extra_llm_api_options.kv_cache_config"));
        let by_hand = members(json!({"speculative_config": {"synthetic_acceptance_length": 3}}));
        let none = BTreeMap::new();
        assert_eq!(vllm.forced_by(&by_hand, &none).as_deref(), Some("speculative_config.synthetic_acceptance_length"));
        let env = BTreeMap::from([("SGLANG_SIMULATE_ACC_LEN".to_string(), Some("3".to_string()))]);
        let sglang = frameworks.get("sglang").unwrap();
        assert_eq!(sglang.forced_by(&Members::new(), &env).as_deref(), Some("SGLANG_SIMULATE_ACC_LEN"));
        assert_eq!(sglang.forced_by(&members(json!({"enable_metrics": true})), &none), None);
    }
}
