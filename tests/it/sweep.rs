//! bench-sweep: its signals, its files, and what it does when a program or it itself is killed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Mark, Output, bash, candidates, finish, fixtures, kill, kill_group, program, root, rows_in, run, scratch, skipped,
    times, wait_until, write_plan, zoo_plan,
};

const SOON: Duration = Duration::from_secs(5);

/// One engine, two candidates with two loads each; `tokens` output tokens of about 2 ms each.
fn plan(tokens: u32) -> String {
    format!(
        "model: sim\nhardware: {{gpu_count: 1}}\n\
         dataset: {{num_prompts: 6, scenario_names: [chat], input_len: [32], output_len: [{tokens}]}}\n\
         benchmark: {{max_concurrency: [2], request_rates: [50], warmup_requests: 1}}\n\
         sla: {{max_p99_ttft_ms: 2000, min_success_rate: 1.0}}\n\
         frameworks:\n\
         \x20 sim:\n    base_server_flags: {{step_base_us: 2000, load_ms: 20, max_num_seqs: 64}}\n\
         \x20   search_space: {{max_num_seqs: [64, 32]}}\n"
    )
}

fn sweep(plan: &Path, out: &Path) -> Command {
    let mut command = program("bench-sweep");
    command.arg(plan).arg("--out").arg(out);
    command
}

/// The units of the results that are ok, each once.
fn ok_units(out: &Path) -> usize {
    let results = rows_in(&out.join("results.jsonl"));
    let ok = results.iter().filter(|row| row["status"] == "ok");
    let units: Vec<String> =
        ok.flat_map(|row| row["units"].as_array().cloned().unwrap_or_default()).map(|u| u.to_string()).collect();
    assert_eq!(units.iter().collect::<BTreeSet<_>>().len(), units.len(), "doubled");
    units.len()
}

/// Starts a sweep in a group of its own.
fn start(mark: &Mark, plan: &Path, out: &Path) -> Child {
    use std::os::unix::process::CommandExt;
    let mut command = sweep(plan, out);
    let command = mark.put(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).spawn().unwrap()
}

/// Waits until the sweep has written so many rows.
fn until_rows(out: &Path, file: &str, lines: usize) {
    let raw = out.join("raw").join(file);
    let ready = || std::fs::read_to_string(&raw).ok().filter(|text| text.lines().count() >= lines);
    wait_until(Duration::from_secs(30), ready).expect("the sweep writes rows");
}

/// The files of a folder with the times of their last change.
fn files_of(folder: &Path) -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        entries.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_running_sweep_is_reported_without_its_open_run() {
    let (folder, mark) = (scratch(), Mark::new("partial"));
    let (plan, out) = (write_plan(folder.path(), &plan(300)), folder.path().join("out"));
    let missing = run(program("bench-sweep").arg("--report").arg(folder.path()), "").expect(2);
    assert!(missing.stderr.contains("no sweep is in this folder"), "{}", missing.stderr);
    let child = start(&mark, &plan, &out);
    let raw = out.join("raw/0001.jsonl");
    // A busy host may make a client fall behind, whose run is measured again.
    let ends = |line: &str| line.contains("\"record\":\"run_end\"") && !line.contains("client_saturated");
    let one_run = || std::fs::read_to_string(&raw).ok().filter(|text| text.lines().any(ends));
    wait_until(Duration::from_secs(30), one_run).expect("a run ends");
    let file = folder.path().join("partial.md");
    run(program("bench-sweep").arg("--report").arg(&out).arg("--output").arg(&file), "").expect(0);
    let report = std::fs::read_to_string(&file).unwrap();
    let first = report.lines().next().unwrap_or_default();
    assert!(first.starts_with("PROVISIONAL: still running, ") && first.ends_with(" of 4 runs done"), "{report}");
    assert!(!report.contains("interrupted"), "{report}");
    kill(pid(&child), Signal::SIGINT);
    finish(child, Duration::from_secs(15));
    mark.gone_within(SOON);
}

