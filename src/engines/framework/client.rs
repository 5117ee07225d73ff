//! A framework's own benchmark client.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How a framework's own benchmark client is called: the command, then the words for the endpoint, the load and the length
/// of answers. `{base_url}`, `{model_id}`, `{tokenizer}`, `{input_len}`, `{output_len}`, `{num_prompts}`, `{warmup}`,
/// `{seed}`, `{rate}`, `{concurrency}`, `{temperature}` and `{extra_body}` are words of their own, and so is where it is to
/// leave its result: `{result}`, or `{folder}` and `{file}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameworkClient {
    /// What its output is called: `vllm_bench_serve`.
    pub format: String,
    /// The command, with random prompts of a fixed length and all details on.
    pub command: Vec<String>,
    /// By the path of the endpoint; one that is not there it does not speak.
    pub endpoints: BTreeMap<String, Vec<String>>,
    /// By how requests arrive.
    pub loads: ClientLoads,
    /// For answers of exactly the asked length.
    #[serde(default)]
    pub exact_length: Vec<String>,
    /// For answers that end by themselves.
    #[serde(default)]
    pub own_length: Vec<String>,
}

/// The words for each way in which requests arrive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientLoads {
    /// At a rate.
    pub open: Vec<String>,
    /// So many in flight.
    pub closed: Vec<String>,
    /// All at once.
    pub burst: Vec<String>,
}
