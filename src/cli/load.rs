//! The command line of bench-load.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::serve::seconds;
use super::{Common, Program, key_value};
use crate::error::{Error, Result};
use crate::load::request::Limits;
use crate::load::target::Target;
use crate::plan::DEFAULT_QPS;
use crate::schedule::Arrivals;
use crate::schema::{Benchmark, CachePolicy, Load, LoadMode, Members, Qps, Scenario};

const AFTER: &str = "\
Examples:
  bench-expand plan.yaml | bench-serve | bench-load | bench-normalize | bench-rank
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --concurrency 8 > raw.jsonl
  bench-load --url http://127.0.0.1:8000 --scenario chat=1000:200 --rate 4 --sla max_p99_ttft_ms=500 | bench-normalize | bench-rank

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
    /// What is asked: NAME=PROMPT_TOKENS:OUTPUT_TOKENS; may be repeated
    #[arg(long = "scenario", value_name = "NAME=IN:OUT", value_parser = scenario, requires = "url")]
    pub scenarios: Vec<Scenario>,
    /// Closed loop with this many requests in flight; may be repeated
    #[arg(long, value_name = "N", requires = "url", value_parser = clap::value_parser!(u32).range(1..))]
    pub concurrency: Vec<u32>,
    /// Open loop at this many requests per second; may be repeated
    #[arg(long, value_name = "PER_SECOND", requires = "url", value_parser = rate)]
    pub rate: Vec<f64>,
    /// Search the highest rate from LOWER to UPPER that keeps the limits of --sla, open loop
    #[arg(long, value_name = "LOWER:UPPER[:TOLERANCE]", requires_all = ["url", "sla"], value_parser = qps)]
    pub qps: Option<Qps>,
    /// Open loop: poisson, constant, gamma:BURSTINESS, or a ramp from another rate: linear:FROM, exponential:FROM
    #[arg(long, value_name = "KIND", default_value = "poisson", value_parser = arrivals)]
    pub arrivals: Option<String>,
    /// Open loop: drop what is due while this many are in flight
    #[arg(long, value_name = "N", requires = "rate")]
    pub cap: Option<u32>,
    /// All requests at once
    #[arg(long, requires = "url")]
    pub burst: bool,
    /// Measured requests per run
    #[arg(long, value_name = "N", default_value_t = 80, requires = "url", value_parser = clap::value_parser!(u32).range(1..))]
    pub num_prompts: u32,
    /// Requests before the measured ones
    #[arg(long, value_name = "N", default_value_t = 2, requires = "url")]
    pub warmup: u32,
    /// Seed of schedule and prompts
    #[arg(long, default_value_t = 1, requires = "url")]
    pub seed: u64,
    /// Path of the endpoint: /v1/completions or /v1/chat/completions
    #[arg(long, value_name = "PATH", default_value = "/v1/completions", value_parser = endpoint, requires = "url")]
    pub endpoint: String,
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
    /// Name of the environment variable that holds the API key
    #[arg(long, value_name = "NAME", default_value = "BENCH_API_KEY")]
    pub api_key_env: String,
    /// Folder with more framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
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
    /// The time limits of a request.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits { ttft: self.ttft_timeout, idle: self.idle_timeout, total: self.timeout }
    }

    /// What is loaded without a pipeline; `None` in a pipeline.
    ///
    /// # Errors
    /// When the command line does not say what to ask or how.
    pub fn target(&self) -> Result<Option<Target>> {
        let Some(url) = &self.url else { return Ok(None) };
        let arrivals = self.arrivals.clone().filter(|kind| kind != "poisson");
        let load =
            |mode| Load { mode, arrivals: arrivals.clone().filter(|_| mode == LoadMode::Open), ..Load::default() };
        let mut loads: Vec<Load> = Vec::new();
        loads.extend(self.rate.iter().map(|rate| Load { rate: Some(*rate), cap: self.cap, ..load(LoadMode::Open) }));
        loads.extend(self.qps.iter().map(|qps| Load { qps: Some(*qps), ..load(LoadMode::Open) }));
        loads.extend(self.concurrency.iter().map(|n| Load { concurrency: Some(*n), ..load(LoadMode::Closed) }));
        loads.extend(self.burst.then(|| load(LoadMode::Burst)));
        if self.scenarios.is_empty() || loads.is_empty() {
            return Err(Error::new(
                "say what to ask and how: --scenario chat=1000:200 and --concurrency 8, --rate 4, --qps 1:32 or --burst",
            ));
        }
        let extra: Members = serde_json::from_str(&self.extra_body)
            .map_err(|e| Error::new("--extra-body is not a JSON object").because(e))?;
        Ok(Some(Target {
            url: url.clone(),
            model: self.model.clone(),
            framework: self.framework.clone(),
            scenarios: self.scenarios.clone(),
            loads,
            benchmark: Benchmark {
                endpoint: self.endpoint.clone(),
                num_prompts: self.num_prompts,
                duration_s: None,
                warmup_requests: self.warmup,
                seed: self.seed,
                ignore_eos: !self.no_ignore_eos,
                extra_request_body: extra,
                cache: if self.reset_cache { CachePolicy::Reset } else { CachePolicy::UniquePrompts },
                smoke: self.num_prompts <= 20,
            },
            sla: self.sla.iter().map(|(key, value)| (key.clone(), (*value).into())).collect(),
        }))
    }
}

