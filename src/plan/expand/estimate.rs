//! Estimates how long a search takes, before anything is started. How fast the servers are is unknown: the likely figure assumes
//! that every answer takes half of what the SLA allows, the highest figure all of it. Both assume that a server starts in the
//! time that is usual for its framework.

use std::fmt;

use crate::engines::framework::Frameworks;
use crate::metrics::rate_search::{ProbeOutcome, RateSearch};
use crate::metrics::sla;
use crate::rows::kinds::{Benchmark, Candidate, Load, LoadMode, Members, Qps, Scenario};

/// Assumed time to first token without a limit, ms.
const TTFT_MS: f64 = 1000.0;
/// Assumed time per output token without a limit, ms.
const TPOT_MS: f64 = 30.0;
/// Share of the SLA's limits that answers are likely to take.
const LIKELY: f64 = 0.5;
/// Assumed number of requests that a server processes concurrently.
const BATCH: f64 = 64.0;
/// A range of rates wider than this factor begins with a burst.
const WIDE: f64 = 4.0;
/// Number of highest rates of a server that the longest search is looked for among.
const LEVELS: i32 = 12;

/// Likely time, and highest time, s.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TimeRange {
    /// If answers take half of what the SLA allows.
    pub likely_s: f64,
    /// If they take all of it.
    pub most_s: f64,
}

impl TimeRange {
    fn add(&mut self, likely_s: f64, most_s: f64) {
        self.likely_s += likely_s;
        self.most_s += most_s;
    }
}

/// The time that a list of candidates takes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// Number of server starts.
    pub starts: usize,
    /// Time until they are ready, in all, s.
    pub start_s: f64,
    /// Number of rate searches.
    pub searches: usize,
    /// Likely number of probes of all searches.
    pub probes: usize,
    /// Time of all rate searches.
    pub search: TimeRange,
    /// Number of other runs.
    pub runs: usize,
    /// Time of all other runs.
    pub run: TimeRange,
    /// True if a latency has no SLA limit, so that one is assumed.
    pub assumed: bool,
}

impl Estimate {
    /// The likely time in all, s.
    #[must_use]
    pub fn likely_s(&self) -> f64 {
        self.start_s + self.search.likely_s + self.run.likely_s
    }

    /// The highest time in all, s.
    #[must_use]
    pub fn most_s(&self) -> f64 {
        self.start_s + self.search.most_s + self.run.most_s
    }

    /// Both in words: `about 25 min, at most 4.0 h`.
    #[must_use]
    pub fn range(&self) -> String {
        let (likely, most) = (time(self.likely_s()), time(self.most_s()));
        if likely == most { format!("about {likely}") } else { format!("about {likely}, at most {most}") }
    }
}

/// A time in minutes or hours.
fn time(s: f64) -> String {
    match s {
        s if s < 5400.0 => format!("{:.0} min", (s / 60.0).ceil()),
        s => format!("{:.1} h", s / 3600.0),
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let some = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let mut parts = vec![(self.start_s, some(self.starts, "server start", "server starts"))];
        if self.searches > 0 {
            let probes = (self.probes as f64 / self.searches as f64).round();
            let searches = some(self.searches, "rate search", "rate searches");
            parts.push((self.search.likely_s, format!("{searches} of {probes} runs")));
        }
        if self.runs > 0 {
            parts.push((self.run.likely_s, some(self.runs, "run at a given load", "runs at given loads")));
        }
        // What takes longest comes first.
        parts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let parts: Vec<String> = parts.into_iter().map(|(s, what)| format!("{what} ({})", time(s))).collect();
        let assumed = match self.assumed {
            true => format!("; without a limit {TTFT_MS} ms to the first token and {TPOT_MS} ms per output token"),
            false => String::new(),
        };
        write!(
            f,
            "{}: {}; assumes that responses take half the time that the SLA allows, at most all of it{assumed}",
            self.range(),
            parts.join(", ")
        )
    }
}

/// Estimates lists of candidates.
#[derive(Debug, Default)]
pub struct Estimator {
    /// The rates of the searches that may take longest. Most candidates, and most plans, have the same rate searches.
    longest: Vec<(Qps, Vec<Vec<f64>>)>,
    /// The rates of a search on a server that keeps up to a rate.
    usual: Vec<(Qps, f64, Vec<f64>)>,
}

