//! SLA limits: their names, and whether a run keeps them.

use serde_json::Value;

use crate::schema::{Members, SlaTest, Stability, Verdict};
use crate::summary::{self, Sample};

/// Statistics that a limit may name.
pub const STATISTICS: [&str; 5] = ["mean", "p50", "p90", "p95", "p99"];
/// Latencies that a limit may name.
pub const LATENCIES: [&str; 4] = ["ttft", "tpot", "itl", "e2e"];

/// One kind of limit.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Understands a limit's key.
    ///
    /// # Errors
    /// What is wrong with it; a latency must name its statistic, for nobody can know which one was meant.
    pub fn parse(key: &str) -> Result<Self, String> {
        match key {
            "min_success_rate" => return Ok(Self::SuccessRate),
            "min_slo_attainment" => return Ok(Self::Attainment),
            _ => {}
        }
        for latency in LATENCIES {
            for statistic in STATISTICS {
                if key == format!("max_{statistic}_{latency}_ms") {
                    return Ok(Self::Latency { statistic, latency });
                }
            }
            if key == format!("max_{latency}_ms") {
                return Err(format!(
                    "{key} does not say of which statistic: write max_p99_{latency}_ms or max_mean_{latency}_ms"
                ));
            }
        }
        let known = || LATENCIES.iter().flat_map(|l| STATISTICS.iter().map(move |s| format!("max_{s}_{l}_ms")));
        let known = known().chain(["min_success_rate".into(), "min_slo_attainment".into()]);
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
pub struct Limits(Vec<(String, Limit, f64)>);

/// The test that a server fails which falls behind.
pub const IN_FLIGHT: &str = "in_flight";
/// Requests a percentile needs to be confirmed, at this confidence.
const CONFIDENCE: f64 = 0.95;
/// Success that our own runs owe when they are given limits but not this one.
const DEFAULT_SUCCESS: f64 = 0.99;

impl Limits {
    /// Reads limits by key; what is no limit (`passed`) is passed over. `floor` adds the usual floor of success when there
    /// are limits and none of them is one.
    #[must_use]
    pub fn read(members: &Members, floor: bool) -> Self {
        let limit = |(key, value): (&String, &Value)| Some((key.clone(), Limit::parse(key).ok()?, value.as_f64()?));
        let mut limits: Vec<_> = members.iter().filter_map(limit).collect();
        if floor && !limits.is_empty() && !limits.iter().any(|(_, limit, _)| *limit == Limit::SuccessRate) {
            limits.push(("min_success_rate".into(), Limit::SuccessRate, DEFAULT_SUCCESS));
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
        self.0.iter().filter_map(|(_, limit, threshold)| match limit {
            Limit::Latency { latency, .. } => Some((*latency, *threshold)),
            Limit::SuccessRate | Limit::Attainment => None,
        })
    }

    /// Every limit by its key, as a row holds them.
    #[must_use]
    pub fn members(&self) -> Members {
        self.0.iter().map(|(key, _, threshold)| (key.clone(), (*threshold).into())).collect()
    }

    /// True when a sample of `n` requests, of which some are still to come, can no longer keep these limits.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of requests"
    )]
    pub fn hopeless(&self, so_far: &Sample, n: usize) -> bool {
        let failed = (so_far.scheduled - so_far.ok()) as usize;
        self.0.iter().any(|(_, limit, threshold)| match limit {
            Limit::SuccessRate => ((n - failed.min(n)) as f64) < threshold * n as f64,
            Limit::Attainment => false,
            Limit::Latency { statistic, latency } => quantile(statistic).is_some_and(|q| {
                let over = so_far.values(latency).iter().filter(|value| **value > *threshold).count();
                // The percentile lies above the limit once the value below it does.
                let below = ((n.saturating_sub(1)) as f64 * q).floor() as usize;
                *latency != "itl" && over + failed >= n - below.min(n)
            }),
        })
    }

    /// Tests a run: a sample, and in open loop whether the server kept up with it (`steady`).
    #[must_use]
    pub fn gate(&self, sample: &Sample, steady: Option<&Stability>, itl: &dyn Fn(&str) -> Option<f64>) -> Vec<SlaTest> {
        let mut tests = self.test(sample, itl);
        tests.extend(steady.filter(|steady| steady.saturated && !self.is_empty()).map(falls_behind));
        tests
    }

    /// Tests what somebody else reports, of so many requests: over the successful ones, for more is not known; so no
    /// percentile is confirmed unless there was no failure and enough requests.
    #[must_use]
    pub fn reported(&self, requests: Option<f64>, metric: &dyn Fn(&str) -> Option<f64>) -> Vec<SlaTest> {
        let one = |(key, limit, threshold): &(String, Limit, f64)| {
            let (name, floor) = match limit {
                Limit::Latency { statistic, latency } => (format!("{statistic}_{latency}_ms"), false),
                Limit::SuccessRate => ("success_rate".to_string(), true),
                Limit::Attainment => ("slo_attainment".to_string(), true),
            };
            let value = metric(&name);
            let margin = value.map(|value| if floor { value - threshold } else { threshold - value } / threshold);
            let needed = match limit {
                Limit::Latency { statistic, .. } => {
                    statistic.strip_prefix('p').and_then(|q| q.parse().ok()).map(|q| needed(q, 0))
                }
                Limit::SuccessRate | Limit::Attainment => None,
            };
            let clean = metric("success_rate") == Some(1.0);
            let confirmed = needed.map(|needed| clean && requests.is_some_and(|n| n >= f64::from(needed)));
            SlaTest {
                limit: key.clone(),
                threshold: *threshold,
                value,
                basis: "reported".into(),
                margin: margin.filter(|margin| margin.is_finite()),
                passed: value.is_some_and(|value| if floor { value >= *threshold } else { value <= *threshold }),
                needed,
                confirmed,
            }
        };
        self.0.iter().map(one).collect()
    }

    /// Tests a sample: percentiles over all scheduled requests, failures as infinite; means over the successful ones.
    #[must_use]
    pub fn test(&self, sample: &Sample, itl: &dyn Fn(&str) -> Option<f64>) -> Vec<SlaTest> {
        self.0.iter().map(|(key, limit, threshold)| test_one(key, limit, *threshold, sample, itl)).collect()
    }
}

