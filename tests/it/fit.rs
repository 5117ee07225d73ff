//! A time in which the runs are to end: what it leaves out, whoever says it.

use std::path::Path;

use serde_json::Value;

use crate::harness::{bash, program, rows_in, run, scratch, write_plan};

const PLAN: &str = "\
model: m/m
hardware: {gpu_count: 4}
dataset: {num_prompts: 80, scenario_names: [chat], input_len: [1000], output_len: [1000]}
benchmark: {max_concurrency: [null, 16], qps: {lower: 0.25, upper: 8}}
sla: {max_p99_ttft_ms: 2000, max_p99_tpot_ms: 50}
search: {stages: 2}
frameworks:
  sglang: {search_space: {max_running_requests: [32, 64, 128, 256, 512]}}
  vllm: {search_space: {max_num_seqs: [32, 64, 128, 256, 512]}}
";

/// What bench-expand writes for the plan, and says about the time.
fn expanded(folder: &Path, plan: &str, options: &str) -> (Vec<Value>, Vec<String>) {
    write_plan(folder, plan);
    let out = run(bash(&format!("bench-expand plan.yaml {options}")).current_dir(folder), "").expect(0);
    let said = out.stderr.lines().filter(|line| line.contains("to end within") || line.contains("ends within"));
    (out.rows(), said.map(String::from).collect())
}

/// The candidates of a framework that run, and those for which there is no time.
fn split<'a>(rows: &'a [Value], framework: &str) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let own: Vec<&Value> = rows.iter().filter(|row| row["framework"] == framework).collect();
    let (runs, skipped): (Vec<&Value>, Vec<&Value>) = own.into_iter().partition(|row| row["status"].is_null());
    assert!(skipped.iter().all(|row| row["status"] == "skipped" && row["failure_class"] == "budget"), "{skipped:?}");
    (runs, skipped)
}

#[test]
fn a_plan_an_option_and_a_time_of_day_leave_out_the_same() {
    let folder = scratch();
    let with_fit = PLAN.replace("{stages: 2}", "{stages: 2, fit: 2h}");
    let (by_option, said) = expanded(folder.path(), PLAN, "--fit 2h");
    let [line] = &said[..] else { panic!("{said:?}") };
    assert!(line.contains("to end within 2.0 h, likely ") && line.contains(" GPU-hours: leaves out "), "{line}");
    // In this order.
    let places: Vec<usize> = ["repeats (", "runs at given loads (", "candidates beyond the "]
        .iter()
        .map(|what| line.find(what).unwrap_or_else(|| panic!("{what}: {line}")))
        .collect();
    assert!(places.is_sorted(), "{line}");
    for framework in ["sglang", "vllm"] {
        let (runs, skipped) = split(&by_option, framework);
        assert_eq!(runs.len() + skipped.len(), 6);
        assert!(!runs.is_empty() && !skipped.is_empty(), "{} {}", runs.len(), skipped.len());
        assert_eq!(runs[0]["search"]["baseline"], true);
        // The first ones stay.
        let last = |rows: &[&Value]| rows.iter().map(|row| row["search"]["index"].as_u64().unwrap_or(0)).max().unwrap();
        assert!(last(&runs) < skipped.iter().map(|row| row["search"]["index"].as_u64().unwrap_or(0)).min().unwrap());
    }
    let (by_plan, said) = expanded(folder.path(), &with_fit, "");
    assert_eq!(by_plan, by_option);
    assert!(said[0].contains("to end within 2.0 h (search.fit), likely "), "{said:?}");
    let until = "--until $(date -d '+121 min' +%H:%M)";
    let (by_clock, said) = expanded(folder.path(), PLAN, until);
    let runs = |rows: &[Value]| rows.iter().filter(|row| row["status"].is_null()).count();
    assert_eq!(runs(&by_clock), runs(&by_option), "{said:?}");
    assert!(said[0].contains("to end within 2.0 h, likely "), "{said:?}");
    // The command line overrides the plan.
    let (all, said) = expanded(folder.path(), &with_fit, "--fit none");
    assert_eq!((runs(&all), all.len(), said.len()), (12, 12, 0), "{said:?}");
    let (all, said) = expanded(folder.path(), &with_fit, "--fit 100h");
    assert_eq!((runs(&all), all.len()), (12, 12));
    assert!(said[0].ends_with("nothing is left out"), "{said:?}");
}

