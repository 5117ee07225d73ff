//! The stages of a plan with `search.stages: 2`: what each of them runs, given what the rows so far say.
//!
//! `screen` compares all candidates of a framework with a few short runs each. `search` measures the best of them as the plan says.
//! `repeat` measures the finalists again. A sweep runs one pipe for each; the same pipes can be run by hand.

use std::collections::{BTreeMap, BTreeSet};

use super::finalists::{Finalists, FirstPassScore, finalists};
use super::unit::UnitKeys;
use crate::metrics::search::{SearchRange, advancing};
use crate::rows::kinds::{Candidate, Load, Shared};
use crate::rows::words::{FailureClass, SearchedLoad, Stage};

/// Leaders of each scenario that are measured again.
const FINALISTS: usize = 2;
/// How often.
const REPEATS: std::ops::RangeInclusive<u32> = 1..=2;

/// How a search of an earlier stage ended.
#[derive(Debug, Clone, PartialEq)]
pub struct StageFinding {
    /// The stage.
    pub stage: Stage,
    /// The framework's name in the plan.
    pub framework: String,
    /// The candidate.
    pub candidate_id: String,
    /// The scenario.
    pub scenario: String,
    /// What was searched.
    pub searched: SearchedLoad,
    /// Highest load that met the SLA; `None` if there is none, or if it was not worth looking for.
    pub max_pass: Option<f64>,
    /// Lowest load that did not.
    pub min_fail: Option<f64>,
    /// A check found its answers to be wrong: whatever its load, it is no measure for others, and does not go on.
    pub wrong_answers: bool,
}

impl StageFinding {
    /// The highest load with which it goes on, and which others are measured against.
    fn load(&self) -> Option<f64> {
        self.max_pass.filter(|_| !self.wrong_answers)
    }
}

/// Candidates of a stage; of none, if the plan has no stages.
#[derive(Debug, Clone)]
pub struct StageCandidates {
    /// The stage.
    pub stage: Option<Stage>,
    /// What runs in it.
    pub candidates: Vec<Candidate>,
}

/// The candidates of all stages before anything has run: of the second, the first `each` of each framework, which cost as much as
/// those that will advance.
#[must_use]
pub fn likely_stages(candidates: &[Candidate], each: usize) -> Vec<StageCandidates> {
    likely_after(StagedSweep { candidates, found: &[], best: &[] }.stage(Stage::Screen), candidates, each)
}

/// The same, with these candidates of the first stage.
#[must_use]
pub fn likely_after(screen: Vec<Candidate>, candidates: &[Candidate], each: usize) -> Vec<StageCandidates> {
    let later = later_stages(candidates, each);
    let stage = (!later.is_empty()).then_some(Stage::Screen);
    std::iter::once(StageCandidates { stage, candidates: screen }).chain(later).collect()
}

/// The stages after the first; none, if the plan has no search.
pub(super) fn later_stages(candidates: &[Candidate], each: usize) -> Vec<StageCandidates> {
    if !candidates.iter().any(|candidate| candidate.loads.iter().any(Load::is_search)) {
        return Vec::new();
    }
    let mut first: Vec<&Candidate> = candidates.iter().filter(|c| c.status.is_none()).collect();
    first_of_each(&mut first, each, |one| one);
    let mut first: Vec<Candidate> = first.into_iter().cloned().collect();
    first.iter_mut().for_each(|candidate| candidate.search.stage = Some(Stage::Search));
    // The finalists are measured at the load that they were found to sustain, and at their other loads.
    let again = REPEATS.flat_map(|_| first.iter().take(FINALISTS)).cloned().map(|mut candidate| {
        candidate.search.stage = Some(Stage::Repeat);
        candidate.loads.iter_mut().for_each(at_middle);
        candidate
    });
    let repeat = StageCandidates { stage: Some(Stage::Repeat), candidates: again.collect() };
    vec![StageCandidates { stage: Some(Stage::Search), candidates: first }, repeat]
}

