//! Whether a run or a row meets SLA limits.

use serde_json::Value;

use super::Limits;
use crate::metrics::sample;
use crate::metrics::sample::Sample;
use crate::rows::kinds::{Members, SlaTest, Stability};
use crate::rows::words::{Basis, Latency, Limit, Statistic, Verdict};

/// Confidence at which a percentile counts as confirmed.
const CONFIDENCE: f64 = 0.95;
/// Above this many requests over a limit the normal approximation is used.
const MANY: u32 = 100_000;
/// The 95 % quantile of the normal distribution.
const Z: f64 = 1.644_854;
/// A run is cut short once more than this many times the requests that may be above a limit are above it.
const CLEARLY: usize = 2;
/// Upper bound of the number of requests that a percentile may need.
const MOST_NEEDED: u32 = 1 << 30;

impl Limits {
    /// The limit that a run of `n` requests, some of which have not finished, clearly misses whatever the rest does. Of a percentile
    /// that is twice the requests that may be above it: a close call says more at full length.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of requests"
    )]
    pub fn cannot_pass(&self, so_far: &Sample, n: usize) -> Option<Limit> {
        let failed = (so_far.scheduled - so_far.ok()) as usize;
        let missed = |(limit, threshold): &&(Limit, f64)| match limit {
            Limit::SuccessRate => ((n - failed.min(n)) as f64) < threshold * n as f64,
            Limit::Attainment | Limit::InFlight => false,
            Limit::Latency { latency, .. } => limit.quantile().is_some_and(|q| {
                let over = so_far.values(*latency).iter().filter(|value| **value > *threshold).count();
                let last = n.saturating_sub(1);
                // The percentile lies above the limit once the value below it does.
                let allowed = last - (last as f64 * q).floor() as usize;
                *latency != Latency::Itl && over + failed > CLEARLY * allowed + 1
            }),
        };
        self.0.iter().find(missed).map(|(limit, _)| *limit)
    }

    /// Tests a run: its sample, and in open loop whether the server kept up (`stability`).
    #[must_use]
    pub fn gate(
        &self,
        sample: &Sample,
        stability: Option<&Stability>,
        itl: &dyn Fn(Statistic) -> Option<f64>,
    ) -> Vec<SlaTest> {
        let mut tests = self.test(sample, itl);
        tests.extend(stability.filter(|stability| stability.saturated && !self.is_empty()).map(falls_behind));
        tests
    }

    /// Tests the metrics of a row whose requests are unknown. A percentile over the successful requests counts for all, unless so
    /// many failed that it lies among the failures. It is confirmed if the maximum is known and within the limit.
    #[must_use]
    pub fn reported(&self, metric: &dyn Fn(&str) -> Option<f64>) -> Vec<SlaTest> {
        let (completed, failed) = (metric("completed"), metric("failed"));
        let scheduled = completed.zip(failed).map(|(completed, failed)| completed + failed);
        let one = |(limit, threshold): &(Limit, f64)| {
            let (q, floor) = (limit.quantile(), limit.is_floor());
            let among_failed = |q: f64| scheduled.zip(completed).is_some_and(|(n, ok)| (n - 1.0) * q > ok - 1.0);
            let failing = q.is_some_and(among_failed);
            let value = limit.metric().and_then(metric).filter(|_| !failing);
            let basis = if value.is_none() && !failing { Basis::NotMeasured } else { Basis::Reported };
            let margin = value.map(|value| if floor { value - threshold } else { threshold - value } / threshold);
            let failed = failed.map_or(0, count);
            let needed = q.map(|q| needed(q, failed));
            let greatest = if let Limit::Latency { latency, .. } = limit { metric(latency.max_key()) } else { None };
            let all_within = greatest.is_some_and(|greatest| greatest <= *threshold);
            let enough = |needed: u32| scheduled.is_some_and(|n| n >= f64::from(needed));
            SlaTest {
                limit: *limit,
                threshold: *threshold,
                value,
                basis,
                margin: margin.filter(|margin| margin.is_finite()),
                passed: value.is_some_and(|value| if floor { value >= *threshold } else { value <= *threshold }),
                n: scheduled.filter(|_| q.is_some()).map(count),
                over: q.filter(|_| all_within).map(|_| failed),
                needed,
                confirmed: needed.map(|needed| all_within && enough(needed)),
            }
        };
        self.0.iter().map(one).collect()
    }

    /// Tests a sample: percentiles over all scheduled requests, failures as infinite; means over the successful ones.
    #[must_use]
    pub fn test(&self, sample: &Sample, itl: &dyn Fn(Statistic) -> Option<f64>) -> Vec<SlaTest> {
        self.0.iter().map(|(limit, threshold)| test_one(*limit, *threshold, sample, itl)).collect()
    }
}

