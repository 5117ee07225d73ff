//! The commands of a sweep.

use std::path::{Path, PathBuf};

use super::folder::SweepFolder;
use crate::base::slots::SlotList;
use crate::flags::ProgressFormat;
use crate::flags::expand::RetryPolicy;
use crate::flags::fit::{FitArgs, FitTime};
use crate::flags::sweep::{Args, word};
use crate::rank::Unfinished;
use crate::system::process::pipeline::Invocation;

/// Checks the plans.
pub fn validate(args: &Args, folder: &SweepFolder) -> Invocation {
    let common = with_frameworks(program("bench-validate", args), args);
    let common = common.args(["--format", "jsonl", "--unknown-flags"]).arg(word(&args.unknown_flags));
    let checked = match args.no_preflight {
        true => common.arg("--no-preflight"),
        false => common.args(["--preflight", "--capture-help"]).arg(folder.path("help")).args(&args.gpus.words),
    };
    let checked = if args.allow_missing { checked.arg("--allow-missing") } else { checked };
    checked.arg("--output").arg(folder.path("plan.jsonl")).arg("--").args(&args.plans)
}

/// Writes all candidates to `candidates.jsonl`.
pub fn expand(args: &Args, folder: &SweepFolder, quiet: bool) -> Invocation {
    let all = candidates(args, quiet).args(["--stage", "plain", "--fit", "none"]);
    all.arg("--output").arg(folder.path("candidates.jsonl")).arg(folder.path("plan.jsonl"))
}

/// Writes the candidates with runs left to `output`, so that they can be counted.
pub fn expand_left(args: &Args, folder: &SweepFolder, retry: RetryPolicy, quiet: bool, output: &Path) -> Invocation {
    // All of them, whether there is time for them or not.
    let end = FitArgs { fit: Some(FitTime::Unlimited), until: None };
    let args = Args { end, ..args.clone() };
    left(&args, folder, Some(retry), quiet, true).arg("--output").arg(output).arg(folder.path("plan.jsonl"))
}

/// The candidates with runs left; `retry` is for runs that `results.jsonl` has, `None` if there are none.
/// With a limit of time only the next of each framework, if `one_each`.
fn left(args: &Args, folder: &SweepFolder, retry: Option<RetryPolicy>, quiet: bool, one_each: bool) -> Invocation {
    let all = candidates(args, quiet);
    let all = match args.end.fit {
        Some(FitTime::Within(time)) => {
            let all = all.arg("--fit").arg(format!("{:.0}s", time.as_secs_f64()));
            if one_each { all.arg("--next") } else { all }
        }
        Some(FitTime::Unlimited) => all.args(["--fit", "none"]),
        None => all,
    };
    match retry {
        Some(retry) => all.arg("--done").arg(folder.path("results.jsonl")).arg("--retry").arg(word(&retry)),
        None => all,
    }
}

/// Writes the candidates of the next pipe to `output`.
pub fn next(args: &Args, folder: &SweepFolder, resumes: bool, quiet: bool, output: &Path) -> Invocation {
    let left = left(args, folder, resumes.then_some(args.retry), quiet, true);
    left.arg("--output").arg(output).arg(folder.path("plan.jsonl"))
}

/// The pipe that measures how fast this node is: its rows go to standard output.
pub fn calibrate(args: &Args, folder: &SweepFolder, resumes: bool) -> Vec<Invocation> {
    let expand = with_frameworks(Invocation::of("bench-expand"), args);
    let expand = expand.args(["--quiet", "--accept-long-run", "--calibrate"]);
    let expand = if resumes { expand.arg("--done").arg(folder.path("results.jsonl")) } else { expand };
    let mut pipe = measure(args, folder, resumes, true);
    pipe[0] = expand.arg(folder.path("plan.jsonl"));
    pipe
}

/// The pipe that measures how much servers in slots disturb each other: its rows go to standard output.
pub fn slot_check(args: &Args, folder: &SweepFolder, slots: &SlotList, resumes: bool) -> Vec<Invocation> {
    let expand = with_frameworks(Invocation::of("bench-expand"), args);
    let expand = expand.args(["--quiet", "--accept-long-run", "--slot-check"]).arg(slots.to_string());
    let expand = if resumes { expand.arg("--done").arg(folder.path("results.jsonl")) } else { expand };
    let mut pipe = measure(args, folder, resumes, true);
    pipe[0] = expand.arg(folder.path("plan.jsonl"));
    pipe
}

