//! The capacity cards of the winners.

use super::md::{escape, put, table};
use super::text::{candidate, number, plain};
use super::{Report, note};
use crate::rank::{CapacityCard, CapacityDemand, Decision, card};

/// The lines of a card, name and value, without values that the rows do not have.
pub fn lines(card: &CapacityCard, demand: CapacityDemand) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut put = |name: String, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let text = if value.fract() == 0.0 && value < 1e9 { format!("{value}") } else { number(Some(value)) };
            lines.push((name, format!("{text}{unit}")));
        }
    };
    let rate = match card.offered {
        Some(offered) => format!("Request rate per replica, measured at an offered {offered} req/s"),
        None => "Measured request rate per replica".into(),
    };
    put(rate, card.rate, " req/s");
    put("Concurrency at that rate".into(), card.in_flight, "");
    put("Output tok/s/GPU".into(), card.tokens_gpu, "");
    put("GPUs per replica".into(), card.gpus, "");
    if let Some(peak) = demand.peak_qps {
        let headroom = demand.headroom * 100.0;
        put(format!("Replicas for {peak} req/s with {headroom:.0} % headroom"), card.replicas, "");
    }
    put("Cost per hour, all replicas".into(), card.cost_hour, "");
    put("Cost per million output tokens at full utilization".into(), card.cost_output, "");
    put("Cost per million tokens, prompt + output, at full utilization".into(), card.cost_total, "");
    put("Energy per output token".into(), card.joules, " J");
    put("KV cache capacity".into(), card.kv_tokens, " tokens");
    let start = card.start.map_or(String::new(), |start| format!(", {start}"));
    put(format!("Startup time{start}"), card.ready_s, " s");
    if let Some((peak, offered)) = demand.peak_qps.zip(card.offered) {
        let why = format!(
            "unknown: {offered} req/s was offered, a replica may serve more; search the highest rate (benchmark.qps)"
        );
        lines.push((format!("Replicas for {peak} req/s"), why));
    }
    lines
}

/// The section: a card for each group with a winner.
pub fn markdown(out: &mut String, report: &Report) {
    let mut begun = false;
    for group in &report.ranking.groups {
        let Some(first) = group.ranked.first().filter(|_| !matches!(group.decision, Decision::None { .. })) else {
            continue;
        };
        let lines = lines(&card(&first.best, report.demand), report.demand);
        if lines.is_empty() {
            continue;
        }
        if !std::mem::replace(&mut begun, true) {
            put(out, "\n## Capacity");
        }
        let title = format!("{}: {}", note::group_title(report.ranking, group), candidate(first.best.entry()));
        put(out, &format!("\n{}\n", escape(&plain(&title, true))));
        table(out, &["Metric", "Value"], lines.into_iter().map(|(name, value)| vec![name, value]));
    }
}
