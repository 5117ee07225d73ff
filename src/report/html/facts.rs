//! Reference sections: workload, hardware, raw throughput, capacity, and the decision over all scenarios.

use super::escape::line;
use super::ranking::verdict;
use super::table::{HtmlCell, HtmlRow, table};
use crate::rank::{CombinedRanking, Decision, Ranking, Score, Trial, card};
use crate::report::facts::RawThroughput;
use crate::report::text::{answer, candidate, plain};
use crate::report::{Report, capacity, facts, note};

fn score_table(ranking: &Ranking, combined: &CombinedRanking) -> String {
    let unit = ranking.options.by.unit();
    let weights: Vec<String> = combined.weights.iter().map(|(name, weight)| format!("{name} {weight:.2}")).collect();
    let mut head: Vec<String> = ["Rank", "Framework", "Flags changed", "Score", "SLA"].map(String::from).into();
    head.extend(combined.weights.iter().map(|(name, _)| format!("{}, {unit}", plain(name, false))));
    let row = |i: usize, score: &Score| {
        let (class, sign) = match score.passed {
            Some(false) => ("miss", "✗"),
            passed => (if i == 0 { "win" } else { "" }, if passed.is_some() { "✓" } else { "–" }),
        };
        let place = u32::try_from(i + 1).map_or(f64::MAX, f64::from);
        let mut cells = vec![
            HtmlCell::keyed(place, (i + 1).to_string()),
            HtmlCell::text(&score.framework),
            HtmlCell::text(score.name()),
        ];
        cells.push(HtmlCell::shown(Some(score.score), &format!("{:.3}", score.score)));
        cells.push(HtmlCell::text(&format!("{sign} {}", answer(score.passed))));
        cells.extend(score.values.iter().map(|value| HtmlCell::number(Some(*value))));
        HtmlRow { class, cells }
    };
    let name = format!("Scores{}{}", if combined.mode.is_empty() { "" } else { ", " }, combined.mode);
    let how = format!("Score = product of (value / best value) to the power of its weight: {}.", weights.join(", "));
    let mut out = format!("<p>{}</p>\n{}", line(&how), table(&name, &head, combined.scores.iter(), row));
    if combined.left_out > 0 {
        out.push_str(&format!(
            "<p class=\"more\">{} candidates without a result in every scenario are omitted.</p>\n",
            combined.left_out
        ));
    }
    out
}

/// The decisions over all scenarios, if there are weights.
pub fn combined(ranking: &Ranking) -> String {
    if ranking.weights().is_empty() {
        return String::new();
    }
    let tables: String = ranking.combined().iter().map(|combined| score_table(ranking, combined)).collect();
    let none = "<p>No model, load mode and client has results in all weighted scenarios.</p>\n";
    let tables = if tables.is_empty() { none } else { &tables };
    format!("<section id=\"combined\"><h2>Over all scenarios</h2>\n{tables}</section>\n")
}

/// The scenarios and the limits.
pub fn workload(ranking: &Ranking) -> String {
    if ranking.groups.is_empty() {
        return String::new();
    }
    let limits = if ranking.limits.is_empty() { "none".into() } else { ranking.limits.join(", ") };
    format!(
        "<section id=\"workload\"><h2>Workload and SLA</h2>\n{}<p>SLA: {}.</p></section>\n",
        table("Workload by scenario", &facts::WORKLOAD, facts::workload(ranking), |_, row| HtmlRow::words(&row)),
        line(&limits)
    )
}

/// Hardware and versions.
pub fn versions(ranking: &Ranking) -> String {
    if ranking.groups.is_empty() {
        return String::new();
    }
    let rows = facts::platforms(ranking).into_iter();
    format!(
        "<section id=\"hardware\"><h2>Hardware and versions</h2>\n{}</section>\n",
        table("Hardware and versions", &facts::PLATFORM, rows, |_, row| HtmlRow::words(&row))
    )
}

/// The highest throughput of all, and the highest that meets the SLA.
pub fn raw(ranking: &Ranking) -> String {
    let raw = facts::raw(ranking);
    if raw.is_empty() {
        return String::new();
    }
    let row = |_: usize, raw: RawThroughput| {
        let name = |trial: Option<&Trial>| HtmlCell::text(&facts::trial_name(trial));
        let value = |trial: Option<&Trial>| HtmlCell::number(trial.and_then(|trial| trial.keys().by));
        let sla = raw.fastest.map_or_else(|| HtmlCell::text("-"), verdict);
        let first =
            vec![HtmlCell::text(&raw.title), HtmlCell::text(raw.framework), name(raw.fastest), value(raw.fastest), sla];
        HtmlRow { class: "", cells: first.into_iter().chain([name(raw.passing), value(raw.passing)]).collect() }
    };
    let table = table("Raw and SLA-compliant throughput", &facts::raw_head(ranking), raw.into_iter(), row);
    format!("<section id=\"raw\"><h2>Raw and SLA-compliant throughput</h2>\n{table}</section>\n")
}

/// The capacity card of each group with a winner.
pub fn cards(report: &Report) -> String {
    let mut out = String::new();
    for group in &report.ranking.groups {
        let Some(first) = group.ranked.first().filter(|_| !matches!(group.decision, Decision::None { .. })) else {
            continue;
        };
        let lines = capacity::lines(&card(&first.best, report.demand), report.demand);
        if lines.is_empty() {
            continue;
        }
        let title = format!("{}: {}", note::group_title(report.ranking, group), candidate(first.best.entry()));
        let row = |_: usize, (name, value)| HtmlRow::words(&[name, value]);
        out.push_str(&table(&title, &["Metric", "Value"], lines.into_iter(), row));
    }
    if out.is_empty() {
        out
    } else {
        format!("<section id=\"capacity\"><h2>Capacity</h2>\n<div class=\"pair\">\n{out}</div></section>\n")
    }
}