impl Estimator {
    /// The time that the remaining units of these candidates take.
    #[must_use]
    pub fn estimate<'a>(
        &mut self,
        candidates: impl Iterator<Item = &'a Candidate>,
        frameworks: &Frameworks,
    ) -> Estimate {
        let mut all = Estimate::default();
        let Self { longest: known, usual } = self;
        for candidate in candidates.filter(|c| c.status.is_none() && !c.units.is_empty()) {
            all.starts += 1;
            let ready =
                frameworks.get(&candidate.server.definition).map_or(0, |framework| framework.probe.usual_ready_s);
            all.start_s += ready as f64;
            let answers: Vec<(&str, f64)> = candidate
                .scenarios
                .iter()
                .map(|scenario| {
                    let limits = sla::of_scenario(&candidate.sla, &scenario.name);
                    all.assumed |= is_assumed(&limits);
                    (scenario.name.as_str(), answer_s(&limits, scenario))
                })
                .collect();
            for unit in &candidate.units {
                let answer = answers.iter().find(|(name, _)| *name == unit.scenario);
                let (Some((_, most)), Some(load)) = (answer, candidate.loads.get(unit.load)) else { continue };
                let (most, likely) = (*most, *most * LIKELY);
                let bench = &candidate.benchmark;
                let warm = f64::from(bench.warmup_requests);
                let Some(qps) = &load.qps else {
                    all.runs += 1;
                    all.run.add(warm * likely + run_s(load, bench, likely), warm * most + run_s(load, bench, most));
                    continue;
                };
                let at = known.iter().position(|(other, _)| other == qps).unwrap_or_else(|| {
                    known.push((*qps, longest(qps)));
                    known.len() - 1
                });
                let burst = if qps.upper / qps.lower > WIDE { 1.0 } else { 0.0 };
                let sum = |rates: &[f64], answer: f64| {
                    (warm + burst) * answer + rates.iter().map(|rate| open_s(*rate, bench, answer)).sum::<f64>()
                };
                let keeps = (BATCH / likely.max(0.001)).clamp(qps.lower, qps.upper);
                let likely_at = usual.iter().position(|(other, rate, _)| other == qps && *rate == keeps);
                let likely_at = likely_at.unwrap_or_else(|| {
                    usual.push((*qps, keeps, rates(qps, Some(keeps / 2.0).filter(|_| burst > 0.0), keeps)));
                    usual.len() - 1
                });
                let usual = &usual[likely_at].2;
                let most_s = known[at].1.iter().map(|rates| sum(rates, most)).fold(0.0, f64::max);
                all.searches += 1;
                all.probes += usual.len();
                all.search.add(sum(usual, likely).min(most_s), most_s);
            }
        }
        all
    }
}

/// The tightest limit on a latency, ms.
fn limit(sla: &Members, metric: &str) -> Option<f64> {
    let end = format!("_{metric}_ms");
    let own = sla.iter().filter(|(key, _)| key.starts_with("max_") && key.ends_with(&end));
    own.filter_map(|(_, value)| value.as_f64()).min_by(f64::total_cmp)
}

/// True if these limits leave the time of an answer open.
fn is_assumed(sla: &Members) -> bool {
    limit(sla, "e2e").is_none() && (limit(sla, "ttft").is_none() || limit(sla, "tpot").is_none())
}

/// Time of one answer that just meets the limits, s.
fn answer_s(sla: &Members, scenario: &Scenario) -> f64 {
    let tokens =
        scenario.dataset.as_ref().map_or(f64::from(scenario.output_len), |_| f64::from(scenario.output_len).max(256.0));
    let (ttft, tpot) = (limit(sla, "ttft"), limit(sla, "tpot"));
    let whole = ttft.unwrap_or(TTFT_MS) + tpot.unwrap_or(TPOT_MS) * tokens;
    match (limit(sla, "e2e"), ttft, tpot) {
        (Some(e2e), None, None) => e2e / 1000.0,
        (e2e, ..) => e2e.unwrap_or(f64::INFINITY).min(whole) / 1000.0,
    }
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
        LoadMode::Burst => (n / BATCH).ceil() * answer,
    }
}

