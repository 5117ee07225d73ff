//! What happened to each run, on standard error: a line that lasts for each, and a moving line at a terminal.

use std::time::Instant;

use hdrhistogram::Histogram;
use jiff::Timestamp;

use crate::base::notice::Notice;
use crate::metrics::sample::{Sample, gap_ms};
use crate::metrics::sla::Limits;
use crate::metrics::stability;
use crate::rows::kinds::{Candidate, CandidatePosition, Load, LoadMode, Progress, Run, SlaTest, Status};
use crate::rows::row::Row;
use crate::rows::words::ProgressEvent;
use crate::system::eta::{SweepPace, Throttle, rounded_s};

/// How far the runs are, and whose they are.
#[derive(Debug, Clone, Default)]
pub struct LoadEvents {
    pace: SweepPace,
    position: Option<CandidatePosition>,
    candidate_id: String,
    framework: String,
    /// Units of this candidate that are done.
    units: usize,
    /// Runs that failed.
    failed: u32,
    throttle: Throttle,
}

/// Requests of a run so far.
#[derive(Debug, Clone, Copy)]
pub struct RunProgress {
    /// Since when they are sent.
    pub begun: Instant,
    /// How many ended.
    pub done: u32,
    /// How many of them successfully.
    pub ok: u32,
}

/// A run that was not cut short.
#[derive(Debug, Clone, Copy)]
pub struct EndedRun<'a> {
    /// Its measured requests.
    pub sample: &'a Sample,
    /// Gaps between tokens, µs, if they are known.
    pub gaps: Option<&'a Histogram<u64>>,
    /// The client fell behind its schedule.
    pub saturated: bool,
}

impl LoadEvents {
    /// The runs of a candidate come.
    pub fn enter(&mut self, candidate: &Candidate) {
        self.pace.enter(candidate.position);
        self.position = candidate.position;
        self.candidate_id.clone_from(&candidate.candidate_id);
        self.framework.clone_from(&candidate.framework);
        self.units = 0;
    }

    /// A unit of the candidate is over.
    pub fn unit_over(&mut self) {
        self.units += 1;
    }

    /// How far a run is.
    pub fn moving(&self, notice: &Notice, run: &Run, so_far: RunProgress) {
        if !notice.progress_every().is_some_and(|every| self.throttle.is_due(every)) {
            return;
        }
        let RunProgress { begun, done, ok } = so_far;
        let (n, failed) = (run.workload.num_prompts, done - ok);
        let rate = f64::from(ok) / begun.elapsed().as_secs_f64().max(1e-3);
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        let (pace, what) = (self.pace.text(self.units), run_name(run));
        // A narrow terminal cuts the end.
        let text = format!("{}{pace} - {what}: {done}/{n} done, {rate:.1} req/s{failed}", self.place(""));
        notice.progress(&text, || self.row(notice, ProgressEvent::Moving, run, None, None, &text));
    }

    /// A run ended.
    pub fn run(&mut self, notice: &Notice, run: &Run, ended: EndedRun<'_>, limits: &Limits) {
        let (EndedRun { sample, gaps, saturated }, load) = (ended, &run.load);
        if sample.ok() == 0 {
            let first = sample.by_status.iter().find(|(_, n)| **n > 0);
            let why = first.map_or_else(String::new, |(status, n)| format!(" ({n} {status})"));
            return self.not_run(notice, run, Status::Failed, &format!("no request succeeded{why}"));
        }
        let rate = sample.metrics(load.mode, false).get("request_throughput").copied().flatten();
        let open = load.mode == LoadMode::Open;
        let stability = open.then(|| stability::stability(&sample.spans, LoadMode::Open, run.warmup_s)).flatten();
        let tests = limits.gate(sample, stability.as_ref(), &|statistic| gap_ms(gaps, statistic));
        let passed = (!limits.is_empty() && !saturated).then(|| tests.iter().all(|test| test.passed));
        let verdict = match (saturated, passed) {
            (true, _) => ", the load generator fell behind".into(),
            (false, None) => String::new(),
            (false, Some(true)) => " meets the SLA".into(),
            (false, Some(false)) => tests.iter().find(|test| !test.passed).map_or_else(String::new, missed),
        };
        let failed = sample.scheduled - sample.ok();
        let failed =
            if failed > 0 { format!(", {failed} of {} requests failed", sample.scheduled) } else { String::new() };
        let rate_text = rate.map_or_else(|| format!("{} requests", sample.ok()), |rate| format!("{rate:.2} req/s"));
        self.tell(notice, ProgressEvent::Run, run, (passed, rate), &format!("{rate_text}{verdict}{failed}"));
    }

