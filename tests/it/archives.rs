//! Archives of other clients: reports of llm-d, old layouts, other servers behind a client, gaps, and files that are no JSON.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Output, fixtures, program, run};

fn normalize(arguments: &[&str]) -> Output {
    run(program("bench-normalize").args(arguments), "")
}

/// The only row of a file with this content.
fn row(name: &str, content: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, content).unwrap();
    let done = normalize(&[file.to_str().unwrap()]).expect(0);
    let mut rows = done.records("result");
    assert_eq!(rows.len(), 1, "{}", done.stderr);
    rows.remove(0)
}

/// A file of a fixture, edited.
fn edited(name: &str, edit: impl Fn(&mut serde_json::Map<String, Value>)) -> Value {
    let text = fs::read_to_string(fixtures().join("native").join(name)).unwrap().replace(": Infinity", ": \"inf\"");
    let mut content: Value = serde_json::from_str(text.trim()).unwrap();
    edit(content.as_object_mut().unwrap());
    content
}

const REPORT_0_1: &str = "\
version: '0.1'
scenario:
  model: {name: m}
  host:
    type: [replica, replica]
    accelerator:
    - {model: H100, count: 2, parallelism: {tp: 2}}
    - {model: H100, count: 2, parallelism: {tp: 2}}
  platform: {engine: [{name: 'ghcr.io/llm-d/llm-d-cuda:0.3.1'}]}
  load: {name: guidellm, args: {num_prompts: 40, request_rate: .inf, max_concurrency: 8}}
metrics:
  time: {duration: 10.0}
  requests:
    total: 40
    failures: 2
    incomplete: 3
    input_length: {units: count, mean: 100}
    output_length: {units: count, mean: 20}
  latency:
    time_to_first_token: {units: s, mean: 0.05, p99: 0.2}
    time_per_output_token: {units: ms/token, mean: 10}
    request_latency: {units: hours, mean: 0.3}
  throughput: {requests_per_sec: 3.5}
";

#[test]
fn a_report_of_llm_d_0_1_is_read_with_its_units_and_the_requests_that_were_cut_off() {
    let row = row("benchmark_report.yaml", REPORT_0_1);
    let metrics = &row["metrics"];
    for (name, value) in [
        ("completed", 35.0),
        ("failed", 2.0),
        ("mean_ttft_ms", 50.0),
        ("p99_ttft_ms", 200.0),
        ("mean_tpot_ms", 10.0),
        ("request_throughput", 3.5),
        ("output_token_throughput", 70.0),
        ("total_token_throughput", 420.0),
    ] {
        assert_eq!(metrics[name], value, "{name}: {metrics}");
    }
    assert!(
        metrics["mean_e2e_ms"].is_null() && row["native"]["nulls"]["mean_e2e_ms"].as_str().unwrap().contains("hours")
    );
    assert_eq!(row["native"]["fields"]["output_token_throughput"]["field"], "computed");
    assert_eq!((&row["framework"], &row["hardware"]), (&json!("vllm"), &json!({"gpu_model": "H100", "gpu_count": 4})));
    assert_eq!((&row["workload"]["max_concurrency"], &row["fingerprint"]["client"]), (&json!(8), &json!("guidellm")));
}

#[test]
fn our_own_report_of_llm_d_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = fixtures().join("native/plain/vllm-0.33.0.json");
    let set: Vec<&str> =
        "scenario=chat input_len=20 gpu_model=H100 gpu_count=2 candidate=seqs16 candidate.changed.max_num_seqs=16"
            .split(' ')
            .flat_map(|pair| ["--set", pair])
            .collect();
    let first = normalize(&[&[file.to_str().unwrap()][..], &set].concat()).expect(0);
    let report = run(program("bench-normalize").args(["--to", "llm-d"]), &first.stdout).expect(0);
    assert_eq!(report.rows()[0]["version"], "0.2.1");
    for name in ["report.yaml", "reports.jsonl"] {
        let path = folder.path().join(name);
        fs::write(&path, &report.stdout).unwrap();
        let again = normalize(&[path.to_str().unwrap()]).expect(0);
        let (first, again) = (&first.records("result")[0], &again.records("result")[0]);
        for key in ["framework", "candidate_id", "model", "hardware"] {
            assert_eq!(first[key], again[key], "{name}: {key}");
        }
        assert_eq!(first["candidate"]["changed"], again["candidate"]["changed"]);
        for key in ["scenario", "input_len", "num_prompts", "max_concurrency"] {
            assert_eq!(first["workload"][key], again["workload"][key], "{name}: {key}");
        }
        assert_eq!(first["metrics"], again["metrics"], "{name}");
        assert_eq!(first["fingerprint"]["client"], again["fingerprint"]["client"], "{name}");
    }
}

