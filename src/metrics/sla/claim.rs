//! The SLA verdict that an imported row claims, checked against its numbers.

use super::{Limits, gate};
use crate::rows::kinds::SlaTest;
use crate::rows::words::{Basis, Verdict};

/// The limits of a row, judged by its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimCheck {
    /// The tests.
    pub tests: Vec<SlaTest>,
    /// Their verdict.
    pub verdict: Verdict,
    /// The row claims another verdict.
    pub disagrees: bool,
}

impl ClaimCheck {
    /// The contradiction between the row's claim and its numbers, if there is one.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        if !self.disagrees {
            return None;
        }
        if self.verdict != Verdict::Fail {
            return Some("its row says that it did not pass, but its numbers meet every limit".into());
        }
        let missed = |test: &SlaTest| match test.value {
            Some(value) => format!("{} {} is {value}", test.limit, test.threshold),
            None => format!("{} {} is not met by any number of the row", test.limit, test.threshold),
        };
        let missed: Vec<String> = self.tests.iter().filter(|test| !test.passed).map(missed).collect();
        Some(format!("its row says that it passed, but its numbers do not: {}", missed.join(", ")))
    }
}

/// Judges a row by its metrics and compares the verdict with its claim; `None` without limits. A limit whose metric is missing
/// counts as met only if the row claims to have passed.
#[must_use]
pub fn judge(claim: Option<bool>, limits: &Limits, metric: &dyn Fn(&str) -> Option<f64>) -> Option<ClaimCheck> {
    let mut tests = limits.reported(metric);
    if tests.is_empty() {
        return None;
    }
    for test in tests.iter_mut().filter(|test| test.basis == Basis::NotMeasured) {
        test.passed = claim == Some(true);
    }
    let mut verdict = gate::verdict(&tests)?;
    if verdict == Verdict::Pass && tests.iter().any(|test| test.basis == Basis::NotMeasured) {
        verdict = Verdict::PassUnconfirmed;
    }
    let disagrees = claim.is_some_and(|claim| claim != (verdict != Verdict::Fail));
    Some(ClaimCheck { tests, verdict, disagrees })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn judged(sla: Value, metrics: Value) -> Option<ClaimCheck> {
        let sla = sla.as_object().unwrap().clone();
        judge(sla.get("passed").and_then(Value::as_bool), &Limits::read(&sla), &|name| metrics[name].as_f64())
    }

    #[test]
    fn a_claim_is_held_against_the_numbers() {
        let lies = judged(json!({"max_p99_ttft_ms": 500, "passed": true}), json!({"p99_ttft_ms": 2400.0})).unwrap();
        assert_eq!(lies.verdict, Verdict::Fail);
        assert!(lies.claim().unwrap().contains("max_p99_ttft_ms 500 is 2400"));
        let modest = judged(json!({"max_p50_ttft_ms": 500, "passed": false}), json!({"p50_ttft_ms": 400.0})).unwrap();
        assert_eq!((modest.verdict, modest.claim().is_some()), (Verdict::PassUnconfirmed, true));
        let honest = judged(json!({"max_mean_ttft_ms": 500, "passed": true}), json!({"mean_ttft_ms": 400.0})).unwrap();
        assert_eq!((honest.verdict, honest.claim()), (Verdict::Pass, None));
    }

    #[test]
    fn a_missing_metric_is_met_only_by_claim() {
        let limits = json!({"max_p99_ttft_ms": 500, "passed": true});
        assert_eq!(judged(limits, json!({})).unwrap().verdict, Verdict::PassUnconfirmed);
        assert_eq!(judged(json!({"max_p99_ttft_ms": 500}), json!({})).unwrap().verdict, Verdict::Fail);
        assert_eq!(judged(json!({"passed": true}), json!({})), None);
    }

    #[test]
    fn reported_failures_are_infinitely_slow() {
        let metrics = json!({"p99_ttft_ms": 100.0, "completed": 95, "failed": 5, "max_ttft_ms": 120.0});
        assert_eq!(judged(json!({"max_p99_ttft_ms": 500}), metrics).unwrap().verdict, Verdict::Fail);
        let whole = json!({"p99_ttft_ms": 100.0, "completed": 299, "failed": 0, "max_ttft_ms": 120.0});
        assert_eq!(judged(json!({"max_p99_ttft_ms": 500}), whole).unwrap().verdict, Verdict::Pass);
    }
}
