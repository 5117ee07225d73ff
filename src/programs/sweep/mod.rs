//! bench-sweep: runs the other programs, and owns their signals and files.

mod events;
mod folder;
mod partial;
mod slots;
mod stages;
mod status;
mod steps;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use self::events::{EventCommand, FailureWatch};
use self::folder::SweepFolder;
use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::base::slots::SlotList;
use crate::flags::expand::RetryPolicy;
use crate::flags::fit::{FitArgs, FitTime};
use crate::flags::sweep::Args;
use crate::programs::{doctor, stdio, time_limit};
use crate::rank::Unfinished;
use crate::rows::words::UnfinishedReason;
use crate::system::folder_lock::FolderLock;
use crate::system::process::pipeline::{Invocation, MemberEnd, PipeEnds, PipeRunner, end_of};
use crate::system::process::proc::SWEEP_MARK;
use crate::system::process::signals::Signal;
use crate::system::process::{bound, guard, proc, signals};
use crate::system::run_folder;
use crate::system::stop_file;
use crate::system::stopwatch::Stopwatch;
use crate::system::whole_file::create_appended;

/// How often a step of the end is repeated that a signal to all processes ended.
const TRIES: usize = 3;

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(failed) = bound::run(std::env::args_os()) {
        Notice::new("bench-sweep", false).error(&failed);
        return ExitStatus::Trouble.into();
    }
    let mut signal = None;
    let exit = super::run(|args: Args, notice| {
        if let Some(folder) = &args.status {
            status::print(&SweepFolder::at(folder.clone()), notice)?;
            return Ok(ExitStatus::Done);
        }
        if args.doctor {
            let path = environment(None).into_iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
            let plans = (args.plans.as_slice(), args.frameworks.as_deref());
            return doctor::examine(plans, &path.unwrap_or_default(), args.format, notice);
        }
        if let Some(folder) = &args.stop {
            return stop(folder, notice);
        }
        if let Some(folder) = &args.report {
            let mut runner = PipeRunner::listen(environment(None))?;
            let exit = partial::report(&args, folder, &mut runner, notice);
            signal = runner.signal();
            return exit;
        }
        if args.dry_run {
            let end = FitArgs { fit: time_limit::from_now(&args.end)?, until: None };
            let args = Args { end, ..args };
            let folder = match &args.share {
                Some(shared) => SweepFolder::of_node(shared, &proc::node()),
                None => SweepFolder::at(args.folder()),
            };
            return dry_run(&args, &folder);
        }
        let (folder, lock) = match &args.share {
            Some(shared) => SweepFolder::free_of_node(shared, &proc::node())?,
            None => {
                let folder = SweepFolder::at(args.folder());
                folder.create()?;
                let lock = FolderLock::take(folder.root())?;
                (folder, lock)
            }
        };
        // One that is there already was for the sweep before; from now on it is for this one.
        stop_file::forget(folder.root())?;
        let left = run_folder::remove_dead();
        if !left.is_empty() {
            notice.warn(format!("killed what an earlier sweep had left running: {}", left.join(", ")));
        }
        lock.wait_until_alone(notice)?;
        folder.remove_parts();
        // What loses both bench-serve and its guard becomes a child of this process.
        guard::adopt_orphans()?;
        let runner = PipeRunner::listen(environment(Some(lock.folder())))?;
        let events = args.on_event.as_ref().map(|command| EventCommand::new(command, folder.root(), notice));
        let (begun, fit, pause) = (Stopwatch::start(), None, Duration::ZERO);
        let mut sweep = Sweep {
            args: &args,
            folder,
            lock,
            runner,
            failed: false,
            folded: false,
            events,
            begun,
            fit,
            pause,
            slots: None,
            notice,
        };
        let exit = sweep.all();
        sweep.tell_end(exit.as_ref().ok().copied());
        signal = sweep.runner.signal();
        exit
    });
    if let Some(signal) = signal {
        signals::die_by(signal);
    }
    exit
}

/// Asks a running sweep to end after its current run.
fn stop(folder: &Path, notice: &Notice) -> Result<ExitStatus> {
    if !FolderLock::is_held(folder)? {
        notice.say(format!("no sweep is running in {}", folder.display()));
        return Ok(ExitStatus::No);
    }
    stop_file::ask(folder)?;
    notice.say(format!("the sweep in {} ends after its current run", folder.display()));
    Ok(ExitStatus::Done)
}

