//! Sweeps over many hosts: parts of a plan, and their rows together.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{bash, finish, program, rows_in, run, scratch, wait_until, write_plan};

/// Eight candidates of one framework, each one short run; more time for each step makes them slower.
pub const PLAN: &str = "\
model: sim
dataset: {num_prompts: 12, scenario_names: [s], input_len: [8], output_len: [4]}
benchmark: {max_concurrency: [2]}
sla: {max_p99_ttft_ms: 2000}
search: {max_candidates_per_framework: 20}
frameworks:
  sim:
    base_server_flags: {load_ms: 0, step_base_us: 1000, max_num_seqs: 16}
    search_space: {step_base_us: [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]}
";

pub fn in_folder(folder: &Path, script: &str) {
    run(bash(script).current_dir(folder), "").expect(0);
}

/// The unit and run of each result.
pub fn units(results: &[Value]) -> Vec<String> {
    results.iter().map(|row| row["units"][0].as_str().unwrap().to_string()).collect()
}

#[test]
fn parts_by_hand_are_one_sweep_and_what_two_of_them_measured_counts_once() {
    let folder = scratch();
    write_plan(folder.path(), PLAN);
    for part in 1..=2 {
        in_folder(
            folder.path(),
            &format!("bench-expand -q plan.yaml --part {part}/2 | bench-serve -q | bench-load -q > raw{part}.jsonl"),
        );
    }
    in_folder(
        folder.path(),
        "bench-normalize -q raw1.jsonl raw2.jsonl > forth.jsonl; bench-normalize -q raw2.jsonl raw1.jsonl > back.jsonl
         bench-normalize -q raw1.jsonl > one.jsonl; bench-normalize -q raw2.jsonl > two.jsonl",
    );
    let results = rows_in(&folder.path().join("forth.jsonl"));
    let all: BTreeSet<String> = units(&results).into_iter().collect();
    assert_eq!((results.len(), all.len()), (8, 8), "each unit once");
    // Both parts measured the baseline: its later run counts, in whatever order the files come.
    let of_baseline = |file: &str| -> Value {
        let rows = rows_in(&folder.path().join(file));
        rows.into_iter().find(|row| row["candidate"]["baseline"] == true).unwrap()
    };
    let [first, second] = ["one.jsonl", "two.jsonl"].map(of_baseline);
    assert_ne!(first["run"]["run_id"], second["run"]["run_id"]);
    for file in ["forth.jsonl", "back.jsonl"] {
        assert_eq!(of_baseline(file)["run"]["run_id"], second["run"]["run_id"], "{file}");
    }
    let ranked = |files: &str| {
        run(bash(&format!("bench-rank -q --format jsonl {files}")).current_dir(folder.path()), "").expect(0)
    };
    let whole = ranked("forth.jsonl");
    assert_eq!(whole.stdout.lines().count(), 9, "a decision and eight results");
    // Results that were folded apart are folded once more.
    let apart = ranked("two.jsonl one.jsonl");
    let ids = |text: &str| {
        let rows = crate::harness::json_lines(text);
        rows.iter().map(|row| row["run"]["run_id"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&apart.stdout), ids(&whole.stdout));
    // Nothing is left, whether the results are in one file or in several, before the plan or behind it.
    for done in
        ["plan.yaml --done one.jsonl two.jsonl", "--done one.jsonl two.jsonl plan.yaml", "plan.yaml --done forth.jsonl"]
    {
        let left = run(bash(&format!("bench-expand -q {done}")).current_dir(folder.path()), "").expect(0);
        assert_eq!(left.stdout, "", "{done}");
    }
    // A pipe can be read only once: none of its rows is lost, whatever is behind --done.
    for done in
        ["plan.yaml --done <(cat forth.jsonl)", "--done forth.jsonl <(bench-validate -q --no-preflight plan.yaml)"]
    {
        let left = run(bash(&format!("bench-expand -q {done}")).current_dir(folder.path()), "").expect(0);
        assert_eq!(left.stdout, "", "{done}");
    }
    let half = run(bash("bench-expand -q --done one.jsonl plan.yaml").current_dir(folder.path()), "").expect(0);
    assert_eq!(half.records("candidate").len(), rows_in(&folder.path().join("two.jsonl")).len() - 1);
}

#[test]
fn a_sweep_of_a_part_has_its_own_folder() {
    let folder = scratch();
    let plan = write_plan(folder.path(), PLAN);
    let sweep = |part: &str, code| {
        let out = folder.path().join(part.replace('/', "-"));
        let mut command = program("bench-sweep");
        command.arg(&plan).arg("--out").arg(&out).args(["--part", part, "--no-preflight"]);
        run(&mut command, "").expect(code);
        let rows = rows_in(&out.join("results.jsonl"));
        let (nodes, results): (Vec<Value>, Vec<Value>) = rows.into_iter().partition(|row| row["record"] == "node");
        assert_eq!(nodes.len(), 1, "its node was calibrated");
        results
    };
    let (one, two) = (sweep("1/2", 0), sweep("2/2", 0));
    assert_eq!(one.len() + two.len(), 9, "the baseline twice");
    assert_eq!(units(&one).into_iter().chain(units(&two)).collect::<BTreeSet<_>>().len(), 8);
    // Its part is complete.
    sweep("1/2", 4);
    // Of eight candidates in forty parts many have none: no server is started for these.
    let mut empty = 0;
    for part in 1..=8 {
        let left = run(bash(&format!("bench-expand -q plan.yaml --part {part}/40")).current_dir(folder.path()), "");
        if left.expect(0).stdout.is_empty() {
            empty += 1;
            let mut command = program("bench-sweep");
            let part = format!("{part}/40");
            command.arg(&plan).arg("--out").arg(folder.path().join("none")).args(["--part", &part, "--no-preflight"]);
            let done = run(&mut command, "").expect(4);
            assert!(done.stderr.contains(&format!("part {part} has no candidates")), "{}", done.stderr);
            break;
        }
    }
    assert_eq!(empty, 1);
}

/// A pipe that claims candidates in `claims`, in a process group of its own.
fn worker(folder: &Path, i: usize) -> std::process::Child {
    let script = format!(
        "bench-expand -q plan.yaml --claim claims --claim-timeout 2 | bench-serve -q | bench-load -q > raw{i}.jsonl"
    );
    let mut command = bash(&script);
    command.current_dir(folder).env("BENCH_NODE", format!("node{i}"));
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().unwrap()
}

/// A first claim of this node that has not ended.
fn open_claim(claims: &Path, node: &str) -> Option<std::path::PathBuf> {
    let owners = std::fs::read_dir(claims).ok()?.flatten().map(|entry| entry.path().join("1"));
    owners.filter(|claim| !claim.join("ended").exists()).find(|claim| {
        std::fs::read_to_string(claim.join("owner")).is_ok_and(|owner| owner.split_whitespace().next() == Some(node))
    })
}

#[test]
fn workers_share_the_candidates_and_what_a_killed_one_had_is_taken_over() {
    let folder = scratch();
    write_plan(folder.path(), PLAN);
    let mut all: Vec<_> = (0..4).map(|i| worker(folder.path(), i)).collect();
    // One dies as soon as it has a candidate, with all of its programs.
    let claims = folder.path().join("claims");
    let lost = wait_until(Duration::from_secs(30), || open_claim(&claims, "node0")).unwrap();
    run(bash(&format!("kill -KILL -- -{}", all[0].id())).current_dir(folder.path()), "").expect(0);
    all.remove(0).wait().unwrap();
    for child in all {
        finish(child, Duration::from_secs(60));
    }
    let next = lost.with_file_name("2");
    assert!(next.join("ended").exists(), "the claim of the dead worker was followed: {}", next.display());
    in_folder(folder.path(), "cat raw*.jsonl > all.jsonl; bench-normalize -q all.jsonl > results.jsonl");
    let results = rows_in(&folder.path().join("results.jsonl"));
    assert_eq!(units(&results).into_iter().collect::<BTreeSet<_>>().len(), 8);
    assert!(results.len() == 8 && results.iter().all(|row| row["status"] == "ok"), "{results:#?}");
    // Nobody measured what another one had.
    let rows = rows_in(&folder.path().join("all.jsonl"));
    let ends = rows.iter().filter(|row| row["record"] == "server_end" && row["status"] == "ok").count();
    assert!(ends <= 9, "at most one more than the candidates: {ends}");
    // All is over: a worker that comes late ends at once.
    assert!(finish(worker(folder.path(), 9), Duration::from_secs(20)).code == Some(0));
    assert_eq!(std::fs::read_to_string(folder.path().join("raw9.jsonl")).unwrap(), "");
}

#[test]
fn a_worker_that_was_stopped_for_longer_than_its_claim_lasts_adds_nothing_twice() {
    let folder = scratch();
    write_plan(folder.path(), PLAN);
    let workers: Vec<_> = (0..3).map(|i| worker(folder.path(), i)).collect();
    let claims = folder.path().join("claims");
    let of_first = wait_until(Duration::from_secs(30), || open_claim(&claims, "node0")).unwrap();
    let group = workers[0].id();
    let signal = |name: &str| in_folder(folder.path(), &format!("kill -{name} -- -{group}"));
    signal("STOP");
    // It may have ended just before.
    let was_open = !of_first.join("ended").exists();
    let next = of_first.with_file_name("2");
    let is_followed = || next.join("ended").exists().then_some(());
    let followed = wait_until(Duration::from_secs(if was_open { 30 } else { 3 }), is_followed);
    signal("CONT");
    assert_eq!(followed.is_some(), was_open, "the claim of the stopped worker: {}", of_first.display());
    for child in workers {
        let done = finish(child, Duration::from_secs(60));
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    in_folder(folder.path(), "bench-normalize -q raw*.jsonl > results.jsonl");
    let results = rows_in(&folder.path().join("results.jsonl"));
    assert_eq!(units(&results).into_iter().collect::<BTreeSet<_>>().len(), 8);
    assert!(results.len() == 8 && results.iter().all(|row| row["status"] == "ok"), "{results:#?}");
    // A claim is followed only if it is old; a stopped worker has only one.
    let numbers = |claim: &Path| std::fs::read_dir(claim).unwrap().count();
    let all: Vec<_> = std::fs::read_dir(&claims).unwrap().flatten().map(|entry| entry.path()).collect();
    let again = all.iter().filter(|claim| claim.is_dir() && numbers(claim) > 1).count();
    assert_eq!(again, usize::from(was_open));
}

#[test]
fn claims_need_a_pipe_and_bench_load() {
    let folder = scratch();
    write_plan(folder.path(), PLAN);
    let said = |script: &str| run(bash(script).current_dir(folder.path()), "").stderr;
    assert!(said("bench-expand -q plan.yaml --claim c > f.jsonl").contains("pipe it into bench-serve | bench-load"));
    let chained = said("bench-expand -q plan.yaml --claim d | bench-serve -q -- true");
    assert!(chained.contains("needs bench-load behind bench-serve"), "{chained}");
}

/// Sweeps that share a folder, each as a node of its own.
fn shared(folder: &Path, nodes: &[&str], more: &[&str]) -> Vec<std::process::Child> {
    let one = |node: &&str| {
        let mut command = program("bench-sweep");
        command.args(["plan.yaml", "--share", "out", "--no-preflight", "--claim-timeout", "60"]);
        command.args(more).current_dir(folder).env("BENCH_NODE", node).stdout(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    nodes.iter().map(one).collect()
}

/// Nobody died, so a candidate of a stage was started once, unless the host was too busy for one of its runs.
fn only_failed_ones_were_claimed_again(folder: &Path) {
    in_folder(folder, "cat out/nodes/*/raw/*.jsonl > all.jsonl");
    let rows = rows_in(&folder.join("all.jsonl"));
    let is_saturated = |server: &Value| {
        let runs = rows.iter().filter(|row| row["record"] == "run" && row["server_id"] == *server);
        let runs: Vec<&Value> = runs.map(|run| &run["run_id"]).collect();
        let ends = rows.iter().filter(|row| row["record"] == "run_end" && runs.contains(&&row["run_id"]));
        ends.filter(|end| end["failure_class"] == "client_saturated").count() > 0
    };
    let claims = std::fs::read_dir(folder.join("out/claims")).unwrap().flatten().map(|entry| entry.path());
    for claim in claims.filter(|claim| claim.is_dir()) {
        let number = std::fs::read_dir(&claim).unwrap().count();
        for earlier in 1..number {
            let ended = rows_in(&claim.join(earlier.to_string()).join("ended"));
            assert!(is_saturated(&ended[0]["server_id"]), "{}: {ended:#?}", claim.display());
        }
    }
}

#[test]
#[ignore = "45 s"]
fn nodes_share_a_sweep_with_stages_and_each_has_the_whole_report() {
    let folder = scratch();
    let searched = PLAN
        .replace("benchmark: {max_concurrency: [2]}", "benchmark: {qps: {lower: 8, upper: 64, tolerance: 16}}")
        .replace("max_p99_ttft_ms: 2000", "max_p90_ttft_ms: 150")
        .replace("max_candidates_per_framework: 20", "stages: 2")
        .replace("[1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]", "[1000, 20000, 60000, 80000]");
    write_plan(folder.path(), &searched);
    // Two sweeps of one node at once, on GPUs of their own, would be node a and node a.2.
    for child in shared(folder.path(), &["a", "a", "b"], &["--no-calibration"]) {
        let done = finish(child, Duration::from_secs(110));
        assert!(matches!(done.code, Some(0 | 4)), "{done:?}");
    }
    let nodes = folder.path().join("out/nodes");
    let names: BTreeSet<String> = std::fs::read_dir(&nodes)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names, BTreeSet::from(["a".to_string(), "a.2".to_string(), "b".to_string()]));
    in_folder(folder.path(), "bench-normalize -q out/nodes/*/raw/*.jsonl > results.jsonl");
    let results = rows_in(&folder.path().join("results.jsonl"));
    let of = |stage: &str| {
        results
            .iter()
            .filter(|row| row["candidate"]["stage"] == stage && row["units"][0].is_string())
            // A host that is too busy gives up after three attempts.
            .filter(|row| row["status"] == "ok" || row["failure_class"] == "client_saturated")
            .count()
    };
    assert_eq!((of("screen"), of("search") > 0, of("repeat") > 0), (4, true, true));
    only_failed_ones_were_claimed_again(folder.path());
    let left = run(bash("bench-expand -q plan.yaml --done results.jsonl").current_dir(folder.path()), "").expect(0);
    assert_eq!(left.stdout, "");
    let status = run(program("bench-sweep").args(["--status", "out"]).current_dir(folder.path()), "").expect(0);
    assert!(status.stdout.contains("nothing left to run"), "{}", status.stdout);
    let report =
        run(program("bench-sweep").args(["--report", "out", "--format", "jsonl"]).current_dir(folder.path()), "")
            .expect(0);
    assert!(report.stdout.contains("\"decision\""));
}

/// bench-sim whose steps take longer on the node `slow`.
const SLOW_NODE: &str = "\
#!/bin/bash
arguments=() next=no
for word in \"$@\"; do
  if [ $next = yes ] && [ \"$BENCH_NODE\" = slow ]; then word=$((word * ${SLOWER:-115} / 100)); fi
  case $word in --step-base-us) next=yes ;; *) next=no ;; esac
  arguments+=(\"$word\")
done
exec bench-sim \"${arguments[@]}\"
";

/// The order of the candidates, in each ranking.
fn order(folder: &Path, results: &str) -> Vec<Vec<String>> {
    let ranked = run(bash(&format!("bench-rank -q --format jsonl {results}")).current_dir(folder), "").expect(0);
    let mut groups: Vec<Vec<String>> = Vec::new();
    for row in ranked.rows() {
        match row["record"].as_str() {
            Some("decision") => groups.push(Vec::new()),
            _ => groups.last_mut().unwrap().push(row["candidate"]["changed"].to_string()),
        }
    }
    groups
}

#[test]
#[ignore = "compares speeds, so it needs a quiet host; run by scripts/test --all"]
fn a_slow_node_is_named_and_its_candidates_go_to_the_others() {
    let folder = scratch();
    let slowed = PLAN
        .replace("num_prompts: 12", "num_prompts: 60")
        .replace("[1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]", "[50000, 60000, 70000, 80000, 90000, 100000]")
        .replace("step_base_us: 1000", "step_base_us: 50000")
        .replace("  sim:\n", "  sim:\n    server_command: ./sim.sh\n");
    write_plan(folder.path(), &slowed);
    let script = folder.path().join("sim.sh");
    std::fs::write(&script, SLOW_NODE).unwrap();
    run(bash("chmod +x sim.sh").current_dir(folder.path()), "").expect(0);
    // The slow node is first and alone, so it measures some of the candidates before anybody can know.
    let mut slow = shared(folder.path(), &["slow"], &[]).remove(0);
    let raw = folder.path().join("out/nodes/slow/raw");
    let has_begun = || (std::fs::read_dir(&raw).ok()?.count() > 1).then_some(());
    wait_until(Duration::from_secs(60), has_begun).unwrap();
    for child in shared(folder.path(), &["a", "b", "c"], &[]) {
        let done = finish(child, Duration::from_secs(110));
        assert!(matches!(done.code, Some(0 | 4)), "{done:?}");
    }
    slow.wait().unwrap();
    in_folder(folder.path(), "bench-normalize -q out/nodes/*/raw/*.jsonl > results.jsonl");
    let rows = rows_in(&folder.path().join("results.jsonl"));
    let nodes: Vec<&Value> = rows.iter().filter(|row| row["record"] == "node").collect();
    assert_eq!(nodes.len(), 4);
    assert!(nodes.iter().all(|node| node["figures"]["sim"]["request_throughput"].as_f64().unwrap() > 0.0));
    let results: Vec<Value> = rows.iter().filter(|row| row["record"] == "result").cloned().collect();
    assert_eq!(units(&results).into_iter().collect::<BTreeSet<_>>().len(), 6);
    assert!(results.len() == 6 && results.iter().all(|row| row["hardware"]["node"] != "slow"), "{results:#?}");
    let report = run(bash("bench-rank results.jsonl").current_dir(folder.path()), "").expect(0).stdout;
    assert!(
        report.contains("node slow is") && report.contains("% slower than the others at the fixed load"),
        "{report}"
    );
    assert!(report.contains("rows are of 3 nodes; those ranked together differ by at most"), "{report}");
    // The same table as that of one host.
    run(bash("bench-sweep plan.yaml --out alone --no-preflight -q > /dev/null").current_dir(folder.path()), "")
        .expect(0);
    let orders = order(folder.path(), "results.jsonl");
    assert_eq!((orders.len(), &orders[0]), (1, &order(folder.path(), "alone/results.jsonl")[0]));
}

#[test]
fn the_status_of_a_shared_sweep_counts_what_only_a_slow_node_measured_as_left() {
    let folder = scratch();
    let two = PLAN
        .replace("[1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]", "[10000, 20000]")
        .replace("step_base_us: 1000", "step_base_us: 10000")
        .replace("  sim:\n", "  sim:\n    server_command: ./sim.sh\n");
    write_plan(folder.path(), &two);
    std::fs::write(folder.path().join("sim.sh"), SLOW_NODE).unwrap();
    let status = || {
        let said = run(program("bench-sweep").args(["--status", "out"]).current_dir(folder.path()), "").expect(0);
        said.stdout
    };
    in_folder(
        folder.path(),
        "chmod +x sim.sh
         BENCH_NODE=slow SLOWER=400 bench-sweep -q plan.yaml --share out --no-preflight > table.txt",
    );
    let alone = status();
    assert!(alone.contains("nothing left to run") && alone.contains("best so far"), "{alone}");
    // A second node calibrates itself; what the slow one measured does not count any more.
    in_folder(
        folder.path(),
        "mkdir -p out/nodes/b/raw
         export BENCH_NODE=b
         bench-expand -q --calibrate plan.yaml | bench-serve -q | bench-load -q > out/nodes/b/raw/0001.jsonl",
    );
    let both = status();
    assert!(both.contains("2 server starts left"), "{both}");
    let why = "% slower than the others: its rows do not count, and it takes no candidates";
    assert!(both.contains("\nnode slow is ") && both.contains(why) && !alone.contains("node slow"), "{both}");
}

#[test]
fn a_server_that_dies_with_its_last_requests_in_flight_has_no_figures() {
    let folder = scratch();
    let two_batches = PLAN
        .replace("num_prompts: 12", "num_prompts: 16")
        .replace("max_concurrency: [2]", "max_concurrency: [8]")
        .replace("step_base_us: 1000,", "step_base_us: 300000,")
        .replace("    search_space: {step_base_us: [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]}\n", "")
        .replace("  sim:\n", "  sim:\n    server_command: ./sim.sh\n");
    write_plan(folder.path(), &two_batches);
    in_folder(folder.path(), "printf '#!/bin/sh\\necho $$ > pid\\nexec bench-sim \"$@\"\\n' > sim.sh; chmod +x sim.sh");
    let mut pipe = bash("bench-expand -q plan.yaml | bench-serve -q | bench-load -q > raw.jsonl");
    let pipe = pipe.current_dir(folder.path()).spawn().unwrap();
    let raw = folder.path().join("raw.jsonl");
    let answered = || {
        let text = std::fs::read_to_string(&raw).ok()?;
        (text.matches("\"phase\":\"measured\"").count() >= 8).then_some(())
    };
    wait_until(Duration::from_secs(30), answered).unwrap();
    in_folder(folder.path(), "kill -KILL $(cat pid)");
    finish(pipe, Duration::from_secs(30));
    let rows = rows_in(&raw);
    let requests: Vec<&Value> =
        rows.iter().filter(|row| row["record"] == "request" && row["phase"] == "measured").collect();
    let ok = requests.iter().filter(|row| row["status"] == "ok").count();
    assert_eq!((requests.len(), ok), (16, 8), "all had begun, and half of them ended well");
    in_folder(folder.path(), "bench-normalize -q raw.jsonl > results.jsonl");
    let results = rows_in(&folder.path().join("results.jsonl"));
    assert_eq!((&results[0]["status"], &results[0]["failure_class"]), (&"failed".into(), &"server_died".into()));
}
