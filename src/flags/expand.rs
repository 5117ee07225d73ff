//! The command line of bench-expand.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::serve::seconds;
use super::{Common, Program};
use crate::base::version::VERSION;

const AFTER: &str = "\
Examples:
  bench-validate plan.yaml | bench-expand | bench-serve
  bench-expand plan.yaml --format sh                       the commands that would be tried, and why
  bench-expand plan.yaml --done results.jsonl              only what is left to run
  bench-expand plan.yaml --from results.jsonl --top 3 --repeats 3
                                                           second pass: the leaders again, at the rates found
  bench-expand plan.yaml --stage speculative --on results.jsonl
                                                           speculation, on top of the best candidate without it
  bench-expand plan.yaml --emit vllm-sweep sweep/          the same as parameter files of `vllm bench sweep serve`

Every framework's baseline comes first, then what search.strategy makes of its search space, without duplicates, up to
search.max_candidates_per_framework. What does not fit the GPUs or a rule is a row that is skipped, one for each reason,
and uses up no place. The estimate counts on answers as slow as the SLA allows.

Exit status:
  0  done
  2  trouble: usage, unreadable or malformed input, a plan with errors, I/O";

/// Turn plans into candidates, the baseline first
#[derive(Debug, Parser)]
#[command(
    name = "bench-expand",
    version = VERSION,
    long_about = "Turn plans into candidates, the baseline first.\n\n\
                  Reads plan rows, or plan files (*.yaml, *.yml); writes candidate rows; rows of other kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of plan rows, or plan files; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// jsonl for programs, sh for people: each command with what it changes and why it is tried
    #[arg(long, value_enum, default_value_t = ExpandFormat::Jsonl)]
    pub format: ExpandFormat,
    /// Result rows whose units are done and left out; may be repeated
    #[arg(long, value_name = "FILE")]
    pub done: Vec<PathBuf>,
    /// Which failed units of --done are run again
    #[arg(long, value_enum, default_value_t = RetryPolicy::Transient, requires = "done")]
    pub retry: RetryPolicy,
    /// Folder with more framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Expand a plan of the third tier, however long it takes
    #[arg(long)]
    pub accept_long_run: bool,
    /// Seconds that there are: a plan of the third tier is expanded, for bench-serve --budget stops in time
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub budget: Option<Duration>,
    /// What is searched: everything but speculation, or speculation on top of the best candidate
    #[arg(long, value_enum, default_value_t = SearchStage::Plain, requires_if("speculative", "on"), help_heading = "Stages and passes")]
    pub stage: SearchStage,
    /// With --stage speculative: result rows of the stage before; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Stages and passes")]
    pub on: Vec<PathBuf>,
    /// Second pass: the baselines and the leaders of these result rows again, at the rates found; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["on", "emit"], help_heading = "Stages and passes")]
    pub from: Vec<PathBuf>,
    /// With --from: the leaders of each scenario
    #[arg(long, value_name = "N", default_value = "3", requires = "from", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Stages and passes")]
    pub top: u16,
    /// With --from: so many more runs of each, or runs A to B, counted from 1; the first pass was run 1
    #[arg(long, value_name = "N|A..B", default_value = "2..3", requires = "from", value_parser = repeats, help_heading = "Stages and passes")]
    pub repeats: RangeInclusive<u32>,
    /// With --from: blocked runs all of them once, in an order by chance, before any of them again
    #[arg(long, value_enum, default_value_t = PassOrder::Blocked, requires = "from", help_heading = "Stages and passes")]
    pub order: PassOrder,
    /// Write the candidates of one framework as another tool's input into DIR instead of rows
    #[arg(long, num_args = 2, value_names = ["TOOL", "DIR"])]
    pub emit: Vec<String>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// How candidates are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExpandFormat {
    /// Candidate rows
    Jsonl,
    /// Shell commands with comments
    Sh,
}

/// Which failed units are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RetryPolicy {
    /// What failed for a reason that passes (server lost, port in use, …), at most twice again
    Transient,
    /// Everything that failed, and what was skipped for lack of time
    Failed,
}

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SearchStage {
    /// Everything but speculation
    Plain,
    /// Speculation, on top of the best candidate of --on
    Speculative,
}

/// The order of a second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PassOrder {
    /// Block by block
    Blocked,
}

/// Repeats from 0, as `3` or `2..5` says them: the first pass was run 1, which is repeat 0.
fn repeats(text: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| (1..=1000).contains(n));
    let wrong = || format!("{text:?} is neither a number of runs nor A..B with 1 < A <= B");
    match text.split_once("..") {
        None => number(text).map(|n| 1..=n).ok_or_else(wrong),
        Some((from, to)) => {
            let (from, to) = (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?);
            if from < 2 || to < from { Err(wrong()) } else { Ok(from - 1..=to - 1) }
        }
    }
}

impl Program for Args {
    const NAME: &'static str = "bench-expand";
    fn common(&self) -> &Common {
        &self.common
    }
}
