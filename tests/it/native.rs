//! Other clients' results (`tests/fixtures/native`): by formula and not by name, and never a zero for nothing.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Output, fixtures, program, run};

fn path(name: &str) -> PathBuf {
    fixtures().join("native").join(name)
}

fn normalize(arguments: &[&str]) -> Output {
    run(program("bench-normalize").args(arguments), "")
}

/// The result of one file.
fn one(name: &str) -> Value {
    let done = normalize(&[path(name).to_str().unwrap()]).expect(0);
    let mut rows = done.records("result");
    assert_eq!(rows.len(), 1, "{name}: {}", done.stderr);
    rows.remove(0)
}

fn metric(row: &Value, name: &str) -> f64 {
    row["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {:#}", row["native"]))
}

/// The server of these runs gives the first token after 60 ms, then one each 10 ms, 12 in all.
#[test]
fn clients_agree_on_what_they_define_alike() {
    let near = |value: f64, truth: f64| (value / truth - 1.0).abs() <= 0.10;
    for file in
        ["vllm-0.33.0.json", "sglang-0.5.23.jsonl", "sglang-0.5.15.jsonl", "guidellm-0.8.1.json", "aiperf-0.13.0.json"]
    {
        let row = one(&format!("plain/{file}"));
        assert!(near(metric(&row, "p50_ttft_ms"), 62.0), "{file}: {}", row["metrics"]);
        assert!(
            near(metric(&row, "output_token_throughput") / metric(&row, "request_throughput"), 12.0),
            "{file}: {}",
            row["metrics"]
        );
        assert_eq!(row["status"], "ok");
        assert_eq!(row["metrics"]["total_output_tokens"], 480.0, "{file}");
    }
    for file in ["vllm-0.33.0.json", "guidellm-0.8.1.json"] {
        assert!(near(metric(&one(&format!("plain/{file}")), "p50_tpot_ms"), 10.7), "{file}");
    }
    // guidellm's word for it includes the first token, aiperf's goes by its own tokenizer.
    let guidellm = one("plain/guidellm-0.8.1.json");
    assert!(
        guidellm["native"]["fields"]["p50_tpot_ms"]["field"] == "requests" || metric(&guidellm, "p50_tpot_ms") < 12.0
    );
    assert!(one("plain/aiperf-0.13.0.json")["metrics"]["mean_tpot_ms"].is_null());
}

#[test]
fn where_a_client_is_blind_its_row_says_so() {
    for (file, blind) in [
        ("vllm-0.19.1.json", "first_chunk"),
        ("tokenspeed.json", "first_chunk"),
        ("tokenspeed.json", "in_band_error"),
        ("sglang-0.5.23.jsonl", "in_band_error"),
        ("sglang-0.5.23.jsonl", "early_stop"),
    ] {
        let row = one(&format!("plain/{file}"));
        assert!(row["native"]["blind"][blind].is_string(), "{file}: {}", row["native"]["blind"]);
    }
    assert!(one("plain/vllm-0.33.0.json")["native"]["blind"].get("first_chunk").is_none());
}

