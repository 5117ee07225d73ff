//! The ranking as terminal tables, fitted to the width, with the winner marked.

use std::collections::BTreeSet;
use std::sync::Arc;

use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Modify, Style};

use super::columns::{Column, columns};
use super::text::{candidate, load, plain, verdict, whole, wrap};
use super::{Report, caveat, note};
use crate::rank::{Decision, Group, RankedCandidate, Ranking, RejectedCandidate, Trial};

const BOLD_GREEN: &str = "\u{1b}[1;32m";
const RESET: &str = "\u{1b}[0m";
/// The text columns of the ranking; all others are numeric. The last one is absent if the load is in the title.
const WORDS: [&str; 3] = ["", "candidate", "load"];
/// The column that wraps if the table is too wide.
const CANDIDATE: usize = 1;
/// Minimum width of that column.
const NARROWEST: usize = 16;

/// How the tables are drawn.
#[derive(Debug, Clone, Copy)]
pub struct TableStyle {
    /// Maximum width of a line, in columns; `None` for no limit.
    pub width: Option<usize>,
    /// Print the winner in colour.
    pub colour: bool,
}

/// Maximum number of lines of a ranking.
const MOST: usize = 100;

/// The whole report: the verdict first, then one table, the commands, what was not selected, and the caveats. With several
/// rankings the table has the best candidate of each framework.
#[must_use]
pub fn table(report: &Report, look: TableStyle) -> String {
    let ranking = report.ranking;
    let mut out = String::new();
    if let Some(unfinished) = &report.unfinished {
        out.push_str(&wrap(&unfinished.sentence(), look.width, ""));
        out.push('\n');
    }
    let mut first = vec![note::headline(ranking)];
    first.extend(note::missing(ranking));
    first.iter().for_each(|line| out.push_str(&wrap(&plain(line, true), look.width, "")));
    out.push('\n');
    if !ranking.groups.is_empty() {
        out.push_str(&rankings(ranking, look));
        out.push('\n');
        out.push_str(&commands(ranking, look));
    }
    for one in ranking.combined() {
        let weights: Vec<String> = one.weights.iter().map(|(name, weight)| format!("{name} {weight:.2}")).collect();
        let first = one.scores.first();
        let best = first.map_or("no candidate".to_string(), |score| {
            format!("{} {}, score {:.3}", score.framework, score.changes, score.score)
        });
        out.push_str(&wrap(
            &plain(&format!("Over all scenarios ({}): {best}", weights.join(", ")), true),
            look.width,
            "",
        ));
        out.push('\n');
    }
    if !ranking.rejected.is_empty() {
        out.push_str("Tried and not selected\n");
        let first = &ranking.rejected[..ranking.rejected.len().min(MOST)];
        // Candidates that failed for one reason have it once.
        let reason = |r: &RejectedCandidate| (Arc::clone(&r.entry.framework), r.how.clone(), r.why.clone());
        for alike in first.chunk_by(|a, b| reason(a) == reason(b)) {
            out.push_str(&rejected(alike, ranking.groups.len() > 1, look));
        }
        let more = ranking.rejected.len().saturating_sub(MOST) + ranking.rejected_more;
        if more > 0 {
            out.push_str(&format!("  {more} more: --format csv\n"));
        }
        out.push('\n');
    }
    let (titles, whole) = short_caveats(ranking);
    if !titles.is_empty() {
        let line = format!("Caveats, explained by --format md: {}.", titles.join(", "));
        out.push_str(&wrap(&plain(&line, true), look.width, ""));
    }
    whole.iter().for_each(|note| out.push_str(&wrap(&plain(note, true), look.width, "")));
    out
}

/// Candidates that were not selected for one reason: each with its places, or `brief`ly on one line.
fn rejected(alike: &[RejectedCandidate], in_brief: bool, look: TableStyle) -> String {
    let Some(first) = alike.first() else { return String::new() };
    let places = |r: &RejectedCandidate| r.places.join(", ");
    if in_brief {
        let more = if alike.len() > 1 { format!(" and {} more", alike.len() - 1) } else { String::new() };
        let place = if alike.len() > 1 { String::new() } else { places(first) };
        let place = if place.is_empty() { place } else { format!(" ({place})") };
        let line = format!("{}{more}: {}: {}{place}", candidate(&first.entry), first.how, first.why);
        return brief(&line, look);
    }
    let each = |r: &RejectedCandidate| {
        let place = if r.places.is_empty() { String::new() } else { format!(", {}", places(r)) };
        wrap(&plain(&format!("{}: {}{place}", candidate(&r.entry), r.how), true), look.width, "  ")
    };
    let names: String = alike.iter().map(each).collect();
    names + &wrap(&plain(&first.why, true), look.width, "      ")
}

