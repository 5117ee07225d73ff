//! Several servers at the same time: `bench-serve --slots` and `bench-load --jobs`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Mark, bash, candidates, fixtures, program, run, scratch, skipped, zoo_plan};
use crate::schemas::validator;

pub const SOON: Duration = Duration::from_secs(3);

/// A baseline and four candidates, each with a run of `tokens` output tokens of 2 to 3 ms.
pub fn plan(gpus: u32, tokens: u32) -> String {
    format!(
        "model: sim\nhardware: {{gpu_count: {gpus}}}\n\
         dataset: {{num_prompts: 8, scenario_names: [chat], input_len: [32], output_len: [{tokens}]}}\n\
         benchmark: {{max_concurrency: [4], warmup_requests: 1}}\n\
         sla: {{max_p99_ttft_ms: 5000, min_success_rate: 1.0}}\n\
         frameworks:\n\
         \x20 sim:\n    base_server_flags: {{step_base_us: 2000, load_ms: 100, max_num_seqs: 16}}\n\
         \x20   search_space: {{step_base_us: [2000, 2200, 2400, 2600, 2800]}}\n"
    )
}

fn pipe(folder: &Path, slots: &str) -> Command {
    let mut command = bash(&format!("bench-serve --slots {slots} --artifacts logs | bench-load --jobs 2"));
    command.current_dir(folder);
    command
}

/// A server: its slot, its start and its end.
pub struct Served {
    pub slot: Value,
    pub from: jiff::Timestamp,
    pub to: jiff::Timestamp,
    pub baseline: bool,
    pub port: String,
}

pub fn served(rows: &[Value]) -> Vec<Served> {
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    // Its row is written once it is ready.
    let starting = |server: &Value| jiff::SignedDuration::from_secs_f64(server["ready_ms"].as_f64().unwrap() / 1000.0);
    let servers = rows.iter().filter(|row| row["record"] == "server");
    let one = |server: &Value| {
        let end = rows.iter().find(|row| row["record"] == "server_end" && row["server_id"] == server["server_id"]);
        Served {
            slot: server["slot"].clone(),
            from: time(&server["started_at"]) - starting(server),
            to: time(&end.unwrap()["ended_at"]),
            baseline: server["search"]["baseline"] == true,
            port: server["endpoint"]["base_url"].to_string(),
        }
    };
    servers.map(one).collect()
}

pub fn overlap(a: &Served, b: &Served) -> bool {
    a.from < b.to && b.from < a.to
}