/// The test that a server has failed which falls behind an open loop: its latencies depend on when the run ended.
fn falls_behind(steady: &Stability) -> SlaTest {
    SlaTest {
        limit: IN_FLIGHT.into(),
        threshold: 2.0 * steady.in_flight[0],
        value: Some(steady.in_flight[2]),
        basis: "thirds".into(),
        margin: Some(1.0 - steady.in_flight[2] / (2.0 * steady.in_flight[0])).filter(|margin| margin.is_finite()),
        passed: false,
        needed: None,
        confirmed: None,
    }
}

/// The gate's answer over all tests; `None` without any.
#[must_use]
pub fn verdict(tests: &[SlaTest]) -> Option<Verdict> {
    let confirmed = tests.iter().all(|test| test.confirmed != Some(false));
    match tests {
        [] => None,
        _ if tests.iter().any(|test| !test.passed) => Some(Verdict::Fail),
        _ if confirmed => Some(Verdict::Pass),
        _ => Some(Verdict::PassUnconfirmed),
    }
}

fn test_one(key: &str, limit: &Limit, threshold: f64, sample: &Sample, itl: &dyn Fn(&str) -> Option<f64>) -> SlaTest {
    let mut test = SlaTest {
        limit: key.into(),
        threshold,
        value: None,
        basis: "requests".into(),
        margin: None,
        passed: false,
        needed: None,
        confirmed: None,
    };
    match limit {
        Limit::SuccessRate | Limit::Attainment => {
            let good = f64::from(sample.good) / f64::from(sample.scheduled.max(1));
            let measured = if *limit == Limit::SuccessRate { sample.success_rate() } else { Some(good) };
            test.value = measured.filter(|_| sample.scheduled > 0);
            test.passed = test.value.is_some_and(|value| value >= threshold);
            test.margin = test.value.filter(|_| threshold > 0.0).map(|value| (value - threshold) / threshold);
        }
        Limit::Latency { statistic, latency } => {
            let (value, basis) = statistic_of(statistic, latency, sample, itl);
            test.basis = basis.into();
            test.passed = value.is_some_and(|value| value <= threshold);
            test.value = value.filter(|v| v.is_finite());
            test.margin = test.value.filter(|_| threshold > 0.0).map(|value| (threshold - value) / threshold);
            if let (Some(q), true) = (quantile(statistic), test.passed && *latency != "itl") {
                let within = sample.values(latency).partition_point(|value| *value <= threshold);
                // A single token has no TPOT and breaks no limit on it.
                let none = sample.ok() as usize - sample.values(latency).len();
                let over = (sample.scheduled as usize).saturating_sub(within + none);
                let needed = needed(q, u32::try_from(over).unwrap_or(u32::MAX));
                test.needed = Some(needed);
                test.confirmed = Some(sample.scheduled >= needed);
            }
        }
    }
    test
}

