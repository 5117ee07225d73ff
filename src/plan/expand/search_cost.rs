//! How long a search, or a run at a given load, is likely to take and takes at most: searches are simulated.

use std::rc::Rc;

use super::estimate::TimeRange;
use crate::metrics::search::{Evidence, LengthNeed, LoadSearch, PILOT_START, ProbeOutcome, SearchRange, answers};
use crate::metrics::sla;
use crate::rows::kinds::{Benchmark, Load, LoadMode, RunLength};
use crate::rows::words::SearchedLoad;

/// Share of the SLA's limits that answers are likely to take.
pub(super) const LIKELY: f64 = 0.5;
/// Assumed number of requests that a server processes concurrently.
pub(super) const BATCH: f64 = 64.0;
/// Number of bursts that find where a search of a wide range begins.
const BURSTS: f64 = 4.0;
/// Share of a failing run that it is likely to take before it is cut short.
const CUT: f64 = 0.5;
/// Number of highest loads of a server that the longest search is looked for among.
const LEVELS: i32 = 12;

/// Time of a run of this length, s.
fn length_s(length: &RunLength, load: &Load, warmup_s: Option<f64>, answer: f64) -> f64 {
    let n = f64::from(length.requests);
    match load.mode {
        LoadMode::Open => length.due_s.unwrap_or(0.0) + answer + warmup_s.unwrap_or(0.0),
        LoadMode::Closed => (n / f64::from(load.concurrency.unwrap_or(1))).ceil() * answer,
        LoadMode::Burst => (n / BATCH).ceil() * answer,
    }
}

/// Time of a run at a given load, s.
pub(super) fn run_s(load: &Load, bench: &Benchmark, answer: f64) -> f64 {
    let length = LengthNeed::once(load.mode).length(bench.num_prompts, bench.duration_s, load, Some(answer));
    length_s(&length, load, bench.warmup_s, answer)
}

/// How a candidate begins in a sweep with stages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Screened {
    /// No load of its framework is known.
    First,
    /// At the best load of its framework.
    AtBar,
    /// In the second stage: it begins at what the first stage found.
    Leader,
    /// In the second stage: it has to beat the leader of its framework.
    Challenger,
}

/// What decides how long a search takes.
#[derive(Debug, PartialEq)]
pub(super) struct SearchCase {
    /// Set if it is no search by itself.
    pub screen: Option<Screened>,
    range: SearchRange,
    limits: Rc<sla::Limits>,
    load: Load,
    num_prompts: u32,
    duration_s: Option<f64>,
    warmup_s: Option<f64>,
    /// Time of an answer that just meets the limits, s.
    answer: f64,
}

/// How long a search takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchCost {
    /// Likely number of runs.
    pub probes: usize,
    /// Their time.
    pub time: TimeRange,
}

impl SearchCase {
    pub fn new(range: SearchRange, limits: Rc<sla::Limits>, load: &Load, bench: &Benchmark, answer: f64) -> Self {
        let Benchmark { num_prompts, duration_s, warmup_s, .. } = *bench;
        Self { screen: None, range, limits, load: load.clone(), num_prompts, duration_s, warmup_s, answer }
    }

    /// Its likely cost, and the highest one: that of a server that keeps up to some load of the range and whose answers take as
    /// long as the SLA allows. It depends on that load how much the number of runs and the length of each count.
    pub fn cost(&self) -> SearchCost {
        let SearchRange { lower, upper, .. } = self.range;
        let alone = matches!(self.screen, None | Some(Screened::First));
        let bursts = if self.range.is_wide() && alone { BURSTS } else { 1.0 };
        let likely = self.answer * LIKELY;
        let keeps = match self.range.what {
            SearchedLoad::Rate => BATCH / likely.max(0.001),
            SearchedLoad::Concurrency => BATCH,
        };
        let keeps = keeps.clamp(lower, upper);
        let start = match self.screen {
            Some(Screened::Leader) => Some(keeps),
            _ => Some(PILOT_START * keeps).filter(|_| self.range.is_wide()),
        };
        let (probes, usual) = self.simulate(start, keeps, likely, CUT);
        let step = (upper / lower).powf(1.0 / f64::from(LEVELS));
        let levels = (0..=LEVELS).map(|i| lower * step.powi(i) * 1.000_001);
        let longest = levels.map(|keeps| self.simulate(None, keeps, self.answer, 1.0).1).fold(0.0, f64::max);
        let most_s = bursts * self.answer + longest;
        SearchCost { probes, time: TimeRange { likely_s: (bursts * likely + usual).min(most_s), most_s } }
    }

    /// The number of runs and their time, s, if the server keeps up to the load `keeps` and failing runs take a share `cut` of their
    /// length.
    fn simulate(&self, start: Option<f64>, keeps: f64, answer: f64, cut: f64) -> (usize, f64) {
        let mut search = match self.screen {
            None | Some(Screened::Leader) => LoadSearch::new(self.range, &self.limits, start),
            Some(Screened::First) => LoadSearch::race(self.range, &self.limits, start, None),
            Some(Screened::Challenger) => LoadSearch::challenge(self.range, &self.limits, keeps),
            Some(Screened::AtBar) => LoadSearch::race(self.range, &self.limits, None, Some(keeps)),
        };
        let (mut probes, mut seconds) = (0, 0.0);
        while let Some(probe) = search.next() {
            let load = self.range.load(probe.value, &self.load);
            let length = probe.need.length(self.num_prompts, self.duration_s, &load, Some(answer));
            let passed = probe.value <= keeps;
            probes += 1;
            seconds += length_s(&length, &load, self.warmup_s, answer) * if passed { 1.0 } else { cut };
            search.record(
                probe,
                ProbeOutcome::Judged(Evidence {
                    passed,
                    cut: !passed,
                    tests: Vec::new(),
                    requests: length.requests,
                    answers: answers(&length, &load, Some(answer)),
                }),
            );
        }
        (probes, seconds)
    }
}
