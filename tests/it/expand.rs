//! bench-expand beyond its cases: strategies and tiers, stages and passes, resume, other tools' files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Mark, Output, bash, finish, kill, program, run, scratch, skipped, wait_until, write_plan};

/// bench-expand on a plan for bench-sim with this `search` and this framework's body.
fn expand(search: &Value, sim: &Value, more: &[&str]) -> Output {
    let plan = json!({"schema_version": 1, "record": "plan", "model": "m", "sla": {"max_p50_ttft_ms": 1000},
        "dataset": {"scenario_names": ["chat"], "input_len": [100], "output_len": [10], "num_prompts": 40},
        "benchmark": {"qps": {"lower": 1, "upper": 8}}, "search": search, "frameworks": {"sim": sim}});
    run(program("bench-expand").args(more), &format!("{plan}\n"))
}

fn changes(done: &Output) -> Vec<Value> {
    done.records("candidate").iter().map(|c| c["server"]["changed"].clone()).collect()
}

#[test]
fn the_first_tier_is_one_knob_at_a_time() {
    let space = json!({"search_space": {"max_num_seqs": [4, 8, 16], "enable_chunked_prefill": [true, false],
        "max_num_batched_tokens": [256, 512], "step_base_us": [1, 2], "prefill_token_us": [1, 2], "decode_seq_us": [1, 2], "kv_token_ns": [1, 2]}});
    let done = expand(&json!({"tier": 1, "max_candidates_per_framework": 100}), &space, &[]).expect(0);
    let changed = changes(&done);
    // Six knobs with two values, but false is what the baseline says already.
    assert_eq!(changed.len(), 1 + 11, "{changed:#?}");
    assert!(changed[1..].iter().all(|c| c.as_object().unwrap().len() == 1 && c.get("kv_token_ns").is_none()));
    assert!(!changed.contains(&json!({"max_num_seqs": 16})));
}

#[test]
fn the_third_tier_asks_first_and_has_no_bound() {
    let space =
        json!({"search_space": {"max_num_seqs": [1, 2, 3, 4, 5], "max_num_batched_tokens": [64, 128, 256, 512]}});
    let done = expand(&json!({"tier": 3}), &space, &[]).expect(2);
    assert!(
        done.stdout.is_empty() && done.stderr.contains("use --accept-long-run, --fit TIME or --budget SECONDS"),
        "{}",
        done.stderr
    );
    for more in [&["--accept-long-run"][..], &["--budget", "3600"]] {
        assert_eq!(changes(&expand(&json!({"tier": 3}), &space, more).expect(0)).len(), 21);
    }
}

#[test]
fn an_ordered_list_is_tried_as_it_stands() {
    let list = json!({"base_server_flags": {"max_num_seqs": 4}, "candidates": [{"max_num_seqs": 8}, {"max_num_seqs": 4}, {"max_num_seqs": 2, "max_num_batched_tokens": 64}]});
    let done = expand(&json!({"strategy": "ordered"}), &list, &[]).expect(0);
    // The second is the baseline itself.
    assert_eq!(
        changes(&done),
        [json!({}), json!({"max_num_seqs": 8}), json!({"max_num_seqs": 2, "max_num_batched_tokens": 64})]
    );
    assert_eq!(done.records("candidate")[2]["search"]["why"], "number 3 in candidates");
}

#[test]
fn chance_has_a_seed() {
    let space =
        json!({"search_space": {"max_num_seqs": [1, 2, 3, 4, 5], "max_num_batched_tokens": [64, 128, 256, 512]}});
    let with = |seed: u64| changes(&expand(&json!({"strategy": "random", "seed": seed}), &space, &[]).expect(0));
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    let pairs = expand(&json!({"strategy": "pairwise", "max_candidates_per_framework": 50}), &space, &[]).expect(0);
    let seen: BTreeSet<String> = changes(&pairs)[1..].iter().map(Value::to_string).collect();
    assert_eq!(seen.len(), 20);
}

