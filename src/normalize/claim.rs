//! Result rows of somebody else: their SLA computed anew from their own numbers.

use serde_json::Value;

use crate::metrics::sla;
use crate::metrics::sla::Limits;
use crate::rows::kinds::Members;
use crate::rows::row::Row;

/// Holds a row that has thresholds against its metrics, and puts what was tested into its `sla`; everything else stays as it
/// is. Gives back what the row claimed, where that was not so. A row that says what was tested, that is not `ok` or that has
/// no thresholds stays as it is whole.
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
