//! A night in virtual time: plans of three frameworks, swept in one stage and in two.

#![allow(dead_code, reason = "the benchmark reads more of it than the test")]

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serving_bench::metrics::search::{LoadSearch, SearchRange, advancing};
use serving_bench::metrics::sla::Limits;
use serving_bench::plan::DEFAULT_QPS;
use serving_bench::rows::kinds::Qps;
use serving_bench::rows::words::Arrivals;

use super::law::engine::Engine;
use super::law::virtual_server::VirtualServer;

const SLA: [(&str, f64); 3] = [("max_p99_ttft_ms", 2000.0), ("max_p99_tpot_ms", 50.0), ("min_success_rate", 0.99)];
const QPS: Qps = Qps { lower: 0.25, upper: 8.0, ..DEFAULT_QPS };
const NUM_PROMPTS: u32 = 80;
/// Requests in flight at the closed-loop point of a new plan.
const CLOSED: usize = 16;
const FRAMEWORKS: usize = 3;
const CANDIDATES: usize = 8;
/// Runs of one server differ by up to this share.
const RUNS: f64 = 0.005;
/// Repeats of a finalist in the third stage.
const REPEATS: usize = 2;
/// Rates within this share are tied, as in a ranking of single runs.
pub const TIED: f64 = 0.1;

/// A flag set of a framework.
#[derive(Debug, Clone)]
struct FlagSet {
    framework: usize,
    start_s: f64,
    /// One engine for each scenario: the prompts of the second are longer.
    engines: [Engine; 2],
}

/// A plan on modelled engines.
#[derive(Debug, Clone)]
pub struct NightPlan {
    candidates: Vec<FlagSet>,
    /// Starts of one candidate differ by up to this share.
    noise: f64,
    seed: u64,
}

/// What a sweep found in a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Winner {
    pub candidate: usize,
    pub rate: f64,
}

/// A sweep and its price.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The rate that each candidate was found to sustain, by scenario; 0 if not searched, or without one.
    pub rates: [Vec<f64>; 2],
    /// Virtual time, s.
    pub seconds: f64,
    /// Of that, starts.
    pub starts_s: f64,
    /// Time of each stage.
    pub stages_s: [f64; 3],
    /// Time of the second stage without starts: searches of leaders, of others that were pruned, of others that were not, and runs at
    /// given loads.
    pub searches_s: [f64; 4],
    /// How far each candidate came, by scenario.
    pub reached: [Vec<Reached>; 2],
}

/// How far a candidate came in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It failed at the best load of its framework in the first stage.
    OutAtBar,
    /// It had a load in the first stage, and others of its framework had higher ones.
    Screened,
    /// It was searched, and the search ended at the leader's load.
    Pruned,
    /// It was searched to the end.
    Searched,
}

impl Sweep {
    pub fn winner(&self, scenario: usize) -> Option<Winner> {
        let rates = &self.rates[scenario];
        let best = (0..rates.len()).max_by(|a, b| rates[*a].total_cmp(&rates[*b]).then(b.cmp(a)))?;
        (rates[best] > 0.0).then_some(Winner { candidate: best, rate: rates[best] })
    }
}

fn pick<T: Copy>(rng: &mut Pcg64, values: &[T]) -> T {
    values[rng.random_range(0..values.len())]
}

impl NightPlan {
    /// A plan: three frameworks on one machine, each with a baseline and seven flag sets of three knobs.
    pub fn random(seed: u64) -> Self {
        let mut rng = Pcg64::seed_from_u64(seed);
        let machine = Engine {
            name: "night",
            base: rng.random_range(0.008..0.025),
            per_seq: rng.random_range(0.00005..0.0004),
            prefill: rng.random_range(0.01..0.05),
            slots: pick(&mut rng, &[64, 128, 256]),
            tokens: pick(&mut rng, &[150, 300, 600, 1000]),
        };
        let mut candidates = Vec::new();
        for framework in 0..FRAMEWORKS {
            let mut factor = || rng.random_range(0.85..1.15);
            let (base, per_seq, prefill) = (factor(), factor(), factor());
            let start_s = rng.random_range(120.0..420.0);
            for index in 0..CANDIDATES {
                let baseline = index == 0;
                let mut knob = |values: &[f64]| if baseline { values[0] } else { pick(&mut rng, values) };
                // Number of slots; tokens of a prompt in one step; kernels.
                let (slots, chunk, kernel) =
                    (knob(&[1.0, 0.5, 0.25, 2.0]), knob(&[1.0, 0.8, 1.25]), knob(&[1.0, 0.92, 1.06]));
                let engine = Engine {
                    base: machine.base * base * kernel,
                    per_seq: machine.per_seq * per_seq * (2.0 - chunk).sqrt(),
                    prefill: machine.prefill * prefill * chunk,
                    slots: (machine.slots as f64 * slots) as usize,
                    ..machine
                };
                let long = Engine { prefill: engine.prefill * 6.0, per_seq: engine.per_seq * 1.8, ..engine };
                candidates.push(FlagSet { framework, start_s, engines: [engine, long] });
            }
        }
        let noise = rng.random_range(0.03..0.08);
        Self { candidates, noise, seed }
    }

