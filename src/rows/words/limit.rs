//! SLA limits by their keys.

use std::fmt;

use super::{Latency, Statistic, words};

/// One kind of SLA limit, or the test that an open loop adds to the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Limit {
    /// `max_STATISTIC_LATENCY_ms`: a ceiling, ms.
    Latency {
        /// Which statistic.
        statistic: Statistic,
        /// Of which latency.
        latency: Latency,
    },
    /// `min_success_rate`: a floor, share of the scheduled requests.
    SuccessRate,
    /// `min_slo_attainment`: a floor, share of the scheduled requests within every limit on a latency.
    Attainment,
    /// `in_flight`: the server keeps up with an open loop. No plan names it.
    InFlight,
}

impl Limit {
    /// The limits that a plan may name.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |statistic: &Statistic| {
            Latency::ALL.iter().map({
                let statistic = *statistic;
                move |latency| Self::Latency { statistic, latency: *latency }
            })
        };
        Statistic::ALL.iter().flat_map(of).chain([Self::SuccessRate, Self::Attainment])
    }

    /// Its key.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Latency { statistic, latency } => latency.limit_key(statistic),
            Self::SuccessRate => "min_success_rate",
            Self::Attainment => "min_slo_attainment",
            Self::InFlight => "in_flight",
        }
    }

    /// The limit that a plan names so; `None` of any other key.
    #[must_use]
    pub fn known(key: &str) -> Option<Self> {
        match key {
            "min_success_rate" => return Some(Self::SuccessRate),
            "min_slo_attainment" => return Some(Self::Attainment),
            _ => {}
        }
        let (statistic, latency) = key.strip_prefix("max_")?.strip_suffix("_ms")?.split_once('_')?;
        Some(Self::Latency { statistic: statistic.parse().ok()?, latency: latency.parse().ok()? })
    }

    /// The limit or test of a key of `sla.tested`.
    #[must_use]
    pub fn tested(key: &str) -> Option<Self> {
        if key == Self::InFlight.key() { Some(Self::InFlight) } else { Self::known(key) }
    }

    /// Understands a limit's key.
    ///
    /// # Errors
    /// What is wrong with it. A latency must name its statistic.
    pub fn parse(key: &str) -> Result<Self, String> {
        if let Some(limit) = Self::known(key) {
            return Ok(limit);
        }
        for latency in Latency::ALL {
            if key == format!("max_{latency}_ms") {
                return Err(format!(
                    "{key} does not name a statistic: write {} or {}",
                    latency.limit_key(Statistic::P99),
                    latency.limit_key(Statistic::Mean)
                ));
            }
        }
        let similar = |limit: &Self| strsim::jaro_winkler(limit.key(), key);
        let near = Self::all().max_by(|a, b| similar(a).total_cmp(&similar(b)));
        Err(format!("unknown SLA limit {key}; did you mean {}?", near.map_or("", Self::key)))
    }

    /// The metric that it limits; `in_flight` limits none.
    #[must_use]
    pub fn metric(self) -> Option<&'static str> {
        match self {
            Self::Latency { statistic, latency } => Some(latency.key(statistic)),
            Self::SuccessRate => Some("success_rate"),
            Self::Attainment => Some("slo_attainment"),
            Self::InFlight => None,
        }
    }

    /// The quantile that it limits, in (0, 1).
    #[must_use]
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::Latency { statistic, .. } => statistic.quantile(),
            Self::SuccessRate | Self::Attainment | Self::InFlight => None,
        }
    }

    /// True of a minimum, false of a maximum.
    #[must_use]
    pub const fn is_floor(self) -> bool {
        matches!(self, Self::SuccessRate | Self::Attainment)
    }

    /// Whether a threshold can be one of this limit.
    ///
    /// # Errors
    /// What it has to be.
    pub fn takes(self, threshold: f64) -> Result<(), &'static str> {
        match self {
            Self::SuccessRate | Self::Attainment if !(0.0..=1.0).contains(&threshold) => Err("a share between 0 and 1"),
            Self::Latency { .. } if !(threshold.is_finite() && threshold >= 0.0) => Err("a time of at least 0"),
            Self::Latency { .. } | Self::SuccessRate | Self::Attainment | Self::InFlight => Ok(()),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

words! {
    /// What a test of a limit was computed from.
    pub enum Basis, "basis of a test" {
        /// All scheduled requests; failures count as infinitely slow.
        AllScheduled = "all_scheduled",
        /// Successful requests only.
        Successes = "successes",
        /// Counts of requests.
        Requests = "requests",
        /// Rate and E2E of the first and the last third after the ramp.
        RateTimesE2e = "rate_times_e2e",
        /// The thirds of the run, in rows of earlier versions.
        Thirds = "thirds",
        /// The row's own metrics: the requests themselves are not known.
        Reported = "reported",
        /// Nothing: the row does not have the number.
        NotMeasured = "not_measured",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_limits() {
        let p99 = Limit::Latency { statistic: Statistic::P99, latency: Latency::Ttft };
        assert_eq!(Limit::known("max_p99_ttft_ms"), Some(p99));
        assert_eq!(["passed", "max_p98_ttft_ms", "max_ttft_ms", "in_flight"].map(Limit::known), [None; 4]);
        for limit in Limit::all() {
            assert_eq!((Limit::known(limit.key()), limit.metric()), (Some(limit), Some(&limit.key()[4..])));
            assert_eq!(limit.quantile().is_some(), limit.key().starts_with("max_p"));
        }
    }

    #[test]
    fn a_wrong_key_gets_the_nearest_one() {
        assert!(Limit::parse("max_ttft_ms").unwrap_err().contains("max_p99_ttft_ms"));
        assert!(Limit::parse("max_p99_tfft_ms").unwrap_err().contains("did you mean max_p99_ttft_ms"));
        assert_eq!(Limit::parse("min_success_rate"), Ok(Limit::SuccessRate));
    }
}
