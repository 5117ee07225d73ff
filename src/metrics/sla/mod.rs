//! SLA limits: their names, and whether a run meets them.

mod claim;
mod gate;

use serde_json::Value;

use crate::rows::kinds::Members;
use crate::rows::words::{Latency, Limit};

pub use self::claim::{ClaimCheck, judge};
pub use self::gate::{needed, pooled, tested, verdict, write};

/// The limits of a plan or a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits(Vec<(Limit, f64)>);

/// The member of a plan's `sla` with the limits of single scenarios.
pub const SCENARIOS: &str = "scenarios";

/// The limits of one scenario: those of all scenarios, replaced by its own.
#[must_use]
pub fn of_scenario(sla: &Members, scenario: &str) -> Members {
    let own = sla.get(SCENARIOS).and_then(|all| all.get(scenario)).and_then(Value::as_object);
    let all = sla.iter().filter(|(key, _)| *key != SCENARIOS);
    all.chain(own.into_iter().flatten()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// After every so many finished requests it is checked whether a run can still meet its limits.
pub const CHECK_EVERY: u32 = 16;
/// Minimum success rate of runs with SLA limits but without this one.
const DEFAULT_SUCCESS: f64 = 0.99;

impl Limits {
    /// Reads limits by key; other members (`passed`) are skipped.
    #[must_use]
    pub fn read(members: &Members) -> Self {
        Self::of(members.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_f64()?))))
    }

    /// Adds the default minimum success rate if there are limits but not this one.
    #[must_use]
    pub fn with_floor(mut self) -> Self {
        if !self.is_empty() && !self.0.iter().any(|(limit, _)| *limit == Limit::SuccessRate) {
            self.0.push((Limit::SuccessRate, DEFAULT_SUCCESS));
        }
        self
    }

    /// Limits from single thresholds; a later one replaces an earlier one.
    #[must_use]
    pub fn of<'a>(thresholds: impl Iterator<Item = (&'a str, f64)>) -> Self {
        let mut limits: Vec<(Limit, f64)> = Vec::new();
        for (key, value) in thresholds {
            let Some(limit) = Limit::known(key) else { continue };
            match limits.iter_mut().find(|(known, _)| *known == limit) {
                Some(known) => known.1 = value,
                None => limits.push((limit, value)),
            }
        }
        Self(limits)
    }

    /// True without limits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The limits on latencies: which, and its value in ms.
    pub fn latencies(&self) -> impl Iterator<Item = (Latency, f64)> + '_ {
        self.0.iter().filter_map(|(limit, threshold)| match limit {
            Limit::Latency { latency, .. } => Some((*latency, *threshold)),
            Limit::SuccessRate | Limit::Attainment | Limit::InFlight => None,
        })
    }

    /// The highest quantile that is limited; `None` without one.
    #[must_use]
    pub fn strictest_quantile(&self) -> Option<f64> {
        self.0.iter().filter_map(|(limit, _)| limit.quantile()).max_by(f64::total_cmp)
    }

    /// Every limit by its key, in the form of a row.
    #[must_use]
    pub fn members(&self) -> Members {
        self.0.iter().map(|(limit, threshold)| (limit.key().into(), (*threshold).into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_limits_of_a_scenario_replace_those_of_all() {
        let sla =
            json!({"max_p99_ttft_ms": 500, "min_success_rate": 0.9, "scenarios": {"code": {"max_p99_ttft_ms": 900}}});
        let of = |name: &str| Value::from(of_scenario(sla.as_object().unwrap(), name));
        assert_eq!(of("code"), json!({"max_p99_ttft_ms": 900, "min_success_rate": 0.9}));
        assert_eq!(of("chat"), json!({"max_p99_ttft_ms": 500, "min_success_rate": 0.9}));
    }
}