#[test]
fn a_dead_engine_wins_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let edited = |name: &str, edit: &dyn Fn(&mut Value)| {
        let text = fs::read_to_string(path(name)).unwrap().replace(": Infinity", ": \"inf\"");
        let mut content: Value = serde_json::from_str(&text).unwrap();
        edit(&mut content);
        let file = folder.path().join("x.json");
        fs::write(&file, content.to_string()).unwrap();
        normalize(&[file.to_str().unwrap()])
    };
    // As SGLang's client reports it: all done, all tokens that were asked for, no latency.
    let sglang = edited("plain/sglang-0.5.23.jsonl", &|row| {
        row["total_output_tokens_retokenized"] = 0.into();
        row["mean_ttft_ms"] = 0.0.into();
    });
    let row = &sglang.expect(0).records("result")[0];
    assert_eq!((&row["status"], &row["failure_class"]), (&json!("failed"), &json!("no_token")));
    assert!(
        row["metrics"]["mean_ttft_ms"].is_null()
            && row["native"]["nulls"]["mean_ttft_ms"].as_str().unwrap().contains("placeholder_zero")
    );
    let vllm = edited("plain/vllm-0.19.1.json", &|row| row["total_output_tokens"] = 0.into());
    assert_eq!(vllm.expect(0).records("result")[0]["failure_class"], "no_token");
    // Every request failed, a file of zeros, status 0.
    let row = one("real-vllm-0.32.0/bench_serve_badmodel.json");
    assert_eq!(
        (&row["status"], &row["failure_class"], &row["metrics"]["success_rate"]),
        (&json!("failed"), &json!("all_requests_failed"), &json!(0.0))
    );
    assert!(row["metrics"]["mean_ttft_ms"].is_null() && row["metrics"]["p99_tpot_ms"].is_null());
    // An unseen version says what it lacks, and never gives zeros.
    let renamed = edited("plain/vllm-0.33.0.json", &|row| {
        let all = row.as_object_mut().unwrap();
        for key in ["request_throughput", "duration"] {
            let value = all.shift_remove(key).unwrap();
            all.insert(format!("bench_{key}"), value);
        }
    });
    let renamed = renamed.expect(2);
    assert!(
        renamed.stdout.is_empty() && renamed.stderr.contains("vllm_bench_serve without duration or request_throughput"),
        "{}",
        renamed.stderr
    );
}

#[test]
fn failures_count_where_they_are_told_and_are_not_made_up_where_they_are_not() {
    for file in ["vllm-0.33.0.json", "tokenspeed.json", "aiperf-0.13.0.json"] {
        let row = one(&format!("http500/{file}"));
        assert_eq!((metric(&row, "success_rate"), metric(&row, "failed")), (0.8, 8.0), "{file}");
    }
    let row = one("http500/sglang-0.5.23.jsonl");
    assert!(row["metrics"]["success_rate"].is_null() && row["native"]["nulls"]["success_rate"].is_string());
    // With details they are known.
    assert_eq!(metric(&one("detailed/sglang_0.5.23_details.jsonl"), "success_rate"), 0.95);
}

#[test]
fn details_are_computed_anew() {
    let row = one("detailed/vllm_0.33.0_detailed.json");
    // It reports no p99 of its own.
    assert_eq!(row["native"]["fields"]["p99_ttft_ms"]["field"], "requests");
    assert!((metric(&row, "p50_ttft_ms") - 46.6).abs() < 0.1);
    let limited = normalize(&[
        path("detailed/vllm_0.33.0_detailed.json").to_str().unwrap(),
        "--set",
        "sla.max_p50_ttft_ms=100",
        "--set",
        "sla.max_p99_ttft_ms=100000",
    ]);
    let row = &limited.expect(0).records("result")[0];
    // Two of forty failed: infinite in the gate, so no p99 is kept.
    let tested = &row["sla"]["tested"];
    assert_eq!(
        (&tested["max_p50_ttft_ms"]["passed"], &tested["max_p99_ttft_ms"]["passed"]),
        (&json!(true), &json!(false)),
        "{tested}"
    );
    assert_eq!((&row["verdict"], &row["sla"]["passed"]), (&json!("fail"), &json!(false)));
}

