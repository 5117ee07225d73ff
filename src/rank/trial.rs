//! A candidate at one load point, over its repeats.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::criterion::RankOptions;
use super::entry::{Entry, SortKeys, verdict_word};
use crate::metrics::sla;
use crate::rows::kinds::SlaTest;
use crate::rows::words::{CheckVerdict, Limit, Statistic};

/// Repeats of one run, joined: their mean is ranked, and all their requests together decide the SLA.
#[derive(Debug, Clone)]
pub struct Trial {
    first: Box<Entry>,
    folded: Option<Box<TrialFold>>,
}

/// The evidence for a percentile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// Number of scheduled requests; `None` if the rows do not have it.
    pub n: Option<u32>,
    /// Number of these that failed or exceeded the limit.
    pub over: u32,
    /// Number of requests that confirm it if none exceeds the limit.
    pub needed: u32,
    /// True if a single repeat confirms it.
    confirmed: bool,
}

/// The values of several repeats together.
#[derive(Debug, Clone)]
struct TrialFold {
    /// The other repeats, in order.
    more: Vec<Box<Entry>>,
    passed: Option<bool>,
    unconfirmed: bool,
    keys: SortKeys,
}

impl Trial {
    /// Joins repeats.
    #[must_use]
    pub fn of(first: Box<Entry>, more: Vec<Box<Entry>>) -> Self {
        if more.is_empty() {
            return Self { first, folded: None };
        }
        let mut entries: Vec<Box<Entry>> = std::iter::once(first).chain(more).collect();
        entries.sort_by(|a, b| a.repeat().cmp(&b.repeat()).then_with(|| a.line().cmp(b.line())));
        let (passed, unconfirmed) = pooled(&entries);
        let mean = |get: fn(&SortKeys) -> Option<f64>| average(entries.iter().map(|entry| get(&entry.keys)));
        let keys = SortKeys {
            by: mean(|keys| keys.by),
            output: mean(|keys| keys.output),
            ttft: mean(|keys| keys.ttft),
            tpot: mean(|keys| keys.tpot),
            ..entries[0].keys
        };
        let first = entries.remove(0);
        Self { first, folded: Some(Box::new(TrialFold { more: entries, passed, unconfirmed, keys })) }
    }

    /// True if all repeats together meet the SLA; `None` without an SLA. Wrong answers meet none.
    #[must_use]
    pub fn passed(&self) -> Option<bool> {
        match self.has_wrong_answers() {
            true => Some(false),
            false => self.folded.as_ref().map_or(self.first.passed, |folded| folded.passed),
        }
    }

    /// The verdict on its answers, of all repeats together; `None` if no row says anything of a check.
    #[must_use]
    pub fn answers(&self) -> Option<CheckVerdict> {
        // Most have one repeat, and a ranking asks often.
        if self.folded.is_none() {
            return self.first.answers;
        }
        self.entries().filter_map(|entry| entry.answers).reduce(CheckVerdict::and)
    }

    /// The repeat that decides that verdict.
    #[must_use]
    pub fn checked_entry(&self) -> Option<&Entry> {
        let verdict = self.answers()?;
        self.entries().find(|entry| entry.answers == Some(verdict))
    }

    /// True if a check found its answers to be wrong: it never wins.
    #[must_use]
    pub fn has_wrong_answers(&self) -> bool {
        self.answers().is_some_and(CheckVerdict::is_out)
    }

    /// True if it cannot win because of its answers: they are wrong, or a check is required and did not find them to be right.
    #[must_use]
    pub fn is_out(&self, options: &RankOptions) -> bool {
        let unsure = options.require_check && self.answers() != Some(CheckVerdict::Same);
        unsure || self.has_wrong_answers()
    }

    /// True if a percentile has too few requests to confirm it.
    #[must_use]
    pub fn unconfirmed(&self) -> bool {
        self.folded.as_ref().map_or(self.first.unconfirmed, |folded| folded.unconfirmed)
    }

