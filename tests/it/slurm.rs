//! scripts/sweep-slurm on a real Slurm: four nodes on this host, simulated engines, tasks that die, one slow node.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Output, bash, fixtures, root, rows_in, run, scratch, wait_until, write_plan};

const CANDIDATES: usize = 32;
/// Time of a step of the baseline, µs: long, so that a busy host adds little to it.
const BASE_US: f64 = 150_000.0;
/// Tokens of an answer: many, so that a request that waits for the step after the one before loses little.
const TOKENS: f64 = 12.0;

/// A cluster that ends with the test.
pub struct Cluster<'a>(&'a Path);

impl<'a> Cluster<'a> {
    /// `None` where it cannot be started: no Slurm, no root, or no network namespaces. With `networks` each node has one.
    pub fn start(folder: &'a Path, networks: &str) -> Option<Self> {
        let needs = "command -v slurmctld slurmd munged && [ $(id -u) = 0 ] && ip netns add b$$ && ip netns del b$$";
        let has = run(&mut bash(needs), "");
        if has.code != Some(0) {
            crate::harness::skipped("it needs slurm-wlm and munge, and network namespaces as root");
            return None;
        }
        let cluster = Self(folder);
        cluster.sh(&format!("{}/slurm/cluster start {} {networks}", fixtures().display(), folder.display()));
        Some(cluster)
    }

    /// Its files.
    pub fn folder(&self) -> &Path {
        self.0
    }

    /// What a script prints whose Slurm this is.
    pub fn sh(&self, script: &str) -> String {
        self.run(script).expect(0).stdout
    }

    fn tries(&self, script: &str) -> bool {
        self.run(script).code == Some(0)
    }

    fn run(&self, script: &str) -> Output {
        let mut command = bash(script);
        command.env("SLURM_CONF", self.0.join("slurm.conf")).current_dir(self.0);
        run(&mut command, "")
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let stop = format!("{}/slurm/cluster stop {}", fixtures().display(), self.0.display());
        run(&mut bash(&stop), "");
    }
}

/// bench-sim whose steps take 8 % longer on node n4.
const SIM: &str = "\
#!/bin/bash
arguments=() next=no
for word in \"$@\"; do
  if [ $next = yes ] && [ \"${SLURMD_NODENAME:-}\" = n4 ]; then word=$((word * 108 / 100)); fi
  case $word in --step-base-us) next=yes ;; *) next=no ;; esac
  arguments+=(\"$word\")
done
exec bench-sim \"${arguments[@]}\"
";

fn plan(folder: &Path) -> String {
    // Each candidate is 2 % slower than the one before.
    let steps: Vec<String> =
        (0..CANDIDATES).map(|i| format!("{:.0}", BASE_US * 1.02_f64.powi(i32::try_from(i).unwrap()))).collect();
    format!(
        "model: sim
dataset: {{num_prompts: 16, scenario_names: [s], input_len: [8], output_len: [{TOKENS}]}}
benchmark: {{max_concurrency: [8]}}
sla: {{max_p99_ttft_ms: 5000}}
search: {{max_candidates_per_framework: 40}}
frameworks:
  sim:
    server_command: {}/sim.sh
    base_server_flags: {{load_ms: 0, step_base_us: {}, max_num_seqs: 16}}
    search_space: {{step_base_us: [{}]}}
",
        folder.display(),
        steps[0],
        steps.join(", ")
    )
}

/// The time of a step and the throughput of each candidate, in the order of the ranking that has most of them.
fn table(folder: &Path, results: &str) -> Vec<(f64, f64)> {
    let ranked = run(bash(&format!("bench-rank -q --format jsonl {results}")).current_dir(folder), "").expect(0).rows();
    let mut groups: Vec<Vec<(f64, f64)>> = Vec::new();
    for row in ranked {
        if row["record"] == "decision" {
            groups.push(Vec::new());
            continue;
        }
        let changed = row["candidate"]["changed"].to_string();
        let digits: String = changed.chars().filter(char::is_ascii_digit).collect();
        let rate = row["metrics"]["request_throughput"].as_f64().unwrap();
        groups.last_mut().unwrap().push((digits.parse().unwrap_or(BASE_US), rate));
    }
    groups.into_iter().max_by_key(Vec::len).unwrap()
}

/// A signal to the programs of this task whose names match; fails if there are none. Slurm sends SIGTERM before the time limit to the
/// script alone.
fn kill_programs(task: &str, signal: &str, names: &str) -> String {
    format!(
        "n=1
         for p in $(grep -lzx SLURM_ARRAY_TASK_ID={task} /proc/[0-9]*/environ 2> /dev/null | cut -d/ -f3); do
           case $(tr '\\0' ' ' < /proc/$p/cmdline 2> /dev/null) in {names}) kill -{signal} $p && n=0 ;; esac
         done
         exit $n"
    )
}

