//! The ranking of the source document, scenario by scenario.

pub mod entry;
mod rejected;

use std::collections::{BTreeMap, BTreeSet};

use crate::attempt::{self, Attempt};

pub use entry::{Entry, GroupKey, RankBy};
pub use rejected::Rejected;

/// Everything that a report shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// What throughput it goes by.
    pub by: RankBy,
    /// Groups that are not to be compared with each other.
    pub groups: Vec<Group>,
    /// Results that have no metrics to rank by, in a fixed order.
    pub failed: Vec<Entry>,
    /// What was tried and not selected, a line a candidate and reason.
    pub rejected: Vec<Rejected>,
    /// Candidates tried and known, by framework.
    pub tried: BTreeMap<String, Tried>,
}

/// Results that may be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What they have in common.
    pub key: GroupKey,
    /// The best trial of each candidate, best first.
    pub best: Vec<Entry>,
    /// All trials, by candidate in the order of `best`, then by load.
    pub trials: Vec<Entry>,
    /// What follows.
    pub decision: Decision,
}

impl Group {
    /// The rank of a trial, from 1, when it is the one by which its candidate stands.
    #[must_use]
    pub fn rank_of(&self, trial: &Entry) -> Option<usize> {
        self.best.iter().position(|best| best == trial).map(|at| at + 1)
    }
}

/// What follows from a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The first of `best` passed its SLA.
    Winner,
    /// No SLA was given: the first of `best` is the fastest.
    Fastest,
    /// Nobody passed; the first of `best` is not a winner. Which came nearest, which limit it breaks, and by what share.
    None {
        /// Index into `best`.
        nearest: usize,
        /// The limit that it breaks most.
        limit: String,
        /// By what share of the limit; infinite when requests failed, `None` when the row does not say.
        by: Option<f64>,
    },
}

/// How far a framework was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Candidates that gave a result.
    pub finished: usize,
    /// Candidates that gave any row.
    pub seen: usize,
    /// Candidates that its search has, where rows say so.
    pub of: usize,
    /// Its baseline gave a result.
    pub baseline: bool,
}

/// Each row once, and of every unit only its latest attempt, by the time when its run started.
fn latest(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by_cached_key(|entry| (entry.text("/run/started_at"), entry.row.line()));
    entries.dedup_by(|a, b| a.row.line() == b.row.line());
    let attempt = |entry: &Entry| -> Attempt {
        let units = entry.at("/units");
        let units = units.as_array().into_iter().flatten().filter_map(|unit| unit.as_str().map(String::from));
        let units = units.chain(Some(entry.text("/run/unit")).filter(|unit| !unit.is_empty()));
        let probe = !entry.at("/run/probe").is_null();
        (units.collect(), probe.then(|| entry.text("/run/server_id")))
    };
    let counts = attempt::latest(&entries.iter().map(attempt).collect::<Vec<_>>());
    entries.into_iter().zip(counts).filter(|(_, counts)| *counts).map(|(entry, _)| entry).collect()
}

/// Ranks results. The order of the input does not matter.
#[must_use]
pub fn rank(entries: Vec<Entry>, by: RankBy) -> Ranking {
    let mut grouped: BTreeMap<GroupKey, Vec<Entry>> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut tried: BTreeMap<String, Tried> = BTreeMap::new();
    let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
    let mut finished: BTreeSet<(String, String)> = BTreeSet::new();
    for entry in latest(entries) {
        let id = (entry.framework.clone(), entry.candidate_id.clone());
        let counts = tried.entry(entry.framework.clone()).or_default();
        counts.seen += usize::from(seen.insert(id.clone()));
        counts.of = counts.of.max(usize::try_from(entry.at("/candidate/of").as_u64().unwrap_or(0)).unwrap_or(0));
        if entry.is_ok() {
            counts.finished += usize::from(finished.insert(id));
            counts.baseline |= entry.at("/candidate/baseline") == true;
            grouped.entry(entry.group.clone()).or_default().push(entry);
        } else {
            failed.push(entry);
        }
    }
    let groups: Vec<Group> = grouped.into_iter().map(|(key, entries)| group(key, entries, by)).collect();
    failed
        .sort_by_cached_key(|e| (e.framework.clone(), e.candidate_id.clone(), e.group.clone(), e.load(), e.row.line()));
    let rejected = rejected::rejected(&groups, &failed);
    Ranking { by, groups, failed, rejected, tried }
}

impl Ranking {
    /// True when SLAs were given and nothing keeps them anywhere.
    #[must_use]
    pub fn nothing_passed(&self) -> bool {
        let answers = |wanted: fn(&Decision) -> bool| self.groups.iter().any(|group| wanted(&group.decision));
        !answers(|d| !matches!(d, Decision::None { .. }))
    }

    /// Some row comes from a simulated engine.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.all().any(|entry| entry.group.simulated)
    }

    /// Some row is a flow check.
    #[must_use]
    pub fn smoke(&self) -> bool {
        self.all().any(|entry| entry.group.smoke)
    }

    /// Every result, ranked or not.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(|group| &group.trials).chain(&self.failed)
    }
}