/// A result row of a candidate, as bench-normalize writes it.
fn result(candidate: &Value, rate: f64, passed: bool, throughput: f64) -> Value {
    json!({"schema_version": 1, "record": "result", "framework": candidate["framework"], "framework_version": null, "framework_commit": null,
        "candidate_id": candidate["candidate_id"], "model": "m", "status": "ok", "failure_reason": null, "hardware": {"gpu_count": 1},
        "workload": {"kind": "random", "scenario": "chat", "request_rate": rate, "load": {"mode": "open", "rate": rate}},
        "sla": {"max_p50_ttft_ms": 1000, "passed": passed}, "metrics": {"request_throughput": throughput, "mean_ttft_ms": 5.0},
        "server_command": "x", "benchmark_command": "y", "quality": {}, "fingerprint": {}, "environment": {},
        "candidate": {"changed": candidate["server"]["changed"], "baseline": candidate["search"]["baseline"], "index": 0, "of": 4}})
}

fn write(path: &Path, rows: &[Value]) -> String {
    fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    path.display().to_string()
}

#[test]
fn the_second_pass_runs_the_leaders_again_in_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let space = json!({"search_space": {"max_num_seqs": [1, 2, 3, 4]}});
    let first = expand(&json!({}), &space, &[]).expect(0).records("candidate");
    // The baseline keeps 2/s, then 4, 6, 3 and 5.
    let rates = [2.0, 4.0, 6.0, 3.0, 5.0];
    let results: Vec<Value> = first.iter().zip(rates).map(|(c, rate)| result(c, rate, true, rate)).collect();
    let file = write(&folder.path().join("results.jsonl"), &results);
    let second = |more: &[&str]| {
        let arguments = [&["--from", &file, "--top", "2"], more].concat();
        expand(&json!({}), &space, &arguments).expect(0).records("candidate")
    };
    let rows = second(&["--repeats", "2..4", "--order", "blocked"]);
    let ids: Vec<&str> = rows.iter().map(|c| c["candidate_id"].as_str().unwrap()).collect();
    let wanted: BTreeSet<&str> = [0, 2, 4].map(|i| first[i]["candidate_id"].as_str().unwrap()).into();
    assert_eq!(ids.len(), 9);
    for block in ids.chunks(3) {
        assert_eq!(block.iter().copied().collect::<BTreeSet<_>>(), wanted);
    }
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
    assert_eq!(rows, second(&["--repeats", "2..4"]));
    // Each at its own best rate and at the leader's, without a search, and once in each block.
    let repeats: Vec<Value> = rows.iter().map(|c| c["units"][0]["repeat"].clone()).collect();
    assert_eq!(repeats, [1, 1, 1, 2, 2, 2, 3, 3, 3].map(Value::from));
    let baseline = rows.iter().find(|c| c["candidate_id"] == first[0]["candidate_id"]).unwrap();
    let loads: Vec<f64> =
        baseline["loads"].as_array().unwrap().iter().map(|load| load["rate"].as_f64().unwrap()).collect();
    assert_eq!((loads, baseline["units"].as_array().unwrap().len()), (vec![2.0, 6.0], 2));
    let keys: BTreeSet<String> =
        rows.iter().flat_map(|c| c["units"].as_array().unwrap().clone()).map(|u| u["key"].to_string()).collect();
    assert_eq!(keys.len(), 2 * 6 + 3, "every unit has a key of its own");
    // The leader's own best is the leader's rate: one load point.
    let leader = rows.iter().find(|c| c["candidate_id"] == first[2]["candidate_id"]).unwrap();
    assert_eq!(leader["loads"], json!([{"mode": "open", "rate": 6.0}]));
    expand(&json!({}), &space, &["--from", &file, "--repeats", "1..2"]).expect(2);
    assert_eq!(second(&["--repeats", "1"]).len(), 3);
}