#[test]
fn what_happens_is_told_as_lines_and_as_rows() {
    let (folder, mark) = (scratch(), Mark::new("told"));
    let (plan, out) = (write_plan(folder.path(), &plan(4)), folder.path().join("out"));
    let done = run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
    let lines: Vec<&str> = done.stderr.lines().filter(|line| line.starts_with('[')).collect();
    let with = |what: &[&str]| lines.iter().filter(|line| what.iter().all(|what| line.contains(what))).count();
    assert_eq!((with(&["/2] ", ": starting"]), with(&[": ready after ", "(cold)"])), (2, 1), "{}", done.stderr);
    assert_eq!(with(&[" req/s"]), 4, "{}", done.stderr);
    let rows = run(mark.put(sweep(&plan, &folder.path().join("rows")).args(["--progress", "json"])), "").expect(0);
    let rows: Vec<Value> = rows.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of = |event: &str| rows.iter().filter(|row| row["record"] == "progress" && row["event"] == event).count();
    assert_eq!((of("starting"), of("ready"), of("run"), of("failed")), (2, 2, 4, 0), "{rows:#?}");
    let last = rows.iter().rfind(|row| row["event"] == "run").unwrap();
    assert_eq!((&last["position"]["index"], &last["position"]["of"]), (&2.into(), &2.into()), "{last:#}");
    let quiet = run(mark.put(sweep(&plan, &folder.path().join("quiet")).arg("--quiet")), "").expect(0);
    assert!(quiet.stderr.lines().all(|line| line.contains(": warning: ")), "{}", quiet.stderr);
    mark.gone_within(SOON);
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

#[test]
fn nothing_measures_on_when_bench_sweep_is_killed() {
    let (folder, mark) = (scratch(), Mark::new("sweep-killed"));
    let (plan, out) = (write_plan(folder.path(), &plan(150)), folder.path().join("out"));
    let child = start(&mark, &plan, &out);
    until_rows(&out, "0001.jsonl", 3);
    kill(pid(&child), Signal::SIGKILL);
    assert_eq!(finish(child, SOON).signal, Some(9));
    mark.gone_within(SOON);
    let raw = rows_in(&out.join("raw/0001.jsonl"));
    let of = |kind: &str| raw.iter().filter(|row| row["record"] == kind).count();
    assert_eq!((of("run"), of("run_end"), of("server_end")), (1, 1, 1), "{raw:#?}");
    std::fs::write(&plan, self::plan(150)).unwrap();
    let again = run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
    assert!(again.stderr.contains("0 of 4 runs already complete"), "{}", again.stderr);
    assert_eq!(ok_units(&out), 4);
}

#[test]
fn a_signal_to_one_program_of_the_pipe_ends_the_sweep() {
    for (victim, signal) in
        [("bench-load", Signal::SIGTERM), ("bench-serve", Signal::SIGHUP), ("bench-load", Signal::SIGINT)]
    {
        let (folder, mark) = (scratch(), Mark::new("one"));
        let (plan, out) = (write_plan(folder.path(), &plan(300)), folder.path().join("out"));
        let child = start(&mark, &plan, &out);
        until_rows(&out, "0001.jsonl", 3);
        kill(mark.pids(victim)[0], signal);
        let done = finish(child, Duration::from_secs(15));
        assert_eq!(done.signal, Some(signal as i32), "{victim}: {}", done.stderr);
        mark.gone_within(SOON);
        let raw = rows_in(&out.join("raw/0001.jsonl"));
        let of = |kind: &str| raw.iter().filter(|row| row["record"] == kind).count();
        assert_eq!((of("server"), of("run_end"), of("server_end")), (1, 1, 1), "{victim}: {raw:#?}");
        let report = std::fs::read_to_string(out.join("report.md")).unwrap();
        assert!(report.starts_with("PROVISIONAL: interrupted, 0 of 4 runs done; rerun to resume\n"), "{report}");
    }
}

#[test]
fn a_second_signal_ends_the_sweep_too_and_the_report_is_written() {
    type Send = fn(&Mark, i32, Signal);
    let twice: Send = |_, sweep, signal| {
        kill(sweep, signal);
        std::thread::sleep(Duration::from_millis(20));
        kill(sweep, signal);
    };
    let to_all: Send = |mark, sweep, signal| {
        let all = || mark.pids("bench-").into_iter().filter(|pid| *pid != sweep).chain([sweep]);
        for pid in all().chain(all()) {
            // Some have ended by then.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    };
    let group: Send = |_, sweep, signal| {
        kill_group(sweep.unsigned_abs(), signal);
        kill_group(sweep.unsigned_abs(), signal);
    };
    for (send, signal) in [
        (twice, Signal::SIGINT),
        (twice, Signal::SIGTERM),
        (to_all, Signal::SIGTERM),
        (to_all, Signal::SIGINT),
        (group, Signal::SIGHUP),
    ] {
        let (folder, mark) = (scratch(), Mark::new("twice"));
        let (plan, out) = (write_plan(folder.path(), &plan(300)), folder.path().join("out"));
        let child = start(&mark, &plan, &out);
        until_rows(&out, "0001.jsonl", 3);
        send(&mark, pid(&child), signal);
        let done = finish(child, Duration::from_secs(25));
        assert_eq!(done.signal, Some(signal as i32), "{}", done.stderr);
        mark.gone_within(SOON);
        rows_in(&out.join("raw/0001.jsonl"));
        let report = std::fs::read_to_string(out.join("report.md")).unwrap();
        assert!(report.starts_with("PROVISIONAL: interrupted, 0 of 4 runs"), "{report}\n{}", done.stderr);
    }
}

#[test]
fn the_report_of_an_interrupted_sweep_says_so_first() {
    let (folder, mark) = (scratch(), Mark::new("provisional"));
    let (plan, out) = (write_plan(folder.path(), &plan(100)), folder.path().join("out"));
    let child = start(&mark, &plan, &out);
    let raw = out.join("raw/0001.jsonl");
    let one_run = || std::fs::read_to_string(&raw).ok().filter(|text| text.contains("\"record\":\"run_end\""));
    wait_until(Duration::from_secs(30), one_run).expect("a run ends");
    kill(pid(&child), Signal::SIGINT);
    let done = finish(child, Duration::from_secs(15));
    let said = "PROVISIONAL: interrupted, 1 of 4 runs done; rerun to resume";
    assert_eq!(done.stdout.lines().next(), Some(said), "{}", done.stderr);
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("report.md").lines().next(), Some(said));
    let page = read("report.html");
    assert!(page.find(said).unwrap() < page.find("<h1>").unwrap(), "{page}");
    assert_eq!(read("report.csv").lines().next(), Some(&*format!("# {said}")));
    let before = files_of(&out);
    for (format, first) in [
        ("md", said.to_string()),
        ("table", said.to_string()),
        ("csv", format!("# {said}")),
        ("jsonl", format!("{{\"schema_version\":1,\"record\":\"unfinished\",\"text\":\"{said}\"")),
    ] {
        let partial = run(program("bench-sweep").args(["--format", format, "--report"]).arg(&out), "").expect(0);
        assert!(partial.stdout.lines().next().unwrap_or_default().starts_with(&first), "{}", partial.stdout);
    }
    assert_eq!(files_of(&out), before, "--report only reads");
    // The estimate of the rest, not of everything.
    let again = run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
    let estimate: Vec<&str> = again.stderr.lines().filter(|line| line.contains("server starts")).collect();
    assert!(estimate.len() == 1 && estimate[0].contains("3 runs"), "{}", again.stderr);
    assert!(again.stderr.contains("1 of 4 runs already complete"), "{}", again.stderr);
    assert!(!read("report.md").contains("PROVISIONAL"));
    assert_eq!(ok_units(&out), 4);
}

#[test]
fn the_rows_of_a_complete_sweep_are_folded_once() {
    let folder = scratch();
    let (plan, out) = (write_plan(folder.path(), &plan(1)), folder.path().join("out"));
    run(&mut sweep(&plan, &out), "").expect(0);
    // A program alone in its folder finds the others in engines/ and on PATH.
    let (alone, own) = (folder.path().join("bench-sweep"), folder.path().join("engines/own/bin"));
    let real = |name: &str| std::path::PathBuf::from(program(name).get_program());
    std::fs::copy(real("bench-sweep"), &alone).unwrap();
    std::fs::create_dir_all(&own).unwrap();
    let script = format!("#!/bin/sh\necho x >> calls\nexec '{}' \"$@\"\n", real("bench-normalize").display());
    std::fs::write(own.join("bench-normalize"), script).unwrap();
    std::fs::set_permissions(own.join("bench-normalize"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = format!("{} {} --out {}", alone.display(), plan.display(), out.display());
    run(bash(&script).current_dir(folder.path()), "").expect(4);
    assert_eq!(std::fs::read_to_string(folder.path().join("calls")).unwrap(), "x\n");
}

#[test]
fn a_second_sweep_in_the_folder_is_told_which_program_is_at_work() {
    let (folder, mark) = (scratch(), Mark::new("owner"));
    let (plan, out) = (write_plan(folder.path(), &plan(700)), folder.path().join("out"));
    let mut command = sweep(&plan, &out);
    // Its programs keep what they inherit open.
    let mut first = mark.put(&mut command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until_rows(&out, "0001.jsonl", 2);
    let told = |what: &str| {
        let second = run(mark.put(&mut sweep(&plan, &out)), "").expect(2);
        assert!(second.stderr.contains(what), "{}", second.stderr);
        assert!(!out.join("raw/0002.jsonl").exists());
        second.stderr
    };
    told(&format!("bench-sweep (pid {0}) is still running; wait for it, or stop it with kill -INT {0}", first.id()));
    kill(pid(&first), Signal::SIGKILL);
    first.wait().unwrap();
    mark.gone_within(SOON);
    // A server of it that has not ended yet.
    let mut server = program("bench-sim");
    let server = mark.put(&mut server).env("BENCH_SWEEP", out.canonicalize().unwrap());
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let said = told(&format!("bench-sim (pid {}) is still running", server.id()));
    let waits =
        format!("waiting up to 15 s for bench-sim (pid {}), which a sweep in this folder left, to end\n", server.id());
    assert!(said.contains(&waits), "{said}");
    server.kill().unwrap();
    server.wait().unwrap();
    mark.gone_within(SOON);
}

#[test]
fn a_dry_run_prints_the_commands_and_writes_nothing() {
    let folder = scratch();
    write_plan(folder.path(), &plan(8));
    let mut command = program("bench-sweep");
    let done = run(command.args(["plan.yaml", "--dry-run", "--budget", "60"]).current_dir(folder.path()), "").expect(0);
    assert_eq!(
        done.stdout,
        "bench-validate --format jsonl --unknown-flags fail --preflight --capture-help results/plan/help --output \
         results/plan/plan.jsonl -- plan.yaml\n\
         bench-expand --budget 60 --stage plain --fit none --output results/plan/candidates.jsonl results/plan/plan.jsonl\n\
         bench-expand --quiet --budget 60 results/plan/plan.jsonl | bench-serve --artifacts results/plan/logs --budget 60 \
         --caches results/plan/caches | bench-load >> results/plan/raw/0001.jsonl\n\
         bench-normalize --quiet --output results/plan/results.jsonl results/plan/raw/0001.jsonl\n\
         bench-rank --quiet --format md --output results/plan/report.md results/plan/results.jsonl\n\
         bench-rank --quiet --format csv --output results/plan/report.csv results/plan/results.jsonl\n\
         bench-rank --quiet --format html --output results/plan/report.html results/plan/results.jsonl\n\
         bench-rank --quiet --format table results/plan/results.jsonl\n"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_the_programs_are_told_about_servers_a_sweep_is_told_too() {
    let folder = scratch();
    write_plan(folder.path(), &zoo_plan("{never_binds: true}"));
    let of = |name: &str, flags: &[&str]| {
        let mut command = program(name);
        run(command.arg("plan.yaml").args(flags).current_dir(folder.path()), "")
    };
    let own = fixtures().display().to_string();
    // Under its other name, too.
    let flags = [
        "--frameworks",
        &own,
        "--grace",
        "2",
        "--startup-timeout",
        "90",
        "--give-up",
        "never",
        "--gpu-probe-cmd",
        "cat gpus",
    ];
    let lines = of("bench-sweep", &[&flags[..], &["--dry-run"]].concat()).expect(0).stdout;
    let commands: Vec<&str> = lines.split(['\n', '|']).map(str::trim).collect();
    for (program, times, more) in [
        ("bench-validate ", 1, "--gpu-probe-cmd 'cat gpus' --output"),
        ("bench-expand ", 2, ""),
        ("bench-serve ", 1, "--give-up never --ready-timeout 90 --grace 2 --gpu-probe-cmd 'cat gpus'"),
        ("bench-load ", 1, ""),
    ] {
        let of_program: Vec<&&str> = commands.iter().filter(|line| line.starts_with(program)).collect();
        let is_told = |line: &&&str| line.contains(&format!("--frameworks {own}")) && line.contains(more);
        assert_eq!(of_program.iter().filter(|line| is_told(line)).count(), times, "{program}: {of_program:?}");
        assert_eq!(of_program.len(), times, "{lines}");
    }
    // What was not given is not said.
    let plain = of("bench-sweep", &["--frameworks", &own, "--dry-run"]).expect(0).stdout;
    assert!(!plain.contains("--grace") && !plain.contains("--ready-timeout"), "{plain}");
    // A task of Slurm is told the same.
    let script = format!("{}/scripts/sweep-slurm plan.yaml --share out --ready-timeout 90 --dry-run", root().display());
    let task = run(bash(&script).current_dir(folder.path()), "").expect(0).stdout;
    assert!(task.contains("sweep.sbatch plan.yaml --ready-timeout 90 --share"), "{task}");
    // And it does what it says.
    let flags =
        ["--frameworks", &own, "--ready-timeout", "1", "--no-preflight", "--retry", "failed", "--out", "results"];
    let done = of("bench-sweep", &flags).expect(3);
    let results = rows_in(&folder.path().join("results/results.jsonl"));
    assert_eq!(results[0]["failure_class"], "not_ready", "{done:?}");
    assert!(results[0]["failure_reason"].as_str().unwrap().contains("not ready after 1 s"), "{done:?}");
    // A flag that no program takes is refused before anything is written.
    let done = of("bench-sweep", &["--ready-timeout", "soon", "--out", "other"]).expect(2);
    assert!(
        done.stderr.contains("must be a number of seconds") && !folder.path().join("other").exists(),
        "{}",
        done.stderr
    );
}

/// A bench-sim that cannot start with 64 requests, in the folder where a sweep looks for engines.
fn sim_without_memory(folder: &Path) {
    let bin = folder.join("engines/sim/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let real = program("bench-sim").get_program().to_string_lossy().into_owned();
    let script = bin.join("bench-sim");
    let says = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB";
    let fails = format!("case \" $* \" in *' --max-num-seqs 64 '*) echo '{says}' >&2; exit 1;; esac");
    std::fs::write(&script, format!("#!/bin/sh\n{fails}\nexec {real} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn what_failed_to_start_is_known_after_a_resume() {
    let (folder, mark) = (scratch(), Mark::new("learnt"));
    sim_without_memory(folder.path());
    let more = "max_num_batched_tokens: [512, 1024, 2048]";
    let text = plan(4).replace("max_num_seqs: 64}", "max_num_seqs: 64, max_num_batched_tokens: 512}");
    let plan = write_plan(folder.path(), &text.replace("max_num_seqs: [64, 32]", more));
    let out = folder.path().join("out");
    let sweep = |more: &[&str]| {
        let mut command = sweep(&plan, &out);
        let command = mark.put(&mut command).args(["--no-preflight", "--resume"]).args(more);
        run(command.current_dir(folder.path()), "")
    };
    let classes = || -> Vec<String> {
        let rows = rows_in(&out.join("results.jsonl")).into_iter().filter(|row| row["candidate_id"].is_string());
        rows.map(|row| row["failure_class"].as_str().unwrap_or("none").to_string()).collect()
    };
    // As if it had been interrupted after its first candidate.
    sweep(&[]).expect(3);
    let raw = out.join("raw/0001.jsonl");
    let rows = std::fs::read_to_string(&raw).unwrap();
    let failed = rows.lines().find(|line| line.contains("\"record\":\"server_end\"")).unwrap();
    std::fs::write(&raw, format!("{failed}\n")).unwrap();
    let done = sweep(&[]).expect(3);
    assert_eq!(done.stderr.matches(": starting").count(), 0, "{}", done.stderr);
    assert_eq!(classes(), ["cuda_oom_at_load", "foreseen", "foreseen"], "{}", done.stderr);
    assert!(done.stderr.contains("at least as much memory as sim baseline, which failed to start"), "{}", done.stderr);
    // Who runs failures again has changed something.
    let again = sweep(&["--retry", "failed"]);
    assert_eq!(again.stderr.matches(": starting").count(), 1, "{}", again.stderr);
    mark.gone_within(SOON);
}

#[test]
fn a_folder_that_cannot_be_written_is_called_that() {
    let folder = scratch();
    let plan = write_plan(folder.path(), &plan(8));
    std::fs::write(folder.path().join("file"), "").unwrap();
    let done = run(&mut sweep(&plan, &folder.path().join("file/out")), "").expect(2);
    assert!(done.stderr.contains("file/out/raw: this is not a folder: Not a directory"), "{}", done.stderr);
    let done = run(&mut sweep(&plan, Path::new("/proc/out")), "").expect(2);
    assert!(done.stderr.contains("/proc/out/raw: cannot create the folder: "), "{}", done.stderr);
}

/// Runs `script` as a user who may not write the folders of others; `None` where the tests may become no such user.
fn as_nobody(script: &str, folder: &Path) -> Option<Output> {
    let is_root = nix::unistd::geteuid().is_root();
    let user = if is_root { "setpriv --reuid 65534 --regid 65534 --clear-groups" } else { "env" };
    let as_user = |script: &str| run(bash(&format!("{user} bash -o pipefail -c '{script}'")).current_dir(folder), "");
    let can = as_user("bench-rank --version && test -r plan.yaml");
    if can.code != Some(0) {
        skipped(&format!("no other user can run the programs: {}", can.stderr.trim()));
        return None;
    }
    Some(as_user(script))
}

#[test]
fn a_folder_that_is_read_only_is_called_that() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    let (folder, mark) = (scratch(), Mark::new("read-only"));
    let (plan, out) = (write_plan(folder.path(), &plan(4)), folder.path().join("out"));
    run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
    std::fs::create_dir(folder.path().join("ro")).unwrap();
    let set = |mode: u32| {
        for path in
            ["", "plan.yaml", "ro", "out", "out/raw", "out/help", "out/logs", "out/.lock", "out/candidates.jsonl"]
                .into_iter()
                .chain(["out/plan.jsonl", "out/results.jsonl", "out/raw/0001.jsonl"])
        {
            let path = folder.path().join(path);
            let folders = if path.is_dir() { 0o111 } else { 0 };
            set_permissions(&path, Permissions::from_mode(mode | folders)).unwrap();
        }
    };
    set(0o444);
    let results = "out/results.jsonl";
    for (script, said) in [
        ("bench-sweep plan.yaml --out ro/out", "bench-sweep: ro/out/raw: cannot create the folder"),
        ("bench-sweep plan.yaml --out ro", "bench-sweep: ro/raw: cannot create the folder"),
        ("bench-sweep plan.yaml --out out --resume", "bench-sweep: out/.lock: cannot lock the folder"),
        ("bench-sweep --report out --output ro/x.md", "bench-rank: ro/x.md: cannot write this file"),
        ("bench-serve --artifacts ro/logs out/candidates.jsonl", "bench-serve: ro/logs: cannot create the folder"),
        ("bench-serve --artifacts ro out/candidates.jsonl", "bench-serve: ro: cannot write into this folder"),
        ("bench-validate --format jsonl --output ro/x plan.yaml", "bench-validate: ro/x: cannot write this file"),
        ("bench-expand --output ro/x out/plan.jsonl", "bench-expand: ro/x: cannot write this file"),
        ("bench-normalize --output ro/x out/raw/0001.jsonl", "bench-normalize: ro/x: cannot write this file"),
        (&format!("bench-rank --output ro/x {results}"), "bench-rank: ro/x: cannot write this file"),
        (&format!("bench-rank --output {results} {results}"), "cannot write this file, so the file of before stays"),
    ] {
        let Some(done) = as_nobody(script, folder.path()) else { break };
        assert_eq!(done.code, Some(2), "{script}: {}", done.stderr);
        let said = format!("{said}: Permission denied (os error 13)");
        assert!(done.stderr.lines().any(|line| line.ends_with(&said)), "{script}: {}", done.stderr);
        assert!(!done.stderr.contains("another sweep"), "{script}: {}", done.stderr);
        assert_eq!(done.stdout, "", "{script}");
    }
    // It only reads.
    if let Some(done) = as_nobody("bench-sweep --status out", folder.path()) {
        assert!(done.expect(0).stdout.contains("nothing left to run"));
    }
    set(0o644);
    mark.gone_within(SOON);
}

/// Runs `script` where no file may be longer than `kib`.
fn short_of_space(kib: u32, script: &str, folder: &Path) -> Output {
    // SIGXFSZ ignored, a write past the limit fails as it does on a full disk.
    run(bash(&format!("trap '' XFSZ; ulimit -f {kib}; {script}")).current_dir(folder), "")
}

#[test]
fn a_disk_that_is_full_keeps_the_file_of_before() {
    let folder = scratch();
    let (plan, out) = (write_plan(folder.path(), &plan(8)), folder.path().join("out"));
    let mark = Mark::new("full");
    run(mark.put(&mut sweep(&plan, &out)), "").expect(0);
    let input = out.join("raw/0001.jsonl").display().to_string();
    for (name, script) in [
        ("plan.jsonl", "bench-validate --format jsonl --output out/plan.jsonl plan.yaml".to_string()),
        ("candidates.jsonl", "bench-expand --quiet --output out/candidates.jsonl out/plan.jsonl".into()),
        ("results.jsonl", format!("bench-normalize --output out/results.jsonl {input}")),
        ("report.html", "bench-rank --format html --output out/report.html out/results.jsonl".into()),
    ] {
        let path = out.join(name);
        let before = std::fs::read(&path).unwrap();
        assert!(before.len() > 1024, "{name} is too short for this test");
        let full = short_of_space(0, &script, folder.path()).expect(2);
        assert!(full.stderr.contains("File too large"), "{name}: {}", full.stderr);
        assert!(full.stderr.contains(name), "{name}: {}", full.stderr);
        assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
        // And with room it is replaced.
        std::fs::write(&path, &before[..100]).unwrap();
        std::fs::write(folder.path().join("before"), &before).unwrap();
        if name == "results.jsonl" || name == "report.html" {
            run(bash(&script).current_dir(folder.path()), "").expect(0);
            assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
        }
        std::fs::write(&path, &before).unwrap();
    }
    let hidden = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".part");
    assert_eq!(std::fs::read_dir(&out).unwrap().flatten().filter(hidden).count(), 0);
}

/// Runs a script with a file system of its own on `disk` in `folder`; `None` where that is not allowed.
fn on_small_disk(size: &str, script: &str, folder: &Path, mark: &Mark) -> Option<Output> {
    std::fs::create_dir(folder.join("disk")).unwrap();
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size={size} none disk || exit 77; {script}");
    command.args(["-rm", "bash", "-c", &script]).current_dir(folder);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{0}:{0}/examples:{path}", crate::harness::bin_dir().display()));
    let found = Command::new("unshare").args(["-rm", "true"]).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skipped("no file system can be mounted here");
        return None;
    }
    let done = run(mark.put(&mut command), "");
    if done.code == Some(77) {
        skipped("no file system can be mounted here");
        return None;
    }
    Some(done)
}

#[test]
fn a_sweep_on_a_full_disk_ends_with_what_it_has_and_resumes() {
    let (folder, mark) = (scratch(), Mark::new("disk"));
    write_plan(folder.path(), &plan(8));
    // Room for the plan and its candidates, not for all rows; more room for the second sweep.
    let script = "bench-sweep --quiet plan.yaml --no-preflight --out disk/out; echo first $?; \
                  mount -o remount,size=16m disk; bench-sweep plan.yaml --no-preflight --out disk/out; echo second $?; \
                  cp -r disk/out copy";
    let Some(done) = on_small_disk("44k", script, folder.path(), &mark) else { return };
    let said = format!("{}\n{}", done.stdout, done.stderr);
    assert!(said.contains("first 2") && said.contains("second 0"), "{said}");
    assert!(said.contains("bench-load: cannot write to standard output: No space left on device"), "{said}");
    assert_eq!(ok_units(&folder.path().join("copy")), 4, "{said}");
    mark.gone_within(SOON);
}

#[test]
fn a_start_that_failed_because_the_disk_was_full_is_tried_again() {
    let (folder, mark) = (scratch(), Mark::new("no-room"));
    std::fs::write(folder.path().join("candidates.jsonl"), candidates(&zoo_plan("{}"))).unwrap();
    let fixtures = crate::harness::fixtures();
    let script = format!(
        "head -c 100k /dev/zero > disk/full 2>/dev/null; \
         bench-serve --frameworks '{}' --artifacts disk/logs candidates.jsonl -- true",
        fixtures.display()
    );
    let Some(done) = on_small_disk("8k", &script, folder.path(), &mark) else { return };
    let end = &done.records("server_end")[0];
    assert_eq!(end["failure_class"], "disk_full", "{end:#}");
    assert!(end["failure_reason"].as_str().unwrap().contains("No space left on device"), "{end:#}");
    mark.gone_within(SOON);
}

#[test]
fn a_server_that_died_before_its_lease_was_taken_is_announced() {
    let case = crate::harness::root().join("tests/it/cases/bench-normalize/closed-loop-counts-from-the-sending/stdin");
    let rows = std::fs::read_to_string(case).unwrap();
    let mut server: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    server["endpoint"]["lease"] = "/nowhere/lease".into();
    let end = |status: &str| {
        format!(
            "{{\"schema_version\":1,\"record\":\"server_end\",\"server_id\":\"s1\",\"candidate_id\":\"vllm-1\",\
         \"status\":\"{status}\",\"failure_class\":\"server_died\",\"failure_reason\":\"it was killed\",\"artifacts\":{{}},\
         \"ended_at\":\"2026-01-01T00:00:07Z\"}}\n"
        )
    };
    for (end, code) in [(end("failed"), 0), (end("ok"), 2), (String::new(), 2)] {
        let done = run(&mut program("bench-load"), &format!("{server}\n{end}")).expect(code);
        assert!(done.stderr.contains("is no longer offered"), "{}", done.stderr);
        assert_eq!(done.records("server").len(), 1, "{}", done.stdout);
        // What is read later knows what the end is about.
        let results = run(&mut program("bench-normalize"), &done.stdout).expect(0);
        if code == 0 {
            assert_eq!(results.rows()[0]["failure_class"], "server_died", "{}", results.stdout);
        }
    }
}

#[test]
fn a_client_without_a_server_ends_at_the_first_signal() {
    // Each signal comes in the moment in which the client begins to listen.
    for _ in 0..40 {
        let mut command = program("bench-load");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let listens = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_string();
            (u64::from_str_radix(&caught, 16).ok()? & (1 << 14) != 0).then_some(())
        };
        let end = Instant::now() + SOON;
        while listens().is_none() {
            assert!(Instant::now() < end, "it does not listen for SIGTERM");
        }
        kill(pid(&child), Signal::SIGTERM);
        let mut child = child;
        let input = child.stdin.take();
        assert_eq!(finish(child, SOON).signal, Some(15));
        drop(input);
    }
}

#[test]
fn two_sweeps_never_use_one_gpu_whatever_their_folders() {
    let folder = scratch();
    let gpu =
        |index: u32, uuid: &str| format!("{index}, {uuid}, NVIDIA H100, 4, 81559, 50, 300, 1980, 40, 0x0, 570.1\n");
    std::fs::write(folder.path().join("gpus.csv"), gpu(0, "GPU-a") + &gpu(1, "GPU-b")).unwrap();
    let mark = Mark::new("gpus");
    let serve = |artifacts: &str| {
        let mut command = program("bench-serve");
        command.args(["--gpu-probe-cmd", "cat gpus.csv", "--grace", "1", "--artifacts", artifacts, "--frameworks"]);
        command.arg(crate::harness::fixtures()).current_dir(folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        mark.put(&mut command);
        command
    };
    let plan = |devices: &str| {
        let plan = zoo_plan("{}").replace("gpu_count: 1", &format!("gpu_count: 1, visible_devices: \"{devices}\""));
        candidates(&plan)
    };
    let mut first = serve("a");
    first.args(["--", "sh", "-c", "touch held; while [ ! -e done ]; do sleep 0.05; done"]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut first.stdin.take().unwrap(), plan("0").as_bytes()).unwrap();
    wait_until(Duration::from_secs(20), || folder.path().join("held").exists().then_some(())).expect("it is in use");
    let second = run(serve("b").args(["--", "true"]), &plan("0")).expect(2);
    assert!(
        second.stderr.contains(&format!("GPU 0 is in use by bench-serve (pid {})", first.id())),
        "{}",
        second.stderr
    );
    assert!(second.records("server").is_empty() && second.records("server_end").is_empty(), "{}", second.stdout);
    // Another GPU is free, and so is this one afterwards.
    run(serve("c").args(["--", "true"]), &plan("1")).expect(0);
    std::fs::write(folder.path().join("done"), "").unwrap();
    assert_eq!(finish(first, Duration::from_secs(20)).code, Some(0));
    run(serve("d").args(["--", "true"]), &plan("0")).expect(0);
    mark.gone_within(SOON);
}

/// A number below `n`, from the clock: which kill comes when is different in every run.
fn any(n: u32) -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_micros() % n
}

/// One engine, three candidates, two scenarios, four loads: 24 units, a second or so of measuring.
const MANY: &str = "model: sim\nhardware: {gpu_count: 1}\n\
     dataset: {num_prompts: 4, scenario_names: [chat, sum], input_len: [32, 64], output_len: [10, 12]}\n\
     benchmark: {max_concurrency: [1, 2, 4], request_rates: [50], warmup_requests: 1}\n\
     sla: {max_p99_ttft_ms: 5000, min_success_rate: 1.0}\n\
     frameworks:\n\
     \x20 sim:\n    base_server_flags: {step_base_us: 2000, load_ms: 20, max_num_seqs: 64}\n\
     \x20   search_space: {max_num_seqs: [64, 32, 16]}\n";

/// The status of each unit; a unit that two results have is doubled. A run in which the client fell behind, as on a busy host, ended as
/// it should: its rows are whole, and its result says that the host was too busy.
fn statuses(out: &Path) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    for row in rows_in(&out.join("results.jsonl")) {
        for unit in row["units"].as_array().into_iter().flatten() {
            let ended = row["status"] == "ok" || row["failure_class"] == "client_saturated";
            let status = if ended { "ok".into() } else { row["failure_reason"].clone() };
            let before = found.insert(unit.to_string(), status.to_string());
            assert!(before.is_none(), "{unit} is doubled");
        }
    }
    found
}

/// How a sweep is ended.
#[derive(Debug, Clone, Copy)]
enum SweepEnd {
    /// Any of its programs, or it, is killed.
    AnyKilled,
    /// bench-serve and its guard are killed at once.
    ServeAndGuardKilled,
    /// No file may become longer than so many KiB.
    DiskFull(u32),
    Terminated,
    HungUp,
    /// bench-sweep is killed, with bench-serve and its guard or alone.
    SweepKilled {
        with_others: bool,
    },
}

#[test]
fn random_ends_lose_nothing_and_leave_nothing() {
    use std::os::unix::process::CommandExt;
    let folder = scratch();
    let plan = write_plan(folder.path(), MANY);
    let whole = folder.path().join("whole");
    run(&mut sweep(&plan, &whole), "").expect(0);
    let wanted = statuses(&whole);
    assert_eq!((wanted.len(), wanted.values().all(|status| status == "\"ok\"")), (24, true), "{wanted:#?}");
    for i in 0..times(1, 60) {
        let end = match i % 6 {
            0 => SweepEnd::AnyKilled,
            1 => SweepEnd::ServeAndGuardKilled,
            2 => SweepEnd::DiskFull(8 + any(60)),
            3 => SweepEnd::Terminated,
            4 => SweepEnd::HungUp,
            _ => SweepEnd::SweepKilled { with_others: i % 12 == 5 },
        };
        let (mark, out) = (Mark::new("random"), folder.path().join(format!("out-{i}")));
        let (runtime, temporary) = (scratch(), scratch());
        let limit = if let SweepEnd::DiskFull(kib) = end { kib.to_string() } else { "unlimited".into() };
        let mut command = bash(&format!("trap '' XFSZ; ulimit -f {limit}; exec bench-sweep \"$0\" --out \"$1\""));
        command.arg(&plan).arg(&out).env("XDG_RUNTIME_DIR", runtime.path()).env("TMPDIR", temporary.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = mark.put(&mut command).spawn().unwrap();
        let raw = out.join("raw/0001.jsonl");
        let begun = || std::fs::metadata(&raw).is_ok_and(|file| file.len() > 0);
        wait_until(Duration::from_secs(60), || (begun() || child.try_wait().unwrap().is_some()).then_some(()))
            .expect("the sweep writes rows, or ends");
        std::thread::sleep(Duration::from_millis(u64::from(any(2000))));
        // Whoever it is may have ended by itself.
        let send = |pid: i32, signal| {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        };
        let kill_all = |pids: Vec<i32>| pids.into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
        let serve_and_guard = || [mark.pids("bench-serve"), mark.pids("bench-guard")].concat();
        match end {
            SweepEnd::AnyKilled => {
                let pids = mark.pids("bench-");
                let at = any(u32::try_from(pids.len().max(1)).unwrap()) as usize;
                kill_all(pids.get(at).copied().into_iter().collect());
            }
            SweepEnd::ServeAndGuardKilled => kill_all(serve_and_guard()),
            SweepEnd::DiskFull(_) => {}
            SweepEnd::Terminated => send(-pid(&child), Signal::SIGTERM),
            SweepEnd::HungUp => send(-pid(&child), Signal::SIGHUP),
            SweepEnd::SweepKilled { with_others } => {
                let others = if with_others { serve_and_guard() } else { Vec::new() };
                kill_all([vec![pid(&child)], others].concat());
            }
        }
        finish(child, Duration::from_secs(100));
        // With everyone dead who could stop the server, the next start does.
        if !matches!(end, SweepEnd::SweepKilled { with_others: true }) {
            mark.gone_within(Duration::from_secs(20));
        }
        let mut again = sweep(&plan, &out);
        again.arg("--resume");
        again.env("XDG_RUNTIME_DIR", runtime.path()).env("TMPDIR", temporary.path());
        let last = run(mark.put(&mut again), "");
        assert_eq!(statuses(&out), wanted, "round {i}, {end:?}: {}", last.stderr);
        assert_eq!(last.code, Some(0), "round {i}, {end:?}: {}", last.stderr);
        mark.gone_within(SOON);
        let parts = |path: &Path| std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = parts(runtime.path()).chain(parts(temporary.path())).collect();
        assert!(left.is_empty(), "round {i}, {end:?}: {left:?}");
        let incomplete = parts(&out).filter(|name| name.to_string_lossy().ends_with(".part")).count();
        assert_eq!(incomplete, 0, "round {i}, {end:?}");
    }
}
