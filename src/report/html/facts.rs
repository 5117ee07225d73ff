//! What was run, on what, how fast at most, how many replicas that takes, and which is first over all scenarios.

use super::escape::line;
use super::ranking::verdict;
use super::table::{Cell, Row, table};
use crate::rank::{Combined, Decision, Ranking, Trial, card};
use crate::report::text::{candidate, changes, load, plain};
use crate::report::{Report, capacity, markdown, note};

fn score_table(ranking: &Ranking, combined: &Combined) -> String {
    let unit = ranking.options.by.unit();
    let weights: Vec<String> = combined.weights.iter().map(|(name, weight)| format!("{name} {weight:.2}")).collect();
    let mut head: Vec<String> = ["Rank", "Framework", "Flags changed", "Score", "SLA"].map(String::from).into();
    head.extend(combined.weights.iter().map(|(name, _)| format!("{}, {unit}", plain(name, false))));
    let rows = combined.scores.iter().enumerate().map(|(i, score)| {
        let (class, sla) = match score.passed {
            Some(true) => (if i == 0 { "win" } else { "" }, "✓ pass"),
            Some(false) => ("miss", "✗ fail"),
            None => (if i == 0 { "win" } else { "" }, "– no SLA"),
        };
        let changes = if score.changes.is_empty() { &score.candidate_id } else { &score.changes };
        let place = u32::try_from(i + 1).map_or(f64::MAX, f64::from);
        let mut cells =
            vec![Cell::keyed(place, (i + 1).to_string()), Cell::text(&score.framework), Cell::text(changes)];
        cells.push(Cell::shown(Some(score.score), &format!("{:.3}", score.score)));
        cells.push(Cell::text(sla));
        cells.extend(score.values.iter().map(|value| Cell::number(Some(*value))));
        Row { class, cells }
    });
    let name = format!("Scores{}{}", if combined.mode.is_empty() { "" } else { ", " }, combined.mode);
    let how = format!("Score = product of (value / best value) to the power of its weight: {}.", weights.join(", "));
    let mut out = format!("<p>{}</p>\n{}", line(&how), table(&name, &head, rows));
    if combined.left_out > 0 {
        out.push_str(&format!(
            "<p class=\"more\">{} candidates have no result in some scenario and are left out.</p>\n",
            combined.left_out
        ));
    }
    out
}

/// The decisions over all scenarios, when weights were given.
pub fn combined(ranking: &Ranking) -> String {
    if ranking.weights().is_empty() {
        return String::new();
    }
    let tables: String = ranking.combined().iter().map(|combined| score_table(ranking, combined)).collect();
    let none = "<p>No model, load mode and client has results in all of the weighted scenarios.</p>\n";
    let tables = if tables.is_empty() { none } else { &tables };
    format!("<section id=\"combined\"><h2>Over all scenarios</h2>\n{tables}</section>\n")
}

/// Scenarios, and the limits.
pub fn workload(ranking: &Ranking) -> String {
    if ranking.groups.is_empty() {
        return String::new();
    }
    let head = ["Scenario", "Input tokens", "Output tokens", "Prompts", "Loads", "Endpoint", "Client"];
    let rows = ranking.groups.iter().filter_map(|group| {
        let entry = group.ranked.first()?.best.entry();
        let of = |name: &str| entry.at(&format!("/workload/{name}")).as_f64();
        let length = |name: &str| match (of(name), of(&format!("{name}_p50")), of(&format!("{name}_p95"))) {
            (Some(asked), Some(p50), Some(p95)) if p50 != asked || p95 != asked => {
                format!("{asked} (measured p50 {p50}, p95 {p95})")
            }
            (None, Some(p50), Some(p95)) => format!("measured p50 {p50}, p95 {p95}"),
            (asked, ..) => asked.map_or("-".into(), |n| n.to_string()),
        };
        let mut loads: Vec<(f64, String)> = group.entries().map(|entry| (entry.amount(), entry.load())).collect();
        loads.sort_by(|a, b| a.0.total_cmp(&b.0));
        let loads = markdown::ordered(loads.into_iter().map(|(_, load)| load));
        let trials =
            group.ranked.iter().take(20).flat_map(|ranked| std::iter::once(&ranked.best).chain(&ranked.others));
        let prompts = trials.take(50).filter_map(|trial| trial.entry().at("/workload/num_prompts").as_u64());
        let prompts = markdown::ordered(prompts.map(|n| n.to_string()));
        let client = entry.text("/run/client");
        let client = if client.is_empty() { entry.text("/native/client") } else { client };
        let title = note::group_title(ranking, group);
        let endpoint = entry.text("/workload/endpoint");
        Some(Row::words(&[
            title,
            length("input_len"),
            length("output_len"),
            prompts.join(", "),
            loads.join(", "),
            endpoint,
            client,
        ]))
    });
    let limits = if ranking.limits.is_empty() { "none".into() } else { ranking.limits.join(", ") };
    format!(
        "<section id=\"workload\"><h2>Workload and SLA</h2>\n{}<p>SLA: {}.</p></section>\n",
        table("Workload by scenario", &head, rows),
        line(&limits)
    )
}

