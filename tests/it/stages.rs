//! Plans with stages: what each stage runs, and what it makes of the rows before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::harness::{bash, program, rows_in, run, scratch, write_plan};

/// Two frameworks with four candidates each; the number of slots decides the rate: with one slot about 40 requests per second.
const PLAN: &str = "\
model: sim
hardware: {gpu_count: 1}
dataset: {num_prompts: 24, scenario_names: [s], input_len: [8], output_len: [4]}
benchmark: {max_concurrency: [null, 2], qps: {lower: 8, upper: 64, tolerance: 16}}
sla: {max_p90_ttft_ms: 150}
search: {stages: 2}
frameworks:
  fast:
    definition: sim
    base_server_flags: {load_ms: 0, step_base_us: 5000, max_num_seqs: 16}
    search_space: {step_base_us: [5000, 5500, 60000, 80000]}
  slow:
    definition: sim
    base_server_flags: {load_ms: 0, step_base_us: 6000, max_num_seqs: 16}
    search_space: {step_base_us: [6000, 6500, 70000, 90000]}
";

fn stage(row: &Value) -> &str {
    let place = if row["record"] == "candidate" { &row["search"]["stage"] } else { &row["candidate"]["stage"] };
    place.as_str().unwrap_or_default()
}

/// The candidates of each stage that have a result.
fn measured(results: &[Value], of: &str) -> BTreeSet<String> {
    let own = results.iter().filter(|row| stage(row) == of && !row["run"].is_null());
    own.map(|row| format!("{} {}", row["framework"].as_str().unwrap(), row["candidate_id"].as_str().unwrap())).collect()
}

fn next(folder: &Path, more: &str) -> Vec<Value> {
    run(bash(&format!("bench-expand -q {more} plan.yaml")).current_dir(folder), "").expect(0).rows()
}

#[test]
fn a_sweep_screens_all_candidates_and_searches_the_best_of_each_framework() {
    let folder = scratch();
    let (plan, out) = (write_plan(folder.path(), PLAN), folder.path().join("out"));
    let sweep = |code| run(program("bench-sweep").arg(&plan).arg("--out").arg(&out), "").expect(code);
    sweep(0);
    let results = rows_in(&out.join("results.jsonl"));
    assert_eq!(measured(&results, "screen").len(), 8);
    let searched = measured(&results, "search");
    assert!((2..=4).contains(&searched.len()), "at most two of each framework keep up: {searched:?}");
    let best = |framework: &str| {
        let found = results.iter().filter(|row| row["framework"] == framework && stage(row) == "search");
        found.filter_map(|row| row["metrics"]["max_qps"].as_f64()).fold(0.0, f64::max)
    };
    assert!(best("fast") > 20.0 && best("slow") > 20.0, "{} {}", best("fast"), best("slow"));
    // What the first stage found is no result of the second.
    assert!(results.iter().all(|row| stage(row) != "screen" || row["metrics"]["max_qps"].is_null()));
    assert!(!measured(&results, "repeat").is_empty() && measured(&results, "repeat").is_subset(&searched));
    // Who was left out says by what.
    let lost: Vec<&Value> = results.iter().filter(|row| row["failure_class"] == "outraced").collect();
    assert_eq!(lost.len() + searched.len(), 8);
    for row in lost {
        let why = row["failure_reason"].as_str().unwrap();
        assert!(
            row["status"] == "skipped" && why.contains("s: misses the SLA at") && why.contains(" meets it at "),
            "{why}"
        );
    }
    let again = sweep(4);
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert_eq!(rows_in(&out.join("results.jsonl")).len(), results.len());
}

/// The pipe of a stage, run by hand, cut after any row.
#[test]
fn the_stages_of_pipes_by_hand_go_on_after_any_row() {
    let folder = scratch();
    let plan =
        PLAN.replace("[5000, 5500, 60000, 80000]", "[5000, 80000]").replace("[6000, 6500, 70000, 90000]", "[6000]");
    write_plan(folder.path(), &plan);
    let pipe = |expand: &str, raw: &str| {
        let script = format!(
            "bench-expand -q {expand} plan.yaml | bench-serve -q | bench-load -q > {raw} && bench-normalize -q raw*.jsonl > results.jsonl"
        );
        run(bash(&script).current_dir(folder.path()), "").expect(0);
    };
    let all = next(folder.path(), "");
    assert_eq!(all.iter().map(stage).collect::<Vec<_>>(), ["screen"; 3]);
    pipe("", "raw1.jsonl");
    let rows: Vec<String> =
        std::fs::read_to_string(folder.path().join("raw1.jsonl")).unwrap().lines().map(String::from).collect();
    let units = |rows: &[Value]| rows.iter().map(|row| row["units"].as_array().unwrap().len()).sum::<usize>();
    let mut left = BTreeMap::new();
    for cut in (1..=rows.len()).step_by(7).chain([rows.len()]) {
        std::fs::write(folder.path().join("cut.jsonl"), rows[..cut].join("\n") + "\n").unwrap();
        run(bash("bench-normalize -q cut.jsonl > cut-results.jsonl").current_dir(folder.path()), "").expect(0);
        let next = next(folder.path(), "--done cut-results.jsonl");
        let of = next.iter().find(|row| row["status"].is_null()).map(|row| stage(row).to_string());
        left.insert(cut, (of.unwrap(), units(&next)));
    }
    let first = &left[&1];
    assert_eq!((first.0.as_str(), first.1), ("screen", 3));
    let last = &left[&rows.len()];
    assert_eq!(last.0, "search", "{left:?}");
    assert!(
        left.values().filter(|(stage, _)| stage == "screen").map(|(_, n)| *n).is_sorted_by(|a, b| a >= b),
        "{left:?}"
    );
    let second = next(folder.path(), "--done results.jsonl");
    let leader = second.iter().find(|row| row["framework"] == "fast" && row["status"].is_null()).unwrap();
    assert!(leader["units"][0]["start"].as_f64().unwrap() > 20.0, "{leader}");
    // One whose answers are wrong does not go on, and nobody is measured against it.
    let results = std::fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    let mut wrong = String::new();
    for line in results.lines() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        if row["candidate_id"] == leader["candidate_id"] {
            row["quality"]["answers"] = serde_json::json!({"verdict": "worse", "reason": "20 lost"});
        }
        wrong += &format!("{row}\n");
    }
    std::fs::write(folder.path().join("wrong.jsonl"), wrong).unwrap();
    let others = next(folder.path(), "--done wrong.jsonl");
    let out = others.iter().find(|row| row["candidate_id"] == leader["candidate_id"]).unwrap();
    assert_eq!(out["status"], "skipped", "{out:#}");
    assert!(out["failure_reason"].as_str().unwrap().contains("its answers are wrong"), "{out:#}");
    pipe("--done results.jsonl", "raw2.jsonl");
    assert!(next(folder.path(), "--done results.jsonl").iter().all(|row| stage(row) == "repeat"));
    assert_eq!(
        next(folder.path(), "--stage 2 --done results.jsonl").iter().filter(|row| row["status"].is_null()).count(),
        0
    );
    pipe("--done results.jsonl", "raw3.jsonl");
    assert!(next(folder.path(), "--done results.jsonl").is_empty());
}
