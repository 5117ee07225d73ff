//! What is asked, through the whole of bench-load: what a server was really sent, and what the rows say of it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::harness::{Output, Running, bash, program, rows_in, run, scratch};
use crate::schemas::validator;

fn load(server: &Running, args: &[&str]) -> Output {
    run(program("bench-load").args(["--quiet", "--url", &server.url]).args(args), "")
}

fn phase<'a>(rows: &'a [Value], phase: &str) -> Vec<&'a Value> {
    rows.iter().filter(|row| row["phase"] == phase).collect()
}

/// The fixture server, which keeps what it was sent, and the bodies it got so far.
fn recorded(args: &[&str]) -> (Running, tempfile::TempDir) {
    let folder = scratch();
    let file = folder.path().join("bodies.jsonl").display().to_string();
    let server = Running::zoo(&[args, &["--records", &file]].concat());
    (server, folder)
}

fn bodies(folder: &tempfile::TempDir) -> Vec<Value> {
    rows_in(&folder.path().join("bodies.jsonl"))
}

fn valid(done: &Output) {
    for row in done.rows() {
        let kind = row["record"].as_str().unwrap();
        let errors: Vec<String> = validator(kind).iter_errors(&row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}\n{row:#}");
    }
}

#[test]
fn a_row_s_sampling_goes_before_the_plan_s_and_what_is_not_known_is_never_sent() {
    let (server, folder) = recorded(&[]);
    let rows = folder.path().join("rows.jsonl");
    let text = [
        json!({"prompt": "one", "output_len": 3, "extra_request_body": {"temperature": 0.9}, "metadata": {"a": 1}, "colour": "red"}),
        json!({"prompt": "two", "output_len": 5}),
    ];
    fs::write(&rows, text.map(|row| format!("{row}\n")).concat()).unwrap();
    let path = rows.display().to_string();
    let args = [
        "--model",
        "zoo",
        "--dataset",
        &path,
        "--concurrency",
        "1",
        "--warmup",
        "1",
        "--extra-body",
        r#"{"top_p":0.5}"#,
    ];
    let done = load(&server, &args).expect(0);
    valid(&done);
    let sent = bodies(&folder);
    let of = |prompt: &str| sent.iter().find(|body| body["prompt"] == prompt).unwrap_or_else(|| panic!("{sent:?}"));
    assert_eq!(
        (&of("one")["temperature"], &of("one")["top_p"], &of("one")["max_tokens"]),
        (&json!(0.9), &json!(0.5), &json!(3))
    );
    assert_eq!((&of("two")["temperature"], &of("two")["max_tokens"]), (&json!(0), &json!(5)));
    assert!(sent.iter().all(|body| body.get("metadata").is_none() && body.get("colour").is_none()));
    // The warm-up says something else.
    assert_eq!(
        sent.iter().filter(|body| ["one", "two"].contains(&body["prompt"].as_str().unwrap_or_default())).count(),
        2
    );
    let run = &done.records("run")[0];
    assert_eq!((&run["workload"]["num_prompts"], &run["workload"]["dataset_path"]), (&json!(2), &path.into()));
    // Each row is held to its own length: neither answer is short.
    let result = &crate::harness::run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result")[0];
    assert_eq!(
        (&result["quality"]["length_mismatch"], &result["metrics"]["success_rate"]),
        (&json!(false), &json!(1.0))
    );
}

#[test]
fn chat_rows_are_sent_as_they_are_and_refused_where_there_is_no_chat() {
    let server = Running::sim(&[]);
    let folder = scratch();
    let rows = folder.path().join("talk.json");
    let talk = |i| json!({"conversations": [{"from": "human", "value": format!("question {i}")}, {"from": "gpt", "value": "so it is"}]});
    fs::write(&rows, json!([talk(1), talk(2), talk(3)]).to_string()).unwrap();
    let path = rows.display().to_string();
    let args = ["--dataset", &path, "--concurrency", "2"];
    let done = load(&server, &[&args[..], &["--endpoint", "/v1/chat/completions"]].concat()).expect(0);
    assert_eq!(phase(&done.records("request"), "measured").iter().filter(|row| row["status"] == "ok").count(), 3);
    assert!(done.records("run")[0]["workload"]["template_tokens"].as_u64().unwrap() > 0);
    let refused = load(&server, &args).expect(0);
    let end = &refused.records("run_end")[0];
    assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"unsupported".into()));
    assert!(end["failure_reason"].as_str().unwrap().contains("/v1/chat/completions"), "{end}");
}

