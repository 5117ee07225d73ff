//! The command line of bench-load.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};

use super::serve::seconds;
use super::workload::WorkloadArgs;
use super::{Common, Program, ProgressArgs, ProgressFormat, key_value};
use crate::base::cpus::CpuList;
use crate::base::error::{Error, Result};
use crate::base::version::VERSION;
use crate::plan::{DEFAULT_QPS, DEFAULT_USERS};
use crate::rows::kinds::{MAX_REQUESTS, Qps, Shard, Users};
use crate::rows::words::{Arrivals, CheckScope, Endpoint};

const AFTER: &str = "\
Examples:
  bench-expand plan.yaml | bench-serve | bench-load | bench-normalize | bench-rank
  bench-expand plan.yaml | bench-serve --slots 0-3,4-7 | bench-load --jobs 2 > raw.jsonl
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --concurrency 8 > raw.jsonl
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --rate 4 --sla max_p99_ttft_ms=500 | bench-normalize | bench-rank
  bench-load --check --url http://127.0.0.1:8000 > check.jsonl
  bench-load --convert ShareGPT.json > prompts.jsonl
  bench-load --url http://127.0.0.1:8000 --endpoint /v1/chat/completions --dataset prompts.jsonl --rate 2 > raw.jsonl

Open loop (--rate) sends at times drawn from the seed in advance and counts latency from the due time; closed loop \
(--concurrency) keeps N requests in flight and counts latency from the send time. Requests are never retried.

Exit status:
  0  done; a request or run that failed is a row, not an error
  2  error: bad usage, unreadable or malformed input, a lease that is no longer offered, I/O";

const REQUESTS: &str = "Requests";
const PIPELINE: &str = "Pipeline";
const CHECK: &str = "Answers";
const CONVERT: &str = "Dataset conversion";

