//! What bench-load costs and how true it is, against a server with known times and a client that does nothing but read.
//! Figures for people: machines are noisy, so nothing fails here. Each is the median of three runs, with the least and the
//! greatest behind it.
//!
//! `cargo bench --bench load`, or with `-- --quick` once and with less of everything, or `-- NAME…` for some parts only:
//! throughput, requests, paced, many, starts, open, busy, pacer. Where SGLang's Rust client is installed, `BENCH_SGLANG=PYTHON` runs it beside.
//!
//! What one thread and two reach is told twice: by the clock, where the server needs its part of the cores, and per CPU second of the
//! client's busiest thread, which is what it reaches where cores are not short.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and µs far below 2^52"
)]

use std::io::Write;

use children::{BusyCores, Ran, Server};
use other::OtherClient;

#[path = "load/arrivals.rs"]
mod arrivals;
#[path = "load/children.rs"]
mod children;
#[path = "load/floor.rs"]
mod floor;
#[path = "load/other.rs"]
mod other;
#[path = "../tests/fixtures/truth/mod.rs"]
mod truth;

/// How much of everything.
struct Size {
    rounds: usize,
    /// Requests of a throughput run, 64 chunks each.
    requests: usize,
    /// Chunks of each of the thousand paced streams, 50 a second.
    paced: usize,
    /// Streams at once, to see what one costs in memory.
    streams: usize,
    starts: usize,
    /// Requests of an open loop at 300 and at 1,000 a second.
    open: usize,
    fast: usize,
}

const FULL: Size = Size { rounds: 3, requests: 16_000, paced: 250, streams: 5000, starts: 10, open: 3000, fast: 5000 };
const QUICK: Size = Size { rounds: 1, requests: 2_000, paced: 50, streams: 1000, starts: 3, open: 600, fast: 1000 };

fn main() {
    let args: Vec<String> = std::env::args().collect();
    // The server and the floor are this program too, so that each has a CPU time of its own.
    match args.get(1).map(String::as_str) {
        Some("serve") => truth::serve(clap::Parser::parse_from(&args[1..])),
        Some("floor") => floor::run(&args[2..]),
        Some("busy") => loop {
            std::hint::spin_loop();
        },
        _ => {
            let quick = args.iter().any(|arg| arg == "--quick");
            let parts = args[1..].iter().filter(|arg| !arg.starts_with('-')).map(String::as_str).collect();
            all(if quick { &QUICK } else { &FULL }, &parts);
        }
    }
}

fn all(size: &Size, parts: &Vec<&str>) {
    let mut table = Table::default();
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    say(&format!("{} cores, load before: {}", thread_count(), load()));
    for round in 0..size.rounds {
        if wanted("throughput") {
            throughput(&mut table, size, "0");
            throughput(&mut table, size, "1");
        }
        if wanted("requests") {
            requests(&mut table, size);
        }
        if wanted("paced") {
            paced(&mut table, size);
        }
        if wanted("many") {
            many(&mut table, size);
        }
        if wanted("starts") {
            starts(&mut table, size);
        }
        if wanted("open") {
            open(&mut table, size, round);
        }
        if wanted("busy") {
            busy(&mut table, size, round);
        }
        if wanted("pacer") {
            pacer(&mut table, size);
        }
    }
    say(&format!("load after: {}\n", load()));
    table.show();
}

/// 64 in flight, 100 in, 64 out, as fast as both sides can: the floors, one thread and two, and the other client, side by side.
fn throughput(table: &mut Table, size: &Size, burst: &str) {
    let server = Server::start(&["--ttft-ms", "0", "--tpot-ms", "0", "--burst", burst]);
    let requests = size.requests.to_string();
    let floor = |how: &str| children::floor(&server, &["64", &requests, "64", how]);
    let (parsed, hyper) = (floor("sockets"), floor("hyper"));
    let before = server.cpu();
    let load = |threads: &str| {
        let args = ["--concurrency", "64", "--num-prompts", &requests, "--scenario", "s=100:64", "--threads", threads];
        children::load(&server, &args)
    };
    let one = load("1");
    let own = (server.cpu() - before) * 1e6 / one.chunks();
    let two = load("2");
    let other = OtherClient::find().map(|other| other.load(&server, size.requests, 64, &["--max-concurrency", "64"]));
    let name = |what: &str| format!("burst {burst}, 64 in flight: {what}");
    let both = |table: &mut Table, who: &str, ran: &Ran| {
        table.add(name(&format!("{who}: chunks/s")), ran.chunks_per_s(), "");
        table.add(name(&format!("{who}: CPU-s per 1M chunks")), ran.cpu_per_million(), "");
    };
    both(table, "floor of sockets and serde_json", &parsed);
    both(table, "floor of hyper and serde_json", &hyper);
    both(table, "1 thread", &one);
    both(table, "2 threads", &two);
    table.add(name("server: CPU-s per 1M chunks"), own, "");
    let over = |floor: &Ran| one.cpu_per_million() / floor.cpu_per_million();
    table.add(name("CPU over hyper and serde_json"), over(&hyper), "≤ 1.3");
    table.add(name("CPU over sockets and serde_json"), over(&parsed), "");
    table.add(name("2 threads over 1, by the clock"), two.chunks_per_s() / one.chunks_per_s(), "");
    let scale = two.chunks_per_busiest_s() / one.chunks_per_busiest_s();
    // A write for each event keeps the server's only thread busy: the clients wait for it, more often when they are two.
    table.add(name("2 threads over 1, per second of the busiest"), scale, if burst == "0" { "≥ 1.6" } else { "" });
    table.add(name("peak RSS, MB"), one.peak_mb.max(two.peak_mb), "≤ 60");
    table.add(name("requests that failed"), one.failed() + two.failed(), "0");
    if let Some(other) = other {
        both(table, "SGLang's client, 2 threads", &other);
        let best = one.chunks_per_s().max(two.chunks_per_s());
        table.add(name("chunks/s over SGLang's client"), best / other.chunks_per_s(), "≥ 1.4");
    }
}

