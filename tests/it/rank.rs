//! Reports do not depend on the order of their input.

use std::fs;

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
        read("different-models-and-gpus-stand-apart"),
        read("a-search-stands-by-its-result"),
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