    pub fn noise(&self) -> f64 {
        self.noise
    }

    fn limits() -> Limits {
        Limits::of(SLA.into_iter())
    }

    /// Starts a candidate: its speed differs from start to start.
    fn start(&self, candidate: usize, scenario: usize, stage: u64) -> VirtualServer {
        let day = self.seed * 1000 + stage * 100 + candidate as u64;
        let mut rng = Pcg64::seed_from_u64(day);
        let engine = self.candidates[candidate].engines[scenario].another_day(self.noise, &mut rng);
        VirtualServer {
            engine,
            limits: Self::limits(),
            num_prompts: NUM_PROMPTS,
            seed: self.seed,
            days: RUNS,
            rng,
            seconds: 0.0,
        }
    }

    /// Time of the closed-loop point, s.
    fn closed(server: &mut VirtualServer) {
        let served = server.engine.closed(CLOSED, NUM_PROMPTS as usize);
        server.seconds += served.iter().map(|one| one.last).fold(0.0, f64::max);
    }

    /// Every candidate is searched fully. On another day its starts differ.
    pub fn one_stage(&self, day: u64) -> Sweep {
        let range = SearchRange::from(QPS);
        let mut rates = [vec![0.0; self.candidates.len()], vec![0.0; self.candidates.len()]];
        let (mut seconds, mut starts_s) = (0.0, 0.0);
        for (i, candidate) in self.candidates.iter().enumerate() {
            starts_s += candidate.start_s;
            for (scenario, rates) in rates.iter_mut().enumerate() {
                let mut server = self.start(i, scenario, day);
                let (start, answer) = server.bursts(range);
                let search = LoadSearch::new(range, &server.limits, start);
                rates[i] = server.search(search, range, answer).max_pass.unwrap_or(0.0);
                Self::closed(&mut server);
                seconds += server.seconds;
            }
        }
        let reached = [vec![Reached::Searched; rates[0].len()], vec![Reached::Searched; rates[1].len()]];
        Sweep {
            rates,
            seconds: seconds + starts_s,
            starts_s,
            stages_s: [0.0, seconds + starts_s, 0.0],
            searches_s: [0.0; 4],
            reached,
        }
    }

    /// A race of every candidate, then a search of those that advance, then repeats of the finalists.
    pub fn two_stages(&self) -> Sweep {
        let range = SearchRange::from(QPS);
        let n = self.candidates.len();
        let mut screened = [vec![None; n], vec![None; n]];
        let mut bars = [[None; FRAMEWORKS]; 2];
        let (mut stages_s, mut starts_s) = ([0.0; 3], 0.0);
        // As the pipe runs them: the baselines of all frameworks first.
        let order =
            (0..CANDIDATES).flat_map(|index| (0..FRAMEWORKS).map(move |framework| framework * CANDIDATES + index));
        for i in order {
            let framework = self.candidates[i].framework;
            starts_s += self.candidates[i].start_s;
            stages_s[0] += self.candidates[i].start_s;
            for scenario in 0..2 {
                let bar: &mut Option<f64> = &mut bars[scenario][framework];
                let mut server = self.start(i, scenario, 1);
                let (start, answer) = match *bar {
                    Some(_) => (None, server.one_burst(range)),
                    None => server.bursts(range),
                };
                let race = LoadSearch::race(range, &server.limits, start, *bar);
                screened[scenario][i] = server.search(race, range, answer).max_pass;
                *bar = [*bar, screened[scenario][i]].into_iter().flatten().reduce(f64::max);
                stages_s[0] += server.seconds;
            }
        }
        let mut rates = [vec![0.0; n], vec![0.0; n]];
        let mut started = vec![false; n];
        let mut searches_s = [0.0; 4];
        let screened_as = |found: &Option<f64>| if found.is_some() { Reached::Screened } else { Reached::OutAtBar };
        let mut reached = [0, 1].map(|scenario: usize| screened[scenario].iter().map(screened_as).collect::<Vec<_>>());
        for framework in 0..FRAMEWORKS {
            let own: Vec<usize> = (0..n).filter(|i| self.candidates[*i].framework == framework).collect();
            for scenario in 0..2 {
                let best: Vec<Option<f64>> = own.iter().map(|i| screened[scenario][*i]).collect();
                let mut incumbent: Option<f64> = None;
                for i in advancing(&best).into_iter().map(|place| own[place]) {
                    started[i] = true;
                    let mut server = self.start(i, scenario, 2);
                    let answer = server.one_burst(range);
                    let search = match incumbent {
                        None => LoadSearch::new(range, &server.limits, screened[scenario][i]),
                        Some(leader) => LoadSearch::challenge(range, &server.limits, leader),
                    };
                    let found = server.search(search, range, answer).max_pass;
                    rates[scenario][i] = found.unwrap_or(0.0);
                    reached[scenario][i] = if found.is_some() { Reached::Searched } else { Reached::Pruned };
                    let kind = match (incumbent, found) {
                        (None, _) => 0,
                        (Some(_), None) => 1,
                        (Some(_), Some(_)) => 2,
                    };
                    searches_s[kind] += server.seconds;
                    incumbent = [incumbent, found].into_iter().flatten().reduce(f64::max);
                    let searched_s = server.seconds;
                    Self::closed(&mut server);
                    searches_s[3] += server.seconds - searched_s;
                    stages_s[1] += server.seconds;
                }
            }
        }
        let again: f64 = (0..n).filter(|i| started[*i]).map(|i| self.candidates[i].start_s).sum();
        starts_s += again;
        stages_s[1] += again;
        let sweep = Sweep { rates, seconds: 0.0, starts_s, stages_s, searches_s, reached };
        let (repeats, more) = self.repeats(&sweep);
        let stages_s = [stages_s[0], stages_s[1], repeats];
        Sweep { seconds: stages_s.iter().sum(), starts_s: starts_s + more, stages_s, ..sweep }
    }

