//! The command line of bench-normalize.

use std::path::PathBuf;

use clap::Parser;

use super::{Common, Program};

const AFTER: &str = "\
Examples:
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --concurrency 8 | bench-normalize | bench-rank
  bench-normalize raw/*.jsonl > results.jsonl

Several files are attempts in the order given: of a unit that was run more than once the latest counts. A run without
its end is failed (interrupted). The SLA is computed anew for every run.

Exit status:
  0  done
  2  trouble: usage, unreadable or malformed input, I/O";

/// Turn recorded runs into result rows
#[derive(Debug, Parser)]
#[command(
    name = "bench-normalize",
    version,
    long_about = "Turn recorded runs into result rows: metrics, SLA verdict, quality.\n\n\
                  Reads the rows of bench-serve and bench-load; writes result rows at the end of the input; \
                  result rows and rows of unknown kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of rows; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

impl Program for Args {
    const NAME: &'static str = "bench-normalize";
    fn common(&self) -> &Common {
        &self.common
    }
}
