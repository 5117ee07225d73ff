//! Sweeps over many hosts: parts of a plan, and their rows together.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::harness::{bash, program, rows_in, run, scratch, write_plan};

/// Eight candidates of one framework, each one short run; more time for each step makes them slower.
const PLAN: &str = "\
model: sim
dataset: {num_prompts: 12, scenario_names: [s], input_len: [8], output_len: [4]}
benchmark: {max_concurrency: [2]}
sla: {max_p99_ttft_ms: 2000}
search: {max_candidates_per_framework: 20}
frameworks:
  sim:
    base_server_flags: {load_ms: 0, step_base_us: 1000, max_num_seqs: 16}
    search_space: {step_base_us: [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]}
";

fn in_folder(folder: &Path, script: &str) {
    run(bash(script).current_dir(folder), "").expect(0);
}

/// The unit and run of each result.
fn units(results: &[Value]) -> Vec<String> {
    results.iter().map(|row| row["units"][0].as_str().unwrap().to_string()).collect()
}

#[test]
fn parts_by_hand_are_one_sweep_and_what_two_of_them_measured_counts_once() {
    let folder = scratch();
    write_plan(folder.path(), PLAN);
    for part in 1..=2 {
        in_folder(
            folder.path(),
            &format!("bench-expand -q plan.yaml --part {part}/2 | bench-serve -q | bench-load -q > raw{part}.jsonl"),
        );
    }
    in_folder(
        folder.path(),
        "bench-normalize -q raw1.jsonl raw2.jsonl > forth.jsonl; bench-normalize -q raw2.jsonl raw1.jsonl > back.jsonl
         bench-normalize -q raw1.jsonl > one.jsonl; bench-normalize -q raw2.jsonl > two.jsonl",
    );
    let results = rows_in(&folder.path().join("forth.jsonl"));
    let all: BTreeSet<String> = units(&results).into_iter().collect();
    assert_eq!((results.len(), all.len()), (8, 8), "each unit once");
    // Both parts measured the baseline: its later run counts, in whatever order the files come.
    let of_baseline = |file: &str| -> Value {
        let rows = rows_in(&folder.path().join(file));
        rows.into_iter().find(|row| row["candidate"]["baseline"] == true).unwrap()
    };
    let [first, second] = ["one.jsonl", "two.jsonl"].map(of_baseline);
    assert_ne!(first["run"]["run_id"], second["run"]["run_id"]);
    for file in ["forth.jsonl", "back.jsonl"] {
        assert_eq!(of_baseline(file)["run"]["run_id"], second["run"]["run_id"], "{file}");
    }
    let ranked = |files: &str| {
        run(bash(&format!("bench-rank -q --format jsonl {files}")).current_dir(folder.path()), "").expect(0)
    };
    let whole = ranked("forth.jsonl");
    assert_eq!(whole.stdout.lines().count(), 9, "a decision and eight results");
    // Results that were folded apart are folded once more.
    let apart = ranked("two.jsonl one.jsonl");
    let ids = |text: &str| {
        let rows = crate::harness::json_lines(text);
        rows.iter().map(|row| row["run"]["run_id"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&apart.stdout), ids(&whole.stdout));
    // Nothing is left, whether the results are in one file or in several, before the plan or behind it.
    for done in
        ["plan.yaml --done one.jsonl two.jsonl", "--done one.jsonl two.jsonl plan.yaml", "plan.yaml --done forth.jsonl"]
    {
        let left = run(bash(&format!("bench-expand -q {done}")).current_dir(folder.path()), "").expect(0);
        assert_eq!(left.stdout, "", "{done}");
    }
    let half = run(bash("bench-expand -q --done one.jsonl plan.yaml").current_dir(folder.path()), "").expect(0);
    assert_eq!(half.records("candidate").len(), rows_in(&folder.path().join("two.jsonl")).len() - 1);
}

#[test]
fn a_sweep_of_a_part_has_its_own_folder() {
    let folder = scratch();
    let plan = write_plan(folder.path(), PLAN);
    let sweep = |part: &str, code| {
        let out = folder.path().join(part.replace('/', "-"));
        let mut command = program("bench-sweep");
        command.arg(&plan).arg("--out").arg(&out).args(["--part", part, "--no-preflight"]);
        run(&mut command, "").expect(code);
        rows_in(&out.join("results.jsonl"))
    };
    let (one, two) = (sweep("1/2", 0), sweep("2/2", 0));
    assert_eq!(one.len() + two.len(), 9, "the baseline twice");
    assert_eq!(units(&one).into_iter().chain(units(&two)).collect::<BTreeSet<_>>().len(), 8);
    // Its part is complete.
    sweep("1/2", 4);
}