#[test]
fn speculation_is_a_second_stage() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |more: &[&str]| {
        let plan = json!({"schema_version": 1, "record": "plan", "model": "m", "sla": {"max_p50_ttft_ms": 1},
            "dataset": {"scenario_names": ["chat"], "input_len": [100], "output_len": [10]}, "benchmark": {"max_concurrency": [1]},
            "frameworks": {"vllm": {"search_space": {"max_num_seqs": [8, 16], "speculative_config": [{"method": "ngram"}, {"method": "mtp"}]}}}});
        run(program("bench-expand").args(more), &format!("{plan}\n")).expect(0).records("candidate")
    };
    let first = plan(&[]);
    let run_now: Vec<&Value> = first.iter().filter(|c| c["status"] == Value::Null).collect();
    let later: Vec<&Value> = first.iter().filter(|c| c["failure_class"] == "speculative").collect();
    assert_eq!((run_now.len(), later.len()), (3, 1), "{first:#?}");
    assert!(later[0]["failure_reason"].as_str().unwrap().contains("--stage speculative --on results.jsonl"));
    let results =
        [result(run_now[0], 1.0, true, 1.0), result(run_now[1], 2.0, true, 3.0), result(run_now[2], 2.0, true, 2.0)];
    let file = write(&folder.path().join("results.jsonl"), &results);
    let second = plan(&["--stage", "speculative", "--on", &file]);
    assert_eq!(second.len(), 3);
    assert_eq!(second[0]["candidate_id"], run_now[1]["candidate_id"], "the best plain candidate is the new baseline");
    assert!(second[1..].iter().all(
        |c| c["server"]["flags"]["max_num_seqs"] == 8 && c["server"]["changed"].get("speculative_config").is_some()
    ));
    assert!(run(program("bench-expand").args(["--stage", "speculative"]), "").expect(2).stderr.contains("--on"));
}

#[test]
fn what_fails_for_a_reason_that_passes_is_tried_three_times_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let first = expand(&json!({}), &json!({}), &[]).expect(0).records("candidate");
    let failed = |class: &str, attempts: u32| {
        let mut row = result(&first[0], 1.0, false, 0.0);
        row["status"] = "failed".into();
        row["failure_class"] = class.into();
        row["attempts"] = attempts.into();
        row["units"] = json!([first[0]["units"][0]["key"]]);
        write(&folder.path().join("results.jsonl"), &[row])
    };
    let left = |file: &str, more: &[&str]| {
        expand(&json!({}), &json!({}), &[&["--done", file], more].concat()).expect(0).records("candidate").len()
    };
    for (class, attempts, transient) in [
        ("port_in_use", 1, 1),
        ("port_in_use", 2, 1),
        ("port_in_use", 3, 0),
        ("bad_flag", 1, 0),
        ("interrupted", 9, 1),
        ("incomplete", 1, 1),
        ("disk_full", 2, 1),
    ] {
        let file = failed(class, attempts);
        assert_eq!(left(&file, &[]), transient, "{class} {attempts}");
        assert_eq!(left(&file, &["--retry", "failed"]), 1, "{class} {attempts}");
    }
}

