//! The server, bench-load and the floor as processes, and what each cost.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use serde_json::Value;

/// How often a program's memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The server with known times; killed when dropped.
pub struct Server {
    child: Child,
    pub url: String,
    folder: tempfile::TempDir,
}

impl Server {
    /// One with these flags, on a free port.
    pub fn start(flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("bench-load-").tempdir().unwrap();
        let mut command = itself("serve");
        command.args(flags).arg("--truth").arg(folder.path().join("truth.jsonl"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: line.trim().into(), folder }
    }

    /// What it did so far, in the order of arrival, without probes.
    pub fn rows(&self) -> Vec<Value> {
        let mut rows = read(&self.folder.path().join("truth.jsonl"));
        rows.retain(|row| row["asked"].as_u64() > Some(1));
        rows.sort_by_key(|row| row["n"].as_u64());
        rows
    }

    /// CPU seconds so far.
    pub fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // After the name, which may hold anything: state is the third field, user and system time the 14th and 15th.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client did and what it cost, its start included.
pub struct Ran {
    pub wall_s: f64,
    pub cpu_s: f64,
    /// CPU seconds of the thread that had most of them.
    pub busiest_s: f64,
    pub peak_mb: f64,
    pub rows: Vec<Value>,
}

/// Processes that do nothing but run, one for each core; killed when dropped.
pub struct BusyCores(Vec<Child>);

impl BusyCores {
    pub fn start(n: usize) -> Self {
        Self((0..n).map(|_| itself("busy").spawn().unwrap()).collect())
    }
}

impl Drop for BusyCores {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// bench-load against the server. The framework is one that keeps connections alive.
pub fn load(server: &Server, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-load"));
    command.args(["--quiet", "--framework", "sim", "--warmup", "1", "--url", &server.url]);
    run(command.args(args), server)
}

/// The client that only reads: streams, requests, tokens of an answer, and `sockets` or `hyper`.
pub fn floor(server: &Server, args: &[&str]) -> Ran {
    run(itself("floor").arg(&server.url).args(args), server)
}

fn itself(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(part);
    command
}

/// Any client: its standard output is its rows.
pub fn run(command: &mut Command, server: &Server) -> Ran {
    let path = server.folder.path().join("rows.jsonl");
    // Only one client runs at a time, and the server is not waited for meanwhile.
    let (before, begun) = (cpu_of_children(), Instant::now());
    let mut child = command.stdin(Stdio::null()).stdout(File::create(&path).unwrap()).spawn().unwrap();
    let watched = format!("/proc/{}", child.id());
    let watch = thread::spawn(move || {
        let (mut peak_mb, mut busiest_s) = (0.0, 0.0f64);
        while let Some(mb) = peak_of(&format!("{watched}/status")) {
            peak_mb = mb;
            busiest_s = busiest_s.max(busiest_of(&format!("{watched}/task")));
            thread::sleep(LOOK);
        }
        (peak_mb, busiest_s)
    });
    let status = child.wait().unwrap();
    let (wall_s, cpu_s) = (begun.elapsed().as_secs_f64(), cpu_of_children() - before);
    assert!(status.success(), "{command:?}: {status}");
    let (peak_mb, busiest_s) = watch.join().unwrap();
    Ran { wall_s, cpu_s, busiest_s, peak_mb, rows: read(&path) }
}

/// CPU seconds of the busiest thread so far.
fn busiest_of(tasks: &str) -> f64 {
    let threads = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let spent = threads.filter_map(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    });
    spent.fold(0.0, f64::max) / 1e9
}

/// Peak RSS, MB; `None` once the process has ended.
fn peak_of(status: &str) -> Option<f64> {
    let text = std::fs::read_to_string(status).ok()?;
    let kb = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kb.trim().trim_end_matches(" kB").parse::<f64>().ok().map(|kb| kb / 1024.0)
}

fn cpu_of_children() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

fn read(path: &PathBuf) -> Vec<Value> {
    BufReader::new(File::open(path).unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

impl Ran {
    fn measured(&self) -> impl Iterator<Item = &Value> {
        self.rows.iter().filter(|row| row["phase"] == "measured")
    }

    /// Chunks that were read.
    pub fn chunks(&self) -> f64 {
        self.rows.iter().filter_map(|row| row["chunks"].as_f64()).sum()
    }

    /// While requests were under way.
    pub fn chunks_per_s(&self) -> f64 {
        let seconds = self.rows.iter().find_map(|row| row["duration_s"].as_f64());
        self.chunks() / seconds.unwrap_or(f64::NAN)
    }

    /// Chunks in a CPU second of the busiest thread: what the client reaches where cores are not short.
    pub fn chunks_per_busiest_s(&self) -> f64 {
        self.chunks() / self.busiest_s
    }

    /// Measured requests in a second of the run.
    pub fn requests_per_s(&self) -> f64 {
        let seconds = self.rows.iter().find_map(|row| row["duration_s"].as_f64());
        self.measured().count() as f64 / seconds.unwrap_or(f64::NAN)
    }

    /// The same figure is µs a chunk.
    pub fn cpu_per_million(&self) -> f64 {
        self.cpu_s * 1e6 / self.chunks()
    }

    /// Measured requests that are no success.
    pub fn failed(&self) -> f64 {
        self.measured().filter(|row| row["status"] != "ok").count() as f64
    }

    /// TTFT of the successes: from the due time, in closed loop from the sending.
    pub fn ttft_ms(&self) -> Vec<f64> {
        let ttft = |row: &Value| {
            let from = row["due_us"].as_f64().or(row["sent_us"].as_f64())?;
            Some((row["first_token_us"].as_f64()? - from) / 1000.0)
        };
        self.measured().filter_map(ttft).collect()
    }

    /// From the sending to the first token, ms.
    pub fn ttft_from_send_ms(&self) -> Vec<f64> {
        let ttft = |row: &Value| Some((row["first_token_us"].as_f64()? - row["sent_us"].as_f64()?) / 1000.0);
        self.measured().filter_map(ttft).collect()
    }

    /// From the due time to the sending.
    pub fn late_us(&self) -> Vec<f64> {
        self.measured().filter_map(|row| Some(row["sent_us"].as_f64()? - row["due_us"].as_f64()?)).collect()
    }
}
