//! The command line of bench-rank.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{Common, Program};
use crate::rank::RankBy;

const AFTER: &str = "\
Examples:
  bench-normalize raw/*.jsonl | bench-rank > report.md
  bench-rank results.jsonl
  bench-rank old.jsonl --rank-by output_token_throughput --format csv
  bench-rank results.jsonl --format jsonl | jq 'select(.rank == 1) | .server_command'

The order: SLA passed, throughput, output tokens per second, lower mean TTFT, lower mean TPOT (mean ITL stands in for a
TPOT that is not there, and is marked), fewer GPUs. What was not measured is worst. A candidate stands once per
scenario and load mode, by its best load point.

Exit status:
  0  done; also when no SLA was given
  1  done, and nothing kept its SLA
  2  trouble: usage, unreadable or malformed input, I/O";

/// Rank result rows and report the command to deploy
#[derive(Debug, Parser)]
#[command(
    name = "bench-rank",
    version,
    long_about = "Rank result rows and report the command to deploy, scenario by scenario.\n\n\
                  Reads result rows, ours or those of others with the same keys; rows of other kinds are passed over.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of result rows; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// Throughput that counts
    #[arg(long, value_enum, default_value_t = By::RequestThroughput)]
    pub rank_by: By,
    /// How the report is written; auto is table at a terminal, else md
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub format: Format,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// What a ranking goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum By {
    /// Successful requests per second
    RequestThroughput,
    /// Requests per second within every limit
    Goodput,
    /// Output tokens per second
    OutputTokenThroughput,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// table at a terminal, else md
    Auto,
    /// Markdown
    Md,
    /// Tables for a terminal
    Table,
    /// One line per result
    Csv,
    /// Result rows with their rank
    Jsonl,
}

impl From<By> for RankBy {
    fn from(by: By) -> Self {
        match by {
            By::RequestThroughput => Self::RequestThroughput,
            By::Goodput => Self::Goodput,
            By::OutputTokenThroughput => Self::OutputTokenThroughput,
        }
    }
}

impl Program for Args {
    const NAME: &'static str = "bench-rank";
    fn common(&self) -> &Common {
        &self.common
    }
}
