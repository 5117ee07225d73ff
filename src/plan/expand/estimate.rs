//! Estimates how long a search takes, before anything is started. The speed of the servers is unknown, so it assumes that
//! every answer is as slow as the SLA allows.

use std::fmt;

use crate::engines::framework::Frameworks;
use crate::metrics::rate_search::{ProbeOutcome, RateSearch};
use crate::metrics::sla;
use crate::rows::kinds::{Benchmark, Candidate, Load, LoadMode, Members, Qps, Scenario};

/// Assumed time to first token without a limit, ms.
const TTFT_MS: f64 = 1000.0;
/// Assumed time per output token without a limit, ms.
const TPOT_MS: f64 = 30.0;
/// Assumed number of requests of a burst that a server processes concurrently.
const BURST: f64 = 64.0;

/// The time that a list of candidates takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Number of server starts.
    pub starts: usize,
    /// Time until they are ready, in all, s.
    pub start_s: f64,
    /// Number of rate searches.
    pub searches: usize,
    /// Number of probes of all searches.
    pub probes: usize,
    /// Number of other runs.
    pub runs: usize,
    /// Time under load, in all, s.
    pub load_s: f64,
}

impl Estimate {
    /// Total time, h.
    #[must_use]
    pub fn hours(&self) -> f64 {
        (self.start_s + self.load_s) / 3600.0
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let time = |s: f64| match s {
            s if s < 5400.0 => format!("{:.0} min", (s / 60.0).ceil()),
            s => format!("{:.1} h", s / 3600.0),
        };
        let some = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let starts = some(self.starts, "server start", "server starts");
        let total = time(self.start_s + self.load_s);
        write!(
            f,
            "at most {total} (assumes every answer is as slow as the SLA allows): {starts} ({})",
            time(self.start_s)
        )?;
        if self.searches > 0 {
            let searches = some(self.searches, "rate search", "rate searches");
            write!(f, ", {searches} of {} probes", self.probes / self.searches)?;
        }
        if self.runs > 0 {
            write!(f, ", {}", some(self.runs, "run", "runs"))?;
        }
        write!(f, " ({} of load)", time(self.load_s))
    }
}

/// The time that the remaining units of these candidates take.
#[must_use]
pub fn estimate<'a>(candidates: impl Iterator<Item = &'a Candidate>, frameworks: &Frameworks) -> Estimate {
    let mut all = Estimate::default();
    // All candidates of a plan have the same rate searches.
    let mut known: Vec<(Qps, Vec<f64>)> = Vec::new();
    for candidate in candidates.filter(|c| c.status.is_none() && !c.units.is_empty()) {
        all.starts += 1;
        let usual = frameworks.get(&candidate.server.definition).map_or(0, |framework| framework.probe.usual_ready_s);
        all.start_s += usual as f64;
        let answer = |s: &Scenario| (s.name.clone(), answer_s(&sla::of_scenario(&candidate.sla, &s.name), s));
        let answers: Vec<(String, f64)> = candidate.scenarios.iter().map(answer).collect();
        for unit in &candidate.units {
            let answer = answers.iter().find(|(name, _)| *name == unit.scenario);
            let (Some((_, answer)), Some(load)) = (answer, candidate.loads.get(unit.load)) else { continue };
            let answer = *answer;
            let bench = &candidate.benchmark;
            all.load_s += f64::from(bench.warmup_requests) * answer;
            match &load.qps {
                Some(qps) => {
                    let at = known.iter().position(|(other, _)| other == qps).unwrap_or_else(|| {
                        known.push((*qps, probes(qps)));
                        known.len() - 1
                    });
                    let rates = &known[at].1;
                    all.searches += 1;
                    all.probes += rates.len();
                    all.load_s += rates.iter().map(|rate| open_s(*rate, bench, answer)).sum::<f64>();
                }
                None => {
                    all.runs += 1;
                    all.load_s += run_s(load, bench, answer);
                }
            }
        }
    }
    all
}

/// Time of one answer, by the tightest limits, s.
fn answer_s(sla: &Members, scenario: &Scenario) -> f64 {
    let limit = |metric: &str| {
        let end = format!("_{metric}_ms");
        let own = sla.iter().filter(|(key, _)| key.starts_with("max_") && key.ends_with(&end));
        own.filter_map(|(_, value)| value.as_f64()).min_by(f64::total_cmp)
    };
    let tokens =
        scenario.dataset.as_ref().map_or(f64::from(scenario.output_len), |_| f64::from(scenario.output_len).max(256.0));
    let whole = limit("ttft").unwrap_or(TTFT_MS) + limit("tpot").unwrap_or(TPOT_MS) * tokens;
    limit("e2e").unwrap_or(f64::INFINITY).min(whole) / 1000.0
}

fn requests(rate: f64, bench: &Benchmark) -> f64 {
    f64::from(bench.num_prompts).max(rate * bench.duration_s.unwrap_or(0.0))
}

fn open_s(rate: f64, bench: &Benchmark, answer: f64) -> f64 {
    requests(rate, bench) / rate + answer + bench.warmup_s.unwrap_or(0.0)
}

fn run_s(load: &Load, bench: &Benchmark, answer: f64) -> f64 {
    let n = f64::from(bench.num_prompts);
    match load.mode {
        LoadMode::Open => open_s(load.rate.unwrap_or(1.0), bench, answer),
        LoadMode::Closed => (n / f64::from(load.concurrency.unwrap_or(1))).ceil() * answer,
        LoadMode::Burst => (n / BURST).ceil() * answer,
    }
}

/// The rates that a search probes if the server sustains the geometric middle of its range.
fn probes(qps: &Qps) -> Vec<f64> {
    let middle = (qps.lower * qps.upper).sqrt();
    let mut search = RateSearch::new(*qps, None);
    let mut rates = Vec::new();
    while let Some(probe) = search.next().filter(|_| rates.len() < 1000) {
        rates.push(probe.rate);
        let outcome =
            if probe.rate <= middle { ProbeOutcome::Pass { near: false } } else { ProbeOutcome::Fail { near: false } };
        search.record(probe, outcome);
    }
    rates
}