/// Prints the commands instead of running them.
fn dry_run(args: &Args, folder: &SweepFolder) -> Result<ExitStatus> {
    let (raw, next) = (folder.raw_files(), folder.next_raw_file());
    let resumes = !raw.is_empty();
    let mut lines = vec![steps::validate(args, folder).to_string(), steps::expand(args, folder, resumes).to_string()];
    lines.extend(resumes.then(|| steps::normalize(folder, &raw).to_string()));
    let check = args.slots.as_ref().map(|slots| steps::slot_check(args, folder, slots, resumes));
    for pipe in check.into_iter().chain([steps::measure(args, folder, resumes, true)]) {
        let pipe = pipe.iter().map(Invocation::to_string).collect::<Vec<_>>().join(" | ");
        lines.push(format!("{pipe} >> {}", crate::base::shell::quote(&next.display().to_string())));
    }
    let all: Vec<PathBuf> = raw.into_iter().chain([next]).collect();
    lines.push(steps::normalize(folder, &all).to_string());
    lines.extend(["md", "csv", "html"].map(|format| steps::report(folder, format, true, None).to_string()));
    lines.push(steps::report(folder, "table", false, None).to_string());
    let mut out = stdio::row_writer()?;
    lines.iter().try_for_each(|line| out.write_line(line))?;
    Ok(ExitStatus::Done)
}

/// What the programs get in addition to this process's environment: the mark of this sweep, by its folder, and a PATH with the engines that
/// scripts/engines installed in the current folder, and with the programs beside this one.
fn environment(mark: Option<&Path>) -> Vec<(OsString, OsString)> {
    let engines = std::fs::read_dir("engines").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let mut engines: Vec<PathBuf> =
        engines.filter(|path| path.is_dir()).filter_map(|path| path.canonicalize().ok()).collect();
    engines.sort();
    let beside = std::env::current_exe().ok().and_then(|this| this.parent().map(Path::to_path_buf));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(engines.into_iter().chain(beside).chain(std::env::split_paths(&path)));
    let mark = mark.map(|folder| (SWEEP_MARK.into(), folder.as_os_str().to_os_string()));
    mark.into_iter().chain(path.ok().map(|path| ("PATH".into(), path))).collect()
}

struct Sweep<'a> {
    args: &'a Args,
    folder: SweepFolder,
    lock: FolderLock,
    runner: PipeRunner,
    /// A program failed.
    failed: bool,
    /// The results are made of all rows so far.
    folded: bool,
    events: Option<Arc<EventCommand>>,
    begun: Stopwatch,
    /// The time in which it is to end, from its beginning.
    fit: Option<FitTime>,
    /// Time between the last two pipes.
    pause: Duration,
    /// The slots, unless servers in them disturb each other.
    slots: Option<SlotList>,
    notice: &'static Notice,
}

/// What is left of a sweep that is resumed.
enum RunsLeft {
    /// Runs, or how many is not known.
    Some,
    /// None.
    None,
    /// A signal came.
    Stopped,
}