#[test]
fn candidates_become_the_files_of_vllms_own_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let plan = json!({"schema_version": 1, "record": "plan", "model": "m", "sla": {"max_p50_ttft_ms": 1},
        "dataset": {"scenario_names": ["chat"], "input_len": [100], "output_len": [10], "num_prompts": 40},
        "benchmark": {"max_concurrency": [null, 4], "qps": {"lower": 1, "upper": 5}},
        "frameworks": {"vllm": {"base_server_flags": {"max_model_len": 512}, "search_space": {"max_num_seqs": [8]}}, "sim": {}}});
    let to = folder.path().join("sweep");
    let done = run(program("bench-expand").args(["--emit", "vllm-sweep"]).arg(&to), &format!("{plan}\n")).expect(0);
    assert!(done.stdout.is_empty());
    let read = |name: &str| -> Value { serde_json::from_str(&fs::read_to_string(to.join(name)).unwrap()).unwrap() };
    let serve = read("serve_params.json");
    assert_eq!(serve.as_array().unwrap().len(), 2);
    assert_eq!((&serve[1]["max_num_seqs"], serve[0].as_object().unwrap().len()), (&json!(8), 1));
    let bench = read("bench_params.json");
    let rates: Vec<&Value> = bench.as_array().unwrap().iter().filter_map(|b| b.get("request_rate")).collect();
    assert_eq!(rates, [&json!(1.0), &json!(2.0), &json!(4.0), &json!(5.0)]);
    assert_eq!(
        bench[4],
        json!({"_benchmark_name": "chat-max_concurrency=4", "random_input_len": 100, "random_output_len": 10, "num_prompts": 40, "max_concurrency": 4})
    );
    let script = fs::read_to_string(to.join("sweep.sh")).unwrap();
    assert!(script.contains("--serve-cmd 'vllm serve m ") && script.contains("--max-model-len 512"), "{script}");
    // Every flag of the command is one that the tool's help has.
    let help = fs::read_to_string(
        crate::harness::root().join("tests/fixtures/help/vllm-0.32.0/vllm_bench_sweep_serve_help_all.txt"),
    )
    .unwrap();
    let outer = script.replace('\'', " ");
    for flag in [
        "--serve-cmd",
        "--bench-cmd",
        "--serve-params",
        "--bench-params",
        "--num-runs",
        "--continue-on-error",
        "--output-dir",
    ] {
        assert!(outer.contains(flag) && help.contains(flag), "{flag}");
    }
    let none = run(program("bench-expand").args(["--emit", "other"]).arg(&to), "").expect(2);
    assert!(none.stderr.contains("known: vllm-sweep"));
}

#[test]
fn two_entries_of_vllm_become_two_sweeps() {
    let folder = tempfile::tempdir().unwrap();
    let plan = json!({"schema_version": 1, "record": "plan", "model": "m", "sla": {"max_p50_ttft_ms": 1},
        "dataset": {"scenario_names": ["chat"], "input_len": [100], "output_len": [10], "num_prompts": 40},
        "benchmark": {"max_concurrency": [4]},
        "frameworks": {"old": {"definition": "vllm", "server_command": "/old/bin/vllm serve"},
                       "new": {"definition": "vllm", "server_command": "/new/bin/vllm serve", "search_space": {"max_num_seqs": [8]}}}});
    let to = folder.path().join("sweep");
    run(program("bench-expand").args(["--emit", "vllm-sweep"]).arg(&to), &format!("{plan}\n")).expect(0);
    for (name, n) in [("old", 1), ("new", 2)] {
        let read = |file: &str| fs::read_to_string(to.join(name).join(file)).unwrap();
        assert!(read("sweep.sh").contains(&format!("/{name}/bin/vllm serve m")), "{}", read("sweep.sh"));
        assert_eq!(serde_json::from_str::<Value>(&read("serve_params.json")).unwrap().as_array().unwrap().len(), n);
    }
}

fn ids(done: &Output) -> BTreeSet<String> {
    done.records("candidate").iter().map(|row| row["candidate_id"].as_str().unwrap().to_string()).collect()
}

