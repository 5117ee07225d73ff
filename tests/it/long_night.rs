//! A long night on a real engine: a hundred candidates, killed ten times and stopped twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

use super::pipeline::with_llama_cpp;
use crate::harness::{Mark, finish, kill, program, rows_in, run, say, wait_until};

/// A hundred candidates whose number of slots decides their throughput.
const PLAN: &str = "\
model: engines/llama-cpp/model/tiny.gguf
hardware: {gpu_count: 0}
dataset: {num_prompts: 64, scenario_names: [s], input_len: [16], output_len: [128]}
benchmark: {max_concurrency: [16], warmup_requests: 2}
search: {max_candidates_per_framework: 100}
frameworks:
  llama_cpp:
    base_server_flags: {parallel: 1, ctx_size: 8192, threads: 1}
    search_space: {parallel: [1, 2, 4, 16], batch_size: [512, 256, 128, 64, 32], ubatch_size: [512, 256, 128, 64, 32]}
";
const CANDIDATES: usize = 100;
const KILLS: usize = 10;
const STOPS: usize = 2;
/// The programs of a sweep; the last one is the sweep itself.
const PROGRAMS: [&str; 3] = ["bench-serve", "bench-load", "bench-sweep"];
/// Memory that a program may have more of in the second half of a night, KiB.
const GROWTH_KIB: u64 = 8 << 10;
/// Time for anything that a sweep does soon.
const SOON: Duration = Duration::from_secs(60);

fn sweep(mark: &Mark, folder: &Path, out: &Path) -> Command {
    let mut command = program("bench-sweep");
    mark.put(command.arg("plan.yaml").arg("--out").arg(out).current_dir(folder));
    command
}

fn done(out: &Path) -> usize {
    let raw = std::fs::read_dir(out.join("raw")).into_iter().flatten().flatten();
    let text: String = raw.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    text.matches("\"record\":\"run_end\"").count()
}

/// The processes with the mark that run `program` themselves.
fn pids(mark: &Mark, program: &str) -> Vec<i32> {
    let is_it =
        |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == program);
    mark.pids(program).into_iter().filter(is_it).collect()
}

fn memory_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// Requests per second of each candidate.
fn throughputs(out: &Path) -> BTreeMap<String, f64> {
    let rows = rows_in(&out.join("results.jsonl")).into_iter();
    rows.filter_map(|row| Some((row["candidate_id"].as_str()?.into(), row["metrics"]["request_throughput"].as_f64()?)))
        .collect()
}

/// The number of slots of a result's candidate; the baseline has one.
fn slots(row: &Value) -> Option<(&str, u64)> {
    Some((row["candidate_id"].as_str()?, row["candidate"]["changed"]["parallel"].as_u64().unwrap_or(1)))
}

fn winner(out: &Path) -> String {
    let ranked = run(program("bench-rank").args(["--format", "jsonl"]).arg(out.join("results.jsonl")), "").expect(0);
    let rows: Vec<Value> = ranked.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let decision = rows.iter().find(|row| row["record"] == "decision").unwrap();
    decision["candidate_id"].as_str().unwrap_or_else(|| panic!("{decision:#}")).into()
}

/// The most memory of each program in each half of a sweep that nobody disturbs, KiB.
fn undisturbed(mark: &Mark, folder: &Path, out: &Path) -> BTreeMap<&'static str, [u64; 2]> {
    let (over, most) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let half = usize::from(done(out) >= CANDIDATES / 2);
                for program in PROGRAMS {
                    let now = pids(mark, program).into_iter().filter_map(memory_kib).max().unwrap_or(0);
                    let mut most = most.lock().unwrap();
                    let of: &mut [u64; 2] = most.entry(program).or_default();
                    of[half] = of[half].max(now);
                }
                thread::sleep(Duration::from_millis(500));
            }
        });
        let child = sweep(mark, folder, out).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let ended = finish(child.unwrap(), Duration::from_secs(3600));
        over.store(true, Ordering::Relaxed);
        ended.expect(0);
    });
    most.into_inner().unwrap()
}

