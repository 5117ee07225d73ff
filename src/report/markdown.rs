//! The report as Markdown, in the sections of the source document's output contract.

use std::collections::BTreeSet;

use super::md::{cell, escape, fence, put, table, table_of};
use super::text::{candidate, changes, load, measured, number, plain, verdict};
use super::{Report, capacity, caveat, handoff, note};
use crate::rank::{Decision, Entry, Group, Ranked, Ranking, Trial};

/// What the last table is, in the source document's sense.
pub const TRIED: &str = "These are tried configurations that were not selected: they failed, were skipped by policy, or completed but \
                     missed the SLA.";

/// The whole report.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let ranking = report.ranking;
    let mut out = String::new();
    let models: BTreeSet<String> =
        ranking.groups.iter().map(|group| group.key.model()).filter(|model| !model.is_empty()).map(cell).collect();
    let models = models.into_iter().collect::<Vec<_>>().join(", ");
    let title = title(ranking);
    put(&mut out, &format!("# {title}{}{models}\n", if models.is_empty() { "" } else { ": " }));
    for group in &ranking.groups {
        let line = format!("{}: {}.", note::group_title(ranking, group), note::decision(ranking, group));
        put(&mut out, &format!("- {}", escape(&plain(&line, true))));
    }
    if ranking.groups.is_empty() {
        put(&mut out, "- Nothing was measured; \"Tried and not selected\" says why.");
    }
    put(&mut out, &format!("\n{}", how(ranking)));
    combined(&mut out, ranking);
    workload(&mut out, ranking);
    versions(&mut out, ranking);
    best(&mut out, ranking);
    across(&mut out, ranking);
    raw(&mut out, ranking);
    commands(&mut out, ranking);
    capacity::markdown(&mut out, report);
    rejected(&mut out, ranking);
    handoff::markdown(&mut out, report);
    files(&mut out, ranking);
    let caveats = caveat::caveats(ranking);
    if !caveats.is_empty() {
        put(&mut out, "\n## Caveats\n");
        caveats.iter().for_each(|note| put(&mut out, &format!("- {}", escape(&plain(note, true)))));
    }
    out
}

/// What the report is, in a line.
pub fn title(ranking: &Ranking) -> &'static str {
    if note::is_flow_check(ranking) { "Flow check, not a performance result" } else { "Which command to deploy" }
}

/// What the order is.
pub fn how(ranking: &Ranking) -> String {
    let options = &ranking.options;
    let gated = ranking.groups.iter().flat_map(|group| &group.ranked).any(|ranked| ranked.best.passed.is_some());
    let among = if gated { " among those that keep the SLA" } else { "" };
    let then = format!("output tok/s, lower {0} TTFT, lower {0} TPOT, fewer GPUs", options.statistic.name());
    let mut more = Vec::new();
    more.extend(options.confirmed_first.then_some("confirmed verdicts first"));
    more.extend(options.prefer_simple.then_some("the simplest first among those tied with the leader"));
    more.extend(options.allow_mixed.then_some("rows ranked together that differ"));
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    format!("Ranked by {}{among}, then {then}{more}.", options.by.unit())
}

fn combined(out: &mut String, ranking: &Ranking) {
    let combined = ranking.combined();
    if ranking.weights().is_empty() {
        return;
    }
    put(out, "\n## Over all scenarios\n");
    if combined.is_empty() {
        put(out, "No model, load mode and client has results in all of the weighted scenarios.");
    }
    for one in combined {
        let weights: Vec<String> =
            one.weights.iter().map(|(name, weight)| format!("{} {:.2}", escape(name), weight)).collect();
        put(
            out,
            &format!("Score = product of (value / best value) to the power of its weight: {}.\n", weights.join(", ")),
        );
        let mut head = vec!["Rank", "Framework", "Flags changed", "Score", "SLA"];
        let names: Vec<String> =
            one.weights.iter().map(|(name, _)| format!("{name}, {}", ranking.options.by.unit())).collect();
        let names: Vec<String> = names.iter().map(|name| cell(name)).collect();
        head.extend(names.iter().map(String::as_str));
        let rows = one.scores.iter().enumerate().map(|(i, score)| {
            let sla = match score.passed {
                Some(true) => "pass",
                Some(false) => "fail",
                None => "no SLA",
            };
            let changes = if score.changes.is_empty() { &score.candidate_id } else { &score.changes };
            let first = vec![
                (i + 1).to_string(),
                score.framework.clone(),
                changes.clone(),
                format!("{:.3}", score.score),
                sla.into(),
            ];
            first.into_iter().chain(score.values.iter().map(|value| number(Some(*value)))).collect()
        });
        table(out, &head, rows);
        if one.left_out > 0 {
            put(out, &format!("\n{} candidates have no result in some scenario and are left out.", one.left_out));
        }
    }
}

