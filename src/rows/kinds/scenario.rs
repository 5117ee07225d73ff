//! What is asked of a server, again and again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One scenario of the workload: an aligned pair of lengths, or a data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Scenario {
    /// Its name in the plan: `chat`.
    pub name: String,
    /// `random`, `shared_prefix`, `multi_turn`, or what the plan calls its file: `sharegpt`, `mooncake`, ….
    pub kind: String,
    /// Prompt tokens; of a data set its median, of `multi_turn` those that each turn adds.
    pub input_len: u32,
    /// Output tokens; of a data set its median.
    pub output_len: u32,
    /// Lengths are drawn evenly from length × (1 − ratio) to length × (1 + ratio); from 0 to below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_ratio: Option<f64>,
    /// Requests of a group begin with the same tokens, which are part of `input_len`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<SharedPrefix>,
    /// Turns of a session: each sends the whole talk so far, once the one before has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// Seconds from the end of a turn to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_s: Option<f64>,
    /// The file that prompts are taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
}

/// The common beginning of the prompts of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SharedPrefix {
    /// Its tokens.
    pub tokens: u32,
    /// How many different ones there are.
    pub groups: u32,
}

/// A file of prompts, and what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dataset {
    /// Its path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Rows that can be sent.
    pub rows: u32,
    /// 95th percentile of the prompt tokens.
    pub input_len_p95: u32,
    /// 95th percentile of the output tokens.
    pub output_len_p95: u32,
    /// Largest sum of prompt and output tokens of a row.
    pub longest: u32,
    /// Some of these counts are estimates: a quarter of the characters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Some prompt is a list of messages, which only a chat endpoint takes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chat: bool,
    /// Rows may be sent to one server again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix_reuse: bool,
    /// Only the shapes of its prompts are known: their text is made up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synthetic: bool,
    /// Output tokens of a row that says nothing about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_output_len: Option<u32>,
    /// What rows may have beside text, because every framework of the plan takes it: `images`, `tools`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<String>,
    /// Requests per second of its own time stamps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Dataset {
    /// The name of its file.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl Scenario {
    /// Prompts of the seed with these lengths.
    #[must_use]
    pub fn random(name: &str, input_len: u32, output_len: u32) -> Self {
        Self {
            name: name.into(),
            kind: "random".into(),
            input_len,
            output_len,
            range_ratio: None,
            shared_prefix: None,
            turns: None,
            think_s: None,
            dataset: None,
        }
    }

    /// The most tokens that prompt and answer of one request have together; `None` of a file that was not read yet.
    #[must_use]
    pub fn longest(&self) -> Option<u64> {
        if let Some(dataset) = &self.dataset {
            return (dataset.longest > 0).then_some(dataset.longest.into());
        }
        let turn = u64::from(self.input_len) + u64::from(self.output_len);
        let turns = u64::from(self.turns.unwrap_or(1).max(1));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "tokens"
        )]
        let longest = ((turn * turns) as f64 * (1.0 + self.range_ratio.unwrap_or(0.0))).ceil() as u64;
        Some(longest)
    }

    /// True where prompts share their beginnings on purpose: what a cache does is then part of the measurement.
    #[must_use]
    pub fn reuses_prefixes(&self) -> bool {
        self.shared_prefix.is_some()
            || self.turns.is_some_and(|turns| turns > 1)
            || self.dataset.as_ref().is_some_and(|dataset| dataset.prefix_reuse)
    }

    /// The flags of `bench-load --url` that ask for this scenario, with their values.
    #[must_use]
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let mut flags = Vec::new();
        match &self.dataset {
            Some(dataset) => {
                flags.push(("--dataset", dataset.path.clone()));
                flags.extend(dataset.default_output_len.map(|n| ("--output-len", n.to_string())));
            }
            None => flags.push(("--scenario", format!("{}={}:{}", self.name, self.input_len, self.output_len))),
        }
        flags.extend(self.range_ratio.map(|ratio| ("--range-ratio", ratio.to_string())));
        if let Some(prefix) = self.shared_prefix {
            flags.push(("--prefix", prefix.tokens.to_string()));
            flags.push(("--groups", prefix.groups.to_string()));
        }
        flags.extend(self.turns.map(|turns| ("--turns", turns.to_string())));
        flags.extend(self.think_s.map(|think| ("--think", think.to_string())));
        flags
    }

    /// True where `n` more requests have prompts after `sent` rows of its data set went to a server; random prompts never end.
    #[must_use]
    pub fn has_prompts_for(&self, sent: usize, n: u32) -> bool {
        let enough =
            |dataset: &Dataset| dataset.prefix_reuse || dataset.synthetic || sent + n as usize <= dataset.rows as usize;
        self.dataset.as_ref().is_none_or(enough)
    }

    /// True where the switch `--prefix-reuse` belongs to these flags.
    #[must_use]
    pub fn prefix_reuse(&self) -> bool {
        self.dataset.as_ref().is_some_and(|dataset| dataset.prefix_reuse && !dataset.synthetic)
    }

    /// What decides the prompts: everything but where a file lies.
    ///
    /// # Panics
    /// Never: a scenario is an object with string keys.
    #[must_use]
    pub fn identity(&self) -> Value {
        let mut value = json!(self);
        if let Some(dataset) = value.get_mut("dataset").and_then(Value::as_object_mut) {
            let deciding = ["sha256", "prefix_reuse", "default_output_len", "takes"];
            dataset.retain(|key, _| deciding.contains(&key.as_str()));
        }
        value
    }
}
