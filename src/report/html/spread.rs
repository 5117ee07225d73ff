//! The spread of the time to first token, for each candidate.

use super::bars::{ValueRange, ranges};
use super::chart::figure;
use super::scale::sane;
use super::trials::{first, limit, name};
use crate::rank::{Group, RankOptions, Trial};
use crate::report::text::{load, number};
use crate::rows::words::Latency;

/// Minimum, percentiles and maximum TTFT of all repeats.
fn values(trial: &Trial) -> [Option<f64>; 6] {
    let ends = |end: usize| trial.entries().filter_map(move |e| sane(e.extremes(Latency::Ttft)[end]));
    let ends: Vec<Option<f64>> = vec![ends(0).reduce(f64::min), ends(1).reduce(f64::max)];
    let [p50, p90, p95, p99] = ["p50", "p90", "p95", "p99"].map(|p| sane(trial.metric(&format!("{p}_ttft_ms"))));
    [ends[0], p50, p90, p95, p99, ends[1]]
}

/// The plot; empty if no candidate has two of these numbers.
pub fn plot(group: &Group, options: &RankOptions) -> String {
    let mut desc = Vec::new();
    let shown: Vec<ValueRange> = first(group)
        .filter_map(|(slot, ranked)| {
            let values = values(&ranked.best);
            if values.iter().flatten().count() < 2 {
                return None;
            }
            let at = load(&ranked.best);
            let at = if at.is_empty() { at } else { format!(", {at}") };
            let label = format!("{}{at}", name(slot, ranked.best.entry()));
            let words = ["min", "p50", "p90", "p95", "p99", "max"].iter().zip(values);
            let words: Vec<String> =
                words.filter_map(|(word, v)| v.map(|v| format!("{word} {} ms", number(Some(v))))).collect();
            desc.push(format!("{label}: {}", words.join(", ")));
            Some(ValueRange { label, slot, values })
        })
        .collect();
    let limit = limit(group, options, "max_p99_ttft_ms").map(|ms| (ms, format!("SLA limit of p99: {ms} ms")));
    let Some(svg) = ranges(&shown, limit, "TTFT, ms", "How TTFT spreads", &desc.join("; ")) else {
        return String::new();
    };
    let how = "At the load point that a candidate is ranked by: the thin line spans minimum to maximum TTFT, the disc is the median, the \
               box ends at p95 with a stroke at p90, the hollow diamond is p99. Short and to the left is best.";
    figure("plot", "Time to the first token.", how, &svg)
}
