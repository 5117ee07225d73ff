//! What it costs to validate and expand the 50 plans of the cookbook: CPU time of both programs, for people: nothing fails here.
//!
//! `cargo bench --bench plans`

#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

const ROUNDS: usize = 20;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let plans = root.join("configs/cookbook-llm");
    let help = root.join("tests/fixtures/help");
    let (mut plain, mut checked) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(round(&plans, &[]));
        checked.push(round(&plans, &["--help-dir", help.to_str().unwrap()]));
    }
    for (name, mut times) in [("50 plans", plain), ("50 plans against captured help", checked)] {
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (cpu, wall) = times[ROUNDS / 2];
        let worst = times[ROUNDS - 1].0;
        let line = format!(
            "{name}: {:.0} ms of CPU (worst {:.0}), {:.0} ms from start to end\n",
            cpu * 1e3,
            worst * 1e3,
            wall * 1e3
        );
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

/// CPU and wall time, s, of `bench-validate PLANS | bench-expand`.
fn round(plans: &Path, more: &[&str]) -> (f64, f64) {
    let before = cpu_s();
    let begun = Instant::now();
    let mut validate = Command::new(env!("CARGO_BIN_EXE_bench-validate"))
        .args(["--quiet", "--format", "jsonl"])
        .args(more)
        .arg(plans)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let rows = validate.stdout.take().unwrap();
    let expanded = Command::new(env!("CARGO_BIN_EXE_bench-expand")).arg("--quiet").stdin(rows).output().unwrap();
    assert!(validate.wait().unwrap().success() && expanded.status.success());
    assert!(expanded.stdout.iter().filter(|byte| **byte == b'\n').count() > 1000);
    (cpu_s() - before, begun.elapsed().as_secs_f64())
}

/// CPU time of all children that have ended, s.
fn cpu_s() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