    /// A search ended, with the highest rate that passed if it is one.
    pub fn search(&self, notice: &Notice, run: &Run, passed: bool, rate: Option<f64>, text: &str) {
        self.tell(notice, ProgressEvent::Search, run, (Some(passed), rate), text);
    }

    /// A run of another client ended; its result is judged later.
    pub fn imported(&self, notice: &Notice, run: &Run) {
        self.tell(notice, ProgressEvent::Run, run, (None, None), "done");
    }

    /// A run did not take place, or without any success.
    pub fn not_run(&mut self, notice: &Notice, run: &Run, status: Status, why: &str) {
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        if status == Status::Skipped {
            return self.tell(notice, ProgressEvent::Skipped, run, (None, None), &format!("skipped: {why}"));
        }
        self.failed += 1;
        self.tell(notice, ProgressEvent::Failed, run, (None, None), &format!("failed: {why}"));
    }

    fn tell(
        &self,
        notice: &Notice,
        event: ProgressEvent,
        run: &Run,
        (passed, rate): (Option<bool>, Option<f64>),
        what: &str,
    ) {
        let text = format!("{}: {what}", self.title(run));
        notice.event(&text, || self.row(notice, event, run, passed, rate, &text));
    }

    fn row(
        &self,
        notice: &Notice,
        event: ProgressEvent,
        run: &Run,
        passed: Option<bool>,
        request_rate: Option<f64>,
        text: &str,
    ) -> String {
        let row = Progress {
            program: notice.program().into(),
            event,
            at: Some(Timestamp::now().to_string()),
            position: self.position,
            candidate_id: Some(self.candidate_id.clone()),
            framework: Some(self.framework.clone()),
            scenario: Some(run.workload.scenario.clone()),
            passed,
            request_rate,
            after_s: None,
            elapsed_s: Some(rounded_s(self.pace.elapsed())),
            left_s: self.pace.left(self.units).map(rounded_s),
            failed: Some(self.failed),
            text: text.into(),
        };
        Row::new("progress", &row).line()
    }

    /// `[3/12]   chat, 8 req/s`: indented below the candidate's line.
    fn title(&self, run: &Run) -> String {
        format!("{}{}", self.place("  "), run_name(run))
    }

    fn place(&self, indent: &str) -> String {
        self.position.map_or(String::new(), |at| format!("[{}/{}] {indent}", at.index, at.of))
    }
}

fn run_name(run: &Run) -> String {
    format!("{}, {}", run.workload.scenario, load_name(&run.load))
}

/// What a run missed.
fn missed(test: &SlaTest) -> String {
    let value = test.value.map_or_else(
        || "not measured".into(),
        |value| match value.abs() {
            big if big >= 100.0 => format!("{value:.0}"),
            small if small < 10.0 => format!("{value:.3}"),
            _ => format!("{value:.1}"),
        },
    );
    format!(" misses {} ({value}, limit {})", test.limit, test.threshold)
}

/// A load in a few words.
fn load_name(load: &Load) -> String {
    match (load.mode, load.rate, load.concurrency) {
        _ if load.is_search() => "search".into(),
        (LoadMode::Open, Some(rate), _) => format!("{rate} req/s"),
        (LoadMode::Open, None, _) => "trace".into(),
        (LoadMode::Closed, _, Some(n)) => format!("{n} in flight"),
        (LoadMode::Closed, _, None) => "closed loop".into(),
        (LoadMode::Burst, ..) => "burst".into(),
    }
}
