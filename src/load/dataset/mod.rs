//! Datasets: rows in the usual formats, read into one form.
//!
//! The canonical row is `{"prompt": "…" or [{"role", "content"}, …], "output_len": N}`, with `input_len`,
//! `extra_request_body`, `session`, `timestamp` (ms) and `metadata` if known. Unknown keys are
//! preserved and never sent.

mod container;
mod csv;
mod read;
mod shapes;
mod talk;
mod trace;

use serde_json::{Value, json};

use crate::metrics::sample::percentile;
use crate::rows::kinds::{Dataset, Members, Scenario};

pub use self::read::{DatasetFile, ReadOptions, read};

/// Tokens of a block in a Mooncake trace (kvcache-ai/Mooncake, FAST25 traces).
pub const BLOCK: u32 = 512;

/// One row of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetEntry {
    /// The prompt.
    pub prompt: Prompt,
    /// Output tokens.
    pub output_len: u32,
    /// Prompt tokens.
    pub input_len: u32,
    /// At least one of the two is an estimate.
    pub estimated: bool,
    /// Members of this request's body; they take precedence over the plan's.
    pub extra: Members,
    /// Rows of one session are sent one after the other.
    pub session: Option<String>,
    /// Arrival time in its trace, ms.
    pub timestamp: Option<f64>,
    /// All other members of the row, for the canonical file.
    pub rest: Members,
}

/// A prompt of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Text.
    Text(String),
    /// Messages of a chat; the last one is to be answered.
    Messages(Vec<Value>),
    /// Only the shape of the prompt is known: blocks of [`BLOCK`] tokens, with equal numbers for equal content. What the blocks do
    /// not cover has content of its own: without a block all of it.
    Blocks(Vec<u64>),
}

impl DatasetEntry {
    /// The canonical row.
    #[must_use]
    pub fn row(&self) -> Value {
        let mut row = match &self.prompt {
            Prompt::Text(text) => json!({"prompt": text, "output_len": self.output_len}),
            Prompt::Messages(messages) => json!({"prompt": messages, "output_len": self.output_len}),
            Prompt::Blocks(ids) => {
                json!({"input_length": self.input_len, "output_length": self.output_len, "hash_ids": ids})
            }
        };
        if !self.estimated && !matches!(self.prompt, Prompt::Blocks(_)) {
            row["input_len"] = self.input_len.into();
        }
        if !self.extra.is_empty() {
            row["extra_request_body"] = self.extra.clone().into();
        }
        if let Some(session) = &self.session {
            row["session"] = session.as_str().into();
        }
        if let Some(timestamp) = self.timestamp {
            row["timestamp"] = timestamp.into();
        }
        // The other members never replace those that are sent.
        for (key, value) in &self.rest {
            if row.get(key).is_none() {
                row[key] = value.clone();
            }
        }
        row
    }
}

/// Adds the counts and lengths of a file's rows to its scenario.
///
/// # Errors
/// A file without a row that can be sent.
pub fn describe(scenario: &mut Scenario, path: &str, sha256: &str, entries: &[DatasetEntry]) -> Result<(), String> {
    if entries.is_empty() {
        return Err(format!("{path}: no row can be sent"));
    }
    let lengths = |of: &dyn Fn(&DatasetEntry) -> u32| {
        let mut all: Vec<f64> = entries.iter().map(|entry| of(entry).into()).collect();
        all.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two token counts")]
        move |q: f64| percentile(&all, q).unwrap_or(0.0).round() as u32
    };
    let (input, output) = (lengths(&|e| e.input_len), lengths(&|e| e.output_len));
    scenario.input_len = input(50.0);
    scenario.output_len = output(50.0);
    let settings = scenario.dataset.take().unwrap_or_default();
    scenario.dataset = Some(Dataset {
        path: path.into(),
        sha256: sha256.into(),
        rows: u32::try_from(entries.len()).unwrap_or(u32::MAX),
        input_len_p95: input(95.0),
        output_len_p95: output(95.0),
        longest: entries.iter().map(|e| e.input_len.saturating_add(e.output_len)).max().unwrap_or(0),
        estimated: entries.iter().any(|e| e.estimated),
        chat: entries.iter().any(|e| matches!(e.prompt, Prompt::Messages(_))),
        prefix_reuse: settings.prefix_reuse
            || entries.iter().any(|e| matches!(&e.prompt, Prompt::Blocks(ids) if !ids.is_empty())),
        default_output_len: settings.default_output_len,
        takes: settings.takes,
        rate: own_rate(entries),
        synthetic: entries.iter().all(|e| matches!(e.prompt, Prompt::Blocks(_))),
    });
    Ok(())
}

/// Requests per second of the rows' timestamps; `None` if a row has none, or all are equal.
#[allow(clippy::cast_precision_loss, reason = "counts of rows")]
fn own_rate(entries: &[DatasetEntry]) -> Option<f64> {
    let stamps: Option<Vec<f64>> = entries.iter().map(|entry| entry.timestamp).collect();
    let stamps = stamps?;
    let (first, last) =
        (stamps.iter().fold(f64::INFINITY, |a, b| a.min(*b)), stamps.iter().fold(0.0, |a: f64, b| a.max(*b)));
    let rate = entries.len() as f64 / ((last - first) / 1000.0);
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// Estimated tokens of a text: a quarter of its characters, at least one.
#[must_use]
pub fn estimate(text: &str) -> u32 {
    u32::try_from(text.chars().count().div_ceil(4)).unwrap_or(u32::MAX).max(1)
}