#[test]
fn several_plans_share_the_time() {
    let folder = scratch();
    std::fs::write(folder.path().join("other.yaml"), PLAN.replace("m/m", "other/m")).unwrap();
    let times = |said: &[String]| -> Vec<String> {
        let time = |line: &String| line.split("within ").nth(1).unwrap().split(',').next().unwrap().to_string();
        said.iter().map(time).collect()
    };
    let (rows, said) = expanded(folder.path(), PLAN, "other.yaml --fit 4h");
    let first = &times(&said)[0];
    assert_eq!(first, "2.0 h");
    // What the first one leaves is for the second.
    let second: f64 = times(&said)[1].strip_suffix(" h").unwrap().parse().unwrap();
    assert!((2.0..2.5).contains(&second), "{said:?}");
    for model in ["m/m", "other/m"] {
        assert!(rows.iter().any(|row| row["model"] == model && row["status"].is_null()), "{model}: {said:?}");
    }
    // As the plans say it themselves, if they all do; and of rows as of files.
    let own = [("plan.yaml", "1h"), ("other.yaml", "3h")];
    for (name, time) in own {
        let fit = format!("{{stages: 2, fit: {time}}}");
        std::fs::write(folder.path().join(name), PLAN.replace("{stages: 2}", &fit)).unwrap();
    }
    for command in
        ["bench-expand plan.yaml other.yaml --fit 2h", "bench-validate -q plan.yaml other.yaml | bench-expand --fit 2h"]
    {
        let out = run(bash(command).current_dir(folder.path()), "").expect(0);
        assert!(out.stderr.contains("to end within 30 min, "), "{command}: {}", out.stderr);
    }
}

#[test]
fn a_sweep_asks_for_the_next_candidate_of_each_framework() {
    let folder = scratch();
    let (next, _) = expanded(folder.path(), PLAN, "--fit 2h --next");
    assert_eq!(next.iter().map(|row| row["framework"].as_str().unwrap()).collect::<Vec<_>>(), ["sglang", "vllm"]);
    assert!(next.iter().all(|row| row["search"]["baseline"] == true));
    // Commands to read, and rows that several hosts share, are all of them.
    let with_fit = PLAN.replace("{stages: 2}", "{stages: 2, fit: 1m}");
    write_plan(folder.path(), &with_fit);
    let commands = run(bash("bench-expand plan.yaml --format sh").current_dir(folder.path()), "").expect(0);
    assert_eq!(commands.stdout.lines().filter(|line| line.contains("launch_server")).count(), 6, "{}", commands.stdout);
    let wrong = run(bash("bench-expand plan.yaml --until 7pm").current_dir(folder.path()), "").expect(2);
    assert!(wrong.stderr.contains("--until: must be a time of day such as 07:00"), "{}", wrong.stderr);
}

/// The first screen of a sweep whose plan has a limit of time says what it costs and what is left out; the rest is `skipped: budget`.
#[test]
fn a_sweep_honours_the_time_of_its_plan() {
    let folder = scratch();
    let plan = "\
model: sim
hardware: {gpu_count: 1}
dataset: {num_prompts: 20, scenario_names: [s], input_len: [8], output_len: [20]}
benchmark: {max_concurrency: [2]}
sla: {max_p90_ttft_ms: 1000, max_p90_tpot_ms: 20}
search: {fit: 5s}
frameworks:
  sim: {base_server_flags: {load_ms: 0, step_base_us: 10000}, search_space: {max_num_seqs: [2, 3, 4, 5]}}
";
    let (plan, out) = (write_plan(folder.path(), plan), folder.path().join("out"));
    let swept = run(program("bench-sweep").arg(&plan).arg("--out").arg(&out), "").expect(0);
    assert!(swept.stderr.contains("to end within 1 min, likely "), "{}", swept.stderr);
    assert!(swept.stderr.contains("leaves out candidates beyond the "), "{}", swept.stderr);
    let results = rows_in(&out.join("results.jsonl"));
    let of = |status: &str| results.iter().filter(|row| row["status"] == status).count();
    assert!(of("ok") >= 1 && of("skipped") >= 1, "{} {}", of("ok"), of("skipped"));
    assert_eq!(of("ok") + of("skipped"), 5, "each candidate has a row: {results:#?}");
    let skipped = results.iter().filter(|row| row["status"] == "skipped");
    skipped.for_each(|row| assert_eq!(row["failure_class"], "budget", "{row}"));
    // All of them are in the list, and run if nothing limits them.
    assert_eq!(rows_in(&out.join("candidates.jsonl")).iter().filter(|row| row["record"] == "candidate").count(), 5);
    let again =
        run(program("bench-sweep").arg(&plan).arg("--out").arg(&out).args(["--fit", "none", "--retry", "failed"]), "");
    let results = rows_in(&out.join("results.jsonl"));
    assert_eq!(results.iter().filter(|row| row["status"] == "ok").count(), 5, "{}", again.stderr);
}
