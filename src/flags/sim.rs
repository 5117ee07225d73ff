//! The command line of bench-sim.

use clap::Parser;

use super::{Common, Program};
use crate::base::version::VERSION;

const AFTER: &str = "\
Examples:
  bench-sim --port 8000 --max-num-seqs 32
  curl -N http://127.0.0.1:8000/v1/completions -d '{\"prompt\": \"one two\", \"max_tokens\": 8, \"stream\": true}'
  bench-load --url http://127.0.0.1:8000 --scenario chat=200:40 --concurrency 4

A step takes base + prefill-token · prompt tokens + decode-seq · sequences + kv-token · KV tokens of the batch. The KV
cache has memory-tokens − 2 · max-num-batched-tokens − 64 · max-num-seqs tokens; when it cannot hold one sequence of
max-model-len the engine is out of memory.

Exit status:
  0  ended by SIGTERM or SIGINT
  2  usage
  1  out of memory, or the port is taken";

/// A simulated OpenAI-compatible serving engine
#[derive(Debug, Parser)]
#[command(
    name = "bench-sim",
    version = VERSION,
    long_about = "A simulated OpenAI-compatible serving engine: continuous batching with a modelled GPU step.\n\n\
                  Its answers are words without meaning and its times are made up: nothing measured on it is a measurement of a real engine.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Model name
    #[arg(long, default_value = "sim")]
    pub model: String,
    /// Name at the endpoint, where it is not the model's
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Address to bind
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Most sequences that run at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_num_seqs: u32,
    /// Most tokens that a step computes
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_num_batched_tokens: u32,
    /// Split prompts over several steps, beside the decodes
    #[arg(long)]
    pub enable_chunked_prefill: bool,
    /// Most tokens of prompt and answer
    #[arg(long, value_name = "TOKENS", default_value_t = 8192)]
    pub max_model_len: u32,
    /// Memory beside the weights, as tokens of KV cache
    #[arg(long, value_name = "TOKENS", default_value_t = 65536)]
    pub memory_tokens: u32,
    /// Tokens that the KV cache holds, instead of what the memory leaves
    #[arg(long, value_name = "TOKENS")]
    pub kv_cache_tokens: Option<u32>,
    /// Time of every step, µs
    #[arg(long, value_name = "US", default_value_t = 4000.0, value_parser = micros)]
    pub step_base_us: f64,
    /// Time per prompt token, µs
    #[arg(long, value_name = "US", default_value_t = 20.0, value_parser = micros)]
    pub prefill_token_us: f64,
    /// Time per decoding sequence, µs
    #[arg(long, value_name = "US", default_value_t = 60.0, value_parser = micros)]
    pub decode_seq_us: f64,
    /// Time per KV token that a step reads, ns
    #[arg(long, value_name = "NS", default_value_t = 20.0, value_parser = micros)]
    pub kv_token_ns: f64,
    /// Time until the model is loaded, ms
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub load_ms: u64,
    /// Decides where answers end that may end by themselves
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

impl Program for Args {
    const NAME: &'static str = "bench-sim";
    fn common(&self) -> &Common {
        &self.common
    }
}

impl Args {
    /// Tokens that the KV cache holds: what activations and graphs leave of the memory.
    #[must_use]
    pub fn kv_capacity(&self) -> u64 {
        let taken = 2 * u64::from(self.max_num_batched_tokens) + 64 * u64::from(self.max_num_seqs);
        let left = u64::from(self.memory_tokens).saturating_sub(taken);
        self.kv_cache_tokens.map_or(left, u64::from)
    }
}

fn micros(text: &str) -> Result<f64, String> {
    let time: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if time.is_finite() && time >= 0.0 { Ok(time) } else { Err("a time is at least 0".into()) }
}
