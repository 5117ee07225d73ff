//! The command line of bench-rank.

use std::path::PathBuf;

use clap::builder::{EnumValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Parser, ValueEnum};

use super::{Common, Program};
use crate::base::error::{Error, Result};
use crate::base::version::VERSION;
use crate::rank::{CapacityDemand, RankBy, RankOptions, Throughput, Unfinished};
use crate::rows::words::{Limit, Statistic};

const AFTER: &str = "\
Examples:
  bench-normalize raw/*.jsonl | bench-rank > report.md
  bench-rank results.jsonl
  bench-rank results.jsonl --format html > report.html
  bench-rank old.jsonl --rank-by output_token_throughput --sla max_p99_ttft_ms=500 --format csv
  bench-rank results.jsonl --gpu-hour 2.5 --peak-qps 40 --headroom 0.3
  bench-rank results.jsonl --weights chat=0.7,summarization=0.3
  bench-rank --baseline last-release.jsonl results.jsonl && echo no regression
  bench-rank results.jsonl --explain 'vllm max_num_seqs=64'
  bench-rank results.jsonl --deploy --as systemd > server.service
  bench-rank results.jsonl --format jsonl | jq 'select(.record == \"decision\")'

Candidates are ordered by: meets the SLA, throughput, output tokens per second, lower TTFT, lower TPOT (ITL is used and \
marked where TPOT is missing), fewer GPUs. Missing values rank last. A candidate has one place per scenario and load mode, \
that of its best load point. Repeats of a load point count as one: their mean is ranked, and all their requests together \
decide the SLA. The SLA is recomputed for every row that has thresholds.

Rows are ranked separately if they differ in load mode, model, GPU model or budget, client, workload, endpoint, sampling, \
precision, quantization, cache policy, simulated or real, smoke test or benchmark.

Exit status:
  0  done; also when no SLA was given
  1  done, but nothing met its SLA or nothing was measured; with --baseline: a regression, or nothing to compare
  2  error: bad usage, unreadable or malformed input, I/O";

/// Rank result rows and report the command to deploy
#[derive(Debug, Parser)]
#[command(
    name = "bench-rank",
    version = VERSION,
    long_about = "Rank result rows and report the command to deploy, scenario by scenario.\n\n\
                  Reads result rows of bench-normalize or of any tool that uses the same keys; skips rows of other kinds.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of result rows; standard input if omitted or -
    pub files: Vec<PathBuf>,
    /// Throughput to rank by
    #[arg(long, value_name = "METRIC", default_value = "request_throughput", value_parser = RankMetricParser)]
    pub rank_by: RankMetric,
    /// Override an SLA limit of the rows, for all scenarios or for one: max_p99_ttft_ms=500, chat:max_p99_ttft_ms=500; may be
    /// repeated
    #[arg(long, value_name = "[SCENARIO:]KEY=VALUE", value_parser = limit)]
    pub sla: Vec<(Option<String>, String, f64)>,
    /// Report format
    #[arg(long, value_enum, default_value_t = ReportFormat::Auto)]
    pub format: ReportFormat,
    /// Write to FILE instead of standard output: complete, or FILE stays as it was
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Weight of each scenario in one decision over all of them: chat=0.7,summarization=0.3
    #[arg(long, value_name = "SCENARIO=WEIGHT,…", value_delimiter = ',', value_parser = weight)]
    pub weights: Vec<(String, f64)>,
    /// Compare with the results of an earlier release instead of ranking: report what changed beyond noise
    #[arg(long, value_name = "FILE")]
    pub baseline: Vec<PathBuf>,
    /// With --baseline: share by which a metric may get worse, such as 0.05 or 5%
    #[arg(long, value_name = "SHARE", default_value = "0.05", value_parser = share)]
    pub threshold: f64,
    /// Statistic of TTFT and TPOT that decides between equal throughputs
    #[arg(
        long,
        value_name = "STATISTIC",
        default_value_t = Statistic::Mean,
        value_parser = PossibleValuesParser::new(Statistic::ALL.iter().map(|word| word.as_str())).try_map(|word| word.parse::<Statistic>())
    )]
    pub latency_stat: Statistic,
    /// Among candidates tied with the leader, prefer fewer GPUs and then fewer changed flags
    #[arg(long)]
    pub prefer_simple: bool,
    /// Rank confirmed verdicts before those that need more requests
    #[arg(long)]
    pub confirmed_first: bool,
    /// Rank rows together even if they differ in settings that must be equal for a fair comparison, and list the differences
    #[arg(long)]
    pub allow_mixed: bool,
    /// Only candidates whose answers were checked and found to be right may win (bench-load --check)
    #[arg(long)]
    pub require_check: bool,
    /// Price of one GPU per hour, in any currency, for the capacity card
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub gpu_hour: Option<f64>,
    /// Peak request rate in requests per second, for the capacity card
    #[arg(long, value_name = "QPS", value_parser = positive)]
    pub peak_qps: Option<f64>,
    /// Share of a replica's capacity that stays free at the peak, for the capacity card
    #[arg(long, value_name = "SHARE", default_value = "0.2", value_parser = share)]
    pub headroom: f64,
    /// Framework for which the report says what to profile where it does not win (default: sglang); none: omit that section
    #[arg(long, value_name = "FRAMEWORK")]
    pub handoff: Option<String>,
    /// Explain one candidate instead of ranking all: its runs, limits, headroom, why it has its rank, and what to try next. Its
    /// id or its flags: vllm-1a2b3c4d, max_num_seqs=64, 'vllm baseline'
    #[arg(long, value_name = "CANDIDATE", conflicts_with = "baseline")]
    pub explain: Option<String>,
    /// Print a file that deploys the winner, or CANDIDATE (as for --explain), with what was measured of it as comments
    #[arg(long, value_name = "CANDIDATE", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with_all = ["baseline", "explain"])]
    pub deploy: Option<String>,
    /// With --deploy: the form of the file
    #[arg(long = "as", value_name = "FORM", value_enum, default_value_t = DeployForm::Script, requires = "deploy")]
    pub form: DeployForm,
    /// Say first in the report that runs of the plan are missing, why (interrupted, failed, budget or running), and which frameworks
    /// were never started
    #[arg(long, value_name = "REASON:DONE/PLANNED[:NAME,…]")]
    pub unfinished: Option<Unfinished>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// The throughput that a ranking goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum RankMetric {
    /// Successful requests per second
    RequestThroughput,
    /// Requests per second that meet every SLA limit
    Goodput,
    /// Output tokens per second
    OutputTokenThroughput,
    /// Highest request rate that a search found to meet the SLA
    MaxQps,
    /// Highest number of requests in flight that a search found to meet the SLA
    MaxUsers,
    /// Successful requests per second per GPU
    RequestThroughputPerGpu,
    /// Requests per second that meet every SLA limit, per GPU
    GoodputPerGpu,
    /// Output tokens per second per GPU
    OutputTokenThroughputPerGpu,
    /// Highest request rate that a search found to meet the SLA, per GPU
    MaxQpsPerGpu,
    /// Highest number of requests in flight that a search found to meet the SLA, per GPU
    MaxUsersPerGpu,
}

/// The format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// table on a terminal, otherwise md
    Auto,
    /// Markdown
    Md,
    /// Tables for a terminal
    Table,
    /// A self-contained page with plots
    Html,
    /// One line per load point, with the mean of its repeats
    Csv,
    /// A decision row for each ranking, then result rows with rank, group and verdict
    Jsonl,
}

/// How a candidate is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeployForm {
    /// A shell script
    Script,
    /// A unit of systemd
    Systemd,
    /// A file of Docker Compose, for a server that ran in a container
    Compose,
    /// A Deployment of Kubernetes, for a server that ran in a container
    Kubernetes,
}

/// Reads a metric; an unknown word gets the metric that contains it as a suggestion: `qps` → `max_qps`.
#[derive(Debug, Clone)]
struct RankMetricParser;

impl TypedValueParser for RankMetricParser {
    type Value = RankMetric;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<RankMetric, clap::Error> {
        EnumValueParser::<RankMetric>::new().parse_ref(command, arg, value).map_err(|mut error| {
            let word = value.to_string_lossy().to_lowercase().replace('-', "_");
            let near = RankMetric::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let near = near.map(|known| known.get_name().to_string()).find(|known| known.contains(&word));
            if let Some(near) = near.filter(|_| word.len() > 2) {
                error.insert(ContextKind::SuggestedValue, ContextValue::String(near));
            }
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(RankMetric::value_variants().iter().filter_map(ValueEnum::to_possible_value)))
    }
}

impl From<RankMetric> for RankBy {
    fn from(by: RankMetric) -> Self {
        let (throughput, per_gpu) = match by {
            RankMetric::RequestThroughput => (Throughput::Requests, false),
            RankMetric::Goodput => (Throughput::Goodput, false),
            RankMetric::OutputTokenThroughput => (Throughput::OutputTokens, false),
            RankMetric::MaxQps => (Throughput::MaxQps, false),
            RankMetric::MaxUsers => (Throughput::MaxUsers, false),
            RankMetric::RequestThroughputPerGpu => (Throughput::Requests, true),
            RankMetric::GoodputPerGpu => (Throughput::Goodput, true),
            RankMetric::OutputTokenThroughputPerGpu => (Throughput::OutputTokens, true),
            RankMetric::MaxQpsPerGpu => (Throughput::MaxQps, true),
            RankMetric::MaxUsersPerGpu => (Throughput::MaxUsers, true),
        };
        Self { throughput, per_gpu }
    }
}

impl Args {
    /// How to rank.
    #[must_use]
    pub fn options(&self) -> RankOptions {
        RankOptions {
            by: self.rank_by.into(),
            statistic: self.latency_stat,
            sla: self.sla.clone(),
            prefer_simple: self.prefer_simple,
            confirmed_first: self.confirmed_first,
            allow_mixed: self.allow_mixed,
            require_check: self.require_check,
            weights: self.weights.clone(),
            never_started: self
                .unfinished
                .as_ref()
                .map_or_else(Vec::new, |unfinished| unfinished.never_started.clone()),
            node_sd: 0.0,
        }
    }

    /// What the capacity cards assume.
    #[must_use]
    pub fn demand(&self) -> CapacityDemand {
        CapacityDemand { gpu_hour: self.gpu_hour, peak_qps: self.peak_qps, headroom: self.headroom }
    }
}

fn number(text: &str) -> Result<f64> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
    number.ok_or_else(|| Error::new(format!("{text:?} is not a number")))
}

pub(super) fn positive(text: &str) -> Result<f64> {
    let number = number(text)?;
    if number > 0.0 { Ok(number) } else { Err(Error::new("must be more than 0")) }
}

fn share(text: &str) -> Result<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent.trim())? / 100.0,
        None => number(text)?,
    };
    if (0.0..1.0).contains(&share) {
        Ok(share)
    } else {
        Err(Error::new("must be a share of at least 0 and below 1, or below 100%"))
    }
}

fn weight(text: &str) -> Result<(String, f64)> {
    let (name, weight) = super::key_value(text)?;
    Ok((name, positive(&weight)?))
}

fn limit(text: &str) -> Result<(Option<String>, String, f64)> {
    let (key, value) = super::key_value(text)?;
    // The name of a scenario may have a colon of its own.
    let (scenario, key) = match key.rsplit_once(':') {
        Some((scenario, key)) => (Some(scenario.to_string()), key.to_string()),
        None => (None, key),
    };
    let value = number(&value)?;
    let limit = Limit::parse(&key).map_err(Error::new)?;
    limit.takes(value).map_err(|what| Error::new(format!("{key} must be {what}")))?;
    Ok((scenario, key, value))
}

impl Program for Args {
    const NAME: &'static str = "bench-rank";
    fn common(&self) -> &Common {
        &self.common
    }
}
