//! Reports do not depend on the order of their input.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{program, root, run};

#[test]
fn no_order_of_the_input_changes_a_byte() {
    let cases = root().join("tests/it/cases/bench-rank");
    let read = |name: &str| fs::read_to_string(cases.join(name).join("stdin")).unwrap();
    // More claims than are told one by one.
    let claim = |i: u32| {
        format!(
            "{{\"framework\":\"f\",\"candidate_id\":\"c{i}\",\"status\":\"ok\",\"sla\":{{\"max_p99_ttft_ms\":5,\"passed\":true}},\"metrics\":{{\"p99_ttft_ms\":{i}}}}}\n"
        )
    };
    let inputs = [
        read("whole-report-md"),
        read("repeats-are-folded-and-compared-in-pairs"),
        read("different-models-and-gpus-are-ranked-separately"),
        read("a-search-is-ranked-by-its-result"),
        (6..40).map(claim).collect(),
    ];
    for input in inputs {
        let lines: Vec<&str> = input.lines().collect();
        for format in ["md", "table", "html", "csv", "jsonl"] {
            let ranked = |lines: &[&str]| {
                run(program("bench-rank").args(["--format", format]), &(lines.join("\n") + "\n")).stdout
            };
            let first = ranked(&lines);
            assert!(!first.is_empty());
            let mut others = lines.clone();
            others.reverse();
            assert_eq!(ranked(&others), first, "{format}, reversed");
            others.rotate_left(lines.len() / 3);
            assert_eq!(ranked(&others), first, "{format}, rotated");
        }
    }
}

/// Long inputs are read in parts, by whoever is free: what the parts share is one all the same.
#[test]
fn a_long_input_is_one_ranking_whoever_read_its_parts() {
    let row = |i: u32| {
        let (framework, scenario, model) =
            (["f", "g", "h"][i as usize % 3], ["chat", "code"][i as usize / 3 % 2], i % 4 / 3);
        let padding = "x".repeat(300);
        format!(
            "{{\"record\":\"result\",\"framework\":\"{framework}\",\"candidate_id\":\"{framework}-{}\",\"model\":\"m{model}\",\"status\":\"{}\",\
             \"failure_reason\":\"{padding}\",\"workload\":{{\"scenario\":\"{scenario}\",\"request_rate\":{}}},\"sla\":{{\"max_mean_ttft_ms\":{}}},\
             \"metrics\":{{\"request_throughput\":{},\"mean_ttft_ms\":{}}}}}\n",
            i % 701,
            if i.is_multiple_of(11) { "failed" } else { "ok" },
            i % 5,
            50 + i % 3,
            i * 7919 % 1009,
            i * 104_729 % 101
        )
    };
    let rows: Vec<String> = (0..2000).map(row).collect();
    assert!(rows.iter().map(String::len).sum::<usize>() > 3 << 18, "several batches");
    let ranked = |rows: &[String], format: &str| run(program("bench-rank").args(["--format", format]), &rows.concat());
    let mut others = rows.clone();
    others.reverse();
    others.rotate_left(777);
    for format in ["md", "csv", "jsonl"] {
        let first = ranked(&rows, format);
        assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
        assert_eq!(ranked(&others, format).stdout, first.stdout, "{format}");
    }
    let groups = ranked(&rows, "jsonl").stdout.lines().filter(|line| line.contains("\"rank\":1,")).count();
    assert_eq!(groups, 4, "two scenarios of two models");
}

/// Three frameworks: one never started, one has a valid run in `code` alone, one has both.
fn two_of_three_missing() -> String {
    let row = |framework: &str, status: &str, scenario: Option<&str>, more: Value| {
        let mut row = json!({"schema_version": 1, "record": "result", "framework": framework, "candidate_id": format!("{framework}-1"),
            "model": "m", "status": status, "sla": {"passed": (status == "ok").then_some(true)}, "metrics": {}, "units": [format!("{framework}-{scenario:?}")]});
        if let Some(scenario) = scenario {
            row["workload"] = json!({"scenario": scenario, "max_concurrency": 4});
        }
        row.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        row.to_string() + "\n"
    };
    let rate = |rate: f64| json!({"metrics": {"request_throughput": rate}, "server_command": "serve m"});
    [
        row("vllm", "failed", None, json!({"failure_class": "not_ready", "failure_reason": "no answer\nafter 600 s"})),
        row(
            "sglang",
            "failed",
            Some("chat"),
            json!({"failure_class": "client_saturated", "failure_reason": "the client fell behind"}),
        ),
        row("sglang", "ok", Some("code"), rate(4.0)),
        row("tensorrt_llm", "ok", Some("chat"), rate(5.0)),
        row("tensorrt_llm", "ok", Some("code"), rate(5.0)),
    ]
    .concat()
}

