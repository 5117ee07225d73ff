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
