//! bench-load alone, against a server whose behaviour is known.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Output, Running, bash, bin_dir, finish, kill, program, read_until, root, rows_in, run, scratch, wait_until,
};
use crate::schemas::validator;

fn load(server: &Running, args: &[&str]) -> Output {
    run(program("bench-load").args(["--quiet", "--url", &server.url]).args(args), "")
}

fn measured(done: &Output) -> Vec<Value> {
    done.records("request").into_iter().filter(|row| row["phase"] == "measured").collect()
}

#[test]
fn a_closed_loop_keeps_so_many_in_flight_and_gets_what_it_asked_for() {
    let server = Running::sim(&["--step-base-us", "1000"]);
    let done = load(&server, &["--scenario", "chat=100:12", "--concurrency", "3", "--num-prompts", "20"]).expect(0);
    let requests = measured(&done);
    assert_eq!(requests.len(), 20);
    for request in &requests {
        assert_eq!((&request["status"], &request["token_source"]), (&"ok".into(), &"usage".into()), "{request}");
        assert_eq!((&request["input_tokens"], &request["output_tokens"]), (&100.into(), &12.into()), "{request}");
        assert!(request.get("due_us").is_none());
        let at = |key: &str| request[key].as_u64().unwrap();
        assert!(at("sent_us") <= at("first_byte_us") && at("first_byte_us") <= at("first_token_us"));
        // A busy client may read the first and the last token at once.
        assert!(at("first_token_us") <= at("last_token_us") && at("last_token_us") <= at("end_us"));
    }
    // At any time a request is sent, fewer than three others are under way.
    for request in &requests {
        let sent = request["sent_us"].as_u64().unwrap();
        let under_way =
            |other: &&Value| other["sent_us"].as_u64().unwrap() <= sent && sent < other["end_us"].as_u64().unwrap();
        assert!(requests.iter().filter(under_way).count() <= 3);
    }
    let warmup = done.records("request").iter().filter(|row| row["phase"] == "warmup").count();
    assert_eq!((warmup, done.records("run").len(), done.records("run_end").len()), (2, 1, 1));
    for row in done.rows() {
        let kind = row["record"].as_str().unwrap();
        let errors: Vec<String> = validator(kind).iter_errors(&row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}\n{row:#}");
    }
}

#[test]
fn a_run_too_short_to_tell_is_measured_again_and_longer() {
    // Answers of 0.4 s: 30 requests come within one.
    let server = Running::sim(&["--step-base-us", "10000"]);
    let workload = ["--scenario", "chat=20:40", "--rate", "100", "--num-prompts", "30", "--warmup", "0"];
    let of = |sla: &[&str]| {
        let runs = load(&server, &[&workload[..], sla].concat()).expect(0).records("run");
        runs.into_iter().map(|run| run["workload"]["num_prompts"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let judged = of(&["--sla", "max_p99_ttft_ms=60000"]);
    assert!(judged.len() >= 2 && judged[0] == 30 && judged[1] >= 4 * 30, "{judged:?}");
    let [missed, free] = [of(&["--sla", "max_p99_ttft_ms=0.001"]), of(&[])];
    assert!(missed.iter().chain(&free).all(|n| *n == 30), "nothing to decide: {missed:?} {free:?}");
}

#[test]
fn an_open_loop_is_the_same_schedule_every_time() {
    let server = Running::sim(&[]);
    let args = ["--scenario", "chat=20:4", "--rate", "100", "--num-prompts", "50", "--seed", "7"];
    let (one, two) = (load(&server, &args).expect(0), load(&server, &args).expect(0));
    let hash = |done: &Output| done.records("run")[0]["schedule_sha256"].as_str().unwrap().to_string();
    assert_eq!(hash(&one), hash(&two));
    let mut due: Vec<u64> = measured(&one).iter().map(|row| row["due_us"].as_u64().unwrap()).collect();
    due.sort_unstable();
    assert_eq!(due.last(), Some(&500_000), "the last of 50 at 100 per second is due after half a second");
    assert!(measured(&one).iter().all(|row| row["sent_us"].as_u64() >= row["due_us"].as_u64()));
    let other = load(&server, &["--scenario", "chat=20:4", "--rate", "100", "--num-prompts", "50", "--seed", "8"]);
    assert_ne!(hash(&one), hash(&other));
}

#[test]
fn what_is_due_above_the_cap_is_dropped_and_fails() {
    let server = Running::zoo(&["--token-ms", "100"]);
    let args =
        ["--model", "zoo", "--scenario", "s=4:5", "--rate", "40", "--cap", "2", "--num-prompts", "20", "--warmup", "0"];
    let done = load(&server, &args).expect(0);
    let dropped = measured(&done).iter().filter(|row| row["status"] == "dropped").count();
    assert!(dropped >= 10 && measured(&done).len() == 20, "{dropped} dropped");
    let result = &run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result")[0];
    let share = result["metrics"]["success_rate"].as_f64().unwrap();
    assert!((share - (20 - dropped) as f64 / 20.0).abs() < 1e-9, "{share}");
}

#[test]
fn chat_prompts_have_the_tokens_that_were_asked_for_template_included() {
    let server = Running::sim(&[]);
    let args =
        ["--endpoint", "/v1/chat/completions", "--scenario", "chat=40:5", "--concurrency", "2", "--num-prompts", "6"];
    let done = load(&server, &args).expect(0);
    assert_eq!(done.records("run")[0]["workload"]["prompt_form"], "text");
    for request in measured(&done) {
        assert_eq!((&request["input_tokens"], &request["output_tokens"]), (&40.into(), &5.into()));
        // The opening event has a role and no token.
        assert_eq!(request["chunks"], 5);
    }
}

#[test]
fn a_stream_that_stalls_times_out_and_the_others_go_on() {
    let server = Running::zoo(&["--stalls-at", "6"]);
    let args =
        ["--model", "zoo", "--scenario", "s=4:3", "--concurrency", "2", "--num-prompts", "6", "--idle-timeout", "0.3"];
    let done = load(&server, &args).expect(0);
    let statuses: Vec<String> = measured(&done).iter().map(|row| row["status"].as_str().unwrap().into()).collect();
    assert_eq!(
        statuses.iter().filter(|s| *s == "timeout_idle").count() + statuses.iter().filter(|s| *s == "ok").count(),
        6
    );
    assert!(statuses.contains(&"ok".into()) && statuses.contains(&"timeout_idle".into()), "{statuses:?}");
}

#[test]
fn a_server_that_dies_under_load_fails_what_is_left() {
    let server = Running::zoo(&["--dies-at", "6", "--token-ms", "20"]);
    let args = ["--model", "zoo", "--scenario", "s=4:3", "--concurrency", "2", "--num-prompts", "12"];
    let done = load(&server, &args).expect(0);
    let requests = measured(&done);
    assert_eq!(requests.len(), 12);
    let failed: Vec<&Value> = requests.iter().filter(|row| row["status"] != "ok").collect();
    assert!(failed.len() >= 8, "{failed:?}");
    let result = &run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result")[0];
    assert!(result["metrics"]["success_rate"].as_f64().unwrap() < 0.5);
}

#[test]
fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{free}");
    let args = ["--url", &url, "--scenario", "chat=10:2", "--concurrency", "1"];
    let done = run(program("bench-load").args(args), "").expect(2);
    assert!(done.stdout.is_empty() && done.stderr.contains("cannot reach the server"), "{}", done.stderr);
}

#[test]
fn a_host_without_certificates_reaches_plain_http_and_is_told_what_https_needs() {
    let (folder, server) = (scratch(), Running::sim(&[]));
    let file = folder.path().join("none.pem");
    std::fs::write(&file, "").unwrap();
    let workload = ["--scenario", "chat=8:2", "--num-prompts", "2", "--concurrency", "1"];
    let bare = |url: &str| {
        let mut command = program("bench-load");
        command.env("SSL_CERT_FILE", &file).env("SSL_CERT_DIR", folder.path());
        command.args(["--quiet", "--url", url]).args(workload);
        run(&mut command, "")
    };
    assert_eq!(measured(&bare(&server.url).expect(0)).len(), 2);
    let asked = bare(&server.url.replace("http://", "https://")).expect(2);
    if cfg!(feature = "tls") {
        assert!(asked.stderr.contains("install ca-certificates, or set SSL_CERT_FILE"), "{}", asked.stderr);
    }
}

#[test]
fn a_server_row_whose_lease_is_gone_is_an_error_and_never_a_load() {
    let rows = crate::harness::candidates(&crate::harness::zoo_plan("{}"));
    let mut row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    row["record"] = "server".into();
    for (key, value) in [("server_id", "zoo-1-2"), ("started_at", "2026-01-01T00:00:00Z")] {
        row[key] = value.into();
    }
    row["endpoint"] = serde_json::json!({"base_url": "http://127.0.0.1:9", "model_id": "zoo", "lease": "/nowhere/lease", "reached_by": "same_host"});
    let done = run(&mut program("bench-load"), &format!("{row}\n")).expect(2);
    assert!(done.stderr.contains("stdin:1: ") || done.stderr.contains("/nowhere/lease"), "{}", done.stderr);
    assert!(
        done.stderr.contains("the server of this row has stopped") && done.records("request").is_empty(),
        "{}",
        done.stderr
    );
}

#[test]
fn an_interrupt_ends_the_run_with_whole_rows() {
    let folder = scratch();
    let asked = folder.path().join("asked");
    let server = Running::zoo(&["--token-ms", "50", "--records", asked.to_str().unwrap()]);
    let mut command = program("bench-load");
    let args = ["--quiet", "--url", &server.url, "--model", "zoo", "--scenario", "s=4:100", "--concurrency", "4"];
    let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    // The first request of the warm-up, of 5 s, has come in.
    let is_asked =
        || std::fs::read_to_string(&asked).is_ok_and(|bodies| bodies.contains("\"max_tokens\":100")).then_some(());
    wait_until(Duration::from_secs(10), is_asked).expect("a request of 100 tokens comes in");
    kill(pid, Signal::SIGINT);
    let done = finish(child, Duration::from_secs(5));
    assert_eq!(done.signal, Some(2), "{}", done.stderr);
    let end = &done.records("run_end")[0];
    assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"interrupted".into()));
    assert_eq!(done.records("server_end").len(), 1, "the rest of the input is passed on");
}

#[test]
fn a_run_in_which_the_client_paused_is_not_ranked_and_measured_again() {
    let server = Running::zoo(&["--token-ms", "20"]);
    let mut command = program("bench-load");
    let args = ["--quiet", "--url", &server.url, "--model", "zoo", "--scenario", "s=4:20", "--concurrency", "2"];
    let args = args.into_iter().chain(["--num-prompts", "8", "--warmup", "1"]);
    let mut child =
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    // The first of eight measured requests is done. The client pauses while the server answers somebody else for 0.4 s.
    let before = read_until(&mut child, "\"phase\":\"measured\"");
    kill(pid, Signal::SIGSTOP);
    server.answers(20);
    kill(pid, Signal::SIGCONT);
    let mut done = finish(child, Duration::from_secs(30)).expect(0);
    done.stdout.insert_str(0, &before);
    let ends = done.records("run_end");
    assert_eq!((ends.len(), &ends[0]["failure_class"]), (2, &"client_saturated".into()), "{}", done.stdout);
    let why = ends[0]["failure_reason"].as_str().unwrap();
    assert!(why.starts_with("the load generator got no CPU for "), "{why}");
    let runs = done.records("run");
    assert_eq!((&runs[0]["attempt"], &runs[1]["attempt"]), (&Value::Null, &1.into()));
    let results = run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result");
    // The second attempt replaces the first. On a busy machine the client may fall behind once more.
    let [result] = &results[..] else { panic!("{results:#?}") };
    assert_eq!(result["attempts"], 2);
    let saturated = result["quality"]["client_saturated"] == true;
    assert_eq!(result["status"], if saturated { "failed" } else { "ok" });
}

#[test]
fn a_server_that_takes_connections_and_never_answers_fails_its_runs() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut held = Vec::new();
        for (i, stream) in listener.incoming().enumerate().take(2) {
            let mut stream = stream.unwrap();
            if i == 0 {
                // The list of models; what comes next is taken and left alone.
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]).unwrap();
                let body = r#"{"data": [{"id": "m"}]}"#;
                let answer =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
            }
            held.push(stream);
        }
        // Until the client gives up.
        held.iter_mut().for_each(|stream| drop(std::io::Read::read_to_end(stream, &mut Vec::new())));
    });
    let args = ["--quiet", "--url", &url, "--scenario", "s=4:3", "--concurrency", "1", "--ttft-timeout", "0.3"];
    let done = run(program("bench-load").args(args), "").expect(0);
    let end = &done.records("run_end")[0];
    assert_eq!((&end["status"], &end["failure_class"]), (&"failed".into(), &"no_answer".into()), "{end:#}");
    assert!(end["failure_reason"].as_str().unwrap().contains("did not answer a small request within 0.3 s"), "{end:#}");
    server.join().unwrap();
}

