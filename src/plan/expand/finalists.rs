//! The second pass: runs the baselines and the leaders again, in blocks, at the rates found in the first pass.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;

use super::unit::UnitKeys;
use crate::base::random::generator;
use crate::rows::kinds::{Candidate, Load, LoadMode, Unit};

/// The best result of a candidate in a scenario of the first pass.
#[derive(Debug, Clone, PartialEq)]
pub struct FirstPassScore {
    /// The candidate.
    pub candidate_id: String,
    /// The scenario.
    pub scenario: String,
    /// The load point of its best result.
    pub load: Load,
}

/// Which candidates are measured again, and how often.
#[derive(Debug, Clone)]
pub struct Finalists {
    /// Number of leaders of each scenario.
    pub top: usize,
    /// The baselines too.
    pub baselines: bool,
    /// The repeats; the first pass was repeat 0.
    pub repeats: std::ops::RangeInclusive<u32>,
}

/// The baselines and leaders of `candidates`, once per repeat, in randomized blocks; `best` is in ranking order, the leader of
/// each scenario first. No candidate runs twice in a row if there are at least two.
#[must_use]
pub fn finalists(candidates: Vec<Candidate>, best: &[FirstPassScore], chosen: &Finalists) -> Vec<Candidate> {
    let Finalists { top, baselines, .. } = *chosen;
    let mut leading: BTreeSet<&str> = BTreeSet::new();
    let scenarios: BTreeSet<&str> = best.iter().map(|best| best.scenario.as_str()).collect();
    for scenario in &scenarios {
        leading.extend(best.iter().filter(|b| b.scenario == *scenario).take(top).map(|b| b.candidate_id.as_str()));
    }
    let runs = |c: &Candidate| {
        c.status.is_none() && (baselines && c.search.baseline || leading.contains(c.candidate_id.as_str()))
    };
    let again: Vec<Candidate> = candidates.into_iter().filter(runs).map(|c| at_its_rates(c, best)).collect();
    let again: Vec<Candidate> = again.into_iter().filter(|candidate| !candidate.loads.is_empty()).collect();
    let mut all: Vec<Candidate> = Vec::new();
    let Some(seed) = again.first().map(|candidate| candidate.benchmark.seed) else { return all };
    for repeat in chosen.repeats.clone() {
        let mut block = again.clone();
        block.shuffle(&mut generator(seed, &["block", &repeat.to_string()]));
        // Do not start a block with the last candidate of the previous one.
        if block.len() > 1 && all.last().is_some_and(|last| last.candidate_id == block[0].candidate_id) {
            block.rotate_left(1);
        }
        all.extend(block.into_iter().map(|candidate| of_repeat(candidate, repeat)));
    }
    all
}

/// The candidate with the load points of the second pass: its own best and the leader's, without rate searches.
fn at_its_rates(mut candidate: Candidate, best: &[FirstPassScore]) -> Candidate {
    let mut loads: Vec<Load> = Vec::new();
    let mut units = Vec::new();
    for scenario in candidate.scenarios.iter() {
        let here = || best.iter().filter(|best| best.scenario == scenario.name);
        let mut points: Vec<Load> = Vec::new();
        for mode in [LoadMode::Open, LoadMode::Closed, LoadMode::Burst] {
            let leader = here().find(|best| best.load.mode == mode);
            let own = here().find(|best| best.load.mode == mode && best.candidate_id == candidate.candidate_id);
            points.extend(own.into_iter().chain(leader).map(|best| best.load.clone()));
        }
        points.dedup();
        for point in points {
            let load = loads.iter().position(|known| *known == point).unwrap_or_else(|| {
                loads.push(point);
                loads.len() - 1
            });
            units.push(Unit {
                key: String::new(),
                scenario: scenario.name.clone(),
                load,
                repeat: 0,
                start: None,
                bar: None,
            });
        }
    }
    candidate.loads = loads.into();
    candidate.units = units;
    candidate
}

fn of_repeat(mut candidate: Candidate, repeat: u32) -> Candidate {
    let mut units = std::mem::take(&mut candidate.units);
    let asked = UnitKeys::of(&candidate);
    let common = asked.common(&candidate);
    for unit in &mut units {
        unit.repeat = repeat;
        unit.key = asked.key(&common, &unit.scenario, unit.load, repeat);
    }
    candidate.units = units;
    candidate.search.why = format!("second pass, run {}: {}", repeat + 1, candidate.search.why);
    candidate
}
