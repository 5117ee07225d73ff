//! The capacity card of each winner.

use super::md::{escape, put, table};
use super::text::{candidate, number, plain};
use super::{Report, note};
use crate::rank::{CapacityCard, CapacityDemand, Decision, card};

/// What a card says, name and value; nothing for what the rows do not say.
pub fn lines(card: &CapacityCard, demand: CapacityDemand) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut put = |name: String, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            let text = if value.fract() == 0.0 && value < 1e9 { format!("{value}") } else { number(Some(value)) };
            lines.push((name, format!("{text}{unit}")));
        }
    };
    put("Measured rate of a replica".into(), card.rate, " req/s");
    put("Requests in flight at that rate".into(), card.in_flight, "");
    put("Output tokens per second and GPU".into(), card.tokens_gpu, "");
    put("GPUs of a replica".into(), card.gpus, "");
    if let Some(peak) = demand.peak_qps {
        let headroom = demand.headroom * 100.0;
        put(format!("Replicas for {peak} req/s with {headroom:.0} % free"), card.replicas, "");
    }
    put("Cost of all replicas an hour".into(), card.cost_hour, "");
    put("Cost of a million output tokens at full use".into(), card.cost_output, "");
    put("Cost of a million tokens, prompts too".into(), card.cost_total, "");
    put("Energy of an output token".into(), card.joules, " J");
    put("Tokens that the KV cache holds".into(), card.kv_tokens, "");
    put("Start to ready".into(), card.ready_s, " s");
    lines
}

/// The section: a card for each group that has a winner.
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
        table(out, &["What", "How much"], lines.into_iter().map(|(name, value)| vec![name, value]));
    }
}
