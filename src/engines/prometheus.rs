//! A server's own counters in Prometheus' text format, and from them metrics of one run, by the mapping of its framework.

use std::collections::BTreeMap;

use super::framework::MetricMapping;
use crate::rows::kinds::Members;

/// The value of one series of a metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricSample {
    /// Its labels as the server writes them, without braces: `rank="0",model="m"`.
    pub labels: String,
    /// Its value.
    pub value: f64,
}

/// The series of each metric, by its name.
pub type MetricSamples = BTreeMap<String, Vec<MetricSample>>;

/// The sum of the series that a name, with or without a label, selects, and their number; `None` if there are none.
fn selected(samples: &MetricSamples, name: &str) -> Option<(f64, usize)> {
    let (name, label) = match name.split_once('{') {
        Some((name, label)) => (name, Some(label.trim_end_matches('}'))),
        None => (name, None),
    };
    let has = |series: &&MetricSample| {
        let mut found = label.iter().flat_map(|label| series.labels.match_indices(label));
        label.is_none() || found.any(|(at, _)| at == 0 || series.labels[..at].ends_with(','))
    };
    let values: Vec<f64> = samples.get(name)?.iter().filter(has).map(|series| series.value).collect();
    (!values.is_empty()).then(|| (values.iter().sum(), values.len()))
}

/// Reads samples.
#[must_use]
pub fn parse(text: &str) -> MetricSamples {
    let mut samples = MetricSamples::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // `name{labels} value [timestamp]`; a label's value may hold spaces and braces in quotes.
        let (name, labels, rest) = match line.find('{') {
            Some(open) if !line[..open].contains(char::is_whitespace) => {
                let Some(close) = closing(&line[open..]) else { continue };
                (&line[..open], &line[open + 1..open + close], &line[open + close + 1..])
            }
            _ => {
                let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
                (name, "", rest)
            }
        };
        let value = rest.split_whitespace().next().and_then(|value| value.parse::<f64>().ok());
        if let Some(value) = value.filter(|value| value.is_finite()) {
            samples.entry(name.to_string()).or_default().push(MetricSample { labels: labels.into(), value });
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
        let then = selected(before, name).map_or(0.0, |(sum, _)| sum);
        Some(selected(after, name)?.0 - then).filter(|growth| *growth >= 0.0)
    };
    let value = |mapping: &MetricMapping| match (&mapping.delta, &mapping.mean, &mapping.gauge) {
        (Some(name), ..) => {
            let less = mapping.less.as_ref().map_or(Some(0.0), |name| growth(name))?;
            let value = growth(name)? - less;
            match &mapping.per {
                None => Some(value),
                Some(per) => growth(per).filter(|per| *per > 0.0).map(|per| value / per),
            }
        }
        (None, Some(name), _) => {
            let (sum, count) = (growth(&format!("{name}_sum"))?, growth(&format!("{name}_count"))?);
            (count > 0.0).then(|| sum / count)
        }
        // Each rank has a series of its own.
        #[allow(clippy::cast_precision_loss, reason = "a number of ranks")]
        (None, None, Some(name)) => selected(after, name).map(|(sum, series)| sum / series as f64),
        (None, None, None) => None,
    };
    let found = mappings.iter().filter_map(|one| Some((one.name.clone(), (value(one)? * one.times + one.plus).into())));
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
        let sum = |name: &str| selected(&before, name);
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
        assert_eq!(sum("x{a=\"2\"}"), Some((2.5, 1)));
        assert_eq!((sum("x{b=\"c\"}"), sum("x{b=\"d\"}"), sum("x{=\"c\"}")), (Some((1.0, 1)), None, None));
        // The counter was reset.
        assert_eq!(between(&mappings[..1], &after, &before), Members::new());
    }

    #[test]
    fn an_acceptance_length_is_made_of_counters() {
        let at = |tokens: u32, requests: u32, steps: u32| {
            parse(&format!(
                "tokens {tokens}\nrequests {requests}\nsteps{{position=\"0\"}} {steps}\nsteps{{position=\"1\"}} 7\nlatest 9\n"
            ))
        };
        let mappings: Vec<MetricMapping> = serde_json::from_value(json!([
            {"name": "spec_decode.accept_length", "gauge": "latest"},
            {"name": "spec_decode.accept_length", "delta": "tokens", "less": "requests", "per": "steps{position=\"0\"}", "plus": 1},
        ]))
        .unwrap();
        let found = between(&mappings, &at(100, 10, 50), &at(400, 20, 150));
        assert_eq!(json!(found), json!({"spec_decode.accept_length": 1.0 + 290.0 / 100.0}));
        // Without steps the gauge is left.
        let idle = between(&mappings, &at(100, 10, 50), &at(400, 20, 50));
        assert_eq!(json!(idle), json!({"spec_decode.accept_length": 9.0}));
    }
}
