//! The command line of bench-expand.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::fit::FitArgs;
use super::serve::seconds;
use super::{Common, MANY, Program};
use crate::base::slots::SlotList;
use crate::base::version::VERSION;
use crate::plan::expand::CandidatePart;

const AFTER: &str = "\
Examples:
  bench-validate plan.yaml | bench-expand | bench-serve
  bench-expand plan.yaml --format sh                       the commands to run, and why
  bench-expand plan.yaml --done results.jsonl              only the units left to run
  bench-expand plan.yaml --stage search --done results.jsonl
                                                           of a plan with search.stages: 2: the second stage
  bench-expand plan.yaml --fit 8h                          what is likely to end within 8 hours; the rest as skipped rows
  bench-expand plan.yaml --from results.jsonl --top 3 --repeats 3
                                                           second pass: run the leaders again at the rates found
  bench-expand plan.yaml --stage speculative --on results.jsonl
                                                           speculative decoding, on top of the best plain candidate
  bench-expand plan.yaml --emit vllm-sweep sweep/          parameter files for `vllm bench sweep serve`
  bench-expand plan.yaml --part 3/16 --done results/*.jsonl
                                                           the third of 16 parts, for as many hosts
  bench-expand plan.yaml --format matrix --parts 16        these parts, as the matrix of a CI job

The baseline of each framework comes first, then candidates from its search space by search.strategy, without duplicates, \
up to search.max_candidates_per_framework. Candidates that do not fit the GPUs or that a rule excludes become skipped rows, \
one for each reason, and do not count towards that maximum. The estimated time \
assumes that responses take half the time that the SLA allows, its maximum that they take all of it; both assume each \
framework's usual start time, open-loop runs of at least four responses, and the usual course of a search, with as many \
requests as its percentiles take.

Exit status:
  0  done
  2  error: bad usage, unreadable or malformed input, a plan with errors, I/O";

/// Turn plans into candidates, the baseline first
#[derive(Debug, Parser)]
#[command(
    name = "bench-expand",
    version = VERSION,
    long_about = "Turn plans into candidates, the baseline first.\n\n\
                  Reads plan rows, or plan files (*.yaml, *.yml). Writes candidate rows; rows of other kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Plan files, or files of plan rows; standard input if omitted or -
    pub files: Vec<PathBuf>,
    /// Output format
    #[arg(long, alias = "output-format", value_enum, default_value_t = ExpandFormat::Jsonl)]
    pub format: ExpandFormat,
    /// Write to FILE instead of standard output: complete, or FILE stays as it was
    #[arg(short, long, value_name = "FILE", conflicts_with = "emit")]
    pub output: Option<PathBuf>,
    /// Skip units that these result rows complete: one file or several
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub done: Vec<PathBuf>,
    /// Which failed units of --done to run again
    #[arg(long, value_enum, default_value_t = RetryPolicy::Transient, requires = "done")]
    pub retry: RetryPolicy,
    /// Only part K of N, such as 3/16: the candidates whose id belongs to it, and the baselines of their frameworks
    #[arg(long, value_name = "K/N", conflicts_with = "emit", help_heading = MANY)]
    pub part: Option<CandidatePart>,
    /// Instead of the candidates, write each framework's baseline with one run at a fixed load, to compare this node with others
    #[arg(long, conflicts_with_all = ["part", "parts", "claim", "emit", "from", "on", "stage", "fit", "until"], help_heading = MANY)]
    pub calibrate: bool,
    /// Instead of the candidates, write each framework's baseline alone, then once for each of these slots, to measure how much servers
    /// in them disturb each other (bench-serve --slots)
    #[arg(long, value_name = "SLOTS", conflicts_with_all = ["calibrate", "part", "parts", "claim", "emit", "from", "on", "stage", "fit", "until"])]
    pub slot_check: Option<SlotList>,
    /// Write a candidate only once this host could claim it in DIR, which all hosts share, and the next one once it has ended; take over
    /// what a host that died had claimed; end when all are over
    #[arg(long, value_name = "DIR", conflicts_with_all = ["emit", "parts", "output", "fit", "until"], help_heading = MANY)]
    pub claim: Option<PathBuf>,
    /// With --claim: a host that has not renewed its claim for this time is dead
    #[arg(long, value_name = "SECONDS", default_value = "120", requires = "claim", value_parser = seconds, help_heading = MANY)]
    pub claim_timeout: Duration,
    /// With --format matrix or k8s-job: the number of parts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with_all = ["part", "emit"], help_heading = MANY)]
    pub parts: Option<u32>,
    /// With --format k8s-job: the value of a placeholder in its template; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = super::key_value, help_heading = MANY)]
    pub set: Vec<(String, String)>,
    /// With --format k8s-job: another template than the one that is built in
    #[arg(long, value_name = "FILE", help_heading = MANY)]
    pub template: Option<PathBuf>,
    /// Folder with additional framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Expand a tier 3 plan, however long it takes
    #[arg(long)]
    pub accept_long_run: bool,
    /// Time budget in seconds; permits tier 3, since bench-serve --budget stops the run
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub budget: Option<Duration>,
    /// The time in which the runs are to end
    #[command(flatten)]
    pub end: FitArgs,
    /// Of what fits into the time only the next candidate of each framework, after which the rest is estimated anew; what does not fit
    /// is written once nothing else is left
    #[arg(long, conflicts_with_all = ["from", "on", "emit", "claim", "calibrate", "slot_check"])]
    pub next: bool,
    /// Estimate for candidates that run at the same time in these slots (bench-serve --slots)
    #[arg(long, value_name = "SLOTS")]
    pub slots: Option<SlotList>,
    /// Estimate times from these result rows of earlier sweeps too; may be repeated
    #[arg(long, value_name = "FILE")]
    pub times: Vec<PathBuf>,
    /// Price of one GPU for an hour: prints what the runs are likely to cost
    #[arg(long, value_name = "PRICE", value_parser = super::rank::positive)]
    pub gpu_hour: Option<f64>,
    /// What to search [default: of a plan with search.stages: 2 the first stage with runs left, otherwise plain]
    #[arg(long, value_enum, requires_if("speculative", "on"), help_heading = "Stages and passes")]
    pub stage: Option<SearchStage>,
    /// With --stage speculative: result rows of the plain stage; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fit", "until"], help_heading = "Stages and passes")]
    pub on: Vec<PathBuf>,
    /// Second pass: run the baselines and leaders of these result rows again at the rates found; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["on", "emit", "fit", "until"], help_heading = "Stages and passes")]
    pub from: Vec<PathBuf>,
    /// With --from: number of leaders per scenario
    #[arg(long, value_name = "N", default_value = "3", requires = "from", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Stages and passes")]
    pub top: u16,
    /// With --from: number of additional runs of each candidate, or runs A to B; the first pass was run 1
    #[arg(long, value_name = "N|A..B", default_value = "2..3", requires = "from", value_parser = repeats, help_heading = "Stages and passes")]
    pub repeats: RangeInclusive<u32>,
    /// With --from: order of the runs
    #[arg(long, value_enum, default_value_t = PassOrder::Blocked, requires = "from", help_heading = "Stages and passes")]
    pub order: PassOrder,
    /// Instead of rows, write the candidates of one framework into DIR as input for TOOL: vllm-sweep
    #[arg(long, num_args = 2, value_names = ["TOOL", "DIR"], conflicts_with_all = ["fit", "until"])]
    pub emit: Vec<String>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// Format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExpandFormat {
    /// Candidate rows for programs
    Jsonl,
    /// Shell commands for people, each with its changes and the reason for it
    Sh,
    /// The parts with runs as the matrix of a CI job, in one line of JSON
    Matrix,
    /// One indexed Job of Kubernetes over the parts, with the plan, in JSON for kubectl apply
    K8sJob,
}

/// Which failed units to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RetryPolicy {
    /// Transient failures (server lost, port in use, …), at most twice
    Transient,
    /// All failures, and units skipped for lack of time
    Failed,
    /// Everything, also what is complete
    All,
}

/// What to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SearchStage {
    /// Everything except speculative decoding
    Plain,
    /// Speculative decoding, on top of the best candidate of --on
    Speculative,
    /// A few short runs of every candidate, which compare it with the best one of its framework
    #[value(alias = "1")]
    Screen,
    /// The best two of each framework in --done and their ties, fully
    #[value(alias = "2")]
    Search,
    /// The finalists of --done again, in randomized blocks
    #[value(alias = "3")]
    Repeat,
}

/// The order of a second pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PassOrder {
    /// Randomized blocks: run every candidate once, in random order, before repeating
    Blocked,
}

/// Repeats, counted from 0, of `3` or `2..5`: the first pass was run 1, which is repeat 0.
fn repeats(text: &str) -> Result<RangeInclusive<u32>, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|n| (1..=1000).contains(n));
    let wrong = || format!("{text:?} must be a number of runs, or A..B with 1 < A <= B");
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