fn workload(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Workload and SLA\n");
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
        let loads = ordered(loads.into_iter().map(|(_, load)| load));
        let prompts =
            group.ranked.iter().take(20).flat_map(|ranked| std::iter::once(&ranked.best).chain(&ranked.others));
        let prompts = prompts.take(50).filter_map(|trial| trial.entry().at("/workload/num_prompts").as_u64());
        let prompts = ordered(prompts.map(|n| n.to_string()));
        let client = entry.text("/run/client");
        let client = if client.is_empty() { entry.text("/native/client") } else { client };
        Some(vec![
            note::group_title(ranking, group),
            length("input_len"),
            length("output_len"),
            prompts.join(", "),
            loads.join(", "),
            entry.text("/workload/endpoint"),
            client,
        ])
    });
    table(out, &head, rows);
    let limits = if ranking.limits.is_empty() { "none".into() } else { ranking.limits.join(", ") };
    put(out, &format!("\nSLA: {}.", escape(&limits)));
}

/// The distinct values in the order of their first appearance; more than a dozen as the first and the last.
pub fn ordered(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    kept.extend(values.filter(|value| !value.is_empty() && seen.insert(value.clone())));
    if kept.len() > 12 {
        kept = vec![format!("{} to {}, {} of them", kept[0], kept[kept.len() - 1], kept.len())];
    }
    kept
}

/// Framework, version, GPU, GPUs, driver, image, once each.
pub fn platforms(ranking: &Ranking) -> BTreeSet<[String; 6]> {
    let or_dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
    let shown = ranking.groups.iter().flat_map(|group| group.ranked.iter().take(200));
    shown
        .map(|ranked| {
            let entry = ranked.best.entry();
            let gpus = entry.keys.gpus.map_or("-".into(), |n| n.to_string());
            let [version, gpu, driver, image] =
                ["/framework_version", "/hardware/gpu_model", "/hardware/driver", "/environment/image"]
                    .map(|pointer| or_dash(entry.text(pointer)));
            [entry.framework.to_string(), version, gpu, gpus, driver, image]
        })
        .collect()
}

fn versions(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Hardware and versions\n");
    let rows = platforms(ranking).into_iter().map(|row| row.to_vec());
    table(out, &["Framework", "Version", "GPU", "GPUs", "Driver", "Image"], rows);
}

const METRICS: [&str; 8] =
    ["req/s", "Output tok/s", "Mean TTFT ms", "p99 TTFT ms", "Mean TPOT ms", "p99 TPOT ms", "Success", "SLA"];

fn metrics(trial: &Trial) -> impl Iterator<Item = String> {
    measured(trial).into_iter().chain([verdict(trial).to_string()])
}

fn words(trial: &Trial) -> [String; 3] {
    let entry = trial.entry();
    [entry.framework.to_string(), changes(entry), load(trial)]
}

fn best(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Best command by framework and scenario\n");
    let head: Vec<&str> = ["Scenario", "Framework", "Flags changed", "Load"].into_iter().chain(METRICS).collect();
    let rows = ranking.groups.iter().flat_map(|group| {
        group.best_of_frameworks().into_iter().map(move |ranked| {
            let first = std::iter::once(note::group_title(ranking, group)).chain(words(&ranked.best));
            first.chain(metrics(&ranked.best)).collect()
        })
    });
    table(out, &head, rows);
    put(out, "\nThe commands stand below. A framework whose best row fails the SLA has no command to deploy.");
}

fn across(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Across frameworks");
    for group in &ranking.groups {
        put(out, &format!("\n### {}\n", escape(&note::group_title(ranking, group))));
        let head: Vec<&str> =
            ["Rank", "Framework", "Flags changed", "Load"].into_iter().chain(METRICS).chain(["Candidate"]).collect();
        table_of(&mut *out, &head, group.ranked.iter(), |i, ranked| {
            let rank = if group.ties.members.contains(&i) && group.ties.members.len() > 1 {
                format!("{} (tied)", i + 1)
            } else {
                (i + 1).to_string()
            };
            let first = std::iter::once(rank).chain(words(&ranked.best));
            first.chain(metrics(&ranked.best)).chain([ranked.best.entry().candidate_id.to_string()]).collect()
        });
        if group.ranked.iter().any(|ranked| !ranked.others.is_empty()) {
            put(out, "\nThe other load points of the same candidates:\n");
            let head: Vec<&str> = ["Framework", "Flags changed", "Load"].into_iter().chain(METRICS).collect();
            let others = group.ranked.iter().flat_map(|ranked| &ranked.others);
            table_of(out, &head, others, |_, trial| words(trial).into_iter().chain(metrics(trial)).collect());
        }
    }
}

