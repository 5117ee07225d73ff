//! Where a search begins: the throughput of a server that has more to do than it can, measured with a few bursts.
//!
//! A burst of n requests is a closed loop of n in flight for one answer, and by Little's law n requests in flight are the rate
//! n / E2E. Bursts grow until the throughput does not, until the tokens of most requests come too slowly, or until the highest
//! load of the search is reached. Each takes about one answer.

use crate::metrics::sample::{Sample, percentile};
use crate::metrics::sla::Limits;
use crate::rows::words::{Latency, SearchedLoad};

use super::SearchRange;
use super::length::answer_s;

/// Requests of the first burst.
const FIRST: u32 = 4;
/// Factor between a burst and the next.
const GROWTH: u32 = 4;
/// Maximum number of requests in a burst.
const MOST: u32 = 256;
/// A burst that is faster by less than this factor than the one before shows the throughput of the saturated server.
const FASTER: f64 = 1.3;
/// A search begins at this share of the saturation throughput: arrivals at random times need some room.
pub const PILOT_START: f64 = 0.8;
/// Without any burst in which tokens came fast enough, it begins at this share of the first.
const SLOW_START: f64 = 0.5;

/// The bursts so far.
#[derive(Debug, Clone)]
pub struct Pilot {
    range: SearchRange,
    bursts: Vec<PilotBurst>,
    answer_s: Option<f64>,
}

/// What a burst showed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PilotBurst {
    requests: u32,
    /// Requests per second.
    rate: f64,
    /// Most of its requests met the limits that do not count the wait for a place.
    fast: bool,
}

impl Pilot {
    /// No burst yet.
    #[must_use]
    pub fn new(range: SearchRange) -> Self {
        Self { range, bursts: Vec::new(), answer_s: None }
    }

    /// Number of requests of the next burst; `None` if enough is known.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        let most = match self.range.what {
            SearchedLoad::Rate => MOST,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            SearchedLoad::Concurrency => MOST.min(self.range.upper as u32),
        };
        let Some(last) = self.bursts.last() else { return Some(FIRST.min(most)) };
        let before = self.bursts.len().checked_sub(2).map(|i| self.bursts[i]);
        let saturated = before.is_some_and(|before| last.rate < FASTER * before.rate);
        let reached = self.range.what == SearchedLoad::Rate && last.rate >= self.range.upper;
        let more = last.requests < most && last.fast && last.rate > 0.0 && !saturated && !reached;
        more.then(|| (last.requests * GROWTH).min(most))
    }

    /// Adds a burst of `requests` that took `seconds`, and whose successful requests are in the closed `sample`.
    pub fn record(&mut self, requests: u32, seconds: f64, sample: &Sample, limits: &Limits) {
        let slow = |(latency, threshold): (Latency, f64)| {
            let waits = matches!(latency, Latency::Ttft | Latency::Ttfat | Latency::Itl);
            !waits && percentile(sample.values(latency), 50.0).is_some_and(|median| median > threshold)
        };
        let fast = sample.ok() > 0 && !limits.latencies().any(slow);
        let rate = f64::from(sample.ok()) / seconds.max(1e-6);
        self.bursts.push(PilotBurst { requests, rate, fast });
        self.answer_s = answer_s(sample).or(self.answer_s);
    }

    /// The length of an answer in the last burst, s.
    #[must_use]
    pub fn answer_s(&self) -> Option<f64> {
        self.answer_s
    }

    /// Where to begin; `None` if no request succeeded.
    #[must_use]
    pub fn start(&self) -> Option<f64> {
        let value = |burst: &PilotBurst| match self.range.what {
            SearchedLoad::Rate => burst.rate,
            SearchedLoad::Concurrency => burst.requests.into(),
        };
        let best = self.bursts.iter().rev().find(|burst| burst.fast).map(value);
        let slow = self.bursts.iter().find(|burst| !burst.fast && burst.rate > 0.0).map(value);
        match (best, slow) {
            (Some(best), Some(slow)) => Some((best * slow).sqrt() * PILOT_START),
            (Some(best), None) => Some(best * PILOT_START),
            (None, Some(slow)) => Some(slow * SLOW_START),
            (None, None) => None,
        }
    }
}
