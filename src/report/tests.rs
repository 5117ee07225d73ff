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
fn a_framework_that_was_never_started_makes_the_winner_provisional_in_every_format() {
    let row = r#"{"framework":"vllm","candidate_id":"c","status":"ok","workload":{"scenario":"chat"},"sla":{"passed":true,"max_p99_ttft_ms":9},"metrics":{"request_throughput":2,"p99_ttft_ms":5,"success_rate":1}}"#;
    let options = RankOptions { never_started: vec!["sglang".into(), "vllm".into()], ..RankOptions::default() };
    let mut intake = Intake::new(options);
    let ranking = rank(intake.line(row).unwrap().into_iter().collect(), &intake);
    let report = Report { ranking: &ranking, demand: CapacityDemand::default(), handoff: "none", unfinished: None };
    let (mut lines, mut rows) = (Vec::new(), RowWriter::new(Vec::new()));
    csv::csv(&ranking, None, |part| {
        lines.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    jsonl::rows(&ranking, None, &mut rows).unwrap();
    let texts = [lines, rows.into_inner()].map(|bytes| String::from_utf8(bytes).unwrap());
    let look = TableStyle { width: None, colour: false };
    for text in texts.into_iter().chain([markdown(&report), table(&report, look), html(&report)]) {
        let text = text.replace("<wbr>", "").to_lowercase();
        for words in ["no comparison (no result for sglang): provisional winner: vllm c", "never started"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}

#[test]
fn limits_that_differ_between_scenarios_name_them() {
    let row = |scenario: &str, limit: u32| {
        format!(
            r#"{{"framework":"f","candidate_id":"c","status":"ok","workload":{{"scenario":"{scenario}"}},"sla":{{"max_p99_ttft_ms":{limit},"max_p99_tpot_ms":50}},"metrics":{{"request_throughput":2}}}}"#
        )
    };
    let mut intake = Intake::default();
    let rows = [row("chat", 800), row("code", 800), row("long", 3000)];
    let entries = rows.iter().filter_map(|row| intake.line(row).unwrap()).collect();
    let wanted = ["max_p99_tpot_ms 50", "max_p99_ttft_ms 3000 for long", "max_p99_ttft_ms 800 for chat and code"];
    assert_eq!(rank(entries, &intake).limits, wanted);
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

/// Three rows of a sweep in two scenarios: one that is ok, one that failed, one that was foreseen to fail.
fn with_a_failure(why: &str) -> Ranking {
    let workload = |scenario: &str| format!(r#""workload":{{"scenario":"{scenario}"}},"quality":{{"smoke":true}}"#);
    let ok = |framework: &str, scenario: &str| {
        let figures = r#""sla":{"passed":true,"max_p99_ttft_ms":9},"metrics":{"request_throughput":2,"p99_ttft_ms":5}"#;
        let workload = workload(scenario);
        format!(r#"{{"framework":"{framework}","candidate_id":"c","status":"ok",{workload},{figures}}}"#)
    };
    let failed = |id: &str, status: &str, class: &str, why: &str| {
        format!(
            r#"{{"framework":"vllm","candidate_id":"{id}","status":"{status}","failure_class":"{class}","failure_reason":"{why}"}}"#
        )
    };
    let mut intake = Intake::default();
    let rows = [
        ok("vllm", "chat"),
        ok("vllm", "code"),
        ok("sglang", "chat"),
        failed("d", "oom", "cuda_oom_at_load", why),
        failed("e", "skipped", "foreseen", "it asks for at least as much memory"),
    ];
    let entries = rows.iter().filter_map(|row| intake.line(row).unwrap()).collect();
    rank(entries, &intake)
}

#[test]
fn a_screen_shows_the_cause_of_a_failure_and_says_a_thing_once() {
    let cause = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB";
    let ranking =
        with_a_failure(&format!("the server exited with status 1: {cause}: {}", "reduce memory use ".repeat(9)));
    let report = Report { ranking: &ranking, demand: CapacityDemand::default(), handoff: "none", unfinished: None };
    let screen = table(&report, TableStyle { width: Some(80), colour: false });
    let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(cause), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    let tried = screen.split("Tried and not selected\n").nth(1).unwrap().split("\n\n").next().unwrap();
    assert_eq!(tried.lines().count(), 3, "two lines for what is long, one for what is short: {screen}");
    assert_eq!(words.matches("in this smoke test (not a benchmark)").count(), 1, "{screen}");
    assert!(words.contains("no comparison (no result for sglang): provisionally fastest: vllm"), "{screen}");
    // Nothing was stopped: one was skipped that would fail like another.
    assert!(!words.contains("search incomplete"), "{screen}");
}