#[test]
fn rows_are_not_sent_twice_to_one_server() {
    let server = Running::sim(&[]);
    let folder = scratch();
    let rows = folder.path().join("rows.jsonl");
    fs::write(
        &rows,
        (0..6).map(|i| format!("{}\n", json!({"prompt": format!("q{i}"), "output_len": 2}))).collect::<String>(),
    )
    .unwrap();
    let path = rows.display().to_string();
    let args = ["--dataset", &path, "--num-prompts", "4", "--concurrency", "1", "--concurrency", "2"];
    let ends = load(&server, &args).expect(0).records("run_end");
    assert_eq!((&ends[0]["status"], &ends[1]["failure_class"]), (&"ok".into(), &"prompts_exhausted".into()));
    assert!(
        ends[1]["failure_reason"].as_str().unwrap().contains("6 in the file, 4 of them already sent"),
        "{}",
        ends[1]
    );
    let again = load(&server, &[&args[..], &["--prefix-reuse"]].concat()).expect(0);
    assert!(again.records("run_end").iter().all(|end| end["status"] == "ok"));
    assert!(again.records("run").iter().all(|run| run["workload"]["prefix_reuse"] == true));
}

#[test]
fn turns_wait_for_each_other_and_send_the_whole_talk() {
    let server = Running::sim(&["--step-base-us", "1000"]);
    let args = ["--scenario", "talk=20:4", "--turns", "3", "--think", "0.02", "--num-prompts", "9", "--rate", "50"];
    let done = load(&server, &args).expect(0);
    valid(&done);
    let requests = done.records("request");
    let mut measured = phase(&requests, "measured");
    measured.sort_by_key(|row| row["i"].as_u64());
    assert_eq!(
        measured.iter().map(|row| row["input_tokens"].as_u64().unwrap()).collect::<Vec<_>>(),
        [20, 44, 68, 20, 44, 68, 20, 44, 68]
    );
    for pair in measured.windows(2).filter(|pair| pair[1]["i"].as_u64().unwrap() % 3 > 0) {
        let (ended, due) = (pair[0]["end_us"].as_u64().unwrap(), pair[1]["due_us"].as_u64().unwrap());
        assert!(due >= ended + 20_000, "a turn is due {due}, the one before it ended {ended}");
    }
}

#[test]
fn a_trace_is_replayed_at_its_own_times_or_stretched() {
    let server = Running::sim(&[]);
    let folder = scratch();
    let rows = folder.path().join("trace.jsonl");
    let row = |ms: u64, ids: &[u64]| json!({"timestamp": ms, "input_length": 520 + ids.len(), "output_length": 2, "hash_ids": ids});
    fs::write(
        &rows,
        [row(1000, &[1, 2]), row(1050, &[1, 3]), row(1200, &[1, 2, 4])].map(|row| format!("{row}\n")).concat(),
    )
    .unwrap();
    let path = rows.display().to_string();
    // Three in 0.2 s are 15 a second.
    for (rate, wanted) in [("trace", [0, 50_000, 200_000]), ("30", [0, 25_000, 100_000])] {
        let args = ["--dataset", &path, "--rate", rate, "--arrivals", "trace"];
        let done = load(&server, &args).expect(0);
        let requests = done.records("request");
        let due: BTreeSet<u64> =
            phase(&requests, "measured").iter().map(|row| row["due_us"].as_u64().unwrap()).collect();
        assert_eq!(due, wanted.into(), "{rate}");
        let lengths: BTreeSet<u64> =
            phase(&requests, "measured").iter().map(|row| row["input_tokens"].as_u64().unwrap()).collect();
        assert_eq!(lengths, [522, 523].into());
    }
    let refused = load(&server, &["--scenario", "s=8:2", "--rate", "trace"]).expect(2);
    assert!(refused.stderr.contains("timestamp"), "{}", refused.stderr);
}

#[test]
fn the_load_goes_on_around_what_is_measured() {
    let server = Running::sim(&["--step-base-us", "2000"]);
    for how in [["--rate", "100"], ["--concurrency", "4"]] {
        let args = ["--scenario", "s=16:5", "--num-prompts", "40", "--warmup-s", "0.3"];
        let done = load(&server, &[&args[..], &how].concat()).expect(0);
        valid(&done);
        let requests = done.records("request");
        let sent = |row: &&Value| row["sent_us"].as_u64().unwrap_or(u64::MAX);
        let (warm, measured) = (phase(&requests, "warmup"), phase(&requests, "measured"));
        assert_eq!(measured.len(), 40);
        assert!(warm.len() > 5, "{how:?}: {} in the warm-up", warm.len());
        // It is not drained in between: something of the warm-up is still under way when the first measured one is sent.
        let first = measured.iter().map(sent).min().unwrap();
        assert!(warm.iter().map(sent).all(|at| at <= first + 50_000), "{how:?}");
        assert!(first >= 250_000, "{how:?}: {first}");
        let result = &run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result")[0];
        let throughput = result["metrics"]["request_throughput"].as_f64().unwrap();
        assert!(throughput > 20.0, "{how:?}: {throughput}");
        // What the warm-up was like changes no latency.
        let without: String =
            done.stdout.lines().filter(|line| !line.contains("\"warmup\",")).map(|line| format!("{line}\n")).collect();
        let other = &run(&mut program("bench-normalize"), &without).expect(0).records("result")[0];
        assert_eq!(result["metrics"]["p99_ttft_ms"], other["metrics"]["p99_ttft_ms"]);
    }
}

