//! Which candidates of a framework go from the first stage to the second.

use super::entrant::RUNG;
use super::ladder::RATIO;

/// Candidates of a framework that are searched fully.
pub const BEST: usize = 2;
/// Maximum number of them, with those tied.
pub const MOST: usize = 3;

/// The indices of the candidates that go on, best first, from the best load of each in the first stage; `None` for one that was
/// out. They are the best two, and those within a rung of the second.
#[must_use]
pub fn advancing(best: &[Option<f64>]) -> Vec<usize> {
    let mut order: Vec<(usize, f64)> = best.iter().enumerate().filter_map(|(i, best)| Some((i, (*best)?))).collect();
    // Equal ones in the order of the plan.
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let rung = RATIO.powi(i32::try_from(RUNG).unwrap_or(i32::MAX));
    let least = order.get(BEST - 1).map_or(0.0, |(_, second)| second / rung);
    order
        .iter()
        .enumerate()
        .filter(|(n, (_, load))| *n < BEST || (*n < MOST && *load >= least))
        .map(|(_, (i, _))| *i)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_two_and_their_ties_advance() {
        assert_eq!(advancing(&[Some(2.0), None, Some(3.0), Some(1.0)]), [2, 0]);
        assert_eq!(advancing(&[Some(2.9), Some(2.8), Some(3.0), Some(2.7)]), [2, 0, 1], "three at most");
        assert_eq!(advancing(&[None, Some(1.0)]), [1]);
        assert!(advancing(&[None, None]).is_empty());
    }
}