/// The most of all, and the most that keeps the SLA.
fn raw(out: &mut String, ranking: &Ranking) {
    if ranking.groups.iter().all(|group| group.ranked.iter().all(|ranked| ranked.best.passed.is_none())) {
        return;
    }
    put(out, "\n## Raw throughput, and what of it keeps the SLA\n");
    let unit = ranking.options.by.unit();
    let head = ["Scenario", "Framework", "Fastest of all", unit, "SLA", "Fastest that keeps the SLA", unit];
    let rows = ranking.groups.iter().flat_map(|group| {
        let title = note::group_title(ranking, group);
        group.best_of_frameworks().into_iter().map(move |first| {
            let framework = &first.best.entry().framework;
            let all = || {
                let own = group.ranked.iter().filter(move |ranked| ranked.best.entry().framework == *framework);
                own.flat_map(|ranked| std::iter::once(&ranked.best).chain(&ranked.others))
            };
            let most = |passing: bool| {
                let counted = all().filter(|trial| trial.keys.by.is_some() && (!passing || trial.passed == Some(true)));
                counted.reduce(|a, b| if b.keys.by > a.keys.by { b } else { a })
            };
            let name = |trial: Option<&Trial>| {
                trial.map_or("none".to_string(), |trial| {
                    let load = load(trial);
                    let at = if load.is_empty() { String::new() } else { format!(" at {load}") };
                    format!("{}{at}", changes(trial.entry()))
                })
            };
            let (fastest, passing) = (most(false), most(true));
            vec![
                title.clone(),
                framework.to_string(),
                name(fastest),
                number(fastest.and_then(|trial| trial.keys.by)),
                fastest.map_or("-", verdict).to_string(),
                name(passing),
                number(passing.and_then(|trial| trial.keys.by)),
            ]
        })
    });
    table(out, &head, rows);
}

/// What the command of a framework's best candidate is good for.
pub fn place(group: &Group, ranked: &Ranked) -> &'static str {
    let first = group.ranked.first().is_some_and(|first| std::ptr::eq(first, ranked));
    match &group.decision {
        Decision::Winner if first && (group.key.smoke || group.key.simulated) => "first in this flow check",
        Decision::Winner if first => "winner",
        Decision::Fastest if first => "fastest, no SLA given",
        _ if ranked.best.passed == Some(false) => "missed the SLA: not for deployment",
        _ => "best of its framework",
    }
}

fn commands(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Commands");
    for group in &ranking.groups {
        let title = note::group_title(ranking, group);
        for ranked in group.best_of_frameworks() {
            let entry = ranked.best.entry();
            let who = escape(&plain(&candidate(entry), false));
            put(out, &format!("\n{} ({}): {who}\n", escape(&title), place(group, ranked)));
            let texts = ["/server_command", "/benchmark_command"].map(|pointer| entry.text(pointer));
            fence(out, &texts.iter().filter(|t| !t.is_empty()).map(String::as_str).collect::<Vec<_>>().join("\n"));
        }
    }
}

fn rejected(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Tried and not selected\n");
    if ranking.rejected.is_empty() {
        return put(out, "Nothing failed, was skipped, or missed the SLA.");
    }
    put(out, &format!("{TRIED}\n"));
    let head = ["Framework", "Flags changed", "What", "Where", "Why", "Candidate"];
    let rows = ranking.rejected.iter().map(|r| {
        let place = if r.places.is_empty() { "everywhere".into() } else { r.places.join(", ") };
        let what = match r.entry.text("/failure_class") {
            class if class.is_empty() || class == r.how || r.entry.ok => r.how.clone(),
            class => format!("{} ({class})", r.how),
        };
        let id = r.entry.candidate_id.to_string();
        vec![r.entry.framework.to_string(), changes(&r.entry), what, place, r.why.clone(), id]
    });
    table(out, &head, rows);
    if ranking.rejected_more > 0 {
        put(out, &format!("\n{} more results stand in `--format csv` and `--format jsonl`.", ranking.rejected_more));
    }
}

/// Files of what is shown: the best of each framework, and what was not selected.
fn files(out: &mut String, ranking: &Ranking) {
    let best = ranking.groups.iter().flat_map(Group::best_of_frameworks).map(|ranked| ranked.best.entry());
    let shown: Vec<&Entry> = best.chain(ranking.rejected.iter().map(|r| &r.entry)).collect();
    let mut files: BTreeSet<[String; 3]> = BTreeSet::new();
    for entry in shown {
        for (role, path) in entry.at("/artifacts").as_object().into_iter().flatten() {
            if let Some(path) = path.as_str() {
                files.insert([entry.candidate_id.to_string(), role.clone(), path.to_string()]);
            }
        }
        let dataset = entry.text("/workload/dataset_path");
        if !dataset.is_empty() {
            files.insert(["workload".into(), "data set".into(), dataset]);
        }
    }
    if !files.is_empty() {
        put(out, "\n## Files\n");
        table(out, &["Candidate", "Role", "Path"], files.into_iter().map(|row| row.to_vec()));
    }
}
