//! The command line of bench-load.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::serve::seconds;
use super::workload::WorkloadArgs;
use super::{Common, Program, key_value};
use crate::base::error::{Error, Result};
use crate::plan::DEFAULT_QPS;
use crate::rows::kinds::{Qps, Shard};
use crate::rows::words::{Arrivals, Endpoint};

const AFTER: &str = "\
Examples:
  bench-expand plan.yaml | bench-serve | bench-load | bench-normalize | bench-rank
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --concurrency 8 > raw.jsonl
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --rate 4 --sla max_p99_ttft_ms=500 | bench-normalize | bench-rank
  bench-load --convert ShareGPT.json > prompts.jsonl
  bench-load --url http://127.0.0.1:8000 --endpoint /v1/chat/completions --dataset prompts.jsonl --rate 2 > raw.jsonl

Open loop (--rate) sends at times made beforehand from the seed and counts latency from the due time; closed loop
(--concurrency) keeps N requests in flight and counts from the sending. Nothing is ever sent again.

Exit status:
  0  done; a request or run that failed is a row, not an error
  2  trouble: usage, unreadable or malformed input, a lease that is gone, I/O";

/// Drive one workload against each leased server and record every request
#[derive(Debug, Parser)]
#[command(
    name = "bench-load",
    version,
    long_about = "Drive one workload against each leased server and record what happened to every request.\n\n\
                  Reads server rows, or --url; writes run, request and run_end rows; rows of other kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of server rows; standard input when none is given, or for -
    #[arg(conflicts_with = "url")]
    pub files: Vec<PathBuf>,
    /// Load this server, without a pipeline
    #[arg(long)]
    pub url: Option<String>,
    /// Closed loop with this many requests in flight; may be repeated
    #[arg(long, value_name = "N", requires = "url", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Vec<u32>,
    /// Open loop at this many requests per second, or `trace` for the pace of the data set's own time stamps; may be repeated
    #[arg(long, value_name = "PER_SECOND", requires = "url", value_parser = rate)]
    pub rate: Vec<Rate>,
    /// Search the highest rate from LOWER to UPPER that keeps the limits of --sla, open loop
    #[arg(long, value_name = "LOWER:UPPER[:TOLERANCE]", requires_all = ["url", "sla"], value_parser = qps)]
    pub qps: Option<Qps>,
    /// Open loop: poisson, constant, gamma:SHAPE (1 is Poisson, less is burstier), a ramp from another rate: linear:FROM,
    /// exponential:FROM, or trace: the data set's own time stamps [default: poisson]
    #[arg(long, value_name = "KIND", requires = "url")]
    pub arrivals: Option<Arrivals>,
    /// Open loop: drop what is due while this many are in flight
    #[arg(long, value_name = "N", requires = "rate")]
    pub cap: Option<u32>,
    /// All requests at once
    #[arg(long, requires = "url")]
    pub burst: bool,
    /// Measured requests per run [default: 80, or the rows of the data set where these are fewer]
    #[arg(long, value_name = "N", requires = "url", value_parser = clap::value_parser!(u32).range(1..))]
    pub num_prompts: Option<u32>,
    /// Requests before the measured ones, one after the other
    #[arg(long, value_name = "N", default_value_t = 2, requires = "url")]
    pub warmup: u32,
    /// Instead: the same load for so long before the measured requests, and on until these are back
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "url", conflicts_with = "warmup")]
    pub warmup_s: Option<Duration>,
    /// Seed of schedule and prompts
    #[arg(long, default_value_t = 1, requires = "url")]
    pub seed: u64,
    /// Path of the endpoint: /v1/completions, /v1/chat/completions, or SGLang's own /generate
    #[arg(long, value_name = "PATH", default_value_t, requires = "url")]
    pub endpoint: Endpoint,
    /// Model id, when the server lists several
    #[arg(long, requires = "url")]
    pub model: Option<String>,
    /// Name of the framework, for reports and for what its endpoint takes
    #[arg(long, default_value = "unknown", requires = "url")]
    pub framework: String,
    /// SLA limit for the verdict: max_p99_ttft_ms=500; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "url", value_parser = limit)]
    pub sla: Vec<(String, f64)>,
    /// Members of every request's body
    #[arg(long, value_name = "JSON", default_value = r#"{"temperature":0}"#, requires = "url")]
    pub extra_body: String,
    /// Ask for whole answers and not for a stream: no first token can be seen then
    #[arg(long, requires = "url")]
    pub no_stream: bool,
    /// Ask for the count of tokens in every chunk: it costs the server a little
    #[arg(long, requires = "url")]
    pub continuous_usage: bool,
    /// Header of every request: 'NAME: VALUE', with ${VAR} taken from the environment; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// Let answers end by themselves
    #[arg(long, requires = "url")]
    pub no_ignore_eos: bool,
    /// `full` keeps the time of every chunk in the request rows
    #[arg(long, value_enum, default_value_t = Itl::Histogram)]
    pub itl: Itl,
    /// Seconds until the first token
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    pub ttft_timeout: Duration,
    /// Seconds between two reads of a stream
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub idle_timeout: Duration,
    /// Seconds for one request
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600")]
    pub timeout: Duration,
    /// Empty the server's prefix cache before each run, by the framework definition's reset_path (with --url)
    #[arg(long)]
    pub reset_cache: bool,
    /// Run this framework's own benchmark client instead, and write what it says as a native row
    #[arg(long, value_name = "FRAMEWORK", conflicts_with = "convert")]
    pub client: Option<String>,
    /// Drive the I-th of N parts of each load (from 0), with bench-serve --holders N and N such clients
    #[arg(long, value_name = "I/N", value_parser = shard, conflicts_with_all = ["url", "convert"])]
    pub shard: Option<Shard>,
    /// Name of the environment variable that holds the API key
    #[arg(long, value_name = "NAME", default_value = "BENCH_API_KEY")]
    pub api_key_env: String,
    /// Convert files of prompts (ShareGPT, messages, batch requests, instructions, Mooncake traces) to canonical rows, and
    /// exit
    #[arg(long, conflicts_with = "url")]
    pub convert: bool,
    /// With --convert: each turn of a talk becomes a row, and the talk a session
    #[arg(long, requires = "convert")]
    pub sessions: bool,
    /// With --convert: keep rows with images or tools where all of these frameworks take them
    #[arg(long = "for", value_name = "FRAMEWORK", value_delimiter = ',', requires = "convert")]
    pub for_frameworks: Vec<String>,
    /// With --convert: count tokens with this tokenizer.json instead of estimating them
    #[cfg(feature = "tokenizer")]
    #[arg(long, value_name = "FILE", requires = "convert")]
    pub tokenizer: Option<PathBuf>,
    /// Folder with more framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
    /// What is asked; last, for its heading goes on to the end
    #[command(flatten)]
    pub asked: WorkloadArgs,
}

