//! scripts/sweep-parallel over hosts that only ssh reaches.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{bash, finish, fixtures, root, rows_in, run, scratch, wait_until, write_plan};
use crate::nodes::{PLAN, in_folder, units};

/// Three hosts that only ssh reaches, with names, processes and networks of their own; they end with the test.
struct Hosts<'a>(&'a Path);

impl<'a> Hosts<'a> {
    /// `None`, said aloud, where they cannot be had.
    fn start(folder: &'a Path) -> Option<Self> {
        let needs = "command -v parallel ssh sshd unshare && [ $(id -u) = 0 ] && ip netns add b$$ && ip netns del b$$";
        if run(&mut bash(needs), "").code != Some(0) {
            crate::harness::skipped("it needs GNU parallel, sshd, and network namespaces as root");
            return None;
        }
        let hosts = Self(folder);
        hosts.run("start", "");
        Some(hosts)
    }

    fn run(&self, verb: &str, host: &str) {
        let script = format!("{}/ssh/hosts {verb} {} {host}", fixtures().display(), self.0.display());
        run(&mut bash(&script), "").expect(0);
    }
}

impl Drop for Hosts<'_> {
    fn drop(&mut self) {
        self.run("stop", "");
        let left = format!("pgrep -af '[s]shd.*{}'", self.0.display());
        let gone = || (run(&mut bash(&left), "").code == Some(1)).then_some(());
        assert!(wait_until(Duration::from_secs(5), gone).is_some() || std::thread::panicking(), "an sshd is left");
    }
}

#[test]
#[ignore = "a minute with three sshd"]
fn a_sweep_over_ssh_survives_the_death_of_a_host() {
    let folder = scratch();
    let Some(hosts) = Hosts::start(folder.path()) else { return };
    write_plan(folder.path(), &PLAN.replace("num_prompts: 12", "num_prompts: 40"));
    // On a busy host their speeds would differ, and rows of a slow one complete nothing.
    let sweep = format!(
        "{}/scripts/sweep-parallel plan.yaml --hosts hosts.txt --out out --parts 6 --ssh \"$(cat ssh) -o ConnectTimeout=2 -o ServerAliveInterval=1\" \
               --no-preflight --no-calibration",
        root().display()
    );
    let mut command = bash(&sweep);
    let running = command.current_dir(folder.path()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // It dies while it measures a part.
    let on_h2 = |what: &str| {
        let parts = std::fs::read_dir(folder.path().join("h2/out")).ok()?.flatten();
        parts.map(|part| part.path().join(what)).find(|path| path.exists())
    };
    let begun = wait_until(Duration::from_secs(60), || on_h2("sweep/raw/0001.jsonl")).expect("h2 has a part");
    hosts.run("kill", "h2");
    let lost = begun.ancestors().nth(3).unwrap().file_name().unwrap().to_string_lossy().replace("part-", "");
    let done = finish(running, Duration::from_secs(120));
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains("nothing is left"), "{}", done.stderr);
    let log = std::fs::read_to_string(folder.path().join("out/joblog")).unwrap();
    let of_lost = log.lines().rfind(|line| line.split('\t').next() == Some(&lost)).unwrap();
    let logins = std::fs::read_to_string(folder.path().join("hosts.txt")).unwrap();
    let dead = logins.lines().nth(1).unwrap();
    assert!(!of_lost.contains(&format!("\t{dead}\t")), "part {lost} went to another host: {of_lost}");
    let rows = rows_in(&folder.path().join("out/results.jsonl"));
    let results: Vec<Value> = rows.into_iter().filter(|row| row["record"] == "result").collect();
    assert_eq!(units(&results).into_iter().collect::<BTreeSet<_>>().len(), 8);
    assert!(results.len() == 8 && results.iter().all(|row| row["status"] == "ok"), "{results:#?}");
    // All parts have ended: the same command measures nothing again.
    let before = std::fs::read_to_string(folder.path().join("out/results.jsonl")).unwrap();
    in_folder(folder.path(), &sweep);
    assert_eq!(std::fs::read_to_string(folder.path().join("out/results.jsonl")).unwrap(), before);
}
