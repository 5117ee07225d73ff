//! What to leave out so that the rest of a sweep ends in time.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::estimate::in_words;
use super::stages::{StageCandidates, first_of_each};
use crate::rows::kinds::{Candidate, Load};
use crate::rows::words::{FailureClass, Stage};

/// Maximum numbers of runs of a search, tried in this order when nothing else is left to give up.
const PROBES: [u32; 3] = [12, 8, 6];

/// The rest of a sweep that fits, and what it gives up for that.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// What is left of each stage.
    pub stages: Vec<StageCandidates>,
    /// The time that it is likely to take, s.
    pub likely_s: f64,
    /// What was given up, in this order, and the time that this saves, s.
    pub given_up: Vec<(String, f64)>,
}

/// Gives up, until the rest is likely to end within `seconds`: repeats, runs at given loads beside a search, the last candidates of each
/// framework, and runs of searches; one candidate of each stays while there is any time. `likely_s` says how long a candidate takes, s.
pub fn fit(stages: Vec<StageCandidates>, seconds: f64, likely_s: impl FnMut(&Candidate) -> f64) -> Fitted {
    let mut fitter = Fitter::new(stages, seconds, likely_s);
    // The time is over.
    if seconds <= 0.0 {
        fitter.leave_out("everything".into(), |stage| stage.candidates.clear());
    }
    fitter.leave_out("repeats".into(), |stage| {
        if stage.stage == Some(Stage::Repeat) {
            stage.candidates.clear();
        }
    });
    fitter.shorten("runs at given loads".into(), without_given_loads);
    let most = fitter.stages.iter().map(TimedStage::most_of_one).max().unwrap_or(0);
    let before = fitter.given_up.len();
    for k in (1..most).rev() {
        let nth = format!("candidates beyond the {} of each framework", ordinal(k));
        fitter.leave_out(nth, |stage| first_of_each(&mut stage.candidates, k, |timed| &timed.candidate));
    }
    // One line for all of them: the last says most.
    let lines = fitter.given_up.split_off(before);
    if let Some((what, _)) = lines.last() {
        fitter.given_up.push((what.clone(), lines.iter().map(|(_, saved)| saved).sum()));
    }
    for probes in PROBES {
        let nth = format!("runs of a search beyond the {}", ordinal(probes as usize));
        fitter.shorten(nth, |candidate| candidate.loads.iter_mut().for_each(|load| at_most(load, probes)));
    }
    let candidates = |stage: TimedStage| stage.candidates.into_iter().map(|one| Rc::unwrap_or_clone(one.candidate));
    let stages = fitter.stages.into_iter();
    let stages = stages.map(|one| StageCandidates { stage: one.stage, candidates: candidates(one).collect() });
    Fitted { stages: stages.collect(), likely_s: fitter.likely_s, given_up: fitter.given_up }
}

/// A candidate, and the time that it is likely to take, s.
#[derive(Clone)]
struct TimedCandidate {
    candidate: Rc<Candidate>,
    likely_s: f64,
}

/// The candidates of a stage with their times.
#[derive(Clone)]
struct TimedStage {
    stage: Option<Stage>,
    candidates: Vec<TimedCandidate>,
}

/// What is left, and what has been given up so far.
struct Fitter<F> {
    stages: Vec<TimedStage>,
    likely_s: f64,
    seconds: f64,
    given_up: Vec<(String, f64)>,
    time: F,
}

impl<F: FnMut(&Candidate) -> f64> Fitter<F> {
    fn new(stages: Vec<StageCandidates>, seconds: f64, mut time: F) -> Self {
        let mut timed =
            |candidate: Candidate| TimedCandidate { likely_s: time(&candidate), candidate: candidate.into() };
        let timed = |StageCandidates { stage, candidates }| TimedStage {
            stage,
            candidates: candidates.into_iter().map(&mut timed).collect(),
        };
        let stages: Vec<TimedStage> = stages.into_iter().map(timed).collect();
        Self { likely_s: in_all(&stages), stages, seconds, given_up: Vec::new(), time }
    }

