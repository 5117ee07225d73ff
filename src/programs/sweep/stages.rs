//! The pipe of a sweep: once, or once for each stage of its plans; with `--fit` once for each candidate of each framework.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{Sweep, folder, steps};
use crate::base::error::Result;
use crate::base::exit::ExitStatus;
use crate::flags::expand::RetryPolicy;
use crate::flags::fit::{FitArgs, FitTime};
use crate::flags::sweep::Args;
use crate::programs::time_limit;
use crate::rows::words::{Stage, SweepEvent};
use crate::system::process::pipeline::PipeEnds;
use crate::system::stopwatch::Stopwatch;

/// Maximum number of pipes of a stage: two more attempts at what failed for a passing reason.
const ATTEMPTS: usize = 3;

/// The end of a sweep, with a pipe for what did not run and the report, takes so many times as long as the time between two pipes.
const END: u32 = 2;

impl Sweep<'_> {
    /// Runs the pipe until nothing is left that it can run. Each pipe measures the first stage with runs left: which candidates go on
    /// depends on the rows so far.
    pub(super) fn measure_stages(&mut self, resumes: bool) -> Result<()> {
        let begun = Stopwatch::start();
        let fit = self.fit.and_then(FitTime::limit);
        let is_staged = folder::is_staged(&self.folder.path("plan.jsonl"), self.notice)?;
        if fit.is_none() && self.args.share.is_none() && !is_staged {
            self.tell_stage(None);
            return self.measure(&self.with_time(), resumes, true);
        }
        let (mut stage, mut pipes, mut least, mut pause) = (None, 0, usize::MAX, None::<Stopwatch>);
        for pipe in 0.. {
            let mut args = self.with_time();
            args.budget = args.budget.map(|budget| budget.saturating_sub(begun.elapsed()));
            if pipe > 0 {
                args.retry = RetryPolicy::Transient;
            }
            let resumes = resumes || pipe > 0;
            // The first says what the limit of time leaves out.
            let is_quiet = pipe > 0 || fit.is_none() || self.args.common.quiet;
            let Some((next, runs)) = self.next_stage(&args, resumes, is_quiet)? else { return Ok(()) };
            if next != stage || pipe == 0 {
                (stage, pipes, least) = (next, 0, usize::MAX);
                self.begin_stage(next, runs, fit.is_some());
            }
            self.pause = pause.map_or(self.pause, |pause| pause.elapsed());
            // What the time cut off is first again: others must not wait for it.
            self.measure(&args, resumes, pipes == 0)?;
            pause = Some(Stopwatch::start());
            // Of --fit the last pipe writes what did not fit.
            let is_over = args.budget.is_some_and(|budget| budget.is_zero());
            let is_asked = self.is_asked_to_stop();
            if runs == 0 || is_over || self.failed || is_asked || self.runner.signal().is_some() {
                return Ok(());
            }
            let raw = self.folder.raw_files();
            if raw.is_empty() || self.fold(&raw)? != Some(0) {
                return Ok(());
            }
            let Some(left) = self.runs_left(RetryPolicy::Transient, true)?.filter(|left| *left > 0) else {
                return Ok(());
            };
            // What fails again and again ends the stage.
            pipes = if left < least { 0 } else { pipes + 1 };
            least = least.min(left);
            if pipes >= ATTEMPTS {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The time in which the sweep is to end, from its start: by the command line, otherwise the sum of what the plans say, if all of them
    /// say it. What several hosts do cannot be chosen by one of them.
    pub(super) fn time_limit(&self) -> Result<Option<FitTime>> {
        match time_limit::from_now(&self.args.end)? {
            Some(FitTime::Within(time)) if self.args.end.until.is_some() => {
                return Ok(Some(FitTime::Within(time + self.begun.elapsed())));
            }
            Some(time) => return Ok(Some(time)),
            None => {}
        }
        let all = folder::times(&self.folder.path("plan.jsonl"), self.notice)?;
        let n = all.iter().flatten().count();
        if n == 0 {
            return Ok(None);
        }
        if self.args.share.is_some() {
            self.notice.warn("search.fit has no effect with --share: all candidates run");
            return Ok(None);
        }
        if n < all.len() {
            self.notice.warn(format!("search.fit has no effect: only {n} of {} plans have it; use --fit", all.len()));
            return Ok(Some(FitTime::Unlimited));
        }
        Ok(Some(FitTime::Within(all.iter().flatten().sum())))
    }

    /// The arguments with what is left of the time.
    fn with_time(&self) -> Args {
        let left = self.fit.map(|fit| match fit {
            FitTime::Unlimited => fit,
            FitTime::Within(time) => FitTime::Within(time.saturating_sub(self.begun.elapsed() + END * self.pause)),
        });
        let slots = self.slots.clone();
        let slot_cpus = self.args.slot_cpus.clone().filter(|_| slots.is_some());
        Args { end: FitArgs { fit: left, until: None }, slots, slot_cpus, ..self.args.clone() }
    }

    /// The stage of the next pipe, and the number of its runs; `None` if that cannot be found out.
    fn next_stage(&mut self, args: &Args, resumes: bool, quiet: bool) -> Result<Option<(Option<Stage>, usize)>> {
        let path = self.folder.path(".next.part");
        let list = steps::next(args, &self.folder, resumes, quiet, &path);
        self.runner.run(&[list], PipeEnds::to(Stdio::null()))?;
        let found = if path.is_file() { Some(folder::next_stage(&path, self.notice)?) } else { None };
        let _ = std::fs::remove_file(path);
        Ok(found)
    }

    fn begin_stage(&self, stage: Option<Stage>, runs: usize, is_fitted: bool) {
        if let Some(stage) = stage {
            let place = Stage::ALL.iter().position(|other| *other == stage).map_or(0, |place| place + 1);
            let runs =
                if is_fitted { String::new() } else { format!(": {runs} run{}", if runs == 1 { "" } else { "s" }) };
            self.notice.say(format!("stage {stage} ({place} of {}){runs}", Stage::ALL.len()));
        }
        self.tell_stage(stage);
    }

    fn tell_stage(&self, stage: Option<Stage>) {
        if let Some(events) = &self.events {
            events.tell(SweepEvent::Stage, stage, &Value::Null);
        }
    }

    /// Tells the end of the sweep: its exit status, and where the report is.
    pub(super) fn tell_end(&self, exit: Option<ExitStatus>) {
        let report = self.folder.path("report.md");
        let status = exit.map_or(ExitStatus::Trouble, |exit| self.notice.exit(exit)).code();
        let end = json!({"exit_status": status, "report": report.is_file().then_some(report)});
        if let Some(events) = &self.events {
            events.tell(SweepEvent::End, None, &end);
            events.finish();
        }
    }
}