impl Sweep<'_> {
    fn all(&mut self) -> Result<ExitStatus> {
        let earlier = self.folder.raw_files();
        let resumes = !earlier.is_empty();
        match self.step(steps::validate(self.args, &self.folder))? {
            Some(0) => {}
            Some(1) => {
                return Err(Error::new("the plans have errors; no server was started"));
            }
            Some(_) => return Err(Error::new("bench-validate failed; no server was started")),
            None => return Ok(ExitStatus::Done),
        }
        self.fit = self.time_limit()?;
        let is_limited = self.fit.is_some_and(|fit| fit.limit().is_some());
        match self.step(steps::expand(self.args, &self.folder, resumes || is_limited))? {
            Some(0) => {}
            Some(_) => return Err(Error::new("the plans could not be expanded; no server was started")),
            None => return Ok(ExitStatus::Done),
        }
        // More parts than candidates.
        if let Some(part) = self.args.part
            && folder::planned(&self.folder.path("candidates.jsonl"), self.notice)?.units.is_empty()
        {
            self.notice.say(format!("part {part} has no candidates: nothing to do"));
            return Ok(ExitStatus::NothingToDo);
        }
        let left = if resumes { self.resume(&earlier)? } else { RunsLeft::Some };
        match left {
            RunsLeft::Stopped => Ok(ExitStatus::Done),
            RunsLeft::None => {
                let ended = self.report()?;
                let as_before = self.args.resume || ended == ExitStatus::Trouble;
                Ok(if as_before { ended } else { ExitStatus::NothingToDo })
            }
            RunsLeft::Some => {
                let resumes = self.calibrate(resumes)? || resumes;
                let resumes = self.check_slots(resumes)? || resumes;
                self.measure_stages(resumes)?;
                self.report()
            }
        }
    }

    /// Folds the rows of earlier sweeps, and says how much is left.
    fn resume(&mut self, earlier: &[PathBuf]) -> Result<RunsLeft> {
        let Some(status) = self.fold(earlier)? else { return Ok(RunsLeft::Stopped) };
        if !self.folder.path("results.jsonl").is_file() {
            return Err(Error::new(format!("bench-normalize failed with status {status}: nothing to resume from")));
        }
        let planned = folder::runs(&self.folder.path("candidates.jsonl"), self.notice)?;
        let left = self.runs_left(self.args.retry, false)?;
        if self.runner.signal().is_some() {
            return Ok(RunsLeft::Stopped);
        }
        let name = self.folder.root().display();
        match left {
            Some(0) => {
                let hint = "use a new --out to measure again, --retry failed to run failures again";
                self.notice.say(format!("{name}: all {planned} runs are complete, nothing to do ({hint})"));
                Ok(RunsLeft::None)
            }
            Some(left) => {
                let done = planned.saturating_sub(left);
                self.notice.say(format!("resuming {name}: {done} of {planned} runs already complete"));
                Ok(RunsLeft::Some)
            }
            None => Ok(RunsLeft::Some),
        }
    }

    /// Makes results of these raw files; their exit status, `None` after a signal.
    fn fold(&mut self, raw: &[PathBuf]) -> Result<Option<i32>> {
        let status = self.step(steps::normalize(&self.folder, raw))?;
        self.folded = status == Some(0);
        Ok(status)
    }

    /// The number of runs left; `None` if that cannot be found out.
    fn runs_left(&mut self, retry: RetryPolicy, quiet: bool) -> Result<Option<usize>> {
        let path = self.folder.path(".left.part");
        let count = steps::expand_left(self.args, &self.folder, retry, quiet, &path);
        let ended = self.runner.run(&[count], PipeEnds::to(Stdio::null()))?;
        let left = match path.is_file() && ended.iter().all(|end| end.status.success()) {
            true => Some(folder::runs(&path, self.notice)?),
            false => None,
        };
        let _ = std::fs::remove_file(path);
        Ok(left)
    }

    /// Measures how fast this node is, where several share the work; true if the rows have been folded since.
    fn calibrate(&mut self, resumes: bool) -> Result<bool> {
        if self.args.no_calibration || self.args.share.is_none() && self.args.part.is_none() {
            return Ok(false);
        }
        let args = Args { slots: None, slot_cpus: None, ..self.args.clone() };
        self.run_pipe(&steps::calibrate(&args, &self.folder, resumes))?;
        let raw = self.folder.raw_files();
        Ok(!raw.is_empty() && self.fold(&raw)? == Some(0))
    }

    /// Runs the pipe that measures.
    fn measure(&mut self, args: &Args, resumes: bool, one_each: bool) -> Result<()> {
        self.run_pipe(&steps::measure(args, &self.folder, resumes, one_each))
    }

    /// Runs a pipe. The rows are in their file even if this program is killed.
    fn run_pipe(&mut self, pipe: &[Invocation]) -> Result<()> {
        self.folded = false;
        let path = self.folder.next_raw_file();
        let file = create_appended(&path)?;
        let watch = self.events.clone().map(|events| FailureWatch::start(path.clone(), events));
        let ended = self.runner.run(pipe, end_of(&file)?);
        watch.into_iter().for_each(FailureWatch::finish);
        let is_empty = file.metadata().is_ok_and(|found| found.len() == 0);
        if is_empty {
            let _ = std::fs::remove_file(&path);
        } else if let Err(e) = file.sync_all() {
            self.notice.error(&Error::new("cannot save the rows").because(e).at(path.display().to_string()));
        }
        self.judge(&ended?);
        // A server may still be stopping if its program was killed.
        if let Err(e) = self.lock.wait_until_alone(self.notice) {
            self.notice.error(&e);
        }
        let _ = guard::kill_orphans();
        let _ = run_folder::remove_dead();
        Ok(())
    }

    /// Notes which programs failed.
    fn judge(&mut self, ended: &[MemberEnd]) {
        for end in ended.iter().filter(|end| !end.status.success()) {
            self.failed = true;
            if end.status.code().is_none() && !end.was_stopped() {
                self.notice.warn(format!("{} was killed ({})", end.name, end.status));
            }
        }
    }

    fn report(&mut self) -> Result<ExitStatus> {
        // The rest is quick, and the report is written in any case.
        let signal = self.runner.signal();
        self.runner.finish();
        let raw = self.folder.raw_files();
        if raw.is_empty() {
            if signal.is_some() {
                return Ok(ExitStatus::Done);
            }
            if self.is_asked_to_stop() {
                self.notice.say("stopped before the first server was started: rerun to begin");
                return Ok(ExitStatus::NothingMeasured);
            }
            return Err(Error::new("no rows were written"));
        }
        if !self.folded {
            self.failed |= self.end(&steps::normalize(&self.folder, &raw), true)? != 0;
        }
        if !self.folder.path("results.jsonl").is_file() {
            let rows = self.folder.path("raw");
            let why = format!("bench-normalize failed: there is no report; the rows are in {}", rows.display());
            return Err(Error::new(why));
        }
        // Only the node, or the slots, were measured.
        if !self.failed && !folder::has_rows(&self.folder.path("results.jsonl"), self.notice)? {
            if signal.is_some() {
                return Ok(ExitStatus::Done);
            }
            if self.is_asked_to_stop() {
                self.notice.say("stopped before the first candidate was measured: rerun to go on");
                return Ok(ExitStatus::NothingMeasured);
            }
        }
        let unfinished = self.unfinished(signal)?;
        let mut passed = true;
        for format in ["md", "csv", "html"] {
            // Status 1: the ranking is complete, and no candidate meets the SLA.
            let status = self.end(&steps::report(&self.folder, format, true, unfinished.as_ref()), true)?;
            self.failed |= status > 1;
            passed &= status == 0;
        }
        self.end(&steps::report(&self.folder, "table", false, unfinished.as_ref()), false)?;
        let report = self.folder.path("report.md");
        // A report of failures alone is not a success.
        let measured = folder::has_results(&self.folder.path("results.jsonl"), self.notice)?;
        if !measured {
            let where_to_look = format!("see \"Tried and not selected\" in {}", report.display());
            self.notice.plain(format!("bench-sweep: nothing was measured, no run produced a result: {where_to_look}"));
        }
        let plots = self.folder.path("report.html");
        self.notice.say(format!("report: {} (with plots: {})", report.display(), plots.display()));
        Ok(match (self.failed, measured, passed) {
            (true, ..) => ExitStatus::Trouble,
            (false, false, _) => ExitStatus::NothingMeasured,
            (false, true, false) => ExitStatus::No,
            (false, true, true) => ExitStatus::Done,
        })
    }

    /// True if it is to end after its current run.
    fn is_asked_to_stop(&self) -> bool {
        stop_file::path(self.folder.root()).exists()
    }

    /// What the report says first if runs are left.
    fn unfinished(&mut self, signal: Option<Signal>) -> Result<Option<Unfinished>> {
        let is_asked = self.is_asked_to_stop();
        let reason = match (signal, self.failed, self.args.budget) {
            (Some(_), ..) => UnfinishedReason::Interrupted,
            _ if is_asked => UnfinishedReason::Interrupted,
            (None, true, _) => UnfinishedReason::Failed,
            (None, false, Some(_)) => UnfinishedReason::Budget,
            (None, false, None) => return Ok(None),
        };
        let planned = folder::planned(&self.folder.path("candidates.jsonl"), self.notice)?;
        let never_started = folder::never_started(&planned, &self.folder.path("results.jsonl"), self.notice)?;
        let left = self.runs_left(RetryPolicy::Transient, true)?.filter(|left| *left > 0);
        let planned = planned.units.len();
        Ok(left.map(|left| Unfinished { reason, done: planned.saturating_sub(left), planned, never_started }))
    }

    /// Runs one program to its end; its status, or `None` if a signal came, before or meanwhile.
    fn step(&mut self, invocation: Invocation) -> Result<Option<i32>> {
        if self.runner.signal().is_some() {
            return Ok(None);
        }
        let from_stdin =
            invocation.name() == "bench-validate" && self.args.plans.iter().any(|plan| plan == Path::new("-"));
        let mut ends = PipeEnds::to(Stdio::null());
        if from_stdin {
            ends.input = Stdio::inherit();
        }
        let ended = self.runner.run(&[invocation], ends)?;
        if self.runner.signal().is_some() {
            return Ok(None);
        }
        // A program that was killed failed.
        Ok(Some(ended.iter().map(|end| end.status.code().unwrap_or(2)).max().unwrap_or(2)))
    }

    /// Runs one program of the end, again if a signal to all processes ended it.
    fn end(&mut self, invocation: &Invocation, silent: bool) -> Result<i32> {
        let mut status = 2;
        for _ in 0..TRIES {
            let output = if silent { Stdio::null() } else { Stdio::inherit() };
            let ended = self.runner.run(std::slice::from_ref(invocation), PipeEnds::to(output))?;
            status = ended.iter().map(|end| end.status.code().unwrap_or(2)).max().unwrap_or(2);
            if !ended.iter().any(MemberEnd::was_stopped) {
                break;
            }
        }
        Ok(status)
    }
}
