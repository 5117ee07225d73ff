//! The law of the search: on engines whose capacity is known it finds that capacity, with the defaults of a new plan.
//!
//! The engines run in virtual time. What decides is the code that decides in production: where the search begins
//! (`Pilot`), which load comes next and for how long (`LoadSearch`, `LengthNeed`), when a run is cut short (`Limits::cannot_pass`)
//! and what it says (`ProbeRun::judge`, with its limits and its stability).
//!
//! The true capacity is the highest rate at which the percentiles of very many requests meet the limits. It is below the rate
//! at which the slots are full or the fluid limit of the token times is reached: arrivals are random, and a p99 knows.
//!
//! Not among them are engines whose p99 hardly depends on the rate, as those with fewer than five requests in flight at their
//! capacity and long answers: at 8 slots and 5 s about 70 % of searches end within 10 %, and 90 % within 15 %.
//!
//! Limits of 2000 ms and 50 ms at p99, 200 seeds. The time of all runs of a search:
//!
//! | engine and answer | capacity | runs | median | p95 |
//! |---|---|---|---|---|
//! | 1 slot, 0.2 s | 4.01/s | 11.7 | 11 min | 18 min |
//! | 4 slots, 1 s | 3.08/s | 11.8 | 15 min | 28 min |
//! | 8 slots, 2 s | 3.2/s | 11.2 | 15 min | 26 min |
//! | 16 slots, 5 s | 2.37/s | 10.7 | 20 min | 39 min |
//! | slow tokens, 16 s | 2.31/s | 11.2 | 30 min | 45 min |
//! | slow tokens, 23 s | 5.67/s | 10.4 | 32 min | 48 min |
//! | 32 slots, 23 s | 0.954/s | 7.5 | 71 min | 104 min |
//! | 128 slots, 32 s | 3.29/s | 7.7 | 46 min | 68 min |

pub mod engine;
pub mod virtual_server;

use rand::SeedableRng;
use rand_pcg::Pcg64;
use serving_bench::load::schedule::arrivals;
use serving_bench::metrics::sample::Sample;
use serving_bench::metrics::search::{LoadSearch, ProbeOutcome, ProbeRun, SearchRange};
use serving_bench::metrics::sla::Limits;
use serving_bench::plan::{DEFAULT_QPS, DEFAULT_USERS};
use serving_bench::rows::kinds::{Load, Qps};
use serving_bench::rows::words::Arrivals;

use self::engine::Engine;
use self::virtual_server::{VirtualServer, sample};

/// The limits of a new plan.
const SLA: [(&str, f64); 3] = [("max_p99_ttft_ms", 2000.0), ("max_p99_tpot_ms", 50.0), ("min_success_rate", 0.99)];
/// The number of prompts and the range of a new plan.
const NUM_PROMPTS: u32 = 80;
const QPS: Qps = Qps { lower: 0.25, upper: 8.0, ..DEFAULT_QPS };
/// The speed of one engine differs from day to day by this share.
const DAYS: f64 = 0.005;

/// Engines and their true capacities, requests per second; the test `true_rates` checks them.
#[rustfmt::skip]
const ENGINES: [(Engine, f64); 8] = [
    (Engine { name: "1 slot, 0.2 s", base: 0.02, per_seq: 0.0, prefill: 0.0, slots: 1, tokens: 10 }, 4.01),
    (Engine { name: "4 slots, 1 s", base: 0.025, per_seq: 0.0, prefill: 0.0, slots: 4, tokens: 40 }, 3.08),
    (Engine { name: "8 slots, 2 s", base: 0.02, per_seq: 0.0005, prefill: 0.005, slots: 8, tokens: 80 }, 3.20),
    (Engine { name: "16 slots, 5 s", base: 0.02, per_seq: 0.0003, prefill: 0.01, slots: 16, tokens: 200 }, 2.37),
    (Engine { name: "slow tokens, 16 s", base: 0.02, per_seq: 0.0005, prefill: 0.01, slots: 256, tokens: 400 }, 2.31),
    (Engine { name: "slow tokens, 23 s", base: 0.01, per_seq: 0.0002, prefill: 0.01, slots: 256, tokens: 600 }, 5.67),
    (Engine { name: "32 slots, 23 s", base: 0.02, per_seq: 0.0001, prefill: 0.02, slots: 32, tokens: 1000 }, 0.954),
    (Engine { name: "128 slots, 32 s", base: 0.02, per_seq: 0.0001, prefill: 0.01, slots: 128, tokens: 1000 }, 3.29),
];