#[test]
fn layouts_of_2024_and_2025_are_read() {
    // benchmark_serving.py before goodput: `input_throughput`, no total.
    let old = json!({"date": "20240907-082634", "backend": "vllm", "model_id": "m", "tokenizer_id": "m", "best_of": 1,
        "use_beam_search": false, "num_prompts": 10, "request_rate": "inf", "duration": 2.0, "completed": 10,
        "total_input_tokens": 1000, "total_output_tokens": 400, "request_throughput": 5.0, "input_throughput": 500.0,
        "output_throughput": 200.0, "mean_ttft_ms": 44.0, "median_ttft_ms": 40.0, "p99_ttft_ms": 60.0, "mean_tpot_ms": 6.0});
    let old = row("vllm-infqps-m.json", &old.to_string());
    assert_eq!((&old["framework"], &old["native"]["format"]), (&json!("vllm"), &json!("benchmark_serving")));
    assert_eq!(
        (&old["metrics"]["p50_ttft_ms"], &old["metrics"]["total_token_throughput"]),
        (&json!(40.0), &json!(700.0))
    );
    // bench_serving of 2024: other names, no throughput of requests, no p99.
    let old = json!({"backend": "sglang", "dataset_name": "sharegpt", "request_rate": 4.0, "total_input_tokens": 1000,
        "total_output_tokens": 400, "total_output_tokens_retokenized": 398, "mean_e2e_latency": 300.0, "median_e2e_latency": 250.0,
        "median_ttft": 30.0, "median_itl": 8.0, "output_token_throughput": 200.0, "sharegpt_output_len": null,
        "random_input_len": 1024, "random_output_len": 1024, "random_range_ratio": 0.0, "duration": 2.0, "completed": 10});
    let old = row("sglang_1128_10_sharegpt.jsonl", &old.to_string());
    let metrics = &old["metrics"];
    assert_eq!((&metrics["p50_ttft_ms"], &metrics["p50_e2e_ms"]), (&json!(30.0), &json!(250.0)));
    assert_eq!((&metrics["request_throughput"], &metrics["output_token_throughput"]), (&json!(5.0), &json!(200.0)));
    // The random lengths are defaults that ShareGPT does not use.
    assert_eq!((&old["workload"]["kind"], &old["workload"]["input_len"]), (&json!("sharegpt"), &Value::Null));
}

#[test]
fn the_server_behind_a_client_is_the_framework() {
    for (backend, framework) in
        [("vllm", "vllm"), ("lmdeploy-chat", "lmdeploy"), ("sglang-oai", "sglang"), ("trt", "tensorrt_llm")]
    {
        let content = edited("plain/sglang-0.5.23.jsonl", |row| row["backend"] = backend.into());
        assert_eq!(row("x.jsonl", &content.to_string())["framework"], framework, "{backend}");
    }
    for (backend, framework) in [("openai-chat", "vllm"), ("sglang", "sglang"), ("tensorrt-llm", "tensorrt_llm")] {
        let content = edited("plain/vllm-0.33.0.json", |row| row["backend"] = backend.into());
        assert_eq!(row("x.json", &content.to_string())["framework"], framework, "{backend}");
    }
}