fn quantile(statistic: &str) -> Option<f64> {
    statistic.strip_prefix('p').and_then(|q| q.parse::<f64>().ok()).map(|q| q / 100.0)
}

fn statistic_of(
    statistic: &str,
    latency: &str,
    sample: &Sample,
    itl: &dyn Fn(&str) -> Option<f64>,
) -> (Option<f64>, &'static str) {
    if latency == "itl" {
        return (itl(statistic), "successes");
    }
    let values = sample.values(latency);
    let Some(q) = quantile(statistic) else { return (summary::mean(values), "successes") };
    // Only what failed is infinite: a successful answer of one token has no TPOT, and is left out.
    let failed = (sample.scheduled - sample.ok()) as usize;
    let mut all = values.to_vec();
    all.extend(std::iter::repeat_n(f64::INFINITY, failed));
    (summary::percentile(&all, q * 100.0), "all_scheduled")
}

/// The smallest number of requests that confirms a percentile `q` when `over` of them are above the limit: the probability
/// of so few at the very limit, Binomial(n, 1 − q) ≤ over, is at most 1 − confidence (as MLPerf's early stopping).
#[must_use]
pub fn needed(q: f64, over: u32) -> u32 {
    let mut n = over + 1;
    while binomial_cdf(over, n, 1.0 - q) > 1.0 - CONFIDENCE && n < 10_000_000 {
        n += 1;
    }
    n
}

/// P(X ≤ k) for X ~ Binomial(n, p).
fn binomial_cdf(k: u32, n: u32, p: f64) -> f64 {
    let mut term = f64::from(n) * (1.0 - p).ln();
    let mut sum = term.exp();
    for i in 1..=k.min(n) {
        term += (f64::from(n - i + 1) / f64::from(i)).ln() + p.ln() - (1.0 - p).ln();
        sum += term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::RequestStatus;
    use crate::timing::tests::request;
    use serde_json::json;

    fn limits(value: Value) -> Limits {
        Limits::read(value.as_object().unwrap(), true)
    }

    /// `n` requests with a TTFT of 50 ms, `slow` of them with 500 ms, `failed` of them failed.
    fn sample(n: u32, slow: u32, failed: u32) -> Sample {
        let mut sample = Sample::default();
        for i in 0..n {
            let mut one = request(0, 0, if i < slow { 500 } else { 50 }, 600, 10);
            if i >= n - failed {
                one.status = RequestStatus::Http5xx;
            }
            sample.add(&one, &Limits::default());
        }
        sample.close();
        sample
    }

    fn judged(sample: &Sample) -> Option<Verdict> {
        verdict(&limits(json!({"max_p99_ttft_ms": 100})).test(sample, &|_| None))
    }

    #[test]
    fn a_p99_needs_its_numbers() {
        assert_eq!((needed(0.99, 0), needed(0.99, 1), needed(0.95, 0), needed(0.9, 10)), (299, 473, 59, 167));
        assert_eq!(judged(&sample(299, 0, 0)), Some(Verdict::Pass));
        assert_eq!(judged(&sample(298, 0, 0)), Some(Verdict::PassUnconfirmed));
        assert_eq!(judged(&sample(472, 1, 0)), Some(Verdict::PassUnconfirmed));
        assert_eq!(judged(&sample(473, 1, 0)), Some(Verdict::Pass));
    }

    #[test]
    fn failures_are_infinitely_slow() {
        let tests =
            limits(json!({"max_p99_ttft_ms": 100, "min_success_rate": 0.5})).test(&sample(100, 0, 2), &|_| None);
        assert_eq!((tests[0].passed, tests[0].value, tests[1].passed), (false, None, true));
        assert_eq!(judged(&sample(1000, 0, 15)), Some(Verdict::Fail), "98.5 % success is below the floor");
    }

    #[test]
    fn names_of_limits() {
        assert!(Limit::parse("max_ttft_ms").unwrap_err().contains("max_p99_ttft_ms"));
        assert!(Limit::parse("max_p99_tfft_ms").unwrap_err().contains("did you mean max_p99_ttft_ms"));
        assert_eq!(Limit::parse("min_success_rate"), Ok(Limit::SuccessRate));
        assert_eq!(verdict(&[]), None);
    }
}