fn limits() -> Limits {
    Limits::of(SLA.into_iter())
}

/// A search as bench-load does it, with an engine in place of a server.
fn search(engine: Engine, range: SearchRange, num_prompts: u32, seed: u64, day: u64) -> Searched {
    let mut server = VirtualServer {
        engine,
        limits: limits(),
        num_prompts,
        seed,
        days: DAYS,
        rng: Pcg64::seed_from_u64(day),
        seconds: 0.0,
    };
    let (start, answer) = server.bursts(range);
    let search = LoadSearch::new(range, &limits(), start);
    let ended = server.search(search, range, answer);
    Searched { best: ended.max_pass.unwrap_or(0.0), probes: ended.probes as usize, seconds: server.seconds }
}

/// What a search found.
struct Searched {
    /// The result; 0 without one.
    best: f64,
    probes: usize,
    /// Virtual time, s.
    seconds: f64,
}

#[test]
fn the_defaults_are_those_of_a_new_plan() {
    let plan = include_str!("../../configs/example-plan.yaml");
    for line in ["num_prompts: 80", "qps: {lower: 0.25, upper: 8}", "max_p99_ttft_ms: 2000", "max_p99_tpot_ms: 50"] {
        assert!(plan.contains(line), "{line}");
    }
}

#[test]
#[ignore = "200,000 requests of each engine"]
fn true_rates() {
    for (engine, capacity) in ENGINES {
        for (share, holds) in [(0.98, true), (1.02, false)] {
            let due = arrivals(Arrivals::Poisson, 200_000, share * capacity, &mut Pcg64::seed_from_u64(7));
            let served = engine.open(&due.iter().map(|at| at.seconds()).collect::<Vec<_>>());
            let tests = limits().test(&sample(&limits(), &served[20_000..], &engine, true), &|_| None);
            let passed = tests.iter().all(|test| test.passed);
            assert_eq!(passed, holds, "{} at {share} of {capacity}: {tests:?}", engine.name);
        }
    }
}

/// The number of seeds: all 200 with `scripts/test --all`.
fn seeds() -> u64 {
    crate::harness::times(12, 200).into()
}

