//! What all runs of a search together say about each load.
//!
//! A single run says little: a p99 of 80 requests is their maximum, and slow requests come in clusters. So runs at the same load
//! count together, and runs at neighbouring loads too where they contradict each other: a limit cannot be missed at one load and
//! met at a higher one, so both have the share of slow requests that they have together (isotonic regression by pooling
//! adjacent violators).

use crate::metrics::sla::pooled;
use crate::rows::kinds::SlaTest;
use crate::rows::words::Limit;

/// What a run says about its load.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Every limit was met.
    pub passed: bool,
    /// It ended early, as it could no longer meet a limit.
    pub cut: bool,
    /// The tests of its limits.
    pub tests: Vec<SlaTest>,
    /// Number of requests.
    pub requests: u32,
    /// How many answers one after the other fit into the run after the ramp.
    pub answers: f64,
}

impl Evidence {
    /// That the server fell behind, which no latency of a run can outweigh.
    #[must_use]
    pub fn fell_behind(&self) -> bool {
        self.tests.iter().any(|test| test.limit == Limit::InFlight && !test.passed)
    }
}

/// What the runs say about one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadVerdict {
    /// The step of the ladder.
    pub step: usize,
    /// The limits are met there and at all lower loads.
    pub passes: bool,
    /// The limit that decided that they are not.
    pub limit: Option<Limit>,
}

/// The verdict on every measured load, in ascending order. The evidence is in the order of the runs.
#[must_use]
pub fn verdicts(runs: &[(usize, &Evidence)]) -> Vec<LoadVerdict> {
    let mut steps: Vec<usize> = runs.iter().map(|(step, _)| *step).collect();
    steps.sort_unstable();
    steps.dedup();
    let at = |step: usize| runs.iter().filter(move |(other, _)| *other == step).map(|(_, evidence)| *evidence);
    let mut missed: Vec<Option<Limit>> = steps.iter().map(|step| alone(&at(*step).collect::<Vec<_>>())).collect();
    for limit in limits(runs) {
        for (place, missed) in missed_together(limit, &steps, &at).into_iter().zip(&mut missed) {
            *missed = missed.or(place.then_some(limit));
        }
    }
    let unmet = |step: usize| at(step).all(|evidence| !evidence.passed);
    let mut limit = None;
    let mut failed = false;
    let verdict = |(step, missed): (&usize, Option<Limit>)| {
        // A load that no run passed at is not met, whatever the runs around it say.
        if !failed && (missed.is_some() || unmet(*step)) {
            failed = true;
            let single = || at(*step).flat_map(|evidence| &evidence.tests).find(|test| !test.passed);
            limit = missed.or_else(|| single().map(|test| test.limit));
        }
        LoadVerdict { step: *step, passes: !failed, limit: limit.filter(|_| failed) }
    };
    steps.iter().zip(missed).map(verdict).collect()
}

/// The limits of plans that the runs tested.
fn limits(runs: &[(usize, &Evidence)]) -> Vec<Limit> {
    let mut all: Vec<Limit> = runs.iter().flat_map(|(_, evidence)| &evidence.tests).map(|test| test.limit).collect();
    all.sort_unstable();
    all.dedup();
    all.retain(|limit| *limit != Limit::InFlight);
    all
}

/// The limit missed at a load by its own runs, whatever its neighbours say: the server falls behind in most of them.
fn alone(runs: &[&Evidence]) -> Option<Limit> {
    let behind = runs.iter().filter(|evidence| evidence.fell_behind()).count();
    (2 * behind > runs.len()).then_some(Limit::InFlight)
}

/// Loads whose runs count together: the first and the last of them, and their tests of a limit.
struct LoadBlock<'a> {
    steps: usize,
    tests: Vec<&'a SlaTest>,
}

/// Whether one limit is missed at each load.
fn missed_together<'a, I: Iterator<Item = &'a Evidence>>(
    limit: Limit,
    steps: &[usize],
    at: &impl Fn(usize) -> I,
) -> Vec<bool> {
    let mut blocks: Vec<LoadBlock<'a>> = Vec::new();
    for step in steps {
        let tests = at(*step).flat_map(|evidence| &evidence.tests).filter(|test| test.limit == limit).collect();
        let mut block = LoadBlock { steps: 1, tests };
        while let Some(below) = blocks.pop_if(|below| severity(&below.tests) > severity(&block.tests)) {
            block = LoadBlock { steps: below.steps + block.steps, tests: [below.tests, block.tests].concat() };
        }
        blocks.push(block);
    }
    let missed = |block: &LoadBlock| !block.tests.is_empty() && pooled(&block.tests).is_none();
    blocks.iter().flat_map(|block| std::iter::repeat_n(missed(block), block.steps)).collect()
}

/// How bad some tests of a limit are together: the share of requests above it, or its mean value. More load makes it worse.
fn severity(tests: &[&SlaTest]) -> f64 {
    let counts: Option<Vec<(f64, f64)>> =
        tests.iter().map(|test| Some((f64::from(test.n?), f64::from(test.over?)))).collect();
    if let Some(counts) = counts.filter(|counts| !counts.is_empty()) {
        return counts.iter().map(|(_, over)| over).sum::<f64>() / counts.iter().map(|(n, _)| n).sum::<f64>();
    }
    let sign = if tests.first().is_some_and(|test| test.limit.is_floor()) { -1.0 } else { 1.0 };
    let values: Vec<f64> = tests.iter().map(|test| test.value.map_or(f64::INFINITY, |value| sign * value)).collect();
    crate::metrics::sample::mean(&values).unwrap_or(f64::NEG_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::words::{Basis, Latency, Statistic};

    const P99: Limit = Limit::Latency { statistic: Statistic::P99, latency: Latency::Ttft };

    fn counted(n: u32, over: u32) -> Evidence {
        let passed = f64::from(over) <= 0.01 * f64::from(n);
        let test = SlaTest {
            limit: P99,
            threshold: 100.0,
            value: None,
            basis: Basis::AllScheduled,
            margin: None,
            passed,
            n: Some(n),
            over: Some(over),
            needed: None,
            confirmed: None,
        };
        Evidence { passed, cut: false, tests: vec![test], requests: n, answers: 10.0 }
    }

    fn passes(runs: &[(usize, &Evidence)]) -> Vec<(usize, bool)> {
        verdicts(runs).iter().map(|verdict| (verdict.step, verdict.passes)).collect()
    }

    #[test]
    fn runs_at_one_load_count_together() {
        // 2 of 100 are too many, 2 of 1100 are not.
        assert_eq!(passes(&[(3, &counted(100, 2))]), [(3, false)]);
        assert_eq!(passes(&[(3, &counted(100, 2)), (3, &counted(1000, 0))]), [(3, true)]);
    }

    #[test]
    fn neighbours_that_contradict_each_other_count_together() {
        // Slow at 3 and fast at 4: together 2 of 1100 at both.
        let (slow, fast) = (counted(100, 2), counted(1000, 0));
        assert_eq!(passes(&[(3, &slow), (4, &fast)]), [(3, false), (4, false)], "no run passed at 3");
        assert_eq!(passes(&[(3, &slow), (3, &counted(80, 0)), (4, &fast)]), [(3, true), (4, true)]);
        // In the order that is to be expected nothing is pooled.
        assert_eq!(passes(&[(4, &slow), (3, &fast)]), [(3, true), (4, false)]);
        assert_eq!(verdicts(&[(4, &slow)])[0].limit, Some(P99));
    }
}
