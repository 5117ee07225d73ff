//! Result rows of other tools: their SLA verdict recomputed from their own numbers.

use serde_json::Value;

use crate::metrics::sla;
use crate::metrics::sla::Limits;
use crate::rows::kinds::Members;
use crate::rows::row::Row;

/// Tests the metrics of a row against its thresholds, and writes the tests into its `sla`; everything else stays
/// unchanged. Returns the row's claim if its own numbers contradict it. A row with recorded tests, one that is not `ok`
/// and one without thresholds stay unchanged.
pub fn hold(row: &mut Row) -> Option<String> {
    if row.record() != Some("result") || row.str("status").is_some_and(|status| status != "ok") {
        return None;
    }
    let mut members: Members = row.get("sla")?.as_object()?.clone();
    if members.contains_key("tested") {
        return None;
    }
    let metrics = row.get("metrics").cloned().unwrap_or_default();
    let judged = sla::judge(members.get("passed").and_then(Value::as_bool), &Limits::read(&members), &|name| {
        metrics.get(name).and_then(Value::as_f64)
    })?;
    sla::write(&mut members, &judged.tests);
    row.set("sla", members);
    row.set("verdict", serde_json::to_value(judged.verdict).unwrap_or_default());
    let claim = judged.claim()?;
    let mut quality: Members = row.get("quality").and_then(Value::as_object).cloned().unwrap_or_default();
    quality.insert("claim".into(), claim.as_str().into());
    row.set("quality", quality);
    Some(claim)
}