    /// The verdict of all repeats together: `pass`, `pass_unconfirmed` or `fail`; empty without an SLA.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        verdict_word(self.passed(), self.unconfirmed())
    }

    /// The percentiles that pass with too few requests, by statistic: number of requests of all repeats, number of
    /// these over the limit, and number needed if none is over it.
    #[must_use]
    pub fn unconfirmed_by(&self, options: &RankOptions) -> BTreeMap<Statistic, Confirmation> {
        let mut all: BTreeMap<Limit, Confirmation> = BTreeMap::new();
        for test in self.entries().flat_map(|entry| entry.all_tests(options)) {
            let Some(needed) = test.needed else { continue };
            let found = all.entry(test.limit).or_default();
            found.n = test.n.map(|n| found.n.unwrap_or(0) + n).or(found.n);
            found.over += test.over.unwrap_or(0);
            found.needed = found.needed.max(needed);
            found.confirmed |= test.confirmed == Some(true);
        }
        let mut by_statistic: BTreeMap<Statistic, Confirmation> = BTreeMap::new();
        for (limit, found) in all.into_iter().filter(|(_, found)| !found.confirmed) {
            if let Limit::Latency { statistic, .. } = limit {
                let worst = by_statistic.entry(statistic).or_insert(found);
                if found.over > worst.over {
                    *worst = found;
                }
            }
        }
        by_statistic
    }

    /// The values that decide its rank.
    #[must_use]
    pub fn keys(&self) -> &SortKeys {
        self.folded.as_ref().map_or(&self.first.keys, |folded| &folded.keys)
    }

    /// Its first repeat, for members that are equal in all repeats.
    #[must_use]
    pub fn entry(&self) -> &Entry {
        &self.first
    }

    /// Its repeats, in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let more = self.folded.iter().flat_map(|folded| &folded.more);
        std::iter::once(&self.first).chain(more).map(|entry| &**entry)
    }

    /// Number of repeats.
    #[must_use]
    pub fn repeats(&self) -> usize {
        1 + self.folded.as_ref().map_or(0, |folded| folded.more.len())
    }

    /// A metric, the mean over its repeats.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        average(self.entries().map(|entry| entry.metric(name)))
    }

    /// The throughput of each repeat.
    #[must_use]
    pub fn values(&self) -> Vec<(u32, f64)> {
        self.entries().filter_map(|entry| Some((entry.repeat(), entry.keys.by?))).collect()
    }

    /// True unless the nodes that measured the two are known and differ.
    #[must_use]
    pub fn shares_nodes(&self, other: &Self) -> bool {
        let nodes = |trial: &Self| trial.entries().map(|entry| entry.node.clone()).collect::<BTreeSet<_>>();
        nodes(self) == nodes(other)
    }

    /// The load point; for a search, the range of the repeats' results.
    #[must_use]
    pub fn load(&self) -> String {
        let range = |value: fn(&Entry) -> Option<f64>| {
            let values: Vec<f64> = self.entries().filter_map(value).collect();
            let (least, most) =
                values.iter().fold((f64::INFINITY, 0.0), |(a, b), value| (f64::min(a, *value), f64::max(b, *value)));
            (self.is_search() && least < most).then_some((least, most))
        };
        if let Some((least, most)) = range(|entry| entry.rate) {
            return format!("{least} to {most} req/s");
        }
        let in_flight = range(|entry| entry.in_flight.filter(|_| entry.rate.is_none()));
        in_flight.map_or_else(|| self.entry().load(), |(least, most)| format!("concurrency {least} to {most}"))
    }

    /// A search chose it.
    #[must_use]
    pub fn is_search(&self) -> bool {
        self.entry().own.as_ref().is_some_and(|own| own.chosen == Some(true))
    }

    /// The better trial first: SLA, throughput, output tokens, TTFT, TPOT, GPUs; then names, so that the order is
    /// total. Missing values rank last.
    #[must_use]
    pub fn compare(&self, other: &Self, options: &RankOptions) -> Ordering {
        self.place(options).cmp(&other.place(options)).then_with(|| self.names().cmp(&other.names()))
    }

    /// The sort key without names; the better trial has the smaller key.
    #[must_use]
    pub fn place(&self, options: &RankOptions) -> [u64; 6] {
        let keys = self.keys();
        let unsure = options.confirmed_first && self.unconfirmed();
        [
            4 * u64::from(self.is_out(options)) + 2 * u64::from(self.passed() != Some(true)) + u64::from(unsure),
            // A throughput of 0 counts as not measured, so the next criterion decides.
            !rising(keys.by.unwrap_or(0.0)),
            !rising(keys.output.unwrap_or(0.0)),
            rising(keys.ttft.unwrap_or(f64::INFINITY)),
            rising(keys.tpot.unwrap_or(f64::INFINITY)),
            rising(keys.gpus.unwrap_or(f64::INFINITY)),
        ]
    }

    /// Ties are broken by name, so that the order is total.
    pub(super) fn names(&self) -> (&str, &str, &str) {
        let entry = self.entry();
        (&entry.framework, &entry.candidate_id, entry.line())
    }
}

/// A key that sorts like the number: the total order of floating-point numbers.
fn rising(value: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = value.to_bits();
    // For negative numbers, larger bits mean a smaller value.
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The mean of the values that are present.
#[allow(clippy::cast_precision_loss, reason = "counts of repeats")]
fn average(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The tests over all requests of all repeats: percentiles by how many of them exceed the limit, other limits by the
/// mean. If a row does not list its tests, every repeat has to pass.
fn pooled(entries: &[Box<Entry>]) -> (Option<bool>, bool) {
    let answers: Option<Vec<bool>> = entries.iter().map(|entry| entry.passed).collect();
    let Some(answers) = answers else { return (None, false) };
    if answers.iter().all(|passed| *passed) && entries.iter().all(|entry| !entry.unconfirmed) {
        return (Some(true), false);
    }
    let tests: Vec<Vec<SlaTest>> = entries.iter().map(|entry| entry.recorded_tests()).collect();
    if tests.iter().any(Vec::is_empty) {
        return (Some(answers.iter().all(|passed| *passed)), entries.iter().any(|entry| entry.unconfirmed));
    }
    let mut unconfirmed = false;
    let pass = tests[0].iter().all(|test| {
        let same: Vec<&SlaTest> = tests.iter().filter_map(|all| all.iter().find(|t| t.limit == test.limit)).collect();
        match sla::pooled(&same) {
            Some(confirmed) => {
                unconfirmed |= !confirmed;
                true
            }
            None => false,
        }
    });
    // A test that only some repeats have (saturation) fails all of them.
    let lost = tests.iter().flatten().any(|test| !test.passed && tests[0].iter().all(|t| t.limit != test.limit));
    (Some(pass && !lost), pass && unconfirmed)
}
