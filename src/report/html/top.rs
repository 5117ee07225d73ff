//! The decision: for each scenario the command to deploy, and how certain it is.

use super::escape::{breakable, command, line};
use crate::rank::{CombinedRanking, Decision, Group, Ranking};
use crate::report::columns::columns;
use crate::report::note;
use crate::report::text::{NO_COMMAND, candidate};

/// A badge with a symbol, so that its meaning does not depend on colour.
pub fn badge(class: &str, sign: &str, words: &str) -> String {
    format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign}</span> {words}</span>")
}

/// A command to copy.
pub fn box_of(text: &str, name: &str) -> String {
    let button = "<button type=\"button\" class=\"copy\" hidden>Copy</button>";
    format!(
        "<div class=\"command\">{button}<pre tabindex=\"0\" aria-label=\"{}\"><code>{}</code></pre></div>\n",
        line(name),
        command(text)
    )
}

/// Warnings about a group.
pub fn labels(group: &Group) -> String {
    let mut out = String::new();
    if group.key.smoke {
        out.push_str(&badge("warn", "⚠", "Smoke test, not a benchmark"));
    }
    if group.key.simulated {
        out.push_str(&badge("warn", "⚠", "Simulated engine"));
    }
    out
}

fn verdict(ranking: &Ranking, group: &Group) -> String {
    let flow = group.key.smoke || group.key.simulated;
    let Some(first) = group.ranked.first() else { return badge("none", "–", "No results") };
    let mut out = match (&group.decision, first.best.unconfirmed()) {
        (Decision::Winner, true) => badge("warn", "?", "Meets the SLA, not confirmed"),
        (Decision::Winner, false) => badge("good", "✓", "Meets the SLA"),
        (Decision::Fastest, _) => badge("none", "–", "No SLA given"),
        (Decision::None { .. }, _) => badge("bad", "✗", "Nothing meets the SLA"),
    };
    let lacking = match (group.missing.is_empty(), group.frameworks().len() > 1) {
        (true, _) => matches!(group.decision, Decision::Winner) && !flow && !ranking.provisional().is_empty(),
        (false, true) => true,
        (false, false) => {
            out.push_str(&badge("bad", "!", "No comparison"));
            true
        }
    };
    if lacking {
        out.push_str(&badge("warn", "…", "Provisional"));
    }
    if group.ties.members.len() > 1 && !matches!(group.decision, Decision::None { .. }) {
        out.push_str(&badge("none", "=", &format!("{}-way tie", group.ties.members.len())));
    }
    out
}

/// A sentence, with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map_or(String::new(), |c| c.to_uppercase().collect());
    line(&format!("{first}{}.", chars.as_str()))
}

fn numbers(ranking: &Ranking, group: &Group) -> String {
    let Some(first) = group.ranked.first() else { return String::new() };
    // The page shows the verdict elsewhere.
    let shown = columns(ranking).into_iter().filter(|column| column.priority < 6);
    let items: String = shown
        .map(|column| (column.figure.shown(&first.best).1, column))
        .filter(|(value, _)| value != "-")
        .map(|(value, column)| {
            format!(
                "<div><dt>{}</dt><dd>{}<small> {}</small></dd></div>",
                line(&column.heading),
                line(&value),
                column.unit
            )
        })
        .collect();
    if items.is_empty() { items } else { format!("<dl class=\"numbers\">{items}</dl>\n") }
}

fn card(ranking: &Ranking, group: &Group, i: usize) -> String {
    let title = note::group_title(ranking, group);
    let (lead, answer) = (note::lead(group), note::answer(ranking, group));
    let mut out = format!("<article class=\"card\"><h3>{}</h3>\n", line(&title));
    out.push_str(&format!("<p class=\"badges\">{}{}</p>\n", verdict(ranking, group), labels(group)));
    for caption in note::lacking(&group.missing) {
        out.push_str(&format!("<p class=\"nothing\">{}</p>\n", line(&caption)));
    }
    out.push_str(&format!("<p class=\"answer\">{}</p>\n", breakable(&sentence(&format!("{lead}{}", answer.main)))));
    let text = group.ranked.first().map(|first| first.best.entry().commands().deploy()).unwrap_or_default();
    let flow = group.key.smoke || group.key.simulated;
    match (&group.decision, text.is_empty()) {
        (Decision::None { .. }, _) => {
            out.push_str("<p class=\"nothing\">No command to deploy: nothing meets the SLA.</p>\n")
        }
        (_, true) => {
            out.push_str(&format!("<p class=\"nothing\">The row has no command: {}</p>\n", line(NO_COMMAND)));
        }
        (_, false) => {
            let what = match (flow, group.missing.is_empty()) {
                (true, _) => "Fastest command (not a recommendation):",
                (false, true) => "Command:",
                (false, false) => "Command of the provisional winner:",
            };
            out.push_str(&format!("<p class=\"what\">{what}</p>\n{}", box_of(text, &format!("Command for {title}"))));
            let simplest = group.simplest_tied().map(|simplest| simplest.best.entry());
            if let Some(entry) = simplest.filter(|entry| !entry.commands().deploy().is_empty()) {
                let what = line(&format!("Simplest of those tied, {}:", candidate(entry)));
                let shown = box_of(entry.commands().deploy(), &format!("Simplest command for {title}"));
                out.push_str(&format!("<p class=\"what\">{what}</p>\n{shown}"));
            }
        }
    }
    if !matches!(group.decision, Decision::None { .. }) {
        out.push_str(&numbers(ranking, group));
    }
    let rest = answer.rest();
    if !rest.is_empty() {
        out.push_str(&format!("<p class=\"rest\">{}</p>\n", sentence(&rest.join("; "))));
    }
    out.push_str(&format!("<p class=\"go\"><a href=\"#group-{i}\">Ranking and plots</a></p></article>\n"));
    out
}

