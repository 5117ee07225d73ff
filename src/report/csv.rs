//! CSV: one line per result, the ranked ones first and in order. RFC 4180; text that a spreadsheet would take for a
//! formula gets an apostrophe in front.

use super::columns::{Figure, csv_figures};
use super::note;
use crate::base::error::{Context, Result};
use crate::rank::{Entry, Missing, Ranking, Trial};

/// The whole file.
///
/// # Errors
/// Never for the content of a ranking.
pub fn csv(ranking: &Ranking) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut head = vec!["rank", "scenario", "load_mode", "framework", "candidate_id", "model", "status", "verdict"];
    head.extend(["request_rate", "max_concurrency", "gpu_count"]);
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
    writer.write_record(&head).context("cannot write CSV")?;
    for group in &ranking.groups {
        for (i, ranked) in group.ranked.iter().enumerate() {
            let best = ranked.best.entries().map(|entry| (entry, Some(i + 1)));
            let others = ranked.others.iter().flat_map(Trial::entries).map(|entry| (entry, None));
            for (entry, rank) in best.chain(others) {
                let missing = if rank == Some(1) { group.missing.as_slice() } else { &[] };
                let decision = if rank == Some(1) { note::decision(ranking, group) } else { String::new() };
                writer.write_record(record(entry, &figures, rank, missing, &decision)).context("cannot write CSV")?;
            }
        }
    }
    for failed in &ranking.failed {
        writer.write_record(record(failed, &figures, None, &[], "")).context("cannot write CSV")?;
    }
    writer.into_inner().map_err(|e| crate::base::error::Error::new("cannot write CSV").because(e.to_string()))
}

/// A line; `missing` are the frameworks that its group lacks, and `decision` is that on the group: for its first line.
fn record(entry: &Entry, figures: &[Figure], rank: Option<usize>, missing: &[Missing], decision: &str) -> Vec<String> {
    let number = |number: Option<f64>| number.map_or(String::new(), |v| v.to_string());
    let flag = |flag: Option<bool>| flag.map_or(String::new(), |v| v.to_string());
    let mut cells = vec![rank.map_or(String::new(), |rank| rank.to_string())];
    let key = &entry.group;
    let texts = [&key.scenario, &key.mode, &*entry.framework, &*entry.candidate_id, key.model()];
    cells.extend(texts.map(text));
    cells.extend([text(entry.status()), entry.verdict().to_string()]);
    cells.extend([entry.rate, entry.in_flight, entry.keys.gpus].map(number));
    let figure = |figure: &Figure| figure.value(|key| entry.metric(key)).map_or(String::new(), |v| v.to_string());
    cells.extend(figures.iter().map(figure));
    cells.extend(entry.simulated_and_smoke().map(flag));
    cells.extend([entry.failure_class(), entry.failure_reason()].map(text));
    cells.push(text(&entry.changes()));
    let commands = entry.commands();
    cells.extend([commands.launch, commands.server, commands.benchmark].map(text));
    let missing: Vec<String> = missing.iter().map(|m| format!("{}: {}", m.framework, m.why)).collect();
    cells.push(if missing.is_empty() { String::new() } else { "true".into() });
    cells.push(text(&missing.join("; ")));
    cells.push(text(decision));
    cells
}

/// Text that no spreadsheet takes for a formula, also after spaces and in full-width forms.
fn text(text: &str) -> String {
    let first = text.trim_start_matches([' ', '\u{a0}', '\u{3000}']).chars().next();
    let dangerous =
        matches!(first, Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\0' | '＝' | '＋' | '－' | '＠'));
    if dangerous { format!("'{text}") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for bad in ["=cmd|'/c calc'!A1", "@SUM(A1)", "-1+1", "\t=1", "  =1", "＝1", "+1"] {
            assert_eq!(text(bad), format!("'{bad}"));
        }
        assert_eq!(text("python -m sglang"), "python -m sglang");
    }
}
