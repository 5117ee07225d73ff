//! Lines of rows: read, folded to results, ranked and reported.

use serving_bench::normalize::{RowFold, StreamLine};
use serving_bench::rank::{CapacityDemand, Intake, RankOptions, rank};
use serving_bench::report::html::html;
use serving_bench::report::markdown::markdown;
use serving_bench::report::table::{TableStyle, table};
use serving_bench::report::{Report, csv};
use serving_bench::rows::jsonl::{RowWriter, shown};
use serving_bench::rows::kinds::{
    Candidate, Native, PlanRow, Request, ResultRow, Run, RunEnd, SearchEnd, Server, ServerEnd,
};
use serving_bench::rows::row::Row;

fn results(text: &str) -> String {
    let mut fold = RowFold::default();
    let mut out = RowWriter::new(Vec::new());
    for line in text.lines() {
        match StreamLine::parse(line) {
            Ok(StreamLine::Request(request)) => drop(fold.request(&request)),
            Ok(StreamLine::Row(row)) => {
                if let Ok(Some(other)) = fold.take(row) {
                    out.write(&other).unwrap();
                }
            }
            Err(_) => {}
        }
    }
    fold.finish().iter().for_each(|result| out.write_typed("result", result).unwrap());
    String::from_utf8(out.into_inner()).unwrap()
}

fn views(row: &Row) {
    let _ = row.view::<PlanRow>();
    let _ = row.view::<Candidate>();
    let _ = row.view::<Server>();
    let _ = row.view::<ServerEnd>();
    let _ = row.view::<Run>();
    let _ = row.view::<Request>();
    let _ = row.view::<RunEnd>();
    let _ = row.view::<SearchEnd>();
    let _ = row.view::<Native>();
    let _ = row.view::<ResultRow>();
}

/// Panics where the code is wrong.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        if let Ok(row) = Row::parse(line) {
            views(&row);
            assert_eq!(row.line(), line);
        }
    }
    let mut intake = Intake::new(RankOptions::default());
    let results = results(text);
    let entries: Vec<_> =
        results.lines().chain(text.lines()).filter_map(|line| intake.line(&shown(line)).ok().flatten()).collect();
    if entries.is_empty() {
        return;
    }
    let ranking = rank(entries, &intake);
    let report = Report { ranking: &ranking, demand: CapacityDemand::default(), handoff: "sglang", unfinished: None };
    for text in [markdown(&report), html(&report), table(&report, TableStyle { width: Some(80), colour: false })] {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{text}");
    }
    let mut text = Vec::new();
    csv::csv(&ranking, None, |part| {
        text.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    let mut lines = ::csv::Reader::from_reader(&text[..]);
    assert!(lines.records().all(|line| line.is_ok()));
}