#[test]
fn gaps_are_computed_and_marked_and_zeros_that_mean_nothing_are_null() {
    let content = edited("plain/vllm-0.33.0.json", |row| {
        row.shift_remove("request_throughput");
        row["output_throughput"] = 0.into();
        row["max_concurrency"] = 0.into();
    });
    let made = row("x.json", &content.to_string());
    let rate = |count: f64| json!(count / content["duration"].as_f64().unwrap());
    assert_eq!(made["metrics"]["request_throughput"], rate(40.0));
    assert_eq!(made["metrics"]["output_token_throughput"], rate(480.0));
    assert_eq!(
        made["native"]["fields"]["request_throughput"],
        json!({"field": "computed", "unit": "1/s", "is": "completed / duration"})
    );
    assert_eq!(
        (&made["workload"]["max_concurrency"], &made["fingerprint"]["load_mode"]),
        (&Value::Null, &json!("burst"))
    );
    // A number as text is a number.
    let content = edited("plain/vllm-0.33.0.json", |row| row["request_rate"] = "5.0".into());
    assert_eq!(row("x.json", &content.to_string())["workload"]["request_rate"], 5.0);
    let zero = json!({"hw": "h200", "conc": 64, "framework": "vllm", "tput_per_gpu": 0, "model": "m", "tp": 8, "isl": 1024, "osl": 1024});
    assert_eq!(row("x.json", &zero.to_string())["status"], "failed");
    // The duration follows from a throughput.
    let content = edited("plain/vllm-0.33.0.json", |row| {
        row.shift_remove("duration");
        row.shift_remove("total_token_throughput");
    });
    let made = row("x.json", &content.to_string());
    let total = made["metrics"]["total_token_throughput"].as_f64().unwrap();
    let stated = content["request_throughput"].as_f64().unwrap() * 32.0;
    assert!((total / stated - 1.0).abs() < 1e-9, "{total}");
}

#[test]
fn files_that_are_no_json_are_named_once_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("a.parquet", b"PAR1\x15\x04\xff\xfe");
    write("b.json.gz", b"\x1f\x8b\x08\x00\xff");
    write("guidellm.csv", b"Run Info,Benchmark\n1,2\n3,4\n");
    write("aiperf.csv", b"Metric,avg,p99\nTTFT,1,2\n");
    write("aiperf.json", b"{}");
    write("empty.json", b"");
    write("plan.yaml", b"model: m\nframeworks:\n  vllm: {}\n");
    for (name, words) in [
        ("a.parquet", &["Parquet", "duckdb"][..]),
        ("b.json.gz", &["gzip", "gunzip"]),
        ("guidellm.csv", &["CSV", "benchmarks.json"]),
        ("aiperf.csv", &["CSV", "aiperf.json"]),
        ("empty.json", &["is empty"]),
        ("plan.yaml", &["YAML", "bench-validate"]),
    ] {
        let done = normalize(&[folder.path().join(name).to_str().unwrap()]).expect(2);
        assert_eq!((done.stderr.lines().count(), done.stdout.as_str()), (1, ""), "{}", done.stderr);
        assert!(words.iter().all(|word| done.stderr.contains(word)), "{}", done.stderr);
    }
    // A folder names them too, and reads the rest.
    write("report.yaml", REPORT_0_1.as_bytes());
    let done = normalize(&[folder.path().to_str().unwrap()]).expect(0);
    assert_eq!(done.records("result").len(), 1);
    let named = ["a.parquet", "guidellm.csv", "plan.yaml", "aiperf.json"];
    assert!(named.iter().all(|name| done.stderr.contains(name)), "{}", done.stderr);
}

/// A file of guidellm 0.3 with two loads: the numbers of a newer one, in the layout of that version.
fn guidellm_of_2025() -> Value {
    let newer = edited("plain/guidellm-0.8.1.json", |_| {});
    let one = &newer["benchmarks"][0];
    let at = |streams: u32| {
        json!({"type_": "generative_benchmark", "args": {"strategy": {"type_": "concurrent", "streams": streams}},
            "run_stats": {"start_time": 1.0}, "worker": {"backend_model": "m"}, "duration": one["duration"],
            "request_totals": one["metrics"]["request_totals"], "metrics": one["metrics"], "requests": {"successful": [], "errored": []}})
    };
    json!({"benchmarks": [at(2), at(8)]})
}