#[test]
fn what_a_file_does_not_hold_is_given() {
    let file = path("plain/sglang-0.5.23.jsonl");
    let set = [
        "--set",
        "hardware.gpu_count=4",
        "--set",
        "model=org/m",
        "--set",
        "sla.max_p99_ttft_ms=500",
        "--set",
        "workload.scenario=chat",
    ];
    let row = normalize(&[&[file.to_str().unwrap()][..], &set].concat()).expect(0).records("result").remove(0);
    assert_eq!(
        (&row["hardware"]["gpu_count"], &row["model"], &row["workload"]["scenario"]),
        (&json!(4), &json!("org/m"), &json!("chat"))
    );
    // 40 requests, and their failures are not told: kept, but not confirmed.
    assert_eq!(
        (&row["verdict"], &row["sla"]["tested"]["max_p99_ttft_ms"]["basis"]),
        (&json!("pass_unconfirmed"), &json!("reported"))
    );
    let folder = tempfile::tempdir().unwrap();
    let plan = "{\"schema_version\":1,\"record\":\"plan\",\"model\":\"m\",\"dataset\":{\"scenario_names\":[\"s\"],\"input_len\":[20],\"output_len\":[12]},\"sla\":{\"max_p50_ttft_ms\":9},\"frameworks\":{\"vllm\":{\"base_server_flags\":{\"max_num_seqs\":7}}}}\n";
    let candidate = run(&mut program("bench-expand"), plan).expect(0).stdout;
    let given = folder.path().join("candidate.jsonl");
    fs::write(&given, &candidate).unwrap();
    let row = normalize(&[file.to_str().unwrap(), "--candidate", given.to_str().unwrap()])
        .expect(0)
        .records("result")
        .remove(0);
    let candidate: Value = serde_json::from_str(&candidate).unwrap();
    assert_eq!(
        (&row["candidate_id"], &row["server_command"]),
        (&candidate["candidate_id"], &candidate["server_command"])
    );
    assert_eq!(
        (&row["framework"], &row["workload"]["scenario"], &row["sla"]["passed"]),
        (&json!("vllm"), &json!("s"), &json!(false))
    );
}

#[test]
fn a_folder_of_a_sweep_is_its_runs() {
    let done = normalize(&[path("real-vllm-0.32.0/sweep").to_str().unwrap()]).expect(0);
    let rows = done.records("result");
    assert_eq!(rows.len(), 4, "{}", done.stderr);
    let ids: Vec<&str> = rows.iter().map(|row| row["candidate_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["sweep-seqs16", "sweep-seqs16", "sweep-seqs4", "sweep-seqs4"]);
    assert_eq!(normalize(&[fixtures().join("bin").to_str().unwrap()]).expect(2).stdout, "");
}

#[test]
fn clients_are_never_in_one_ranking() {
    let files = ["plain/vllm-0.33.0.json", "plain/sglang-0.5.23.jsonl", "plain/guidellm-0.8.1.json"]
        .map(|name| path(name).display().to_string());
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let results = normalize(&files).expect(0).stdout;
    let ranked = run(program("bench-rank").args(["--format", "jsonl"]), &results).expect(0).records("result");
    assert_eq!(ranked.len(), 3);
    assert!(ranked.iter().all(|row| row["rank"] == 1), "{ranked:#?}");
}

#[test]
fn a_native_row_of_a_leased_server_becomes_a_result_of_its_candidate() {
    let folder = tempfile::tempdir().unwrap();
    let plan = "{\"schema_version\":1,\"record\":\"plan\",\"model\":\"m\",\"sla\":{\"max_p50_ttft_ms\":1000},\"dataset\":{\"scenario_names\":[\"s\"],\"input_len\":[20],\"output_len\":[12]},\"frameworks\":{\"sim\":{\"base_server_flags\":{\"load_ms\":0}}}}\n";
    let candidates = run(&mut program("bench-expand"), plan).expect(0).stdout;
    let client = format!("cat '{}'", path("plain/vllm-0.33.0.json").display());
    let mut serve = program("bench-serve");
    serve.arg("--artifacts").arg(folder.path()).args(["--", "sh", "-c", &client]);
    let rows = run(&mut serve, &candidates).expect(0);
    assert_eq!(rows.records("native").len(), 1, "{}", rows.stdout);
    let done = run(&mut program("bench-normalize"), &rows.stdout).expect(0);
    let result = done.records("result").remove(0);
    assert_eq!(
        (&result["framework"], &result["status"], &result["native"]["format"]),
        (&json!("sim"), &json!("ok"), &json!("vllm_bench_serve"))
    );
    assert_eq!((&result["verdict"], &result["quality"]["simulated"]), (&json!("pass_unconfirmed"), &json!(true)));
    assert!(result["framework_version"].is_string() && result["startup"]["ready_ms"].is_number(), "{result:#}");
    // What nobody knows passes on.
    let unknown = rows.stdout.replace("\"completed\"", "\"other\"");
    assert_eq!(run(&mut program("bench-normalize"), &unknown).expect(0).records("native").len(), 1);
}

/// What is read of every file here, a line a result: `BLESS=1` rewrites it.
#[test]
fn every_file_is_read_or_refused_with_a_reason() {
    fn files(folder: &std::path::Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, found),
                false => found.push(path),
            }
        }
    }
    let root = fixtures().join("native");
    let mut found = Vec::new();
    files(&root, &mut found);
    found.sort();
    let json = |path: &&PathBuf| path.extension().is_some_and(|e| e == "json" || e == "jsonl");
    let mut told = String::new();
    for path in found.iter().filter(json) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let done = normalize(&[path.to_str().unwrap()]);
        for row in done.records("result") {
            told.push_str(&format!("{name}\t{}\n", summary(&row)));
        }
        for line in done.stderr.lines() {
            told.push_str(&format!("{name}\t{}\n", line.replace(&format!("{}/", root.display()), "")));
        }
        assert!(done.code == Some(2) || done.stderr.is_empty() || done.stderr.contains("read together with"), "{name}");
        assert!(!done.stdout.is_empty() || !done.stderr.is_empty(), "{name}: neither a row nor a word");
    }
    let expected = root.join("expected.tsv");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, &told).unwrap();
    }
    let wanted = fs::read_to_string(&expected).unwrap();
    let differs: Vec<(&str, &str)> = told.lines().zip(wanted.lines()).filter(|(a, b)| a != b).collect();
    assert!(told == wanted, "now, and as it was: {differs:#?}");
}

