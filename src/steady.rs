//! Whether a run was in a steady state: thirds of its window that agree, and a number of requests in flight that does not
//! grow.

use crate::schema::Stability;

/// Thirds whose largest and smallest differ by more than this factor do not agree (perf_analyzer's 10 %).
const AGREE: f64 = 1.10;
/// More in flight in the last third than this many times those in the first, and the server falls behind.
const GROWS: f64 = 2.0;
/// And more by at least so many: a few requests come and go.
const BY: f64 = 4.0;
/// Fewer requests than this tell nothing about thirds.
const ENOUGH: usize = 30;

/// One request on the run's clock, seconds. There are as many as requests, so they are small: of an hour a number of this
/// size still tells a quarter of a millisecond, and thirds ask for less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// When it was due, or sent in closed loop.
    pub start: f32,
    /// When it ended.
    pub end: f32,
    /// Its TTFT, s, or what an answer that came whole took; `None` when it failed.
    pub ttft: Option<f32>,
}

/// Looks at a run; `None` when it is too short to tell.
#[must_use]
pub fn stability(spans: &[Span]) -> Option<Stability> {
    let starts = || spans.iter().map(|span| f64::from(span.start));
    let begin = starts().fold(f64::INFINITY, f64::min);
    let length = starts().fold(f64::NEG_INFINITY, f64::max) - begin;
    if spans.len() < ENOUGH || length <= 0.0 {
        return None;
    }
    let thirds = [0.0, 1.0, 2.0].map(|i| (begin + length * i / 3.0, begin + length * (i + 1.0) / 3.0));
    let in_flight = thirds.map(|(from, to)| {
        let overlap = |span: &Span| (f64::from(span.end).min(to) - f64::from(span.start).max(from)).max(0.0);
        spans.iter().map(overlap).sum::<f64>() / (to - from)
    });
    let completions =
        thirds.map(|(from, to)| count(spans.iter().filter(|span| span.ttft.is_some() && within(span.end, from, to))));
    let ttft = thirds.map(|(from, to)| {
        let started = || spans.iter().filter(|span| within(span.start, from, to)).filter_map(|span| span.ttft);
        started().map(f64::from).sum::<f64>() / count(started())
    });
    let (throughput, latency) = (spread(completions), spread(ttft));
    let agree = |spread: Option<f64>| spread.is_some_and(|spread| spread <= AGREE);
    let [first, middle, last] = in_flight;
    Some(Stability {
        max_min_throughput: throughput,
        max_min_ttft: latency,
        stable: agree(throughput) && agree(latency),
        in_flight,
        saturated: first < middle && middle < last && last > GROWS * first && last - first >= BY,
    })
}

fn within(at: f32, from: f64, to: f64) -> bool {
    let at = f64::from(at);
    at >= from && at < to
}

#[allow(clippy::cast_precision_loss, reason = "counts of requests")]
fn count<T>(items: impl Iterator<Item = T>) -> f64 {
    items.count() as f64
}

/// The largest over the smallest; `None` when one is nothing.
fn spread(values: [f64; 3]) -> Option<f64> {
    let (least, most) = (values.into_iter().fold(f64::INFINITY, f64::min), values.into_iter().fold(0.0, f64::max));
    (least > 0.0 && most.is_finite()).then(|| most / least)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Arrivals, arrivals, generator};

    /// One server that takes 0.1 s for each request, at this share of what it can do, for a minute.
    fn queue(load: f64, seed: u64) -> Vec<Span> {
        let mut free = 0.0;
        let due = arrivals(Arrivals::Poisson, (600.0 * load) as u32, 10.0 * load, &mut generator(seed, &["m/d/1"]));
        due.iter()
            .map(|at| {
                let start = at.seconds();
                free = f64::max(free, start) + 0.1;
                Span { start: start as f32, end: free as f32, ttft: Some((free - start) as f32) }
            })
            .collect()
    }

    #[test]
    fn a_queue_that_grows_is_told_from_one_that_does_not() {
        for seed in 0..20 {
            assert!(stability(&queue(1.2, seed)).unwrap().saturated, "ρ = 1.2, seed {seed}");
            let calm = stability(&queue(0.7, seed)).unwrap();
            assert!(!calm.saturated, "ρ = 0.7, seed {seed}: {calm:?}");
        }
    }

    #[test]
    fn even_thirds_are_stable_and_a_drift_is_not() {
        let even = |drift: f32| -> Vec<Span> {
            let span = |i: u16| {
                let start = f32::from(i) * 0.1;
                let ttft = 0.05 + drift * start;
                Span { start, end: start + 0.05 + ttft, ttft: Some(ttft) }
            };
            (0..300).map(span).collect()
        };
        assert!(stability(&even(0.0)).unwrap().stable);
        let drifting = stability(&even(0.01)).unwrap();
        assert!(!drifting.stable && !drifting.saturated && drifting.max_min_ttft > Some(2.0), "{drifting:?}");
        assert_eq!(stability(&even(0.0)[..20]), None);
    }
}