#[test]
fn parts_are_all_candidates_once_and_each_has_its_baseline() {
    let space = json!({"search_space": {"max_num_seqs": [1, 2, 3, 4, 5, 6], "max_num_batched_tokens": [64, 128, 256]}});
    let search = json!({"max_candidates_per_framework": 40});
    let whole = expand(&search, &space, &[]).expect(0);
    let baseline = whole.records("candidate")[0]["candidate_id"].as_str().unwrap().to_string();
    let mut found = BTreeSet::new();
    for part in ["1/4", "2/4", "3/4", "4/4"] {
        let own = expand(&search, &space, &["--part", part]).expect(0);
        let rows = own.records("candidate");
        assert_eq!(rows[0]["candidate_id"], json!(baseline), "the baseline comes first in {part}");
        assert_eq!(rows.last().unwrap()["position"], json!({"index": rows.len(), "of": rows.len(), "units_left": 1}));
        for id in ids(&own) {
            assert!(id == baseline || found.insert(id.clone()), "{id} is in two parts");
        }
    }
    found.insert(baseline);
    assert_eq!(found, ids(&whole));
    // A longer list changes nobody's part.
    let longer =
        json!({"search_space": {"max_num_seqs": [1, 2, 3, 4, 5, 6], "max_num_batched_tokens": [64, 128, 256, 512]}});
    let (short, long) = (
        ids(&expand(&search, &space, &["--part", "2/4"]).expect(0)),
        ids(&expand(&search, &longer, &["--part", "2/4"]).expect(0)),
    );
    assert!(short.is_subset(&long) && short.len() < long.len());
    expand(&search, &space, &["--part", "5/4"]).expect(2);
}

#[test]
fn a_matrix_lists_the_parts_with_runs() {
    let space = json!({"search_space": {"max_num_seqs": [1, 2, 3, 4]}});
    let matrix = expand(&json!({}), &space, &["--format", "matrix", "--parts", "16"]).expect(0).rows().remove(0);
    let parts = matrix["include"].as_array().unwrap();
    assert!((1..=5).contains(&parts.len()), "parts without candidates are left out: {matrix}");
    for part in parts {
        let own = expand(&json!({}), &space, &["--part", part["part"].as_str().unwrap()]).expect(0);
        assert_eq!(part["candidates"], json!(own.records("candidate").len()));
        assert!(part["likely_s"].as_f64().unwrap() > 0.0);
    }
    expand(&json!({}), &space, &["--format", "matrix"]).expect(2);
    expand(&json!({}), &space, &["--parts", "2"]).expect(2);
}

