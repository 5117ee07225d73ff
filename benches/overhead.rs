//! What bench-serve adds to a server: from its own start to the `server` row beyond the server's readiness, and the stop of
//! an idle one. Medians and worst of twenty, for people: machines are noisy, so nothing fails here.
//!
//! `cargo bench --profile dev --bench overhead`

#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 20;

fn main() {
    let bin = Path::new(env!("CARGO_BIN_EXE_bench-serve")).parent().unwrap();
    let folder = std::env::temp_dir().join(format!("bench-overhead-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let plan = folder.join("plan.yaml");
    let text = "model: sim\nhardware: {gpu_count: 1}\ndataset: {num_prompts: 1, scenario_names: [s], input_len: [8], output_len: [2]}\n\
                benchmark: {max_concurrency: [1]}\nframeworks:\n  sim:\n    base_server_flags: {load_ms: 0}\n";
    std::fs::write(&plan, text).unwrap();
    let rows = Command::new(bin.join("bench-expand")).args(["--quiet"]).arg(&plan).output().unwrap().stdout;
    let path = std::env::join_paths(
        [bin.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();

    let (mut alone, mut served, mut stopped) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        alone.push(ready_alone(&bin.join("bench-sim")));
        let begun = Instant::now();
        let mut serve = Command::new(bin.join("bench-serve"))
            .env("PATH", &path)
            .arg("--artifacts")
            .arg(folder.join(round.to_string()))
            .args(["--", "true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        serve.stdin.take().unwrap().write_all(&rows).unwrap();
        let mut lines = BufReader::new(serve.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        served.push(begun.elapsed());
        assert!(first.contains("\"record\":\"server\""), "{first}");
        let end: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let at = |name: &str| {
            let stage = end["lifecycle"].as_array().unwrap().iter().find(|stage| stage["state"] == name).unwrap();
            stage["at_ms"].as_f64().unwrap()
        };
        stopped.push(Duration::from_secs_f64((at("released") - at("stopping")) / 1000.0));
        serve.wait().unwrap();
    }
    let beyond: Vec<Duration> =
        served.iter().zip(&alone).map(|(served, alone)| served.saturating_sub(*alone)).collect();
    for (name, times) in [
        ("bench-sim alone, exec to /v1/models", alone),
        ("bench-serve, exec to its server row", served),
        ("the second beyond the first", beyond),
        ("stop of the idle server", stopped),
    ] {
        show(name, times);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

fn show(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let line = format!("{name:38} median {:7.1} ms   worst {:7.1} ms\n", ms(times[ROUNDS / 2]), ms(times[ROUNDS - 1]));
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// From its exec until a simulated server lists its model.
fn ready_alone(sim: &Path) -> Duration {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let begun = Instant::now();
    let mut child = Command::new(sim)
        .args(["--model", "sim", "--load-ms", "0", "--port", &port.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            if line.contains("200") {
                break;
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
    let took = begun.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
}
