//! Folders and names of other clients' files, keys of `--set`, and one ranking over several clients.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Output, bash, fixtures, program, run, scratch};

fn native(name: &str) -> std::path::PathBuf {
    fixtures().join("native").join(name)
}

fn normalize(arguments: &[&str]) -> Output {
    run(program("bench-normalize").args(arguments), "")
}

fn copy(from: &str, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(native(from), to).unwrap();
}

/// 60 results of three clients: five settings of each of three frameworks, two scenarios, two repeats, named as people name
/// them.
fn runs(folder: &Path) {
    for (file, framework, end) in [
        ("plain/vllm-0.33.0.json", "vllm", "json"),
        ("plain/sglang-0.5.23.jsonl", "sglang", "jsonl"),
        ("plain/guidellm-0.8.1.json", "tensorrt_llm", "json"),
    ] {
        for seqs in [2, 4, 8, 16, 32] {
            for (scenario, repeat) in [("chat", 1), ("chat", 2), ("summarization", 1), ("summarization", 2)] {
                copy(file, &folder.join(format!("{framework}-seqs{seqs}-{scenario}-c8-run{repeat}.{end}")));
            }
        }
    }
}

/// The two commands of docs/by-hand.md for results of other clients.
fn commands_of_the_page() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/by-hand.md")).unwrap();
    let lines = page.lines().skip_while(|line| !line.starts_with("bench-normalize runs/"));
    let commands: Vec<&str> = lines.take_while(|line| *line != "```").collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    commands.join("\n")
}

#[test]
fn sixty_results_of_three_clients_are_one_table_per_scenario_by_two_commands() {
    let folder = scratch();
    runs(&folder.path().join("runs"));
    let commands = commands_of_the_page();
    let report = run(bash(&commands).current_dir(folder.path()), "").expect(0);
    assert_eq!(report.stderr, "");
    for (scenario, next) in [("chat", "summarization"), ("summarization", "## ")] {
        let (_, table) = report.stdout.split_once(&format!("### {scenario}")).expect("a table of this scenario");
        let table = table.split(&format!("\n### {next}")).next().unwrap_or_default();
        let rows: Vec<&str> = table.lines().skip_while(|line| !line.starts_with("|---")).skip(1).collect();
        let rows: Vec<&str> = rows.into_iter().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 15, "three frameworks with five settings: {}", report.stdout);
        assert!(rows.iter().all(|row| row.contains("(2 repeats)") && row.contains("max_num_seqs=")), "{rows:#?}");
        for framework in ["vllm", "sglang", "tensorrt_llm"] {
            assert_eq!(rows.iter().filter(|row| row.contains(&format!("| {framework} |"))).count(), 5, "{rows:#?}");
        }
    }
    assert_eq!(report.stdout.matches("\n### ").count(), 2, "{}", report.stdout);
    // Without --allow-mixed each client has rankings of its own, and the report says how to join them.
    let rows = fs::read_to_string(folder.path().join("results.jsonl")).unwrap();
    let alone = run(program("bench-rank").args(["--format", "md"]), &rows).expect(0).stdout;
    assert!(alone.matches("\n### ").count() == 6 && alone.contains("--allow-mixed"), "{alone}");
}

#[test]
fn a_name_that_does_not_match_is_an_error_with_the_pattern() {
    let folder = tempfile::tempdir().unwrap();
    runs(folder.path());
    copy("plain/vllm-0.33.0.json", &folder.path().join("other.json"));
    let done = normalize(&[
        folder.path().to_str().unwrap(),
        "--name",
        "{framework}-seqs{max_num_seqs}-{scenario}-c{concurrency}-run{repeat}",
    ])
    .expect(2);
    assert_eq!(done.records("result").len(), 60, "the others are read: {}", done.stderr);
    assert!(done.stderr.contains("other.json: the file's name does not match --name"), "{}", done.stderr);
    assert!(
        normalize(&["x.json", "--name", "plain.json"]).expect(2).stderr.contains("it has no field such as {scenario}")
    );
}

