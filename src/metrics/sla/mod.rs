//! SLA limits: their names, and whether a run keeps them.

mod claim;
mod gate;

use serde_json::Value;

use crate::rows::kinds::Members;

pub use self::claim::{ClaimCheck, judge};
pub use self::gate::{IN_FLIGHT, NOT_MEASURED, needed, pooled, tested, verdict, write};

/// Statistics that a limit may name.
pub const STATISTICS: [&str; 5] = ["mean", "p50", "p90", "p95", "p99"];
/// Latencies that a limit may name.
pub const LATENCIES: [&str; 4] = ["ttft", "tpot", "itl", "e2e"];

/// Keys of limits on latencies, by statistic and latency.
macro_rules! keys {
    ($($statistic:literal),*) => {
        [$([
            concat!("max_", $statistic, "_ttft_ms"),
            concat!("max_", $statistic, "_tpot_ms"),
            concat!("max_", $statistic, "_itl_ms"),
            concat!("max_", $statistic, "_e2e_ms"),
        ]),*]
    };
}
const KEYS: [[&str; LATENCIES.len()]; STATISTICS.len()] = keys!("mean", "p50", "p90", "p95", "p99");

/// One kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max_STATISTIC_LATENCY_ms`.
    Latency {
        /// `mean` or a percentile.
        statistic: &'static str,
        /// `ttft`, `tpot`, `itl` or `e2e`.
        latency: &'static str,
    },
    /// `min_success_rate`.
    SuccessRate,
    /// `min_slo_attainment`.
    Attainment,
}

impl Limit {
    /// The limit under a key; `None` of any other key.
    #[must_use]
    pub fn known(key: &str) -> Option<Self> {
        match key {
            "min_success_rate" => return Some(Self::SuccessRate),
            "min_slo_attainment" => return Some(Self::Attainment),
            _ => {}
        }
        let (statistic, latency) = key.strip_prefix("max_")?.strip_suffix("_ms")?.split_once('_')?;
        let statistic = STATISTICS.into_iter().find(|known| *known == statistic)?;
        let latency = LATENCIES.into_iter().find(|known| *known == latency)?;
        Some(Self::Latency { statistic, latency })
    }

    /// Its key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Latency { statistic, latency } => {
                let place = |all: &[&str], name: &str| all.iter().position(|known| *known == name).unwrap_or_default();
                KEYS[place(&STATISTICS, statistic)][place(&LATENCIES, latency)]
            }
            Self::SuccessRate => "min_success_rate",
            Self::Attainment => "min_slo_attainment",
        }
    }

    /// The metric that it limits.
    fn metric(self) -> &'static str {
        // `max_` and `min_` are of one length.
        &self.key()["max_".len()..]
    }

    /// The quantile that it limits.
    fn quantile(self) -> Option<f64> {
        match self {
            Self::Latency { statistic, .. } => match statistic {
                "p50" => Some(0.50),
                "p90" => Some(0.90),
                "p95" => Some(0.95),
                "p99" => Some(0.99),
                _ => None,
            },
            Self::SuccessRate | Self::Attainment => None,
        }
    }

    /// True of a least value, false of a most.
    fn is_floor(self) -> bool {
        !matches!(self, Self::Latency { .. })
    }

    /// Understands a limit's key.
    ///
    /// # Errors
    /// What is wrong with it; a latency must name its statistic, for nobody can know which one was meant.
    pub fn parse(key: &str) -> Result<Self, String> {
        if let Some(limit) = Self::known(key) {
            return Ok(limit);
        }
        for latency in LATENCIES {
            if key == format!("max_{latency}_ms") {
                return Err(format!(
                    "{key} does not say of which statistic: write max_p99_{latency}_ms or max_mean_{latency}_ms"
                ));
            }
        }
        let known = KEYS.iter().flatten().copied().chain([Self::SuccessRate.key(), Self::Attainment.key()]);
        let near = known.max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        Err(format!("{key} is no SLA limit; did you mean {}?", near.unwrap_or_default()))
    }
}

impl Limit {
    /// Whether a threshold can be one of this limit.
    ///
    /// # Errors
    /// What it has to be.
    pub fn takes(&self, threshold: f64) -> Result<(), &'static str> {
        match self {
            Self::SuccessRate | Self::Attainment if !(0.0..=1.0).contains(&threshold) => Err("a share between 0 and 1"),
            Self::Latency { .. } if !(threshold.is_finite() && threshold >= 0.0) => Err("a time of at least 0"),
            _ => Ok(()),
        }
    }
}

/// The limits of a plan or a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits(Vec<(Limit, f64)>);

/// The member of a plan's limits that holds those of single scenarios.
pub const SCENARIOS: &str = "scenarios";

/// The limits of one scenario: those of all, with its own in their place.
#[must_use]
pub fn of_scenario(sla: &Members, scenario: &str) -> Members {
    let own = sla.get(SCENARIOS).and_then(|all| all.get(scenario)).and_then(Value::as_object);
    let all = sla.iter().filter(|(key, _)| *key != SCENARIOS);
    all.chain(own.into_iter().flatten()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Success that our own runs owe when they are given limits but not this one.
const DEFAULT_SUCCESS: f64 = 0.99;

impl Limits {
    /// Reads limits by key; what is no limit (`passed`) is passed over.
    #[must_use]
    pub fn read(members: &Members) -> Self {
        Self::of(members.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_f64()?))))
    }

    /// These, with the usual floor of success where there are limits and none of them is one.
    #[must_use]
    pub fn with_floor(mut self) -> Self {
        if !self.is_empty() && !self.0.iter().any(|(limit, _)| *limit == Limit::SuccessRate) {
            self.0.push((Limit::SuccessRate, DEFAULT_SUCCESS));
        }
        self
    }

    /// Limits from single thresholds; a later one stands in the place of an earlier one.
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

    /// True when there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The limits on latencies: which, and its value in ms.
    pub fn latencies(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.0.iter().filter_map(|(limit, threshold)| match limit {
            Limit::Latency { latency, .. } => Some((*latency, *threshold)),
            Limit::SuccessRate | Limit::Attainment => None,
        })
    }

    /// Every limit by its key, as a row holds them.
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
    fn a_scenario_has_its_own_limits_in_the_place_of_those_of_all() {
        let sla =
            json!({"max_p99_ttft_ms": 500, "min_success_rate": 0.9, "scenarios": {"code": {"max_p99_ttft_ms": 900}}});
        let of = |name: &str| Value::from(of_scenario(sla.as_object().unwrap(), name));
        assert_eq!(of("code"), json!({"max_p99_ttft_ms": 900, "min_success_rate": 0.9}));
        assert_eq!(of("chat"), json!({"max_p99_ttft_ms": 500, "min_success_rate": 0.9}));
    }

    #[test]
    fn keys_of_limits() {
        assert_eq!(Limit::known("max_p99_ttft_ms"), Some(Limit::Latency { statistic: "p99", latency: "ttft" }));
        assert_eq!(
            [Limit::known("passed"), Limit::known("max_p98_ttft_ms"), Limit::known("max_ttft_ms")],
            [None, None, None]
        );
        for key in KEYS.iter().flatten().copied().chain(["min_success_rate", "min_slo_attainment"]) {
            let limit = Limit::known(key).unwrap();
            assert_eq!((limit.key(), limit.metric()), (key, &key[4..]));
            assert_eq!(limit.quantile().is_some(), key.starts_with("max_p"));
        }
    }
}
