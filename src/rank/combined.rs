//! One decision over several scenarios, by their weights.

use std::collections::BTreeMap;

use super::candidate::RankedCandidate;
use super::group::Group;

/// A ranking over scenarios.
#[derive(Debug, Clone, PartialEq)]
pub struct CombinedRanking {
    /// Scenarios and their weights; the sum is 1.
    pub weights: Vec<(String, f64)>,
    /// Load mode.
    pub mode: String,
    /// Best first.
    pub scores: Vec<Score>,
    /// Number of candidates without a result in some scenario.
    pub left_out: usize,
}

/// A candidate over scenarios.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Framework.
    pub framework: String,
    /// Candidate.
    pub candidate_id: String,
    /// Changed flags, in words.
    pub changes: String,
    /// Π (value / best value)^weight over the scenarios: 1 for the best of every one.
    pub score: f64,
    /// True if it meets every SLA, false if it misses one; `None` if some scenario has no SLA and it misses none.
    pub passed: Option<bool>,
    /// The ranked throughput in each scenario.
    pub values: Vec<f64>,
}

impl Score {
    /// The flags that it changes; its id if the rows do not list them.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.changes.is_empty() { &self.candidate_id } else { &self.changes }
    }
}

/// The rankings over these weights: one for each load mode, model and client that has all of the scenarios. Empty
/// without weights.
pub fn combined(groups: &[Group], weights: &[(String, f64)]) -> Vec<CombinedRanking> {
    let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
    if sum <= 0.0 {
        return Vec::new();
    }
    let weights: Vec<(String, f64)> = weights.iter().map(|(name, weight)| (name.clone(), weight / sum)).collect();
    // The digest of a workload always differs between scenarios.
    let apart = |group: &Group| {
        let key = &group.key;
        let (model, gpu, client) = (key.model().to_string(), key.gpu().to_string(), key.client().to_string());
        (key.mode.clone(), key.smoke, key.simulated, model, gpu, client)
    };
    let mut alike: BTreeMap<_, Vec<&Group>> = BTreeMap::new();
    groups.iter().for_each(|group| alike.entry(apart(group)).or_default().push(group));
    alike.into_iter().filter_map(|(key, groups)| one(&weights, key.0, &groups)).collect()
}

fn one(weights: &[(String, f64)], mode: String, groups: &[&Group]) -> Option<CombinedRanking> {
    let of = |name: &String| groups.iter().find(|group| group.key.scenario == *name);
    let chosen: Vec<&&Group> = weights.iter().map(|(name, _)| of(name)).collect::<Option<_>>()?;
    let best: Vec<f64> = chosen
        .iter()
        .map(|group| {
            let value = |passing: bool| {
                let counted = group.ranked.iter().filter(|ranked| !passing || ranked.best.passed() == Some(true));
                counted.filter_map(|ranked| ranked.best.keys().by).reduce(f64::max)
            };
            value(true).or_else(|| value(false)).filter(|value| *value > 0.0)
        })
        .collect::<Option<_>>()?;
    let same = |a: &RankedCandidate, b: &RankedCandidate| {
        let (a, b) = (a.best.entry(), b.best.entry());
        a.framework == b.framework && a.candidate_id == b.candidate_id
    };
    let mut scores = Vec::new();
    let mut left_out = 0;
    for ranked in &chosen.first()?.ranked {
        let everywhere: Option<Vec<&RankedCandidate>> =
            chosen.iter().map(|group| group.ranked.iter().find(|other| same(ranked, other))).collect();
        let values =
            everywhere.as_ref().and_then(|all| all.iter().map(|one| one.best.keys().by).collect::<Option<Vec<f64>>>());
        let (Some(all), Some(values)) = (everywhere, values) else {
            left_out += 1;
            continue;
        };
        let log: f64 =
            weights.iter().zip(&values).zip(&best).map(|(((_, w), value), best)| w * (value / best).ln()).sum();
        let passed = all.iter().try_fold(true, |all, one| Some(all && one.best.passed()?));
        let failed = all.iter().any(|one| one.best.passed() == Some(false));
        let entry = ranked.best.entry();
        scores.push(Score {
            framework: entry.framework.to_string(),
            candidate_id: entry.candidate_id.to_string(),
            changes: entry.label(),
            score: log.exp(),
            passed: if failed { Some(false) } else { passed },
            values,
        });
    }
    scores.sort_by(|a, b| {
        let key = |score: &Score| score.passed != Some(true);
        key(a)
            .cmp(&key(b))
            .then_with(|| b.score.total_cmp(&a.score))
            .then_with(|| (&a.framework, &a.candidate_id).cmp(&(&b.framework, &b.candidate_id)))
    });
    Some(CombinedRanking { weights: weights.to_vec(), mode, scores, left_out })
}