pub fn assert_valid(rows: &[Value]) {
    for row in rows {
        let kind = row["record"].as_str().unwrap();
        let errors: Vec<String> = validator(kind).iter_errors(row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}\n{row:#}");
    }
}

#[test]
fn two_candidates_run_at_the_same_time_and_the_baseline_alone() {
    let (folder, mark) = (scratch(), Mark::new("slots"));
    let rows = candidates(&plan(1, 40));
    let done = run(mark.put(&mut pipe(folder.path(), "0,1")), &rows).expect(0);
    mark.gone_within(SOON);
    let rows = done.rows();
    assert_valid(&rows);
    let servers = served(&rows);
    assert_eq!(servers.len(), 5, "{}", done.stderr);
    for (i, one) in servers.iter().enumerate() {
        assert_eq!(
            (&one.slot["slots"], &one.slot["of"], &one.slot["alone"]),
            (&"0,1".into(), &2.into(), &one.baseline.into())
        );
        assert_eq!(one.slot["gpus"], one.slot["index"].to_string());
        let beside: Vec<&Served> =
            servers.iter().enumerate().filter(|(j, other)| *j != i && overlap(one, other)).map(|(_, o)| o).collect();
        assert!(!one.baseline || beside.is_empty(), "the baseline runs alone");
        for other in beside {
            assert_ne!(
                (&one.slot["index"], &one.port),
                (&other.slot["index"], &other.port),
                "each slot has one server at a time"
            );
        }
    }
    let both =
        servers.iter().filter(|one| !one.baseline && servers.iter().any(|o| o.port != one.port && overlap(one, o)));
    assert_eq!(both.count(), 4, "the others run beside each other");
    // Each run has a judgement of its own client.
    let ends: Vec<&Value> = rows.iter().filter(|row| row["record"] == "run_end").collect();
    assert!(ends.len() >= 5 && ends.iter().all(|end| end["client"]["heartbeat_gap_ms"].is_number()), "{ends:#?}");
    // The rows are those of one pipe: all units are there, once.
    let normalized = run(program("bench-normalize").arg("--quiet"), &done.stdout).expect(0);
    let results = normalized.rows();
    let units: BTreeSet<String> = results.iter().map(|row| row["units"][0].to_string()).collect();
    assert_eq!((results.len(), units.len()), (5, 5));
    assert_valid(&results);
    assert_eq!(results.iter().filter(|row| row["candidate"]["slot"]["alone"] == true).count(), 1);
}

#[test]
fn a_candidate_that_needs_more_than_a_slot_runs_alone_and_one_that_needs_too_many_not_at_all() {
    let (folder, mark) = (scratch(), Mark::new("wide"));
    let done = run(mark.put(&mut pipe(folder.path(), "0,1")), &candidates(&plan(2, 4))).expect(0);
    let servers = served(&done.rows());
    assert_eq!(servers.len(), 5, "{}", done.stderr);
    for (i, one) in servers.iter().enumerate() {
        assert_eq!((&one.slot["gpus"], &one.slot["alone"]), (&"0,1".into(), &true.into()));
        assert!(servers[i + 1..].iter().all(|other| !overlap(one, other)));
    }
    let done = run(mark.put(&mut pipe(folder.path(), "0,1")), &candidates(&plan(3, 4))).expect(0);
    let skipped = done.records("candidate");
    assert_eq!(skipped.len(), 5, "{}", done.stderr);
    for row in &skipped {
        assert_eq!((&row["status"], &row["failure_class"]), (&"skipped".into(), &"unsupported".into()));
        assert_eq!(row["failure_reason"], "it needs 3 GPUs, and --slots 0,1 has 2 in all");
    }
    mark.gone_within(SOON);
}

#[test]
fn finalists_run_alone_in_their_repeats() {
    let (folder, mark) = (scratch(), Mark::new("finalists"));
    // A sweep that has measured everything once: the rows of its second runs.
    let text = plan(1, 4).replace("warmup_requests: 1", "warmup_requests: 1, repeats: 2");
    let mut rows: Vec<Value> = candidates(&text).lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    for row in &mut rows {
        row["units"].as_array_mut().unwrap().retain(|unit| unit["repeat"] == 1);
    }
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let done = run(mark.put(&mut pipe(folder.path(), "0,1")), &rows).expect(0);
    mark.gone_within(SOON);
    let servers = served(&done.rows());
    assert_eq!(servers.len(), 5, "{}", done.stderr);
    for (i, one) in servers.iter().enumerate() {
        assert_eq!(one.slot["alone"], true);
        assert!(servers[i + 1..].iter().all(|other| !overlap(one, other)), "{}", done.stderr);
    }
}

#[test]
fn an_engine_on_the_cpu_has_the_cpus_of_its_slot() {
    if std::thread::available_parallelism().is_ok_and(|n| n.get() < 2) {
        return skipped("one CPU has no second one for another slot");
    }
    let (folder, mark) = (scratch(), Mark::new("cpus"));
    // What the server may use, as the kernel says while it is leased.
    let look = "for p in $(pgrep -f \"bench-sim.*--port ${BENCH_BASE_URL##*:}\"); do \
                grep Cpus_allowed_list /proc/$p/status | sed \"s|^|$BENCH_BASE_URL |\" >&2; done; sleep 0.3";
    let mut command = program("bench-serve");
    command.args(["--slots", "0,1", "--artifacts"]).arg(folder.path().join("logs")).args(["--", "sh", "-c", look]);
    let done = run(mark.put(&mut command), &candidates(&plan(0, 4))).expect(0);
    mark.gone_within(SOON);
    let servers = done.records("server");
    assert_eq!(servers.len(), 5, "{}", done.stderr);
    for server in &servers {
        let slot = &server["slot"];
        assert_eq!((&slot["cpus"], &slot["gpus"]), (&slot["index"].to_string().into(), &Value::Null));
        assert_eq!(server["cpus"], slot["cpus"]);
        let url = server["endpoint"]["base_url"].as_str().unwrap();
        let seen: Vec<&str> = done.stderr.lines().filter(|line| line.starts_with(&format!("{url} Cpus"))).collect();
        let cpus = slot["cpus"].as_str().unwrap();
        assert!(
            !seen.is_empty() && seen.iter().all(|line| line.ends_with(&format!("\t{cpus}"))),
            "{cpus}: {}",
            done.stderr
        );
    }
    assert_eq!(servers.iter().map(|s| s["slot"]["index"].to_string()).collect::<BTreeSet<_>>().len(), 2);
}

#[test]
fn slots_that_cannot_be_are_refused_before_anything_starts() {
    let (folder, rows) = (scratch(), candidates(&plan(1, 4)));
    let serve = |args: &[&str]| {
        let mut command = program("bench-serve");
        command.current_dir(folder.path()).args(args);
        run(&mut command, &rows)
    };
    for (args, why) in [
        (&["--slots", "0"][..], "at least two slots"),
        (&["--slots", "0,0-1"], "device 0 is in it twice"),
        (&["--slots", "0-1,2"], "the same size"),
        (&["--slots", "0,1", "--port", "8000"], "cannot be used with"),
        (&["--slots", "0,1", "--slot-cpus", "0,1,2"], "3 sets, and --slots 2"),
        (&["--slots", "0,1", "--slot-cpus", "GPU-1,1"], "not a list of CPUs"),
    ] {
        let done = serve(args).expect(2);
        assert!(done.stderr.contains(why) && done.stdout.is_empty(), "{args:?}: {}", done.stderr);
    }
    // More servers are leased than are loaded: the second would wait for its client in vain.
    let done = run(bash("bench-serve --slots 0,1 | bench-load").current_dir(folder.path()), &rows).expect(2);
    assert!(done.stderr.contains("use bench-load --jobs 2"), "{}", done.stderr);
}

#[test]
fn failures_in_all_slots_give_a_framework_up() {
    let (folder, mark) = (scratch(), Mark::new("gives-up"));
    let flags = "{step_base_us: 2000, load_ms: 1, max_num_seqs: 100000}";
    let plan = plan(1, 4).replace("{step_base_us: 2000, load_ms: 100, max_num_seqs: 16}", flags);
    let done = run(mark.put(&mut pipe(folder.path(), "0,1")), &candidates(&plan)).expect(0);
    mark.gone_within(SOON);
    let rows = done.rows();
    let failed = rows.iter().filter(|row| row["record"] == "server_end" && row["status"] == "oom").count();
    let skipped: Vec<&Value> = rows.iter().filter(|row| row["status"] == "skipped").collect();
    assert_eq!(failed + skipped.len(), 5, "{rows:#?}");
    // The baseline ran alone, so what it says about the others is known before any of them.
    assert!(
        failed < 5
            && skipped.iter().all(|row| ["gave_up", "foreseen"].contains(&row["failure_class"].as_str().unwrap()))
    );
}

#[test]
fn a_server_sees_only_the_gpus_of_its_slot_and_one_that_needs_both_gets_both() {
    let (folder, mark) = (scratch(), Mark::new("gpu-slots"));
    let gpu =
        |index: u32, uuid: &str| format!("{index}, {uuid}, NVIDIA H100, 4, 81559, 50, 300, 1980, 40, 0x0, 570.1\n");
    std::fs::write(folder.path().join("gpus.csv"), gpu(0, "GPU-a") + &gpu(1, "GPU-b")).unwrap();
    // The server prints its environment at its start.
    let plan = |gpus: u32, more: &str| {
        zoo_plan("{options: /proc/self/environ, token_ms: 1}").replace("gpu_count: 1", &format!("gpu_count: {gpus}"))
            + &format!("    search_space: {{token_ms: [{more}]}}\n")
    };
    let rows = candidates(&plan(1, "1, 2, 3")) + &candidates(&plan(2, "1, 4")) + &candidates(&plan(1, "1, 5, 6"));
    let mut command = program("bench-serve");
    command.args(["--slots", "0,1", "--gpu-probe-cmd", "cat gpus.csv", "--gpu-release-timeout", "5", "--frameworks"]);
    command.arg(fixtures()).current_dir(folder.path()).env("XDG_RUNTIME_DIR", folder.path());
    command.args(["--", "sh", "-c", "sleep 0.3"]);
    let done = run(mark.put(&mut command), &rows).expect(0);
    mark.gone_within(SOON);
    let servers = done.records("server");
    assert_eq!(servers.len(), 3 + 2 + 3, "{}", done.stderr);
    for server in &servers {
        let gpus = server["slot"]["gpus"].as_str().unwrap();
        let wide = server["hardware"]["gpu_count"] == 2;
        assert_eq!((gpus == "0,1", server["slot"]["index"].is_null()), (wide, wide), "{server:#}");
        let uuids: &[&str] = match gpus {
            "0" => &["GPU-a"],
            "1" => &["GPU-b"],
            _ => &["GPU-a", "GPU-b"],
        };
        assert_eq!(server["hardware"]["gpu_uuids"], serde_json::json!(uuids));
        let log =
            std::fs::read_to_string(folder.path().join(server["artifacts"]["server_log"].as_str().unwrap())).unwrap();
        let shown =
            log.split('\0').find_map(|one| one.rsplit_once("CUDA_VISIBLE_DEVICES=")).map(|(_, value)| value.trim());
        assert_eq!(shown, Some(gpus), "{log}");
    }
    let beside: BTreeSet<&str> = servers
        .iter()
        .filter(|server| server["slot"]["alone"] == false)
        .map(|server| server["slot"]["gpus"].as_str().unwrap())
        .collect();
    assert_eq!(beside, BTreeSet::from(["0", "1"]));
    // GPUs that the plan does not name are not used.
    let named = plan(1, "1, 2").replace("gpu_count: 1", "gpu_count: 1, visible_devices: \"0\"");
    let mut command = program("bench-serve");
    command.args(["--slots", "0,1", "--frameworks"]).arg(fixtures()).current_dir(folder.path()).args(["--", "true"]);
    let done = run(mark.put(&mut command), &candidates(&named)).expect(0);
    let why = done.records("candidate")[0]["failure_reason"].to_string();
    assert!(why.contains("--slots has GPU 1, and the plan's visible_devices are 0"), "{why}");
}
