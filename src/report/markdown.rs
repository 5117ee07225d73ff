//! The report as Markdown, with the sections of the source document's output contract.

use std::collections::BTreeSet;

use super::columns::{Column, columns};
use super::md::{MOST_ROWS, cell, escape, put, table, table_of, terminals};
use super::text::{BIND, NO_COMMAND, answer, candidate, commands as commands_of, load, number, plain, verdict};
use super::{Report, capacity, caveat, facts, handoff, note};
use crate::rank::{Decision, Group, RankedCandidate, Ranking, Score, Trial};

/// Maximum number of rows in the table of candidates that were not selected.
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
    if let Some(unfinished) = &report.unfinished {
        put(&mut out, &format!("{}\n", unfinished.sentence()));
    }
    put(&mut out, &format!("# {}\n", escape(&plain(&note::headline(ranking), true))));
    let title = title(ranking);
    put(&mut out, &format!("{title}{}{models}.\n", if models.is_empty() { "" } else { ": " }));
    for line in note::missing(ranking) {
        put(&mut out, &format!("- {}", escape(&plain(&line, true))));
    }
    for group in &ranking.groups {
        let line = format!("{}: {}.", note::group_title(ranking, group), note::decision(ranking, group));
        put(&mut out, &format!("- {}", escape(&plain(&line, true))));
    }
    if ranking.groups.is_empty() {
        put(&mut out, &format!("- {} See \"Tried and not selected\".", escape(&plain(&note::nothing(ranking), true))));
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
        caveats.iter().for_each(|note| put(&mut out, &format!("- {}", escape(&plain(&note.to_string(), true)))));
    }
    out
}

/// The title of the report.
pub fn title(ranking: &Ranking) -> &'static str {
    if !ranking.measured() { "Smoke test, not a benchmark" } else { "Which command to deploy" }
}

/// How candidates are ordered.
pub fn how(ranking: &Ranking) -> String {
    let options = &ranking.options;
    let gated = ranking.groups.iter().flat_map(|group| &group.ranked).any(|ranked| ranked.best.passed().is_some());
    let among = if gated { " among candidates that meet the SLA" } else { "" };
    let then = format!("output tok/s, lower {0} TTFT, lower {0} TPOT, fewer GPUs", options.statistic);
    let mut more = Vec::new();
    more.extend(options.confirmed_first.then_some("confirmed verdicts first"));
    more.extend(options.prefer_simple.then_some("simplest first among those tied with the leader"));
    more.extend(options.allow_mixed.then_some("rows that differ ranked together"));
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    let noise = if options.prefer_simple { "" } else { " Throughputs within noise at the same load count as equal." };
    format!("Ranked by {}{among}, then by {then}{more}.{noise}", options.by.unit())
}

fn combined(out: &mut String, ranking: &Ranking) {
    let combined = ranking.combined();
    if ranking.weights().is_empty() {
        return;
    }
    put(out, "\n## Over all scenarios\n");
    if combined.is_empty() {
        put(out, "No model, load mode and client has results in all weighted scenarios.");
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
        let row = |i: usize, score: &Score| {
            let sla = answer(score.passed);
            let first = [
                (i + 1).to_string(),
                score.framework.clone(),
                score.name().to_string(),
                format!("{:.3}", score.score),
                sla.into(),
            ];
            first.into_iter().chain(score.values.iter().map(|value| number(Some(*value)))).collect()
        };
        table_of(out, &head, one.scores.iter(), row);
        if one.left_out > 0 {
            put(out, &format!("\n{} candidates without a result in every scenario are omitted.", one.left_out));
        }
    }
}

fn workload(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Workload and SLA\n");
    table(out, &facts::WORKLOAD, facts::workload(ranking).map(Vec::from));
    let limits = if ranking.limits.is_empty() { "none".into() } else { ranking.limits.join(", ") };
    put(out, &format!("\nSLA: {}.", escape(&limits)));
}

fn versions(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Hardware and versions\n");
    table(out, &facts::PLATFORM, facts::platforms(ranking).into_iter().map(Vec::from));
}

/// Headings and cells of a trial's numbers, the verdict last.
struct FigureColumns(Vec<Column>);

impl FigureColumns {
    fn head(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|column| column.title(" ")).chain(["SLA".to_string()])
    }

    fn cells(&self, trial: &Trial) -> impl Iterator<Item = String> {
        self.0.iter().map(|column| column.figure.shown(trial).1).chain([verdict(trial).to_string()])
    }
}

/// A header row of a table.
fn strs(head: &[String]) -> Vec<&str> {
    head.iter().map(String::as_str).collect()
}

fn words(trial: &Trial) -> [String; 3] {
    let entry = trial.entry();
    [entry.framework.to_string(), entry.label(), load(trial)]
}

fn best(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Best command by framework and scenario\n");
    let numbers = FigureColumns(columns(ranking));
    let head: Vec<String> = ["Scenario", "Framework", "Flags changed", "Load"]
        .map(String::from)
        .into_iter()
        .chain(numbers.head())
        .collect();
    let numbers = &numbers;
    let rows = ranking.groups.iter().flat_map(|group| {
        group.best_of_frameworks().into_iter().map(move |ranked| {
            let first = std::iter::once(note::group_title(ranking, group)).chain(words(&ranked.best));
            first.chain(numbers.cells(&ranked.best)).collect()
        })
    });
    table(out, &strs(&head), rows);
    put(out, "\nCommands are below. Those that missed the SLA are marked and not for deployment.");
}

