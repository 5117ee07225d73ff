//! One candidate, explained: its rank and why, its runs, the limits with their headroom, and what to try next. As Markdown.

use std::collections::BTreeSet;

use super::columns::columns;
use super::md::{escape, put, table, terminals};
use super::text::{answer, candidate, commands, load, number, plain};
use super::{next, note};
use crate::base::error::{Error, Result};
use crate::metrics::compare::compare;
use crate::rank::{Entry, Group, Ranking, Trial};
use crate::rows::kinds::SlaTest;
use crate::rows::words::{CheckVerdict, Limit};

/// Maximum number of candidates that an error names.
const NAMED: usize = 8;

/// The explanation of the candidate with this name: its id, or its flags, each also after the framework.
///
/// # Errors
/// A name of no candidate, or of several.
pub fn explain(ranking: &Ranking, name: &str) -> Result<String> {
    let entry = find(ranking, name, "--explain")?;
    let mut out = String::new();
    put(&mut out, &format!("# {}\n", escape(&plain(&candidate(entry), true))));
    if entry.label() != *entry.candidate_id {
        put(&mut out, &format!("Candidate {}.", escape(&plain(&entry.candidate_id, false))));
    }
    for group in &ranking.groups {
        match group.ranked.iter().position(|ranked| ranked.best.entry().is_of(entry)) {
            Some(place) => ranked(&mut out, ranking, group, place),
            None => put(
                &mut out,
                &format!(
                    "\n## {}: not ranked\n\nNo result.",
                    escape(&plain(&note::group_title(ranking, group), false))
                ),
            ),
        }
    }
    let failed: Vec<String> = ranking.failed.iter().filter(|one| one.is_of(entry)).map(|one| failure(one)).collect();
    if !failed.is_empty() {
        put(&mut out, "\n## Runs without a result\n");
        failed.iter().for_each(|line| put(&mut out, &format!("- {}", escape(&plain(line, true)))));
    }
    let never: Vec<String> = entry.never_tried().map(|(knob, values)| format!("{knob} {values}")).collect();
    if !never.is_empty() {
        put(&mut out, &format!("\nNot tested in this search: {}.", escape(&plain(&never.join(", "), true))));
    }
    let blocks = commands(entry);
    if !blocks.is_empty() {
        put(&mut out, "\n## Commands\n");
        terminals(&mut out, &blocks);
    }
    Ok(out)
}

/// The candidate with a name that `flag` gives: its id, or its flags, each also after the framework.
///
/// # Errors
/// A name of no candidate, or of several.
pub fn find<'a>(ranking: &'a Ranking, name: &str, flag: &str) -> Result<&'a Entry> {
    let named = |entry: &&Entry| {
        let with_framework = |own: &str| format!("{} {own}", entry.framework);
        let (id, changes) = (&*entry.candidate_id, entry.changes());
        [id, &changes].iter().any(|own| !own.is_empty() && (*own == name || with_framework(own) == name))
    };
    let mut found: Vec<&Entry> = Vec::new();
    for entry in ranking.all().filter(named) {
        if !found.iter().any(|known| known.is_of(entry)) {
            found.push(entry);
        }
    }
    let list = |entries: &mut dyn Iterator<Item = &Entry>| {
        let names: BTreeSet<String> = entries.map(candidate).collect();
        let more = names.len().saturating_sub(NAMED);
        let first: Vec<String> = names.into_iter().take(NAMED).collect();
        format!("{}{}", first.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => {
            let why = format!("{flag} {name:?}: no such candidate; known: {}", list(&mut ranking.all()));
            Err(Error::new(why))
        }
        several => {
            let all = list(&mut several.iter().copied());
            Err(Error::new(format!("{flag} {name:?} names several candidates: {all}; name the framework too")))
        }
    }
}

fn failure(entry: &Entry) -> String {
    let place = match (entry.group.scenario.is_empty(), entry.load()) {
        (true, _) => "its server".to_string(),
        (false, load) if load.is_empty() => entry.group.scenario.clone(),
        (false, load) => format!("{} at {load}", entry.group.scenario),
    };
    let class = entry.failure_class();
    let class = if class.is_empty() { String::new() } else { format!(" ({class})") };
    format!("{place}: {}{class}: {}", entry.status(), entry.failure_reason())
}

/// What a ranking says about one of its candidates.
fn ranked(out: &mut String, ranking: &Ranking, group: &Group, place: usize) {
    let own = &group.ranked[place];
    let title = escape(&plain(&note::group_title(ranking, group), false));
    let (rank, of, sla) = (place + 1, group.ranked.len(), answer(own.best.passed()));
    put(out, &format!("\n## {title}: rank {rank} of {of}, {sla}\n"));
    put(out, &escape(&plain(&reason(ranking, group, place), true)));
    quality(own.best.entry()).iter().for_each(|line| put(out, &format!("\n{}", escape(&plain(line, true)))));
    let columns = columns(ranking);
    let titles: Vec<String> = columns.iter().map(|column| column.title(" ")).collect();
    let mut head = vec!["Load", "Runs"];
    head.extend(titles.iter().map(String::as_str));
    head.push("SLA");
    put(out, "");
    let row = |trial: &Trial| {
        let figures = columns.iter().map(|column| column.figure.shown(trial).1);
        let words = [load(trial), trial.repeats().to_string()].into_iter();
        words.chain(figures).chain([super::text::verdict(trial).to_string()]).collect()
    };
    table(out, &head, own.trials().map(row));
    let tests = pooled(ranking, &own.best);
    if !tests.is_empty() {
        put(out, &format!("\nLimits {}:\n", escape(&plain(&at(&own.best), false))));
        let head = ["Limit", "Value", "Threshold", "Headroom", "Requests", "Over the limit"];
        table(out, &head, tests.iter().map(test));
    }
    let mut steps = next::confirm(ranking, &own.best);
    if place == 0 {
        steps = next::steps(ranking, group);
    } else if own.best.passed() == Some(false) {
        steps.push("measure it at a lower load, or search the highest rate that meets the SLA (benchmark.qps)".into());
    } else if own.best.repeats() == 1 && group.ties.members.contains(&place) {
        steps.push("repeat it beside the leader: bench-expand PLAN --from RESULTS --repeats 2..5".into());
    }
    if !steps.is_empty() {
        put(out, "\nNext:\n");
        steps.iter().for_each(|step| put(out, &format!("- {}", escape(&plain(step, true)))));
    }
}

