//! Latency against throughput, for each candidate.

use super::chart::{Chart, figure};
use super::scale::sane;
use super::trials::{all, first, legend, limit, name, point};
use crate::rank::{Group, RankOptions, RankedCandidate, Trial};
use crate::report::text::number;

fn at(trial: &Trial) -> Option<(f64, f64)> {
    Some((sane(trial.metric("request_throughput"))?, sane(trial.metric("p99_ttft_ms"))?))
}

/// The plot; empty if no row has both numbers.
pub fn plot(group: &Group, options: &RankOptions) -> String {
    let shown: Vec<(usize, &RankedCandidate)> =
        first(group).filter(|(_, ranked)| all(ranked).iter().any(|t| at(t).is_some())).collect();
    let points = || shown.iter().flat_map(|(i, ranked)| all(ranked).into_iter().filter_map(|t| Some((*i, t, at(t)?))));
    let values: Vec<(f64, f64)> = points().map(|(.., at)| at).collect();
    let limit = limit(group, options, "max_p99_ttft_ms").filter(|limit| *limit > 0.0);
    let Some(mut chart) = Chart::new(&values, limit, ["Requests per second", "p99 TTFT, ms"]) else {
        return String::new();
    };
    if let Some(limit) = limit {
        chart.limit(limit, &format!("SLA limit {limit} ms"));
    }
    for (i, ranked) in &shown {
        let line: Vec<(f64, f64)> = all(ranked).into_iter().filter_map(at).collect();
        chart.through(&line, &format!("line s{i}"));
    }
    let mut desc = Vec::new();
    // The best candidate is drawn last, on top.
    for (i, trial, at) in points().collect::<Vec<_>>().into_iter().rev() {
        let text = format!("{}: {} req/s, p99 TTFT {} ms", point(i, trial), number(Some(at.0)), number(Some(at.1)));
        chart.point(at, i, trial.passed() == Some(false), &text);
        desc.push(text);
    }
    for (i, ranked) in &shown {
        if let Some(last) = all(ranked).into_iter().filter_map(at).next_back() {
            chart.label(last, &(i + 1).to_string());
        }
    }
    desc.reverse();
    let hollow =
        if group.entries().any(|entry| entry.passed == Some(false)) { " Hollow points miss the SLA." } else { "" };
    let many = match group.ranked.len() {
        n if n > shown.len() => format!(" The best {} of {n} candidates.", shown.len()),
        _ => String::new(),
    };
    let how = format!(
        "To the right is higher throughput, lower is a faster first token: the lower right is best. A line joins the load points of \
         one candidate; numbers are ranks.{hollow}{many}"
    );
    let svg = chart
        .finish(&format!("p99 TTFT against throughput, {}", name(0, group.ranked[0].best.entry())), &desc.join("; "));
    figure("plot", "Throughput against latency.", &how, &(svg + &legend(shown.into_iter())))
}
