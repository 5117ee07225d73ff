//! What a row of somebody else says about its SLA, against what its numbers say.

use super::{Limits, gate};
use crate::rows::kinds::SlaTest;
use crate::rows::words::{Basis, Verdict};

/// A row's limits, judged anew.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimCheck {
    /// What was tested.
    pub tests: Vec<SlaTest>,
    /// The answer.
    pub verdict: Verdict,
    /// The row claims what its numbers do not say.
    pub disagrees: bool,
}

impl ClaimCheck {
    /// What the row claims, where its numbers say something else.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        if !self.disagrees {
            return None;
        }
        if self.verdict != Verdict::Fail {
            return Some("its row says that it did not pass, its numbers keep every limit".into());
        }
        let missed = |test: &SlaTest| match test.value {
            Some(value) => format!("{} {} is {value}", test.limit, test.threshold),
            None => format!("{} {} has no number that keeps it", test.limit, test.threshold),
        };
        let missed: Vec<String> = self.tests.iter().filter(|test| !test.passed).map(missed).collect();
        Some(format!("its row says that it passed, its numbers do not: {}", missed.join(", ")))
    }
}

/// Judges a row with thresholds by its metrics, against what it claims; `None` without any: then its own word is all there
/// is. For a limit whose number the row does not have its claim stands, and without a claim the limit is not kept.
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
    fn what_is_not_there_is_believed_or_not_kept() {
        let limits = json!({"max_p99_ttft_ms": 500, "passed": true});
        assert_eq!(judged(limits, json!({})).unwrap().verdict, Verdict::PassUnconfirmed);
        assert_eq!(judged(json!({"max_p99_ttft_ms": 500}), json!({})).unwrap().verdict, Verdict::Fail);
        assert_eq!(judged(json!({"passed": true}), json!({})), None);
    }

    #[test]
    fn failures_that_are_told_are_infinitely_slow() {
        let metrics = json!({"p99_ttft_ms": 100.0, "completed": 95, "failed": 5, "max_ttft_ms": 120.0});
        assert_eq!(judged(json!({"max_p99_ttft_ms": 500}), metrics).unwrap().verdict, Verdict::Fail);
        let whole = json!({"p99_ttft_ms": 100.0, "completed": 299, "failed": 0, "max_ttft_ms": 120.0});
        assert_eq!(judged(json!({"max_p99_ttft_ms": 500}), whole).unwrap().verdict, Verdict::Pass);
    }
}
