//! Whether two candidates differ beyond noise: repeats compared on a logarithmic scale, in pairs where they share a seed.

use super::sample::mean;

/// Without repeats, differences up to this share are within noise.
pub const SINGLE: f64 = 0.10;
/// With repeats, a difference below this share is irrelevant.
const MATTERS: f64 = 0.02;
/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// How one candidate compares with another, by the values of their repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The first over the second, geometric mean.
    pub ratio: f64,
    /// 95 % confidence interval of the ratio; `None` for single runs.
    pub interval: Option<(f64, f64)>,
    /// Number of repeats: of pairs, or the smaller number of the two candidates.
    pub repeats: usize,
    /// Repeats share seeds, and are compared in pairs.
    pub paired: bool,
}

impl Comparison {
    /// The same for values of different nodes, whose speeds differ by a standard deviation of `sd` on a logarithmic scale: the half
    /// widths of both add in squares.
    #[must_use]
    pub fn across_nodes(self, sd: f64) -> Self {
        let widen = |(low, high): (f64, f64)| {
            let half = ((high / low).ln() / 2.0).hypot(Z * std::f64::consts::SQRT_2 * sd);
            (self.ratio * (-half).exp(), self.ratio * half.exp())
        };
        Self { interval: self.interval.map(widen), ..self }
    }

    /// The difference is within noise: up to 10 % for one or two repeats; otherwise an interval that contains 1, or less than 2 %.
    #[must_use]
    pub fn tied(&self) -> bool {
        match self.interval {
            Some((low, high)) if self.repeats > 2 => {
                low <= 1.0 && high >= 1.0 || self.ratio.ln().abs() < (1.0 + MATTERS).ln()
            }
            _ => (self.ratio - 1.0).abs() <= SINGLE,
        }
    }
}

/// Compares the values of two candidates by repeat: (repeat, value). `None` if one has no value above 0.
///
/// With d_r = ln(a_r / b_r) over the common repeats, the interval is mean(d) ± t(0.975, R − 1) · sd(d) / √R, and the
/// ratio e to the mean (paired t on logarithms). With fewer than two common repeats it is Welch's, of ln a and ln b.
#[must_use]
pub fn compare(a: &[(u32, f64)], b: &[(u32, f64)]) -> Option<Comparison> {
    let logs = |values: &[(u32, f64)]| -> Vec<(u32, f64)> {
        values
            .iter()
            .filter(|(_, value)| *value > 0.0 && value.is_finite())
            .map(|(r, value)| (*r, value.ln()))
            .collect()
    };
    let (a, b) = (logs(a), logs(b));
    let pairs = a.iter().filter_map(|(r, a)| Some(a - b.iter().find(|(other, _)| other == r)?.1));
    let pairs: Vec<f64> = pairs.collect();
    if pairs.len() > 1 {
        let (mean, half) = (mean(&pairs)?, half_width(&[&pairs]));
        return Some(comparison(mean, half, pairs.len(), true));
    }
    let (a, b): (Vec<f64>, Vec<f64>) = (a.iter().map(|v| v.1).collect(), b.iter().map(|v| v.1).collect());
    let difference = mean(&a)? - mean(&b)?;
    Some(comparison(difference, half_width(&[&a, &b]), a.len().min(b.len()), false))
}

fn comparison(log: f64, half: Option<f64>, repeats: usize, paired: bool) -> Comparison {
    let interval = half.map(|half| ((log - half).exp(), (log + half).exp()));
    Comparison { ratio: log.exp(), interval, repeats, paired }
}

/// Mean and half the width of its 95 % confidence interval, from the values of repeats; the latter is `None` for a single one.
#[must_use]
pub fn interval(values: &[f64]) -> Option<(f64, Option<f64>)> {
    Some((mean(values)?, half_width(&[values])))
}

/// Half the width of the 95 % interval of a mean, or of a difference of two (Welch, Satterthwaite's degrees of freedom).
#[allow(clippy::cast_precision_loss, reason = "counts of repeats")]
fn half_width(samples: &[&[f64]]) -> Option<f64> {
    let mut parts = Vec::new();
    for sample in samples {
        let (mean, n) = (mean(sample)?, sample.len() as f64);
        if sample.len() < 2 {
            return None;
        }
        let variance = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        parts.push((variance / n, n - 1.0));
    }
    let variance: f64 = parts.iter().map(|(variance, _)| variance).sum();
    let weight: f64 = parts.iter().map(|(variance, df)| variance * variance / df).sum();
    let df = if weight > 0.0 { variance * variance / weight } else { parts.iter().map(|(_, df)| df).sum() };
    Some(t_quantile(df) * variance.sqrt())
}