/// Drive one workload against each leased server and record every request
#[derive(Debug, Parser)]
#[command(
    name = "bench-load",
    version = VERSION,
    long_about = "Drive one workload against each leased server and record what happened to every request.\n\n\
                  Reads server rows, or loads the server at --url. Writes run, request and run_end rows; rows of other kinds pass \
                  through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of server rows; standard input if omitted or -
    #[arg(conflicts_with = "url")]
    pub files: Vec<PathBuf>,
    /// Base URL of a running server to load, without a pipeline
    #[arg(long, alias = "base-url")]
    pub url: Option<String>,
    /// Closed loop: keep N requests in flight; may be repeated
    #[arg(long, visible_alias = "max-concurrency", value_name = "N", requires = "url", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Vec<u32>,
    /// Open loop: number of requests per second, or `trace` to replay the timestamps of the dataset; may be repeated
    #[arg(long, visible_alias = "request-rate", value_name = "PER_SECOND", requires = "url", value_parser = rate)]
    pub rate: Vec<Rate>,
    /// Find the highest request rate between LOWER and UPPER that meets the SLA, open loop
    #[arg(long, value_name = "LOWER:UPPER[:TOLERANCE]", requires_all = ["url", "sla"], value_parser = qps)]
    pub qps: Option<Qps>,
    /// Find the highest number of requests in flight between LOWER and UPPER that meets the SLA, closed loop
    #[arg(long, value_name = "LOWER:UPPER", requires_all = ["url", "sla"], value_parser = users)]
    pub users: Option<Users>,
    /// Send all requests at once (request rate inf)
    #[arg(long, requires = "url")]
    pub burst: bool,
    /// SLA limit for the verdict, such as max_p99_ttft_ms=500; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "url", value_parser = limit)]
    pub sla: Vec<(String, f64)>,
    /// Minimum number of measured requests per run; an open loop also lasts at least four answers [default: 80, or the number of rows in the dataset if that is smaller]
    #[arg(long, alias = "num-requests", value_name = "N", requires = "url", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REQUESTS)))]
    pub num_prompts: Option<u32>,
    /// Number of warmup requests, sent sequentially before measuring
    #[arg(long, aliases = ["num-warmups", "warmup-requests"], value_name = "N", default_value_t = 2, requires = "url", value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_REQUESTS)))]
    pub warmup: u32,
    /// Warm up under the measured load for SECONDS, and keep the load running until the last measured request finishes
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "url", conflicts_with = "warmup")]
    pub warmup_s: Option<Duration>,
    /// Arrival process of an open loop: poisson, constant, gamma:SHAPE (1 is Poisson, less is burstier), a ramp from another
    /// rate (linear:FROM, exponential:FROM), or trace, the timestamps of the dataset [default: poisson]
    #[arg(long, value_name = "KIND", requires = "url")]
    pub arrivals: Option<Arrivals>,
    /// Open loop: drop requests that come due while N are in flight
    #[arg(long, value_name = "N", requires = "rate")]
    pub cap: Option<u32>,
    /// Seed of the schedule and the prompts
    #[arg(long, default_value_t = 1, requires = "url")]
    pub seed: u64,
    /// The workload; its heading applies until the next one
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Path of the endpoint: /v1/completions, /v1/chat/completions, or SGLang's /generate
    #[arg(long, value_name = "PATH", default_value_t, requires = "url", help_heading = REQUESTS)]
    pub endpoint: Endpoint,
    /// Model id, if the server lists several
    #[arg(long, requires = "url", help_heading = REQUESTS)]
    pub model: Option<String>,
    /// Framework of the server, for reports and for the requests that its endpoint accepts
    #[arg(long, default_value = "unknown", requires = "url", help_heading = REQUESTS)]
    pub framework: String,
    /// Members to add to the body of every request
    #[arg(long, alias = "extra-request-body", value_name = "JSON", default_value = r#"{"temperature":0}"#, requires = "url", help_heading = REQUESTS)]
    pub extra_body: String,
    /// Do not stream: responses arrive whole, so no TTFT is measured
    #[arg(long, alias = "disable-stream", requires = "url", help_heading = REQUESTS)]
    pub no_stream: bool,
    /// Request token counts in every chunk, at a small cost to the server
    #[arg(long, requires = "url", help_heading = REQUESTS)]
    pub continuous_usage: bool,
    /// Let the model stop early, instead of always generating the full output length
    #[arg(long, alias = "disable-ignore-eos", requires = "url", help_heading = REQUESTS)]
    pub no_ignore_eos: bool,
    /// Header to add to every request: 'NAME: VALUE', with ${VAR} replaced from the environment; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER", help_heading = REQUESTS)]
    pub headers: Vec<String>,
    /// Environment variable that holds the API key
    #[arg(long, value_name = "NAME", default_value = "BENCH_API_KEY", help_heading = REQUESTS)]
    pub api_key_env: String,
    /// Reset the server's prefix cache before each run, at the reset_path of the framework definition (with --url)
    #[arg(long, help_heading = REQUESTS)]
    pub reset_cache: bool,
    /// Maximum time to the first token, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120", help_heading = REQUESTS)]
    pub ttft_timeout: Duration,
    /// Maximum time between two reads of a stream, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60", help_heading = REQUESTS)]
    pub idle_timeout: Duration,
    /// Maximum time of a request, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600", help_heading = REQUESTS)]
    pub timeout: Duration,
    /// How to record the gaps between tokens
    #[arg(long, value_enum, default_value_t = Itl::Histogram, help_heading = PIPELINE)]
    pub itl: Itl,
    /// Run this framework's own benchmark client instead, and write its result as a native row
    #[arg(long, value_name = "FRAMEWORK", conflicts_with = "convert", help_heading = PIPELINE)]
    pub client: Option<String>,
    /// Maximum number of attempts at a run in which the load generator falls behind, 1 to 10
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10), help_heading = PIPELINE)]
    pub attempts: u32,
    /// Check the answers of these servers after their runs, at the chosen load: all, winners (those that meet the SLA and are the
    /// best of their framework so far) or none. With --url and without a workload: check the answers and do nothing else
    /// [default: as in the plan]
    #[arg(
        long,
        value_name = "SERVERS",
        num_args = 0..=1,
        default_missing_value = CheckScope::All.as_str(),
        value_parser = PossibleValuesParser::new(CheckScope::ALL.iter().map(|word| word.as_str())).try_map(|word| word.parse::<CheckScope>()),
        conflicts_with_all = ["convert", "client"],
        help_heading = CHECK
    )]
    pub check: Option<CheckScope>,
    /// Number of questions: 64 to screen, 400 for a release [default: as in the plan, else 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = CHECK)]
    pub check_questions: Option<u32>,
    /// File of questions: JSONL with prompt, answer and extract (number, choice, exact or regex), or GSM8K's [default: questions made
    /// from the seed]
    #[arg(long, value_name = "FILE", help_heading = CHECK)]
    pub check_file: Option<PathBuf>,
    /// Maximum number of output tokens of an answer; one that is cut off is neither right nor wrong [default: as in the plan, else 256]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..), help_heading = CHECK)]
    pub check_max_tokens: Option<u32>,
    /// Compare with the check in this file of rows, instead of asking the server itself first, one question at a time
    #[arg(long, value_name = "FILE", requires_all = ["url", "check"], help_heading = CHECK)]
    pub reference: Option<PathBuf>,
    /// Raw rows of an earlier bench-load; repeatable: baselines whose answers are among them are not asked again, and later candidates
    /// are compared with them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "convert"], help_heading = CHECK)]
    pub earlier: Vec<PathBuf>,
    /// Run only on these CPUs, such as 0-1,4: give them to no server (bench-serve --client-cpus does that)
    #[arg(long, value_name = "LIST", conflicts_with = "convert", help_heading = PIPELINE)]
    pub client_cpus: Option<CpuList>,
    /// Number of threads that send requests and read responses, 1 to 256, of each job [default: one per CPU of --client-cpus, else half of
    /// the CPUs, shared by the jobs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = PIPELINE)]
    pub threads: Option<u16>,
    /// Load N servers at the same time, as many as bench-serve --slots leases; each is judged for itself, also whether its client kept up
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), conflicts_with_all = ["url", "convert", "shard"], help_heading = PIPELINE)]
    pub jobs: u16,
    /// Load the servers of another bench-load, which has this one as one of its jobs
    #[arg(long, hide = true)]
    pub copy: bool,
    /// Drive share I of N of each load (I from 0), together with N - 1 other clients: on this host with bench-serve --holders N, on
    /// other hosts with --meet
    #[arg(long, value_name = "I/N", value_parser = shard, conflicts_with = "convert", help_heading = PIPELINE)]
    pub shard: Option<Shard>,
    /// Where clients on several hosts meet: share 0 listens there, all others connect to it. All begin each run together, and their
    /// clocks are compared first; a client that is missing ends the run of all
    #[arg(long, value_name = "HOST:PORT", requires_all = ["shard", "meet_secret"], help_heading = PIPELINE)]
    pub meet: Option<String>,
    /// File with the secret that all of these clients have: only those that know it may join
    #[arg(long, value_name = "FILE", requires = "meet", help_heading = PIPELINE)]
    pub meet_secret: Option<PathBuf>,
    /// How long to wait for the other clients, when they join and before each run, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60", requires = "meet", help_heading = PIPELINE)]
    pub meet_timeout: Duration,
    /// Folder with additional framework definitions
    #[arg(long, value_name = "DIR", help_heading = PIPELINE)]
    pub frameworks: Option<PathBuf>,
    /// Convert files of prompts (ShareGPT, messages, batch requests, instructions, Mooncake traces) to canonical rows on
    /// standard output, and exit
    #[arg(long, conflicts_with = "url", help_heading = CONVERT)]
    pub convert: bool,
    /// With --convert: write each turn of a conversation as a row, and the conversation as a session
    #[arg(long, requires = "convert", help_heading = CONVERT)]
    pub sessions: bool,
    /// With --convert: include rows with images or tools if all of these frameworks, separated by commas, accept them
    #[arg(long = "for", value_name = "FRAMEWORK", value_delimiter = ',', requires = "convert", help_heading = CONVERT)]
    pub for_frameworks: Vec<String>,
    /// With --convert: count tokens with this tokenizer.json instead of estimating them
    #[cfg(feature = "tokenizer")]
    #[arg(long, value_name = "FILE", requires = "convert", help_heading = CONVERT)]
    pub tokenizer: Option<PathBuf>,
    /// The form of the progress
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// How to record the gaps between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Itl {
    /// As one histogram per run
    Histogram,
    /// Also as the time of every chunk, in the request rows
    Full,
}

