//! `--fit` on random plans: sweeps of bench-sim that really run, on a scaled clock: starts and runs of seconds stand for those of minutes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;
use serving_bench::engines::framework::Frameworks;
use serving_bench::metrics::search::BEST;
use serving_bench::plan::expand::{Estimator, expand, likely_stages, round_robin};
use serving_bench::plan::{self, CheckContext};

use crate::harness::{program, rows_in, run, say, scratch, write_plan};

/// Likely times of the plans, s: the sweeps have a third to four fifths of it.
const LIKELY_S: std::ops::Range<f64> = 60.0..110.0;
/// Sweeps at once: they mostly sleep.
const AT_ONCE: usize = 3;
/// A sweep may take longer than it was asked to by this share.
const OVER: f64 = 0.1;

/// A plan with random frameworks, candidates, scenarios, loads and start times, and its likely time, s; `None` if that is not in the range.
fn random_plan(seed: u64) -> Option<(String, f64)> {
    let mut rng = Pcg64::seed_from_u64(seed);
    let scenarios = rng.random_range(1..=2);
    let tokens: Vec<u32> = (0..scenarios).map(|_| rng.random_range(10..60)).collect();
    let base_us = rng.random_range(3_000..12_000);
    // Answers take between a third and nine tenths of what the SLA allows.
    let limit_ms = f64::from(*tokens.iter().max()? * base_us) / 1000.0 / rng.random_range(0.35..0.9);
    let loads = [
        "max_concurrency: [null], qps: {lower: 2, upper: 32}",
        "max_concurrency: [null, 2], qps: {lower: 2, upper: 64}",
        "max_concurrency: [1, 4]",
        "max_concurrency: [null, 1, 4], concurrency: {lower: 1, upper: 32}",
    ];
    let with = loads[rng.random_range(0..loads.len())];
    let stages = rng.random_range(1..=2);
    let names = ["a", "b", "c", "d", "e", "f"];
    let mut text = format!(
        "model: sim\nhardware: {{gpu_count: 1}}\n\
         dataset: {{num_prompts: {}, scenario_names: [{}], input_len: [{}], output_len: [{}]}}\n\
         benchmark: {{{with}, warmup_requests: 1, repeats: {}}}\nsla: {{max_p90_e2e_ms: {limit_ms:.0}}}\n\
         search: {{stages: {stages}, strategy: one_at_a_time}}\nframeworks:\n",
        rng.random_range(10..40),
        names[..scenarios].join(", "),
        vec!["16"; scenarios].join(", "),
        tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        if stages == 1 { rng.random_range(1..=2) } else { 1 },
    );
    for name in &names[..rng.random_range(1..=4)] {
        let (load_ms, slots) = (rng.random_range(100..1200), rng.random_range(4..16));
        let _ = write!(
            text,
            "  {}:\n    definition: sim\n    base_server_flags: {{load_ms: {load_ms}, step_base_us: {base_us}, max_num_seqs: {slots}}}\n    \
             search_space:\n      max_num_seqs: [2, 3, {}]\n      load_ms: [{}, {}]\n      step_base_us: [{}]\n",
            name,
            2 * slots,
            load_ms / 2,
            load_ms * 3 / 2,
            (f64::from(base_us) * rng.random_range(0.7..1.5)) as u32,
        );
    }
    let frameworks = Frameworks::load(&[], &[]).unwrap();
    let value: Value = serving_bench::base::yaml::typed(&text, "plan.yaml").unwrap();
    let (found, plan) = plan::load(&value, &CheckContext::only(&frameworks));
    let plan = plan.unwrap_or_else(|| panic!("{found:?}\n{text}"));
    let candidates = round_robin(expand(&plan, &frameworks).unwrap());
    let likely = match stages {
        1 => Estimator::default().estimate(candidates.iter(), &frameworks),
        _ => Estimator::default().estimate_stages(&likely_stages(&candidates, BEST), &candidates, &frameworks),
    };
    LIKELY_S.contains(&likely.likely_s()).then_some((text, likely.likely_s()))
}