    /// Time of the third stage, and of its starts, s: the best two of each scenario, at their own rates and those of the leader.
    fn repeats(&self, sweep: &Sweep) -> (f64, f64) {
        let mut finalists: Vec<usize> = Vec::new();
        let mut run_s = 0.0;
        for (scenario, rates) in sweep.rates.iter().enumerate() {
            let mut order: Vec<usize> = (0..rates.len()).filter(|i| rates[*i] > 0.0).collect();
            order.sort_by(|a, b| rates[*b].total_cmp(&rates[*a]));
            for i in order.into_iter().take(2) {
                let mut server = self.start(i, scenario, 3);
                Self::closed(&mut server);
                run_s += server.seconds + f64::from(NUM_PROMPTS) / rates[i];
                finalists.push(i);
            }
        }
        finalists.sort_unstable();
        finalists.dedup();
        let starts: f64 = finalists.iter().map(|i| self.candidates[*i].start_s).sum();
        (REPEATS as f64 * (run_s + starts), REPEATS as f64 * starts)
    }

    /// The rate that a candidate sustains without noise, within 1 %.
    pub fn capacity(&self, candidate: usize, scenario: usize) -> f64 {
        let engine = self.candidates[candidate].engines[scenario];
        let limits = Self::limits();
        let holds = |rate: f64| {
            let mut rng = Pcg64::seed_from_u64(7);
            let due = serving_bench::load::schedule::arrivals(Arrivals::Poisson, 20_000, rate, &mut rng);
            let served = engine.open(&due.iter().map(|at| at.seconds()).collect::<Vec<_>>());
            let sample = super::law::virtual_server::sample(&limits, &served[2_000..], &engine, true);
            limits.test(&sample, &|_| None).iter().all(|test| test.passed)
        };
        let (mut low, mut high) = (QPS.lower, QPS.upper);
        while high / low > 1.01 {
            let middle = (low * high).sqrt();
            if holds(middle) { low = middle } else { high = middle }
        }
        low
    }
}

/// What two sweeps of one plan say about a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Agreement {
    pub same: bool,
    /// By how much the staged winner's rate is below that of the winner of the full search, in the full search.
    pub measured: f64,
    /// The same by their true capacities; 0 if they are the same.
    pub truth: f64,
    /// How far the winner of the full search came.
    pub reached: Reached,
}

/// Compares the winners of two sweeps; `None` if the full search has no winner.
pub fn agreement(plan: &NightPlan, full: &Sweep, staged: &Sweep, scenario: usize) -> Option<Agreement> {
    let best = full.winner(scenario)?;
    let reached = staged.reached[scenario][best.candidate];
    let Some(other) = staged.winner(scenario) else {
        return Some(Agreement { same: false, measured: 1.0, truth: 1.0, reached });
    };
    if best.candidate == other.candidate {
        return Some(Agreement { same: true, measured: 0.0, truth: 0.0, reached });
    }
    let measured = 1.0 - full.rates[scenario][other.candidate] / best.rate;
    let truth = 1.0 - plan.capacity(other.candidate, scenario) / plan.capacity(best.candidate, scenario);
    Some(Agreement { same: false, measured, truth, reached })
}