/// The 97.5 % quantile of Student's t: a table for few degrees of freedom (rounded down, which is conservative), the
/// Cornish–Fisher expansion for more (Abramowitz and Stegun 26.7.5).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
fn t_quantile(df: f64) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    if df < 11.0 {
        return TABLE[(df.floor() as usize).clamp(1, TABLE.len()) - 1];
    }
    let z = Z;
    let (g1, g2) = ((z.powi(3) + z) / 4.0, (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0);
    z + g1 / df + g2 / (df * df)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::generator;
    use rand::RngExt as _;
    use rand_distr::StandardNormal;

    #[test]
    fn quantiles_of_t() {
        for (df, wanted) in [(1.0, 12.706), (4.0, 2.776), (11.0, 2.201), (30.0, 2.042), (120.0, 1.980)] {
            assert!((t_quantile(df) - wanted).abs() < 0.003, "{df}: {}", t_quantile(df));
        }
    }

    #[test]
    fn by_hand() {
        let even = |values: &[f64]| values.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect::<Vec<_>>();
        let paired = compare(&even(&[11.0, 22.0, 33.0]), &even(&[10.0, 20.0, 30.0])).unwrap();
        assert!((paired.ratio - 1.1).abs() < 1e-9 && paired.paired && !paired.tied(), "{paired:?}");
        let single = compare(&[(0, 105.0)], &[(0, 100.0)]).unwrap();
        assert_eq!((single.interval, single.tied(), single.repeats), (None, true, 1));
        assert!(!compare(&[(0, 115.0)], &[(0, 100.0)]).unwrap().tied());
        let apart = compare(&[(0, 10.0), (1, 11.0)], &[(2, 10.5), (3, 10.4)]).unwrap();
        assert!(!apart.paired && apart.tied());
        assert_eq!(compare(&[(0, 0.0)], &[(0, 1.0)]), None);
    }

    #[test]
    fn the_spread_of_nodes_widens_an_interval() {
        let values = |level: f64| (0..4).map(|r| (r, level * (1.0 + 0.001 * f64::from(r % 2)))).collect::<Vec<_>>();
        let near = compare(&values(103.0), &values(100.0)).unwrap();
        assert!(!near.tied());
        assert_eq!(
            near.across_nodes(0.0).interval.map(|(low, _)| (low * 1e9).round()),
            near.interval.map(|(low, _)| (low * 1e9).round())
        );
        let across = near.across_nodes(0.02);
        assert!(across.tied() && across.interval.unwrap().1 > 1.08, "{across:?}");
        assert!(!compare(&values(110.0), &values(100.0)).unwrap().across_nodes(0.02).tied());
    }

    /// Enough to make the result of the test certain.
    const ROUNDS: u32 = 20_000;

    /// Share of comparisons that are not a tie: noise of 3 %, 5 repeats, the first better by `gap`.
    fn share_distinguished(gap: f64, paired: bool) -> f64 {
        let mut noise = generator(7, &["a/b", &gap.to_string()]);
        let mut different = 0;
        for _ in 0..ROUNDS {
            let mut repeats = |level: f64, from: u32| -> Vec<(u32, f64)> {
                (from..from + 5).map(|r| (r, level * (1.0 + 0.03 * noise.sample::<f64, _>(StandardNormal)))).collect()
            };
            let (a, b) = (repeats(100.0 * (1.0 + gap), 0), repeats(100.0, if paired { 0 } else { 5 }));
            different += u32::from(!compare(&a, &b).unwrap().tied());
        }
        f64::from(different) / f64::from(ROUNDS)
    }

    #[test]
    fn identical_candidates_are_tied_and_a_tenth_is_found() {
        for paired in [true, false] {
            let (same, tenth) = (share_distinguished(0.0, paired), share_distinguished(0.1, paired));
            assert!(same <= 0.05, "identical pairs called different: {same}");
            assert!(tenth >= 0.95, "a gap of 10 % found: {tenth}");
        }
    }
}