/// How gaps between tokens are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Itl {
    /// As a histogram per run
    Histogram,
    /// Also in every request row
    Full,
}

impl Program for Args {
    const NAME: &'static str = "bench-load";
    fn common(&self) -> &Common {
        &self.common
    }
}

impl Args {
    /// The headers, name and value.
    ///
    /// # Errors
    /// One that is none, or that brings a secret along; what it says is not repeated.
    pub fn headers(&self) -> Result<Vec<(String, String)>> {
        let one = |text: &String| -> Result<(String, String)> {
            let none = || Error::new("a --header is 'NAME: VALUE'");
            let (name, value) = text.split_once(':').ok_or_else(none)?;
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() {
                return Err(none());
            }
            // It would stand in every list of processes, and in the rows.
            if crate::base::redact::is_inline_header(name, value) {
                let why = format!("the --header {name} holds a secret: write '{name}: ${{VAR}}' and set VAR");
                return Err(Error::new(why));
            }
            Ok((name.into(), value.into()))
        };
        self.headers.iter().map(one).collect()
    }
}

/// A rate of an open loop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Requests per second.
    Of(f64),
    /// That of the data set's time stamps.
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
        return Err("0 < LOWER < UPPER must hold".into());
    }
    if tolerance > 0.0 {
        Ok(Qps { lower, upper, tolerance, ..DEFAULT_QPS })
    } else {
        Err("TOLERANCE is above 0".into())
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "trace" {
        return Ok(Rate::Trace);
    }
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if rate.is_finite() && rate > 0.0 { Ok(Rate::Of(rate)) } else { Err("a rate is above 0".into()) }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    let shard = parts.map(|(index, of)| Shard { index, of }).filter(|shard| shard.index < shard.of);
    shard.ok_or_else(|| "a shard is I/N with I from 0 to N − 1, such as 0/2".into())
}

fn limit(text: &str) -> Result<(String, f64), String> {
    let (key, value) = key_value(text).map_err(|e| e.to_string())?;
    let limit = crate::rows::words::Limit::parse(&key)?;
    let not_a_number = || format!("{value:?} is not a number");
    let value = value.parse::<f64>().ok().filter(|v| !v.is_nan()).ok_or_else(not_a_number)?;
    limit.takes(value).map_err(|why| format!("{key} is {why}"))?;
    Ok((key, value))
}
