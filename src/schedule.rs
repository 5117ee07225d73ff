//! Arrival schedules: made whole and hashed before the first request is sent.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::digest;
use crate::units::Micros;

/// A generator from a seed and the names of what it is for: the same everywhere, whatever the machine or the candidate.
#[must_use]
pub fn generator(seed: u64, purpose: &[&str]) -> Pcg64 {
    let digest = digest::sha256(format!("{seed}\n{}", purpose.join("\n")).as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&digest.as_bytes()[..32]);
    Pcg64::from_seed(bytes)
}

/// `n` arrivals of a Poisson process of `rate` per second: exponential gaps, rescaled so that the last arrival is at exactly
/// n / rate (as vLLM does, which closes the 1–2 % by which the offered rate would miss).
#[must_use]
pub fn poisson(n: u32, rate: f64, rng: &mut Pcg64) -> Vec<Micros> {
    let mut sum = 0.0;
    let arrivals: Vec<f64> = (0..n)
        .map(|_| {
            // 1 − u is in (0, 1]: its logarithm is finite.
            sum -= (1.0 - rng.random::<f64>()).ln();
            sum
        })
        .collect();
    let scale = if sum > 0.0 { f64::from(n) / rate / sum } else { 0.0 };
    arrivals.into_iter().map(|at| Micros::from_seconds(at * scale)).collect()
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

    #[test]
    fn equal_seeds_give_equal_schedules() {
        let make = |seed| poisson(500, 20.0, &mut generator(seed, &["chat", "0"]));
        assert_eq!(sha256(&make(1)), sha256(&make(1)));
        assert_ne!(sha256(&make(1)), sha256(&make(2)));
        assert_eq!(make(1).last(), Some(&Micros(25_000_000)));
    }

    /// Kolmogorov and Smirnov against the exponential distribution: D·√n below 1.63 is p > 0.01.
    #[test]
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    fn gaps_are_exponential() {
        let due = poisson(10_000, 300.0, &mut generator(42, &["ks"]));
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
    fn nothing_is_scheduled_for_nothing() {
        assert!(poisson(0, 5.0, &mut generator(1, &[])).is_empty());
    }
}