/// Answers of one chunk, as fast as both sides can.
fn requests(table: &mut Table, size: &Size) {
    let server = Server::start(&["--ttft-ms", "0", "--tpot-ms", "0"]);
    for threads in ["1", "2"] {
        let n = size.requests.to_string();
        let args = ["--concurrency", "64", "--num-prompts", &n, "--scenario", "s=100:1", "--threads", threads];
        let before = server.cpu();
        let load = children::load(&server, &args);
        let name = |what: &str| format!("answers of one chunk, {threads} threads: {what}");
        table.add(name("requests/s"), load.requests_per_s(), "≥ 12000");
        table.add(name("CPU µs per request"), load.cpu_per_million(), "");
        table.add(name("server: CPU µs per request"), (server.cpu() - before) * 1e6 / load.chunks(), "");
    }
}

/// A thousand streams of 50 chunks a second.
fn paced(table: &mut Table, size: &Size) {
    let server = Server::start(&["--ttft-ms", "200", "--tpot-ms", "20"]);
    let scenario = format!("s=100:{}", size.paced);
    let load = children::load(&server, &["--concurrency", "1000", "--num-prompts", "1000", "--scenario", &scenario]);
    let floor = children::floor(&server, &["1000", "1000", &size.paced.to_string(), "sockets"]);
    table.add("1,000 streams at 50/s: floor, serde_json: CPU µs per chunk".into(), floor.cpu_per_million(), "");
    table.add("1,000 streams at 50/s: CPU µs per chunk".into(), load.cpu_per_million(), "≤ 4");
    table.add("1,000 streams at 50/s: requests that failed".into(), load.failed(), "0");
}

/// Thousands of streams at once.
fn many(table: &mut Table, size: &Size) {
    let server = Server::start(&["--ttft-ms", "1000", "--tpot-ms", "100"]);
    let n = size.streams.to_string();
    let load = children::load(&server, &["--concurrency", &n, "--num-prompts", &n, "--scenario", "s=100:50"]);
    let name = |what: &str| format!("{n} streams: {what}");
    table.add(name("peak RSS, MB"), load.peak_mb, "≤ 200 (5000)");
    table.add(name("requests that failed"), load.failed(), "0");
    table.add(name("most in flight, by the server"), arrivals::most_in_flight(&server.rows()), "all");
    table.add(name("p50 TTFT, ms (true 1000)"), arrivals::percentile(&load.ttft_ms(), 50.0), "");
}

/// One request of one token, from the start of the program to its end.
fn starts(table: &mut Table, size: &Size) {
    let server = Server::start(&["--ttft-ms", "0", "--tpot-ms", "0"]);
    let args = ["--concurrency", "1", "--num-prompts", "1", "--scenario", "s=100:1"];
    let walls: Vec<f64> = (0..size.starts).map(|_| children::load(&server, &args).wall_s).collect();
    table.add("start-up: 1 request, 1 token, s".into(), arrivals::percentile(&walls, 50.0), "≤ 0.05");
}