/// As much of a text as fits on two lines of the terminal: the cause is seldom in the first words.
fn brief(text: &str, look: TableStyle) -> String {
    let room = look.width.unwrap_or(140).saturating_sub(7);
    let wrapped = wrap(&plain(text, true), Some(room), "");
    let mut lines = wrapped.lines();
    let (first, second) = (lines.next().unwrap_or_default(), lines.next());
    let more = if lines.next().is_some() { "…" } else { "" };
    let second = second.map_or(String::new(), |second| format!("      {second}{more}\n"));
    format!("  {first}\n{second}")
}

/// With several rankings the titles of caveats that have one, so that all fits a screen, and the others; otherwise all.
fn short_caveats(ranking: &Ranking) -> (Vec<&'static str>, Vec<String>) {
    let several = ranking.groups.len() > 1;
    let (mut titles, mut whole) = (Vec::new(), Vec::new());
    for caveat in caveat::caveats(ranking) {
        match caveat.title.filter(|_| several) {
            Some(title) if titles.contains(&title) => {}
            Some(title) => titles.push(title),
            // The titles of the rankings show how they differ.
            None if several && caveat.separates => {}
            None => whole.push(caveat.to_string()),
        }
    }
    (titles, whole)
}

/// The commands of the winners and of the simplest candidates tied with them, each once; with several rankings the command that
/// wins most of them.
fn commands(ranking: &Ranking, look: TableStyle) -> String {
    let mut shown: Vec<(String, String, usize)> = Vec::new();
    let mut without: Vec<String> = Vec::new();
    for group in ranking.groups.iter().filter(|group| !matches!(group.decision, Decision::None { .. })) {
        for place in std::iter::once(0).chain(group.ties.simpler) {
            let entry = group.ranked[place].best.entry();
            let (name, command) = (candidate(entry), entry.commands().deploy().to_string());
            match command.is_empty() {
                true if !without.contains(&name) => without.push(name),
                false => match shown.iter_mut().find(|(_, other, _)| *other == command) {
                    Some((.., times)) => *times += usize::from(place == 0),
                    None => shown.push((name, command, usize::from(place == 0))),
                },
                true => {}
            }
        }
    }
    let mut out = String::new();
    let all = shown.len();
    if ranking.groups.len() > 1 {
        shown.sort_by_key(|(.., times)| std::cmp::Reverse(*times));
        shown.truncate(1);
    }
    for (name, command, _) in &shown {
        out.push_str(&wrap(&plain(&format!("{name}:"), true), look.width, ""));
        // On one line, so that it can be copied.
        out.push_str(&format!("    {}\n", whole(command)));
    }
    match all - shown.len() {
        0 => {}
        1 => out.push_str("The command of 1 more: --format md\n"),
        more => out.push_str(&format!("The commands of {more} more: --format md\n")),
    }
    if !without.is_empty() {
        let text = format!("No command in the rows of {}: {}", note::list(&without), super::text::NO_COMMAND);
        out.push_str(&wrap(&plain(&text, true), look.width, ""));
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// The lines of one ranking in the table.
struct GroupRows {
    /// Its title, with the load if all rows have the same.
    title: String,
    rows: Vec<Vec<String>>,
    /// What follows the rows: the runner-up, ties, candidates that are not shown.
    notes: Vec<String>,
}

/// All rankings in one table, each below its title.
fn rankings(ranking: &Ranking, look: TableStyle) -> String {
    let columns = columns(ranking);
    let several = ranking.groups.len() > 1;
    // The load of a ranking whose rows have the same: of the rows that are shown.
    let same_load = |group: &Group| {
        let first = load(&group.ranked.first()?.best);
        let shown = if several { group.best_of_frameworks() } else { group.ranked.iter().take(MOST).collect() };
        shown.iter().all(|ranked| load(&ranked.best) == first).then_some(first)
    };
    let loads: Vec<Option<String>> = ranking.groups.iter().map(same_load).collect();
    let with_load = loads.iter().any(Option::is_none);
    let numbers = columns.iter().map(|column| column.short.clone());
    let words = if with_load { &WORDS[..] } else { &WORDS[..2] };
    let head = words.iter().map(|word| (*word).to_string()).chain(numbers).chain(["SLA".into()]);
    let mut rows: Vec<Vec<String>> = vec![head.collect()];
    let mut groups: Vec<GroupRows> = Vec::new();
    for (group, load) in ranking.groups.iter().zip(loads) {
        let of_group = group_rows(ranking, group, &columns, load.filter(|_| !with_load), (several, with_load));
        rows.extend(of_group.rows.iter().cloned());
        groups.push(of_group);
    }
    fit(&mut rows, &columns, look);
    let drawn = draw(&rows, words.len(), look);
    let mut lines = drawn.lines();
    let mut out = String::new();
    let head = drawn.lines().position(|line| line.starts_with('-')).map_or(0, |rule| rule + 1);
    lines.by_ref().take(head).for_each(|line| out.push_str(&format!("{line}\n")));
    // A row begins where the column of its place is not empty.
    let begins = |line: &str| line.split('|').next().is_some_and(|place| !place.trim().is_empty());
    let mut body: Vec<Vec<&str>> = Vec::new();
    for line in lines {
        match body.last_mut() {
            Some(row) if !begins(line) => row.push(line),
            _ => body.push(vec![line]),
        }
    }
    let mut body = body.into_iter();
    for (group, of_group) in ranking.groups.iter().zip(groups) {
        out.push_str(&wrap(&plain(&of_group.title, false), look.width, ""));
        for (i, row) in body.by_ref().take(of_group.rows.len()).enumerate() {
            let won = i == 0 && look.colour && !matches!(group.decision, Decision::None { .. });
            for line in row {
                out.push_str(&if won { format!("{BOLD_GREEN}{line}{RESET}\n") } else { format!("{line}\n") });
            }
        }
        of_group.notes.iter().for_each(|note| out.push_str(&wrap(&plain(note, true), look.width, "  ")));
    }
    if several {
        let unsure = ranking.groups.iter().filter_map(|group| note::answer(ranking, group).unconfirmed);
        let unsure: BTreeSet<String> = unsure.collect();
        let unsure: String = unsure.iter().take(2).map(|part| format!("pass?: {part}. ")).collect();
        if let Some(incomplete) = note::incomplete(ranking) {
            out.push_str(&wrap(&plain(&incomplete, true), look.width, ""));
        }
        let line = format!("{unsure}The best of each framework; all candidates: --format md");
        out.push_str(&wrap(&plain(&line, true), look.width, ""));
    }
    out
}

fn group_rows(
    ranking: &Ranking,
    group: &Group,
    columns: &[Column],
    load: Option<String>,
    (several, with_load): (bool, bool),
) -> GroupRows {
    let title = note::group_title(ranking, group);
    let load = load.filter(|load| !load.is_empty() && !title.ends_with(load.as_str()));
    let load = load.map_or(String::new(), |load| format!(", {load}"));
    let best = group.best_of_frameworks();
    let shown = group
        .ranked
        .iter()
        .enumerate()
        .filter(|(_, ranked)| !several || best.iter().any(|of_framework| std::ptr::eq(*of_framework, *ranked)));
    let row = |(i, ranked): (usize, &RankedCandidate)| {
        let won = i == 0 && !matches!(group.decision, Decision::None { .. });
        cells(columns, &ranked.best, if won { "*".into() } else { (i + 1).to_string() }, with_load)
    };
    let rows: Vec<Vec<String>> = shown.take(MOST).map(row).collect();
    let mut notes = Vec::new();
    let more = group.ranked.len() - rows.len();
    let answer = note::answer(ranking, group);
    // With several rankings what is not confirmed stands below the table, once.
    let mut rest: Vec<String> = match several {
        true => note::brief(group).into_iter().filter(|_| !matches!(group.decision, Decision::None { .. })).collect(),
        false => answer.unconfirmed.into_iter().chain(answer.others).collect(),
    };
    rest.extend((more > 0 && !several).then(|| format!("{more} more: --format csv")));
    if !rest.is_empty() {
        notes.push(rest.join("; "));
    }
    if let (Decision::None { .. }, true) = (&group.decision, several) {
        notes.push(answer.main);
    }
    GroupRows { title: format!("{title}{load}"), rows, notes }
}

/// Drops columns rather than break a word.
fn fit(rows: &mut [Vec<String>], columns: &[Column], look: TableStyle) {
    let words = rows.iter().flat_map(|row| row[CANDIDATE].split_whitespace()).map(|word| word.chars().count());
    let whole = rows.iter().map(|row| row[CANDIDATE].chars().count()).max().unwrap_or(0);
    // Two lines for the longest candidate, as far as half of the terminal allows that.
    let two_lines = (whole / 2 + 6).min(look.width.map_or(0, |width| width / 2));
    let longest = words.max().unwrap_or(0).max(NARROWEST).max(two_lines);
    let mut spare: Vec<&Column> = columns.iter().filter(|column| column.priority > 0).collect();
    spare.sort_by_key(|column| std::cmp::Reverse(column.priority));
    for column in spare {
        let width = |(i, width): (usize, usize)| if i == CANDIDATE { longest.min(width) } else { width };
        let narrow: usize = widths(rows).into_iter().enumerate().map(width).sum();
        if look.width.is_some_and(|width| narrow + 3 * rows[0].len() - 1 > width) {
            let at = rows[0].iter().position(|head| *head == column.short);
            rows.iter_mut().for_each(|row| drop(at.map(|at| row.remove(at))));
        }
    }
}

/// The width of each column.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    (0..rows.first().map_or(0, Vec::len)).map(|at| width(at).unwrap_or(0)).collect()
}

fn cells(columns: &[Column], trial: &Trial, place: String, with_load: bool) -> Vec<String> {
    let words = [place, candidate(trial.entry())].into_iter().chain(with_load.then(|| load(trial)));
    let words: Vec<String> = words.map(|text| plain(&text, false)).collect();
    let sla = if trial.unconfirmed() && trial.passed() == Some(true) { "pass?" } else { verdict(trial) };
    let numbers = columns.iter().map(|column| column.figure.shown(trial).1);
    words.into_iter().chain(numbers).chain([sla.to_string()]).collect()
}

/// Draws the table; candidates wrap if it is too wide, and then loads. Numbers are right-aligned.
fn draw(rows: &[Vec<String>], words: usize, look: TableStyle) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths = widths(rows);
    let load = (words == WORDS.len()).then_some(words - 1);
    let others = (widths.iter().sum::<usize>() + 3 * columns - 1) - widths[CANDIDATE] - load.map_or(0, |i| widths[i]);
    let room = look.width.map(|width| width.saturating_sub(others));
    // A long load, such as that of a search, has at most half of the room.
    let loads = load.zip(room).map(|(i, room)| widths[i].min((room / 2).max(NARROWEST)));
    let names = room.map(|room| room.saturating_sub(loads.unwrap_or(0)).max(NARROWEST));
    let mut builder = Builder::default();
    for row in rows {
        let wrapped = |(i, cell): (usize, &String)| match (i == CANDIDATE, Some(i) == load) {
            (true, _) => names.map_or(cell.clone(), |room| broken(cell, room)),
            (_, true) => loads.map_or(cell.clone(), |room| broken(cell, room)),
            (false, false) => cell.clone(),
        };
        builder.push_record(row.iter().enumerate().map(wrapped));
    }
    let mut table = builder.build();
    table.with(Style::psql());
    table.with(Modify::new(Columns::new(words..columns)).with(Alignment::right()));
    // Spaces at the end would wrap on a terminal that is exactly as wide.
    let lines: Vec<String> = table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    lines.concat()
}