#[test]
fn an_unknown_key_is_an_error_with_the_known_ones() {
    let file = native("plain/vllm-0.33.0.json");
    let file = file.to_str().unwrap();
    for (set, said) in [
        ("scenarioo=x", "unknown key \"scenarioo\"; did you mean scenario?"),
        ("hardware.gpu_cuont=4", "did you mean gpu_count?"),
        ("gpu_count=four", "gpu_count must be a whole number"),
        ("sla.max_p99_tfft_ms=5", "did you mean max_p99_ttft_ms?"),
    ] {
        let done = normalize(&[file, "--set", set]).expect(2);
        assert!(done.stdout.is_empty() && done.stderr.contains(said), "{set}: {}", done.stderr);
    }
    let row = normalize(&[
        file,
        "--set",
        "scenario=chat",
        "--set",
        "input_len=20",
        "--set",
        "max_p99_ttft_ms=500",
        "--set",
        "server_command=vllm serve m",
    ]);
    let row = row.expect(0).records("result").remove(0);
    assert_eq!((&row["workload"]["scenario"], &row["workload"]["input_len"]), (&json!("chat"), &json!(20.0)));
    assert_eq!((&row["sla"]["max_p99_ttft_ms"], &row["server_command"]), (&json!(500.0), &json!("vllm serve m")));
}

#[test]
fn a_folder_takes_every_result_and_names_what_it_skips() {
    let folder = tempfile::tempdir().unwrap();
    copy("plain/vllm-0.33.0.json", &folder.path().join("vllm-infqps-concurrency4-m-20261128-101010.json"));
    copy("plain/sglang-0.5.23.jsonl", &folder.path().join("deep/sglang_1128_40_random.jsonl"));
    fs::write(folder.path().join("notes.json"), "{\"by\": \"me\"}").unwrap();
    fs::write(folder.path().join("export.csv"), "a,b\n1,2\n").unwrap();
    let done = normalize(&[folder.path().to_str().unwrap()]).expect(0);
    let frameworks: Vec<Value> = done.records("result").iter().map(|row| row["framework"].clone()).collect();
    assert_eq!(frameworks, ["sglang", "vllm"], "{}", done.stderr);
    assert!(done.stderr.contains("not results of a known client: export.csv, notes.json"), "{}", done.stderr);
}

#[test]
fn named_entries_of_a_sweep_have_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    for seqs in [16, 4] {
        let run = format!("results/exp1/SERVE--seqs{seqs}-BENCH--max_concurrency=4/run=0.json");
        copy("plain/vllm-0.33.0.json", &folder.path().join(run));
    }
    let changed = |done: &Output| -> Vec<Value> {
        done.records("result").iter().map(|row| row["candidate"]["changed"].clone()).collect()
    };
    let path = folder.path().to_str().unwrap();
    let without = normalize(&[path]).expect(0);
    assert_eq!(changed(&without), [Value::Null, Value::Null]);
    let report = run(program("bench-rank").args(["--format", "md"]), &without.stdout).expect(0).stdout;
    assert!(report.contains("sweep-seqs16") && !report.contains("baseline"), "{report}");
    let params =
        json!([{"_benchmark_name": "seqs4", "max_num_seqs": 4}, {"_benchmark_name": "seqs16", "max_num_seqs": 16}]);
    fs::write(folder.path().join("serve_params.json"), params.to_string()).unwrap();
    let with = normalize(&[path]).expect(0);
    assert_eq!(changed(&with), [json!({"max_num_seqs": 16}), json!({"max_num_seqs": 4})], "{}", with.stderr);
    assert!(!with.stderr.contains("serve_params.json"), "{}", with.stderr);
}

#[test]
fn a_named_scenario_of_other_lengths_is_another_workload() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(native("plain/vllm-0.33.0.json")).unwrap();
    let mut longer: Value = serde_json::from_str(&text).unwrap();
    longer["total_input_tokens"] = json!(longer["total_input_tokens"].as_f64().unwrap() * 20.0);
    fs::write(folder.path().join("longer.json"), longer.to_string()).unwrap();
    let files =
        [native("plain/vllm-0.33.0.json"), native("plain/sglang-0.5.23.jsonl"), folder.path().join("longer.json")];
    let files: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    let rows = normalize(&[&files[..], &["--set", "scenario=chat"]].concat()).expect(0).records("result");
    let workload = |row: &Value| row["fingerprint"]["workload"].clone();
    assert_eq!(workload(&rows[0]), workload(&rows[1]), "two clients");
    assert_ne!(workload(&rows[0]), workload(&rows[2]), "other lengths");
}