/// What it ran on.
pub fn versions(ranking: &Ranking) -> String {
    if ranking.groups.is_empty() {
        return String::new();
    }
    let rows = markdown::platforms(ranking).into_iter().map(|row| Row::words(&row));
    let head = ["Framework", "Version", "GPU", "GPUs", "Driver", "Image"];
    format!(
        "<section id=\"hardware\"><h2>Hardware and versions</h2>\n{}</section>\n",
        table("Hardware and versions", &head, rows)
    )
}

/// The most of all, and the most that keeps the SLA.
pub fn raw(ranking: &Ranking) -> String {
    if ranking.groups.iter().all(|group| group.ranked.iter().all(|ranked| ranked.best.passed.is_none())) {
        return String::new();
    }
    let unit = ranking.options.by.unit();
    let head = ["Scenario", "Framework", "Fastest of all", unit, "SLA", "Fastest that keeps the SLA", unit];
    let rows = ranking.groups.iter().flat_map(|group| {
        let title = note::group_title(ranking, group);
        group.best_of_frameworks().into_iter().map(move |first| {
            let framework = &first.best.entry().framework;
            let most = |passing: bool| {
                let own = group.ranked.iter().filter(|ranked| ranked.best.entry().framework == *framework);
                let all = own.flat_map(|ranked| std::iter::once(&ranked.best).chain(&ranked.others));
                let counted = all.filter(|trial| trial.keys.by.is_some() && (!passing || trial.passed == Some(true)));
                counted.reduce(|a, b| if b.keys.by > a.keys.by { b } else { a })
            };
            let name = |trial: Option<&Trial>| {
                Cell::text(&trial.map_or("none".to_string(), |trial| {
                    let load = load(trial);
                    let at = if load.is_empty() { String::new() } else { format!(" at {load}") };
                    format!("{}{at}", changes(trial.entry()))
                }))
            };
            let (fastest, passing) = (most(false), most(true));
            let value = |trial: Option<&Trial>| Cell::number(trial.and_then(|trial| trial.keys.by));
            let sla = fastest.map_or_else(|| Cell::text("-"), verdict);
            let first = vec![Cell::text(&title), Cell::text(framework), name(fastest), value(fastest), sla];
            Row { class: "", cells: first.into_iter().chain([name(passing), value(passing)]).collect() }
        })
    });
    let table = table("Raw throughput, and what of it keeps the SLA", &head, rows);
    format!("<section id=\"raw\"><h2>Raw throughput, and what of it keeps the SLA</h2>\n{table}</section>\n")
}

/// The capacity card of each group that has a winner.
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
        let rows = lines.into_iter().map(|(name, value)| Row::words(&[name, value]));
        out.push_str(&table(&title, &["What", "How much"], rows));
    }
    if out.is_empty() {
        out
    } else {
        format!("<section id=\"capacity\"><h2>Capacity</h2>\n<div class=\"pair\">\n{out}</div></section>\n")
    }
}