/// The rates that a search probes if the server keeps up to the rate `keeps`.
fn rates(qps: &Qps, start: Option<f64>, keeps: f64) -> Vec<f64> {
    let mut search = RateSearch::new(*qps, start);
    let mut rates = Vec::new();
    while let Some(probe) = search.next().filter(|_| rates.len() < 1000) {
        rates.push(probe.rate);
        let outcome =
            if probe.rate <= keeps { ProbeOutcome::Pass { near: false } } else { ProbeOutcome::Fail { near: false } };
        search.record(probe, outcome);
    }
    rates
}

/// The rates of searches that begin at the lower end, for servers that keep up to rates all over the range: one of them takes
/// longest, depending on how much the number of probes and the length of each count.
fn longest(qps: &Qps) -> Vec<Vec<f64>> {
    let step = (qps.upper / qps.lower).powf(1.0 / f64::from(LEVELS));
    (0..=LEVELS).map(|i| rates(qps, None, qps.lower * step.powi(i) * 1.000_001)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::expand::{expand, round_robin};
    use crate::plan::{CheckContext, load};
    use serde_json::{Value, json};

    fn estimated(benchmark: &Value, sla: &Value) -> Estimate {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let plan = json!({"model": "m", "sla": sla, "benchmark": benchmark, "frameworks": {"sim": {}},
                          "dataset": {"scenario_names": ["chat"], "input_len": [100], "output_len": [100], "num_prompts": 40}});
        let (found, plan) = load(&plan, &CheckContext::only(&frameworks));
        let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
        Estimator::default().estimate(round_robin(expand(&plan, &frameworks).unwrap()).iter(), &frameworks)
    }

    #[test]
    fn answers_take_between_half_and_all_of_the_limits() {
        // 1 s to the first token and 10 ms per token: 2 s. Two to warm up, then 40 in rows of 4.
        let limits = json!({"max_p99_ttft_ms": 1000, "max_p99_tpot_ms": 10, "max_p50_tpot_ms": 20});
        let closed = estimated(&json!({"max_concurrency": [4]}), &limits);
        assert_eq!((closed.starts, closed.runs, closed.searches, closed.assumed), (1, 1, 0, false));
        assert_eq!(closed.run, TimeRange { likely_s: 12.0, most_s: 24.0 });
        assert_eq!((closed.likely_s(), closed.most_s()), (13.0, 25.0), "bench-sim starts in 1 s");
        // 40 requests at 2/s and the last answer.
        let open = estimated(&json!({"request_rates": [2.0], "warmup_requests": 1}), &limits);
        assert_eq!(open.run, TimeRange { likely_s: 1.0 + 21.0, most_s: 2.0 + 22.0 });
    }

    #[test]
    fn the_longest_search_is_at_the_lower_end() {
        let limits = json!({"max_p99_e2e_ms": 2000});
        let qps =
            json!({"max_concurrency": [null], "qps": {"lower": 1, "upper": 2, "tolerance": 0.5}, "warmup_requests": 1});
        let search = estimated(&qps, &limits);
        // Keeps up to 2/s, as 64 requests a second would: 1, 2 and 2 again, each with its last answer, and one to warm up.
        assert_eq!((search.searches, search.probes), (1, 3));
        assert_eq!(search.search.likely_s, 1.0 + (40.0 + 20.0 + 20.0) + 3.0);
        // Keeps 1/s only: 1, 2, 1.5, and 1 again.
        assert_eq!(search.search.most_s, 2.0 + (40.0 + 20.0 + 40.0 / 1.5 + 40.0) + 8.0);
    }

    #[test]
    fn what_takes_longest_comes_first_and_assumptions_are_said() {
        let limits = json!({"max_p99_ttft_ms": 100, "max_p99_tpot_ms": 10});
        let text =
            estimated(&json!({"max_concurrency": [null, 4], "qps": {"lower": 0.25, "upper": 8}}), &limits).to_string();
        assert!(text.starts_with("about ") && text.contains(": 1 rate search of "), "{text}");
        assert!(!text.contains("without a limit"), "{text}");
        let text = estimated(&json!({"max_concurrency": [1]}), &json!({})).to_string();
        assert!(text.contains("; without a limit 1000 ms to the first token and 30 ms per output token"), "{text}");
        assert!(text.contains(": 1 run at a given load (2 min), 1 server start (1 min);"), "{text}");
    }
}
