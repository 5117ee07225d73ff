//! Two shares of right answers of which only the counts are known: Fisher's exact test, one-sided.

/// P(at most `right` of `n` are right | `right + other_right` of `n + other_n` are), with all ways to share them equally likely
/// (hypergeometric; Fisher 1922). Small where the first share is lower than chance explains.
#[must_use]
pub fn lower_share_p(right: u32, n: u32, other_right: u32, other_n: u32) -> f64 {
    let (all, all_right) = (n + other_n, right.min(n) + other_right.min(other_n));
    let ln: Vec<f64> = std::iter::once(0.0)
        .chain((1..=all).scan(0.0, |sum, k| {
            *sum += f64::from(k).ln();
            Some(*sum)
        }))
        .collect();
    let choose = |n: u32, k: u32| ln[n as usize] - ln[k as usize] - ln[(n - k) as usize];
    let total = choose(all, n);
    let least = all_right.saturating_sub(other_n);
    let way = |k: u32| (choose(all_right, k) + choose(all - all_right, n - k) - total).exp();
    (least..=right.min(n)).map(way).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // The lady tasting tea: 0 of 4 against 4 of 4 is one way of 70.
        assert!((lower_share_p(0, 4, 4, 4) - 1.0 / 70.0).abs() < 1e-12);
        assert!((lower_share_p(1, 4, 3, 4) - 17.0 / 70.0).abs() < 1e-12);
        assert!((lower_share_p(4, 4, 0, 4) - 1.0).abs() < 1e-12);
        // GSM8K: 94 % against 89 % of 1,319 is beyond chance, against 93.5 % it is not.
        assert!(lower_share_p(1174, 1319, 1240, 1319) < 1e-4);
        assert!(lower_share_p(1233, 1319, 1240, 1319) > 0.2);
    }
}