/// The failed test of a server that falls behind an open loop, since its latencies depend on when the run ended. By Little's
/// law rate × E2E requests are in flight; the value is that of the last third, the threshold that of the first.
fn falls_behind(stability: &Stability) -> SlaTest {
    let [first, _, last] = stability.e2e_s;
    let in_flight = |e2e: Option<f64>| e2e.map(|e2e| stability.rate * e2e);
    SlaTest {
        limit: Limit::InFlight,
        threshold: in_flight(first).unwrap_or_default(),
        value: in_flight(last),
        basis: Basis::RateTimesE2e,
        margin: first.zip(last).map(|(first, last)| 1.0 - last / first).filter(|margin| margin.is_finite()),
        passed: false,
        n: None,
        over: None,
        needed: None,
        confirmed: None,
    }
}

/// A count from a number in a row.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn count(n: f64) -> u32 {
    n as u32
}

/// Writes the tests into a row's `sla`; their verdict.
pub fn write(sla: &mut Members, tests: &[SlaTest]) -> Option<Verdict> {
    let verdict = verdict(tests);
    sla.insert("passed".into(), verdict.map_or(Value::Null, |verdict| (verdict != Verdict::Fail).into()));
    if !tests.is_empty() {
        let tested = |test: &SlaTest| Some((test.limit.to_string(), serde_json::to_value(test).ok()?));
        sla.insert("tested".into(), Value::Object(tests.iter().filter_map(tested).collect()));
    }
    verdict
}

/// The tests in a row's `sla`.
#[must_use]
pub fn tested(sla: &Members) -> Vec<SlaTest> {
    let test = |(key, test): (&String, &Value)| {
        let test: SlaTest = serde_json::from_value(test.clone()).ok()?;
        Some(SlaTest { limit: Limit::tested(key)?, ..test })
    };
    sla.get("tested").and_then(Value::as_object).into_iter().flatten().filter_map(test).collect()
}

/// The verdict of all tests; `None` without tests.
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

fn test_one(limit: Limit, threshold: f64, sample: &Sample, itl: &dyn Fn(Statistic) -> Option<f64>) -> SlaTest {
    let mut test = SlaTest {
        limit,
        threshold,
        value: None,
        basis: Basis::Requests,
        margin: None,
        passed: false,
        n: None,
        over: None,
        needed: None,
        confirmed: None,
    };
    match limit {
        // Not a limit of a plan: it is tested only if an open loop falls behind.
        Limit::InFlight => {}
        Limit::SuccessRate | Limit::Attainment => {
            let good = f64::from(sample.good) / f64::from(sample.scheduled.max(1));
            let measured = if limit == Limit::SuccessRate { sample.success_rate() } else { Some(good) };
            test.value = measured.filter(|_| sample.scheduled > 0);
            test.passed = test.value.is_some_and(|value| value >= threshold);
            test.margin = test.value.filter(|_| threshold > 0.0).map(|value| (value - threshold) / threshold);
        }
        Limit::Latency { statistic, latency } => {
            let bounds = if latency == Latency::Tpot { &sample.tpot_bounds[..] } else { &[] };
            let unknown = bounds.iter().filter(|bound| **bound > threshold).count();
            let (value, basis) = match (latency, limit.quantile()) {
                (Latency::Itl, _) => (itl(statistic), Basis::Successes),
                (_, None) => (sample::mean(sample.values(latency)), Basis::Successes),
                (_, Some(q)) => {
                    // Failures are infinite, and so are answers that arrived at once and may have been too slow. A successful
                    // request with one token has no TPOT and is skipped.
                    let failed = (sample.scheduled - sample.ok()) as usize + unknown;
                    (sample::percentile_with(sample.values(latency), failed, q * 100.0), Basis::AllScheduled)
                }
            };
            test.basis = basis;
            test.passed = value.is_some_and(|value| value <= threshold);
            test.value = value.filter(|v| v.is_finite());
            test.margin = test.value.filter(|_| threshold > 0.0).map(|value| (threshold - value) / threshold);
            if let (Some(q), true) = (limit.quantile(), latency != Latency::Itl) {
                let within = sample.values(latency).partition_point(|value| *value <= threshold);
                // A request with one token has no TPOT and meets any limit on it.
                let none = sample.ok() as usize - sample.values(latency).len() - unknown;
                let over = (sample.scheduled as usize).saturating_sub(within + none);
                let over = u32::try_from(over).unwrap_or(u32::MAX);
                test.n = Some(sample.scheduled);
                test.over = Some(over);
                let needed = Some(needed(q, over)).filter(|_| test.passed);
                test.needed = needed;
                test.confirmed = needed.map(|needed| sample.scheduled >= needed);
            }
        }
    }
    test
}

