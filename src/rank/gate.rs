//! Whether a row meets its SLA: its own limits, or those that override them.

use std::cell::OnceCell;

use serde::Deserialize;
use serde_json::Value;

use super::criterion::RankOptions;
use super::fast::ResultSummary;
use crate::metrics::sla;
use crate::metrics::sla::{ClaimCheck, Limits};
use crate::rows::kinds::{SlaTest, Verdict};

/// The verdict on a row.
#[derive(Debug, Default)]
pub struct Gate {
    /// True if it meets the SLA, false if not; `None` without an SLA.
    pub passed: Option<bool>,
    /// True if a percentile has too few requests to confirm it.
    pub unconfirmed: bool,
    /// The tests and their verdict; `None` for a row without thresholds.
    pub judged: Option<ClaimCheck>,
}

impl Gate {
    /// The largest miss, as a share of the limit.
    pub fn miss(&self) -> Option<f64> {
        let missed = self.judged.iter().flat_map(|judged| &judged.tests).filter(|test| !test.passed);
        missed.map(|test| test.margin.map_or(f64::INFINITY, |margin| -margin)).reduce(f64::max)
    }
}

#[derive(Deserialize)]
struct RecordedSla {
    #[serde(default)]
    sla: Value,
}

/// The tests that are recorded in a row.
pub fn recorded(line: &str) -> Vec<SlaTest> {
    let row = serde_json::from_str(line).ok();
    row.and_then(|row: RecordedSla| row.sla.as_object().map(sla::tested)).unwrap_or_default()
}

/// Judges a row whose text is `line`. The recorded tests of a run are used, except for limits that are overridden; a
/// row of another tool is judged by its metrics, and by its own verdict if it has no thresholds.
pub fn gate(line: &str, row: &ResultSummary, scenario: &str, options: &RankOptions) -> Gate {
    let sla = row.sla.as_ref();
    let claim = sla.and_then(|sla| sla.passed);
    let believed = Gate { passed: claim, ..Gate::default() };
    if !row.is_ok() {
        return believed;
    }
    let statistics = OnceCell::new();
    let greatest = |latency: &str| {
        let text = row.statistics?.get();
        let all: &Value = statistics.get_or_init(|| serde_json::from_str(text).unwrap_or_default());
        all.get(latency)?.get("max")?.as_f64()
    };
    let overrides: Vec<(&str, f64)> = options.overrides(scenario).collect();
    let tested = sla.is_some_and(|sla| sla.tested);
    if tested && overrides.is_empty() {
        let unconfirmed = row.verdict() == Some(Verdict::PassUnconfirmed.as_str());
        // Only failures need an explanation.
        let judged = (claim == Some(false)).then(|| ClaimCheck {
            tests: recorded(line),
            verdict: Verdict::Fail,
            disagrees: false,
        });
        return Gate { unconfirmed, judged, ..believed };
    }
    let own_limits = sla.map(|sla| sla.limits.0.as_slice()).unwrap_or_default();
    let thresholds = own_limits.iter().map(|(key, value)| (&**key, *value)).chain(overrides.iter().copied());
    let limits = Limits::of(thresholds);
    // Runs of bench-load with any limit, overrides included, must meet the default minimum success rate.
    let limits = if row.run.is_some() { limits.with_floor() } else { limits };
    let metric = |name: &str| {
        row.metrics.as_ref().and_then(|metrics| metrics.get(name)).or_else(|| {
            // The maximum of a latency confirms a percentile.
            greatest(name.strip_prefix("max_")?)
        })
    };
    // A claim is about the row's own limits: ignore it when --sla overrides them.
    let claimed = claim.filter(|_| overrides.is_empty());
    let Some(mut judged) = sla::judge(claimed, &limits, &metric) else { return believed };
    if tested {
        for test in recorded(line) {
            if overrides.iter().all(|(key, _)| *key != test.limit.key()) {
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
