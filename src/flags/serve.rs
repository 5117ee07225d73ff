//! The command line of bench-serve.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Options, Parser};

use super::{Common, Program, ProgressArgs, ProgressFormat};
use crate::base::cpus::CpuList;
use crate::base::slots::SlotList;
use crate::base::version::VERSION;

const AFTER: &str = "\
Examples:
  bench-expand plan.yaml | bench-serve | bench-load > raw.jsonl
  bench-expand plan.yaml | head -1 | bench-serve        on a terminal: runs the server until Ctrl-C
  bench-expand plan.yaml | bench-serve -- sh -c 'my-client --url \"$BENCH_BASE_URL\" --json' > raw.jsonl
  bench-expand plan.yaml | head -1 | bench-serve --attach http://gpu-host:8000 | bench-load > raw.jsonl
  bench-expand plan.yaml | bench-serve --slots 0-3,4-7 | bench-load --jobs 2 > raw.jsonl
  bench-expand plan.yaml | bench-serve --dry-run
  bench-expand plan.yaml | bench-serve --smoke | jq '[.framework, .status, .smoke.ok]'

The program after `--` is run once per server, with the server row on standard input and BENCH_BASE_URL, \
BENCH_MODEL, BENCH_CANDIDATE_ID and BENCH_ARTIFACTS in its environment.

Exit status:
  0  done; a failed candidate is a row, not an error
  1  with --smoke: a framework's baseline does not serve, or the input has no candidate rows
  2  error: bad usage, unreadable or malformed input, I/O, a lease that no client took";

/// Start each candidate's server, lease it, and stop it completely
#[derive(Debug, Parser)]
#[command(
    name = "bench-serve",
    version = VERSION,
    long_about = "Start each candidate's server, wait until it is ready, lease it to bench-load, and stop it completely.\n\n\
                  Reads candidate rows, writes server and server_end rows; rows of other kinds pass through unchanged.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Files of candidate rows; standard input if omitted or -
    pub files: Vec<PathBuf>,
    /// Folder for server logs and option files
    #[arg(long, value_name = "DIR", default_value = "artifacts", aliases = ["artifact-dir", "output-dir"])]
    pub artifacts: PathBuf,
    /// Only print the commands that would be started
    #[arg(long)]
    pub dry_run: bool,
    /// Only start each framework's baseline once, and check that it lists its model, streams a token and completes five requests
    #[arg(long, conflicts_with_all = ["chain", "dry_run"])]
    pub smoke: bool,
    /// Use an already running server at this URL; it is never stopped
    #[arg(long, value_name = "URL", alias = "url")]
    pub attach: Option<String>,
    /// Time budget in seconds: start no further candidates once it is used up
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub budget: Option<Duration>,
    /// Raw rows of an earlier bench-serve; repeatable: candidates that would fail like those of it on this host are skipped
    #[arg(long, value_name = "FILE")]
    pub earlier: Vec<PathBuf>,
    /// Folder with additional framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// Environment variable that holds the server's API key
    #[arg(long, value_name = "NAME", default_value = "BENCH_API_KEY")]
    pub api_key_env: String,
    /// How servers start and stop
    #[command(flatten)]
    pub server: ServerArgs,
    /// How long a ready server waits for a client to take its lease, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60", help_heading = "Server")]
    pub lease_timeout: Duration,
    /// Number of clients that share one lease and start together
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..), alias = "clients", help_heading = "Server")]
    pub holders: u16,
    /// Keep the servers off these CPUs, such as 0-1,4, which bench-load --client-cpus uses
    #[arg(long, value_name = "LIST", help_heading = "Server")]
    pub client_cpus: Option<CpuList>,
    /// Run one server in each of these disjoint sets of GPUs at the same time, such as 0-3,4-7 or 0+2,1+3; of engines on the CPU, of
    /// CPUs. Baselines, repeats of finalists and candidates that need more GPUs than a slot has run alone (see bench(7))
    #[arg(long, value_name = "SLOTS", conflicts_with_all = ["attach", "smoke", "port", "dry_run"], help_heading = "Server")]
    pub slots: Option<SlotList>,
    /// With --slots of GPUs: the CPUs of each, in the same order, such as 0-31,32-63
    #[arg(long, value_name = "SLOTS", requires = "slots", help_heading = "Server")]
    pub slot_cpus: Option<SlotList>,
    /// Serve the candidates of another bench-serve, which has this one slot; each server waits so many seconds more for a client
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub copy: Option<u64>,
    /// Keep what servers compile in DIR, one folder for each version of a framework and GPU, so that later ones start faster; also of
    /// containers. Variables that the plan sets stay
    #[arg(long, value_name = "DIR", help_heading = "Server")]
    pub caches: Option<PathBuf>,
    /// Port for the servers instead of a free one
    #[arg(long, help_heading = "Server")]
    pub port: Option<u16>,
    /// Maximum server log size in MiB; the head and tail are kept
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Server")]
    pub log_limit: u64,
    /// The GPUs
    #[command(flatten)]
    pub gpus: GpuProbeArgs,
    /// Program to run once per server instead of waiting for bench-load
    #[arg(last = true, value_name = "PROG")]
    pub chain: Vec<String>,
    /// The form of the progress
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