fn share(values: &[f64], holds: impl Fn(&f64) -> bool) -> f64 {
    values.iter().filter(|value| holds(value)).count() as f64 / values.len() as f64
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

#[test]
#[allow(clippy::print_stdout, reason = "shown with --nocapture and where it fails")]
fn a_search_finds_the_true_rate_and_two_equal_engines_are_equal() {
    let n = seeds();
    // What a few seeds may differ from many: three standard errors of a share.
    let slack = |share: f64| if n < 200 { 3.0 * (share * (1.0 - share) / n as f64).sqrt() } else { 0.0 };
    let mut broken = Vec::new();
    for (engine, capacity) in ENGINES {
        let run = |seed: u64, day: u64| search(engine, QPS.into(), NUM_PROMPTS, 1000 * seed + 17, 2 * seed + day);
        let one: Vec<Searched> = (0..n).map(|seed| run(seed, 0)).collect();
        let found: Vec<f64> = one.iter().map(|search| search.best / capacity).collect();
        let twins: Vec<f64> = (0..n).map(|seed| run(seed, 1).best / capacity).collect();
        let differ: Vec<f64> = found.iter().zip(&twins).map(|(a, b)| (a - b).abs() / a.min(*b)).collect();
        let (tenth, seventh) = (share(&found, |x| (x - 1.0).abs() <= 0.1), share(&found, |x| (x - 1.0).abs() <= 0.15));
        let worst = found.iter().copied().fold(f64::INFINITY, f64::min);
        let apart = share(&differ, |x| *x > 0.1);
        let mut seconds: Vec<f64> = one.iter().map(|search| search.seconds).collect();
        let said = format!(
            "{}: {:.0} % within 10 %, {:.0} % within 15 %, worst {worst:.2}, median {:.3}, twins apart {:.0} %; {:.1} runs, median {:.0} s, p95 {:.0} s",
            engine.name,
            100.0 * tenth,
            100.0 * seventh,
            quantile(&mut found.clone(), 0.5),
            100.0 * apart,
            one.iter().map(|search| search.probes).sum::<usize>() as f64 / n as f64,
            quantile(&mut seconds, 0.5),
            quantile(&mut seconds, 0.95)
        );
        println!("{said}");
        let holds = tenth >= 0.8 - slack(0.8) && seventh >= 0.95 - slack(0.95);
        if !holds || worst < 0.7 || apart > 0.05 + slack(0.05) {
            broken.push(said);
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The most requests in flight that meet the limits. All begin together, again and again: as many as a step has time for, as are
/// prefilled together in time, and as get a slot in time, wave by wave.
fn most_users(engine: &Engine) -> f64 {
    let Engine { base, per_seq, prefill, tokens, .. } = *engine;
    let slots = engine.slots as f64;
    let by_tokens = Some((0.05 - base) / per_seq).filter(|most| *most < slots);
    let by_prefill = Some((2.0 - base) / (per_seq + prefill)).filter(|most| *most < slots);
    let wave = f64::from(tokens) * (base + per_seq * slots) + prefill * slots;
    let first = base + (per_seq + prefill) * slots;
    let by_slots = slots * (1.0 + ((2.0 - first) / wave).floor().max(0.0));
    [by_tokens, by_prefill].into_iter().flatten().fold(by_slots, f64::min)
}

#[test]
fn a_search_finds_the_most_requests_in_flight() {
    for (engine, _) in ENGINES {
        for seed in 0..4 {
            let found = search(engine, DEFAULT_USERS.into(), NUM_PROMPTS, seed, seed);
            let share = found.best / most_users(&engine);
            assert!((0.93..=1.03).contains(&share), "{}: {} of {}", engine.name, found.best, most_users(&engine));
            assert!(found.probes <= 16, "{}: {}", engine.name, found.probes);
        }
    }
}

/// A server with few slots and long answers, as llama.cpp on a CPU: tokens are as fast as ever, and requests wait.
#[test]
fn a_server_without_free_slots_falls_behind() {
    let engine = Engine { name: "4 slots, 10 s", base: 0.025, per_seq: 0.0, prefill: 0.0, slots: 4, tokens: 400 };
    // Only limits that the wait does not touch.
    let limits = Limits::of([("max_p99_tpot_ms", 50.0)].into_iter());
    let capacity = 0.4;
    for (num_prompts, whole) in [(80, false), (80, true), (20, false), (20, true)] {
        for (times, behind) in [(0.5, false), (1.3, true), (1.6, true), (2.0, true), (3.0, true), (6.0, true)] {
            // 30 requests are too few to tell a load that is a little too high.
            if num_prompts < 80 && behind && times < 3.0 {
                continue;
            }
            let load = Load { rate: Some(times * capacity), ..Load::default() };
            let need = LoadSearch::new(QPS.into(), &limits, Some(times)).next().unwrap().need;
            let length = need.length(num_prompts, None, &load, Some(10.0));
            let mut missed = 0;
            for seed in 0..10 {
                let mut rng = Pcg64::seed_from_u64(seed);
                let due = arrivals(Arrivals::Poisson, length.requests, times * capacity, &mut rng);
                let mut served = engine.open(&due.iter().map(|at| at.seconds()).collect::<Vec<_>>());
                served.iter_mut().filter(|_| whole).for_each(|one| one.first = one.last);
                let mut sample = Sample::default();
                served.iter().for_each(|one| sample.add(&one.row(&engine, true), &limits));
                sample.close();
                let run = ProbeRun {
                    load: &load,
                    length: &length,
                    warm_s: None,
                    sample: &sample,
                    gaps: None,
                    cut: false,
                    client_saturated: false,
                };
                let ProbeOutcome::Judged(evidence) = run.judge(&limits) else { panic!("it says something") };
                missed += u32::from(evidence.fell_behind() != behind);
            }
            assert!(missed <= 3, "{missed} of 10: {times} times the capacity, {length:?}, whole {whole}");
        }
    }
}
