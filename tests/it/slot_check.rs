//! How much servers in slots disturb each other, and what follows from it: `bench-expand --slot-check`, bench-rank, `bench-sweep --slots`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Mark, Output, bash, program, rows_in, run, scratch, write_plan};
use crate::pipeline::with_llama_cpp;
use crate::slots::{SOON, assert_valid, overlap, plan, served};

/// The plan's check of two slots by hand, then its candidates: their results.
fn checked(folder: &Path, mark: &Mark) -> (Vec<Value>, Output) {
    write_plan(folder, &plan(1, 60));
    let script =
        "bench-expand -q --slot-check 0,1 plan.yaml | bench-serve -q --slots 0,1 | bench-load -q --jobs 2 > check.jsonl
                  bench-expand -q plan.yaml | bench-serve -q --slots 0,1 | bench-load -q --jobs 2 > raw.jsonl
                  bench-normalize -q check.jsonl raw.jsonl > results.jsonl";
    let done = run(mark.put(bash(script).current_dir(folder)), "").expect(0);
    mark.gone_within(SOON);
    (rows_in(&folder.join("results.jsonl")), done)
}

#[test]
fn a_check_of_slots_decides_what_is_ranked() {
    let (folder, mark) = (scratch(), Mark::new("checks"));
    let (mut rows, done) = checked(folder.path(), &mark);
    assert_valid(&rows);
    // The baseline alone, then both slots at the same time, three runs each.
    let check = rows_in(&folder.path().join("check.jsonl"));
    assert_valid(&check);
    let servers = served(&check);
    assert_eq!(servers.len(), 3, "{}", done.stderr);
    assert!(
        !overlap(&servers[0], &servers[1]) && !overlap(&servers[0], &servers[2]) && overlap(&servers[1], &servers[2])
    );
    assert!(check.iter().filter(|row| row["record"] == "run_end").count() >= 15);
    let node = rows.iter_mut().find(|row| row["record"] == "node").unwrap();
    let found = &node["slots"][0];
    assert_eq!((&found["slots"], &found["framework"]), (&"0,1".into(), &"sim".into()));
    // On a busy host it may say that it says nothing; otherwise it has a figure of each metric, and need not be repeated.
    let is_known = found["failure"].is_null();
    assert!([4, if is_known { 4 } else { 0 }].contains(&found["metrics"].as_object().unwrap().len()), "{node:#}");
    assert_eq!(node["units"].as_array().unwrap().is_empty(), !is_known);
    let node = node.clone();
    let results: Vec<Value> = rows.into_iter().filter(|row| row["record"] == "result").collect();
    assert_eq!(results.len(), 5);

    // What is ranked with such a change of the throughput.
    let ranked = |worse: Option<f64>| {
        let change = |worse: f64, within_noise: bool| {
            json!({"alone": 10.0, "beside": 10.0 * (1.0 - worse), "worse": worse,
            "least": worse - 0.004, "most": worse + 0.004, "within_noise": within_noise})
        };
        let mut node = node.clone();
        node["slots"][0].as_object_mut().unwrap().remove("failure");
        node["slots"][0]["metrics"] = json!({"mean_ttft_ms": change(0.001, true),
            "request_throughput": worse.map_or(change(0.002, true), |worse| change(worse, false))});
        let text: String = results.iter().chain([&node]).map(|row| format!("{row}\n")).collect();
        std::fs::write(folder.path().join("rows.jsonl"), text).unwrap();
        let report =
            run(program("bench-rank").current_dir(folder.path()).args(["-q", "--format", "md", "rows.jsonl"]), "")
                .expect(0);
        let jsonl =
            run(program("bench-rank").current_dir(folder.path()).args(["-q", "--format", "jsonl", "rows.jsonl"]), "")
                .expect(0);
        let refused = jsonl.records("result").iter().filter(|row| row["failure_class"] == "slot_interference").count();
        let left = run(
            program("bench-expand").current_dir(folder.path()).args(["-q", "plan.yaml", "--done", "rows.jsonl"]),
            "",
        );
        (refused, left.expect(0).records("candidate").len(), report.stdout)
    };
    let (refused, left, report) = ranked(None);
    assert_eq!((refused, left), (0, 0));
    assert!(report.contains("candidates ran beside each other in slots 0,1: a baseline of sim had"), "{report}");
    let (refused, left, _) = ranked(Some(0.029));
    assert_eq!((refused, left), (0, 0), "3 % are the limit");
    let (refused, left, report) = ranked(Some(0.052));
    assert_eq!((refused, left), (4, 4), "the baseline ran alone");
    assert!(
        report.contains("the baseline of sim had request_throughput 5.2 % worse")
            && report.contains("the limit is 3 %"),
        "{report}"
    );
    // Without a check nobody knows.
    let text: String = results.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(folder.path().join("rows.jsonl"), text).unwrap();
    let report = run(program("bench-rank").current_dir(folder.path()).args(["-q", "--format", "md", "rows.jsonl"]), "")
        .expect(0);
    assert!(report.stdout.contains("was not measured (bench-expand --slot-check)"), "{}", report.stdout);
    // What is known is not measured again.
    let left = |slots: &str| {
        let mut command = program("bench-expand");
        command.current_dir(folder.path()).args(["-q", "--slot-check", slots, "plan.yaml", "--done", "results.jsonl"]);
        run(&mut command, "").expect(0).records("candidate").len()
    };
    // On a busy host a client falls behind: then its run, or all of a check that says nothing, is measured again.
    let planned = ["-q", "--slot-check", "0,1", "plan.yaml"];
    let planned = run(program("bench-expand").current_dir(folder.path()).args(planned), "").expect(0);
    let is_done = |unit: &Value| node["units"].as_array().unwrap().contains(&unit["key"]);
    let lacks = |candidate: &&Value| !candidate["units"].as_array().unwrap().iter().all(is_done);
    assert_eq!(left("0,1"), planned.records("candidate").iter().filter(lacks).count());
    assert_eq!(left("0,2"), 3, "other slots are");
}

