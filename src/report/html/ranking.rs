//! A group: its candidates in order, and its plots.

use super::escape::{escape, line};
use super::table::{HtmlCell, HtmlRow, table};
use super::{knobs, margins, pareto, spread, throughput, top};
use crate::rank::{Decision, Group, RankBy, RankedCandidate, Ranking, Trial};
use crate::report::columns::columns;
use crate::report::text::load;
use crate::report::{markdown, note};

/// The verdict on the SLA, with a symbol.
pub fn verdict(trial: &Trial) -> HtmlCell {
    let sign = match (trial.passed(), trial.unconfirmed()) {
        (Some(true), false) => "✓",
        (Some(true), true) => "?",
        (Some(false), _) => "✗",
        (None, _) => "–",
    };
    HtmlCell::text(&format!("{sign} {}", crate::report::text::verdict(trial)))
}

/// Names of the columns of [`cells`].
pub fn head(ranking: &Ranking) -> Vec<String> {
    let by = ranking.options.by;
    let mut head: Vec<String> = ["Framework", "Flags changed", "Load", "SLA"].map(String::from).into();
    head.extend((by != RankBy::REQUESTS).then(|| by.unit().to_string()));
    head.extend(columns(ranking).iter().map(|column| column.title(", ")));
    head.push("GPUs".into());
    head
}

/// The table row of a trial; `chip` is shown beside the framework.
pub fn cells(trial: &Trial, ranking: &Ranking, chip: &str) -> Vec<HtmlCell> {
    let entry = trial.entry();
    let chip = if chip.is_empty() { String::new() } else { format!(" <span class=\"chip\">{}</span>", escape(chip)) };
    let id = escape(&crate::report::text::plain(&entry.candidate_id, false));
    let name = format!("<span title=\"{id}\">{}</span>{chip}", line(&entry.framework));
    let mut cells =
        vec![HtmlCell::html(name), HtmlCell::text(&entry.label()), HtmlCell::text(&load(trial)), verdict(trial)];
    cells.extend((ranking.options.by != RankBy::REQUESTS).then(|| HtmlCell::number(trial.keys().by)));
    cells.extend(columns(ranking).into_iter().map(|column| {
        let (value, text) = column.figure.shown(trial);
        HtmlCell::shown(value, &text)
    }));
    let gpus = trial.keys().gpus;
    cells.push(HtmlCell::shown(gpus, &gpus.map_or("-".into(), |n| n.to_string())));
    cells
}

fn class(trial: &Trial, first: bool, tied: bool) -> &'static str {
    match trial.passed() {
        _ if first => "win",
        Some(false) => "miss",
        _ if tied => "tied",
        _ => "",
    }
}

fn main_table(ranking: &Ranking, group: &Group, title: &str) -> String {
    let head: Vec<String> = std::iter::once("Rank".to_string()).chain(head(ranking)).collect();
    let wins = !matches!(group.decision, Decision::None { .. });
    let row = |i: usize, ranked: &RankedCandidate| {
        let tied = group.ties.members.len() > 1 && group.ties.members.contains(&i);
        let first = i == 0 && wins;
        let chip = match (first, tied) {
            // The sign stays with the word behind it.
            (true, _) => format!("★\u{a0}{}", markdown::place(group, ranked)),
            (_, true) => "=\u{a0}tied".to_string(),
            _ => String::new(),
        };
        let place = u32::try_from(i + 1).map_or(f64::MAX, f64::from);
        let rank = std::iter::once(HtmlCell::keyed(place, (i + 1).to_string()));
        HtmlRow {
            class: class(&ranked.best, first, tied),
            cells: rank.chain(cells(&ranked.best, ranking, &chip)).collect(),
        }
    };
    table(&format!("Ranking: {title}"), &head, group.ranked.iter(), row)
}

fn others(ranking: &Ranking, group: &Group, title: &str) -> String {
    let count: usize = group.ranked.iter().map(|ranked| ranked.others.len()).sum();
    if count == 0 {
        return String::new();
    }
    let head: Vec<String> = std::iter::once("Rank".to_string()).chain(head(ranking)).collect();
    let all = group.ranked.iter().enumerate();
    let all = all.flat_map(|(i, ranked)| ranked.others.iter().map(move |trial| (i, trial)));
    let row = |_: usize, (i, trial): (usize, &Trial)| {
        let place = u32::try_from(i + 1).map_or(f64::MAX, f64::from);
        let rank = std::iter::once(HtmlCell::keyed(place, (i + 1).to_string()));
        HtmlRow { class: class(trial, false, false), cells: rank.chain(cells(trial, ranking, "")).collect() }
    };
    let name = format!("Other load points: {title}");
    format!(
        "<details><summary>{count} other load points of the same candidates</summary>\n{}</details>\n",
        table(&name, &head, all, row)
    )
}

/// The section with all groups.
pub fn section(ranking: &Ranking) -> String {
    if ranking.groups.is_empty() {
        return String::new();
    }
    let mut out = format!("<section id=\"ranking\"><h2>Rankings</h2>\n<p>{}</p>\n", line(&markdown::how(ranking)));
    for (i, group) in ranking.groups.iter().enumerate() {
        let title = note::group_title(ranking, group);
        out.push_str(&format!("<section id=\"group-{i}\"><h3>{}</h3>\n", line(&title)));
        let labels = top::labels(group);
        if !labels.is_empty() {
            out.push_str(&format!("<p class=\"badges\">{labels}</p>\n"));
        }
        out.push_str(&main_table(ranking, group, &title));
        out.push_str(&others(ranking, group, &title));
        if !group.ranked.is_empty() {
            let options = &ranking.options;
            let plots = [
                throughput::plot(group, options),
                pareto::plot(group),
                spread::plot(group, options),
                margins::plot(group, options),
                knobs::plot(group, options),
            ];
            out.push_str(&format!("<div class=\"plots\">\n{}</div>\n", plots.concat()));
        }
        out.push_str("</section>\n");
    }
    out.push_str("</section>\n");
    out
}