/// The pipe that measures: its rows go to standard output. With a limit of time one candidate of each framework, if `one_each`.
pub fn measure(args: &Args, folder: &SweepFolder, resumes: bool, one_each: bool) -> Vec<Invocation> {
    let serve = with_frameworks(program("bench-serve", args), args).arg("--artifacts").arg(folder.path("logs"));
    let serve = within_budget(serve, args).args(&args.server.words).args(&args.gpus.words);
    // What failed is run again: it says nothing.
    let earlier = if args.retry == RetryPolicy::Transient { folder.raw_files() } else { Vec::new() };
    let serve = earlier.iter().fold(serve, |serve, raw| serve.arg("--earlier").arg(raw));
    let caches = args.caches.clone().unwrap_or_else(|| folder.path("caches"));
    let serve = if args.no_caches { serve } else { serve.arg("--caches").arg(caches) };
    let on_cpus = |program: Invocation| match &args.client_cpus {
        Some(cpus) => program.arg("--client-cpus").arg(cpus.to_string()),
        None => program,
    };
    let told = |program: Invocation| match args.progress.progress {
        ProgressFormat::Text => program,
        ProgressFormat::Json => program.args(["--progress", "json"]),
    };
    // Baselines that answered the questions already.
    let raw_files = folder.raw_files();
    let load = with_frameworks(program("bench-load", args), args);
    let load = raw_files.iter().fold(load, |load, raw| load.arg("--earlier").arg(raw));
    let (serve, load) = match &args.slots {
        Some(slots) => {
            let serve = serve.arg("--slots").arg(slots.to_string());
            let cpus = args.slot_cpus.as_ref().map(ToString::to_string);
            let serve = cpus.map(|cpus| serve.clone().arg("--slot-cpus").arg(cpus)).unwrap_or(serve);
            (serve, load.arg("--jobs").arg(slots.slots().len().to_string()))
        }
        None => (serve, load),
    };
    let left = left(args, folder, resumes.then_some(args.retry), true, one_each);
    let left = match &args.share {
        Some(shared) => {
            let timeout = args.claim_timeout.as_secs_f64().to_string();
            left.arg("--claim").arg(shared.join("claims")).arg("--claim-timeout").arg(timeout)
        }
        None => left,
    };
    let left = left.arg(folder.path("plan.jsonl"));
    vec![left, told(on_cpus(serve)), told(on_cpus(load))]
}

/// Folds raw rows to results.
pub fn normalize(folder: &SweepFolder, raw: &[PathBuf]) -> Invocation {
    let results = folder.path("results.jsonl");
    Invocation::of("bench-normalize").arg("--quiet").arg("--output").arg(results).args(raw)
}

/// One form of the report, in `report.FORMAT` or on standard output.
pub fn report(folder: &SweepFolder, format: &str, to_file: bool, unfinished: Option<&Unfinished>) -> Invocation {
    let rank = rank(format, unfinished);
    let rank = if to_file { rank.arg("--output").arg(folder.path(&format!("report.{format}"))) } else { rank };
    rank.arg(folder.path("results.jsonl"))
}

/// The report without its place and results.
pub fn rank(format: &str, unfinished: Option<&Unfinished>) -> Invocation {
    let rank = Invocation::of("bench-rank").args(["--quiet", "--format", format]);
    unfinished.map(|left| rank.clone().arg("--unfinished").arg(left.to_string())).unwrap_or(rank)
}

fn candidates(args: &Args, quiet: bool) -> Invocation {
    let expand = if quiet { Invocation::of("bench-expand").arg("--quiet") } else { program("bench-expand", args) };
    let expand = with_frameworks(expand, args);
    let expand = if args.accept_long_run { expand.arg("--accept-long-run") } else { expand };
    let slots = args.slots.as_ref().map(ToString::to_string);
    let expand = slots.map(|slots| expand.clone().arg("--slots").arg(slots)).unwrap_or(expand);
    let expand = args.part.map_or(expand.clone(), |part| expand.arg("--part").arg(part.to_string()));
    within_budget(expand, args)
}

fn within_budget(program: Invocation, args: &Args) -> Invocation {
    match args.budget.into_iter().chain(args.end.fit.and_then(FitTime::limit)).min() {
        Some(budget) => program.arg("--budget").arg(budget.as_secs_f64().to_string()),
        None => program,
    }
}

fn with_frameworks(program: Invocation, args: &Args) -> Invocation {
    match &args.frameworks {
        Some(folder) => program.arg("--frameworks").arg(folder),
        None => program,
    }
}

fn program(name: &'static str, args: &Args) -> Invocation {
    let program = Invocation::of(name);
    if args.common.quiet { program.arg("--quiet") } else { program }
}
