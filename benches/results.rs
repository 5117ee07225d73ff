//! What it costs to read results: CPU time and memory of bench-normalize and bench-rank, for people: nothing fails here.
//! Each format of bench-rank is compared with Markdown, round by round.
//!
//! `cargo bench --bench results`; with a word behind `--`, only what has it in its name.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

const MILLION: u32 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let native = natives(root, folder.path());
    measure("200 files of other clients", "bench-normalize", &native);
    let results = |n: u32| {
        let path = folder.path().join(format!("{n}.jsonl"));
        write(&path, (0..n).map(result));
        path.display().to_string()
    };
    measure("10,000 result rows ranked", "bench-rank", &[results(10_000)]);
    let many = folder.path().join("many.jsonl");
    write(&many, runs(1000, MILLION / 1000));
    measure("1,000,000 requests of 1,000 runs", "bench-normalize", &[many.display().to_string()]);
    let one = folder.path().join("one.jsonl");
    write(&one, runs(1, MILLION));
    measure("1,000,000 requests of one run", "bench-normalize", &[one.display().to_string()]);
    formats("1,000,000 result rows ranked", &results(MILLION));
}

/// What one run of a program took.
struct ProgramCost {
    /// CPU time, s.
    cpu: f64,
    /// From start to end, s.
    wall: f64,
    /// The most memory that it had, MiB.
    memory: f64,
}

fn wanted(name: &str) -> bool {
    std::env::args().skip(1).find(|argument| !argument.starts_with("--")).is_none_or(|word| name.contains(&word))
}

fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The value in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Every format of bench-rank beside Markdown. A ratio is of two runs one after the other.
fn formats(name: &str, file: &str) {
    const OTHERS: [&str; 4] = ["table", "jsonl", "csv", "html"];
    if !wanted(name) {
        return;
    }
    let mut costs: Vec<(&str, ProgramCost, f64)> = Vec::new();
    for _ in 0..ROUNDS {
        let first = run("bench-rank", &["--format", "md", file]);
        let base = first.wall;
        costs.push(("md", first, 1.0));
        for format in OTHERS {
            let cost = run("bench-rank", &["--format", format, file]);
            let ratio = cost.wall / base;
            costs.push((format, cost, ratio));
        }
    }
    for format in std::iter::once("md").chain(OTHERS) {
        let of = || costs.iter().filter(|(of, ..)| *of == format);
        say(&format!(
            "{name}, {format}: {:.2} times Markdown, {:.2} s from start to end, {:.2} s of CPU, {:.0} MiB",
            median(of().map(|(.., ratio)| *ratio)),
            median(of().map(|(_, cost, _)| cost.wall)),
            median(of().map(|(_, cost, _)| cost.cpu)),
            of().map(|(_, cost, _)| cost.memory).fold(0.0, f64::max),
        ));
    }
}