impl Program for Args {
    const NAME: &'static str = "bench-load";
    fn common(&self) -> &Common {
        &self.common
    }
    fn progress(&self) -> ProgressFormat {
        self.progress.progress
    }
}

impl Args {
    /// Number of threads that send requests and read responses: one per CPU of those given, else half of this host's, at least one.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let usual = if self.client_cpus.is_some() { cpus } else { (cpus / 2).max(1) };
        self.threads.map_or((usual / usize::from(self.jobs)).max(1), usize::from)
    }

    /// The headers, name and value.
    ///
    /// # Errors
    /// A header without a name, or one with a secret, which the message does not repeat.
    pub fn headers(&self) -> Result<Vec<(String, String)>> {
        let one = |text: &String| -> Result<(String, String)> {
            let malformed = || Error::new("a --header must be 'NAME: VALUE'");
            let (name, value) = text.split_once(':').ok_or_else(malformed)?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() {
                return Err(malformed());
            }
            // It would be visible in the list of processes and in the rows.
            if crate::base::redact::is_inline_header(name, value) {
                let why = format!(
                    "--header {name} contains a secret: write '{name}: ${{VAR}}' and set VAR in the environment"
                );
                return Err(Error::new(why));
            }
            Ok((name.into(), value.into()))
        };
        self.headers.iter().map(one).collect()
    }
}

