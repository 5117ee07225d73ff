//! CSV: one line per load point, with the mean of its repeats, the ranked ones first and in order. RFC 4180; text that a
//! spreadsheet would take for a formula gets an apostrophe in front.

use std::fmt;
use std::io::Write;

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
        "forced_acceptance_length",
        "acceptance_length",
        "greedy_agreement",
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
    let mut names = CsvRecord::new(&mut first);
    head.iter().for_each(|name| names.word(name));
    names.end();
    write(&first)?;
    in_order(&lines, |line, out| line.write(ranking, &figures, CsvRecord::new(out)), write)
}

/// A line that is being written.
struct CsvRecord<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl<'a> CsvRecord<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, first: true }
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    /// A cell with a text that is no formula.
    fn word(&mut self, text: &str) {
        self.comma();
        match text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            true => self.out.extend_from_slice(format!("\"{}\"", text.replace('"', "\"\"")).as_bytes()),
            false => self.out.extend_from_slice(text.as_bytes()),
        }
    }

    /// A cell with a text that the ranking has cleaned.
    fn clean(&mut self, text: &str) {
        if is_formula(text) { self.word(&format!("'{text}")) } else { self.word(text) }
    }

    /// A cell with a text of a row.
    fn text(&mut self, text: &str) {
        self.clean(&shown_text(text));
    }

    fn value<T: fmt::Display>(&mut self, value: Option<T>) {
        self.comma();
        if let Some(value) = value {
            // Writing to memory does not fail.
            let _ = write!(self.out, "{value}");
        }
    }

    /// A number as `{}` writes it, in half the time.
    fn number(&mut self, value: Option<f64>) {
        let mut buffer = zmij::Buffer::new();
        let plain = value.filter(|value| value.is_finite()).map(|value| buffer.format_finite(value));
        match plain.filter(|text| !text.contains('e')) {
            Some(text) => {
                self.comma();
                self.out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
            }
            None => self.value(value),
        }
    }

    fn end(self) {
        self.out.push(b'\n');
    }
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
    /// Writes its cells: the mean of the repeats' metrics. The decision on a group, and the frameworks that it lacks, are on its first line.
    fn write(&self, ranking: &Ranking, figures: &[Figure], mut to: CsvRecord) {
        let (entry, more, repeats, verdict) = match self.entries {
            EntriesOf::Trial(trial) => {
                (trial.entry(), trial.entries().skip(1).collect(), trial.repeats(), trial.verdict())
            }
            EntriesOf::Failed(entry) => (entry, Vec::new(), 1, entry.verdict()),
        };
        let row = ShownRow::read(entry.line());
        let rows: Vec<ShownRow> = more.iter().map(|entry: &&Entry| ShownRow::read(entry.line())).collect();
        let metric = |key: &str| {
            if rows.is_empty() {
                return row.metric(key);
            }
            let values: Vec<f64> = std::iter::once(&row).chain(&rows).filter_map(|row| row.metric(key)).collect();
            mean(&values)
        };
        to.value(self.rank);
        let key = &entry.group;
        for text in [&key.scenario, &key.mode, &*entry.framework, &*entry.candidate_id, key.model()] {
            to.clean(text);
        }
        to.text(row.status());
        to.word(verdict);
        [entry.rate, entry.in_flight, entry.keys.gpus].into_iter().for_each(|number| to.number(number));
        to.value(Some(repeats));
        figures.iter().for_each(|figure| to.number(figure.value(metric)));
        row.simulated_and_smoke().into_iter().for_each(|flag| to.value(flag));
        row.acceptance().into_iter().chain([row.agreement()]).for_each(|number| to.number(number));
        row.failure().into_iter().for_each(|text| to.text(text));
        to.text(&row.changes());
        row.commands().into_iter().for_each(|text| to.text(text));
        let first = self.group.filter(|_| self.rank == Some(1));
        let missing = first.map_or(&[][..], |group| &group.missing);
        let missing: Vec<String> = missing.iter().map(|m| format!("{}: {}", m.framework, m.why)).collect();
        to.word(if missing.is_empty() { "" } else { "true" });
        to.text(&missing.join("; "));
        to.text(&first.map_or(String::new(), |group| note::decision(ranking, group)));
        to.end();
    }
}

/// True for a text that a spreadsheet takes for a formula, also after spaces and in full-width forms.
fn is_formula(text: &str) -> bool {
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{3000}']).chars().next();
    matches!(first, Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\0' | '＝' | '＋' | '－' | '＠'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(write: impl Fn(&mut CsvRecord)) -> String {
        let mut out = Vec::new();
        let mut record = CsvRecord::new(&mut out);
        write(&mut record);
        record.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn separators_and_quotes_are_quoted() {
        let line = record(|to| ["a", "b,c", "d\"e", "f\ng", ""].into_iter().for_each(|cell| to.word(cell)));
        assert_eq!(line, "a,\"b,c\",\"d\"\"e\",\"f\ng\",\n");
        assert_eq!(record(|to| [None, Some(0.5)].into_iter().for_each(|n| to.number(n))), ",0.5\n");
    }

    proptest! {
        #[test]
        fn numbers_are_as_display_has_them(value in prop_oneof![any::<f64>(), -1e9..1e9f64, (0i32..1000).prop_map(f64::from)]) {
            prop_assert_eq!(record(|to| to.number(Some(value))), format!("{value}\n"));
        }
    }

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=cmd|'/c calc'!A1", "@SUM(A1)", "-1+1", "  =1", "＝1", "+1"] {
            assert_eq!(record(|to| to.text(bad)), format!("'{bad}\n"));
            assert_eq!(record(|to| to.clean(bad)), format!("'{bad}\n"));
        }
        assert_eq!(record(|to| to.text("\t=1")), "'\t=1\n");
        assert_eq!(record(|to| to.text("python -m sglang")), "python -m sglang\n");
    }
}