fn arrivals(text: &str) -> Result<String, String> {
    Arrivals::parse(text).map(|_| text.to_string())
}

fn qps(text: &str) -> Result<Qps, String> {
    let wrong = || format!("{text:?} is not LOWER:UPPER or LOWER:UPPER:TOLERANCE, such as 1:32");
    let numbers: Vec<f64> = text.split(':').map(|n| n.parse().map_err(|_| wrong())).collect::<Result<_, _>>()?;
    let (lower, upper, tolerance) = match numbers[..] {
        [lower, upper] => (lower, upper, DEFAULT_QPS.tolerance),
        [lower, upper, tolerance] => (lower, upper, tolerance),
        _ => return Err(wrong()),
    };
    let holds = lower > 0.0 && upper > lower && upper.is_finite() && tolerance > 0.0;
    if holds { Ok(Qps { lower, upper, tolerance, ..DEFAULT_QPS }) } else { Err("0 < LOWER < UPPER must hold".into()) }
}

fn scenario(text: &str) -> Result<Scenario, String> {
    let wrong = || format!("{text:?} is not NAME=PROMPT_TOKENS:OUTPUT_TOKENS, such as chat=1000:200");
    let (name, lengths) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(wrong)?;
    let (input, output) = lengths.split_once(':').ok_or_else(wrong)?;
    let length = |text: &str| text.parse().ok().filter(|n: &u32| *n > 0).ok_or_else(wrong);
    Ok(Scenario { name: name.into(), kind: "random".into(), input_len: length(input)?, output_len: length(output)? })
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    let known = ["/v1/completions", "/v1/chat/completions"].contains(&text);
    known.then(|| text.to_string()).ok_or("the endpoint is /v1/completions or /v1/chat/completions")
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if rate.is_finite() && rate > 0.0 { Ok(rate) } else { Err("a rate is above 0".into()) }
}

fn limit(text: &str) -> Result<(String, f64), String> {
    let (key, value) = key_value(text).map_err(|e| e.to_string())?;
    let limit = crate::sla::Limit::parse(&key)?;
    let not_a_number = || format!("{value:?} is not a number");
    let value = value.parse::<f64>().ok().filter(|v| !v.is_nan()).ok_or_else(not_a_number)?;
    limit.takes(value).map_err(|why| format!("{key} is {why}"))?;
    Ok((key, value))
}