    /// Gives up candidates, if the rest takes too long and this makes it shorter.
    fn leave_out(&mut self, what: String, change: impl Fn(&mut TimedStage)) {
        if self.likely_s > self.seconds {
            let mut less = self.stages.clone();
            less.iter_mut().for_each(change);
            self.take(what, less);
        }
    }

    /// Gives up runs of all candidates, under the same conditions.
    fn shorten(&mut self, what: String, change: impl Fn(&mut Candidate)) {
        if self.likely_s > self.seconds {
            let mut less = self.stages.clone();
            for one in less.iter_mut().flat_map(|stage| &mut stage.candidates) {
                change(Rc::make_mut(&mut one.candidate));
                one.likely_s = (self.time)(&one.candidate);
            }
            self.take(what, less);
        }
    }

    fn take(&mut self, what: String, less: Vec<TimedStage>) {
        let takes = in_all(&less);
        if takes < self.likely_s {
            self.given_up.push((what, self.likely_s - takes));
            (self.stages, self.likely_s) = (less, takes);
        }
    }
}

/// The likely time of all candidates, s.
fn in_all(stages: &[TimedStage]) -> f64 {
    stages.iter().flat_map(|stage| &stage.candidates).map(|one| one.likely_s).sum()
}

impl Fitted {
    /// What was given up: `repeats (69 min), runs at given loads (49 min)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let lines = self.given_up.iter().map(|(what, saves)| format!("{what} ({})", in_words(*saves)));
        lines.collect::<Vec<_>>().join(", ")
    }
}

/// The rows of the candidates that are not among those kept, with the reason.
#[must_use]
pub fn skipped(of: &[Candidate], kept: &[Candidate], seconds: f64) -> Vec<Candidate> {
    let is_kept = |c: &Candidate| kept.iter().any(|kept| kept.candidate_id == c.candidate_id);
    let mut all: Vec<Candidate> = of.iter().filter(|c| c.status.is_none() && !is_kept(c)).cloned().collect();
    for candidate in &mut all {
        let left = if seconds > 0.0 { in_words(seconds) } else { "no time".into() };
        let why = format!("it does not fit into the time: {left} left for what had not run");
        candidate.position = None;
        super::skip(candidate, FailureClass::Budget, why);
    }
    all
}

/// Of these candidates, in their order, the runs that are likely to end within `seconds`.
#[must_use]
pub fn in_time(
    candidates: Vec<Candidate>,
    seconds: f64,
    mut likely_s: impl FnMut(&Candidate) -> f64,
) -> Vec<Candidate> {
    let mut left = seconds;
    let mut kept = Vec::new();
    for mut candidate in candidates {
        while candidate.status.is_none() && !candidate.units.is_empty() && likely_s(&candidate) > left {
            candidate.units.pop();
        }
        if candidate.status.is_some() || !candidate.units.is_empty() {
            left -= if candidate.status.is_none() { likely_s(&candidate) } else { 0.0 };
            kept.push(candidate);
        }
    }
    kept
}

fn ordinal(n: usize) -> String {
    let end = match n {
        1 => "st",
        2 => "nd",
        3 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// Leaves out the runs of a candidate at given loads, if it has a search.
fn without_given_loads(candidate: &mut Candidate) {
    let is_search = |load: usize| candidate.loads.get(load).is_some_and(Load::is_search);
    if candidate.units.iter().any(|unit| is_search(unit.load)) {
        candidate.units.retain(|unit| candidate.loads.get(unit.load).is_some_and(Load::is_search));
    }
}

impl TimedStage {
    /// The number of candidates of the framework that has most of them.
    fn most_of_one(&self) -> usize {
        let mut of: BTreeMap<&str, usize> = BTreeMap::new();
        let runs = self.candidates.iter().map(|one| &*one.candidate).filter(|c| c.status.is_none());
        runs.for_each(|c| *of.entry(&c.framework).or_default() += 1);
        of.values().copied().max().unwrap_or(0)
    }
}

fn at_most(load: &mut Load, probes: u32) {
    load.qps.iter_mut().for_each(|qps| qps.max_probes = qps.max_probes.min(probes));
    load.users.iter_mut().for_each(|users| users.max_probes = users.max_probes.min(probes));
}
