//! What each part of a sweep is likely to cost, framework by framework.

use std::collections::BTreeMap;

use super::estimate::{Estimate, in_words};
use super::estimator::Estimator;
use super::stages::StageCandidates;
use crate::engines::framework::Frameworks;
use crate::rows::kinds::Candidate;
use crate::rows::words::Stage;

/// Likely times of the parts of a sweep, s.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Parts([f64; 6]);

/// Their titles. Runs are those at given loads.
const TITLES: [&str; 6] = ["starts", "screen", "searches", "runs", "repeats", "checks"];

impl Parts {
    fn add(&mut self, stage: Option<Stage>, estimate: &Estimate) {
        let [starts, screen, searches, runs, repeats, checks] = &mut self.0;
        *starts += estimate.start.likely_s;
        *checks += estimate.check.likely_s;
        match stage {
            Some(Stage::Screen) => *screen += estimate.search.likely_s + estimate.run.likely_s,
            Some(Stage::Repeat) => *repeats += estimate.search.likely_s + estimate.run.likely_s,
            Some(Stage::Search) | None => {
                *searches += estimate.search.likely_s;
                *runs += estimate.run.likely_s;
            }
        }
    }

    fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

/// The lines of a table of these candidates, one row for each framework, then their sum. The first stage is given apart.
#[must_use]
pub fn cost_table(estimator: &mut Estimator, stages: &[StageCandidates], frameworks: &Frameworks) -> Vec<String> {
    let mut of: BTreeMap<&str, Parts> = BTreeMap::new();
    for StageCandidates { stage, candidates } in stages {
        let mut own: BTreeMap<&str, Vec<&Candidate>> = BTreeMap::new();
        candidates.iter().for_each(|candidate| own.entry(&candidate.framework).or_default().push(candidate));
        for (framework, own) in own {
            of.entry(framework).or_default().add(*stage, &estimator.estimate(own.into_iter(), frameworks));
        }
    }
    let mut sum = Parts::default();
    of.values().for_each(|parts| (0..TITLES.len()).for_each(|i| sum.0[i] += parts.0[i]));
    let shown: Vec<usize> = (0..TITLES.len()).filter(|i| sum.0[*i] > 0.0).collect();
    let width = of.keys().map(|name| name.len()).max().unwrap_or(0).max("in all".len());
    let line = |name: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("  {cell:>8}")).collect();
        format!("{name:<width$}{cells}")
    };
    let times = |parts: &Parts| shown.iter().map(|i| parts.0[*i]).chain([parts.total()]).map(in_words).collect();
    let titles = shown.iter().map(|i| TITLES[*i].to_string()).chain(["likely".to_string()]).collect();
    let rows = of.iter().map(|(framework, parts)| line(framework, times(parts)));
    std::iter::once(line("", titles)).chain(rows).chain([line("in all", times(&sum))]).collect()
}