/// How servers start and stop: options of bench-sweep, too.
#[derive(Debug, Clone, Options)]
pub struct ServerArgs {
    /// Skip the rest of a framework after N failed candidates without a good one; never: skip none
    #[arg(long, value_name = "N|never", default_value = "3", value_parser = give_up, help_heading = "Server")]
    pub give_up: GiveUp,
    /// How long a server may take to become ready, in seconds [default: set by the framework definition]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, aliases = ["startup-timeout", "timeout"], help_heading = "Server")]
    pub ready_timeout: Option<Duration>,
    /// Time between SIGTERM and SIGKILL, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30", alias = "grace-period", help_heading = "Server")]
    pub grace: Duration,
    /// How long to wait for a stopped server's GPU memory to be freed, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "120", help_heading = "GPUs")]
    pub gpu_release_timeout: Duration,
}

/// How GPUs are looked at: options of bench-sweep, too.
#[derive(Debug, Clone, Options)]
pub struct GpuProbeArgs {
    /// Command to use instead of nvidia-smi, with the output of `nvidia-smi --query-gpu` (see bench(7))
    #[arg(long, value_name = "CMD", value_parser = command, help_heading = "GPUs")]
    pub gpu_probe_cmd: Option<ArgvCommand>,
}

impl Program for Args {
    const NAME: &'static str = "bench-serve";
    fn common(&self) -> &Common {
        &self.common
    }
    fn progress(&self) -> ProgressFormat {
        self.progress.progress
    }
}

/// The value of `--give-up`: a number of failed candidates, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GiveUp(pub Option<u32>);

fn give_up(text: &str) -> Result<GiveUp, &'static str> {
    match text.parse() {
        _ if text == "never" => Ok(GiveUp(None)),
        Ok(n) if n > 0 => Ok(GiveUp(Some(n))),
        _ => Err("must be a number of at least 1, or never"),
    }
}

/// A command as argv, split as a shell would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgvCommand(pub Vec<String>);

/// Reads a command.
///
/// # Errors
/// An unclosed quote, or an empty command.
pub fn command(text: &str) -> Result<ArgvCommand, &'static str> {
    let words = crate::base::shell::split(text)?;
    if words.is_empty() { Err("the command is empty") } else { Ok(ArgvCommand(words)) }
}

/// Reads a time in seconds, with or without a decimal fraction.
///
/// # Errors
/// Anything that is not a non-negative number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("must be a number of seconds, got {text:?}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("must be a non-negative number of seconds, got {text:?}"))
}