/// Text in lines of at most `room` columns, broken between words; a flag that is longer is broken after one of its
/// separators.
fn broken(text: &str, room: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let long = word.chars().count() > room;
        let parts: Vec<&str> =
            if long { word.split_inclusive(['_', '=', '-', ',', '.']).collect() } else { vec![word] };
        for (i, part) in parts.iter().enumerate() {
            let between = if i == 0 { " " } else { "" };
            match lines.last_mut() {
                Some(line) if line.chars().count() + between.len() + part.chars().count() <= room => {
                    line.push_str(between);
                    line.push_str(part);
                }
                _ => lines.push((*part).to_string()),
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rank::{CapacityDemand, Intake, Ranking, rank};

    fn ranking() -> Ranking {
        let row = |id: &str, rate: f64| {
            let row = serde_json::json!({"framework": "vllm", "candidate_id": id, "status": "ok", "workload": {"scenario": "chat"},
                "candidate": {"changed": {"max_num_seqs": 64, "max_num_batched_tokens": 8192, "enable_prefix_caching": true}},
                "metrics": {"request_throughput": rate, "success_rate": 1.0}});
            row.to_string()
        };
        let mut intake = Intake::default();
        let entries =
            ["a", "b"].iter().zip([1.0, 2.0]).filter_map(|(id, rate)| intake.line(&row(id, rate)).unwrap()).collect();
        rank(entries, &intake)
    }

    fn drawn(look: TableStyle) -> String {
        table(
            &Report { ranking: &ranking(), demand: CapacityDemand::default(), handoff: "none", unfinished: None },
            look,
        )
    }

    #[test]
    fn fits_the_terminal_and_breaks_no_word() {
        for width in [80, 100, 200] {
            let text = drawn(TableStyle { width: Some(width), colour: false });
            let drawn = text.lines().skip(1).take_while(|line| !line.starts_with("  no SLA"));
            assert!(drawn.clone().all(|line| line.chars().count() <= width), "{text}");
            assert!(text.contains("max_num_batched_tokens=8192"), "{text}");
        }
    }

    #[test]
    fn a_flag_that_does_not_fit_at_all_is_broken_behind_a_separator() {
        let text = drawn(TableStyle { width: Some(66), colour: false });
        assert!(text.lines().all(|line| line.chars().count() <= 66), "{text}");
        assert_eq!(broken("max_num_batched_tokens=8192 tp=2", 20), "max_num_batched_\ntokens=8192 tp=2");
    }

    #[test]
    fn a_reason_is_there_once_and_the_load_of_the_best_is_in_the_title() {
        let row = |framework: &str, id: &str, scenario: &str, load: u32, ok: bool| {
            let (status, rate) = if ok { ("ok", f64::from(load)) } else { ("failed", 0.0) };
            serde_json::json!({"framework": framework, "candidate_id": id, "status": status, "failure_reason": "no GPU",
                "workload": {"scenario": scenario, "max_concurrency": load}, "metrics": {"request_throughput": rate}})
            .to_string()
        };
        let mut rows: Vec<String> = Vec::new();
        for scenario in ["chat", "code"] {
            rows.extend([
                row("f", "a", scenario, 8, true),
                row("g", "b", scenario, 8, true),
                row("g", "c", scenario, 4, true),
            ]);
            rows.extend(["d", "e", "h"].map(|id| row("f", id, scenario, 8, false)));
        }
        let shown = |rows: &[String]| {
            let mut intake = Intake::default();
            let entries = rows.iter().filter_map(|row| intake.line(row).unwrap()).collect();
            let ranking = rank(entries, &intake);
            let report =
                Report { ranking: &ranking, demand: CapacityDemand::default(), handoff: "none", unfinished: None };
            table(&report, TableStyle { width: Some(80), colour: false })
        };
        let text = shown(&rows);
        assert!(text.contains("  f d and 2 more: failed: no GPU\n"), "{text}");
        assert!(text.contains("\nchat, closed loop, concurrency 8\n") && !text.contains("load "), "{text}");
        rows.retain(|row| row.contains("chat"));
        let text = shown(&rows);
        let reasons = "  f d: failed, chat at concurrency 8\n  f e: failed, chat at concurrency 8\n  f h: failed, chat at concurrency 8\n      no GPU\n";
        assert!(text.contains(reasons), "{text}");
    }

    #[test]
    fn only_the_winner_is_coloured() {
        let text = drawn(TableStyle { width: Some(80), colour: true });
        let coloured: Vec<&str> = text.lines().filter(|line| line.contains(BOLD_GREEN)).collect();
        assert!(!coloured.is_empty() && coloured[0].contains("2.00"), "{text}");
        assert!(coloured.iter().all(|line| !line.contains(" 1.00")), "{text}");
        assert!(!drawn(TableStyle { width: None, colour: false }).contains('\u{1b}'));
    }
}