fn across(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Across frameworks");
    let numbers = FigureColumns(columns(ranking));
    for group in &ranking.groups {
        put(out, &format!("\n### {}\n", escape(&note::group_title(ranking, group))));
        // The plan may leave the number of GPUs open: then it has its own column.
        let gpus = |ranked: &RankedCandidate| ranked.best.keys().gpus;
        let some = || group.ranked.iter().take(MOST_ROWS);
        let varied = some().any(|ranked| gpus(ranked) != gpus(&group.ranked[0]));
        let last = varied.then_some("GPUs").into_iter().chain(["Candidate"]).map(String::from);
        let words_of = ["Rank", "Framework", "Flags changed", "Load"].map(String::from);
        let head: Vec<String> = words_of.into_iter().chain(numbers.head()).chain(last).collect();
        table_of(&mut *out, &strs(&head), group.ranked.iter(), |i, ranked| {
            let rank = if group.ties.members.contains(&i) && group.ties.members.len() > 1 {
                format!("{} (tied)", i + 1)
            } else {
                (i + 1).to_string()
            };
            let first = std::iter::once(rank).chain(words(&ranked.best));
            let gpus = varied.then(|| gpus(ranked).map_or("-".into(), |n| n.to_string()));
            let last = gpus.into_iter().chain([ranked.best.entry().candidate_id.to_string()]);
            first.chain(numbers.cells(&ranked.best)).chain(last).collect()
        });
        if group.ranked.iter().any(|ranked| !ranked.others.is_empty()) {
            put(out, "\nThe other load points of the same candidates:\n");
            let words_of = ["Framework", "Flags changed", "Load"].map(String::from);
            let head: Vec<String> = words_of.into_iter().chain(numbers.head()).collect();
            let others = group.ranked.iter().flat_map(|ranked| &ranked.others);
            table_of(out, &strs(&head), others, |_, trial| {
                words(trial).into_iter().chain(numbers.cells(trial)).collect()
            });
        }
    }
}

/// The highest throughput of all, and the highest that meets the SLA.
fn raw(out: &mut String, ranking: &Ranking) {
    let raw = facts::raw(ranking);
    if raw.is_empty() {
        return;
    }
    put(out, "\n## Raw and SLA-compliant throughput\n");
    let value = |trial: Option<&Trial>| number(trial.and_then(|trial| trial.keys().by));
    let rows = raw.into_iter().map(|raw| {
        vec![
            raw.title,
            raw.framework.to_string(),
            facts::trial_name(raw.fastest),
            value(raw.fastest),
            raw.fastest.map_or("-", verdict).to_string(),
            facts::trial_name(raw.passing),
            value(raw.passing),
        ]
    });
    table(out, &facts::raw_head(ranking), rows);
}

/// What a framework's best candidate is called.
pub fn place(group: &Group, ranked: &RankedCandidate) -> &'static str {
    let first = group.ranked.first().is_some_and(|first| std::ptr::eq(first, ranked));
    match &group.decision {
        Decision::Winner if first && (group.key.smoke || group.key.simulated) => {
            "fastest in this smoke test, not a benchmark"
        }
        Decision::Winner if first && !group.missing.is_empty() => "provisional winner",
        Decision::Winner if first => "winner",
        Decision::Fastest if first => "fastest, no SLA given",
        _ if ranked.best.passed() == Some(false) => "missed the SLA: not for deployment",
        _ if group.simplest_tied().is_some_and(|simplest| std::ptr::eq(simplest, ranked)) => {
            "simplest of those tied with the first"
        }
        _ => "best of its framework",
    }
}

fn commands(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Commands");
    if !ranking.groups.is_empty() {
        put(out, &format!("\n{BIND}"));
    }
    for group in &ranking.groups {
        let title = note::group_title(ranking, group);
        for ranked in group.with_commands() {
            let entry = ranked.best.entry();
            let who = escape(&plain(&candidate(entry), false));
            put(out, &format!("\n{} ({}): {who}\n", escape(&title), place(group, ranked)));
            match commands_of(entry) {
                none if none.is_empty() => put(out, &format!("The row has no command: {}", escape(NO_COMMAND))),
                commands => terminals(out, &commands),
            }
        }
    }
}

fn rejected(out: &mut String, ranking: &Ranking) {
    put(out, "\n## Tried and not selected\n");
    if ranking.rejected.is_empty() {
        return put(out, "Nothing failed, was skipped, or missed the SLA.");
    }
    put(out, &format!("{TRIED}\n"));
    table(out, &facts::REJECTED, facts::rejected(ranking).map(Vec::from));
    if ranking.rejected_more > 0 {
        put(out, &format!("\n{} more results: use `--format csv` or `--format jsonl`.", ranking.rejected_more));
    }
}

fn files(out: &mut String, ranking: &Ranking) {
    let files = facts::files(ranking);
    if !files.is_empty() {
        put(out, "\n## Files\n");
        table(out, &["Candidate", "Role", "Path"], files.into_iter().map(Vec::from));
    }
}
