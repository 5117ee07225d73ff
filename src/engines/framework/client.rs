//! A framework's own benchmark client.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The command of a framework's own benchmark client: the program, then the words for endpoint, load and output length. `{base_url}`, `{model_id}`, `{tokenizer}`, `{input_len}`, `{output_len}`, `{num_prompts}`, `{warmup}`,
/// `{seed}`, `{rate}`, `{concurrency}`, `{temperature}` and `{extra_body}` are placeholders, and so is the path of
/// its result: `{result}`, or `{folder}` and `{file}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkClient {
    /// Name of its output format: `vllm_bench_serve`.
    pub format: String,
    /// The command, with random prompts of a fixed length and detailed output.
    pub command: Vec<String>,
    /// Words by endpoint path; other endpoints are not supported.
    pub endpoints: BTreeMap<String, Vec<String>>,
    /// Words by load mode.
    pub loads: ClientLoads,
    /// Words for answers of exactly the requested length.
    #[serde(default)]
    pub exact_length: Vec<String>,
    /// Words for answers of natural length.
    #[serde(default)]
    pub own_length: Vec<String>,
}

/// The words for each load mode.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientLoads {
    /// Open loop, at a rate.
    pub open: Vec<String>,
    /// Closed loop, at a concurrency.
    pub closed: Vec<String>,
    /// All at once.
    pub burst: Vec<String>,
}
