//! Seeded random numbers: the same on every machine.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::digest;

/// A generator from a seed and the names of what it is used for: the same on every machine and for every candidate.
#[must_use]
pub fn generator(seed: u64, purpose: &[&str]) -> Pcg64 {
    let digest = digest::sha256(format!("{seed}\n{}", purpose.join("\n")).as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&digest.as_bytes()[..32]);
    Pcg64::from_seed(bytes)
}

/// The Fisher–Yates shuffle, with a seeded generator.
pub fn shuffle(order: &mut [usize], rng: &mut Pcg64) {
    for i in (1..order.len()).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
}
