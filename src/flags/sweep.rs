//! The command line of bench-sweep.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::expand::RetryPolicy;
use super::fit::FitArgs;
use super::passed::PassedOn;
use super::rank::ReportFormat;
use super::serve::{GpuProbeArgs, ServerArgs, seconds};
use super::validate::UnknownFlagPolicy;
use super::{Common, MANY, Program, ProgressArgs, ProgressFormat};
use crate::base::cpus::CpuList;
use crate::base::slots::SlotList;
use crate::base::version::VERSION;
use crate::plan::expand::CandidatePart;

const AFTER: &str = "\
Examples:
  bench-sweep quickstart                                      a simulated engine, no GPU: everything, into results/quickstart
  bench-sweep quickstart                                      again: goes on where it was stopped
  bench-sweep --doctor plan.yaml                              what this host lacks for the plan, and how to get it
  bench-sweep plan.yaml --dry-run                             only print the commands
  bench-sweep plan.yaml --budget 7200                         start no server after two hours
  bench-sweep plan.yaml --out results/m1 --retry failed       run again what failed
  bench-sweep plan.yaml --fit 8h                              choose what to run so that it ends within eight hours
  bench-sweep plan.yaml --share /shared/m1                    on each of several hosts: they share the candidates
  bench-sweep --status results/m1                             candidates done, failed and left, the best so far, the time left
  bench-sweep --stop results/m1                               end after the current run, with a report; resume later
  bench-sweep --report results/m1                             what it has measured so far, at any time

Everything is written to DIR: plan.jsonl candidates.jsonl raw/NNNN.jsonl results.jsonl report.md report.html report.csv \
help/ logs/ caches/. Rerun with the same DIR to resume. Ctrl-C, SIGTERM or SIGHUP stops the server, saves all rows and still writes \
the report; a second one stops the programs at once. If bench-sweep itself is killed, the programs that it started stop as \
after SIGTERM. One sweep runs in a folder at a time.

