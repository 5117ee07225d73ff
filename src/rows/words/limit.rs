//! SLA limits by their keys.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Latency, Statistic, words};

/// Least similarity (Jaro-Winkler) of a key that may have been meant.
const SIMILAR: f64 = 0.75;

/// An SLA limit, or the stability test that an open loop adds to the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Limit {
    /// `max_STATISTIC_LATENCY_ms`: a maximum, ms.
    Latency {
        /// The statistic.
        statistic: Statistic,
        /// The latency.
        latency: Latency,
    },
    /// `min_success_rate`: a minimum, share of the scheduled requests.
    SuccessRate,
    /// `min_slo_attainment`: a minimum, share of the scheduled requests that are within every latency limit.
    Attainment,
    /// `in_flight`: the server keeps up with an open loop. Plans cannot set it.
    InFlight,
}

impl Limit {
    /// The limits that a plan may set.
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

    /// The limit with this key; `None` for any other key.
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

    /// The limit or test with this key of `sla.tested`.
    #[must_use]
    pub fn tested(key: &str) -> Option<Self> {
        if key == Self::InFlight.key() { Some(Self::InFlight) } else { Self::known(key) }
    }

    /// Parses the key of a limit.
    ///
    /// # Errors
    /// What is wrong with it. A latency must name its statistic.
    pub fn parse(key: &str) -> Result<Self, String> {
        if let Some(limit) = Self::known(key) {
            return Ok(limit);
        }
        let (statistic, latency) = parts(key);
        if let (None, Some(latency)) = (statistic, latency) {
            return Err(format!(
                "{key} does not name a statistic: write {} or {}",
                latency.limit_key(Statistic::P99),
                latency.limit_key(Statistic::Mean)
            ));
        }
        Err(match Self::meant(key) {
            Some(near) => format!("unknown SLA limit {key}; did you mean {}?", near.key()),
            None => format!(
                "unknown SLA limit {key}; known: max_STATISTIC_LATENCY_ms such as max_p99_ttft_ms, min_success_rate, \
                 min_slo_attainment"
            ),
        })
    }

    /// The limit that was probably meant by an unknown key: the one with the same statistic and latency in any order,
    /// otherwise the one with the most similar key; `None` if no key is similar.
    #[must_use]
    pub fn meant(key: &str) -> Option<Self> {
        if let (statistic, Some(latency)) = parts(key) {
            return Some(Self::Latency { statistic: statistic.unwrap_or(Statistic::P99), latency });
        }
        let has = |words: &[&str]| words.iter().any(|word| key.to_ascii_lowercase().contains(word));
        if has(&["success", "error", "fail"]) {
            return Some(Self::SuccessRate);
        }
        if has(&["attainment", "goodput"]) {
            return Some(Self::Attainment);
        }
        let similar = |limit: &Self| strsim::jaro_winkler(limit.key(), key);
        Self::all().max_by(|a, b| similar(a).total_cmp(&similar(b))).filter(|limit| similar(limit) >= SIMILAR)
    }

    /// The metric that it limits; `None` for `in_flight`.
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

    /// True for a minimum, false for a maximum.
    #[must_use]
    pub const fn is_floor(self) -> bool {
        matches!(self, Self::SuccessRate | Self::Attainment)
    }

    /// True if a threshold is in the range of this limit.
    ///
    /// # Errors
    /// The range, for messages.
    pub fn takes(self, threshold: f64) -> Result<(), &'static str> {
        match self {
            Self::SuccessRate | Self::Attainment if !(0.0..=1.0).contains(&threshold) => Err("a share between 0 and 1"),
            Self::Latency { .. } if !(threshold.is_finite() && threshold >= 0.0) => Err("a time of at least 0"),
            Self::Latency { .. } | Self::SuccessRate | Self::Attainment | Self::InFlight => Ok(()),
        }
    }
}

/// The statistic and the latency in a key, in any spelling and order: `ttft_p99`, `p99_time_to_first_token`.
fn parts(key: &str) -> (Option<Statistic>, Option<Latency>) {
    let mut text: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    for (long, short) in [
        ("time_to_first_token", "ttft"),
        ("time_per_output_token", "tpot"),
        ("inter_token_latency", "itl"),
        ("end_to_end_latency", "e2e"),
        ("request_latency", "e2e"),
        ("e2el", "e2e"),
        ("p99_9", "p999"),
        ("average", "mean"),
        ("avg", "mean"),
    ] {
        text = text.replace(long, short);
    }
    let words = || text.split('_');
    (words().find_map(Statistic::of), words().find_map(|word| word.parse().ok()))
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Self::tested(&key).ok_or_else(|| D::Error::custom(format!("unknown SLA limit {key}")))
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
        /// The row's own metrics, because its requests are not known.
        Reported = "reported",
        /// Nothing: the row does not have the metric.
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
