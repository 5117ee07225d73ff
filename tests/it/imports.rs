//! Folders and names of other clients' files, keys of `--set`, and one ranking over several clients.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Output, fixtures, program, run};

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

/// Results of three clients, two frameworks' settings, two repeats each, named as people name them.
fn runs(folder: &Path) {
    for (file, framework, end) in [
        ("plain/vllm-0.33.0.json", "vllm", "json"),
        ("plain/sglang-0.5.23.jsonl", "sglang", "jsonl"),
        ("plain/guidellm-0.8.1.json", "tensorrt_llm", "json"),
    ] {
        for (seqs, repeat) in [(16, 1), (16, 2), (32, 1)] {
            copy(file, &folder.join(format!("{framework}-seqs{seqs}-chat-c4-run{repeat}.{end}")));
        }
    }
}

#[test]
fn results_of_three_clients_are_one_ranking_in_two_commands() {
    let folder = tempfile::tempdir().unwrap();
    runs(folder.path());
    let pattern = "{framework}-seqs{max_num_seqs}-{scenario}-c{concurrency}-run{repeat}";
    let done = normalize(&[folder.path().to_str().unwrap(), "--name", pattern]).expect(0);
    let rows = done.records("result");
    assert_eq!(rows.len(), 9, "{}", done.stderr);
    let of =
        |row: &Value| (row["framework"].clone(), row["candidate"]["changed"].clone(), row["native"]["repeat"].clone());
    assert_eq!(of(&rows[0]), (json!("sglang"), json!({"max_num_seqs": 16}), json!(1)));
    assert!(rows.iter().all(|row| row["workload"]["scenario"] == "chat"
        && row["candidate_id"].as_str().unwrap().starts_with("max_num_seqs=")));
    let rank = |more: &[&str]| {
        let mut command = program("bench-rank");
        command.args(["--format", "jsonl"]).args(more);
        run(&mut command, &done.stdout).expect(0).rows()
    };
    let together = rank(&["--allow-mixed"]);
    assert!(together.iter().all(|row| row["group"] == 1), "{together:#?}");
    let ranks: Vec<u64> = together.iter().filter_map(|row| row["rank"].as_u64()).collect();
    assert_eq!(ranks.iter().max(), Some(&6), "three frameworks with two settings each: {ranks:?}");
    assert_eq!(rank(&[]).iter().filter_map(|row| row["group"].as_u64()).max(), Some(3), "by client");
    let report = run(program("bench-rank").args(["--format", "md"]), &done.stdout).expect(0).stdout;
    assert!(report.contains("--allow-mixed"), "{report}");
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
    assert_eq!(done.records("result").len(), 9, "the others are read: {}", done.stderr);
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