#[test]
fn a_job_of_kubernetes_has_the_plan_and_the_parts() {
    let folder = crate::harness::scratch();
    let text =
        "model: m\nhardware: {gpu_count: 2}\nframeworks: {sim: {search_space: {max_num_seqs: [1, 2]}}}\n# \"quotes\"\n";
    let plan = crate::harness::write_plan(folder.path(), text);
    let job = |more: &[&str]| {
        run(program("bench-expand").args(["--format", "k8s-job", "--parts", "4"]).arg(&plan).args(more), "")
    };
    let missing = job(&[]).expect(2);
    assert!(missing.stderr.contains("use --set image=VALUE"), "{}", missing.stderr);
    let done = job(&["--set", "image=r.example/bench:1", "--set", "claim=results"]).expect(0);
    let list: Value = serde_json::from_str(&done.stdout).unwrap();
    let (map, job_of) = (&list["items"][0], &list["items"][1]);
    assert_eq!(map["data"]["plan.yaml"], json!(text));
    // As the page says.
    let page = fs::read_to_string(crate::harness::root().join("docs/many-hosts.md")).unwrap();
    assert!(page.contains(&format!("job/{} ", job_of["metadata"]["name"].as_str().unwrap())), "{job_of:#}");
    assert_eq!((&job_of["spec"]["completions"], &job_of["spec"]["parallelism"]), (&json!(4), &json!(4)));
    let container = &job_of["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], json!(2));
    let command = container["command"][2].as_str().unwrap();
    assert!(command.contains("--part \"$((JOB_COMPLETION_INDEX + 1))/4\""), "{command}");
    // Against the schemas that the API publishes, where a program that ships them is installed.
    let mut validate = crate::harness::bash("command -v kubernetes-validate");
    if run(&mut validate, "").code == Some(0) {
        for (i, item) in list["items"].as_array().unwrap().iter().enumerate() {
            std::fs::write(folder.path().join(format!("{i}.json")), item.to_string()).unwrap();
        }
        let mut validate = crate::harness::bash("kubernetes-validate --strict -k 1.33 0.json 1.json");
        run(validate.current_dir(folder.path()), "").expect(0);
    } else {
        crate::harness::skipped("kubernetes-validate is not installed");
    }
    let unknown = job(&["--set", "image=x", "--set", "claim=y", "--set", "imgae=x"]).expect(2);
    assert!(unknown.stderr.contains("no {imgae}"), "{}", unknown.stderr);
}

#[test]
fn raw_rows_are_not_taken_for_results() {
    let folder = scratch();
    let (raw, results) = (folder.path().join("raw.jsonl"), folder.path().join("results.jsonl"));
    fs::write(&raw, "{\"record\":\"server_end\",\"server_id\":\"s\",\"status\":\"ok\"}\n").unwrap();
    fs::write(&results, "{\"record\":\"result\",\"candidate_id\":\"c\",\"status\":\"ok\"}\n").unwrap();
    let said = |file: &Path| expand(&json!({}), &json!({}), &["--done", file.to_str().unwrap()]).stderr;
    assert!(
        said(&raw).contains("raw.jsonl has rows of runs, but no results: fold it with bench-normalize first"),
        "{}",
        said(&raw)
    );
    assert!(!said(&results).contains("no results"), "{}", said(&results));
}

#[test]
fn a_pod_of_a_job_that_is_told_to_end_saves_its_rows() {
    if run(&mut bash("unshare --pid --fork true"), "").code != Some(0) {
        return skipped("a process namespace needs root");
    }
    let folder = scratch();
    let results = folder.path().join("results");
    let text = "model: sim\nhardware: {gpu_count: 1}\nsla: {max_p99_ttft_ms: 5000}\nbenchmark: {max_concurrency: [1]}\n\
                dataset: {num_prompts: 12, scenario_names: [s], input_len: [8], output_len: [4]}\n\
                frameworks: {sim: {base_server_flags: {load_ms: 0, step_base_us: 50000}}}\n";
    let plan = write_plan(folder.path(), text);
    let mut job = program("bench-expand");
    job.args(["--format", "k8s-job", "--parts", "1", "--set", "image=i", "--set", "claim=c"]).arg(&plan);
    let list: Value = serde_json::from_str(&run(&mut job, "").expect(0).stdout).unwrap();
    let container = &list["items"][1]["spec"]["template"]["spec"]["containers"][0];
    let command = container["command"][2].as_str().unwrap();
    let command = command.replace("/plan/plan.yaml", &format!("{} --no-preflight --no-calibration", plan.display()));
    let command = command.replace("/results/", &format!("{}/", results.display()));
    std::fs::create_dir(&results).unwrap();
    let mark = Mark::new("k8s-job");
    for is_stopped in [true, false] {
        let mut pod = bash("exec unshare --pid --fork --kill-child --mount-proc sh -c \"$COMMAND\"");
        let pod = mark.put(&mut pod).env("COMMAND", &command).env("JOB_COMPLETION_INDEX", "0");
        let child = pod.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if is_stopped {
            let raw = results.join("part-0/raw/0001.jsonl");
            let runs = || std::fs::read_to_string(&raw).ok().filter(|text| text.contains("\"measured\""));
            wait_until(Duration::from_secs(30), runs).expect("it measures");
            // As Kubernetes does it: to the first process of the container, which is the shell.
            let first = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
            kill(first.trim().parse().unwrap(), Signal::SIGTERM);
        }
        let done = finish(child, Duration::from_secs(60));
        assert_eq!(done.code, Some(i32::from(is_stopped)), "{done:?}");
        let rows = std::fs::read_to_string(results.join("part-0/results.jsonl")).unwrap_or_default();
        assert_eq!(rows.contains("\"status\":\"ok\""), !is_stopped, "{rows}");
        assert!(!is_stopped || rows.contains("interrupted"), "its rows are saved: {rows}");
        mark.gone_within(Duration::from_secs(5));
    }
}
