//! Whether a row keeps its SLA: its own limits, or those that were given in their place.

use std::cell::OnceCell;

use serde_json::Value;

use super::criterion::RankOptions;
use super::fast::ResultSummary;
use crate::metrics::sla;
use crate::metrics::sla::{ClaimCheck, Limits};
use crate::rows::kinds::{SlaTest, Verdict};

/// The answer.
#[derive(Debug, Default)]
pub struct Gate {
    /// `None` when there was none to give.
    pub passed: Option<bool>,
    /// Too few requests behind a percentile.
    pub unconfirmed: bool,
    /// What was tested, and what follows; nothing of a row that has no thresholds.
    pub judged: Option<ClaimCheck>,
}

impl Gate {
    /// By what share the limit is missed that is missed most.
    pub fn miss(&self) -> Option<f64> {
        let missed = self.judged.iter().flat_map(|judged| &judged.tests).filter(|test| !test.passed);
        missed.map(|test| test.margin.map_or(f64::INFINITY, |margin| -margin)).reduce(f64::max)
    }
}

/// Judges a row whose text is `line`. What its run tested on the requests themselves stands, but for limits that are given
/// anew; a row of somebody else is judged by its metrics; one without thresholds is believed.
pub fn gate(line: &str, row: &ResultSummary, scenario: &str, options: &RankOptions) -> Gate {
    let sla = row.sla.as_ref();
    let claim = sla.and_then(|sla| sla.passed);
    let believed = Gate { passed: claim, ..Gate::default() };
    if !row.is_ok() {
        return believed;
    }
    let whole = OnceCell::new();
    let deep = |pointer: &str| {
        let row: &Value = whole.get_or_init(|| serde_json::from_str(line).unwrap_or_default());
        row.pointer(pointer).cloned()
    };
    let own = || -> Vec<SlaTest> { deep("/sla").and_then(|sla| sla.as_object().map(sla::tested)).unwrap_or_default() };
    let given: Vec<(&str, f64)> = options.given(scenario).collect();
    let tested = sla.is_some_and(|sla| sla.tested);
    if tested && given.is_empty() {
        let unconfirmed = row.verdict.as_deref() == Some(Verdict::PassUnconfirmed.as_str());
        // Only what failed is asked how.
        let judged =
            (claim == Some(false)).then(|| ClaimCheck { tests: own(), verdict: Verdict::Fail, disagrees: false });
        return Gate { unconfirmed, judged, ..believed };
    }
    let own_limits = sla.map(|sla| sla.limits.0.as_slice()).unwrap_or_default();
    let thresholds = own_limits.iter().map(|(key, value)| (&**key, *value)).chain(given.iter().copied());
    let limits = Limits::of(thresholds);
    // Our own runs owe it with whatever limit, one that is given later too.
    let limits = if row.run.is_some() { limits.with_floor() } else { limits };
    let metric = |name: &str| {
        row.metrics.as_ref().and_then(|metrics| metrics.get(name)).or_else(|| {
            // The greatest of a latency confirms a percentile.
            let latency = name.strip_prefix("max_")?;
            row.statistics?;
            deep(&format!("/statistics/{latency}/max"))?.as_f64()
        })
    };
    // What was claimed was claimed about other limits, where some are given anew.
    let claimed = claim.filter(|_| given.is_empty());
    let Some(mut judged) = sla::judge(claimed, &limits, &metric) else { return believed };
    if tested {
        for test in own() {
            if given.iter().all(|(key, _)| *key != test.limit.key()) {
                judged.tests.retain(|other| other.limit != test.limit);
                judged.tests.push(test);
            }
        }
        judged.verdict = sla::verdict(&judged.tests).unwrap_or(judged.verdict);
        judged.disagrees = false;
    }
    Gate {
        passed: Some(judged.verdict != Verdict::Fail),
        unconfirmed: judged.verdict == Verdict::PassUnconfirmed,
        judged: Some(judged),
    }
}
