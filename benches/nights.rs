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

use night::{Agreement, NightPlan, Reached, TIED, agreement};

/// A plan and what its two sweeps say.
struct Night {
    noise: f64,
    share: f64,
    stages: [f64; 3],
    searches: [f64; 4],
    full_s: f64,
    starts: f64,
    /// Share of the candidates that the bar of their framework stopped, of those that were measured there.
    out: f64,
    agreements: Vec<Agreement>,
    /// A second full search against the first.
    again: Vec<Agreement>,
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
    let again: Vec<Agreement> = nights.iter().flat_map(|night| night.again.clone()).collect();
    let share = |all: &[Agreement], holds: &dyn Fn(&Agreement) -> bool| {
        100.0 * all.iter().filter(|a| holds(a)).count() as f64 / all.len().max(1) as f64
    };
    say(format!("{} plans of 3 frameworks with 8 candidates, {} scenarios with a winner", nights.len(), all.len()));
    say(format!("{:<60} {:>10} {:>11}", "the winner, against that of a full search", "two stages", "full search"));
    let mut line = |name: String, holds: &dyn Fn(&Agreement) -> bool| {
        say(format!("{name:<60} {:8.1} % {:9.1} %", share(&all, holds), share(&again, holds)));
    };
    line("the same".into(), &|a| a.same);
    line(format!("the same or tied, {:.0} % by their true capacities", 100.0 * TIED), &|a| a.truth <= TIED);
    line(format!("the same or tied, {:.0} % by what the full search measured", 100.0 * TIED), &|a| a.measured <= TIED);
    for most in [-0.05, 0.0, 0.02, 0.05, 0.15, 0.2] {
        line(format!("  true capacity at most {:.0} % below", 100.0 * most), &|a| a.truth <= most);
    }
    let lost: Vec<&Agreement> = all.iter().filter(|a| a.truth > TIED).collect();
    for (reached, name) in [
        (Reached::OutAtBar, "out at the bar of the screen"),
        (Reached::Screened, "screened below others"),
        (Reached::Pruned, "pruned by the search"),
        (Reached::Searched, "searched, and found to be slower"),
    ] {
        let n = lost.iter().filter(|a| a.reached == reached).count();
        say(format!("  of {} that are worse, the winner was {name}: {n}", lost.len()));
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
    for (i, name) in ["leaders", "pruned", "not pruned", "runs at given loads"].into_iter().enumerate() {
        say(row(&format!("    search: {name}"), nights.iter().map(|night| night.searches[i]).collect()));
    }
    say(row("  of that starts", nights.iter().map(|night| night.starts).collect()));
    say(row("candidates out at the bar of the screen", nights.iter().map(|night| night.out).collect()));
    say(row("GPU time of one stage, h", nights.iter().map(|night| night.full_s / 3600.0).collect()));
    say(row("GPU time of two stages, h", nights.iter().map(|night| night.share * night.full_s / 3600.0).collect()));
    let total = |get: fn(&Night) -> f64| nights.iter().map(get).sum::<f64>();
    say(format!(
        "of all plans together {:.1} %",
        100.0 * total(|night| night.share * night.full_s) / total(|night| night.full_s)
    ));
    for (from, to) in [(0.03, 0.05), (0.05, 0.08)] {
        let of: Vec<Agreement> =
            nights.iter().filter(|n| from <= n.noise && n.noise < to).flat_map(|n| n.agreements.clone()).collect();
        say(format!(
            "starts differ by {:.0} to {:.0} %: same or tied {:.1} %",
            100.0 * from,
            100.0 * to,
            share(&of, &|a| a.truth <= TIED)
        ));
    }
}

fn one(seed: u64) -> Night {
    let plan = NightPlan::random(seed);
    let (full, staged, again) = (plan.one_stage(0), plan.two_stages(), plan.one_stage(4));
    Night {
        noise: plan.noise(),
        share: staged.seconds / full.seconds,
        stages: staged.stages_s.map(|s| s / full.seconds),
        searches: staged.searches_s.map(|s| s / full.seconds),
        full_s: full.seconds,
        starts: staged.starts_s / full.seconds,
        out: staged.reached.iter().flatten().filter(|reached| **reached == Reached::OutAtBar).count() as f64 / 42.0,
        agreements: (0..2).filter_map(|scenario| agreement(&plan, &full, &staged, scenario)).collect(),
        again: (0..2).filter_map(|scenario| agreement(&plan, &full, &again, scenario)).collect(),
    }
}
