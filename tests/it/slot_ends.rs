//! The ends of several servers at the same time: signals, and kill -9 of any of the processes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Mark, Output, bash, candidates, finish, kill, kill_group, program, rows_in, run, scratch, times, wait_until,
    write_plan,
};
use crate::slots::{SOON, plan};

/// Starts the pipe with its rows going to a file, in a group of its own, and waits until two servers are in use.
fn busy(folder: &Path, mark: &Mark) -> Child {
    use std::os::unix::process::CommandExt;
    // Without the baseline, which runs alone.
    let all = candidates(&plan(1, 1000));
    let others: String = all.split_inclusive('\n').filter(|row| !row.contains("\"baseline\":true")).collect();
    std::fs::write(folder.join("candidates.jsonl"), others).unwrap();
    let mut command = bash("bench-serve --slots 0,1 candidates.jsonl | bench-load --jobs 2 >> raw.jsonl");
    let command =
        mark.put(command.current_dir(folder)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.process_group(0).spawn().unwrap();
    let two = || {
        let text = std::fs::read_to_string(folder.join("raw.jsonl")).unwrap_or_default();
        let count = |kind: &str| text.matches(&format!("\"record\":\"{kind}\"")).count();
        (count("server") > count("server_end") + 1 && count("run") > count("run_end") + 1).then_some(())
    };
    wait_until(Duration::from_secs(30), two).expect("two servers are in use");
    child
}

/// What is left after a disturbance: whole rows, and no process; and the rest can be measured.
fn goes_on(folder: &Path, mark: &Mark, done: &Output, what: &str) {
    mark.gone_within(SOON);
    let text = std::fs::read_to_string(folder.join("raw.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "{what}");
    rows_in(&folder.join("raw.jsonl"));
    let results = run(bash("bench-normalize -q raw.jsonl").current_dir(folder), "").expect(0).rows();
    // Runs that were cut off are no results of their candidates.
    let cut = ["interrupted", "server_lost", "incomplete", "client_saturated"];
    for row in &results {
        let class = row["failure_class"].as_str().unwrap_or_default();
        assert!(row["status"] == "ok" || cut.contains(&class), "{what}: {row:#}\n{}", done.stderr);
    }
    assert!(
        results.iter().any(|row| cut.contains(&row["failure_class"].as_str().unwrap_or_default())),
        "{what}: nothing was cut off: {results:#?}\n{}",
        done.stderr
    );
}

#[test]
fn a_signal_ends_all_slots_in_order() {
    for (signal, victim) in [
        (Signal::SIGINT, ""),
        (Signal::SIGTERM, ""),
        (Signal::SIGHUP, ""),
        (Signal::SIGTERM, "bench-serve --slots"),
        (Signal::SIGINT, "bench-load --jobs"),
    ] {
        let (folder, mark) = (scratch(), Mark::new("ends"));
        let child = busy(folder.path(), &mark);
        let what = format!("{signal} to {victim:?}");
        match victim {
            "" => kill_group(child.id(), signal),
            _ => kill(original(&mark, victim), signal),
        }
        let done = finish(child, Duration::from_secs(20));
        goes_on(folder.path(), &mark, &done, &what);
        // Every server that was announced has its end.
        let rows = rows_in(&folder.path().join("raw.jsonl"));
        let count = |kind: &str| rows.iter().filter(|row| row["record"] == kind).count();
        if victim != "bench-load --jobs" {
            assert_eq!(count("server"), count("server_end"), "{what}: {}", done.stderr);
        }
        assert_eq!(count("run"), count("run_end"), "{what}: {}", done.stderr);
    }
}

/// The process that started the copies.
fn original(mark: &Mark, word: &str) -> i32 {
    let line = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let pids = mark.pids(word).into_iter();
    let own = pids.filter(|pid| !line(pid).split(|b| *b == 0).any(|word| word == b"--copy" || word == b"-c"));
    own.into_iter().next().unwrap()
}

/// The processes that it started.
fn copies(mark: &Mark, program: &str) -> Vec<i32> {
    mark.pids(&format!("{program} --copy"))
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn kill_9_of_any_process_leaves_no_other() {
    type Victims = fn(&Mark) -> Vec<i32>;
    let guards = |mark: &Mark| mark.pids("bench-guard");
    let cases: [(&str, Victims); 8] = [
        ("bench-serve", |mark| vec![original(mark, "bench-serve --slots")]),
        ("bench-load", |mark| vec![original(mark, "bench-load --jobs")]),
        ("a slot and its guard", |mark| {
            let slot = copies(mark, "bench-serve")[0];
            let own = mark.pids("bench-guard").into_iter().filter(|pid| parent(*pid) == slot);
            std::iter::once(slot).chain(own).collect()
        }),
        ("a guard", |mark| mark.pids("bench-guard")[..1].to_vec()),
        ("a slot", |mark| copies(mark, "bench-serve")[..1].to_vec()),
        ("a job", |mark| copies(mark, "bench-load")[..1].to_vec()),
        ("all of bench-serve", |mark| {
            [vec![original(mark, "bench-serve --slots")], copies(mark, "bench-serve")].concat()
        }),
        ("all of bench-load", |mark| [vec![original(mark, "bench-load --jobs")], copies(mark, "bench-load")].concat()),
    ];
    for (what, victims) in cases.into_iter().take(times(4, 8) as usize) {
        let (folder, mark) = (scratch(), Mark::new("kills"));
        let child = busy(folder.path(), &mark);
        assert_eq!(guards(&mark).len(), 2, "two servers");
        victims(&mark).into_iter().for_each(|pid| kill(pid, Signal::SIGKILL));
        let done = finish(child, Duration::from_secs(60));
        if what == "a guard" {
            // Its server is gone, and the other slots go on: as without slots.
            mark.gone_within(SOON);
            let rows = rows_in(&folder.path().join("raw.jsonl"));
            let died = rows.iter().filter(|row| row["record"] == "server_end" && row["failure_class"] == "server_died");
            assert_eq!(died.count(), 1, "{}", done.stderr);
            assert_eq!(rows.iter().filter(|row| row["record"] == "server_end").count(), 4);
            continue;
        }
        goes_on(folder.path(), &mark, &done, what);
    }
}

#[test]
fn a_sweep_in_slots_says_what_runs_in_them_and_goes_on_after_its_death() {
    let (folder, mark) = (scratch(), Mark::new("watched"));
    write_plan(folder.path(), &plan(1, 60));
    let sweep = |args: &[&str]| {
        let mut command = program("bench-sweep");
        command.current_dir(folder.path()).args(args);
        mark.put(&mut command);
        command
    };
    let whole = ["plan.yaml", "--out", "out", "--slots", "0,1", "--no-preflight"];
    let mut command = sweep(&whole);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = || {
        let status = run(&mut sweep(&["--status", "out"]), "");
        status.stdout.lines().find(|line| line.contains("; 2: ") || line.contains("; 1: ")).map(String::from)
    };
    let line = wait_until(Duration::from_secs(60), line).expect("two servers at the same time");
    let of = line.strip_prefix("slots 0,1: ").unwrap_or_else(|| panic!("{line}"));
    assert!(of.starts_with("1: sim ") || of.starts_with("2: sim "), "{line}");
    kill(i32::try_from(child.id()).unwrap(), Signal::SIGKILL);
    finish(child, Duration::from_secs(20));
    mark.gone_within(SOON);
    // Again, stopped while only the slots are measured: there is nothing to rank.
    std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    let mut command = sweep(&whole);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_begun = || run(&mut sweep(&["--status", "out"]), "").stdout.contains("slots 0,1: 1: sim").then_some(());
    wait_until(Duration::from_secs(60), is_begun).expect("the slots are checked");
    run(&mut sweep(&["--stop", "out"]), "").expect(0);
    let stopped = finish(child, Duration::from_secs(30)).expect(3);
    assert!(stopped.stderr.contains("stopped before the first candidate was measured"), "{}", stopped.stderr);
    let done = run(&mut sweep(&whole), "").expect(0);
    mark.gone_within(SOON);
    let results = rows_in(&folder.path().join("out/results.jsonl"));
    let ok: Vec<&Value> = results.iter().filter(|row| row["record"] == "result" && row["status"] == "ok").collect();
    let units: BTreeSet<String> = ok.iter().map(|row| row["units"][0].to_string()).collect();
    assert_eq!((ok.len(), units.len()), (5, 5), "{}", done.stderr);
    let check = results.iter().find(|row| row["record"] == "node").unwrap();
    assert_eq!(check["slots"].as_array().unwrap().len(), 1, "{check:#}");
}
