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
    /// True if the latency, not the throughput, chose the leader among those tied.
    pub by_latency: bool,
}

/// What no candidate has if the check of answers puts all of them out.
pub const RIGHT_ANSWERS: &str = "right answers";
/// Maximum number of tied candidates.
const MOST_TIED: usize = 50;

pub fn decide(ranked: &[RankedCandidate], options: &RankOptions) -> Decision {
    let is_out = |ranked: &RankedCandidate| ranked.best.is_out(options);
    let may_win = || ranked.iter().filter(|ranked| !is_out(ranked));
    match ranked.first().map(|first| first.best.passed()) {
        Some(_) if may_win().next().is_none() => Decision::None { nearest: 0, limit: RIGHT_ANSWERS.into(), by: None },
        Some(Some(true)) => Decision::Winner,
        _ if may_win().all(|ranked| ranked.best.passed().is_none()) => Decision::Fastest,
        _ => nearest(ranked, options),
    }
}

/// Compares the leader with the others of its verdict.
pub fn ties(ranked: &[RankedCandidate], options: &RankOptions) -> Ties {
    let Some(leader) = ranked.first() else { return Ties::default() };
    let own = leader.best.values();
    let verdict = |ranked: &RankedCandidate| (ranked.best.passed(), ranked.best.is_out(options));
    let same = |other: &&RankedCandidate| verdict(other) == verdict(leader);
    let mut found = Ties { members: vec![0], ..Ties::default() };
    for (i, other) in ranked.iter().enumerate().skip(1).take_while(|(_, other)| same(other)) {
        let Some(comparison) = compare(&own, &other.best.values()) else { continue };
        // Two nodes differ even if the candidates do not.
        let apart = !leader.best.shares_nodes(&other.best);
        let comparison = if apart { comparison.across_nodes(options.node_sd) } else { comparison };
        found.next = found.next.or(Some((i, comparison)));
        if comparison.tied() && found.members.len() < MOST_TIED {
            found.members.push(i);
        }
        // Beyond this ratio no candidate is tied, whatever the noise.
        if comparison.ratio > 2.0 || found.members.len() == MOST_TIED {
            break;
        }
    }
    found.simpler = simplest(ranked, &found.members);
    found
}

/// The member with the fewest GPUs, then the fewest changed flags, unless it is the leader.
fn simplest(ranked: &[RankedCandidate], members: &[usize]) -> Option<usize> {
    let simplest = members.iter().min_by(|a, b| burden(&ranked[**a].best).total_cmp(&burden(&ranked[**b].best)));
    simplest.copied().filter(|i| *i != 0)
}

/// Throughputs within noise are equal, so the next criteria decide: among those tied with the leader that were measured at
/// the leader's load and make as many tokens, the one with the lower latency is first. Latencies at different loads say
/// nothing about each other.
pub fn by_latency(ranked: &mut [RankedCandidate], ties: Ties, options: &RankOptions) -> Ties {
    let Some(leader) = ranked.first().map(|first| &first.best) else { return ties };
    let load = |trial: &Trial| [trial.entry().rate, trial.entry().in_flight];
    let tokens = |trial: &Trial| -> Vec<(u32, f64)> {
        trial.entries().filter_map(|entry| Some((entry.repeat(), entry.keys.output?))).collect()
    };
    let own = (load(leader), tokens(leader));
    let fits = |i: &usize| {
        let trial = &ranked[*i].best;
        let alike = match (own.1.is_empty(), compare(&own.1, &tokens(trial))) {
            (_, Some(comparison)) => comparison.tied(),
            (no_tokens, None) => no_tokens && trial.keys().output.is_none(),
        };
        // Without a latency there is nothing to decide by.
        let measured = trial.keys().ttft.is_some() || trial.keys().tpot.is_some();
        own.0 != [None, None] && load(trial) == own.0 && !trial.is_search() && measured && alike
    };
    let places: Vec<usize> = ties.members.iter().copied().filter(fits).collect();
    if places.len() < 2 || places.first() != Some(&0) {
        return ties;
    }
    let mut members: Vec<RankedCandidate> = places.iter().map(|i| ranked[*i].clone()).collect();
    members.sort_by_key(|member| {
        let [verdict, by, output, ttft, tpot, gpus] = member.best.place(options);
        [verdict, ttft, tpot, gpus, by, output]
    });
    let first = (ranked[0].best.entry().framework.clone(), ranked[0].best.entry().candidate_id.clone());
    for (place, member) in places.iter().zip(members) {
        ranked[*place] = member;
    }
    let now = ranked[0].best.entry();
    let moved = (&now.framework, &now.candidate_id) != (&first.0, &first.1);
    let fresh = self::ties(ranked, options);
    // The same candidates are tied, in their new order.
    Ties { simpler: simplest(ranked, &ties.members), members: ties.members, next: fresh.next, by_latency: moved }
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
    let failing = ranked.iter().enumerate();
    let failing = failing.filter(|(_, ranked)| ranked.best.passed() == Some(false) && !ranked.best.is_out(options));
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
