//! The whole pipe, as it is typed by hand and as scripts/sweep runs it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Mark, Output, bash, finish, kill, kill_group, program, root, rows_in, run, scratch, skipped, wait_until, write_plan,
};
use crate::schemas::validator;

const SOON: Duration = Duration::from_secs(3);

/// Two engines, three candidates, one of them out of memory; `tokens` output tokens of about 2 ms each.
fn plan(tokens: u32) -> String {
    format!(
        "model: sim\nhardware: {{gpu_count: 1}}\n\
         dataset: {{num_prompts: 6, scenario_names: [chat], input_len: [32], output_len: [{tokens}]}}\n\
         benchmark: {{max_concurrency: [2], request_rates: [50], warmup_requests: 1}}\n\
         sla: {{max_p99_ttft_ms: 2000, min_success_rate: 1.0}}\n\
         frameworks:\n\
         \x20 quick:\n    definition: sim\n    base_server_flags: {{step_base_us: 2000, load_ms: 20, max_num_seqs: 64}}\n\
         \x20   search_space: {{max_num_seqs: [64, 100000]}}\n\
         \x20 slow:\n    definition: sim\n    base_server_flags: {{step_base_us: 4000, load_ms: 20}}\n"
    )
}

fn sweep(plan: &Path, out: &Path) -> Command {
    let mut command = bash("exec \"$0\" --no-build \"$1\" --out \"$2\" \"${@:3}\"");
    command.arg(root().join("scripts/sweep")).arg(plan).arg(out);
    command
}

fn units(path: &Path) -> Vec<String> {
    let units = rows_in(path).into_iter().flat_map(|row| row["units"].as_array().cloned().unwrap_or_default());
    let mut units: Vec<String> = units.map(|unit| unit.as_str().unwrap().to_string()).collect();
    units.sort();
    units
}

#[test]
fn a_sweep_drops_no_framework_without_being_told() {
    let (folder, mark) = (scratch(), Mark::new("missing"));
    let (path, out) = (folder.path().join("plan.yaml"), folder.path().join("out"));
    let missing = "  vllm:\n    server_command: /nowhere/vllm serve\n";
    std::fs::write(&path, plan(4).replace("max_num_seqs: [64, 100000]", "max_num_seqs: [64]") + missing).unwrap();
    let done = run(mark.put(&mut sweep(&path, &out)), "").expect(2);
    assert!(done.stderr.contains("cannot run vLLM (/nowhere/vllm serve"), "{}", done.stderr);
    assert!(!out.join("raw/0001.jsonl").exists(), "nothing was started");
    let done = run(mark.put(sweep(&path, &out).arg("--allow-missing")), "").expect(0);
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("cannot run vLLM (/nowhere/vllm serve"), "{report}\n{}", done.stderr);
    mark.gone_within(Duration::from_secs(3));
}