/// What a sweep took of its time.
struct FittedSweep {
    seed: u64,
    asked_s: f64,
    taken_s: f64,
    /// Candidates that ran.
    ran: usize,
    /// Candidates that did not fit.
    left_out: usize,
    text: String,
}

fn sweep(seed: u64, plan: &str, asked_s: f64) -> FittedSweep {
    let folder = scratch();
    let (plan_file, out) = (write_plan(folder.path(), plan), folder.path().join("out"));
    let begun = Instant::now();
    let mut command = program("bench-sweep");
    command.arg(&plan_file).arg("--out").arg(&out).arg("--fit").arg(format!("{asked_s:.1}s")).arg("--no-preflight");
    let ended = run(&mut command, "");
    let taken_s = begun.elapsed().as_secs_f64();
    assert!(matches!(ended.code, Some(0 | 1)), "{seed}: {ended:?}\n{plan}");
    let rows = rows_in(&out.join("results.jsonl"));
    let left_out = rows.iter().filter(|row| row["failure_class"] == "budget").count();
    let measured = rows.iter().filter(|row| row["status"] == "ok").filter_map(|row| row["candidate_id"].as_str());
    let ran = measured.collect::<BTreeSet<_>>().len();
    FittedSweep { seed, asked_s, taken_s, ran, left_out, text: ended.stderr }
}

/// How many sweeps there are, and the first of them: `BENCH_FIT=50,0`.
fn asked() -> (u64, u64) {
    let text = std::env::var("BENCH_FIT").unwrap_or_else(|_| "50".into());
    let (n, from) = text.split_once(',').unwrap_or((&text, "0"));
    (n.parse().unwrap(), from.parse().unwrap())
}

#[test]
#[ignore = "takes half an hour: BENCH_FIT=50 cargo test --test it -- fifty_random_plans --ignored --nocapture"]
fn fifty_random_plans_end_in_the_time_that_they_have() {
    let (n, from) = asked();
    let plans: Vec<(u64, String, f64)> = (from..)
        .filter_map(|seed| random_plan(seed).map(|(text, likely)| (seed, text, likely)))
        .take(n as usize)
        .collect();
    let (next, sweeps) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((seed, text, likely)) = plans.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let share = Pcg64::seed_from_u64(!seed).random_range(0.3..0.8);
                    let done = sweep(*seed, text, share * likely);
                    let FittedSweep { asked_s, taken_s, left_out, .. } = &done;
                    let of = taken_s / asked_s;
                    say(&format!("plan {seed:3}: asked {asked_s:5.1} s, likely {likely:5.1} s, took {taken_s:5.1} s ({of:.3}), {left_out} left out"));
                    sweeps.lock().unwrap().push(done);
                }
            });
        }
    });
    let sweeps = sweeps.into_inner().unwrap();
    let share = |sweep: &FittedSweep| sweep.taken_s / sweep.asked_s;
    let mut shares: Vec<f64> = sweeps.iter().map(share).collect();
    shares.sort_by(f64::total_cmp);
    let at = |q: f64| shares[((shares.len() - 1) as f64 * q).round() as usize];
    say(&format!(
        "taken of asked: least {:.3}, p10 {:.3}, median {:.3}, p90 {:.3}, most {:.3}",
        at(0.0),
        at(0.1),
        at(0.5),
        at(0.9),
        at(1.0)
    ));
    let cut: Vec<&FittedSweep> = sweeps.iter().filter(|sweep| sweep.left_out > 0).collect();
    say(&format!("{} of {} left something out", cut.len(), sweeps.len()));
    for sweep in &sweeps {
        assert!(share(sweep) <= 1.0 + OVER, "plan {} took {:.3} of its time\n{}", sweep.seed, share(sweep), sweep.text);
    }
    for sweep in cut {
        // What is left over is too short for one candidate more.
        let of_one = sweep.taken_s / sweep.ran as f64;
        assert!(
            share(sweep) >= 1.0 - OVER || sweep.asked_s - sweep.taken_s < of_one,
            "plan {} left time unused: {:.3}\n{}",
            sweep.seed,
            share(sweep),
            sweep.text
        );
    }
}
