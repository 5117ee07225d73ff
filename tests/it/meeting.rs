//! Clients on several hosts that share a load: they meet over TCP, compare their clocks, and end together.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use serving_bench::system::process::proc::free_port;

use crate::harness::{
    Output, Running, bash, finish, kill, program, read_until, rows_in, run, scratch, wait_until, write_plan,
};

const LIMIT: Duration = Duration::from_secs(40);
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A network of its own with a clock of its own, as another host has; it ends with the test.
struct OtherHost {
    tag: u32,
    /// This host's address there, and its own.
    near: String,
    far: String,
}

/// How far its monotonic clock is ahead of this host's, s.
const AHEAD_S: i64 = 1000;

impl OtherHost {
    /// `None`, said aloud, where it cannot be had.
    fn start() -> Option<Self> {
        let needs =
            "[ $(id -u) = 0 ] && ip netns add m$$ && ip netns del m$$ && unshare -T --monotonic 1000 --fork true";
        if run(&mut bash(needs), "").code != Some(0) {
            crate::harness::skipped("it needs network and time namespaces as root");
            return None;
        }
        let tag = std::process::id() % 60_000;
        let net = format!("10.{}.{}", 230 + tag / 256 % 20, tag % 256);
        let host = Self { tag, near: format!("{net}.1"), far: format!("{net}.2") };
        let (near, far) = (&host.near, &host.far);
        let script = format!(
            "ip netns add m{tag} && ip link add m{tag}a type veth peer name eth0 netns m{tag} && ip addr add {near}/30 dev m{tag}a &&
             ip link set m{tag}a up && ip -n m{tag} addr add {far}/30 dev eth0 && ip -n m{tag} link set eth0 up && ip -n m{tag} link set lo up"
        );
        run(&mut bash(&script), "").expect(0);
        Some(host)
    }

    /// bench-load there.
    fn load(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/m{}", self.tag)).args([
            "unshare",
            "-T",
            "--monotonic",
            &AHEAD_S.to_string(),
        ]);
        command.args(["--fork", "--kill-child"]).arg(crate::harness::bin_dir().join("bench-load"));
        command
    }
}

impl Drop for OtherHost {
    fn drop(&mut self) {
        let script = format!("ip link del m{0}a; ip netns del m{0}", self.tag);
        run(&mut bash(&script), "");
    }
}

