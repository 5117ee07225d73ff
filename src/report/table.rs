//! The ranking as terminal tables, fitted to the width, with the winner marked.

use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Modify, Style};

use super::columns::{Column, columns};
use super::text::{candidate, changes, load, plain, verdict, whole, wrap};
use super::{Report, caveat, note};
use crate::rank::{Decision, Group, Ranking, Trial};

const BOLD_GREEN: &str = "\u{1b}[1;32m";
const RESET: &str = "\u{1b}[0m";
/// The text columns of the ranking; all others are numeric.
const WORDS: [&str; 4] = ["", "framework", "flags changed", "load"];
/// The column that wraps if the table is too wide.
const FLAGS: usize = 2;
/// Minimum width of that column.
const NARROWEST: usize = 12;

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

/// The whole report.
#[must_use]
pub fn table(report: &Report, look: TableStyle) -> String {
    let ranking = report.ranking;
    let mut out = String::new();
    if let Some(unfinished) = report.unfinished {
        out.push_str(&wrap(&unfinished.sentence(), look.width, ""));
        out.push('\n');
    }
    let mut first: Vec<String> = note::missing(ranking);
    first.extend(ranking.groups.is_empty().then(|| note::nothing(ranking)));
    first.iter().for_each(|line| out.push_str(&wrap(&plain(line, true), look.width, "")));
    if !first.is_empty() {
        out.push('\n');
    }
    for group in &ranking.groups {
        out.push_str(&wrap(&plain(&note::group_title(ranking, group), false), look.width, ""));
        out.push_str(&ranked(ranking, group, look));
        out.push_str(&wrap(&plain(&note::decision(ranking, group), true), look.width, "  "));
        let command = group.ranked.first().map(|first| first.best.entry().commands().deploy()).unwrap_or_default();
        if !command.is_empty() && !matches!(group.decision, Decision::None { .. }) {
            // On one line, so that it can be copied.
            out.push_str(&format!("    {}\n", whole(command)));
        }
        out.push('\n');
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
        for r in ranking.rejected.iter().take(MOST) {
            let place = if r.places.is_empty() { String::new() } else { format!(", {}", r.places.join(", ")) };
            out.push_str(&wrap(&plain(&format!("{}: {}{place}", candidate(&r.entry), r.how), true), look.width, "  "));
            out.push_str(&wrap(&plain(&r.why, true), look.width, "      "));
        }
        let more = ranking.rejected.len().saturating_sub(MOST) + ranking.rejected_more;
        if more > 0 {
            out.push_str(&format!("  {more} more: --format csv\n"));
        }
        out.push('\n');
    }
    for note in caveat::caveats(ranking) {
        out.push_str(&wrap(&plain(&note, true), look.width, ""));
    }
    out
}

fn ranked(ranking: &Ranking, group: &Group, look: TableStyle) -> String {
    let columns = columns(ranking);
    let numbers = columns.iter().map(|column| column.short.clone());
    let mut rows = vec![WORDS.map(String::from).into_iter().chain(numbers).chain(["SLA".into()]).collect::<Vec<_>>()];
    for (i, ranked) in group.ranked.iter().take(MOST).enumerate() {
        let won = i == 0 && !matches!(group.decision, Decision::None { .. });
        rows.push(cells(&columns, &ranked.best, if won { "*".into() } else { (i + 1).to_string() }));
    }
    let more = group.ranked.len().saturating_sub(MOST);
    // Drop columns rather than break a word.
    let words = rows.iter().flat_map(|row| row[FLAGS].split_whitespace()).map(|word| word.chars().count());
    let longest = words.max().unwrap_or(0);
    let mut spare: Vec<&Column> = columns.iter().filter(|column| column.priority > 0).collect();
    spare.sort_by_key(|column| std::cmp::Reverse(column.priority));
    for column in spare {
        let width = |(i, width): (usize, usize)| if i == FLAGS { longest } else { width };
        let narrow: usize = widths(&rows).into_iter().enumerate().map(width).sum();
        if look.width.is_some_and(|width| narrow + 3 * rows[0].len() > width) {
            let at = rows[0].iter().position(|head| *head == column.short);
            rows.iter_mut().for_each(|row| drop(at.map(|at| row.remove(at))));
        }
    }
    let drawn = draw(&rows, look);
    let mark = drawn.lines().position(|line| line.trim_start().starts_with("* "));
    // A wrapped winner has more lines: all up to the next entry.
    let next = |from: usize| {
        drawn.lines().skip(from).position(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
    };
    let marked = mark.map_or(0..0, |at| at..next(at).map_or(drawn.lines().count(), |more| at + more));
    let line = |(i, line): (usize, &str)| match look.colour && marked.contains(&i) {
        true => format!("{BOLD_GREEN}{line}{RESET}\n"),
        false => format!("{line}\n"),
    };
    let drawn: String = drawn.lines().enumerate().map(line).collect();
    if more > 0 { format!("{drawn}  {more} more: --format csv\n") } else { drawn }
}

/// The width of each column.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    (0..rows.first().map_or(0, Vec::len)).map(|at| width(at).unwrap_or(0)).collect()
}

fn cells(columns: &[Column], trial: &Trial, place: String) -> Vec<String> {
    let entry = trial.entry();
    let words = [place, entry.framework.to_string(), changes(entry), load(trial)].map(|text| plain(&text, false));
    let sla = if trial.unconfirmed() && trial.passed() == Some(true) { "unconfirmed" } else { verdict(trial) };
    let numbers = columns.iter().map(|column| column.figure.shown(trial).1);
    words.into_iter().chain(numbers).chain([sla.to_string()]).collect()
}

/// Draws the table; the flags wrap if it is too wide. Numbers are right-aligned.
fn draw(rows: &[Vec<String>], look: TableStyle) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths = widths(rows);
    let others = widths.iter().sum::<usize>() - widths[FLAGS] + 3 * columns;
    let room = look.width.map(|width| width.saturating_sub(others).max(NARROWEST));
    let mut builder = Builder::default();
    for row in rows {
        let flags = |(i, cell): (usize, &String)| match room.filter(|_| i == FLAGS) {
            Some(room) => broken(cell, room),
            None => cell.clone(),
        };
        builder.push_record(row.iter().enumerate().map(flags));
    }
    let mut table = builder.build();
    table.with(Style::psql());
    table.with(Modify::new(Columns::new(WORDS.len()..columns)).with(Alignment::right()));
    format!("{table}\n")
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
    fn only_the_winner_is_coloured() {
        let text = drawn(TableStyle { width: Some(80), colour: true });
        let coloured: Vec<&str> = text.lines().filter(|line| line.contains(BOLD_GREEN)).collect();
        assert!(!coloured.is_empty() && coloured[0].contains("2.00"), "{text}");
        assert!(coloured.iter().all(|line| !line.contains(" 1.00")), "{text}");
        assert!(!drawn(TableStyle { width: None, colour: false }).contains('\u{1b}'));
    }
}