/// An open loop at 300 a second: when requests arrived by the server's clock, and what TTFT was told.
fn open(table: &mut Table, size: &Size, round: usize) {
    let server = Server::start(&["--ttft-ms", "50", "--tpot-ms", "5"]);
    let (n, seed) = (size.open.to_string(), (round + 1).to_string());
    let args = ["--rate", "300", "--num-prompts", &n, "--scenario", "s=100:4", "--seed", &seed];
    let load = children::load(&server, &args);
    let did = arrivals::after_warmup(server.rows());
    let seen = arrivals::Arrivals::of(&did);
    let name = |what: &str| format!("open loop at 300/s: {what}");
    table.add(name("rate seen by the server, /s"), seen.rate(), "300 ± 0.5 %");
    table.add(name("KS against exponential gaps"), seen.ks(300.0), "below the next");
    table.add(name("KS, 5 % critical"), 1.358 / (did.len() as f64).sqrt(), "");
    table.add(name("KS of the schedule itself"), arrivals::Arrivals::due(&load.rows).ks(300.0), "");
    table.add(name("CV of gaps (Poisson 1)"), seen.cv(), "");
    table.add(name("dispersion of counts per 100 ms (Poisson 1)"), seen.dispersion(100_000.0), "");
    table.add(name("lag-1 autocorrelation of gaps"), seen.autocorrelation(), "");
    let errors = arrivals::ttft_errors_ms(&load.rows, &did);
    table.add(name("TTFT error mean, ms"), arrivals::mean(&errors), "≤ 0.2");
    table.add(name("TTFT error p99, ms"), arrivals::percentile(&errors, 99.0), "≤ 0.5");
    let beyond: Vec<f64> = load.ttft_ms().iter().map(|ttft| ttft - 50.0).collect();
    table.add(name("TTFT from due beyond 50 ms, mean, ms"), arrivals::mean(&beyond), "");
    table.add(name("TTFT from due beyond 50 ms, p99, ms"), arrivals::percentile(&beyond, 99.0), "");
    let late: Vec<f64> = did.iter().filter_map(|row| row["late_us"].as_f64()).collect();
    table.add(name("the server's own lateness p99, µs"), arrivals::percentile(&late, 99.0), "");
    table.add(name("requests that failed"), load.failed(), "0");
}

/// An open loop at 300 a second while every core is busy with something else.
fn busy(table: &mut Table, size: &Size, round: usize) {
    let server = Server::start(&["--ttft-ms", "50", "--tpot-ms", "5"]);
    let (n, seed) = (size.open.to_string(), (round + 1).to_string());
    let cores = BusyCores::start(thread_count());
    let args = ["--rate", "300", "--num-prompts", &n, "--scenario", "s=100:4", "--seed", &seed, "--attempts", "1"];
    let load = children::load(&server, &args);
    let did = arrivals::after_warmup(server.rows());
    let name = |what: &str| format!("300/s, a busy process per core: {what}");
    // By both sides' own clocks: what a request and an answer take on their way, and what the client adds.
    let error = |ran: &Ran, did: &[serde_json::Value]| {
        arrivals::mean(&ran.ttft_from_send_ms()) - arrivals::mean(&arrivals::true_ttft_ms(did))
    };
    table.add(name("TTFT error from the send, mean, ms"), error(&load, &did), "≤ SGLang's");
    let seen = arrivals::Arrivals::of(&did);
    table.add(name("rate seen by the server, /s"), seen.rate(), "");
    table.add(name("KS against exponential gaps"), seen.ks(300.0), "");
    drop(server);
    let server = Server::start(&["--ttft-ms", "50", "--tpot-ms", "5"]);
    let other = OtherClient::find().map(|other| other.load(&server, size.open, 4, &["--request-rate", "300"]));
    drop(cores);
    if let Some(other) = other {
        let did = arrivals::after_warmup(server.rows());
        table.add(name("SGLang's client: TTFT error from the send, mean, ms"), error(&other, &did), "");
        let seen = arrivals::Arrivals::of(&did);
        table.add(name("SGLang's client: rate seen by the server, /s"), seen.rate(), "");
        table.add(name("SGLang's client: KS against exponential gaps"), seen.ks(300.0), "");
    }
}

/// How late requests are sent at 1,000 a second.
fn pacer(table: &mut Table, size: &Size) {
    let server = Server::start(&["--ttft-ms", "5", "--tpot-ms", "1"]);
    let n = size.fast.to_string();
    let load = children::load(&server, &["--rate", "1000", "--num-prompts", &n, "--scenario", "s=100:2"]);
    let late = load.late_us();
    table.add("open loop at 1,000/s: sent after due p50, µs".into(), arrivals::percentile(&late, 50.0), "≤ 50");
    table.add("open loop at 1,000/s: sent after due p99, µs".into(), arrivals::percentile(&late, 99.0), "≤ 250");
    table.add("open loop at 1,000/s: requests that failed".into(), load.failed(), "0");
}

/// Figures by name, in the order in which they first came.
#[derive(Default)]
struct Table(Vec<(String, Vec<f64>, &'static str)>);

impl Table {
    fn add(&mut self, name: String, value: f64, target: &'static str) {
        match self.0.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, values, _)) => values.push(value),
            None => self.0.push((name, vec![value], target)),
        }
    }

    fn show(&self) {
        say(&format!("{:60} {:>10}  {:>21}  {}", "", "median", "least .. greatest", "target"));
        for (name, values, target) in &self.0 {
            let at = |q| short(arrivals::percentile(values, q));
            let spread = format!("{} .. {}", at(0.0), at(100.0));
            say(&format!("{name:60} {:>10}  {spread:>21}  {target}", at(50.0)));
        }
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        1000.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn say(line: &str) {
    std::io::stdout().write_all(format!("{}\n", line.trim_end()).as_bytes()).unwrap();
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_string()
}

fn thread_count() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}
