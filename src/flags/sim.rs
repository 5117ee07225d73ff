//! The command line of bench-sim.

use clap::Parser;

use super::{Common, Program};
use crate::base::version::VERSION;

const AFTER: &str = "\
Examples:
  bench-sim --port 8000 --max-num-seqs 32
  bench-sim --port 8000 --spec-tokens 3 --spec-acceptance 0.7     speculative decoding, 1 + 0.7 + 0.49 + 0.343 tokens a step
  curl -N http://127.0.0.1:8000/v1/completions -d '{\"prompt\": \"one two\", \"max_tokens\": 8, \"stream\": true}'
  bench-load --url http://127.0.0.1:8000 --scenario chat=200:40 --concurrency 4

A step takes base + prefill-token · prompt tokens + decode-seq · sequences + kv-token · KV tokens + draft-token · drafted \
tokens of the batch. The KV cache has memory-tokens − 2 · max-num-batched-tokens − 64 · max-num-seqs tokens; if it cannot hold one sequence of \
max-model-len, the engine is out of memory.

Exit status:
  0  ended by SIGTERM or SIGINT
  1  out of memory, or the port is in use
  2  bad usage";

/// A simulated OpenAI-compatible serving engine
#[derive(Debug, Parser)]
#[command(
    name = "bench-sim",
    version = VERSION,
    long_about = "A simulated OpenAI-compatible serving engine: continuous batching with a modelled GPU step.\n\n\
                  It generates meaningless words and simulates the time they take: its measurements say nothing about a real engine.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Model name
    #[arg(long, default_value = "sim")]
    pub model: String,
    /// Model name served by the endpoint, if different from --model
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Address to bind
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port; 0 picks a free one
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Maximum number of concurrent sequences
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_num_seqs: u32,
    /// Maximum number of tokens processed per step
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_num_batched_tokens: u32,
    /// Split prefills into chunks and batch them with decodes
    #[arg(long)]
    pub enable_chunked_prefill: bool,
    /// Context length (prompt and output)
    #[arg(long, value_name = "TOKENS", default_value_t = 8192)]
    pub max_model_len: u32,
    /// Memory left after loading the weights, in tokens of KV cache
    #[arg(long, value_name = "TOKENS", default_value_t = 65536)]
    pub memory_tokens: u32,
    /// KV cache size in tokens, overriding the size computed from the memory
    #[arg(long, value_name = "TOKENS")]
    pub kv_cache_tokens: Option<u32>,
    /// Base time of a step, in µs
    #[arg(long, value_name = "US", default_value_t = 4000.0, value_parser = micros)]
    pub step_base_us: f64,
    /// Time per prompt token, in µs
    #[arg(long, value_name = "US", default_value_t = 20.0, value_parser = micros)]
    pub prefill_token_us: f64,
    /// Time per decoding sequence, in µs
    #[arg(long, value_name = "US", default_value_t = 60.0, value_parser = micros)]
    pub decode_seq_us: f64,
    /// Time per KV token read, in ns
    #[arg(long, value_name = "NS", default_value_t = 20.0, value_parser = micros)]
    pub kv_token_ns: f64,
    /// Speculative decoding: number of tokens that each sequence drafts per step; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=64))]
    pub spec_tokens: u32,
    /// Chance that a drafted token is accepted, if those before it were
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = share)]
    pub spec_acceptance: f64,
    /// Force this mean number of tokens per step, the model's own included, instead of --spec-acceptance (for benchmarks)
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    pub spec_acceptance_length: Option<f64>,
    /// Time per drafted token, in µs
    #[arg(long, value_name = "US", default_value_t = 20.0, value_parser = micros)]
    pub draft_token_us: f64,
    /// Time to load the model, in ms
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub load_ms: u64,
    /// Seed of the output lengths of requests that may end early, and of the drafts that are accepted
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
    /// Size of the KV cache: the memory without activations and graphs, tokens.
    #[must_use]
    pub fn kv_capacity(&self) -> u64 {
        let taken = 2 * u64::from(self.max_num_batched_tokens) + 64 * u64::from(self.max_num_seqs);
        let left = u64::from(self.memory_tokens).saturating_sub(taken);
        self.kv_cache_tokens.map_or(left, u64::from)
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a chance must be from 0 to 1".into()) }
}

fn length(text: &str) -> Result<f64, String> {
    let length: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if length.is_finite() && length >= 1.0 { Ok(length) } else { Err("a step has at least 1 token".into()) }
}

fn micros(text: &str) -> Result<f64, String> {
    let time: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if time.is_finite() && time >= 0.0 { Ok(time) } else { Err("a time must be at least 0".into()) }
}
