//! The pipe of a sweep: once, or once for each stage of its plans; with `--fit` once for each candidate of each framework.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Sweep, folder, steps};
use crate::base::error::{Context, Error, Result};
use crate::base::exit::ExitStatus;
use crate::flags::expand::RetryPolicy;
use crate::flags::sweep::Args;
use crate::rows::words::{Stage, SweepEvent};
use crate::system::process::pipeline::PipeEnds;
use crate::system::stopwatch::Stopwatch;

/// Maximum number of pipes of a stage: two more attempts at what failed for a passing reason.
const ATTEMPTS: usize = 3;

impl Sweep<'_> {
    /// Runs the pipe until nothing is left that it can run. Each pipe measures the first stage with runs left: which candidates go on
    /// depends on the rows so far.
    pub(super) fn measure_stages(&mut self, resumes: bool) -> Result<()> {
        let begun = Stopwatch::start();
        let plans = self.folder.path("plan.jsonl");
        let fit = match (&self.args.until, self.args.fit) {
            (Some(until), _) => Some(time_until(until)?),
            (None, Some(fit)) => Some(fit),
            (None, None) => folder::fit(&plans, self.notice)?,
        };
        if fit.is_none() && self.args.share.is_none() && !folder::is_staged(&plans, self.notice)? {
            self.tell_stage(None);
            return self.measure(self.args, resumes);
        }
        let (mut stage, mut pipes, mut least) = (None, 0, usize::MAX);
        for pipe in 0.. {
            let mut args = Args { fit, ..self.args.clone() };
            args.budget = args.budget.map(|budget| budget.saturating_sub(begun.elapsed()));
            args.fit = args.fit.map(|fit| fit.saturating_sub(begun.elapsed()));
            if pipe > 0 {
                args.retry = RetryPolicy::Transient;
            }
            let resumes = resumes || pipe > 0;
            let Some((next, runs)) = self.next_stage(&args, resumes)? else { return Ok(()) };
            if next != stage || pipe == 0 {
                (stage, pipes, least) = (next, 0, usize::MAX);
                self.begin_stage(next, runs, fit.is_some());
            }
            self.measure(&args, resumes)?;
            let is_over = args.budget.into_iter().chain(args.fit).any(|budget| budget.is_zero());
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

    /// The stage of the next pipe, and the number of its runs; `None` if that cannot be found out.
    fn next_stage(&mut self, args: &Args, resumes: bool) -> Result<Option<(Option<Stage>, usize)>> {
        let path = self.folder.path(".next.part");
        let list = steps::next(args, &self.folder, resumes, &path);
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

/// Time from now until the next `HH:MM`, by the clock of this host.
fn time_until(text: &str) -> Result<Duration> {
    let wrong = || Error::new(format!("must be a time of day such as 07:00, got {text:?}")).at("--until");
    let at = minutes(text).ok_or_else(wrong)?;
    let output = Command::new("date").arg("+%H:%M").output().context("cannot execute date")?;
    let now =
        minutes(String::from_utf8_lossy(&output.stdout).trim()).ok_or_else(|| Error::new("date gives no time"))?;
    Ok(Duration::from_secs(60 * u64::from((at + 24 * 60 - now) % (24 * 60))))
}

/// Minutes since midnight of `HH:MM`.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(60 * hours + minutes)
}