#[test]
#[ignore = "a quarter of an hour with a real engine"]
fn a_night_of_a_hundred_candidates_survives_ten_murders_and_two_stops() {
    let Some(folder) = with_llama_cpp() else { return };
    std::fs::write(folder.path().join("plan.yaml"), PLAN).unwrap();
    let mark = Mark::new("long-night");
    let whole = folder.path().join("whole");
    let begun = Instant::now();
    let memory = undisturbed(&mark, folder.path(), &whole);
    say(&format!("undisturbed: {:.0} s, KiB in both halves: {memory:?}", begun.elapsed().as_secs_f64()));
    mark.gone_within(SOON);
    for (program, [first, second]) in &memory {
        assert!(*second <= first + GROWTH_KIB, "{program}: {first} KiB, then {second} KiB");
    }
    let wanted = throughputs(&whole);
    assert_eq!(wanted.len(), CANDIDATES);

    let out = folder.path().join("out");
    let mut rng = Pcg64::seed_from_u64(7);
    // After how many runs each of them comes.
    let mut ends: Vec<(usize, bool)> =
        (0..KILLS + STOPS).map(|n| (rng.random_range(1..CANDIDATES - 5), n < KILLS)).collect();
    ends.sort_unstable();
    for (runs, is_kill) in ends {
        let child = sweep(&mark, folder.path(), &out)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let runs = runs.max(done(&out) + 1);
        wait_until(Duration::from_secs(1800), || (done(&out) >= runs).then_some(())).expect("it goes on");
        thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        if is_kill {
            let victim = PROGRAMS[rng.random_range(0..PROGRAMS.len())];
            let pid = wait_until(SOON, || pids(&mark, victim).first().copied()).expect("it runs");
            kill(pid, Signal::SIGKILL);
            say(&format!("after {runs} runs: kill -9 {victim}"));
        } else {
            run(program("bench-sweep").arg("--stop").arg(&out), "").expect(0);
            say(&format!("after {runs} runs: --stop"));
        }
        finish(child, SOON);
        mark.gone_within(SOON);
    }
    run(sweep(&mark, folder.path(), &out).stdin(Stdio::null()), "").expect(0);
    // On a busy host a client falls behind now and then: that run is measured again.
    let is_ok = |row: &Value| row["status"] == "ok";
    for _ in 0..3 {
        if !rows_in(&out.join("results.jsonl")).iter().all(is_ok) {
            run(sweep(&mark, folder.path(), &out).args(["--retry", "failed"]).stdin(Stdio::null()), "").expect(0);
        }
    }
    mark.gone_within(SOON);
    let rows = rows_in(&out.join("results.jsonl"));
    let units: Vec<&str> = rows.iter().filter_map(|row| row["units"][0].as_str()).collect();
    assert_eq!((units.len(), units.iter().collect::<BTreeSet<_>>().len()), (CANDIDATES, CANDIDATES));
    assert!(rows.iter().all(is_ok), "{rows:#?}");
    let (first, second) = (winner(&whole), winner(&out));
    let slots: BTreeMap<&str, u64> = rows.iter().filter_map(slots).collect();
    let best =
        |n: u64| wanted.iter().filter(|(id, _)| slots[id.as_str()] == n).map(|(_, rate)| *rate).fold(0.0, f64::max);
    say(&format!("best requests per second with 1, 2, 4 and 16 slots: {:.0?}", [1, 2, 4, 16].map(best)));
    say(&format!(
        "winners: {first} with {:.1} requests per second, {second} with {:.1}",
        wanted[&first], wanted[&second]
    ));
    // Sizes of batches above that of a prompt change nothing: the candidates with 16 slots, a quarter of all, are the same but for noise,
    // which a single run of a second has more of than their difference.
    assert!(best(16) > 1.05 * best(4), "the number of slots decides");
    assert_eq!((slots[first.as_str()], slots[second.as_str()]), (16, 16));
}