/// The request rate of an open loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Requests per second.
    Of(f64),
    /// That of the dataset's timestamps.
    Trace,
}

fn qps(text: &str) -> Result<Qps, String> {
    let wrong = || format!("{text:?} is not LOWER:UPPER or LOWER:UPPER:TOLERANCE, such as 1:32");
    let numbers: Vec<f64> = text.split(':').map(|n| n.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let (lower, upper, tolerance) = match numbers[..] {
        [lower, upper] => (lower, upper, DEFAULT_QPS.tolerance),
        [lower, upper, tolerance] => (lower, upper, tolerance),
        _ => return Err(wrong()),
    };
    if !(lower > 0.0 && upper > lower && upper.is_finite()) {
        return Err("LOWER must be above 0 and below UPPER".into());
    }
    if tolerance > 0.0 {
        Ok(Qps { lower, upper, tolerance, ..DEFAULT_QPS })
    } else {
        Err("TOLERANCE must be above 0".into())
    }
}

fn users(text: &str) -> Result<Users, String> {
    let wrong = || format!("{text:?} is not LOWER:UPPER, such as 1:64");
    let (lower, upper) = text.split_once(':').ok_or_else(wrong)?;
    let count = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let (lower, upper) = (count(lower)?, count(upper)?);
    if lower == 0 || upper <= lower {
        return Err("LOWER must be at least 1 and below UPPER".into());
    }
    Ok(Users { lower, upper, ..DEFAULT_USERS })
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "trace" {
        return Ok(Rate::Trace);
    }
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is neither a number nor `trace`"))?;
    match rate.is_finite() && rate > 0.0 {
        true => Ok(Rate::Of(rate)),
        false if rate == f64::INFINITY => Err("use --burst to send all requests at once".into()),
        false => Err("a rate must be above 0".into()),
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    let shard = parts.map(|(index, of)| Shard { index, of }).filter(|shard| shard.index < shard.of);
    shard.ok_or_else(|| "must be I/N with I from 0 to N − 1, such as 0/2".into())
}

fn limit(text: &str) -> Result<(String, f64), String> {
    let (key, value) = key_value(text).map_err(|e| e.to_string())?;
    let limit = crate::rows::words::Limit::parse(&key)?;
    let not_a_number = || format!("{value:?} is not a number");
    let value = value.parse::<f64>().ok().filter(|v| !v.is_nan()).ok_or_else(not_a_number)?;
    limit.takes(value).map_err(|why| format!("{key} must be {why}"))?;
    Ok((key, value))
}