/// Keeps the first `k` candidates of each framework that run.
pub(super) fn first_of_each<T>(all: &mut Vec<T>, k: usize, candidate: impl Fn(&T) -> &Candidate) {
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    all.retain(|one| {
        let candidate = candidate(one);
        if !of.contains_key(&candidate.framework) {
            of.insert(candidate.framework.clone(), 0);
        }
        of.get_mut(&candidate.framework).is_some_and(|n| {
            *n += usize::from(candidate.status.is_none());
            *n <= k
        })
    });
}

/// Replaces a search by a load in the middle of its range.
fn at_middle(load: &mut Load) {
    if let Some(qps) = load.qps.take() {
        load.rate = Some((qps.lower * qps.upper).sqrt());
    }
    if let Some(users) = load.users.take() {
        load.concurrency = Some(users.lower.midpoint(users.upper));
    }
}

/// A plan with stages: its candidates, and what the rows so far say about them.
#[derive(Debug, Clone, Copy)]
pub struct StagedSweep<'a> {
    /// All of them, in the order in which they run, with the units of the plan.
    pub candidates: &'a [Candidate],
    /// The searches of earlier rows, the latest last.
    pub found: &'a [StageFinding],
    /// The best load points of these rows in ranking order, without repeats.
    pub best: &'a [FirstPassScore],
}