#[test]
fn older_layouts_of_other_clients_keep_their_load() {
    let loads = |name: &str, content: &Value| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), content.to_string()).unwrap();
        let done = normalize(&[folder.path().join(name).to_str().unwrap()]).expect(0);
        let of = |row: &Value| {
            let workload = &row["workload"];
            json!([row["fingerprint"]["client"], row["model"], workload["max_concurrency"], workload["request_rate"]])
        };
        done.records("result").iter().map(of).collect::<Vec<Value>>()
    };
    // genai-perf 0.0.8: all flags side by side.
    let mut old = edited("genai_perf/ok.profile_export_genai_perf.json", |_| {});
    old["input_config"] = json!({"model": ["m"], "endpoint_type": "chat", "concurrency": 10, "request_rate": null});
    assert_eq!(loads("a_genai_perf.json", &old), [json!(["genai-perf", "m", 10, null])]);
    old["input_config"] = json!({"model": ["m"], "endpoint_type": "chat", "concurrency": null, "request_rate": 4.0});
    assert_eq!(loads("a_genai_perf.json", &old), [json!(["genai-perf", "m", null, 4.0])]);
    // aiperf of 2025: the load in `loadgen`, and without a version it is not genai-perf.
    let old = edited("plain/aiperf-0.13.0.json", |row| {
        row.shift_remove("aiperf_version");
        row["input_config"] = json!({"endpoint": {"model_names": ["m"], "type": "chat"}, "loadgen": {"concurrency": 8, "request_count": 40}});
    });
    assert_eq!(loads("profile_export_aiperf.json", &old), [json!(["aiperf", "m", 8, null])]);
    let all = loads("benchmarks.json", &guidellm_of_2025());
    assert_eq!(all, [json!(["guidellm", "m", 2, null]), json!(["guidellm", "m", 8, null])]);
    // One request at a time is a concurrency of 1, not all at once.
    let alone = edited("plain/guidellm-0.8.1.json", |file| {
        file["benchmarks"][0]["config"]["strategy"] = json!({"type_": "synchronous"});
    });
    assert_eq!(loads("benchmarks.json", &alone)[0][2], 1);
}

#[test]
fn the_loads_of_one_file_are_load_points_of_one_candidate() {
    let folder = tempfile::tempdir().unwrap();
    let newer = edited("plain/guidellm-0.8.1.json", |file| {
        let mut second = file["benchmarks"][0].clone();
        second["config"]["strategy"]["max_concurrency"] = 8.into();
        file["benchmarks"].as_array_mut().unwrap().push(second);
    });
    for (name, content) in [("newer.json", newer), ("older.json", guidellm_of_2025())] {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
        let rows = normalize(&[folder.path().join(name).to_str().unwrap()]).expect(0).records("result");
        let loads: Vec<&Value> = rows.iter().map(|row| &row["workload"]["max_concurrency"]).collect();
        assert_eq!((loads, &rows[0]["candidate_id"]), (vec![&json!(2), &json!(8)], &rows[1]["candidate_id"]), "{name}");
    }
    for server in ["a", "b"] {
        for stage in ["stage_0", "stage_1"] {
            let name = format!("{stage}_lifecycle_metrics.json");
            let from = fixtures().join("native/inference_perf/chat").join(&name);
            fs::create_dir_all(folder.path().join("stages").join(server)).unwrap();
            fs::copy(from, folder.path().join("stages").join(server).join(&name)).unwrap();
        }
    }
    let rows = normalize(&[folder.path().join("stages").to_str().unwrap()]).expect(0).records("result");
    let ids: Vec<&str> = rows.iter().map(|row| row["candidate_id"].as_str().unwrap()).collect();
    assert!(ids.len() == 4 && ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
}

#[test]
fn files_that_their_names_number_are_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, rate: f64| {
        let content = edited("plain/vllm-0.33.0.json", |row| row["duration"] = (40.0 / rate).into());
        fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    };
    for (name, rate) in [
        ("a/tp2-c4-run1.json", 9.0),
        ("a/tp2-c4-run2.json", 5.0),
        ("a/tp4-c4-run1.json", 8.0),
        ("b/tp2-c4-run1.json", 8.0),
    ] {
        write(name, rate);
    }
    let done = normalize(&[folder.path().to_str().unwrap()]).expect(0);
    let rows = done.records("result");
    let named: Vec<(&str, &Value)> =
        rows.iter().map(|row| (row["candidate_id"].as_str().unwrap(), &row["native"]["repeat"])).collect();
    assert!(named[0].0 == named[1].0 && named[0].0.starts_with("tp2-c4-"), "{named:?}");
    assert_eq!((named[0].1, named[1].1), (&json!(0), &json!(1)));
    assert!(named[3].0 != named[0].0 && named[2].0.starts_with("tp4-c4-"), "another folder: {named:?}");
    let ranked = run(program("bench-rank").args(["--format", "csv"]), &done.stdout).expect(0).stdout;
    assert_eq!(ranked.lines().count(), 1 + 3, "{ranked}");
    assert!(ranked.lines().last().unwrap().contains("tp2-c4-"), "the mean of two repeats is last: {ranked}");
}