fn measure(name: &str, program: &str, arguments: &[String]) {
    if !wanted(name) {
        return;
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let costs: Vec<ProgramCost> = (0..ROUNDS).map(|_| run(program, &arguments)).collect();
    say(&format!(
        "{name}: {:.3} s of CPU, {:.3} s from start to end, {:.0} MiB",
        median(costs.iter().map(|cost| cost.cpu)),
        median(costs.iter().map(|cost| cost.wall)),
        costs.iter().map(|cost| cost.memory).fold(0.0, f64::max),
    ));
}

fn run(program: &str, arguments: &[&str]) -> ProgramCost {
    let path = match program {
        "bench-rank" => env!("CARGO_BIN_EXE_bench-rank"),
        _ => env!("CARGO_BIN_EXE_bench-normalize"),
    };
    let (before, begun) = (cpu(), Instant::now());
    let mut command = Command::new(path);
    command.arg("--quiet").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut memory = 0.0;
    let status = loop {
        memory = most_memory(&child).unwrap_or(memory);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(status.code().is_some_and(|code| code < 2), "{program} {arguments:?}: {status}");
    ProgramCost { cpu: cpu() - before, wall: begun.elapsed().as_secs_f64(), memory }
}

/// The most memory that a program has had so far, MiB; `None` once it has ended.
fn most_memory(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// CPU time of all children that have ended, s.
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn write(path: &Path, lines: impl Iterator<Item = String>) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    lines.for_each(|line| writeln!(file, "{line}").unwrap());
    file.flush().unwrap();
}

/// 200 files: those of the tests, again and again.
fn natives(root: &Path, folder: &Path) -> Vec<String> {
    let plain = root.join("tests/fixtures/native/plain");
    let mut files: Vec<_> = fs::read_dir(plain).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json" || e == "jsonl"));
    files.sort();
    let copy = |i: usize| {
        let name = folder.join(format!("{i}.json"));
        fs::copy(&files[i % files.len()], &name).unwrap();
        name.display().to_string()
    };
    (0..200).map(copy).collect()
}

/// The rows of one server with so many runs of so many requests.
fn runs(runs: u32, requests: u32) -> impl Iterator<Item = String> {
    let server = r#"{"schema_version":1,"record":"server","framework":"vllm","candidate_id":"vllm-1","model":"m","hardware":{"gpu_model":"H100","gpu_count":1},"server":{"definition":"vllm","argv":["serve","m","--port","{port}"],"env":{},"files":{},"flags":{},"changed":{},"launcher":[{"name":"local"}]},"server_command":"serve m --port 8000","scenarios":[{"name":"chat","kind":"random","input_len":100,"output_len":10}],"loads":[{"mode":"open","rate":2.0}],"units":[{"key":"u1","scenario":"chat","load":0,"repeat":0}],"benchmark":{"endpoint":"/v1/completions","num_prompts":4,"warmup_requests":1,"seed":1,"ignore_eos":true,"extra_request_body":{"temperature":0}},"sla":{"max_p99_ttft_ms":1500},"search":{"strategy":"baseline_first_bounded_product","index":0,"of":1,"space":1,"baseline":true},"server_id":"s1","endpoint":{"base_url":"http://127.0.0.1:9","model_id":"m","reached_by":"same_host"},"framework_version":"1.2","ready_ms":5.0,"artifacts":{"server_log":"artifacts/s1/server.log"},"started_at":"2026-01-01T00:00:00Z"}"#;
    let one = move |run: u32| {
        let begin = format!(
            r#"{{"schema_version":1,"record":"run","run_id":"s1/{run}","server_id":"s1","unit":"u{run}","workload":{{"scenario":"chat","kind":"random","endpoint":"/v1/completions","input_len":100,"output_len":64,"num_prompts":{requests},"prompt_form":"token_ids","sha256":"w"}},"load":{{"mode":"open","rate":100.0}},"repeat":0,"seed":1,"benchmark_command":"bench-load","client":{{"name":"bench-load","version":"0.1.0"}},"started_at":"2026-01-01T00:00:00Z"}}"#
        );
        let request = move |i: u32| {
            let due = u64::from(i) * 10_000;
            let at = |ms: u64| due + ms * 1000 + u64::from(i % 997);
            format!(
                r#"{{"schema_version":1,"record":"request","run_id":"s1/{run}","i":{i},"phase":"measured","due_us":{due},"sent_us":{},"first_byte_us":{},"first_token_us":{},"last_token_us":{},"end_us":{},"input_tokens":100,"cached_tokens":0,"output_tokens":64,"token_source":"usage","chunks":64,"status":"ok","reused_connection":true,"http_status":200,"finish_reason":"length"}}"#,
                at(0),
                at(30),
                at(50),
                at(700),
                at(701)
            )
        };
        let end = format!(
            r#"{{"schema_version":1,"record":"run_end","run_id":"s1/{run}","status":"ok","duration_s":10.0,"client":{{"saturated":false}},"histograms":{{}},"ended_at":"2026-01-01T00:10:00Z"}}"#
        );
        std::iter::once(begin).chain((0..requests).map(request)).chain(std::iter::once(end))
    };
    std::iter::once(server.to_string()).chain((0..runs).flat_map(one))
}

/// A row as somebody else writes it, 590 bytes.
fn result(i: u32) -> String {
    let (framework, scenario) =
        (["sglang", "vllm", "tensorrt_llm"][i as usize % 3], ["chat", "summarization"][i as usize % 2]);
    let value = |n: u32| f64::from(i.wrapping_mul(2_654_435_761).rotate_left(n) % 10_000) / 100.0;
    format!(
        r#"{{"framework":"{framework}","framework_version":"0.5.1","candidate_id":"{framework}-{i:07}","model":"org/model","status":"{}","failure_reason":null,"hardware":{{"gpu_model":"H100","gpu_count":{}}},"workload":{{"kind":"random","scenario":"{scenario}","input_len":1000,"output_len":1000,"num_prompts":80,"request_rate":{}}},"sla":{{"max_p99_ttft_ms":1500,"max_p99_tpot_ms":50,"passed":{}}},"metrics":{{"request_throughput":{},"output_token_throughput":{},"mean_ttft_ms":{},"p99_ttft_ms":{},"mean_tpot_ms":{},"p99_tpot_ms":{}}},"server_command":"python -m server --flag {i}"}}"#,
        if i % 10 == 9 { "oom" } else { "ok" },
        1 + i % 8,
        i % 16,
        !i.is_multiple_of(4),
        value(1),
        value(2),
        value(3),
        value(4),
        value(5),
        value(6)
    )
}
