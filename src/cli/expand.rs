//! The command line of bench-expand.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{Common, Program};

const AFTER: &str = "\
Examples:
  bench-validate plan.yaml | bench-expand | bench-serve
  bench-expand plan.yaml --format sh                  the commands that would be tried
  bench-expand plan.yaml --done results.jsonl         only what is left to run

Every framework's baseline comes first, then the product of its search space, last knob fastest, without duplicates, up
to search.max_candidates_per_framework.

Exit status:
  0  done
  2  trouble: usage, unreadable or malformed input, a plan with errors, I/O";

/// Turn plans into candidates, the baseline first
#[derive(Debug, Parser)]
#[command(
    name = "bench-expand",
    version,
    long_about = "Turn plans into candidates, the baseline first.\n\n\
                  Reads plan rows, or plan files (*.yaml, *.yml); writes candidate rows; rows of other kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of plan rows, or plan files; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// jsonl for programs, sh for people: each command with what it changes
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
    /// Result rows whose units are done and left out; may be repeated
    #[arg(long, value_name = "FILE")]
    pub done: Vec<PathBuf>,
    /// Folder with more framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// How candidates are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Candidate rows
    Jsonl,
    /// Shell commands with comments
    Sh,
}

impl Program for Args {
    const NAME: &'static str = "bench-expand";
    fn common(&self) -> &Common {
        &self.common
    }
}