#[test]
fn an_evaluation_reaches_results_however_they_come_in() {
    let folder = scratch();
    let write = |name: &str, content: String| fs::write(folder.path().join(name), content).unwrap();
    let evaluation =
        json!({"results": {"gsm8k": {"exact_match,strict-match": 0.9}}, "n-samples": {"gsm8k": {"effective": 1000}}});
    write("eval.json", evaluation.to_string());
    let one_line: Value = serde_json::from_str(&fs::read_to_string(native("plain/vllm-0.33.0.json")).unwrap()).unwrap();
    write("line.jsonl", format!("{one_line}\n"));
    write(
        "row.jsonl",
        json!({"record": "result", "framework": "vllm", "candidate_id": "c", "metrics": {}}).to_string() + "\n",
    );
    fs::copy(native("plain/vllm-0.33.0.json"), folder.path().join("whole.json")).unwrap();
    for file in ["line.jsonl", "row.jsonl", "whole.json"] {
        for answers in ["vllm=eval.json", "vllm=-"] {
            let mut command = program("bench-normalize");
            command.args([file, "--answers", answers]).current_dir(folder.path());
            let done = run(&mut command, &evaluation.to_string()).expect(0);
            let rows = done.records("result");
            assert_eq!((rows.len(), done.stderr.as_str()), (1, ""), "{file}");
            assert_eq!(rows[0]["quality"]["answers"]["right"], 900, "{file}: {}", done.stdout);
        }
    }
    // The baseline may be in another file, and come last.
    let of = |id: &str, baseline: bool| json!({"record": "result", "framework": "vllm", "candidate_id": id, "status": "ok", "candidate": {"baseline": baseline}});
    write("low.jsonl", of("low", false).to_string());
    write("base.jsonl", of("base", true).to_string());
    write("better.json", evaluation.to_string().replace("0.9", "0.95"));
    let mut command = program("bench-normalize");
    command.args(["low.jsonl", "base.jsonl", "--answers", "low=eval.json", "--answers", "base=better.json"]);
    let rows = run(command.current_dir(folder.path()), "").expect(0).records("result");
    let verdicts: Vec<&Value> = rows.iter().map(|row| &row["quality"]["answers"]["verdict"]).collect();
    assert_eq!(verdicts, ["worse", "same"], "{rows:?}");
}

#[test]
fn a_pipe_is_read_from_its_beginning() {
    let folder = scratch();
    let row = |n: u32| json!({"record": "result", "framework": "x", "status": "ok", "candidate_id": n}).to_string();
    fs::write(folder.path().join("rows.jsonl"), (0..2000).map(|n| row(n) + "\n").collect::<String>()).unwrap();
    fs::copy(native("plain/vllm-0.33.0.json"), folder.path().join("whole.json")).unwrap();
    let report = "version: '0.2'\nresults: {}\n";
    fs::write(folder.path().join("report.yaml"), report).unwrap();
    for (script, results) in [
        ("bench-normalize <(cat rows.jsonl)", 2000),
        ("bench-normalize <(cat whole.json) <(cat rows.jsonl)", 2001),
        ("mkfifo pipe; cat rows.jsonl > pipe & bench-normalize pipe", 2000),
        ("mkfifo pipe2; cat whole.json > pipe2 & bench-normalize pipe2", 1),
    ] {
        let done = run(bash(script).current_dir(folder.path()), "").expect(0);
        assert_eq!(done.records("result").len(), results, "{script}: {}", done.stderr);
    }
    let by_name = normalize(&[folder.path().join("report.yaml").to_str().unwrap()]);
    let by_pipe = run(bash("bench-normalize <(cat report.yaml)").current_dir(folder.path()), "");
    let reason = |done: &Output| done.stderr.split(": ").skip(2).collect::<Vec<_>>().join(": ");
    assert_eq!(reason(&by_pipe), reason(&by_name));
    assert!(by_name.stderr.contains("unknown format") || by_name.stderr.contains("llm-d"), "{}", by_name.stderr);
}

#[test]
fn a_failed_run_of_a_sweep_takes_what_is_set_of_it() {
    let folder = scratch();
    let file = folder.path().join("seqs16-chat-run2-failure.json");
    fs::write(&file, json!({"error_type": "RuntimeError", "error": "no memory"}).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let pattern = "seqs{max_num_seqs}-{scenario}-run{repeat}-failure";
    let done = normalize(&[file, "--name", pattern, "--set", "framework=sglang"]).expect(0);
    let rows = done.records("result");
    assert_eq!((&rows[0]["framework"], &rows[0]["status"]), (&json!("sglang"), &json!("failed")));
    assert_eq!(rows[0]["workload"]["scenario"], "chat");
    assert_eq!(rows[0]["candidate"]["changed"], json!({"max_num_seqs": 16}));
    let candidate = folder.path().join("candidate.jsonl");
    fs::write(&candidate, json!({"framework": "sglang", "candidate_id": "c7", "model": "m"}).to_string()).unwrap();
    let rows = normalize(&[file, "--candidate", candidate.to_str().unwrap()]).expect(0).records("result");
    assert_eq!((&rows[0]["framework"], &rows[0]["candidate_id"]), (&json!("sglang"), &json!("c7")));
}