fn secret(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// A client of a shared load, started.
fn start(command: &mut Command, shard: &str, meet: &str, secret: &str, load: &[&str]) -> Child {
    let shared = ["--quiet", "--shard", shard, "--meet", meet, "--meet-secret", secret, "--warmup", "1"];
    command.args(shared).args(load).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn measured(rows: &[Value]) -> Vec<&Value> {
    rows.iter().filter(|row| row["record"] == "request" && row["phase"] == "measured").collect()
}

#[test]
fn clients_on_two_hosts_with_other_clocks_begin_together() {
    let Some(other) = OtherHost::start() else { return };
    let folder = scratch();
    let truth = folder.path().join("truth.jsonl");
    let server = Running::truth(&["--host", "0.0.0.0", "--ttft-ms", "5", "--tpot-ms", "1"], &truth);
    let port = server.url.rsplit_once(':').unwrap().1;
    let url = format!("http://{}:{port}", other.near);
    let (meet, secret) = (format!("{}:{}", other.near, free_port().unwrap()), secret(folder.path(), "secret", SECRET));
    let load = ["--url", &url, "--scenario", "s=16:3", "--rate", "20", "--arrivals", "constant", "--num-prompts", "40"];
    // Once more if the programs say that this host was too busy to measure.
    let once = || {
        let before = std::fs::read_to_string(&truth).unwrap_or_default().lines().count();
        let far = start(&mut other.load(), "1/2", &meet, &secret, &load);
        let near = start(&mut program("bench-load"), "0/2", &meet, &secret, &load);
        let (near, far) = (finish(near, LIMIT).expect(0), finish(far, LIMIT).expect(0));
        std::fs::write(folder.path().join("a.jsonl"), &near.stdout).unwrap();
        std::fs::write(folder.path().join("b.jsonl"), &far.stdout).unwrap();
        let results = run(bash("bench-normalize -q a.jsonl b.jsonl").current_dir(folder.path()), "").expect(0).rows();
        let [result] = &results[..] else { panic!("{results:#?}") };
        (near, far, result.clone(), before)
    };
    let is_measured =
        |(_, _, result, _): &(Output, Output, Value, usize)| result["failure_class"] != "client_saturated";
    let (near, far, result, before) = (0..4).map(|_| once()).find(is_measured).unwrap_or_else(once);
    assert_eq!((measured(&near.rows()).len(), measured(&far.rows()).len()), (20, 20));
    // The rows say how the clocks differ, and how well that is known.
    let (first, second) = (&near.records("run")[0], &far.records("run")[0]);
    assert!(first.get("clock").is_none(), "{first:#}");
    let clock = |key: &str| second["clock"][key].as_f64().unwrap_or_else(|| panic!("{second:#}"));
    let uncertainty = clock("uncertainty_ms");
    assert!(uncertainty > 0.0 && uncertainty < 50.0, "{second:#}");
    let error = clock("offset_ms") + (AHEAD_S * 1000) as f64;
    assert!(error.abs() <= uncertainty, "{second:#}");
    // What arrived when at the server, by one clock: a request every 50 ms, from one client and the other in turn.
    let mut due: Vec<(u64, u32)> = Vec::new();
    for (client, rows) in [near.rows(), far.rows()].iter().enumerate() {
        due.extend(measured(rows).iter().map(|row| (row["due_us"].as_u64().unwrap(), u32::try_from(client).unwrap())));
    }
    due.sort_unstable();
    assert!(due.windows(2).all(|pair| pair[0].1 != pair[1].1), "in turn: {due:?}");
    let mut arrived: Vec<u64> = rows_in(&truth)[before..]
        .iter()
        .filter(|row| row["asked"].as_u64() == Some(3))
        .map(|row| row["arrived_us"].as_u64().unwrap())
        .collect();
    arrived.sort_unstable();
    // The first is the warm-up, which is shared too.
    assert_eq!(arrived.len(), 41);
    let late: Vec<i64> =
        arrived[1..].iter().zip(&due).map(|(at, (due, _))| at.cast_signed() - due.cast_signed()).collect();
    let (least, most) = (late.iter().min().unwrap(), late.iter().max().unwrap());
    assert!(most - least < 45_000, "each within its 50 ms: {late:?}");
    // One result of both.
    assert_eq!((&result["status"], &result["run"]["requests"]["ok"]), (&"ok".into(), &40.into()), "{result:#}");
    assert!(!far.stdout.contains(SECRET) && !near.stdout.contains(SECRET));
}

#[test]
fn without_all_clients_there_is_no_run() {
    let folder = scratch();
    let server = Running::sim(&[]);
    let own = secret(folder.path(), "secret", SECRET);
    let load = [
        "--url",
        &server.url,
        "--scenario",
        "s=16:4",
        "--concurrency",
        "2",
        "--num-prompts",
        "8",
        "--meet-timeout",
        "2",
    ];
    let meet = format!("127.0.0.1:{}", free_port().unwrap());
    // Nobody comes; nobody is there.
    let alone = finish(start(&mut program("bench-load"), "0/2", &meet, &own, &load), LIMIT).expect(2);
    assert!(alone.stdout.is_empty(), "{}", alone.stdout);
    assert!(alone.stderr.contains("no client with --shard 1/2 came within 2 s"), "{}", alone.stderr);
    let alone = finish(start(&mut program("bench-load"), "1/2", &meet, &own, &load), LIMIT).expect(2);
    assert!(
        alone.stderr.contains("the first client (--shard 0/2) does not listen there after 2 s"),
        "{}",
        alone.stderr
    );
    // One that does not know the secret is turned away, and named where it is missed.
    let wrong = secret(folder.path(), "wrong", "fedcba9876543210");
    let first = start(&mut program("bench-load"), "0/2", &meet, &own, &load);
    let turned_away = finish(start(&mut program("bench-load"), "1/2", &meet, &wrong, &load), LIMIT).expect(2);
    assert!(turned_away.stderr.contains("it does not know the secret of this meeting"), "{}", turned_away.stderr);
    let first = finish(first, LIMIT).expect(2);
    assert!(
        first.stderr.contains("turned away a client from 127.0.0.1: it does not know the secret"),
        "{}",
        first.stderr
    );
    // Clients that are given different loads do not measure something in between.
    let mut other = load;
    other[5] = "4";
    let first = start(&mut program("bench-load"), "0/2", &meet, &own, &load);
    let second = finish(start(&mut program("bench-load"), "1/2", &meet, &own, &other), LIMIT);
    let first = finish(first, LIMIT).expect(2);
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(
        first.stderr.contains("client 1 of 2 (127.0.0.1) is at ") && first.stderr.contains("give all of them the same"),
        "{}",
        first.stderr
    );
    assert!(first.records("run_end").iter().all(|end| end["failure_class"] == "shards_missing"), "{}", first.stdout);
    for (args, why) in [
        (&["--shard", "0/2"][..], "add --meet HOST:PORT"),
        (&["--meet", "127.0.0.1:1", "--meet-secret", &own], "--shard"),
        (&["--shard", "0/2", "--meet", "127.0.0.1:1"], "--meet-secret"),
    ] {
        let done = run(program("bench-load").args(&load[..8]).args(args), "").expect(2);
        assert!(done.stderr.contains(why), "{}", done.stderr);
    }
}

#[test]
fn a_client_that_dies_ends_the_run_of_the_others() {
    let folder = scratch();
    let server = Running::sim(&["--step-base-us", "20000"]);
    let own = secret(folder.path(), "secret", SECRET);
    let meet = format!("127.0.0.1:{}", free_port().unwrap());
    let load = ["--url", &server.url, "--scenario", "s=16:8", "--concurrency", "4", "--num-prompts", "4000"];
    for (signal, of) in [(Signal::SIGKILL, 1), (Signal::SIGINT, 1), (Signal::SIGKILL, 0)] {
        let mut both: Vec<Child> =
            ["0/2", "1/2"].map(|shard| start(&mut program("bench-load"), shard, &meet, &own, &load)).into();
        for child in &mut both {
            read_until(child, "\"phase\":\"measured\"");
        }
        let killed = both.remove(of);
        kill(i32::try_from(killed.id()).unwrap(), signal);
        let left = finish(both.remove(0), LIMIT);
        finish(killed, LIMIT);
        let name = if of == 1 { "client 1 of 2 (127.0.0.1) has left" } else { "the first client, at 127.0.0.1:" };
        assert!(left.code == Some(2) && left.stderr.matches(name).count() == 1, "{signal} {of}: {}", left.stderr);
        let ends = left.records("run_end");
        assert_eq!(ends.len(), 1, "{ends:#?}");
        assert_eq!((&ends[0]["status"], &ends[0]["failure_class"]), (&"failed".into(), &"shards_missing".into()));
    }
}

#[test]
fn the_server_of_a_pipe_is_kept_until_the_last_client_is_done() {
    let folder = scratch();
    let plan = "model: sim\nhardware: {gpu_count: 1}\ndataset: {num_prompts: 30, scenario_names: [s], input_len: [16], output_len: [4]}\n\
                benchmark: {request_rates: [60], max_concurrency: [3]}\nsla: {max_p90_ttft_ms: 1000}\nframeworks:\n  sim:\n    base_server_flags: {load_ms: 0, step_base_us: 1000}\n    search_space: {max_num_seqs: [8, 16]}\n";
    write_plan(folder.path(), plan);
    secret(folder.path(), "secret", SECRET);
    let meet = format!("--meet 127.0.0.1:{} --meet-secret secret", free_port().unwrap());
    // One lease, that of the first client.
    let script = format!(
        "bench-expand -q plan.yaml | bench-serve -q | tee >(bench-load -q --shard 1/2 {meet} > b.jsonl; touch over) | bench-load -q --shard 0/2 {meet} > a.jsonl"
    );
    run(bash(&script).current_dir(folder.path()), "").expect(0);
    wait_until(LIMIT, || folder.path().join("over").exists().then_some(())).unwrap();
    let done: Output = run(bash("bench-normalize -q a.jsonl b.jsonl").current_dir(folder.path()), "").expect(0);
    let results = done.rows();
    assert_eq!(results.iter().filter(|row| row["record"] == "result").count(), 6, "{}", done.stdout);
    for row in &results {
        // On a busy host a client may say that it did not keep up.
        let is_measured = row["status"] == "ok" || row["failure_class"] == "client_saturated";
        assert!(is_measured && row["run"]["requests"]["ok"] == 30, "{row:#}");
    }
    let (a, b) = (rows_in(&folder.path().join("a.jsonl")), rows_in(&folder.path().join("b.jsonl")));
    assert_eq!((measured(&a).len(), measured(&b).len()), (90, 90));
}
