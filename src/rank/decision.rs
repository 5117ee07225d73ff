//! The decision on a group: the winner, how certain it is, and the closest candidate if none meets the SLA.

use super::candidate::RankedCandidate;
use super::criterion::RankOptions;
use super::trial::Trial;
use crate::metrics::compare::{Comparison, compare};

/// The decision on a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The first candidate meets its SLA.
    Winner,
    /// No SLA was given: the first is the fastest.
    Fastest,
    /// No candidate meets the SLA: the closest one, the limit that it misses, and by how much.
    None {
        /// Index into the ranked candidates.
        nearest: usize,
        /// The limit that it misses by the largest share.
        limit: String,
        /// By what share of the limit; infinite if requests failed, `None` if the row does not have it.
        by: Option<f64>,
    },
}

/// Candidates that are tied with the leader, including the leader.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ties {
    /// Indices into the ranked candidates, the leader's first; only that one if there is no tie.
    pub members: Vec<usize>,
    /// The one with the fewest GPUs, then the fewest changed flags, unless it is the leader.
    pub simpler: Option<usize>,
    /// The runner-up with the same verdict, compared with the leader.
    pub next: Option<(usize, Comparison)>,
}

/// Maximum number of tied candidates.
const MOST_TIED: usize = 50;

pub fn decide(ranked: &[RankedCandidate], options: &RankOptions) -> Decision {
    match ranked.first().map(|first| first.best.passed()) {
        Some(Some(true)) => Decision::Winner,
        _ if ranked.iter().all(|ranked| ranked.best.passed().is_none()) => Decision::Fastest,
        _ => nearest(ranked, options),
    }
}

/// Compares the leader with the others of its verdict.
pub fn ties(ranked: &[RankedCandidate]) -> Ties {
    let Some(leader) = ranked.first() else { return Ties::default() };
    let own = leader.best.values();
    let same = |other: &&RankedCandidate| other.best.passed() == leader.best.passed();
    let mut found = Ties { members: vec![0], ..Ties::default() };
    for (i, other) in ranked.iter().enumerate().skip(1).take_while(|(_, other)| same(other)) {
        let Some(comparison) = compare(&own, &other.best.values()) else { continue };
        found.next = found.next.or(Some((i, comparison)));
        if comparison.tied() && found.members.len() < MOST_TIED {
            found.members.push(i);
        }
        // Beyond this ratio no candidate is tied, whatever the noise.
        if comparison.ratio > 2.0 || found.members.len() == MOST_TIED {
            break;
        }
    }
    let simplest = found.members.iter().min_by(|a, b| burden(&ranked[**a].best).total_cmp(&burden(&ranked[**b].best)));
    found.simpler = simplest.copied().filter(|i| *i != 0);
    found
}

/// GPUs first, then changed flags.
pub fn burden(trial: &Trial) -> f64 {
    let changed = trial.entry().changed().map_or(0, serde_json::Map::len);
    #[allow(clippy::cast_precision_loss, reason = "a count of flags")]
    let changed = changed as f64;
    trial.keys().gpus.unwrap_or(f64::from(u16::MAX)) * 1e6 + changed
}

/// Ranks the simplest first among those tied with the leader.
pub fn prefer_simple(ranked: &mut [RankedCandidate], ties: &Ties, options: &RankOptions) {
    if !options.prefer_simple {
        return;
    }
    // Only tied candidates change places.
    let mut members: Vec<RankedCandidate> = ties.members.iter().map(|i| ranked[*i].clone()).collect();
    members.sort_by(|a, b| burden(&a.best).total_cmp(&burden(&b.best)));
    for (place, member) in ties.members.iter().zip(members) {
        ranked[*place] = member;
    }
}

/// The candidate whose largest miss is the smallest; rows that only state a failed verdict come last.
fn nearest(ranked: &[RankedCandidate], options: &RankOptions) -> Decision {
    let failing = ranked.iter().enumerate().filter(|(_, ranked)| ranked.best.passed() == Some(false));
    let misses = failing.map(|(i, ranked)| (i, ranked.best.entry().miss.unwrap_or(f64::NAN)));
    let Some((nearest, by)) = misses.min_by(|a, b| a.1.total_cmp(&b.1)) else { return Decision::Fastest };
    let miss = |margin: Option<f64>| margin.map_or(f64::INFINITY, |margin| -margin);
    let tests = ranked[nearest].best.entry().tests(options);
    let worst = tests
        .iter()
        .filter(|test| !test.passed)
        .max_by(|a, b| miss(a.margin).total_cmp(&miss(b.margin)).then_with(|| b.limit.cmp(&a.limit)));
    let limit = worst.map_or_else(|| "its SLA".to_string(), |test| test.limit.to_string());
    Decision::None { nearest, limit, by: Some(by).filter(|by| !by.is_nan()) }
}
