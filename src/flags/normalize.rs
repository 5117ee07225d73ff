//! The command line of bench-normalize.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{Common, Program};
use crate::base::version::VERSION;

const AFTER: &str = "\
Examples:
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --concurrency 8 | bench-normalize | bench-rank
  bench-normalize raw/*.jsonl > results.jsonl
  bench-normalize vllm.json sglang.jsonl --set hardware.gpu_count=4 | bench-rank
                                                       what the frameworks' own clients and others wrote
  bench-normalize sweep/results                        every run of a `vllm bench sweep` folder
  bench-normalize raw/*.jsonl --to llm-d | head -1 > report.yaml

Several files are attempts in the order given: of a unit that was run more than once the latest counts. A run without
its end is failed (interrupted). The SLA is computed anew for every run, and for result rows of others that have
thresholds: what such a row claims and its numbers do not say is reported. One with `passed` and no thresholds is believed.

Results of other clients are told by their keys: vllm bench serve and sweep, sglang.bench_serving and auto_benchmark,
tokenspeed bench serve, tensorrt_llm benchmark_serving, guidellm, aiperf, genai-perf, inference-benchmarker,
inference-perf, evalscope perf, InferenceX, llm-optimizer. `native` in the row says where each number is from.

Exit status:
  0  done
  2  trouble: usage, unreadable or malformed input, I/O";

/// Turn recorded runs into result rows
#[derive(Debug, Parser)]
#[command(
    name = "bench-normalize",
    version = VERSION,
    long_about = "Turn recorded runs into result rows: metrics, SLA verdict, quality.\n\n\
                  Reads the rows of bench-serve and bench-load, and what other clients wrote; writes result rows at the end of the input; \
                  result rows and rows of unknown kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of rows, files or folders of other clients; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// A file with a candidate row, for results of other clients: framework, command, scenario, limits, GPUs
    #[arg(long, value_name = "FILE")]
    pub candidate: Option<PathBuf>,
    /// A member of the rows of other clients that their files do not hold: framework=sglang, sla.max_p99_ttft_ms=500
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value)]
    pub set: Vec<(String, String)>,
    /// What is written
    #[arg(long, value_enum, default_value_t = OutputFormat::Rows)]
    pub to: OutputFormat,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub enum OutputFormat {
    /// Result rows
    Rows,
    /// Benchmark Report v0.2 of llm-d, one object a line; results without metrics have none
    LlmD,
}

impl Program for Args {
    const NAME: &'static str = "bench-normalize";
    fn common(&self) -> &Common {
        &self.common
    }
}
