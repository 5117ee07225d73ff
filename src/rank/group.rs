//! Candidates that may be compared, in ranking order.

use std::sync::Arc;

use super::candidate::RankedCandidate;
use super::decision::{Decision, Ties};
use super::entry::Entry;
use super::key::GroupKey;
use super::trial::Trial;

/// A framework without a valid result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// Its name.
    pub framework: Arc<str>,
    /// The reason: `failed to start (not_ready: no answer after 600 s)`.
    pub why: String,
}

/// Results that may be compared.
#[derive(Debug)]
pub struct Group {
    /// The settings that they have in common.
    pub key: Arc<GroupKey>,
    /// Candidates, best first.
    pub ranked: Vec<RankedCandidate>,
    /// Indices of the best candidate of every framework, in ranking order.
    pub(super) best: Vec<usize>,
    /// Every load of some row in it, the lowest first.
    pub loads: Vec<String>,
    /// The decision.
    pub decision: Decision,
    /// The candidates tied with the leader.
    pub ties: Ties,
    /// Requested frameworks without a valid result in it: its winner is provisional.
    pub missing: Vec<Missing>,
    /// Settings in which its rows differ although they should be equal; only with `allow_mixed`.
    pub mixed: Vec<String>,
}

impl Group {
    /// The best entry of every framework, in ranking order.
    #[must_use]
    pub fn best_of_frameworks(&self) -> Vec<&RankedCandidate> {
        self.best.iter().map(|place| &self.ranked[*place]).collect()
    }

    /// The simplest candidate among those tied with the leader, unless it is the leader.
    #[must_use]
    pub fn simplest_tied(&self) -> Option<&RankedCandidate> {
        self.ties.simpler.and_then(|place| self.ranked.get(place))
    }

    /// The candidates whose commands a report shows: the best of every framework, and the simplest tied with the leader.
    #[must_use]
    pub fn with_commands(&self) -> Vec<&RankedCandidate> {
        let mut places = self.best.clone();
        let is_winner = !matches!(self.decision, Decision::None { .. });
        places.extend(self.ties.simpler.filter(|place| is_winner && !self.best.contains(place)));
        places.sort_unstable();
        places.iter().map(|place| &self.ranked[*place]).collect()
    }

    /// The frameworks that have a result in it, in ranking order.
    #[must_use]
    pub fn frameworks(&self) -> Vec<&Arc<str>> {
        self.best.iter().map(|place| &self.ranked[*place].best.entry().framework).collect()
    }

    /// All its entries, with repeats and other load points.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ranked.iter().flat_map(RankedCandidate::trials).flat_map(Trial::entries)
    }

    /// The rate of all best load points, if it is the same: throughput cannot separate them then.
    #[must_use]
    pub fn one_rate(&self) -> Option<f64> {
        let mut rates = self.ranked.iter().map(|ranked| ranked.best.entry().rate.filter(|_| !ranked.best.is_search()));
        let first = rates.next()??;
        let open = self.key.mode.starts_with("open");
        (open && self.ranked.len() > 1 && rates.all(|rate| rate == Some(first))).then_some(first)
    }
}
