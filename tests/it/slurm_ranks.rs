//! A server over several nodes of a real Slurm: a process on each node, which only together serve. Each node has a network of its own.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Mark, Output, candidates, finish, fixtures, kill, program, root, run, scratch, skipped, wait_until, zoo_plan,
};
use crate::slurm::Cluster;

const SOON: Duration = Duration::from_secs(20);

fn rows(flags: &str) -> String {
    let plan = zoo_plan(flags).replace("gpu_count: 1", "gpu_count: 2, multi_node: true");
    candidates(&(plan + "    launcher: {name: srun, nodes: 2}\n"))
}

/// bench-serve where this cluster is Slurm.
fn serve<'a>(cluster: &Cluster, mark: &Mark, command: &'a mut Command) -> &'a mut Command {
    let programs = crate::harness::bin_dir();
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{0}/examples:{0}:{path}", programs.display()));
    command.env("SLURM_CONF", cluster.folder().join("slurm.conf"));
    mark.put(command).arg("--frameworks").arg(fixtures()).arg("--artifacts").arg(cluster.folder().join("logs"))
}

fn end(done: &Output) -> Value {
    done.records("server_end").into_iter().next().unwrap_or_else(|| panic!("{done:?}"))
}

#[test]
#[ignore = "half a minute with a real Slurm"]
fn a_server_over_several_nodes_serves_when_all_its_ranks_do() {
    let folder = scratch();
    let Some(cluster) = Cluster::start(folder.path(), "networks") else { return };
    let mark = Mark::new("slurm-ranks");
    let nothing_left = || {
        mark.gone_within(SOON);
        let jobs = || {
            cluster.sh("squeue --noheader --states running,pending --format %j; squeue --noheader --steps --format %j")
        };
        assert!(wait_until(SOON, || jobs().trim().is_empty().then_some(())).is_some(), "{}", jobs());
    };

    // It is reached at the address of the first node, which is not this host's, and every rank knows that address.
    let mut command = program("bench-serve");
    let done = run(
        serve(&cluster, &mark, &mut command).args(["--grace", "2"]).args([
            "--",
            "bash",
            "-c",
            "curl -s $BENCH_BASE_URL/v1/models > /dev/null && cat",
        ]),
        &rows("{}"),
    );
    let server = &done.records("server")[0];
    let url = server["endpoint"]["base_url"].as_str().unwrap();
    let host = url.trim_start_matches("http://").split(':').next().unwrap();
    assert!(host.starts_with("10.") && server["endpoint"]["reached_by"] == "network", "{server:#}");
    assert_eq!(end(&done)["status"], "ok", "{done:?}");
    let log = std::fs::read_to_string(server["artifacts"]["server_log"].as_str().unwrap()).unwrap();
    assert!(log.contains(&format!("1: rank 1 joined {host}:")) && log.contains("0: a rank joined from 10."), "{log}");
    nothing_left();

    // Load comes over the network, too.
    let pipe = format!(
        "bench-serve -q --frameworks {0} --artifacts logs --grace 2 | bench-load -q --frameworks {0} | bench-normalize -q",
        fixtures().display()
    );
    let mut command = crate::harness::bash(&pipe);
    command.env("SLURM_CONF", cluster.folder().join("slurm.conf")).current_dir(cluster.folder());
    let results = run(mark.put(&mut command), &rows("{}")).expect(0).rows();
    assert!(results.iter().any(|row| row["record"] == "result" && row["status"] == "ok"), "{results:#?}");
    nothing_left();

    // The reason is that of the rank that failed, whatever the others say about it.
    for (flags, said, class) in [
        ("{rank_fails: 1}", ": task 1: Exited with exit code 3\"): ", "KeyError: 'expert 1'"),
        ("{rank_dies: 1, token_ms: 1000}", ": task 1: Exited with exit code 5\"): ", "ValueError: rank 1 found a NaN"),
    ] {
        let mut command = program("bench-serve");
        let done = run(serve(&cluster, &mark, &mut command).args(["--", "sleep", "60"]), &rows(flags));
        let why = end(&done)["failure_reason"].as_str().unwrap().to_string();
        // On which nodes it ran depends on those that Slurm is still cleaning up.
        assert!(why.starts_with("rank 1 failed first (\"srun: error: n") && why.contains(said), "{why}");
        assert!(why.contains(class), "{why}");
        nothing_left();
    }

    // Ranks that ignore SIGTERM, after Ctrl-C and after kill -9.
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let path = folder.path().join("rows");
        std::fs::write(&path, rows("{ignores_term: true}")).unwrap();
        let mut command = program("bench-serve");
        let command = serve(&cluster, &mark, &mut command).arg(&path).args(["--", "sleep", "60"]);
        let child = command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let is_rank =
            |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "zoo\n");
        let two = || (mark.pids("zoo --model").iter().filter(|pid| is_rank(pid)).count() == 2).then_some(());
        wait_until(SOON, two).expect("both ranks run");
        kill(i32::try_from(child.id()).unwrap(), signal);
        let done = finish(child, Duration::from_secs(30));
        assert_eq!(done.signal, Some(signal as i32), "{done:?}");
        nothing_left();
    }

    // Within an allocation only a job step has the server's name, and that outlives a killed srun.
    let path = folder.path().join("allocated");
    std::fs::write(&path, rows("{ignores_term: true}")).unwrap();
    let script = format!(
        "salloc --quiet --nodes 2 bash -c 'bench-serve -q --frameworks {} --artifacts logs allocated -- sleep 60 & serve=$!
         runs() {{ [ $(squeue --noheader --steps --format %j | grep -c bench-zoo) = 1 ] && [ $(grep -c joined logs/*/server.log) = 2 ]; }}
         while kill -0 $serve && ! runs; do sleep 0.1; done
         pkill -KILL -P $(pgrep -d, -P $serve)
         wait $serve'",
        fixtures().display(),
    );
    let mut command = crate::harness::bash(&script);
    command.env("SLURM_CONF", cluster.folder().join("slurm.conf")).current_dir(cluster.folder());
    std::fs::remove_dir_all(folder.path().join("logs")).unwrap();
    let done = run(mark.put(&mut command), "");
    let end = end(&done);
    assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"failed".into(), &serde_json::json!([])), "{end:#}");
    nothing_left();
}

#[test]
#[ignore = "half a minute with a real Slurm and a real engine"]
fn a_real_engine_serves_from_two_nodes() {
    let given = std::env::var_os("BENCH_LLAMA_CPP").map(std::path::PathBuf::from);
    let engine = given.unwrap_or_else(|| root().join("engines/llama-cpp"));
    if !engine.join("bin/llama-server-rpc").exists() {
        return skipped(
            "no llama.cpp for several nodes: scripts/engines/llama-cpp --force engines/llama-cpp installs it, with a C compiler",
        );
    }
    let folder = scratch();
    let Some(cluster) = Cluster::start(folder.path(), "networks") else { return };
    let mark = Mark::new("slurm-engine");
    let plan = format!(
        "model: {engine}/model/tiny.gguf\nhardware: {{gpu_count: 2, multi_node: true}}\n\
         dataset: {{num_prompts: 8, scenario_names: [s], input_len: [32], output_len: [8]}}\n\
         benchmark: {{max_concurrency: [2], warmup_requests: 1}}\nframeworks:\n  llama_cpp:\n\
         \x20   server_command: {script} {{rank}} {engine}/bin\n    launcher: {{name: srun, nodes: 2}}\n\
         \x20   base_server_flags: {{parallel: 2, ctx_size: 1024, threads: 1, n_gpu_layers: 99}}\n",
        engine = engine.display(),
        script = fixtures().join("slurm/llama-over-nodes").display(),
    );
    let pipe = |rows: &str| {
        let mut command = crate::harness::bash(
            "bench-serve -q --artifacts logs --grace 5 | bench-load -q | tee raw.jsonl | bench-normalize -q",
        );
        command.env("SLURM_CONF", cluster.folder().join("slurm.conf")).current_dir(cluster.folder());
        run(mark.put(&mut command), rows)
    };
    let done = pipe(&candidates(&plan)).expect(0);
    let results = done.records("result");
    assert!(!results.is_empty() && results.iter().all(|row| row["status"] == "ok"), "{done:?}");
    let raw = crate::harness::rows_in(&cluster.folder().join("raw.jsonl"));
    let server = raw.iter().find(|row| row["record"] == "server").unwrap();
    assert_eq!(server["endpoint"]["reached_by"], "network");
    // The weights are on the other node, which computes.
    let log = cluster.folder().join(server["artifacts"]["server_log"].as_str().unwrap());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("1: Accepted client connection"), "{log}");
    let end = raw.iter().find(|row| row["record"] == "server_end").unwrap();
    assert_eq!((&end["status"], &end["stop"]["survivors"]), (&"ok".into(), &serde_json::json!([])), "{end:#}");
    mark.gone_within(SOON);
}

#[test]
#[ignore = "half a minute with a real Slurm"]
fn tasks_of_two_nodes_each_share_a_sweep() {
    let folder = scratch();
    let Some(cluster) = Cluster::start(folder.path(), "networks") else { return };
    let plan = zoo_plan("{token_ms: 1}").replace("gpu_count: 1", "gpu_count: 2, multi_node: true")
        + "    launcher: {name: srun, nodes: 2}\n    search_space: {token_ms: [1, 2, 3, 4]}\n";
    crate::harness::write_plan(folder.path(), &plan);
    cluster.sh(&format!(
        "{}/scripts/sweep-slurm plan.yaml --share out --nodes 2 --frameworks {} --no-preflight --no-calibration --ready-timeout 60 \
         --claim-timeout 20 -- --nodes 2 --ntasks 2",
        root().display(),
        fixtures().display()
    ));
    let jobs = || cluster.sh("squeue --noheader --array --format '%i %T'; squeue --noheader --steps --format %j");
    let is_over = || jobs().trim().is_empty().then_some(());
    let limit = Duration::from_secs(110);
    wait_until(limit, is_over).unwrap_or_else(|| panic!("{}{}", jobs(), cluster.sh("tail -n 40 out/slurm/*.log")));
    let raw = cluster.sh("cat out/nodes/*/raw/*.jsonl");
    let rows = crate::harness::json_lines(&raw);
    let of = |kind: &str| rows.iter().filter(|row| row["record"] == kind).collect::<Vec<_>>();
    assert!(of("server_end").len() == 4 && of("server_end").iter().all(|end| end["status"] == "ok"), "{raw}");
    assert!(of("server").iter().all(|server| server["endpoint"]["reached_by"] == "network"), "{raw}");
    let status = cluster.sh("bench-sweep --status out");
    assert!(status.contains("nothing left to run"), "{status}");
    assert!(std::fs::read_to_string(folder.path().join("out/report.md")).unwrap().contains("token_ms"));
}