#[test]
fn what_is_of_no_single_load_is_refused_and_text_counts_as_the_number_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    let ramp = edited("plain/vllm-0.33.0.json", |row| {
        row.insert("ramp_up_strategy".into(), "linear".into());
        row["max_concurrency"] = Value::Null;
    });
    fs::write(&file, ramp.to_string()).unwrap();
    let done = normalize(&[file.to_str().unwrap()]).expect(2);
    assert!(done.stdout.is_empty() && done.stderr.contains("ramp_up_strategy"), "{}", done.stderr);
    let text = json!({"hw": "h200", "conc": "64", "framework": "vllm", "tput_per_gpu": "100.5", "model": "m", "tp": "8", "mean_ttft": "0.5"});
    let row = row("x.json", &text.to_string());
    assert_eq!((&row["hardware"]["gpu_count"], &row["workload"]["max_concurrency"]), (&json!(8), &json!(64)));
    let metrics = ["total_token_throughput_per_gpu", "mean_ttft_ms"].map(|name| row["metrics"][name].clone());
    assert_eq!(metrics, [json!(100.5), json!(500.0)]);
}

#[test]
fn the_mark_of_windows_is_no_content() {
    let pretty = fs::read_to_string(fixtures().join("native/plain/vllm-0.33.0.json")).unwrap();
    let content: Value = serde_json::from_str(&pretty).unwrap();
    for text in [serde_json::to_string_pretty(&content).unwrap().replace('\n', "\r\n"), content.to_string()] {
        assert_eq!(row("x.json", &format!("\u{feff}{text}"))["framework"], "vllm");
    }
}

/// Made by vLLM's and SGLang's clients against these servers, by guidellm and aiperf against bench-sim; lists of single requests
/// are left out.
#[test]
fn files_of_four_real_clients_are_one_ranking_per_scenario_in_two_commands() {
    let folder = fixtures().join("corpus");
    let pattern = "{framework}-{model}-seqs{max_num_seqs}-{scenario}-c{concurrency}-run{repeat}";
    let done = normalize(&[folder.to_str().unwrap(), "--name", pattern]).expect(0);
    let files = fs::read_dir(&folder).unwrap().count();
    let rows = done.records("result");
    assert_eq!((rows.len(), done.stderr.as_str()), (files, ""), "every file is a result");
    assert!(rows.iter().all(|row| row["status"] == "ok" && row["metrics"]["request_throughput"].is_number()));
    let ranked = run(program("bench-rank").args(["--allow-mixed", "--format", "jsonl"]), &done.stdout).expect(0);
    let decisions = ranked.records("decision");
    let scenarios: Vec<&Value> = decisions.iter().map(|row| &row["scenario"]).collect();
    assert_eq!(scenarios, ["chat", "summarization"]);
    for (scenario, repeats) in [("chat", 2), ("summarization", 1)] {
        let of = |row: &&Value| row["workload"]["scenario"] == scenario;
        let ranks: Vec<u64> = ranked.rows().iter().filter(of).filter_map(|row| row["rank"].as_u64()).collect();
        for rank in 1..=8 {
            assert_eq!(ranks.iter().filter(|other| **other == rank).count(), repeats, "{scenario}: {ranks:?}");
        }
    }
    let csv = run(program("bench-rank").args(["--allow-mixed", "--format", "csv"]), &done.stdout).expect(0).stdout;
    assert_eq!(csv.lines().count(), 1 + 16, "a line for each candidate and scenario: {csv}");
}
