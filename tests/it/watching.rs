//! Watching a sweep: `--status`, `--stop` and `--on-event` of bench-sweep.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Mark, Output, finish, kill, program, rows_in, run, scratch, wait_until};

const SOON: Duration = Duration::from_secs(5);
/// A run may have to be measured again on a busy host.
const LONG: Duration = Duration::from_secs(60);

/// One engine, three candidates with one load each: a run takes a second.
const PLAN: &str = "\
model: sim
hardware: {gpu_count: 1}
dataset: {num_prompts: 6, scenario_names: [chat], input_len: [32], output_len: [150]}
benchmark: {max_concurrency: [2], warmup_requests: 1}
sla: {max_p99_ttft_ms: 5000}
frameworks:
  sim:
    base_server_flags: {step_base_us: 2000, load_ms: 20}
    search_space: {max_num_seqs: [64, 32]}
";

/// The same with a candidate that does not start: its KV cache has no room for one request.
fn with_a_failure() -> String {
    PLAN.replace("{max_num_seqs: [64, 32]}", "{kv_cache_tokens: [65536, 1]}")
}

/// A sweep of a plan on standard input.
fn start(mark: &Mark, out: &Path, more: &[&str]) -> Child {
    let mut command = program("bench-sweep");
    command.arg("-").arg("--out").arg(out).args(more);
    let command = mark.put(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn give(child: &mut Child, plan: &str) {
    child.stdin.take().unwrap().write_all(plan.as_bytes()).unwrap();
}

fn asked(option: &str, folder: &Path) -> Output {
    run(program("bench-sweep").arg(option).arg(folder), "")
}

/// The lines of `--status`.
fn status(folder: &Path) -> Vec<String> {
    asked("--status", folder).expect(0).stdout.lines().map(String::from).collect()
}

/// Candidates of the framework that are done, failed, skipped and left.
fn tally(lines: &[String]) -> [usize; 4] {
    let line = lines.iter().find(|line| line.starts_with("sim ")).unwrap_or_else(|| panic!("{lines:#?}"));
    let numbers: Vec<usize> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn until(limit: Duration, what: &str, done: impl Fn() -> bool) {
    wait_until(limit, || done().then_some(())).expect(what);
}

/// The rows so far of a sweep that writes them now; the last line may be incomplete.
fn ended_runs(out: &Path) -> usize {
    let text = std::fs::read_to_string(out.join("raw/0001.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"record\":\"run_end\"") && !line.contains("client_saturated")).count()
}

#[test]
fn the_status_says_what_is_done_failed_and_left_while_it_runs_and_after() {
    let (folder, mark) = (scratch(), Mark::new("status"));
    let out = folder.path().join("out");
    let none = asked("--status", folder.path()).expect(2);
    assert!(none.stderr.contains("not the folder of a sweep that has begun"), "{}", none.stderr);
    let mut child = start(&mark, &out, &[]);
    give(&mut child, &with_a_failure());
    until(LONG, "a run ends", || ended_runs(&out) > 0);
    let lines = status(&out);
    assert_eq!(lines[0], format!("{}: running", out.display()));
    let [done, failed, skipped, left] = tally(&lines);
    assert!(done >= 1 && left >= 1 && done + failed + left == 3 && skipped == 0, "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("best so far, chat ")), "{lines:#?}");
    assert!(
        lines.last().unwrap().starts_with("about ") && lines.last().unwrap().contains(" server starts left"),
        "{lines:#?}"
    );
    let ended = finish(child, LONG).expect(0);
    mark.gone_within(SOON);
    let lines = status(&out);
    assert_eq!(lines[0], format!("{}: not running", out.display()));
    assert_eq!(
        (tally(&lines), lines.last().unwrap().as_str()),
        ([2, 1, 0, 0], "nothing left to run"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_sweep_that_is_asked_to_stop_ends_after_its_run_with_a_report() {
    let ways: [fn(&Path); 2] =
        [|out| drop(asked("--stop", out).expect(0)), |out| std::fs::write(out.join("stop"), "").unwrap()];
    for ask in ways {
        let (folder, mark) = (scratch(), Mark::new("stop"));
        let out = folder.path().join("out");
        let mut child = start(&mark, &out, &[]);
        give(&mut child, PLAN);
        until(LONG, "a run begins", || {
            std::fs::read_to_string(out.join("raw/0001.jsonl")).is_ok_and(|text| text.contains("\"record\":\"run\""))
        });
        ask(&out);
        let ended = finish(child, LONG).expect(0);
        mark.gone_within(SOON);
        let rows = rows_in(&out.join("results.jsonl"));
        assert!(rows.iter().any(|row| row["status"] == "ok"), "the run that was going on counts: {}", ended.stderr);
        assert!(rows.iter().all(|row| row["status"] != "failed"), "{rows:#?}");
        let report = std::fs::read_to_string(out.join("report.md")).unwrap();
        assert!(report.lines().next().unwrap().contains("interrupted"), "{report}");
        let [_, _, _, left] = tally(&status(&out));
        assert!(left >= 1, "{}", ended.stderr);
        // The file is of that sweep: the next one runs to its end.
        let mut child = start(&mark, &out, &[]);
        give(&mut child, PLAN);
        finish(child, LONG).expect(0);
        assert_eq!(tally(&status(&out)), [3, 0, 0, 0]);
        let results = rows_in(&out.join("results.jsonl"));
        assert_eq!(results.iter().filter(|row| row["status"] == "ok").count(), 3);
    }
}

#[test]
fn a_stop_before_the_first_server_measures_nothing() {
    let (folder, mark) = (scratch(), Mark::new("early-stop"));
    let out = folder.path().join("out");
    let none = asked("--stop", folder.path()).expect(1);
    assert!(none.stderr.contains("no sweep is running in "), "{}", none.stderr);
    // The plan comes from standard input, so the sweep waits for it.
    let mut child = start(&mark, &out, &[]);
    until(SOON, "bench-validate reads the plan", || !mark.pids("bench-validate").is_empty());
    asked("--stop", &out).expect(0);
    give(&mut child, PLAN);
    let ended = finish(child, LONG).expect(3);
    assert!(ended.stderr.contains("stopped before the first server was started"), "{}", ended.stderr);
    assert!(!out.join("raw/0001.jsonl").exists());
    mark.gone_within(SOON);
}

#[test]
fn a_command_is_told_of_stages_failures_and_the_end() {
    let (folder, mark) = (scratch(), Mark::new("on-event"));
    let (out, told) = (folder.path().join("out"), folder.path().join("told.jsonl"));
    let mut child = start(&mark, &out, &["--on-event", &format!("cat >> {}", told.display())]);
    give(&mut child, &with_a_failure());
    finish(child, LONG).expect(0);
    let rows = rows_in(&told);
    let events: Vec<&str> = rows.iter().filter_map(|row| row["event"].as_str()).collect();
    assert_eq!((events.first(), events.last()), (Some(&"stage"), Some(&"end")), "{rows:#?}");
    let failed: Vec<&Value> = rows.iter().filter(|row| row["event"] == "failure").collect();
    assert!(!failed.is_empty() && failed.iter().all(|row| row["of"]["failure_reason"].is_string()), "{rows:#?}");
    let end = &rows.last().unwrap()["of"];
    assert_eq!((&end["exit_status"], &end["report"]), (&0.into(), &out.join("report.md").display().to_string().into()));
    // A signal is an end, too.
    let (out, told) = (folder.path().join("cut"), folder.path().join("cut.jsonl"));
    let mut child = start(&mark, &out, &["--on-event", &format!("cat >> {}", told.display())]);
    give(&mut child, PLAN);
    until(LONG, "a run ends", || ended_runs(&out) > 0);
    kill(i32::try_from(child.id()).unwrap(), Signal::SIGTERM);
    finish(child, LONG);
    assert_eq!(rows_in(&told).last().unwrap()["event"], "end");
    mark.gone_within(SOON);
}
