//! Laws of all formats.

use super::html::html;
use super::markdown::markdown;
use super::table::{TableStyle, table};
use super::{Report, csv, jsonl};
use crate::rank::{CapacityDemand, Entry, Intake, RankOptions, Ranking, rank};
use crate::rows::jsonl::RowWriter;

/// A row of a candidate; one of ten failed, one of four missed its SLA.
fn row(i: u32) -> String {
    let (status, passed) = (if i % 10 == 9 { "oom" } else { "ok" }, !i.is_multiple_of(4));
    let (candidate, load) = (i / 4, i % 4);
    format!(
        r#"{{"framework":"f{}","candidate_id":"{candidate}","status":"{status}","failure_reason":"r","workload":{{"scenario":"s{}","request_rate":{load}}},"sla":{{"max_p99_ttft_ms":9,"passed":{passed}}},"metrics":{{"request_throughput":{i},"output_token_throughput":{i},"p99_ttft_ms":{load},"mean_tpot_ms":1}}}}"#,
        candidate % 3,
        candidate % 2
    )
}

fn ranked(rows: u32) -> Ranking {
    let weights = vec![("s0".into(), 1.0), ("s1".into(), 1.0)];
    let mut intake = Intake::new(RankOptions { weights, ..RankOptions::default() });
    let entries = (0..rows).filter_map(|i| intake.line(&row(i)).unwrap()).collect();
    rank(entries, &intake)
}

#[test]
fn no_format_keeps_every_row_in_memory() {
    const ROWS: u32 = 20_000;
    type Format = fn(&Report);
    let formats: [(&str, Format); 5] = [
        ("md", |report| drop(markdown(report))),
        ("table", |report| drop(table(report, TableStyle { width: Some(80), colour: false }))),
        ("html", |report| drop(html(report))),
        ("csv", |report| csv::csv(report.ranking, None, |_| Ok(())).unwrap()),
        ("jsonl", |report| jsonl::rows(report.ranking, None, &mut RowWriter::new(std::io::sink())).unwrap()),
    ];
    for (name, format) in formats {
        let ranking = ranked(ROWS);
        let read = |ranking: &Ranking| ranking.all().filter(|entry| Entry::is_read(entry)).count();
        let before = read(&ranking);
        let report = Report { ranking: &ranking, demand: CapacityDemand::default(), handoff: "none", unfinished: None };
        format(&report);
        assert!(before < 700 && read(&ranking) < 3000, "{name}: {before} rows, then {}", read(&ranking));
    }
}
