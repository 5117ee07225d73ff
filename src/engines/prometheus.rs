//! A server's own counters in Prometheus' text format, and from them metrics of one run, by the mapping of its framework.

use std::collections::BTreeMap;

use super::framework::MetricMapping;
use crate::rows::kinds::Members;

/// The samples of one metric, over all its labels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MetricSample {
    /// Their sum.
    pub sum: f64,
    /// Their number.
    pub series: u32,
}

/// MetricSamples by the name of their metric.
pub type MetricSamples = BTreeMap<String, MetricSample>;

/// Reads samples.
#[must_use]
pub fn parse(text: &str) -> MetricSamples {
    let mut samples = MetricSamples::new();
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
            let sample = samples.entry(name.to_string()).or_default();
            sample.sum += value;
            sample.series += 1;
        }
    }
    samples
}

/// The end of the labels that begin `text`.
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

/// The metrics of a run from the samples before and after it. A counter that fell was reset, and is left out.
#[must_use]
pub fn between(mappings: &[MetricMapping], before: &MetricSamples, after: &MetricSamples) -> Members {
    let growth = |name: &str| {
        let then = before.get(name).map_or(0.0, |sample| sample.sum);
        Some(after.get(name)?.sum - then).filter(|growth| *growth >= 0.0)
    };
    let value = |mapping: &MetricMapping| match (&mapping.delta, &mapping.mean, &mapping.gauge) {
        (Some(name), ..) => growth(name),
        (None, Some(name), _) => {
            let (sum, count) = (growth(&format!("{name}_sum"))?, growth(&format!("{name}_count"))?);
            (count > 0.0).then(|| sum / count)
        }
        // Each rank has a series of its own.
        (None, None, Some(name)) => after.get(name).map(|sample| sample.sum / f64::from(sample.series.max(1))),
        (None, None, None) => None,
    };
    let found = mappings.iter().filter_map(|one| Some((one.name.clone(), (value(one)? * one.times).into())));
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
        let sum = |name: &str| before.get(name).map(|sample| (sample.sum, sample.series));
        assert_eq!((sum("x"), sum("q_sum"), sum("q_count")), (Some((3.5, 2)), Some((1.0, 1)), Some((2.0, 1))));
        assert_eq!(before.len(), 3);
        let after = parse("x 10\nq_sum 3\nq_count 6\ngone 1\nz{rank=\"0\"} 2\nz{rank=\"1\"} 3");
        let mappings: Vec<MetricMapping> = serde_json::from_value(json!([
            {"name": "cache.x", "delta": "x"}, {"name": "phase_metrics.q_ms", "mean": "q", "times": 1000},
            {"name": "cache.none", "delta": "none"}, {"name": "cache.new", "delta": "gone"},
            {"name": "spec_decode.length", "gauge": "z"}, {"name": "spec_decode.rate", "gauge": "none"},
        ]))
        .unwrap();
        let found = between(&mappings, &before, &after);
        assert_eq!(
            json!(found),
            json!({"cache.x": 6.5, "phase_metrics.q_ms": 500.0, "cache.new": 1.0, "spec_decode.length": 2.5})
        );
        // The counter was reset.
        assert_eq!(between(&mappings[..1], &after, &before), Members::new());
    }
}
