//! Two stages against one, on modelled engines in virtual time: how often both find the same winner, and at what share of the GPU
//! time. The programs decide with the same functions.
//!
//! `cargo bench --bench nights`, or `-- N` for N plans.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at what it did not expect")]
#![allow(dead_code, reason = "the tests use the rest")]

#[path = "../tests/it/law/engine.rs"]
mod engine;
#[path = "../tests/it/law/virtual_server.rs"]
mod virtual_server;
mod law {
    pub(crate) use super::{engine, virtual_server};
}
#[path = "../tests/it/nights/night.rs"]
mod night;

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use night::{Agreement, NightPlan, TIED, agreement};

/// A plan and what its two sweeps say.
struct Night {
    noise: f64,
    share: f64,
    stages: [f64; 3],
    full_s: f64,
    starts: f64,
    agreements: Vec<Agreement>,
}

fn main() {
    let n = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1000);
    let (next, nights) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= n {
                        return;
                    }
                    let night = one(seed);
                    nights.lock().unwrap().push(night);
                }
            });
        }
    });
    let nights = nights.into_inner().unwrap();
    let mut out = std::io::stdout();
    let mut say = |line: String| writeln!(out, "{line}").unwrap();
    let all: Vec<Agreement> = nights.iter().flat_map(|night| night.agreements.clone()).collect();
    let share =
        |holds: &dyn Fn(&Agreement) -> bool| 100.0 * all.iter().filter(|a| holds(a)).count() as f64 / all.len() as f64;
    say(format!("{} plans of 3 frameworks with 8 candidates, {} scenarios with a winner", nights.len(), all.len()));
    say(format!(
        "same winner {:.1} %, same or tied {:.1} % (within {:.0} % in the full search)",
        share(&|a| a.same),
        share(&|a| a.measured <= TIED),
        100.0 * TIED
    ));
    for most in [0.0, 0.02, 0.05, 0.1, 0.15, 0.2] {
        say(format!(
            "  true capacity of the winner at most {:>2.0} % below: {:5.1} %",
            100.0 * most,
            share(&|a| a.truth <= most)
        ));
    }
    let row = |name: &str, values: Vec<f64>| {
        let mut values = values;
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values[((values.len() - 1) as f64 * q).round() as usize];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        format!("{name:<44} {mean:7.2} {:7.2} {:7.2} {:7.2} {:7.2} {:7.2}", at(0.0), at(0.1), at(0.5), at(0.9), at(1.0))
    };
    say(format!("{:<44} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}", "", "mean", "least", "p10", "median", "p90", "most"));
    say(row("GPU time of two stages, share of one", nights.iter().map(|night| night.share).collect()));
    for (i, name) in ["screen", "search", "repeat"].into_iter().enumerate() {
        say(row(&format!("  {name}"), nights.iter().map(|night| night.stages[i]).collect()));
    }
    say(row("  of that starts", nights.iter().map(|night| night.starts).collect()));
    say(row("GPU time of one stage, h", nights.iter().map(|night| night.full_s / 3600.0).collect()));
    say(row("GPU time of two stages, h", nights.iter().map(|night| night.share * night.full_s / 3600.0).collect()));
    let total = |get: fn(&Night) -> f64| nights.iter().map(get).sum::<f64>();
    say(format!(
        "of all plans together {:.1} %",
        100.0 * total(|night| night.share * night.full_s) / total(|night| night.full_s)
    ));
    for (from, to) in [(0.03, 0.05), (0.05, 0.08)] {
        let of: Vec<&Agreement> =
            nights.iter().filter(|n| from <= n.noise && n.noise < to).flat_map(|n| &n.agreements).collect();
        let tied = of.iter().filter(|a| a.measured <= TIED).count();
        say(format!(
            "starts differ by {:.0} to {:.0} %: same or tied {:.1} %",
            100.0 * from,
            100.0 * to,
            100.0 * tied as f64 / of.len().max(1) as f64
        ));
    }
}

fn one(seed: u64) -> Night {
    let plan = NightPlan::random(seed);
    let (full, staged) = (plan.one_stage(), plan.two_stages());
    Night {
        noise: plan.noise(),
        share: staged.seconds / full.seconds,
        stages: staged.stages_s.map(|s| s / full.seconds),
        full_s: full.seconds,
        starts: staged.starts_s / full.seconds,
        agreements: (0..2).filter_map(|scenario| agreement(&plan, &full, &staged, scenario)).collect(),
    }
}
