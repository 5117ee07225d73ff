//! The command line of bench-normalize.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{Common, Program};
use crate::base::version::VERSION;
use crate::normalize::import::NamePattern;

const AFTER: &str = "\
Examples:
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --concurrency 8 | bench-normalize | bench-rank
  bench-normalize raw/*.jsonl > results.jsonl
  bench-normalize vllm.json sglang.jsonl guidellm.json --set scenario=chat | bench-rank --allow-mixed
                                                       one ranking of results of several other clients
  bench-normalize runs --name '{framework}-seqs{max_num_seqs}-{scenario}-c{concurrency}-run{repeat}.json'
                                                       candidate, scenario and load by the names of the files
  bench-normalize sweep/results                        every run of a `vllm bench sweep` folder
  bench-normalize raw/*.jsonl --to llm-d | head -1 > report.yaml

Several files are attempts in the order given: for a unit that was run more than once, the latest attempt counts. A run \
without an end is failed (interrupted). The SLA is recomputed for every run, and for result rows of other tools that have \
thresholds: a row whose verdict contradicts its own numbers is reported. A row with `passed` but no thresholds is believed.

Results of other clients are recognized by their keys: vllm bench serve and sweep, sglang.bench_serving and \
auto_benchmark, tokenspeed bench serve, tensorrt_llm benchmark_serving, guidellm, aiperf, genai-perf, \
inference-benchmarker, inference-perf, evalscope perf, InferenceX, llm-optimizer, and reports of llm-d (YAML or JSON). `native` in the row says where each \
number comes from.

Exit status:
  0  done
  2  error: bad usage, unreadable or malformed input, I/O";

/// Turn recorded runs into result rows
#[derive(Debug, Parser)]
#[command(
    name = "bench-normalize",
    version = VERSION,
    long_about = "Turn recorded runs into result rows: metrics, SLA verdict, quality.\n\n\
                  Reads the rows of bench-serve and bench-load, and result files of other clients; writes result rows at the end of the \
                  input. Result rows and rows of unknown kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of rows, or result files and folders of other clients; standard input if omitted or -
    pub files: Vec<PathBuf>,
    /// Candidate row that describes results of other clients: framework, command, scenario, limits, GPUs
    #[arg(long, value_name = "FILE")]
    pub candidate: Option<PathBuf>,
    /// Set a member of the rows made from other clients' results; may be repeated. Keys: framework, framework_version,
    /// model, candidate, server_command, launch_command, benchmark_command, scenario, kind, endpoint, input_len, output_len,
    /// num_prompts, rate, concurrency, gpu_model, gpu_count, driver, image, repeat, sla.LIMIT (sla.max_p99_ttft_ms=500),
    /// candidate.changed.FLAG
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub set: Vec<(String, String)>,
    /// Read such members from the names of other clients' files: '{framework}-{scenario}-c{concurrency}-run{repeat}.json'. A
    /// field that is not a key of --set is a flag of the server, such as {max_num_seqs}; with / the pattern includes folders
    #[arg(long, value_name = "PATTERN", value_parser = NamePattern::parse)]
    pub name: Option<NamePattern>,
    /// Read an evaluation as the check of a candidate's answers: results*.json of lm-eval for the candidate (or framework) of this
    /// name, or agg_eval*.json of InferenceX, which names frameworks; may be repeated. It is compared with that of the framework's
    /// baseline
    #[arg(long, value_name = "[CANDIDATE=]FILE")]
    pub answers: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = OutputFormat::Rows)]
    pub to: OutputFormat,
    /// Write to FILE instead of standard output: complete, or FILE stays as it was
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// Result rows
    Rows,
    /// Benchmark Report v0.2.1 of llm-d, one object per line; results without metrics are skipped
    LlmD,
}

impl Program for Args {
    const NAME: &'static str = "bench-normalize";
    fn common(&self) -> &Common {
        &self.common
    }
}