The programs are those beside bench-sweep, else those on the PATH. engines/*/bin of the current folder come first on the PATH \
of the servers. scripts/sweep builds the programs first.

Exit status:
  0  done
  1  done, and no candidate meets the SLA
  2  error: bad usage, a plan with errors, unreadable or malformed input, I/O, a program that failed
  3  nothing was measured: every start or run failed, or it was stopped before the first server was started
  4  every run was complete before, so nothing was measured (not with --resume)";

/// Run the whole benchmark: plans in, one folder with rows, logs and reports out
#[derive(Debug, Clone, Parser)]
#[command(
    name = "bench-sweep",
    version = VERSION,
    long_about = "Run the whole benchmark: capture each framework's --help, check the host and its GPUs, validate the plans, start every \
                  candidate, drive the load, and write the report.",
    after_long_help = AFTER
)]
pub struct Args {
    /// Plan files or folders, or quickstart: a plan without a GPU, on a simulated engine
    #[arg(value_name = "PLAN", required_unless_present_any = ["status", "stop", "report", "doctor"])]
    pub plans: Vec<PathBuf>,
    /// Output folder [default: results/NAME, NAME of the first plan]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print how far the sweep in DIR is, also while it runs
    #[arg(long, value_name = "DIR", conflicts_with_all = ["plans", "stop"])]
    pub status: Option<PathBuf>,
    /// End the sweep in DIR after its current run, with a report; so does a file DIR/stop
    #[arg(long, value_name = "DIR", conflicts_with = "plans")]
    pub stop: Option<PathBuf>,
    /// Say what each framework of the plans lacks on this host, and how to get it; without PLAN, of every known framework. Nothing is
    /// started or pulled. Status 0: something can be run, 1: nothing can
    #[arg(long, group = "printed", conflicts_with_all = ["out", "status", "stop", "share", "part", "dry_run", "resume"])]
    pub doctor: bool,
    /// Run CMD in sh with an event row on its standard input when a stage begins, a candidate fails, and at the end; it is killed after 30 s
    #[arg(long, value_name = "CMD")]
    pub on_event: Option<String>,
    /// Go on in a folder in which every run is complete: write its report again, and end as if something had been measured
    #[arg(long)]
    pub resume: bool,
    /// Only print a report of what the sweep in DIR has measured so far, running or not; DIR is only read
    #[arg(long, value_name = "DIR", group = "printed", conflicts_with_all = ["plans", "out", "dry_run", "resume"], help_heading = "Report")]
    pub report: Option<PathBuf>,
    /// With --report: its format; with --doctor jsonl gives rows
    #[arg(long, value_enum, default_value_t = ReportFormat::Auto, requires = "printed", help_heading = "Report")]
    pub format: ReportFormat,
    /// With --report: write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", requires = "report", help_heading = "Report")]
    pub output: Option<PathBuf>,
    /// Only part K of N of the candidates, such as 3/16, with the baselines of their frameworks: one sweep on each of N hosts
    #[arg(long, value_name = "K/N", help_heading = MANY)]
    pub part: Option<CandidatePart>,
    /// Share the sweep in DIR, which all hosts see: claims in DIR/claims, own files in DIR/nodes/NODE; start the same command on as
    /// many hosts as there are, at any time
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "part", "fit", "until", "status", "stop", "report"], help_heading = MANY)]
    pub share: Option<PathBuf>,
    /// With --share: a host that has not renewed its claim for this time is dead
    #[arg(long, value_name = "SECONDS", default_value = "120", requires = "share", value_parser = seconds, help_heading = MANY)]
    pub claim_timeout: Duration,
    /// With --share or --part: do not measure first how fast this node is
    #[arg(long, help_heading = MANY)]
    pub no_calibration: bool,
    /// Only print the commands that would be run
    #[arg(long)]
    pub dry_run: bool,
    /// Start no further candidate after this time, in seconds; permits plans of tier 3
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub budget: Option<Duration>,
    /// The time in which the sweep is to end
    #[command(flatten)]
    pub end: FitArgs,
    /// Run a plan of tier 3, however long it takes
    #[arg(long)]
    pub accept_long_run: bool,
    /// When resuming: which failed runs to run again
    #[arg(long, value_enum, default_value_t = RetryPolicy::Transient)]
    pub retry: RetryPolicy,
    /// Keep what servers compile in DIR instead of OUT/caches: one folder for each version of a framework and GPU
    #[arg(long, value_name = "DIR")]
    pub caches: Option<PathBuf>,
    /// Do not keep what servers compile: each keeps it where it usually does
    #[arg(long, conflicts_with = "caches")]
    pub no_caches: bool,
    /// CPUs for bench-load alone, such as 0-1,4: servers on this host run on the others
    #[arg(long, value_name = "LIST")]
    pub client_cpus: Option<CpuList>,
    /// Run candidates at the same time in these disjoint sets of GPUs, such as 0-3,4-7, of engines on the CPU of CPUs; baselines and the
    /// repeats of finalists run alone. First it is measured how much servers in them disturb each other: over 3 % the sweep runs
    /// without slots
    #[arg(long, value_name = "SLOTS", conflicts_with = "share")]
    pub slots: Option<SlotList>,
    /// With --slots of GPUs: the CPUs of each, in the same order, such as 0-31,32-63
    #[arg(long, value_name = "SLOTS", requires = "slots")]
    pub slot_cpus: Option<SlotList>,
    /// Folder with additional framework definitions
    #[arg(long, value_name = "DIR")]
    pub frameworks: Option<PathBuf>,
    /// How bench-serve starts and stops servers
    #[command(flatten)]
    pub server: PassedOn<ServerArgs>,
    /// How GPUs are looked at
    #[command(flatten)]
    pub gpus: PassedOn<GpuProbeArgs>,
    /// Continue without a framework whose help cannot be captured or that cannot be started (noted in the report)
    #[arg(long, help_heading = "Before the runs")]
    pub allow_missing: bool,
    /// What to do with a flag missing from the captured --help
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = UnknownFlagPolicy::Fail, help_heading = "Before the runs")]
    pub unknown_flags: UnknownFlagPolicy,
    /// Skip the preflight checks and the capture of help (noted in the report)
    #[arg(long, help_heading = "Before the runs")]
    pub no_preflight: bool,
    /// The form of the progress
    #[command(flatten)]
    pub progress: ProgressArgs,
    /// Options of all programs
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// The output folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        let first = self.plans.first().and_then(|plan| plan.file_stem());
        self.out.clone().unwrap_or_else(|| PathBuf::from("results").join(first.unwrap_or_default()))
    }
}

/// The word of a value, as it is typed.
#[must_use]
pub fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}

impl Program for Args {
    const NAME: &'static str = "bench-sweep";
    fn common(&self) -> &Common {
        &self.common
    }
    fn progress(&self) -> ProgressFormat {
        self.progress.progress
    }
}