/// One limit over several runs together: `None` if it is missed, otherwise whether it is confirmed. A percentile is met if the
/// request at its rank among all requests is within the limit.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
pub fn pooled(tests: &[&SlaTest]) -> Option<bool> {
    let counts: Option<Vec<(u32, u32)>> = tests.iter().map(|test| test.n.zip(test.over)).collect();
    let first = tests.first()?;
    let q = first.limit.quantile();
    if let (Some(counts), Some(q)) = (counts, q) {
        let (n, over) = counts.iter().fold((0u32, 0u32), |(n, over), (m, above)| (n + m, over + above));
        let within = n.checked_sub(over)?.checked_sub(1)?;
        let place = (f64::from(n - 1) * q).ceil() as u32;
        return (place <= within).then(|| n >= needed(q, over));
    }
    let values: Option<Vec<f64>> = tests.iter().map(|test| test.value).collect();
    let value = sample::mean(&values?)?;
    let floor = first.limit.is_floor();
    let holds = if floor { value >= first.threshold } else { value <= first.threshold };
    (holds && first.limit != Limit::InFlight).then_some(q.is_none())
}

/// The smallest number of requests that confirms a percentile `q` if `over` of them are above the limit: the probability
/// P(Binomial(n, 1 − q) ≤ over) is at most 1 − confidence (like MLPerf's early stopping).
#[must_use]
pub fn needed(q: f64, over: u32) -> u32 {
    if over == 0 {
        // The condition is qⁿ ≤ 1 − confidence.
        return count(((1.0 - CONFIDENCE).ln() / q.ln()).ceil());
    }
    if over > MANY {
        // Normal approximation: n·(1 − q) − z·√over is above `over` (a score interval).
        let over = f64::from(over);
        return count((over + Z * Z / 2.0 + Z * (over + Z * Z / 4.0).sqrt()) / (1.0 - q)).saturating_add(1);
    }
    // The probability falls with n, so bisect between an n that is not enough and one that is.
    let enough = |n: u32| binomial_cdf(over, n, 1.0 - q) <= 1.0 - CONFIDENCE;
    let mut above = over.saturating_add(1);
    while !enough(above) && above < MOST_NEEDED {
        above = above.saturating_mul(2);
    }
    let mut below = over;
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        match enough(middle) {
            true => above = middle,
            false => below = middle,
        }
    }
    above
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
    use crate::metrics::timing::tests::request;
    use crate::rows::kinds::RequestStatus;
    use serde_json::json;

    fn limits(value: Value) -> Limits {
        Limits::read(value.as_object().unwrap()).with_floor()
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
        // The exact way and the approximation agree where they meet.
        let (exact, near) = (f64::from(needed(0.99, MANY)), f64::from(needed(0.99, MANY + 1)));
        assert!((near / exact - 1.0).abs() < 1e-3, "{exact} {near}");
        assert_eq!(needed(0.99, u32::MAX), u32::MAX);
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
    fn without_tests_there_is_no_verdict() {
        assert_eq!(verdict(&[]), None);
    }
}
