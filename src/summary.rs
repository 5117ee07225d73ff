//! From the requests of a run to its metrics.

/// The `q`-th percentile of sorted values, q from 0 to 100: Hyndman and Fan's type 7, linear between the order statistics
/// at (n − 1)·q/100, which numpy takes too. Any weight on an infinite value gives infinity. `None` of nothing.
#[must_use]
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub fn percentile(sorted: &[f64], q: f64) -> Option<f64> {
    let at = (sorted.len().checked_sub(1)? as f64) * q / 100.0;
    let (low, part) = (at.floor() as usize, at.fract());
    let lower = sorted[low];
    if part == 0.0 {
        return Some(lower);
    }
    let upper = sorted[low + 1];
    Some(if upper.is_infinite() { upper } else { lower + (upper - lower) * part })
}
