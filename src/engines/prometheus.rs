//! A server's own counters, as Prometheus has them exposed: what they say about one run, by the framework's data.

use std::collections::BTreeMap;

use super::framework::MetricMapping;
use crate::rows::kinds::Members;

/// Samples by name, summed over their labels.
#[must_use]
pub fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // `name{labels} value [timestamp]`; a label's value may hold spaces and braces in quotes.
        let (name, rest) = match line.find('{') {
            Some(open) if !line[..open].contains(char::is_whitespace) => {
                let Some(close) = closing(&line[open..]) else { continue };
                (&line[..open], &line[open + close + 1..])
            }
            _ => line.split_once(char::is_whitespace).unwrap_or((line, "")),
        };
        let value = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
        if let Some(value) = value.filter(|value| value.is_finite()) {
            *samples.entry(name.to_string()).or_insert(0.0) += value;
        }
    }
    samples
}

/// Where the labels that begin `text` end.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// What happened between two looks. A counter that fell was begun anew, and says nothing.
#[must_use]
pub fn between(told: &[MetricMapping], before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Members {
    let grown = |name: &str| {
        let now = after.get(name)?;
        Some(now - before.get(name).unwrap_or(&0.0)).filter(|grown| *grown >= 0.0)
    };
    let value = |told: &MetricMapping| match (&told.delta, &told.mean) {
        (Some(name), _) => grown(name),
        (None, Some(name)) => {
            let (sum, count) = (grown(&format!("{name}_sum"))?, grown(&format!("{name}_count"))?);
            (count > 0.0).then(|| sum / count)
        }
        (None, None) => None,
    };
    let found = told.iter().filter_map(|told| Some((told.name.clone(), (value(told)? * told.times).into())));
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn samples_are_summed_over_labels_and_compared() {
        let before = parse(
            "# HELP x\n# TYPE x counter\nx{a=\"1 } \\\" 2\",b=\"c\"} 1\nx{a=\"2\"} 2.5e0 1700000000\nq_sum 1\nq_count 2\nbad\nn NaN\n",
        );
        assert_eq!(before, BTreeMap::from([("x".into(), 3.5), ("q_sum".into(), 1.0), ("q_count".into(), 2.0)]));
        let after = parse("x 10\nq_sum 3\nq_count 6\ngone 1\nz 0");
        let told: Vec<MetricMapping> = serde_json::from_value(json!([
            {"name": "cache.x", "delta": "x"}, {"name": "phase_metrics.q_ms", "mean": "q", "times": 1000},
            {"name": "cache.none", "delta": "none"}, {"name": "cache.new", "delta": "gone"},
        ]))
        .unwrap();
        let found = between(&told, &before, &after);
        assert_eq!(json!(found), json!({"cache.x": 6.5, "phase_metrics.q_ms": 500.0, "cache.new": 1.0}));
        // It was begun anew.
        assert_eq!(between(&told[..1], &after, &before), Members::new());
    }
}
