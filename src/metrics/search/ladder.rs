//! The loads that a search may measure: a ladder of values, the same for every candidate of a plan, so that their results are
//! measured at the same loads.

use crate::rows::kinds::{Load, LoadMode, Qps, Users};
use crate::rows::words::SearchedLoad;

/// Ratio between two steps of the ladder, as near as its ends allow. The bracket that a search ends with is two steps wide.
pub const RATIO: f64 = 1.025;
/// Significant digits of a rate: people read it in a report and type it.
const DIGITS: i32 = 4;
/// A range wider than this factor is worth several bursts that find where to begin.
const WIDE: f64 = 4.0;

/// What is searched, and between which bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchRange {
    /// A rate, or a number of requests in flight.
    pub what: SearchedLoad,
    /// Lowest value tried.
    pub lower: f64,
    /// Highest value tried.
    pub upper: f64,
    /// The search ends if the bracket is this narrow, even if that is more than two steps.
    pub tolerance: f64,
    /// Maximum number of bisection steps.
    pub max_rounds: u32,
    /// Maximum number of runs.
    pub max_probes: u32,
    /// Begin at the best load of the candidates before, and end where that fails twice.
    pub prune: bool,
}

impl SearchRange {
    /// The search of a load; `None` of a load to measure.
    #[must_use]
    pub fn of(load: &Load) -> Option<Self> {
        match load.mode {
            LoadMode::Open => load.qps.filter(|_| load.rate.is_none()).map(Self::from),
            LoadMode::Closed => load.users.filter(|_| load.concurrency.is_none()).map(Self::from),
            LoadMode::Burst => None,
        }
    }

    /// The load of a run with this value, apart from that as `load`.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number")]
    pub fn load(&self, value: f64, load: &Load) -> Load {
        match self.what {
            SearchedLoad::Rate => Load { rate: Some(value), ..load.clone() },
            SearchedLoad::Concurrency => Load { concurrency: Some(value as u32), ..load.clone() },
        }
    }

    /// True if it is worth several bursts to find where to begin.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.upper / self.lower > WIDE
    }
}

impl From<Qps> for SearchRange {
    fn from(qps: Qps) -> Self {
        let Qps { lower, upper, tolerance, max_rounds, max_probes, prune } = qps;
        Self { what: SearchedLoad::Rate, lower, upper, tolerance, max_rounds, max_probes, prune }
    }
}

impl From<Users> for SearchRange {
    fn from(users: Users) -> Self {
        Self {
            what: SearchedLoad::Concurrency,
            lower: users.lower.into(),
            upper: users.upper.into(),
            tolerance: 0.0,
            max_rounds: users.max_rounds,
            max_probes: users.max_probes,
            prune: users.prune,
        }
    }
}

/// The values of a search in ascending order, from its lower to its upper end.
#[derive(Debug, Clone, PartialEq)]
pub struct Ladder(Vec<f64>);

impl Ladder {
    /// The steps of a range: rates of four digits, or whole numbers of requests in flight.
    #[must_use]
    pub fn of(range: &SearchRange) -> Self {
        let round = |value: f64| match range.what {
            SearchedLoad::Rate => significant(value, DIGITS),
            SearchedLoad::Concurrency => value.round(),
        };
        let whole = (range.upper / range.lower).max(1.0);
        let count = (whole.ln() / RATIO.ln()).round().max(1.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of steps")]
        let between = (1..count as u32).map(|i| round(range.lower * whole.powf(f64::from(i) / count)));
        let mut steps: Vec<f64> = std::iter::once(range.lower).chain(between).collect();
        steps.retain(|step| *step < range.upper);
        steps.push(range.upper);
        steps.dedup();
        Self(steps)
    }

    /// The value of a step.
    #[must_use]
    pub fn value(&self, step: usize) -> f64 {
        self.0[step.min(self.top())]
    }

    /// The highest step.
    #[must_use]
    pub fn top(&self) -> usize {
        self.0.len() - 1
    }

    /// The step whose value is nearest to this one.
    #[must_use]
    pub fn nearest(&self, value: f64) -> usize {
        let far = |step: &usize| (self.0[*step] - value).abs();
        (0..self.0.len()).min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(0)
    }
}

/// A positive number rounded to this many significant digits.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "a number of digits")]
fn significant(value: f64, digits: i32) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(digits - 1 - value.log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_fortieth_apart_and_end_where_asked() {
        let qps = Qps { lower: 0.25, upper: 8.0, tolerance: 0.01, max_rounds: 5, max_probes: 20, prune: false };
        let Ladder(steps) = Ladder::of(&qps.into());
        assert_eq!((steps[0], steps[1], steps.last()), (0.25, 0.2563, Some(&8.0)), "{steps:?}");
        assert!(steps.windows(2).all(|w| (w[1] / w[0] - RATIO).abs() < 0.001), "{steps:?}");
    }

    #[test]
    fn requests_in_flight_are_whole_numbers() {
        let users = Users { lower: 1, upper: 100, max_rounds: 8, max_probes: 20, prune: false };
        let Ladder(steps) = Ladder::of(&users.into());
        assert_eq!(steps[..40], (1..=40).map(f64::from).collect::<Vec<_>>());
        assert!(steps.iter().all(|step| step.fract() == 0.0) && steps.last() == Some(&100.0), "{steps:?}");
        assert_eq!(Ladder::of(&Users { lower: 7, upper: 7, ..users }.into()).0, [7.0]);
    }
}