/// Format, status, requests per second, output tokens per second, median TTFT and TPOT, share of successes, blindness.
fn summary(row: &Value) -> String {
    let metric = |name: &str| match row["metrics"][name].as_f64() {
        Some(value) => format!("{name} {value:.4}"),
        None => format!("{name} -"),
    };
    let status = match row["failure_class"].as_str() {
        Some(class) => format!("{} {class}", row["status"].as_str().unwrap()),
        None => row["status"].as_str().unwrap().into(),
    };
    let format = row["native"]["format"].as_str().unwrap_or("-");
    let names = ["request_throughput", "output_token_throughput", "p50_ttft_ms", "p50_tpot_ms", "success_rate"];
    let blind: Vec<&str> = row["quality"]["blind"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    format!("{format}\t{status}\t{}\tblind {}", names.map(metric).join("\t"), blind.join(","))
}

#[test]
fn a_folder_of_auto_benchmark_is_its_scenarios() {
    let rows = normalize(&[path("sglang_auto_benchmark/two_scenarios").to_str().unwrap()]).expect(0).records("result");
    let scenarios: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["workload"]["scenario"].as_str().unwrap()).collect();
    assert_eq!(scenarios.into_iter().collect::<Vec<_>>(), ["chat", "summary"]);
    let tuned = rows.iter().find(|row| row["candidate_id"] == "base-1").unwrap();
    assert_eq!(
        (&tuned["candidate"]["changed"]["chunked_prefill_size"], &tuned["candidate"]["changed"]["port"]),
        (&json!(2048), &Value::Null)
    );
    assert!(tuned["server_command"].as_str().unwrap().contains("--chunked-prefill-size 2048"), "{tuned:#}");
    // It tells no failures: what it prepared to send does.
    let row =
        normalize(&[path("sglang_auto_benchmark/http500").to_str().unwrap()]).expect(0).records("result").remove(0);
    assert_eq!((metric(&row, "success_rate"), metric(&row, "failed")), (0.8, 4.0));
    // And it calls a dead engine the best.
    let dead =
        normalize(&[path("sglang_auto_benchmark/inband").to_str().unwrap()]).expect(0).records("result").remove(0);
    assert_eq!((&dead["status"], &dead["failure_class"]), (&json!("failed"), &json!("no_token")));
}