fn group(key: GroupKey, mut trials: Vec<Entry>, by: RankBy) -> Group {
    trials.sort_by(|a, b| a.compare(b, by));
    let mut best: Vec<Entry> = Vec::new();
    // Of a search only what stands for it is a claim; of one that never ended, its runs stand for themselves.
    let claims = |entry: &&Entry| entry.at("/search/chosen") != false || entry.text("/search/reason") == "unfinished";
    for entry in trials.iter().filter(claims).chain(&trials) {
        if !best.iter().any(|b| b.framework == entry.framework && b.candidate_id == entry.candidate_id) {
            best.push(entry.clone());
        }
    }
    best.sort_by(|a, b| a.compare(b, by));
    let place = |e: &Entry| best.iter().position(|b| b.framework == e.framework && b.candidate_id == e.candidate_id);
    let chosen = |e: &Entry| e.at("/search/chosen") != false;
    trials
        .sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| chosen(b).cmp(&chosen(a))).then_with(|| a.compare(b, by)));
    let decision = match best.first().map(|first| first.passed) {
        Some(Some(true)) => Decision::Winner,
        _ if best.iter().all(|entry| entry.passed.is_none()) => Decision::Fastest,
        _ => nearest(&best),
    };
    Group { key, best, trials, decision }
}

/// The entry whose worst miss is the smallest.
fn nearest(best: &[Entry]) -> Decision {
    let worst = |entry: &Entry| -> (f64, String) {
        let tests = entry.at("/sla_tests");
        let missed = tests.as_array().into_iter().flatten().filter(|test| test["passed"] == false);
        let by = missed.map(|test| {
            let miss = test["margin"].as_f64().map_or(f64::INFINITY, |margin| -margin);
            (miss, test["limit"].as_str().unwrap_or_default().to_string())
        });
        // A row that only says that it failed ranks behind all that say how.
        by.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1))).unwrap_or((f64::NAN, "its SLA".into()))
    };
    let all = best.iter().enumerate().map(|(i, entry)| (i, worst(entry)));
    let (nearest, (by, limit)) = all.min_by(|a, b| a.1.0.total_cmp(&b.1.0)).unwrap_or((0, (f64::NAN, String::new())));
    Decision::None { nearest, limit, by: Some(by).filter(|by| !by.is_nan()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn entry(id: &str, passed: Option<bool>, metrics: Value) -> Entry {
        let row = json!({"framework": "f", "candidate_id": id, "model": "m", "status": "ok", "sla": {"passed": passed},
                         "workload": {"scenario": "chat", "request_rate": 4.0}, "hardware": {"gpu_count": 1}, "metrics": metrics});
        Entry::read(Row::parse(&row.to_string()).unwrap())
    }

    fn order(entries: Vec<Entry>) -> Vec<String> {
        rank(entries, RankBy::RequestThroughput).groups[0].best.iter().map(|e| e.candidate_id.clone()).collect()
    }

    #[test]
    fn the_source_documents_order() {
        let entries = vec![
            entry("fast-but-fails", Some(false), json!({"request_throughput": 99.0})),
            entry(
                "slow-ttft",
                Some(true),
                json!({"request_throughput": 5.0, "output_token_throughput": 9.0, "mean_ttft_ms": 70.0}),
            ),
            entry(
                "good-ttft",
                Some(true),
                json!({"request_throughput": 5.0, "output_token_throughput": 9.0, "mean_ttft_ms": 60.0}),
            ),
            entry("no-throughput", Some(true), json!({"mean_ttft_ms": 1.0})),
            entry("more-requests", Some(true), json!({"request_throughput": 6.0})),
        ];
        assert_eq!(order(entries), ["more-requests", "good-ttft", "slow-ttft", "no-throughput", "fast-but-fails"]);
    }

    #[test]
    fn nobody_passed() {
        let mut near = entry("near", Some(false), json!({"request_throughput": 1.0}));
        near.row.set(
            "sla_tests",
            json!([{"limit": "max_p99_ttft_ms", "threshold": 100, "value": 114, "margin": -0.14, "passed": false}]),
        );
        let far = entry("far", Some(false), json!({"request_throughput": 9.0}));
        let ranking = rank(vec![far, near], RankBy::RequestThroughput);
        assert!(ranking.nothing_passed());
        let Decision::None { nearest, limit, by } = &ranking.groups[0].decision else { panic!("a winner") };
        assert_eq!(
            (ranking.groups[0].best[*nearest].candidate_id.as_str(), limit.as_str(), *by),
            ("near", "max_p99_ttft_ms", Some(0.14))
        );
        assert_eq!(ranking.rejected.len(), 2);
    }

    #[test]
    fn modes_and_simulations_are_apart() {
        let mut closed = entry("b", None, json!({}));
        closed.group.mode = "closed".into();
        let mut simulated = entry("c", None, json!({}));
        simulated.group.simulated = true;
        assert_eq!(rank(vec![entry("a", None, json!({})), closed, simulated], RankBy::Goodput).groups.len(), 3);
    }

    proptest! {
        #[test]
        fn the_order_of_the_input_does_not_matter(
            rows in proptest::collection::vec(("[a-c]", proptest::option::of(any::<bool>()), proptest::option::of(0u8..3), proptest::option::of(0u8..3)), 1..8),
            seed: u64,
        ) {
            let entries: Vec<Entry> = rows.into_iter()
                .map(|(id, passed, throughput, ttft)| entry(&id, passed, json!({"request_throughput": throughput, "mean_ttft_ms": ttft})))
                .collect();
            let mut shuffled = entries.clone();
            let n = shuffled.len();
            for i in 0..n {
                shuffled.swap(i, usize::try_from(seed >> (i * 3)).unwrap_or(0) % n);
            }
            prop_assert_eq!(rank(entries, RankBy::RequestThroughput), rank(shuffled, RankBy::RequestThroughput));
        }
    }
}
