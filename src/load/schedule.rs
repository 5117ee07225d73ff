//! Arrival schedules: generated and hashed before the first request is sent.

use rand::RngExt;
use rand_distr::{Distribution, Gamma};
use rand_pcg::Pcg64;

use crate::base::digest;
use crate::rows::units::Micros;
use crate::rows::words::Arrivals;

/// `n` arrivals at `rate` per second, scaled so that the last one is at exactly n / rate (like vLLM; the offered rate would
/// otherwise be off by 1–2 %), or for a ramp at n / its mean rate.
#[must_use]
pub fn arrivals(kind: Arrivals, n: u32, rate: f64, rng: &mut Pcg64) -> Vec<Micros> {
    let gamma = match kind {
        Arrivals::Gamma(shape) => Gamma::new(shape, 1.0).ok(),
        Arrivals::Poisson | Arrivals::Constant | Arrivals::Linear(_) | Arrivals::Exponential(_) | Arrivals::Trace => {
            None
        }
    };
    let mut gap = || match kind {
        Arrivals::Constant => 1.0,
        Arrivals::Gamma(_) => gamma.map_or(0.0, |gamma| gamma.sample(rng)),
        // 1 − u is in (0, 1]: its logarithm is finite.
        Arrivals::Poisson | Arrivals::Linear(_) | Arrivals::Exponential(_) => -(1.0 - rng.random::<f64>()).ln(),
        // The times of a trace are in its rows (see `replay`); without them all are due at once.
        Arrivals::Trace => 0.0,
    };
    let mut sum = 0.0;
    let sums: Vec<f64> = (0..n)
        .map(|_| {
            sum += gap();
            sum
        })
        .collect();
    let n = f64::from(n);
    // The time by which `due` requests have arrived, on average.
    let time = |due: f64| match kind {
        Arrivals::Linear(from) if (rate - from).abs() > 1e-9 * rate => {
            // Λ(t) = from·t + (rate − from)·t²/2T, with Λ(T) = n.
            let whole = 2.0 * n / (from + rate);
            let slope = (rate - from) / whole;
            ((from * from + 2.0 * slope * due).max(0.0).sqrt() - from) / slope
        }
        Arrivals::Exponential(from) if (rate - from).abs() > 1e-9 * rate => {
            // Λ(t) = from·T/ln(rate/from)·((rate/from)^(t/T) − 1), with Λ(T) = n.
            let log = (rate / from).ln();
            let whole = n * log / (rate - from);
            whole / log * (due * log / (from * whole)).ln_1p()
        }
        Arrivals::Poisson
        | Arrivals::Constant
        | Arrivals::Gamma(_)
        | Arrivals::Linear(_)
        | Arrivals::Exponential(_)
        | Arrivals::Trace => due / rate,
    };
    let scale = if sum > 0.0 { n / sum } else { 0.0 };
    sums.into_iter().map(|at| Micros::from_seconds(time(at * scale))).collect()
}

/// Due times from timestamps (ms, in any order): relative to the earliest, times `stretch`.
#[must_use]
pub fn replay(stamps: impl Iterator<Item = f64>, stretch: f64) -> Vec<Micros> {
    let stamps: Vec<f64> = stamps.collect();
    let first = stamps.iter().copied().fold(f64::INFINITY, f64::min);
    stamps.into_iter().map(|at| Micros::from_seconds((at - first) / 1000.0 * stretch)).collect()
}

/// SHA-256 of the due times as little-endian 64-bit microseconds.
#[must_use]
pub fn sha256(due: &[Micros]) -> String {
    let bytes: Vec<u8> = due.iter().flat_map(|at| at.0.to_le_bytes()).collect();
    digest::sha256(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::generator;

    #[test]
    fn equal_seeds_give_equal_schedules() {
        let make = |seed| arrivals(Arrivals::Poisson, 500, 20.0, &mut generator(seed, &["chat", "0"]));
        assert_eq!(sha256(&make(1)), sha256(&make(1)));
        assert_ne!(sha256(&make(1)), sha256(&make(2)));
        assert_eq!(make(1).last(), Some(&Micros(25_000_000)));
    }

    /// Kolmogorov and Smirnov against the exponential distribution: D·√n below 1.63 is p > 0.01.
    #[test]
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    fn gaps_are_exponential() {
        let due = arrivals(Arrivals::Poisson, 10_000, 300.0, &mut generator(42, &["ks"]));
        let mut gaps: Vec<f64> = due.windows(2).map(|w| w[1].seconds() - w[0].seconds()).collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = gaps.iter().enumerate().map(|(i, gap)| {
            let expected = 1.0 - (-300.0 * gap).exp();
            (expected - i as f64 / n).abs().max(((i + 1) as f64 / n - expected).abs())
        });
        let d = distance.fold(0.0, f64::max);
        assert!(d * n.sqrt() < 1.63, "D·√n = {}", d * n.sqrt());
    }

    #[test]
    fn a_trace_is_replayed_at_its_own_pace_or_another() {
        let stamps = [2000.0, 2500.0, 4000.0];
        let seconds = |stretch| replay(stamps.into_iter(), stretch).iter().map(|at| at.seconds()).collect::<Vec<_>>();
        assert_eq!(seconds(1.0), [0.0, 0.5, 2.0]);
        assert_eq!(seconds(0.5), [0.0, 0.25, 1.0]);
    }

    #[test]
    fn nothing_is_scheduled_for_nothing() {
        assert!(arrivals(Arrivals::Poisson, 0, 5.0, &mut generator(1, &[])).is_empty());
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    fn every_kind_of_arrivals_is_what_it_says() {
        let make = |text: &str| arrivals(text.parse().unwrap(), 8000, 20.0, &mut generator(3, &["kinds"]));
        // The coefficient of variation of the gaps: 1/√shape.
        for (text, wanted, within) in
            [("constant", 0.0, 1e-3), ("poisson", 1.0, 0.05), ("gamma:0.25", 2.0, 0.15), ("gamma:4", 0.5, 0.03)]
        {
            let due = make(text);
            assert_eq!(due.last(), Some(&Micros(400_000_000)), "{text}");
            let gaps: Vec<f64> = due.windows(2).map(|w| w[1].seconds() - w[0].seconds()).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            assert!((variance.sqrt() / mean - wanted).abs() < within, "{text}: {}", variance.sqrt() / mean);
        }
        // A ramp ends when its mean rate says, and its first and last tenth have the rates of its ends.
        for (text, whole, first, last) in
            [("linear:4", 8000.0 / 12.0, 4.8, 19.2), ("exponential:5", 8000.0 * 4f64.ln() / 15.0, 5.36, 18.6)]
        {
            let due = make(text);
            assert!((due.last().unwrap().seconds() - whole).abs() < 1e-3, "{text}");
            let within =
                |from: f64, to: f64| due.iter().filter(|at| at.seconds() >= from && at.seconds() < to).count() as f64;
            let tenth = whole / 10.0;
            for (rate, wanted) in [(within(0.0, tenth) / tenth, first), (within(whole - tenth, whole) / tenth, last)] {
                assert!((rate / wanted - 1.0).abs() < 0.15, "{text}: {rate} and not {wanted}");
            }
        }
    }
}