/// An engine that is twice as slow while another one of its kind runs.
fn jealous(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("jealous");
    let script = format!(
        "#!/bin/sh\nd='{}'; mkdir -p \"$d\"; : > \"$d/$$\"; sleep 0.5; n=0\n\
         for f in \"$d\"/*; do kill -0 \"${{f##*/}}\" 2> /dev/null && n=$((n + 1)); done\n\
         [ $n -lt 2 ] || set -- $(echo \"$@\" | sed 's/--step-base-us 2000/--step-base-us 4000/')\n\
         exec bench-sim \"$@\"\n",
        folder.join("running").display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_sweep_uses_its_slots_unless_servers_in_them_disturb_each_other() {
    for disturbs in [false, true] {
        let (folder, mark) = (scratch(), Mark::new("sweep"));
        let mut text = plan(1, 60);
        if disturbs {
            let command = format!("  sim:\n    server_command: {}\n", jealous(folder.path()).display());
            text = text.replace("  sim:\n", &command);
        }
        let path = write_plan(folder.path(), &text);
        let sweep = || {
            let mut command = program("bench-sweep");
            command.current_dir(folder.path()).arg(&path).args(["--out", "out", "--slots", "0,1", "--no-preflight"]);
            command
        };
        let done = run(mark.put(&mut sweep()), "").expect(0);
        mark.gone_within(SOON);
        let results = rows_in(&folder.path().join("out/results.jsonl"));
        let node = results.iter().find(|row| row["record"] == "node").unwrap();
        let is_known = node["slots"][0]["failure"].is_null();
        let beside = results.iter().filter(|row| row["candidate"]["slot"]["alone"] == false).count();
        let ok = results.iter().filter(|row| row["status"] == "ok").count();
        assert_eq!(ok, 5, "{}", done.stderr);
        assert!(done.stderr.contains("slots 0,1: the baseline of sim beside another server:"), "{}", done.stderr);
        // A busy host may disturb what does not disturb itself: then too the sweep goes on, and says so.
        let goes_without = done.stderr.contains("continuing without --slots");
        assert!(goes_without || !disturbs, "{}", done.stderr);
        assert_eq!(beside, if goes_without { 0 } else { 4 }, "{}", done.stderr);
        if disturbs && is_known {
            assert!(done.stderr.contains("the limit is 3 %"), "{}", done.stderr);
        }
        let report = std::fs::read_to_string(folder.path().join("out/report.md")).unwrap();
        assert!(!report.contains("slot_interference") && report.contains("sim"), "{report}");
        // Everything is done, the check too.
        let again = run(mark.put(&mut sweep()), "").expect(4);
        assert!(again.stderr.contains("all 5 runs are complete"), "{}", again.stderr);
        let status = run(program("bench-sweep").current_dir(folder.path()).args(["--status", "out"]), "").expect(0);
        assert!(status.stdout.contains("nothing left to run"), "{}", status.stdout);
        mark.gone_within(SOON);
    }
}

#[test]
fn real_servers_run_in_slots_of_one_cpu() {
    let Some(folder) = with_llama_cpp() else { return };
    if std::thread::available_parallelism().is_ok_and(|n| n.get() < 2) {
        return crate::harness::skipped("one CPU has no second one for another slot");
    }
    let mark = Mark::new("llama-slots");
    write_plan(
        folder.path(),
        "model: engines/llama-cpp/model/tiny.gguf\nhardware: {gpu_count: 0}\n\
         dataset: {num_prompts: 12, scenario_names: [s], input_len: [32], output_len: [16]}\n\
         benchmark: {max_concurrency: [2], warmup_requests: 1}\nframeworks:\n  llama_cpp:\n\
         \x20   base_server_flags: {parallel: 2, ctx_size: 2048, threads: 1}\n\
         \x20   search_space: {batch_size: [512, 256, 128, 64]}\n",
    );
    let sweep = |args: &[&str]| {
        let mut command = program("bench-sweep");
        command.current_dir(folder.path()).args(args);
        run(mark.put(&mut command), "")
    };
    let done = sweep(&["plan.yaml", "--out", "out", "--slots", "0,1"]);
    mark.gone_within(SOON);
    assert!([Some(0), Some(1)].contains(&done.code), "{:?}\n{}", done.code, done.stderr);
    let results = rows_in(&folder.path().join("out/results.jsonl"));
    let node = results.iter().find(|row| row["record"] == "node").unwrap();
    assert_eq!(node["slots"][0]["slots"], "0,1", "{node:#}");
    assert!(done.stderr.contains("slots 0,1: the baseline of llama_cpp beside another server:"), "{}", done.stderr);
    // Both servers of the check had one CPU each.
    let mut raw: Vec<_> =
        std::fs::read_dir(folder.path().join("out/raw")).unwrap().map(|e| e.unwrap().path()).collect();
    raw.sort();
    let rows: Vec<Value> = raw.iter().flat_map(|path| rows_in(path)).collect();
    let beside = rows.iter().filter(|row| row["record"] == "server" && row["search"]["slot_check"] == "beside");
    let cpus: BTreeSet<String> = beside.map(|row| format!("{} {}", row["cpus"], row["slot"]["cpus"])).collect();
    assert_eq!(cpus, BTreeSet::from(["\"0\" \"0\"".to_string(), "\"1\" \"1\"".to_string()]));
    let goes_without = done.stderr.contains("continuing without --slots");
    let of = |alone: bool| results.iter().filter(|row| row["candidate"]["slot"]["alone"] == alone).count();
    assert_eq!((of(true), of(false)), if goes_without { (0, 0) } else { (1, 4) }, "{}", done.stderr);
    // In slots, whatever they do to each other: both at the same time, and each answers.
    let script = "PATH=$PWD/engines/llama-cpp/bin:$PATH
                  bench-expand -q plan.yaml | bench-serve -q --slots 0,1 | bench-load -q --jobs 2 > raw.jsonl";
    run(mark.put(bash(script).current_dir(folder.path())), "").expect(0);
    mark.gone_within(SOON);
    let rows = rows_in(&folder.path().join("raw.jsonl"));
    assert_valid(&rows);
    let servers = served(&rows);
    assert_eq!(servers.len(), 5);
    assert!(
        servers[1..].iter().any(|one| servers[1..].iter().any(|other| one.port != other.port && overlap(one, other)))
    );
    let ended = |row: &&Value| row["record"] == "run_end" && row["status"] == "ok";
    assert!(rows.iter().filter(ended).count() >= 5);
}