#[test]
fn whole_answers_have_no_first_token_and_generate_is_spoken() {
    let server = Running::sim(&["--step-base-us", "1000"]);
    let whole =
        load(&server, &["--scenario", "s=16:5", "--num-prompts", "4", "--concurrency", "2", "--no-stream"]).expect(0);
    valid(&whole);
    for row in phase(&whole.records("request"), "measured") {
        assert_eq!(
            (&row["status"], &row["output_tokens"], row.get("first_token_us")),
            (&"ok".into(), &5.into(), None),
            "{row}"
        );
    }
    let result = &run(&mut program("bench-normalize"), &whole.stdout).expect(0).records("result")[0];
    assert!(
        result["metrics"]["mean_e2e_ms"].as_f64().unwrap() > 4.0 && result["metrics"].get("mean_ttft_ms").is_none(),
        "{result:#}"
    );
    let (zoo, folder) = recorded(&[]);
    let args = [
        "--model",
        "zoo",
        "--endpoint",
        "/generate",
        "--scenario",
        "s=16:5",
        "--num-prompts",
        "4",
        "--concurrency",
        "2",
    ];
    let done = load(&zoo, &args).expect(0);
    valid(&done);
    for row in phase(&done.records("request"), "measured") {
        assert_eq!(
            (&row["status"], &row["output_tokens"], &row["chunks"]),
            (&"ok".into(), &5.into(), &5.into()),
            "{row}"
        );
        assert_eq!(row["input_tokens"], 16);
    }
    let body = bodies(&folder).pop().unwrap();
    assert_eq!(
        (&body["sampling_params"]["max_new_tokens"], &body["sampling_params"]["ignore_eos"]),
        (&json!(5), &json!(true))
    );
    assert_eq!((body["input_ids"].as_array().unwrap().len(), &body["sampling_params"]["temperature"]), (16, &json!(0)));
}

#[test]
fn headers_are_sent_and_their_secrets_stay_out_of_the_rows() {
    let (server, folder) = recorded(&[]);
    let mut command = program("bench-load");
    command.env("TEAM_WORD", "hush-hush-hush").args(["--quiet", "--url", &server.url, "--model", "zoo"]);
    let args = ["--scenario", "s=4:3", "--num-prompts", "2", "--concurrency", "1", "-H", "X-Team: ${TEAM_WORD}"];
    let done = run(command.args(args), "").expect(0);
    let heads = fs::read_to_string(folder.path().join("bodies.jsonl.heads")).unwrap();
    assert!(heads.to_lowercase().contains("x-team: hush-hush-hush"), "{heads}");
    assert!(!done.stdout.contains("hush-hush") && done.stdout.contains("X-Team: ${TEAM_WORD}"));
    let unset = load(
        &server,
        &["--model", "zoo", "--scenario", "s=4:3", "--concurrency", "1", "-H", "X-Team: ${NO_SUCH_WORD}"],
    );
    assert!(unset.stderr.contains("NO_SUCH_WORD") && unset.code == Some(2), "{}", unset.stderr);
}

#[test]
fn a_plan_s_data_set_goes_the_whole_way() {
    let folder = scratch();
    let rows: String = (1..=8)
        .map(|i| format!("{}\n", json!({"prompt": format!("What is {i}?"), "output_len": i, "input_len": 8})))
        .collect();
    fs::write(folder.path().join("prompts.jsonl"), rows).unwrap();
    let plan = "model: sim\ndataset: {kind: jsonl, path: prompts.jsonl, num_prompts: 8}\nbenchmark: {max_concurrency: [2], ignore_eos: true}\n\
                frameworks:\n  sim:\n    base_server_flags: {load_ms: 0}\n";
    fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    let script = "bench-validate --format jsonl plan.yaml | bench-expand -q | bench-serve -q | bench-load -q | bench-normalize -q";
    let done = run(bash(script).current_dir(folder.path()), "").expect(0);
    let result = &done.records("result")[0];
    assert_eq!((&result["status"], &result["workload"]["scenario"]), (&"ok".into(), &"prompts".into()), "{result:#}");
    assert_eq!(result["workload"]["output_len_p50"], 4.5);
    assert!(result["workload"]["dataset_path"].as_str().unwrap().ends_with("/prompts.jsonl"));
}
