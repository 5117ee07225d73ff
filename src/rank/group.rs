//! Candidates that may be compared, in their order.

use std::sync::Arc;

use super::candidate::RankedCandidate;
use super::decision::{Decision, Ties};
use super::entry::Entry;
use super::key::GroupKey;
use super::trial::Trial;

/// A framework without a valid result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Which.
    pub framework: Arc<str>,
    /// Why, in words: `failed to start (not_ready: no answer after 600 s)`.
    pub why: String,
}

/// Results that may be compared.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub key: Arc<GroupKey>,
    /// Candidates, best first.
    pub ranked: Vec<RankedCandidate>,
    /// The places of the best of every framework, in their order.
    pub(super) best: Vec<usize>,
    /// Every load that some row of it has, the least first.
    pub loads: Vec<String>,
    /// What follows.
    pub decision: Decision,
    /// Who is tied with the leader.
    pub ties: Ties,
    /// Frameworks that were asked for and have no valid result in it: its winner is provisional.
    pub missing: Vec<Missing>,
    /// By what its rows differ that should be equal; only with `allow_mixed`.
    pub mixed: Vec<String>,
}

impl Group {
    /// The best entry of every framework, in the group's order.
    #[must_use]
    pub fn best_of_frameworks(&self) -> Vec<&RankedCandidate> {
        self.best.iter().map(|place| &self.ranked[*place]).collect()
    }

    /// The frameworks that have a result in it, in its order.
    #[must_use]
    pub fn frameworks(&self) -> Vec<&Arc<str>> {
        self.best.iter().map(|place| &self.ranked[*place].best.entry().framework).collect()
    }

    /// Everything in it, ranked or beneath.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ranked.iter().flat_map(RankedCandidate::trials).flat_map(Trial::entries)
    }

    /// The rate at which the best of all ran, where that is one: throughput cannot tell them apart then.
    #[must_use]
    pub fn one_rate(&self) -> Option<f64> {
        let mut rates = self.ranked.iter().map(|ranked| ranked.best.entry().rate.filter(|_| !ranked.best.is_search()));
        let first = rates.next()??;
        let open = self.key.mode.starts_with("open");
        (open && self.ranked.len() > 1 && rates.all(|rate| rate == Some(first))).then_some(first)
    }
}
