//! What to leave out so that the rest of a sweep ends in time.

use std::collections::BTreeMap;

use super::estimate::{Estimate, in_words};
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
/// framework, and runs of searches; one candidate of each stays while there is any time. `estimate` says how long candidates take.
pub fn fit(
    stages: Vec<StageCandidates>,
    seconds: f64,
    mut estimate: impl FnMut(&[StageCandidates]) -> Estimate,
) -> Fitted {
    let likely_s = estimate(&stages).likely_s();
    let mut fitted = Fitted { stages, likely_s, given_up: Vec::new() };
    // The time is over.
    if seconds <= 0.0 {
        fitted.stages.iter_mut().for_each(|stage| stage.candidates.clear());
        fitted.given_up.extend((likely_s > 0.0).then(|| ("everything".to_string(), likely_s)));
        return Fitted { likely_s: 0.0, ..fitted };
    }
    let mut attempt = |fitted: &mut Fitted, what: String, change: &dyn Fn(&mut Vec<StageCandidates>)| {
        if fitted.likely_s <= seconds {
            return;
        }
        let mut less = fitted.stages.clone();
        change(&mut less);
        let takes = estimate(&less).likely_s();
        if takes < fitted.likely_s {
            fitted.given_up.push((what, fitted.likely_s - takes));
            (fitted.stages, fitted.likely_s) = (less, takes);
        }
    };
    attempt(&mut fitted, "repeats".into(), &|stages| {
        stages.iter_mut().filter(|stage| stage.stage == Some(Stage::Repeat)).for_each(|stage| stage.candidates.clear());
    });
    attempt(&mut fitted, "runs at given loads".into(), &|stages| {
        stages.iter_mut().flat_map(|stage| &mut stage.candidates).for_each(without_given_loads);
    });
    let most = fitted.stages.iter().map(most_of_one).max().unwrap_or(0);
    let before = fitted.given_up.len();
    for k in (1..most).rev() {
        let nth = format!("candidates beyond the {} of each framework", ordinal(k));
        attempt(&mut fitted, nth, &|stages| {
            stages.iter_mut().for_each(|stage| first_of_each(&mut stage.candidates, k));
        });
    }
    // One line for all of them: the last says most.
    let lines = fitted.given_up.split_off(before);
    if let Some((what, _)) = lines.last() {
        fitted.given_up.push((what.clone(), lines.iter().map(|(_, saved)| saved).sum()));
    }
    for probes in PROBES {
        attempt(&mut fitted, format!("runs of a search beyond the {}", ordinal(probes as usize)), &|stages| {
            let loads = stages.iter_mut().flat_map(|stage| &mut stage.candidates).flat_map(|c| &mut c.loads);
            loads.for_each(|load| at_most(load, probes));
        });
    }
    fitted
}

impl Fitted {
    /// What was given up: `repeats (69 min), runs at given loads (49 min)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let lines = self.given_up.iter().map(|(what, saves)| format!("{what} ({})", in_words(*saves)));
        lines.collect::<Vec<_>>().join(", ")
    }

    /// The candidate rows of what was given up of the current stage, with the reason.
    #[must_use]
    pub fn skipped(&self, of: &[Candidate], seconds: f64) -> Vec<Candidate> {
        let kept: Vec<&str> = self.stages.iter().flat_map(|s| &s.candidates).map(|c| c.candidate_id.as_str()).collect();
        let lost = of.iter().filter(|c| c.status.is_none() && !kept.contains(&c.candidate_id.as_str()));
        let mut all: Vec<Candidate> = lost.cloned().collect();
        for candidate in &mut all {
            let left = if seconds > 0.0 { in_words(seconds) } else { "no time".into() };
            let why = format!("it does not fit into the time: {left} left for what had not run");
            candidate.position = None;
            super::skip(candidate, FailureClass::Budget, why);
        }
        all
    }
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

/// The number of candidates of the framework that has most of them.
fn most_of_one(stage: &StageCandidates) -> usize {
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    stage.candidates.iter().filter(|c| c.status.is_none()).for_each(|c| *of.entry(&c.framework).or_default() += 1);
    of.values().copied().max().unwrap_or(0)
}

fn at_most(load: &mut Load, probes: u32) {
    load.qps.iter_mut().for_each(|qps| qps.max_probes = qps.max_probes.min(probes));
    load.users.iter_mut().for_each(|users| users.max_probes = users.max_probes.min(probes));
}
