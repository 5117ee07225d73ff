//! Rows of traces: arrival times and lengths, without a prompt, under the names of their publishers.

use serde_json::{Map, Value, json};

use crate::base::digest;

/// Names of a prompt's length, of an answer's length and of the arrival in public traces, and ours.
const NAMES: [(&str, &str); 12] = [
    ("ContextTokens", "input_length"),
    ("GeneratedTokens", "output_length"),
    ("TIMESTAMP", "timestamp"),
    ("Request tokens", "input_length"),
    ("Response tokens", "output_length"),
    ("num_prefill_tokens", "input_length"),
    ("num_decode_tokens", "output_length"),
    ("prompt_len", "input_length"),
    ("isl", "input_length"),
    ("ISL", "input_length"),
    ("osl", "output_length"),
    ("OSL", "output_length"),
];
/// Names of an arrival in seconds.
const SECONDS: [&str; 3] = ["Timestamp", "arrived_at", "arrival_time"];
/// Names of lengths, by which a row without a prompt is one of a trace.
const LENGTHS: [&str; 4] = ["input_length", "input_len", "prompt_tokens", "input_tokens"];
const OUTPUTS: [&str; 4] = ["output_length", "output_len", "completion_tokens", "output_tokens"];

/// Blocks of 16 tokens of Qwen's traces (alibaba-edu/qwen-bailian-usagetraces-anon) that make one of ours.
const SMALL_BLOCKS: usize = 32;

/// A row of Qwen's traces, whose times are seconds and whose blocks have 16 tokens. A block of ours is equal if all its parts are.
fn qwen(row: &mut Map<String, Value>) {
    if !row.contains_key("parent_chat_id") {
        return;
    }
    if let Some(seconds) = row.get("timestamp").and_then(Value::as_f64) {
        row.insert("timestamp".into(), json!(seconds * 1000.0));
    }
    if let Some(Value::Array(ids)) = row.get("hash_ids") {
        let block = |part: &[Value]| {
            let digest = digest::sha256(Value::from(part).to_string().as_bytes());
            u64::from_str_radix(&digest[..12], 16).unwrap_or_default()
        };
        let blocks: Vec<u64> = ids.chunks_exact(SMALL_BLOCKS).map(block).collect();
        row.insert("hash_ids".into(), json!(blocks));
    }
    // Its canonical row has our units.
    row.remove("parent_chat_id");
}

/// The row under our names; a trace's row without `hash_ids` gets an empty list of them: all of its content is its own.
pub fn trace(mut row: Map<String, Value>) -> Map<String, Value> {
    qwen(&mut row);
    for (theirs, ours) in NAMES {
        if !row.contains_key(ours)
            && let Some(value) = row.remove(theirs)
        {
            row.insert(ours.into(), value);
        }
    }
    for name in SECONDS {
        let seconds = row.get(name).and_then(|at| at.as_f64().or_else(|| at.as_str()?.trim().parse().ok()));
        if let Some(seconds) = seconds.filter(|_| !row.contains_key("timestamp")) {
            row.remove(name);
            row.insert("timestamp".into(), json!(seconds * 1000.0));
        }
    }
    let has = |names: &[&str]| names.iter().any(|name| row.get(*name).is_some_and(|n| n.is_number() || n.is_string()));
    let asks =
        ["prompt", "messages", "conversations", "conversation", "instruction", "question", "query", "input", "body"];
    if has(&LENGTHS) && has(&OUTPUTS) && !row.contains_key("hash_ids") && !asks.iter().any(|key| row.contains_key(*key))
    {
        row.insert("hash_ids".into(), json!([]));
    }
    row
}
