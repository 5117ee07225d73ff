//! CSV: one line per load point, with the mean of its repeats, the ranked ones first and in order. RFC 4180; text that a
//! spreadsheet would take for a formula gets an apostrophe in front.

use super::columns::{Figure, csv_figures};
use super::note;
use super::parts::in_order;
use crate::base::error::Result;
use crate::metrics::sample::mean;
use crate::rank::{Entry, Group, Ranking, ShownRow, Trial, Unfinished};
use crate::rows::jsonl::shown_text;

/// The whole file. If runs are missing, a comment before the head says so.
///
/// # Errors
/// Never for the content of a ranking.
pub fn csv(
    ranking: &Ranking,
    unfinished: Option<&Unfinished>,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut head = vec!["rank", "scenario", "load_mode", "framework", "candidate_id", "model", "status", "verdict"];
    head.extend(["request_rate", "max_concurrency", "gpu_count", "repeats"]);
    let figures = csv_figures(ranking);
    head.extend(figures.iter().map(|figure| figure.key()));
    head.extend([
        "simulated",
        "smoke",
        "failure_class",
        "failure_reason",
        "changed",
        "launch_command",
        "server_command",
        "benchmark_command",
        "provisional",
        "missing",
        "decision",
    ]);
    let mut lines: Vec<CsvLine> = Vec::new();
    for group in &ranking.groups {
        for (i, ranked) in group.ranked.iter().enumerate() {
            let of = |trial, rank| CsvLine { entries: EntriesOf::Trial(trial), rank, group: Some(group) };
            lines.push(of(&ranked.best, Some(i + 1)));
            lines.extend(ranked.others.iter().map(|trial| of(trial, None)));
        }
    }
    lines.extend(ranking.failed.iter().map(|entry| CsvLine {
        entries: EntriesOf::Failed(entry),
        rank: None,
        group: None,
    }));
    let comment = unfinished.map_or_else(String::new, |unfinished| format!("# {}\n", unfinished.sentence()));
    let mut first = comment.into_bytes();
    record(&mut first, head.iter().map(|name| (*name).to_string()));
    write(&first)?;
    in_order(&lines, |line, out| record(out, line.cells(ranking, &figures).into_iter()), write)
}

/// Appends one line.
fn record(out: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    for (i, cell) in cells.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        match cell.contains([',', '"', '\n', '\r']) {
            true => out.extend(format!("\"{}\"", cell.replace('"', "\"\"")).bytes()),
            false => out.extend(cell.bytes()),
        }
    }
    out.push(b'\n');
}

/// The results of one line.
enum EntriesOf<'a> {
    /// A load point with its repeats.
    Trial(&'a Trial),
    /// A result that is not ranked.
    Failed(&'a Entry),
}

/// A line.
struct CsvLine<'a> {
    entries: EntriesOf<'a>,
    /// From 1; `None` for a load point that is not the candidate's best.
    rank: Option<usize>,
    group: Option<&'a Group>,
}

impl CsvLine<'_> {
    /// Its cells: the mean of the repeats' metrics. The decision on a group, and the frameworks that it lacks, are on its first line.
    fn cells(&self, ranking: &Ranking, figures: &[Figure]) -> Vec<String> {
        let (entry, more, repeats, verdict) = match self.entries {
            EntriesOf::Trial(trial) => {
                (trial.entry(), trial.entries().skip(1).collect(), trial.repeats(), trial.verdict())
            }
            EntriesOf::Failed(entry) => (entry, Vec::new(), 1, entry.verdict()),
        };
        let number = |number: Option<f64>| number.map_or(String::new(), |v| v.to_string());
        let flag = |flag: Option<bool>| flag.map_or(String::new(), |v| v.to_string());
        let row = ShownRow::read(entry.line());
        let rows: Vec<ShownRow> = more.iter().map(|entry: &&Entry| ShownRow::read(entry.line())).collect();
        let metric = |key: &str| {
            let values: Vec<f64> = std::iter::once(&row).chain(&rows).filter_map(|row| row.metric(key)).collect();
            mean(&values)
        };
        let mut cells = vec![self.rank.map_or(String::new(), |rank| rank.to_string())];
        let key = &entry.group;
        let texts = [&key.scenario, &key.mode, &*entry.framework, &*entry.candidate_id, key.model()];
        cells.extend(texts.map(text));
        cells.extend([text(row.status()), verdict.to_string()]);
        cells.extend([entry.rate, entry.in_flight, entry.keys.gpus].map(number));
        cells.push(repeats.to_string());
        cells.extend(figures.iter().map(|figure| number(figure.value(metric))));
        cells.extend(row.simulated_and_smoke().map(flag));
        cells.extend(row.failure().map(text));
        cells.push(text(&row.changes()));
        cells.extend(row.commands().map(text));
        let first = self.group.filter(|_| self.rank == Some(1));
        let missing = first.map_or(&[][..], |group| &group.missing);
        let missing: Vec<String> = missing.iter().map(|m| format!("{}: {}", m.framework, m.why)).collect();
        cells.push(if missing.is_empty() { String::new() } else { "true".into() });
        cells.push(text(&missing.join("; ")));
        cells.push(first.map_or(String::new(), |group| text(&note::decision(ranking, group))));
        cells
    }
}

/// Text without secrets and control characters, which no spreadsheet takes for a formula, also after spaces and in full-width forms.
fn text(text: &str) -> String {
    let text = &shown_text(text);
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{3000}']).chars().next();
    let dangerous =
        matches!(first, Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\0' | '＝' | '＋' | '－' | '＠'));
    if dangerous { format!("'{text}") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_quotes_are_quoted() {
        let mut out = Vec::new();
        record(&mut out, ["a", "b,c", "d\"e", "f\ng", ""].into_iter().map(String::from));
        assert_eq!(String::from_utf8(out).unwrap(), "a,\"b,c\",\"d\"\"e\",\"f\ng\",\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=cmd|'/c calc'!A1", "@SUM(A1)", "-1+1", "\t=1", "  =1", "＝1", "+1"] {
            assert_eq!(text(bad), format!("'{bad}"));
        }
        assert_eq!(text("python -m sglang"), "python -m sglang");
    }
}