#[test]
fn the_pipe_typed_by_hand_works_as_typed() {
    let (folder, mark) = (scratch(), Mark::new("typed"));
    write_plan(folder.path(), &plan(8));
    // As README and bench(7) have it.
    let script = "mkdir raw; bench-validate plan.yaml | bench-expand | bench-serve | bench-load | tee -ip raw/0001.jsonl | \
                  bench-normalize | tee -i results.jsonl | bench-rank > report.md";
    let done = run(mark.put(bash(script).current_dir(folder.path())), "").expect(0);
    let results = rows_in(&folder.path().join("results.jsonl"));
    for row in rows_in(&folder.path().join("raw/0001.jsonl")).iter().chain(&results) {
        let kind = row["record"].as_str().unwrap();
        let errors: Vec<String> = validator(kind).iter_errors(row).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{kind}: {errors:?}\n{row:#}");
    }
    // Two candidates that ran, with two loads each, and one that had not the memory.
    let ok: Vec<&Value> = results.iter().filter(|row| row["status"] == "ok").collect();
    assert_eq!((ok.len(), results.len()), (4, 5), "{}", done.stderr);
    assert!(ok.iter().all(|row| row["sla"]["passed"] == true && row["quality"]["simulated"] == true));
    let oom = results.iter().find(|row| row["status"] == "oom").unwrap();
    assert!(oom["failure_reason"].as_str().unwrap().contains("KV cache of 0 tokens"), "{oom:#}");
    let report = std::fs::read_to_string(folder.path().join("report.md")).unwrap();
    for part in [
        "Smoke test, not a benchmark",
        "Best command by framework and scenario",
        "Across frameworks",
        "Tried and not selected",
        "Simulated:",
        "quick max_num_seqs=100000".split(' ').next_back().unwrap(),
        "bench-sim --model sim",
    ] {
        assert!(report.contains(part), "{part} is not in\n{report}");
    }
    mark.gone_within(SOON);
}

#[test]
fn a_sweep_goes_on_where_it_stopped() {
    let (folder, mark) = (scratch(), Mark::new("sweep"));
    let (plan, out) = (write_plan(folder.path(), &plan(8)), folder.path().join("out"));
    run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
    for file in
        ["plan.jsonl", "candidates.jsonl", "raw/0001.jsonl", "results.jsonl", "report.md", "report.html", "report.csv"]
    {
        assert!(out.join(file).is_file(), "{file}");
    }
    let (first, report) = (units(&out.join("results.jsonl")), std::fs::read(out.join("report.md")).unwrap());
    assert_eq!(first.len(), 6);
    // Nothing is left to do.
    let again = run(mark.put(&mut sweep(&plan, &out)), "").expect(4);
    let said = "all 6 runs are complete, nothing to do";
    assert!(again.stderr.contains(said) && !out.join("raw/0002.jsonl").exists(), "{}", again.stderr);
    assert_eq!((units(&out.join("results.jsonl")), &std::fs::read(out.join("report.md")).unwrap()), (first, &report));
    run(mark.put(sweep(&plan, &out).arg("--resume")), "").expect(0);
    let printed = run(program("bench-sweep").arg("--report").arg(&out), "").expect(0);
    assert_eq!(printed.stdout.as_bytes(), report, "a report of a sweep that has ended is its report");
    mark.gone_within(SOON);
}

/// Runs a sweep in a group of its own, lets `disturb` at it once `ready` says so, and waits for its end.
fn disturbed(mark: &Mark, plan: &Path, out: &Path, raw: &str, lines: usize, disturb: impl FnOnce(u32)) -> Output {
    disturbed_in(Path::new("."), mark, plan, out, raw, lines, disturb)
}

fn disturbed_in(
    folder: &Path,
    mark: &Mark,
    plan: &Path,
    out: &Path,
    raw: &str,
    lines: usize,
    disturb: impl FnOnce(u32),
) -> Output {
    use std::os::unix::process::CommandExt;
    let mut command = sweep(plan, out);
    let command =
        mark.put(command.current_dir(folder)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().unwrap();
    let raw = out.join("raw").join(raw);
    let ready = || std::fs::read_to_string(&raw).ok().filter(|text| text.lines().count() >= lines);
    wait_until(Duration::from_secs(20), ready).expect("the sweep writes rows");
    disturb(child.id());
    finish(child, Duration::from_secs(30))
}

#[test]
fn ctrl_c_leaves_whole_rows_no_server_and_a_report() {
    for lines in [1, 3, 9] {
        let (folder, mark) = (scratch(), Mark::new("ctrl-c"));
        let (plan, out) = (write_plan(folder.path(), &plan(30)), folder.path().join("out"));
        let done = disturbed(&mark, &plan, &out, "0001.jsonl", lines, |group| kill_group(group, Signal::SIGINT));
        assert_eq!(done.signal, Some(2), "{}", done.stderr);
        mark.gone_within(SOON);
        let text = std::fs::read_to_string(out.join("raw/0001.jsonl")).unwrap();
        assert!(text.ends_with('\n'));
        rows_in(&out.join("raw/0001.jsonl"));
        assert!(
            std::fs::read_to_string(out.join("report.md")).unwrap().starts_with("PROVISIONAL: "),
            "{}",
            done.stderr
        );
        // And it goes on to the end.
        run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
        let keys = units(&out.join("results.jsonl"));
        assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (6, 6));
        mark.gone_within(SOON);
    }
}

#[test]
fn a_signal_to_the_script_alone_to_its_group_or_to_all_ends_the_sweep_in_order() {
    type Send = fn(&Mark, u32, Signal);
    let alone: Send = |_, script, signal| kill(i32::try_from(script).unwrap(), signal);
    let group: Send = |_, script, signal| kill_group(script, signal);
    // As a service manager does: the script hands on what its programs have been sent already.
    let all: Send = |mark, script, signal| {
        for pid in mark.pids("bench-load").into_iter().chain(mark.pids("bench-serve").into_iter().take(1)) {
            kill(pid, signal);
        }
        kill(i32::try_from(script).unwrap(), signal);
    };
    let cases = [(alone, Signal::SIGTERM), (alone, Signal::SIGHUP), (alone, Signal::SIGINT), (group, Signal::SIGTERM)];
    for (send, signal) in cases.into_iter().chain([(group, Signal::SIGHUP), (all, Signal::SIGTERM)]) {
        let (folder, mark) = (scratch(), Mark::new("ends"));
        // Seconds for its first run, if nobody ended it.
        let (plan, out) = (write_plan(folder.path(), &plan(700)), folder.path().join("out"));
        let done = disturbed(&mark, &plan, &out, "0001.jsonl", 2, |script| send(&mark, script, signal));
        assert_eq!(done.signal, Some(signal as i32), "{}", done.stderr);
        mark.gone_within(SOON);
        let rows = rows_in(&out.join("raw/0001.jsonl"));
        let of = |kind: &str| rows.iter().filter(|row| row["record"] == kind).collect::<Vec<_>>();
        assert_eq!((of("run").len(), of("run_end").len()), (1, 1), "{signal}: {rows:#?}");
        // Whoever of the two was first: the server stops, or the client does.
        let class = of("run_end")[0]["failure_class"].as_str().unwrap();
        assert!(["interrupted", "server_lost"].contains(&class), "{class}");
        assert_eq!(of("server_end").len(), 1, "{signal}: {rows:#?}");
        assert!(
            std::fs::read_to_string(out.join("report.md")).unwrap().starts_with("PROVISIONAL: "),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_signal_before_the_first_start_ends_the_script_and_what_it_asked() {
    let (folder, mark) = (scratch(), Mark::new("asks"));
    let plan = folder.path().join("plan.yaml");
    // Preflight asks the engine for its help, which never comes.
    std::fs::write(
        folder.path().join("engine"),
        format!("#!/bin/sh\necho asked > '{}'\nexec sleep 1000\n", folder.path().join("asked").display()),
    )
    .unwrap();
    std::fs::set_permissions(folder.path().join("engine"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::fs::copy(folder.path().join("engine"), folder.path().join("vllm")).unwrap();
    std::fs::write(
        &plan,
        "model: m\nhardware: {gpu_count: 1}\ndataset: {num_prompts: 1, scenario_names: [s], input_len: [8], output_len: [8]}\n\
         benchmark: {max_concurrency: [1]}\nframeworks:\n  vllm: {base_server_flags: {}}\n",
    )
    .unwrap();
    let mut command = sweep(&plan, &folder.path().join("out"));
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    command.env("PATH", format!("{}:{path}", crate::harness::bin_dir().display()));
    let child =
        mark.put(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let asked = || folder.path().join("asked").is_file().then_some(());
    wait_until(Duration::from_secs(20), asked).expect("the help is asked for");
    kill(i32::try_from(child.id()).unwrap(), Signal::SIGTERM);
    assert_eq!(finish(child, Duration::from_secs(10)).signal, Some(15));
    mark.gone_within(SOON);
}

#[test]
fn kill_9_of_any_program_leaves_no_server_and_loses_nothing() {
    for victim in ["bench-serve", "bench-load", "bench-expand", "bench-sweep"] {
        let (folder, mark) = (scratch(), Mark::new("kill"));
        let (plan, out) = (write_plan(folder.path(), &plan(30)), folder.path().join("out"));
        disturbed(&mark, &plan, &out, "0001.jsonl", 4, |_| {
            // bench-serve is there twice: itself, and the guard of its server, which has its own way to die.
            let pids = mark.pids(victim);
            if let Some(pid) = pids.first() {
                kill(*pid, Signal::SIGKILL);
            }
        });
        mark.gone_within(SOON);
        // All may have been measured before the death.
        run(mark.put(sweep(&plan, &out).arg("--resume")), "").expect(0);
        let keys = units(&out.join("results.jsonl"));
        assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (6, 6), "after the death of {victim}");
        // The attempt that was cut off replaces nothing: all is as if nobody had been killed.
        let results = rows_in(&out.join("results.jsonl"));
        // On a busy machine a client may not keep up; its run is there all the same.
        let is = |row: &Value, status: &str| row["status"] == status;
        let done = |row: &&Value| is(row, "ok") || row["failure_class"] == "client_saturated";
        let oom = results.iter().filter(|row| is(row, "oom")).count();
        assert_eq!(
            (results.iter().filter(done).count(), oom, results.len()),
            (4, 1, 5),
            "after the death of {victim}: {results:#?}"
        );
        mark.gone_within(SOON);
    }
}

#[test]
fn a_sweep_in_which_nothing_was_measured_is_no_success() {
    let (folder, mark) = (scratch(), Mark::new("nothing"));
    let (plan, out) = (folder.path().join("plan.yaml"), folder.path().join("out"));
    // No candidate has the memory that it asks for.
    std::fs::write(
        &plan,
        self::plan(8)
            .replace("load_ms: 20, max_num_seqs: 64", "load_ms: 20, max_num_seqs: 100000")
            .replace("load_ms: 20}\n", "load_ms: 20, max_num_seqs: 100000}\n")
            .replace("[64, 100000]", "[100000, 200000]"),
    )
    .unwrap();
    let done = run(mark.put(&mut sweep(&plan, &out)), "").expect(3);
    assert!(done.stderr.contains("no run produced a result"), "{}", done.stderr);
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    let said = report.lines().find(|line| line.starts_with("- ")).unwrap_or_default();
    assert!(said.starts_with("- No result for quick and slow: failed to start (oom"), "{report}");
    mark.gone_within(SOON);
}

#[test]
fn the_cookbook_plan_gives_commands_for_all_its_frameworks() {
    let path = root().join("configs/cookbook-llm/qwen3-235b-a22b.yaml");
    run(program("bench-validate").arg(&path), "").expect(0);
    let done = run(program("bench-expand").args(["--format", "sh"]).arg(&path), "").expect(0);
    // TensorRT-LLM's option file is written first.
    let is_command = |line: &str, start| line.rsplit(" && ").next().is_some_and(|last| last.starts_with(start));
    for start in [
        "python -m sglang.launch_server ",
        "vllm serve Qwen/",
        "NCCL_IB_DISABLE=1 trtllm-serve serve Qwen/",
        "tokenspeed serve Qwen/",
    ] {
        assert!(done.stdout.lines().filter(|line| is_command(line, start)).count() > 5, "{start}:\n{}", done.stdout);
    }
}

#[test]
fn every_shipped_plan_validates() {
    let done = run(
        program("bench-validate").args(["--format", "jsonl", "configs", "configs/cookbook-llm"]).current_dir(root()),
        "",
    );
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(done.records("plan").len() >= 3);
}

/// A folder in which a plan finds the real engine: `BENCH_LLAMA_CPP` names one made by scripts/engines/llama-cpp, or it stands
/// in engines/. `None` where there is none.
pub fn with_llama_cpp() -> Option<tempfile::TempDir> {
    let given = std::env::var_os("BENCH_LLAMA_CPP").map(std::path::PathBuf::from);
    let engine = given.unwrap_or_else(|| root().join("engines/llama-cpp"));
    if !engine.join("bin/llama-server").exists() {
        skipped("no llama.cpp: scripts/engines/llama-cpp engines/llama-cpp installs it");
        return None;
    }
    let folder = scratch();
    std::fs::create_dir(folder.path().join("engines")).unwrap();
    std::os::unix::fs::symlink(&engine, folder.path().join("engines/llama-cpp")).unwrap();
    Some(folder)
}

#[test]
#[ignore = "some minutes with a real engine"]
fn a_night_with_twenty_candidates_survives_two_murders() {
    let Some(folder) = with_llama_cpp() else { return };
    let plan = folder.path().join("plan.yaml");
    std::fs::write(
        &plan,
        "model: engines/llama-cpp/model/tiny.gguf\nhardware: {gpu_count: 1}\n\
         dataset: {num_prompts: 21, scenario_names: [s], input_len: [32], output_len: [16]}\n\
         benchmark: {max_concurrency: [2], request_rates: [50], warmup_requests: 1}\n\
         search: {max_candidates_per_framework: 20}\nframeworks:\n  llama_cpp:\n\
         \x20   base_server_flags: {parallel: 4, ctx_size: 4096, threads: 1}\n\
         \x20   search_space: {parallel: [4, 2], ctx_size: [4096, 8192], batch_size: [512, 256, 128, 64, 32]}\n",
    )
    .unwrap();
    let mark = Mark::new("night");
    let whole = folder.path().join("whole");
    run(mark.put(sweep(&plan, &whole).current_dir(folder.path())), "").expect(0);
    let wanted = units(&whole.join("results.jsonl"));
    assert_eq!(wanted.len(), 40);
    mark.gone_within(SOON);
    let out = folder.path().join("out");
    for (victim, raw) in [("bench-load", "0001.jsonl"), ("bench-serve", "0002.jsonl")] {
        let slay = |_| {
            let ours = |pid: &i32| {
                let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                comm.trim() == victim
            };
            let pid = mark.pids(victim).into_iter().find(ours).expect("it runs");
            kill(pid, Signal::SIGKILL);
        };
        disturbed_in(folder.path(), &mark, &plan, &out, raw, 150, slay);
        mark.gone_within(SOON);
    }
    run(mark.put(sweep(&plan, &out).current_dir(folder.path())), "").expect(0);
    let keys = units(&out.join("results.jsonl"));
    assert_eq!(keys, wanted);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 40);
    mark.gone_within(SOON);
}

#[test]
fn a_real_llama_cpp_server_is_swept() {
    let Some(folder) = with_llama_cpp() else { return };
    let (mark, out) = (Mark::new("llama"), folder.path().join("out"));
    let plan = root().join("configs/llama-cpp-cpu.yaml");
    let done = run(mark.put(sweep(&plan, &out).current_dir(folder.path())), "").expect(0);
    let results = rows_in(&out.join("results.jsonl"));
    let refused = results.iter().find(|row| row["framework"] == "llama_cpp_bad_value").unwrap();
    assert_eq!((&refused["status"], &refused["failure_class"]), (&"failed".into(), &"bad_value".into()));
    assert!(refused["failure_reason"].as_str().unwrap().contains("f17"), "{refused:#}");
    let ours: Vec<&Value> = results.iter().filter(|row| row["framework"] == "llama_cpp").collect();
    assert_eq!(ours.len(), 6 * 2 * 3, "{}", done.stderr);
    for row in &ours {
        // A machine that others use may make the client late; then the row says so and is not ranked.
        if row["failure_class"] == "client_saturated" {
            continue;
        }
        assert_eq!((&row["status"], &row["metrics"]["success_rate"]), (&"ok".into(), &1.0.into()), "{row:#}");
        assert_eq!((&row["quality"]["length_mismatch"], &row["quality"]["simulated"]), (&false.into(), &false.into()));
    }
    mark.gone_within(SOON);
}