/// Rows in the shape of the document that the product implements, of both of its generations of limits.
#[test]
fn rows_of_others_are_gated_anew() {
    let row = |sla: &str, metrics: &str| {
        format!(
            "{{\"framework\":\"f\",\"mine\":{{\"b\":1,\"a\":2}},\"candidate_id\":\"c\",\"status\":\"ok\",\"sla\":{sla},\"metrics\":{metrics}}}\n"
        )
    };
    let honest = row(
        r#"{"max_p50_ttft_ms":500,"min_success_rate":0.99,"passed":true}"#,
        r#"{"p50_ttft_ms":400,"success_rate":1}"#,
    );
    let lies = row(
        r#"{"max_p99_ttft_ms":500,"max_p99_tpot_ms":50,"passed":true}"#,
        r#"{"p99_ttft_ms":2400,"p99_tpot_ms":20}"#,
    );
    let silent = row(r#"{"max_p99_ttft_ms":500}"#, r#"{"p99_ttft_ms":400}"#);
    let believed = row(r#"{"passed":true}"#, "{}");
    let failed = row(r#"{"max_p99_ttft_ms":500,"passed":false}"#, "{}").replace("\"ok\"", "\"oom\"");
    let done = run(&mut program("bench-normalize"), &[honest, lies, silent, believed.clone(), failed.clone()].concat())
        .expect(0);
    let rows = done.rows();
    let passed: Vec<&Value> = rows.iter().map(|row| &row["sla"]["passed"]).collect();
    assert_eq!(passed, [&json!(true), &json!(false), &json!(true), &json!(true), &json!(false)]);
    assert_eq!(rows[2]["verdict"], "pass_unconfirmed");
    assert_eq!(rows[1]["sla"]["tested"]["max_p99_ttft_ms"]["margin"], -3.8);
    assert!(rows[1]["quality"]["claim"].as_str().unwrap().contains("says that it passed"), "{}", rows[1]);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(
        done.stderr.starts_with("bench-normalize: warning: stdin:2: its row says that it passed"),
        "{}",
        done.stderr
    );
    // What is not ours stays, in its order; a row without thresholds stays whole.
    assert!(done.stdout.lines().all(|line| line.contains(r#""mine":{"b":1,"a":2}"#)));
    assert!(done.stdout.contains(&believed) && done.stdout.contains(&failed));
}

#[test]
fn a_report_of_llm_d_is_one_by_its_schema_of_which_the_newer_is_a_superset() {
    let schema = fs::read_to_string(fixtures().join("llm-d-benchmark-report-v0.2.json")).unwrap();
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let own = fixtures().parent().unwrap().join("it/cases/bench-normalize/one-run-by-hand/stdin");
    let own = fs::read_to_string(own).unwrap();
    let file = path("plain/vllm-0.33.0.json");
    let ours = run(program("bench-normalize").args(["--to", "llm-d"]), &own).expect(0);
    let set = ["--to", "llm-d", "--set", "workload.input_len=20"];
    let theirs = normalize(&[&[file.to_str().unwrap()][..], &set].concat()).expect(0);
    let reports = [ours.rows(), theirs.rows()].concat();
    assert_eq!(reports.len(), 2);
    for report in &reports {
        let wrong: Vec<String> = schema.iter_errors(report).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:#?}\n{report:#}");
    }
    let latency = &reports[0]["results"]["request_performance"]["aggregate"]["latency"]["time_to_first_token"];
    assert_eq!((&latency["units"], &latency["mean"], &latency["max"]), (&json!("ms"), &json!(200.0), &json!(300.0)));
    assert_eq!(reports[1]["scenario"]["load"]["standardized"]["tool"], "vllm bench serve");
    // Rows that were made before are as good.
    let rows = run(&mut program("bench-normalize"), &own).expect(0).stdout;
    assert_eq!(run(program("bench-normalize").args(["--to", "llm-d"]), &rows).expect(0).stdout, ours.stdout);
}

/// One file of a fixture, edited, in a folder of its own.
fn edited(name: &str, edit: impl Fn(&mut Value)) -> Value {
    let text = fs::read_to_string(path(name)).unwrap().replace(": Infinity", ": \"inf\"");
    let mut content: Value = serde_json::from_str(&text).unwrap();
    edit(&mut content);
    content
}

#[test]
fn a_list_of_other_requests_than_the_client_measured_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guidellm.json");
    let read = |edit: &dyn Fn(&mut Value)| {
        fs::write(
            &file,
            edited("plain/guidellm-0.8.1.json", |content| edit(&mut content["benchmarks"][0])).to_string(),
        )
        .unwrap();
        let rows =
            normalize(&[file.to_str().unwrap(), "--set", "sla.max_p99_ttft_ms=2000"]).expect(0).records("result");
        rows.into_iter().next().unwrap()
    };
    let whole = read(&|_| {});
    assert_eq!(whole["native"]["fields"]["p99_ttft_ms"]["field"], "requests");
    // A warm-up request among them, and a sample of them: the client's own statistics are used.
    let (warm_up, sampled) = (
        read(&|run| {
            let list = run["requests"]["successful"].as_array_mut().unwrap();
            let mut slow = list[0].clone();
            slow["time_to_first_token_ms"] = 9000.into();
            list.push(slow);
        }),
        read(&|run| run["requests"]["successful"].as_array_mut().unwrap().truncate(3)),
    );
    for row in [&warm_up, &sampled] {
        assert_ne!(row["native"]["fields"]["p99_ttft_ms"]["field"], "requests");
        assert!(row["native"]["blind"]["requests"].is_string() && metric(row, "p99_ttft_ms") < 2000.0, "{row:#}");
        assert_eq!(row["metrics"]["completed"], whole["metrics"]["completed"]);
        assert_eq!(row["sla"]["passed"], true);
    }
    // What was under way when the time was over is no failure of the server.
    let cut = read(&|run| {
        let totals = &mut run["metrics"]["request_totals"];
        totals["incomplete"] = 7.into();
        totals["total"] = (totals["total"].as_u64().unwrap() + 7).into();
    });
    assert_eq!(
        (&cut["metrics"]["failed"], &cut["metrics"]["success_rate"]),
        (&0.0.into(), &1.0.into()),
        "{}",
        cut["metrics"]
    );
}

#[test]
fn repeats_of_other_clients_are_one_trial() {
    let folder = tempfile::tempdir().unwrap();
    let run_of = |rate: f64, tag: &str| {
        edited("plain/sglang-0.5.23.jsonl", |row| {
            let n = row["completed"].as_f64().unwrap();
            (row["request_throughput"], row["duration"], row["tag"]) = (rate.into(), (n / rate).into(), tag.into());
        })
    };
    let ranked = |arguments: &[&str]| {
        let rows = normalize(arguments).expect(0).stdout;
        run(program("bench-rank").args(["--format", "jsonl"]), &rows).records("result")
    };
    // Appended lines: the best of three is not the mean of three. Another word in a line is another candidate.
    let (a, b) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
    let lines =
        |rates: &[f64], tag: &str| rates.iter().map(|rate| format!("{}\n", run_of(*rate, tag))).collect::<String>();
    fs::write(&a, lines(&[5.0, 9.0, 6.0], "a")).unwrap();
    fs::write(&b, lines(&[8.0, 8.1, 8.0], "b") + &lines(&[2.0], "c")).unwrap();
    let rows = ranked(&[a.to_str().unwrap(), b.to_str().unwrap()]);
    let places: Vec<(u64, f64)> =
        rows.iter().map(|row| (row["rank"].as_u64().unwrap(), metric(row, "request_throughput"))).collect();
    assert_eq!(places, [(1, 8.0), (1, 8.1), (1, 8.0), (2, 5.0), (2, 9.0), (2, 6.0), (3, 2.0)]);
    // The same file twice is no repeat.
    assert_eq!(ranked(&[a.to_str().unwrap(), a.to_str().unwrap()]).len(), 3);
    // A sweep's folder, and its files by name.
    let sweep = folder.path().join("sweep");
    for (seqs, run, rate) in [(4, 0, 6.0), (4, 1, 12.4), (8, 0, 11.9), (8, 1, 11.7)] {
        let run_folder = sweep.join(format!("SERVE--max_num_seqs={seqs}-BENCH--max_concurrency=2"));
        fs::create_dir_all(&run_folder).unwrap();
        let content = edited("plain/vllm-0.33.0.json", |row| {
            row["request_throughput"] = rate.into();
            row["duration"] = (row["completed"].as_f64().unwrap() / rate).into();
        });
        // On one line and on many it is the same.
        let text = if run == 0 { content.to_string() } else { format!("{content:#}") };
        fs::write(run_folder.join(format!("run={run}.json")), text).unwrap();
    }
    let by_folder = ranked(&[sweep.to_str().unwrap()]);
    let files: Vec<String> = ["4", "8"]
        .iter()
        .flat_map(|seqs| {
            ["0", "1"].map(|run| {
                format!("{}/SERVE--max_num_seqs={seqs}-BENCH--max_concurrency=2/run={run}.json", sweep.display())
            })
        })
        .collect();
    let by_name = ranked(&files.iter().map(String::as_str).collect::<Vec<_>>());
    for rows in [by_folder, by_name] {
        let first: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row["rank"], &row["candidate_id"])).collect();
        let (eight, four) = (json!("sweep-max_num_seqs=8"), json!("sweep-max_num_seqs=4"));
        assert_eq!(first, [(&1.into(), &eight), (&1.into(), &eight), (&2.into(), &four), (&2.into(), &four)]);
    }
}

#[test]
fn an_unknown_file_is_refused_whatever_its_line_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = json!({"engine": {"model": "m"}, "performance": {"request_throughput_req_s": 0.21}});
    for (name, text) in [("one.json", unknown.to_string()), ("many.json", format!("{unknown:#}"))] {
        let file = folder.path().join(name);
        fs::write(&file, text + "\n").unwrap();
        let done = normalize(&[file.to_str().unwrap()]).expect(2);
        assert!(
            done.stdout.is_empty() && done.stderr.contains(name) && done.stderr.contains("unknown format"),
            "{}",
            done.stderr
        );
    }
    // A row of a kind that nobody knows passes, and a result row of somebody else too.
    let rows = "{\"record\":\"mine\",\"x\":1}\n{\"framework\":\"f\",\"status\":\"failed\"}\n";
    assert_eq!(run(&mut program("bench-normalize"), rows).expect(0).stdout, rows);
}

#[test]
fn measured_mean_lengths_are_no_identity_of_a_workload() {
    let folder = tempfile::tempdir().unwrap();
    let stage = |name: &str, tokens: f64| {
        let file = folder.path().join(name);
        let content = json!({"load_summary": {"count": 10, "requested_rate": 2.0}, "failures": {"count": 0}, "benchmark_time_seconds": 5.0,
            "successes": {"count": 10, "throughput": {"requests_per_sec": 2.0}, "prompt_tokens": {"mean": tokens, "total": 10.0 * tokens},
                "output_tokens": {"mean": 50.0, "total": 500.0}, "latency": {"request_latency": {"mean": 1.0}}}});
        fs::write(&file, content.to_string()).unwrap();
        normalize(&[file.to_str().unwrap()]).expect(0).records("result").remove(0)["fingerprint"]["workload"].clone()
    };
    assert_eq!(stage("a.json", 201.5), stage("b.json", 204.1));
    assert_ne!(stage("a.json", 201.5), stage("c.json", 2015.0));
}