#[test]
#[ignore = "some minutes with a real Slurm"]
fn tasks_that_die_and_a_slow_node_leave_the_table_as_it_is() {
    let folder = scratch();
    let Some(cluster) = Cluster::start(folder.path(), "") else { return };
    write_plan(folder.path(), &plan(folder.path()));
    std::fs::write(folder.path().join("sim.sh"), SIM).unwrap();
    cluster.sh("chmod +x sim.sh");
    // Four at a time; those that come late find nothing left.
    let submitted = cluster.sh(&format!(
        "{}/scripts/sweep-slurm plan.yaml --share out --nodes 32 --no-preflight --claim-timeout 8 -- --exclusive",
        root().display()
    ));
    let job = submitted.split_whitespace().nth(1).unwrap().trim_end_matches(':').to_string();
    let ended = || {
        let claims = std::fs::read_dir(folder.path().join("out/claims")).into_iter().flatten().flatten();
        claims.filter(|claim| claim.path().join("1/ended").exists()).count()
    };
    // A task dies after every second candidate: cancelled, queued again by hand, stopped as before its time limit, or its programs killed.
    let mut died = Vec::new();
    let asked = cluster.sh(&format!("{}/scripts/sweep-slurm --status out || true", root().display()));
    assert!(asked.contains(&format!("{job}_")), "{asked}");
    for kill in 0..8 {
        wait_until(Duration::from_secs(120), || (ended() > 2 * kill + 1).then_some(()))
            .unwrap_or_else(|| panic!("{}", cluster.sh("squeue --array; sinfo; tail -n 40 out/slurm/*.log log/*")));
        // One that is just ending cannot be cancelled: then another.
        let killed = wait_until(Duration::from_secs(60), || {
            let running = cluster.sh(&format!("squeue --noheader --array --jobs {job} --states running --format %i"));
            let running: Vec<&str> = running.lines().collect();
            let task = running.get(kill * 7 % running.len().max(1))?;
            let id = task.rsplit('_').next()?;
            let how = match kill % 4 {
                0 => format!("scancel {task}"),
                1 => format!("scontrol requeue {task}"),
                2 => kill_programs(id, "TERM", "*slurm_script*"),
                _ => kill_programs(id, "KILL", "bench-*|*/bench-*"),
            };
            cluster.tries(&how).then(|| format!("{task}: {how}"))
        });
        died.extend(killed);
    }
    assert_eq!(died.len(), 8, "{died:?} {}", cluster.sh("squeue --array; tail -n 40 out/slurm/*.log log/*"));
    let is_over = || {
        let left = cluster.sh(&format!("squeue --noheader --array --jobs {job} --format %T"));
        left.trim().is_empty().then_some(())
    };
    wait_until(Duration::from_secs(400), is_over)
        .unwrap_or_else(|| panic!("{}", cluster.sh("squeue --array; cat out/slurm/*.log")));
    let report = folder.path().join("out/report.md");
    let has_report = || std::fs::read_to_string(&report).ok().filter(|text| text.contains("Caveats"));
    let report = wait_until(Duration::from_secs(60), has_report)
        .unwrap_or_else(|| panic!("{}", cluster.sh("squeue; tail -n 50 out/slurm/*.log")));
    assert!(report.contains("node n4 is") && report.contains("slower than the others at the fixed load"), "{report}");
    cluster.sh("bench-normalize -q out/nodes/*/raw/*.jsonl > results.jsonl");
    let rows = rows_in(&folder.path().join("results.jsonl"));
    let results: Vec<&Value> = rows.iter().filter(|row| row["record"] == "result").collect();
    let units: BTreeSet<String> = results.iter().map(|row| row["units"][0].to_string()).collect();
    assert_eq!((results.len(), units.len()), (CANDIDATES, CANDIDATES), "no row is lost or doubled");
    assert!(results.iter().all(|row| row["status"] == "ok" && row["hardware"]["node"] != "n4"));
    // The table of a host that nobody disturbs: 8 answers of as many steps as tokens are in flight, so the times of the steps say it all.
    let table = table(folder.path(), "results.jsonl");
    assert_eq!(table.len(), CANDIDATES);
    for (i, (step, rate)) in table.iter().enumerate() {
        let alone = 8.0 / (TOKENS * step / 1e6);
        assert!((rate / alone - 1.0).abs() < 0.1, "step {step}: {rate} instead of {alone}: {table:?}");
        // Throughputs that differ by less than a tie may be in any order.
        assert!(table[i + 1..].iter().all(|(_, later)| *later < rate * 1.1), "{table:?}");
    }
    let left = cluster.sh("bench-expand -q plan.yaml --done results.jsonl");
    assert_eq!(left, "");
    let status = cluster.sh(&format!("{}/scripts/sweep-slurm --status out", root().display()));
    assert!(status.contains("nothing left to run"), "{status}");
}