impl StagedSweep<'_> {
    /// The candidates of a stage; none of `search` and `repeat` if the plan has no search, which `screen` then runs whole.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Vec<Candidate> {
        let searches = self.candidates.iter().any(|candidate| candidate.loads.iter().any(Load::is_search));
        match (stage, searches) {
            (Stage::Screen, true) => self.screen(),
            (Stage::Screen, false) => self.candidates.to_vec(),
            (Stage::Search, true) => self.search(),
            (Stage::Repeat, true) => self.repeat(),
            (Stage::Search | Stage::Repeat, false) => Vec::new(),
        }
    }

    fn screen(&self) -> Vec<Candidate> {
        // All candidates have the workload of the plan.
        let (mut loads, mut keys) = (None, None);
        let one = |candidate: &Candidate| {
            let mut candidate = candidate.clone();
            candidate.search.stage = Some(Stage::Screen);
            let Some(load) = candidate.loads.iter().find(|load| load.is_search()) else { return candidate };
            let searched = SearchRange::of(load).map(|range| range.what);
            let screen = || Shared::from(vec![Load { screen: true, ..load.clone() }]);
            candidate.loads = loads.get_or_insert_with(screen).clone();
            let bar = |scenario: &str| self.bar(Stage::Screen, &candidate.framework, scenario, searched?);
            let keys = keys.get_or_insert_with(|| UnitKeys::of(&candidate));
            candidate.units = keys.one_each(&candidate, "", bar);
            candidate
        };
        self.candidates.iter().map(one).collect()
    }

    /// What a stage found for a framework in a scenario.
    fn of(&self, stage: Stage, framework: &str, scenario: &str) -> impl Iterator<Item = &StageFinding> {
        self.found
            .iter()
            .filter(move |found| found.stage == stage && found.framework == framework && found.scenario == scenario)
    }

    /// The highest load that a stage found for a framework in a scenario, of one kind of search.
    fn bar(&self, stage: Stage, framework: &str, scenario: &str, searched: SearchedLoad) -> Option<f64> {
        let same = self.of(stage, framework, scenario).filter(|found| found.searched == searched);
        same.filter_map(StageFinding::load).reduce(f64::max)
    }

    /// The latest result of a candidate in the first stage.
    fn screened(&self, candidate: &Candidate, scenario: &str) -> Option<&StageFinding> {
        self.found.iter().rev().find(|found| {
            found.stage == Stage::Screen && found.candidate_id == candidate.candidate_id && found.scenario == scenario
        })
    }

    fn search(&self) -> Vec<Candidate> {
        // For each candidate that advances, its place in each scenario.
        let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let runnable: Vec<&Candidate> = self.candidates.iter().filter(|candidate| candidate.status.is_none()).collect();
        let frameworks: BTreeSet<&str> = runnable.iter().map(|candidate| candidate.framework.as_str()).collect();
        for framework in frameworks {
            let own: Vec<&Candidate> = runnable.iter().copied().filter(|c| c.framework == framework).collect();
            for scenario in own.first().map(|first| first.scenarios.as_slice()).unwrap_or_default() {
                let best: Vec<Option<f64>> =
                    own.iter().map(|candidate| self.screened(candidate, &scenario.name)?.load()).collect();
                for (place, index) in advancing(&best).into_iter().enumerate() {
                    places.insert((&own[index].candidate_id, &scenario.name), place);
                }
            }
        }
        let mut lost = Vec::new();
        let mut all: Vec<(usize, Candidate)> = Vec::new();
        for candidate in runnable {
            let place = |scenario: &str| places.get(&(candidate.candidate_id.as_str(), scenario)).copied();
            let Some(first) = candidate.scenarios.iter().filter_map(|scenario| place(&scenario.name)).min() else {
                lost.extend(self.left_out(candidate));
                continue;
            };
            let screened = candidate;
            let mut candidate = candidate.clone();
            candidate.search.stage = Some(Stage::Search);
            candidate.units.retain(|unit| place(&unit.scenario).is_some());
            for unit in &mut candidate.units {
                if let Some(range) = candidate.loads.get(unit.load).and_then(SearchRange::of) {
                    // A rate is no number of requests in flight.
                    let found = self.screened(screened, &unit.scenario).filter(|found| found.searched == range.what);
                    unit.start = found.and_then(|found| found.max_pass);
                    unit.bar = self.bar(Stage::Search, &candidate.framework, &unit.scenario, range.what);
                }
            }
            all.push((first, candidate));
        }
        // The best of each framework first: the others are measured against it.
        all.sort_by_key(|(place, _)| *place);
        lost.into_iter().chain(all.into_iter().map(|(_, candidate)| candidate)).collect()
    }

    /// A candidate that lost the first stage in every scenario, with what it lost by; `None` if it was not measured.
    fn left_out(&self, candidate: &Candidate) -> Option<Candidate> {
        let why = |scenario: &str| {
            let own = self.screened(candidate, scenario)?;
            let best = self.of(Stage::Screen, &own.framework, &own.scenario);
            let best = best.max_by(|a, b| a.load().unwrap_or(0.0).total_cmp(&b.load().unwrap_or(0.0)))?;
            if own.wrong_answers {
                return Some(format!("{scenario}: its answers are wrong"));
            }
            let unit = own.searched.unit();
            let better = best.load().map_or_else(
                || "no candidate meets it".into(),
                |load| format!("{} meets it at {load}", best.candidate_id),
            );
            Some(match (own.max_pass, own.min_fail) {
                (Some(own), _) => format!("{scenario}: meets the SLA at {own} {unit}, {better}"),
                (None, Some(fails)) => format!("{scenario}: misses the SLA at {fails} {unit}, {better}"),
                (None, None) => format!("{scenario}: no result, {better}"),
            })
        };
        let why: Vec<String> = candidate.scenarios.iter().filter_map(|scenario| why(&scenario.name)).collect();
        if why.is_empty() {
            return None;
        }
        let mut candidate = candidate.clone();
        candidate.search.stage = Some(Stage::Search);
        super::skip(
            &mut candidate,
            FailureClass::Outraced,
            format!("not among the best of its framework ({})", why.join("; ")),
        );
        Some(candidate)
    }

    fn repeat(&self) -> Vec<Candidate> {
        let chosen = Finalists { top: FINALISTS, baselines: false, repeats: REPEATS };
        let searched = |candidate: &&Candidate| {
            let id = &candidate.candidate_id;
            self.found.iter().any(|found| found.stage == Stage::Search && found.candidate_id == *id)
        };
        let candidates = self.candidates.iter().filter(searched).cloned().collect();
        let mut all = finalists(candidates, self.best, &chosen);
        all.iter_mut().for_each(|candidate| candidate.search.stage = Some(Stage::Repeat));
        all
    }
}