#[test]
fn a_rate_is_searched_and_nothing_is_claimed_that_was_not_measured() {
    // One sequence at a time, four tokens of 5 ms each: about fifty a second, and a queue above that.
    let server = Running::sim(&["--step-base-us", "5000", "--max-num-seqs", "1"]);
    let args = ["--scenario", "chat=8:4", "--qps", "4:400:8", "--num-prompts", "24", "--sla", "max_p90_ttft_ms=150"];
    let done = load(&server, &args).expect(0);
    let [end] = &done.records("search_end")[..] else { panic!("{}", done.stdout) };
    let (pass, fail) = (end["max_pass"].as_f64().unwrap(), end["min_fail"].as_f64().unwrap());
    assert!(4.0 < pass && pass < fail && fail < 400.0, "{end:#}");
    let runs = done.records("run");
    assert_eq!(end["probes"], runs.len());
    let at = |rate: f64| runs.iter().filter(|run| run["load"]["rate"] == rate).collect::<Vec<_>>();
    // Measured, and again with another seed.
    let seeds: Vec<u64> = at(pass).iter().map(|run| run["seed"].as_u64().unwrap()).collect();
    assert!(seeds.len() >= 2 && seeds[0] != seeds[1], "{seeds:?}");
    assert!(!at(fail).is_empty());
    // The command of a run repeats that run.
    let command = at(pass)[1]["benchmark_command"].as_str().unwrap();
    assert!(
        command.contains(&format!("--rate {pass}")) && command.contains(&format!("--seed {}", seeds[1])),
        "{command}"
    );
    let results = run(&mut program("bench-normalize"), &done.stdout).expect(0);
    let chosen: Vec<Value> = results.rows().into_iter().filter(|row| row["search"]["chosen"] == true).collect();
    let [chosen] = &chosen[..] else { panic!("{}", results.stdout) };
    assert_eq!((&chosen["workload"]["request_rate"], &chosen["sla"]["passed"]), (&pass.into(), &true.into()));
    assert_eq!((&chosen["metrics"]["max_qps"], chosen["units"].as_array().unwrap().len()), (&pass.into(), 1));
    // No other probe closes the unit, and none of them is the candidate's best.
    let closing = results.rows().iter().filter(|row| row["units"] != serde_json::json!([])).count();
    let ranked = run(program("bench-rank").args(["--format", "jsonl"]), &results.stdout).expect(0);
    assert_eq!(
        (closing, &ranked.records("result")[0]["workload"]["request_rate"]),
        (1, &pass.into()),
        "{}",
        ranked.stdout
    );
    for row in done.rows().iter().chain(&results.rows()) {
        let kind = row["record"].as_str().unwrap();
        let errors: Vec<String> = validator(kind).iter_errors(row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}\n{row:#}");
    }
}

#[test]
fn the_most_requests_in_flight_are_searched() {
    // Four sequences at a time, eight tokens of 5 ms each: the fifth user waits.
    let server = Running::sim(&["--step-base-us", "5000", "--max-num-seqs", "4"]);
    let args = ["--scenario", "chat=8:8", "--users", "1:64", "--num-prompts", "24", "--sla", "max_p90_ttft_ms=80"];
    let done = load(&server, &args).expect(0);
    let [end] = &done.records("search_end")[..] else { panic!("{}", done.stdout) };
    let (pass, fail) = (end["max_pass"].as_f64().unwrap(), end["min_fail"].as_f64().unwrap());
    assert!(3.0 < pass && pass < fail && fail < 64.0 && pass.fract() == 0.0, "{end:#}");
    assert_eq!((&end["searched"], &end["decided_by"]), (&"concurrency".into(), &"max_p90_ttft_ms".into()));
    for run in done.records("run") {
        assert!(run["load"]["mode"] == "closed" && run["warmup_s"].as_f64() > Some(0.0), "{run:#}");
        assert_eq!(run["length"]["requests"], run["workload"]["num_prompts"]);
    }
    let results = run(&mut program("bench-normalize"), &done.stdout).expect(0);
    let chosen: Vec<Value> = results.rows().into_iter().filter(|row| row["search"]["chosen"] == true).collect();
    let [chosen] = &chosen[..] else { panic!("{}", results.stdout) };
    assert_eq!((&chosen["metrics"]["max_users"], &chosen["metrics"]["max_qps"]), (&pass.into(), &Value::Null));
    let ranked =
        run(program("bench-rank").args(["--rank-by", "max_users", "--format", "md"]), &results.stdout).expect(0);
    assert!(
        ranked.stdout.contains(&format!("concurrency {pass}")) && ranked.stdout.contains("tok/s/user"),
        "{}",
        ranked.stdout
    );
    for row in done.rows().iter().chain(&results.rows()) {
        let kind = row["record"].as_str().unwrap();
        let errors: Vec<String> = validator(kind).iter_errors(row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}\n{row:#}");
    }
}

#[test]
fn an_open_loop_lasts_as_long_as_four_answers() {
    // An answer takes 0.5 s: two seconds at 20 per second, and not the 0.5 s of ten requests.
    let server = Running::sim(&["--step-base-us", "50000"]);
    let args = ["--scenario", "chat=8:10", "--rate", "20", "--num-prompts", "10"];
    let done = load(&server, &args).expect(0);
    // On a busy machine it is measured again.
    let run = &done.records("run")[0];
    let n = run["length"]["requests"].as_u64().unwrap();
    let sent = measured(&done).iter().filter(|row| row["run_id"] == run["run_id"]).count();
    assert!((38..=160).contains(&n) && sent as u64 == n, "{sent}: {run:#}");
    assert_eq!((&run["length"]["decided_by"], &run["workload"]["num_prompts"]), (&"answers".into(), &n.into()));
}

#[test]
fn a_hopeless_probe_is_cut_short_and_names_its_limit() {
    // Eight tokens of 50 ms each, a little more than the limit: no rate passes, and each probe ends early.
    let server = Running::sim(&["--step-base-us", "50000"]);
    let args = ["--scenario", "chat=8:8", "--qps", "20:64", "--num-prompts", "60"];
    let limits = ["--sla", "max_p90_e2e_ms=380", "--sla", "min_success_rate=0.9"];
    let done = load(&server, &[&args[..], &limits].concat()).expect(0);
    let cut = done.records("request").iter().filter(|row| row["status"] == "aborted").count();
    let [end] = &done.records("search_end")[..] else { panic!("{}", done.stdout) };
    assert!(cut > 0 && end["max_pass"].is_null(), "{cut}: {end:#}");
    assert_eq!(end["decided_by"], "max_p90_e2e_ms", "{end:#}");
}

#[test]
fn a_search_that_is_interrupted_closes_nothing() {
    let server = Running::sim(&["--step-base-us", "5000"]);
    let mut command = program("bench-load");
    let args = ["--scenario", "chat=8:4", "--qps", "1:2", "--num-prompts", "60", "--sla", "max_p90_ttft_ms=150"];
    command.args(["--quiet", "--url", &server.url]).args(args).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("\"measured\"") {
        assert!(std::io::BufRead::read_line(&mut out, &mut text).unwrap() > 0, "{text}");
    }
    kill(i32::try_from(child.id()).unwrap(), Signal::SIGTERM);
    std::io::Read::read_to_string(&mut out, &mut text).unwrap();
    assert_eq!(finish(child, Duration::from_secs(10)).signal, Some(15));
    assert!(text.contains("\"reason\":\"interrupted\""), "{text}");
    let results = run(&mut program("bench-normalize"), &text).expect(0);
    assert!(results.rows().iter().all(|row| row["units"] == serde_json::json!([])), "{}", results.stdout);
}

#[test]
fn arrivals_are_as_asked_and_the_command_says_so() {
    let server = Running::sim(&[]);
    let args = ["--scenario", "chat=8:2", "--rate", "100", "--num-prompts", "20", "--arrivals", "constant"];
    let done = load(&server, &args).expect(0);
    let mut due: Vec<u64> = measured(&done).iter().map(|row| row["due_us"].as_u64().unwrap()).collect();
    due.sort_unstable();
    assert_eq!(due, (1..=20).map(|i| i * 10_000).collect::<Vec<u64>>());
    let run = &done.records("run")[0];
    assert_eq!(run["load"]["arrivals"], "constant");
    assert!(run["benchmark_command"].as_str().unwrap().contains("--arrivals constant"), "{run:#}");
}

#[test]
fn a_rate_that_a_server_falls_behind_fails_whatever_its_latencies_say() {
    // Fifty a second at most; the only limit is that all succeed, and all do.
    let server = Running::sim(&["--step-base-us", "5000", "--max-num-seqs", "1"]);
    for (rate, saturated) in [("20", false), ("100", true)] {
        let args = ["--scenario", "chat=8:4", "--rate", rate, "--num-prompts", "100", "--sla", "min_success_rate=1"];
        let done = load(&server, &args).expect(0);
        let results = run(&mut program("bench-normalize"), &done.stdout).expect(0);
        let row = &results.rows()[0];
        assert_eq!(row["metrics"]["success_rate"], 1.0);
        assert_eq!(row["quality"]["stability"]["saturated"], saturated, "{row:#}");
        assert_eq!(row["sla"]["passed"], !saturated);
        let named = row["sla"]["tested"].get("in_flight").is_some();
        assert_eq!(named, saturated);
    }
}

/// The rows of a run by hand with `n` requests at four a second; how long an answer takes, µs, by its number.
fn by_hand(n: u64, e2e: impl Fn(u64) -> u64) -> String {
    let text = std::fs::read_to_string(root().join("tests/it/cases/bench-normalize/one-run-by-hand/stdin")).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |record: &str| rows.iter().find(|row| row["record"] == record).unwrap().clone();
    let is_good = |row: &&Value| row["phase"] == "measured" && row["status"] == "ok";
    let good = rows.iter().find(is_good).unwrap().clone();
    let mut all = vec![of("server"), of("run")];
    all[0]["sla"] = serde_json::json!({"min_success_rate": 1.0});
    all.extend((0..n).map(|i| {
        let (mut row, due) = (good.clone(), i * 250_000);
        row["i"] = i.into();
        for (key, after) in
            [("due_us", 0), ("sent_us", 0), ("first_token_us", 50_000), ("last_token_us", e2e(i)), ("end_us", e2e(i))]
        {
            row[key] = (due + after).into();
        }
        row
    }));
    all.extend([of("run_end"), of("server_end")]);
    all.iter().map(|row| format!("{row}\n")).collect()
}

#[test]
fn a_run_that_is_shorter_than_two_answers_is_too_short_to_tell_and_fails_nothing() {
    // An answer takes nine seconds, however many there are; or half a second more for each second of the run.
    let (even, growing) = (|_| 9_000_000, |i| 1_000_000 + i * 125_000);
    for (rows, short, passed) in
        [(by_hand(60, even), true, true), (by_hand(150, even), false, true), (by_hand(150, growing), false, false)]
    {
        let results = run(&mut program("bench-normalize"), &rows).expect(0);
        let row = &results.rows()[0];
        assert_eq!(row["sla"]["passed"], passed, "{row:#}");
        assert_eq!(row["sla"]["tested"].get("in_flight").is_none(), passed, "{row:#}");
        assert_eq!(row["quality"]["too_short_to_tell"] == true, short, "{row:#}");
        assert_eq!(row["quality"].get("stability").is_none(), short, "{row:#}");
        let report = run(&mut program("bench-rank"), &results.stdout);
        assert_eq!(report.stdout.contains("too short to tell"), short, "{}", report.stdout);
        assert_eq!(report.stdout.contains("Saturated:"), !passed, "{}", report.stdout);
    }
}

#[test]
fn what_a_load_lacks_is_not_made_up() {
    let row = std::fs::read_to_string(root().join("tests/it/cases/bench-load/server-with-nothing-left-to-run/stdin"));
    let mut row: Value = serde_json::from_str(&row.unwrap()).unwrap();
    row["units"] = serde_json::json!([{"key": "u", "scenario": "chat", "load": 0, "repeat": 0}]);
    for (load, args, why) in [
        (serde_json::json!({"mode": "closed"}), [].as_slice(), "concurrency"),
        (serde_json::json!({"mode": "closed", "concurrency": 1}), &["--shard", "1/2"], "cannot be shared by 2 clients"),
        (serde_json::json!({"mode": "open", "rate": 2.0, "arrivals": "trace"}), &[], "timestamp"),
    ] {
        row["loads"] = serde_json::json!([load]);
        let mut load = program("bench-load");
        let end = &run(load.args(args), &format!("{row}\n")).expect(0).records("run_end")[0].clone();
        assert_eq!(end["failure_class"], "unsupported", "{end}");
        assert!(end["failure_reason"].as_str().unwrap().contains(why), "{end}");
    }
}

#[test]
fn two_clients_share_a_load_and_their_files_give_one_result() {
    let folder = scratch();
    let plan = "model: sim\nhardware: {gpu_count: 1}\ndataset: {num_prompts: 30, scenario_names: [s], input_len: [16], output_len: [4]}\n\
                benchmark: {request_rates: [60], max_concurrency: [3]}\nsla: {max_p90_ttft_ms: 1000}\nframeworks:\n  sim:\n    base_server_flags: {load_ms: 0, step_base_us: 1000}\n";
    std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    let script = "bench-expand -q plan.yaml | bench-serve -q --holders 2 | tee >(bench-load -q --shard 0/2 > a.jsonl) | bench-load -q --shard 1/2 > b.jsonl; \
                  sleep 0.2; bench-normalize -q a.jsonl b.jsonl; bench-normalize -q a.jsonl > half.jsonl; \
                  bench-expand -q plan.yaml | bench-serve -q | bench-load -q > one.jsonl; bench-normalize -q one.jsonl";
    let done = run(bash(script).current_dir(folder.path()), "").expect(0);
    let read = |name: &str| rows_in(&folder.path().join(name));
    // What was sent when, by load: each request by exactly one client, and all as by one client alone.
    let sent = |rows: &[Value]| -> Vec<(bool, u64, u64)> {
        let measured = rows.iter().filter(|row| row["record"] == "request" && row["phase"] == "measured");
        let mut all: Vec<_> = measured
            .map(|row| (row.get("due_us").is_some(), row["i"].as_u64().unwrap(), row["due_us"].as_u64().unwrap_or(0)))
            .collect();
        all.sort_unstable();
        all
    };
    let (a, b) = (read("a.jsonl"), read("b.jsonl"));
    let both = [sent(&a), sent(&b)].concat();
    assert_eq!((sent(&a).len(), sent(&b).len()), (30, 30));
    let mut sorted = both.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, sent(&read("one.jsonl")));
    // One time zero: nobody's clock is ahead of the other's by more than its own lateness.
    let results = done.rows();
    assert_eq!(results.len(), 4, "{}", done.stdout);
    for (shared, alone) in results[..2].iter().zip(&results[2..]) {
        for row in [shared, alone] {
            assert_eq!((&row["status"], &row["metrics"]["success_rate"]), (&"ok".into(), &1.0.into()), "{row:#}");
            assert_eq!((&row["workload"]["num_prompts"], &row["run"]["requests"]["ok"]), (&30.into(), &30.into()));
        }
        for key in ["workload", "fingerprint"] {
            assert_eq!(shared[key], alone[key], "{key}");
        }
        assert_eq!(shared["sla"]["passed"], alone["sla"]["passed"]);
    }
    // A part alone is no result.
    let half = read("half.jsonl");
    assert!(half.iter().all(|row| row["failure_class"] == "shards_missing" && row["status"] == "failed"), "{half:?}");
}

#[test]
fn a_candidate_that_cannot_keep_the_best_rate_is_pruned() {
    let folder = scratch();
    let plan = "model: sim\nhardware: {gpu_count: 1}\ndataset: {num_prompts: 24, scenario_names: [s], input_len: [8], output_len: [4]}\n\
                benchmark: {max_concurrency: [null], qps: {lower: 8, upper: 64, tolerance: 16, prune: true}}\nsla: {max_p90_ttft_ms: 150}\n\
                frameworks:\n  sim:\n    base_server_flags: {load_ms: 0, step_base_us: 5000, max_num_seqs: 16}\n    search_space: {max_num_seqs: [1], step_base_us: [20000]}\n";
    std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    let script = "bench-expand -q plan.yaml | bench-serve -q | bench-load -q | bench-normalize -q";
    let done = run(bash(script).current_dir(folder.path()), "").expect(0);
    let results = done.rows();
    let pruned: Vec<&Value> = results.iter().filter(|row| row["failure_class"] == "pruned").collect();
    let [pruned] = &pruned[..] else { panic!("{}", done.stdout) };
    assert_eq!((&pruned["status"], pruned["units"].as_array().unwrap().len()), (&"skipped".into(), 1));
    assert_eq!((&pruned["search"]["reason"], &pruned["search"]["probes"]), (&"pruned".into(), &2.into()));
    let best = results.iter().find_map(|row| row["metrics"]["max_qps"].as_f64()).unwrap();
    assert_eq!(pruned["workload"]["request_rate"], best);
    let of = |row: &&Value| row["candidate_id"] == pruned["candidate_id"];
    let seeds: Vec<&str> = results.iter().filter(of).map(|row| row["benchmark_command"].as_str().unwrap()).collect();
    assert!(seeds.len() == 2 && seeds[0] != seeds[1], "{seeds:?}");
}

/// bench-load --client zoo behind bench-serve, where the client does this.
fn foreign(client: &str, plan: &str) -> (Output, String) {
    let folder = scratch();
    std::fs::write(folder.path().join("plan.yaml"), plan).unwrap();
    let fixtures = root().join("tests/fixtures").display().to_string();
    let script = format!(
        "bench-expand -q --frameworks {fixtures} plan.yaml | bench-serve -q --frameworks {fixtures} | bench-load -q --frameworks {fixtures} --client zoo"
    );
    let path = format!(
        "{fixtures}/bin:{}:{}/examples:{}",
        bin_dir().display(),
        bin_dir().display(),
        std::env::var("PATH").unwrap()
    );
    let calls = folder.path().join("calls");
    let mut command = bash(&script);
    command.current_dir(folder.path()).env("PATH", path).env("ZOO_CLIENT", client).env("ZOO_CLIENT_CALLS", &calls);
    let done = run(command.env("BENCH_API_KEY", "key-of-nobody-at-all"), "").expect(0);
    (done, std::fs::read_to_string(calls).unwrap_or_default())
}

#[test]
fn the_client_is_that_of_the_servers_installation() {
    let folder = scratch();
    let installed = folder.path().join("venv/bin");
    std::fs::create_dir_all(&installed).unwrap();
    std::os::unix::fs::symlink(bin_dir().join("examples/zoo"), installed.join("zoo")).unwrap();
    std::os::unix::fs::symlink(root().join("tests/fixtures/bin/zoo-client"), installed.join("zoo-client")).unwrap();
    let (calls, server) = (folder.path().join("calls"), installed.join("zoo"));
    // Its environment is the server's; PATH has neither.
    let own = format!(
        "    server_command: {}\n    env: {{ZOO_CLIENT_CALLS: {}}}\n    base_server_flags:",
        server.display(),
        calls.display()
    );
    let plan = crate::harness::zoo_plan("{}").replace("    base_server_flags:", &own);
    std::fs::write(folder.path().join("plan.yaml"), &plan).unwrap();
    let fixtures = root().join("tests/fixtures").display().to_string();
    let script = format!(
        "bench-expand -q --frameworks {fixtures} plan.yaml | bench-serve -q --frameworks {fixtures} | bench-load -q --frameworks {fixtures} --client zoo"
    );
    let mut command = bash(&script);
    let done = run(command.current_dir(folder.path()).env("ZOO_CLIENT", ""), "").expect(0);
    let native = done.records("native");
    assert_eq!(native.len(), 1, "{}{}", done.stdout, done.stderr);
    let said = native[0]["run"]["benchmark_command"].as_str().unwrap();
    assert!(said.starts_with(&format!("{}/zoo-client ", installed.display())), "{said}\n{plan}");
    assert!(calls.exists(), "{}", done.stdout);
}

#[test]
fn another_client_runs_against_the_leased_server_and_what_it_says_is_kept() {
    let plan =
        crate::harness::zoo_plan("{}").replace("max_concurrency: [2]", "max_concurrency: [2], request_rates: [5]");
    let (done, calls) = foreign("", &plan);
    let native = done.records("native");
    assert_eq!(native.len(), 2, "{}", done.stdout);
    for row in &native {
        assert_eq!(
            (&row["format"], &row["payload"]["request_rate"]),
            (&"zoo_client".into(), &"Infinity".into()),
            "{row}"
        );
        let errors: Vec<String> = validator("native").iter_errors(row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert!(!done.stdout.contains("key-of-nobody"), "{}", done.stdout);
    assert!(native[1]["run"]["benchmark_command"].as_str().unwrap().contains("--at-once 2"), "{}", native[1]);
    assert!(
        calls.contains("--in 8 --seed 1 --body {\"temperature\":0} --completions --rate 5 --exact --result"),
        "{calls}"
    );
    for (how, why) in [("fails", "ValueError: no tokenizer"), ("silent", "it wrote no result")] {
        let (done, _) = foreign(how, &crate::harness::zoo_plan("{}"));
        let result = &run(&mut program("bench-normalize"), &done.stdout).expect(0).records("result")[0];
        assert_eq!((&result["status"], &result["failure_class"]), (&"failed".into(), &"client_failed".into()));
        assert!(
            result["failure_reason"].as_str().unwrap().contains(why) && !done.stdout.contains("key-of-nobody"),
            "{result:#}"
        );
    }
    let (done, calls) =
        foreign("", &crate::harness::zoo_plan("{}").replace("num_prompts: 4", "num_prompts: 4, range_ratio: 0.5"));
    let end = &done.records("run_end")[0];
    assert_eq!(
        (&end["status"], &end["failure_class"], calls.as_str()),
        (&"skipped".into(), &"unsupported".into(), ""),
        "{end}"
    );
}