#[test]
fn who_is_missing_is_said_before_a_winner_is_named_and_the_winner_is_provisional() {
    let rows = two_of_three_missing();
    let report = |format: &str| run(program("bench-rank").args(["--format", format]), &rows).expect(0).stdout;
    let never = "failed to start (not_ready: no answer after 600 s)";
    let spoiled = "no valid run (client_saturated: the client fell behind)";
    for format in ["md", "table", "html"] {
        let text = report(format).replace("\\_", "_").to_lowercase();
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{format}: {words} is not in\n{text}"));
        assert!(at("no comparison (no result for sglang and vllm)") < at("provisional winner"), "{text}");
        let first = text.lines().find(|line| line.contains("provisional winner")).unwrap_or_default();
        assert!(first.contains("no comparison") || format == "table", "{first}");
        [never, spoiled, "incomplete comparison (no result for vllm)"]
            .iter()
            .for_each(|words| assert!(at(words) > 0, "{words}"));
        assert!(!text.contains("deploy: tensorrt_llm"), "{text}");
    }
    let first = |text: String| text.lines().map(String::from).collect::<Vec<_>>();
    let csv = first(report("csv"));
    assert!(
        csv[0].ends_with(",provisional,missing,decision")
            && csv[1].contains(",true,")
            && csv[1].contains("vllm: failed to start")
    );
    let jsonl: Vec<Value> = report("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let winners: Vec<&Value> = jsonl.iter().filter(|row| row["rank"] == 1).collect();
    assert!(winners.len() == 2 && winners.iter().all(|row| row["provisional"] == true), "{winners:#?}");
    assert_eq!(winners[0]["missing"].as_object().unwrap().len(), 2);
    assert!(jsonl.iter().filter(|row| row["rank"] == 2).all(|row| row.get("provisional").is_none()));
}

#[test]
fn nothing_measured_is_no_success_in_any_format() {
    let failed: String = two_of_three_missing().lines().take(2).map(|line| format!("{line}\n")).collect();
    for format in ["md", "table", "html", "csv", "jsonl"] {
        let done = run(program("bench-rank").args(["--format", format]), &failed).expect(1);
        if format != "csv" && format != "jsonl" {
            assert!(done.stdout.contains("No result for vllm: failed to start"), "{}", done.stdout);
        }
    }
}

/// Rows such as those of the quickstart: two scenarios under two loads, two frameworks, five candidates with long flags.
fn quickstart() -> String {
    let mut rows = String::new();
    for (scenario, load) in
        [("chat", "open"), ("chat", "closed"), ("summarization", "open"), ("summarization", "closed")]
    {
        for (i, (framework, changed)) in [
            ("sim_swift", json!({})),
            ("sim_swift", json!({"max_num_seqs": 24})),
            ("sim_broad", json!({})),
            ("sim_broad", json!({"enable_chunked_prefill": true, "max_num_batched_tokens": 256})),
            ("sim_broad", json!({"enable_chunked_prefill": true, "max_num_batched_tokens": 1024})),
        ]
        .into_iter()
        .enumerate()
        {
            let (rate, concurrency) = if load == "open" { (json!(8), json!(null)) } else { (json!(null), json!(16)) };
            let row = json!({"record": "result", "framework": framework, "candidate_id": format!("c{i}"), "status": "ok",
                "verdict": "pass_unconfirmed",
                "workload": {"scenario": scenario, "input_len": 128, "output_len": 32, "request_rate": rate,
                    "max_concurrency": concurrency, "load": {"mode": load}},
                "sla": {"max_p99_ttft_ms": 500, "passed": true, "tested": {"max_p99_ttft_ms": {"threshold": 500, "value": 90,
                    "basis": "all_scheduled", "margin": 0.8, "passed": true, "n": 20, "over": 0, "needed": 299, "confirmed": false}}},
                "metrics": {"request_throughput": 30 - 4 * i, "output_token_throughput": 900, "mean_ttft_ms": 40, "p99_ttft_ms": 90,
                    "mean_tpot_ms": 8, "p99_tpot_ms": 9, "success_rate": 1},
                "quality": {"simulated": true, "smoke": true}, "candidate": {"changed": changed, "baseline": i % 2 == 0, "of": 3},
                "server_command": format!("bench-sim --model sim --served-model-name sim --max-model-len 2048 --step-base-us 3000 --max-num-seqs {i}")});
            rows.push_str(&format!("{row}\n"));
        }
    }
    rows
}

#[test]
fn several_rankings_fit_one_screen_with_the_verdict_first() {
    let done = run(program("bench-rank").args(["--format", "table"]).env("COLUMNS", "80"), &quickstart()).expect(0);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(
        lines[0].starts_with("Fastest in this smoke test (not a benchmark): sim_swift baseline in 4 of 4"),
        "{}",
        done.stdout
    );
    let height: usize = lines.iter().map(|line| line.chars().count().div_ceil(80).max(1)).sum();
    assert!(height <= 40, "{height} lines\n{}", done.stdout);
    let wide = |line: &&&str| line.chars().count() > 80 && !line.contains("bench-sim --model");
    assert_eq!(lines.iter().find(wide), None, "{}", done.stdout);
    for format in ["md", "table", "html", "csv", "jsonl"] {
        let report = run(program("bench-rank").args(["--format", format]), &quickstart()).expect(0).stdout;
        let verdict = report.to_lowercase().find("fastest in this smoke test").expect("a verdict");
        let before = &report[..verdict];
        assert!(format == "html" || before.lines().count() <= 2, "{format}: {before}");
    }
}