/// The decision over all scenarios, with the command of the first candidate.
fn over_all(ranking: &Ranking, combined: &CombinedRanking) -> String {
    let Some(first) = combined.scores.first() else { return String::new() };
    let of = |group: &&Group| combined.weights.iter().any(|(name, _)| *name == group.key.scenario);
    let ranked =
        ranking.groups.iter().filter(of).flat_map(|group| group.ranked.iter().map(move |ranked| (group, ranked)));
    // Several rankings of one load mode differ in model or client: then the throughput shows which row is meant.
    let found = ranked.filter(|(group, _)| group.key.mode == combined.mode).find(|(group, ranked)| {
        let entry = ranked.best.entry();
        let value = combined
            .weights
            .iter()
            .position(|(name, _)| *name == group.key.scenario)
            .map(|i| first.values.get(i).copied());
        *entry.framework == *first.framework
            && *entry.candidate_id == *first.candidate_id
            && value == Some(ranked.best.keys().by)
    });
    let Some((group, ranked)) = found else { return String::new() };
    let flow = group.key.smoke || group.key.simulated;
    let lacking = ranking.groups.iter().filter(of).any(|group| !group.missing.is_empty());
    let provisional = match lacking || (!flow && !ranking.provisional().is_empty()) {
        true => badge("warn", "…", "Provisional"),
        false => String::new(),
    };
    let (class, sign, words) = match first.passed {
        Some(true) => ("good", "✓", "Meets every SLA"),
        Some(false) => ("bad", "✗", "Misses an SLA"),
        None => ("none", "–", "Some scenarios have no SLA"),
    };
    let weights: Vec<String> = combined.weights.iter().map(|(name, weight)| format!("{name} {weight:.2}")).collect();
    let text = ranked.best.entry().commands().deploy();
    let shown = match first.passed {
        Some(false) => "<p class=\"nothing\">No command to deploy: no candidate meets every SLA.</p>\n".to_string(),
        _ if text.is_empty() => String::new(),
        _ => {
            let flow = group.key.smoke || group.key.simulated;
            let what = if flow { "Fastest command (not a recommendation):" } else { "Command:" };
            format!("<p class=\"what\">{what}</p>\n{}", box_of(text, "Command over all scenarios"))
        }
    };
    format!(
        "<article class=\"card all\"><h3>Over all scenarios ({})</h3>\n<p class=\"badges\">{}{provisional}{}</p>\n<p class=\"answer\">{}</p>\n{shown}\
         <p class=\"go\"><a href=\"#combined\">Scores</a></p></article>\n",
        line(&weights.join(", ")),
        badge(class, sign, words),
        labels(group),
        sentence(&format!("best weighted score: {} ({:.3} of 1)", candidate(ranked.best.entry()), first.score)),
    )
}

/// The top of the page.
pub fn section(ranking: &Ranking) -> String {
    let mut out = String::from("<section id=\"decision\"><h2>Decision</h2>\n<div class=\"cards\">\n");
    ranking.combined().iter().for_each(|combined| out.push_str(&over_all(ranking, combined)));
    for (i, group) in ranking.groups.iter().enumerate() {
        out.push_str(&card(ranking, group, i));
    }
    if ranking.groups.is_empty() {
        let badge = badge("bad", "✗", "No results");
        let why: String = note::missing(ranking)
            .iter()
            .map(|caption| format!("<p class=\"nothing\">{}</p>\n", line(caption)))
            .collect();
        out.push_str(&format!(
            "<article class=\"card\"><p class=\"badges\">{badge}</p>{why}<p class=\"answer\">{} See <a \
             href=\"#tried\">Tried and not selected</a>.</p></article>\n",
            line(&note::nothing(ranking))
        ));
    }
    out.push_str("</div></section>\n");
    out
}
