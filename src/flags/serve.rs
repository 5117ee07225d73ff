//! The command line of bench-serve.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::{Common, Program};
use crate::base::version::VERSION;

const AFTER: &str = "\
Examples:
  bench-expand plan.yaml | bench-serve | bench-load > raw.jsonl
  bench-expand plan.yaml | head -1 | bench-serve        at a terminal: holds the server until Ctrl-C
  bench-expand plan.yaml | bench-serve -- sh -c 'my-client --url \"$BENCH_BASE_URL\" --json' > raw.jsonl
  bench-expand plan.yaml | head -1 | bench-serve --attach http://gpu-host:8000 | bench-load > raw.jsonl
  bench-expand plan.yaml | bench-serve --dry-run
  bench-expand plan.yaml | bench-serve --smoke | jq '[.framework, .status, .smoke.ok]'

Behind `--` stands a program that is run once per server, with the server row on its standard input and
BENCH_BASE_URL, BENCH_MODEL, BENCH_CANDIDATE_ID and BENCH_ARTIFACTS in its environment.

Exit status:
  0  done; a candidate that failed is a row, not an error
  1  with --smoke: some framework's baseline does not serve, or no candidate came in
  2  trouble: usage, unreadable or malformed input, I/O, a lease that nobody took";

/// Start each candidate's server, lease it, and stop it completely
#[derive(Debug, Parser)]
#[command(
    name = "bench-serve",
    version = VERSION,
    long_about = "Start each candidate's server, wait until it is really ready, lease it to bench-load, and stop it completely.\n\n\
                  Reads candidate rows, writes server and server_end rows; rows of other kinds pass through.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of candidate rows; standard input when none is given, or for -
    pub files: Vec<PathBuf>,
    /// Folder for server logs and option files
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    pub artifacts: PathBuf,
    /// Use this port instead of a free one
    #[arg(long)]
    pub port: Option<u16>,
    /// Seconds until a server must be ready, instead of the framework definition's
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub ready_timeout: Option<Duration>,
    /// Seconds for which a ready server waits for its lease to be taken
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub lease_timeout: Duration,
    /// Seconds between SIGTERM and SIGKILL
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub grace: Duration,
    /// A command that lists the GPUs as `nvidia-smi --query-gpu` does (see bench(7)), instead of nvidia-smi
    #[arg(long, value_name = "CMD", value_parser = command)]
    pub gpu_probe_cmd: Option<ArgvCommand>,
    /// Seconds for which a stopped server's GPU memory is waited for
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120")]
    pub gpu_release_timeout: Duration,
    /// Lease the server at this URL, which somebody else runs, instead of starting one; it is never stopped
    #[arg(long, value_name = "URL")]
    pub attach: Option<String>,
    /// After N failed candidates of a framework, none good, skip the rest of it; or never
    #[arg(long, value_name = "N|never", default_value = "3", value_parser = give_up)]
    pub give_up: GiveUp,
    /// Most MiB of a server's log; its head and its latest part are kept
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..))]
    pub log_limit: u64,
    /// Clients that share one lease and one time zero
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..))]
    pub holders: u16,
    /// Seconds after which no further candidate is started
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub budget: Option<Duration>,
    /// Name of the environment variable that holds the API key, for servers that ask for one
    #[arg(long, value_name = "NAME", default_value = "BENCH_API_KEY")]
    pub api_key_env: String,
    /// Folder with more framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Only check the flow: each framework's baseline is started, lists its model, streams a token and answers five requests
    #[arg(long, conflicts_with_all = ["chain", "dry_run"])]
    pub smoke: bool,
    /// Print the commands that would be started, and start nothing
    #[arg(long)]
    pub dry_run: bool,
    /// A program to run once per server instead of waiting for bench-load
    #[arg(last = true, value_name = "PROG")]
    pub chain: Vec<String>,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

impl Program for Args {
    const NAME: &'static str = "bench-serve";
    fn common(&self) -> &Common {
        &self.common
    }
}

/// When a framework is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GiveUp(pub Option<u32>);

fn give_up(text: &str) -> Result<GiveUp, &'static str> {
    match text.parse() {
        _ if text == "never" => Ok(GiveUp(None)),
        Ok(n) if n > 0 => Ok(GiveUp(Some(n))),
        _ => Err("a number of at least 1, or never"),
    }
}

/// A command as argv, split as a shell would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgvCommand(pub Vec<String>);

/// Reads a command.
///
/// # Errors
/// A quote that is not closed, or no word.
pub fn command(text: &str) -> Result<ArgvCommand, &'static str> {
    let words = crate::base::shell::split(text)?;
    if words.is_empty() { Err("a command has at least one word") } else { Ok(ArgvCommand(words)) }
}

/// Seconds, also as a decimal fraction.
///
/// # Errors
/// Anything that is no positive number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text:?} is not a time"))
}
