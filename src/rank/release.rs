//! Compares two rankings of the same plan, one of an earlier release: improvements and regressions beyond noise.

use std::collections::HashMap;

use super::candidate::RankedCandidate;
use super::group::Group;
use super::ranking::Ranking;
use super::trial::Trial;
use crate::metrics::compare::{Comparison, compare};

/// A candidate at a load point, in both releases.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseChange {
    /// Scenario.
    pub scenario: String,
    /// `sglang tp=2`.
    pub candidate: String,
    /// `4 req/s`.
    pub load: String,
    /// `request_throughput`, `mean_ttft_ms`, ….
    pub metric: String,
    /// Baseline and current value.
    pub values: (f64, f64),
    /// Current value divided by the baseline's.
    pub comparison: Comparison,
    /// The improvement, as a share; negative if it got worse.
    pub better: f64,
    /// True if it is worse beyond noise and by more than the threshold. Single runs do not show their noise: then it is false.
    pub regression: bool,
    /// True if it is worse by more than the threshold and than the noise that single runs usually have.
    pub suspect: bool,
}

/// A release, compared with an earlier one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReleaseComparison {
    /// Metrics that both releases have.
    pub changes: Vec<ReleaseChange>,
    /// Candidates that met their SLA in the baseline and no longer do, as text.
    pub lost: Vec<String>,
    /// What only one of the releases has, as text.
    pub unmatched: Vec<String>,
}

/// Latencies to compare besides throughput; lower is better.
const LATENCIES: [&str; 2] = ["mean_ttft_ms", "mean_tpot_ms"];

/// Compares the releases; `threshold` is the share by which a metric may get worse.
#[must_use]
pub fn release(old: &Ranking, new: &Ranking, threshold: f64) -> ReleaseComparison {
    let mut found = ReleaseComparison::default();
    for group in &new.groups {
        let Some(before) = old.groups.iter().find(|other| alike(group, other)) else {
            found.unmatched.push(format!("{} has no earlier results", group.key.scenario));
            continue;
        };
        let (earlier, later) = (CandidateIndex::of(before), CandidateIndex::of(group));
        for ranked in &group.ranked {
            match earlier.same(ranked) {
                Some(then) => one(group, then, ranked, threshold, &mut found),
                None => found.unmatched.push(format!("{} is new in {}", name(&ranked.best), group.key.scenario)),
            }
        }
        for lost in before.ranked.iter().filter(|then| later.same(then).is_none()) {
            found.unmatched.push(format!("{} no longer has a result in {}", name(&lost.best), group.key.scenario));
        }
    }
    for lost in old.groups.iter().filter(|then| !new.groups.iter().any(|now| alike(now, then))) {
        found.unmatched.push(format!("{} has no later results", lost.key.scenario));
    }
    found
}

impl ReleaseComparison {
    /// True if some metric is worse beyond noise and threshold, or some candidate no longer meets its SLA.
    #[must_use]
    pub fn regressed(&self) -> bool {
        !self.lost.is_empty() || self.changes.iter().any(|change| change.regression)
    }
}

/// True for groups of the same scenario and load; a client or GPU that one of them lacks matches any.
fn alike(a: &Group, b: &Group) -> bool {
    let (a, b) = (&a.key, &b.key);
    let fits = |a: &str, b: &str| a == b || a.is_empty() || b.is_empty();
    (&a.scenario, &a.mode, a.smoke, a.simulated) == (&b.scenario, &b.mode, b.smoke, b.simulated)
        && fits(a.model(), b.model())
        && fits(a.gpu(), b.gpu())
        && fits(a.client(), b.client())
}

/// The candidates of a group by framework and id, and by framework and changed flags.
struct CandidateIndex<'a> {
    by_id: HashMap<(&'a str, &'a str), &'a RankedCandidate>,
    by_changes: HashMap<(&'a str, String), &'a RankedCandidate>,
}

impl<'a> CandidateIndex<'a> {
    fn of(group: &'a Group) -> Self {
        let mut known = Self { by_id: HashMap::new(), by_changes: HashMap::new() };
        for ranked in &group.ranked {
            let entry = ranked.best.entry();
            known.by_id.entry((&entry.framework, &entry.candidate_id)).or_insert(ranked);
            known.by_changes.entry((&entry.framework, entry.changes())).or_insert(ranked);
        }
        known
    }

    /// By id, otherwise by changed flags: an id may change with the release.
    fn same(&self, other: &RankedCandidate) -> Option<&'a RankedCandidate> {
        let entry = other.best.entry();
        let by_changes = || {
            let changes = Some(entry.changes()).filter(|changes| !changes.is_empty())?;
            self.by_changes.get(&(&*entry.framework, changes))
        };
        self.by_id.get(&(&*entry.framework, &*entry.candidate_id)).or_else(by_changes).copied()
    }
}

fn name(trial: &Trial) -> String {
    let entry = trial.entry();
    let changes = entry.changes();
    format!("{} {}", entry.framework, if changes.is_empty() { &*entry.candidate_id } else { &changes })
}

fn one(group: &Group, then: &RankedCandidate, now: &RankedCandidate, threshold: f64, found: &mut ReleaseComparison) {
    if then.best.passed() == Some(true) && now.best.passed() == Some(false) {
        found.lost.push(format!("{} no longer meets its SLA in {}", name(&now.best), group.key.scenario));
    }
    for trial in now.trials() {
        let point = |trial: &Trial| (trial.is_search(), if trial.is_search() { String::new() } else { trial.load() });
        let Some(earlier) = then.trials().find(|other| point(other) == point(trial)) else { continue };
        let repeats = |trial: &Trial, metric: &str| -> Vec<(u32, f64)> {
            trial.entries().filter_map(|entry| Some((entry.repeat(), entry.metric(metric)?))).collect()
        };
        let mut put = |metric: &str, before: &[(u32, f64)], after: &[(u32, f64)], higher: bool| {
            let Some(comparison) = compare(after, before) else { return };
            let mean =
                |values: &[(u32, f64)]| crate::metrics::sample::mean(&values.iter().map(|v| v.1).collect::<Vec<_>>());
            let (Some(was), Some(is)) = (mean(before), mean(after)) else { return };
            let better = if higher { comparison.ratio - 1.0 } else { 1.0 - comparison.ratio };
            found.changes.push(ReleaseChange {
                scenario: group.key.scenario.clone(),
                candidate: name(trial),
                load: if trial.is_search() { "search".into() } else { trial.load() },
                metric: metric.into(),
                values: (was, is),
                regression: comparison.interval.is_some() && !comparison.tied() && better < -threshold,
                suspect: comparison.interval.is_none() && !comparison.tied() && better < -threshold,
                comparison,
                better,
            });
        };
        put("throughput", &earlier.values(), &trial.values(), true);
        for metric in LATENCIES {
            put(metric, &repeats(earlier, metric), &repeats(trial, metric), false);
        }
    }
}
