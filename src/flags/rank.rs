//! The command line of bench-rank.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{Common, Program};
use crate::base::error::{Error, Result};
use crate::base::version::VERSION;
use crate::rank::{CapacityDemand, RankBy, RankOptions, Statistic, Throughput};
use crate::rows::words::Limit;

const AFTER: &str = "\
Examples:
  bench-normalize raw/*.jsonl | bench-rank > report.md
  bench-rank results.jsonl
  bench-rank results.jsonl --format html > report.html
  bench-rank old.jsonl --rank-by output_token_throughput --sla max_p99_ttft_ms=500 --format csv
  bench-rank results.jsonl --gpu-hour 2.5 --peak-qps 40 --headroom 0.3
  bench-rank results.jsonl --weights chat=0.7,summarization=0.3
  bench-rank --baseline last-release.jsonl results.jsonl && echo no regression
  bench-rank results.jsonl --format jsonl | jq 'select(.rank == 1) | .server_command'

The order: SLA passed, throughput, output tokens per second, lower TTFT, lower TPOT (ITL stands in for a TPOT that is not
there, and is marked), fewer GPUs. What was not measured is worst. A candidate stands once per scenario and load mode, by
its best load point; repeats of a load point are one, by their mean, and are gated by all their requests together. The SLA
is computed anew from every row that has thresholds.

Rows that differ in what should be equal (load mode, model, GPU model and budget, client, workload, endpoint, sampling,
precision, quantization, cache policy, simulated or not, flow check or not) are never in one ranking.

Exit status:
  0  done; also when no SLA was given
  1  done, and nothing kept its SLA or nothing was measured; with --baseline: something is worse, or nothing compares
  2  trouble: usage, unreadable or malformed input, I/O";

/// Rank result rows and report the command to deploy
#[derive(Debug, Parser)]
#[command(
    name = "bench-rank",
    version = VERSION,
    long_about = "Rank result rows and report the command to deploy, scenario by scenario.\n\n\
                  Reads result rows, ours or those of others with the same keys; rows of other kinds are passed over.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of result rows; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// Throughput that counts
    #[arg(long, value_enum, default_value_t = RankMetric::RequestThroughput)]
    pub rank_by: RankMetric,
    /// Which statistic of TTFT and TPOT decides between equal throughputs
    #[arg(long, value_enum, default_value_t = StatisticArg::Mean)]
    pub latency_stat: StatisticArg,
    /// A limit in the place of the rows' own, of all scenarios or of one: max_p99_ttft_ms=500, chat:max_p99_ttft_ms=500
    #[arg(long, value_name = "[SCENARIO:]KEY=VALUE", value_parser = limit)]
    pub sla: Vec<(Option<String>, String, f64)>,
    /// What each scenario counts in one decision over all of them: chat=0.7,summarization=0.3
    #[arg(long, value_name = "SCENARIO=WEIGHT,…", value_delimiter = ',', value_parser = weight)]
    pub weights: Vec<(String, f64)>,
    /// Among those tied with the leader, fewer GPUs and then fewer changed flags come first
    #[arg(long)]
    pub prefer_simple: bool,
    /// A verdict that enough requests confirm comes before one that they do not
    #[arg(long)]
    pub confirmed_first: bool,
    /// Rank rows together that differ in what should be equal, and print the differences
    #[arg(long)]
    pub allow_mixed: bool,
    /// Price of a GPU an hour, in any currency, for the capacity card
    #[arg(long, value_name = "PRICE", value_parser = positive)]
    pub gpu_hour: Option<f64>,
    /// Requests per second at the peak, for the capacity card
    #[arg(long, value_name = "QPS", value_parser = positive)]
    pub peak_qps: Option<f64>,
    /// Share of a replica's capacity that stays free at the peak
    #[arg(long, value_name = "SHARE", default_value = "0.2", value_parser = share)]
    pub headroom: f64,
    /// The framework whose slow scenario is described for a profiler when it does not win; none for no such section
    #[arg(long, value_name = "FRAMEWORK", default_value = "sglang")]
    pub handoff: String,
    /// Result rows of an earlier release: say what got better or worse, beyond noise, instead of ranking
    #[arg(long, value_name = "FILE")]
    pub baseline: Vec<PathBuf>,
    /// With --baseline: the share by which something may get worse
    #[arg(long, value_name = "SHARE", default_value = "0.05", value_parser = share)]
    pub threshold: f64,
    /// How the report is written; auto is table at a terminal, else md
    #[arg(long, value_enum, default_value_t = ReportFormat::Auto)]
    pub format: ReportFormat,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// What a ranking goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum RankMetric {
    /// Successful requests per second
    RequestThroughput,
    /// Requests per second within every limit
    Goodput,
    /// Output tokens per second
    OutputTokenThroughput,
    /// The highest rate that a search found to keep the SLA
    MaxQps,
    /// Successful requests per second and GPU
    RequestThroughputPerGpu,
    /// Requests per second within every limit, per GPU
    GoodputPerGpu,
    /// Output tokens per second and GPU
    OutputTokenThroughputPerGpu,
    /// That rate per GPU
    MaxQpsPerGpu,
}

/// A statistic of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatisticArg {
    /// Mean
    Mean,
    /// Median
    P50,
    /// 99th percentile
    P99,
}

/// How the report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// table at a terminal, else md
    Auto,
    /// Markdown
    Md,
    /// Tables for a terminal
    Table,
    /// One page with plots, in one file
    Html,
    /// One line per result
    Csv,
    /// Result rows with their rank, group and verdict
    Jsonl,
}

impl From<RankMetric> for RankBy {
    fn from(by: RankMetric) -> Self {
        let (throughput, per_gpu) = match by {
            RankMetric::RequestThroughput => (Throughput::Requests, false),
            RankMetric::Goodput => (Throughput::Goodput, false),
            RankMetric::OutputTokenThroughput => (Throughput::OutputTokens, false),
            RankMetric::MaxQps => (Throughput::MaxQps, false),
            RankMetric::RequestThroughputPerGpu => (Throughput::Requests, true),
            RankMetric::GoodputPerGpu => (Throughput::Goodput, true),
            RankMetric::OutputTokenThroughputPerGpu => (Throughput::OutputTokens, true),
            RankMetric::MaxQpsPerGpu => (Throughput::MaxQps, true),
        };
        Self { throughput, per_gpu }
    }
}

impl Args {
    /// How to rank.
    #[must_use]
    pub fn options(&self) -> RankOptions {
        let statistic = match self.latency_stat {
            StatisticArg::Mean => Statistic::Mean,
            StatisticArg::P50 => Statistic::P50,
            StatisticArg::P99 => Statistic::P99,
        };
        RankOptions {
            by: self.rank_by.into(),
            statistic,
            sla: self.sla.clone(),
            prefer_simple: self.prefer_simple,
            confirmed_first: self.confirmed_first,
            allow_mixed: self.allow_mixed,
            weights: self.weights.clone(),
        }
    }

    /// What capacity cards are made for.
    #[must_use]
    pub fn demand(&self) -> CapacityDemand {
        CapacityDemand { gpu_hour: self.gpu_hour, peak_qps: self.peak_qps, headroom: self.headroom }
    }
}

fn number(text: &str) -> Result<f64> {
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
    number.ok_or_else(|| Error::new(format!("{text:?} is no number")))
}

fn positive(text: &str) -> Result<f64> {
    let number = number(text)?;
    if number > 0.0 { Ok(number) } else { Err(Error::new("it has to be more than 0")) }
}

fn share(text: &str) -> Result<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => number(percent.trim())? / 100.0,
        None => number(text)?,
    };
    if (0.0..1.0).contains(&share) {
        Ok(share)
    } else {
        Err(Error::new("it has to be a share: from 0 to below 1, or below 100%"))
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
    limit.takes(value).map_err(|what| Error::new(format!("{key} has to be {what}")))?;
    Ok((scenario, key, value))
}

impl Program for Args {
    const NAME: &'static str = "bench-rank";
    fn common(&self) -> &Common {
        &self.common
    }
}
