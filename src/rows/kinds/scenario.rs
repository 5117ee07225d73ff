//! Scenarios: the prompts and outputs that are requested of every candidate.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::RunLength;
use crate::rows::words::{DatasetKind, LengthReason};

/// Maximum number of requests of a run: their prompts are made before it begins.
pub const MAX_REQUESTS: u32 = 1_000_000;
/// Maximum number of tokens of a prompt.
pub const MAX_PROMPT_TOKENS: u32 = 10_000_000;
/// Maximum number of tokens of an answer: the time of each is stored until its end.
pub const MAX_OUTPUT_TOKENS: u32 = 1 << 18;
/// Maximum number of turns of a conversation.
pub const MAX_TURNS: u32 = 1000;

/// One scenario of the workload: an aligned pair of lengths, or a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Scenario {
    /// Its name in the plan: `chat`.
    pub name: String,
    /// `random`, `shared_prefix`, `multi_turn`, or the plan's word for its file: `sharegpt`, `mooncake`, ….
    pub kind: DatasetKind,
    /// Prompt tokens; for a dataset their median, for `multi_turn` those that each turn adds.
    pub input_len: u32,
    /// Output tokens; for a dataset their median.
    pub output_len: u32,
    /// Lengths are drawn uniformly from length × (1 − ratio) to length × (1 + ratio); from 0 to below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_ratio: Option<f64>,
    /// Requests of a group begin with the same tokens, which count as part of `input_len`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_prefix: Option<SharedPrefix>,
    /// Turns of a session: each resends the full history, after the previous turn has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    /// Pause between the end of a turn and the next turn, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_s: Option<f64>,
    /// The file with the prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Dataset>,
}

/// The prefix that the prompts of a group share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SharedPrefix {
    /// Its length, tokens.
    pub tokens: u32,
    /// Number of different prefixes.
    pub groups: u32,
}

/// A file of prompts, and the facts about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dataset {
    /// Its path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Number of rows that can be sent.
    pub rows: u32,
    /// 95th percentile of the prompt tokens.
    pub input_len_p95: u32,
    /// 95th percentile of the output tokens.
    pub output_len_p95: u32,
    /// Largest sum of prompt and output tokens of a row.
    pub longest: u32,
    /// Some of these counts are estimated as a quarter of the characters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Some prompt is a list of messages, which only a chat endpoint accepts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chat: bool,
    /// Rows may be sent to one server again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix_reuse: bool,
    /// Only the lengths of its prompts are known: their text is generated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub synthetic: bool,
    /// Output tokens of rows that do not specify them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_output_len: Option<u32>,
    /// What rows may contain besides text, because every framework of the plan accepts it: `images`, `tools`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<String>,
    /// Requests per second of its timestamps.
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
    /// Seeded random prompts of these lengths.
    #[must_use]
    pub fn random(name: &str, input_len: u32, output_len: u32) -> Self {
        Self {
            name: name.into(),
            kind: DatasetKind::Random,
            input_len,
            output_len,
            range_ratio: None,
            shared_prefix: None,
            turns: None,
            think_s: None,
            dataset: None,
        }
    }

    /// True if the text of its prompts is generated: of a trace with lengths alone, too.
    #[must_use]
    pub fn is_made_up(&self) -> bool {
        self.dataset.as_ref().is_none_or(|dataset| dataset.synthetic)
    }

    /// Maximum number of tokens of one request, prompt and output; `None` for a file that has not been read yet.
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

    /// True if prompts share prefixes on purpose: cache hits are then part of the measurement.
    #[must_use]
    pub fn reuses_prefixes(&self) -> bool {
        self.shared_prefix.is_some()
            || self.turns.is_some_and(|turns| turns > 1)
            || self.dataset.as_ref().is_some_and(|dataset| dataset.prefix_reuse)
    }

    /// The flags of `bench-load --url` that request this scenario, with their values.
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

    /// True if there are prompts for `n` more requests after `sent` rows of its dataset; generated prompts never run
    /// out.
    #[must_use]
    pub fn has_prompts_for(&self, sent: usize, n: u32) -> bool {
        let enough =
            |dataset: &Dataset| dataset.prefix_reuse || dataset.synthetic || sent + n as usize <= dataset.rows as usize;
        self.dataset.as_ref().is_none_or(enough)
    }

    /// The length of a run after `sent` rows of its dataset went to a server: no more requests than there are rows left, but at
    /// least `asked`.
    #[must_use]
    pub fn limited(&self, length: RunLength, sent: usize, asked: u32) -> RunLength {
        let left = self.dataset.as_ref().map_or(0, |dataset| (dataset.rows as usize).saturating_sub(sent));
        let most = u32::try_from(left).unwrap_or(u32::MAX).max(asked);
        if self.has_prompts_for(sent, length.requests) || most >= length.requests {
            return length;
        }
        let due_s = length.due_s.map(|due| due * f64::from(most) / f64::from(length.requests));
        RunLength { requests: most, decided_by: LengthReason::DataSet, due_s, ..length }
    }

    /// True where the switch `--prefix-reuse` belongs to these flags.
    #[must_use]
    pub fn prefix_reuse(&self) -> bool {
        self.dataset.as_ref().is_some_and(|dataset| dataset.prefix_reuse && !dataset.synthetic)
    }

    /// Everything that determines the prompts, except where a file is stored.
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