/// What the check of its answers says, and what became of its drafts.
fn quality(entry: &Entry) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(answers) = entry.answer_quality() {
        let agreement = answers.agreement.filter(|_| answers.verdict != CheckVerdict::NotChecked);
        let agreement =
            agreement.map(|share| format!("; {:.0} % of its greedy answers are its baseline's", 100.0 * share));
        lines.push(format!("Answers: {}, {}{}.", answers.verdict, answers.reason, agreement.unwrap_or_default()));
    }
    if entry.drafts() {
        let counted = entry.acceptance().map_or("an unknown number of".into(), |length| number(Some(length)));
        let forced = entry.forced_acceptance().map(|length| format!(", forced to {length}"));
        lines.push(format!("Drafts: {counted} output tokens per step{}.", forced.unwrap_or_default()));
    }
    lines
}

/// The tests of a load point: the value of the repeat with the least headroom, and the requests of all.
fn pooled(ranking: &Ranking, trial: &Trial) -> Vec<SlaTest> {
    let mut found: Vec<SlaTest> = Vec::new();
    for test in trial.entries().flat_map(|entry| entry.all_tests(&ranking.options)) {
        let Some(known) = found.iter_mut().find(|known| known.limit == test.limit) else {
            found.push(test);
            continue;
        };
        let sum = |a: Option<u32>, b: Option<u32>| a.map_or(b, |a| Some(a + b.unwrap_or_default()));
        let (n, over) = (sum(known.n, test.n), sum(known.over, test.over));
        let confirmed = [known.confirmed, test.confirmed].contains(&Some(true)).then_some(true).or(known.confirmed);
        if test.margin.unwrap_or(f64::INFINITY) < known.margin.unwrap_or(f64::INFINITY) {
            *known = test;
        }
        (known.n, known.over, known.confirmed) = (n, over, confirmed);
    }
    found
}

fn at(trial: &Trial) -> String {
    let load = trial.load();
    if load.is_empty() { "of this run".into() } else { format!("at {load}") }
}

fn test(test: &SlaTest) -> Vec<String> {
    let count = |n: Option<u32>| n.map_or("-".to_string(), |n| n.to_string());
    let headroom = match test.margin {
        Some(margin) if margin.is_finite() => format!("{:+.1} %", margin * 100.0),
        _ => "-".into(),
    };
    let needed = match (test.n, test.needed) {
        (Some(n), Some(needed)) if test.confirmed == Some(false) => format!("{n} of {needed} needed"),
        (n, _) => count(n),
    };
    let share = matches!(test.limit, Limit::SuccessRate | Limit::Attainment);
    let digits = |value: f64| if share { format!("{value}") } else { number(Some(value)) };
    let value = test.value.map_or("-".to_string(), digits);
    vec![test.limit.to_string(), value, digits(test.threshold), headroom, needed, count(test.over)]
}

/// Why a candidate has its place: the first criterion in which it differs from its neighbour.
fn reason(ranking: &Ranking, group: &Group, place: usize) -> String {
    let other = if place == 0 { 1 } else { place - 1 };
    let Some(neighbour) = group.ranked.get(other).map(|ranked| &ranked.best) else {
        return "It is the only candidate with a result.".into();
    };
    let own = &group.ranked[place].best;
    let who = candidate(neighbour.entry());
    let side = if place == 0 { "Ahead of" } else { "Behind" };
    let tied = |i: usize| group.ties.members.contains(&i);
    let (by, statistic) = (ranking.options.by.unit(), ranking.options.statistic.title());
    let pair = |own: Option<f64>, other: Option<f64>| format!("{} against {}", number(own), number(other));
    let (keys, others) = (own.keys(), neighbour.keys());
    if group.ties.by_latency && tied(place) && tied(other) {
        let ttft = pair(keys.ttft, others.ttft);
        return format!(
            "{side} {who} by latency: their throughputs are within noise at the same load; {statistic} TTFT {ttft} ms."
        );
    }
    let [a, b] = [own, neighbour].map(|trial| trial.place(&ranking.options));
    let noise = compare(&own.values(), &neighbour.values()).is_some_and(|comparison| comparison.tied());
    let noise = if noise { ", within noise" } else { "" };
    let what = match a.iter().zip(&b).position(|(a, b)| a != b) {
        None => "by name only: all criteria are equal".to_string(),
        Some(0) => format!("by the SLA: {} against {}", answer(own.passed()), answer(neighbour.passed())),
        Some(1) => format!("by throughput: {} {by}{noise}", pair(keys.by, others.by)),
        Some(2) => format!("by output tokens: {} tok/s", pair(keys.output, others.output)),
        Some(3) => format!("by {statistic} TTFT: {} ms", pair(keys.ttft, others.ttft)),
        Some(4) => format!("by {statistic} TPOT: {} ms", pair(keys.tpot, others.tpot)),
        Some(_) => format!("by GPUs: {}", pair(keys.gpus, others.gpus)),
    };
    format!("{side} {who} {what}.")
}
