//! Estimates how long a search takes, before anything is started. How fast the servers are is unknown: the likely figure assumes
//! that every answer takes half of what the SLA allows, the highest figure all of it. Both assume that a server starts in the
//! time that is usual for its framework.

use std::collections::BTreeMap;
use std::fmt;

use super::stages::likely_stages;
use crate::engines::framework::Frameworks;
use crate::metrics::search::{BEST, Evidence, LengthNeed, LoadSearch, MOST, ProbeOutcome, SearchRange, answers};
use crate::metrics::sla;
use crate::rows::kinds::{Benchmark, Candidate, Load, LoadMode, Members, RunLength, Scenario};
use crate::rows::words::{SearchedLoad, Stage};

/// Assumed time to first token without a limit, ms.
const TTFT_MS: f64 = 1000.0;
/// Assumed time per output token without a limit, ms.
const TPOT_MS: f64 = 30.0;
/// Share of the SLA's limits that answers are likely to take.
const LIKELY: f64 = 0.5;
/// Assumed number of requests that a server processes concurrently.
const BATCH: f64 = 64.0;
/// Number of bursts that find where a search of a wide range begins.
const BURSTS: f64 = 4.0;
/// Share of a failing run that it is likely to take before it is cut short.
const CUT: f64 = 0.5;
/// Number of highest loads of a server that the longest search is looked for among.
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
    /// Time until they are ready, in all.
    pub start: TimeRange,
    /// Number of searches for the highest load.
    pub searches: usize,
    /// Likely number of probes of all searches.
    pub probes: usize,
    /// Time of all searches.
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
        self.start.likely_s + self.search.likely_s + self.run.likely_s
    }

    /// The highest time in all, s.
    #[must_use]
    pub fn most_s(&self) -> f64 {
        self.start.most_s + self.search.most_s + self.run.most_s
    }

    /// Both in words: `about 25 min, at most 4.0 h`.
    #[must_use]
    pub fn range(&self) -> String {
        let (likely, most) = (in_words(self.likely_s()), in_words(self.most_s()));
        if likely == most { format!("about {likely}") } else { format!("about {likely}, at most {most}") }
    }
}

/// A time in minutes or hours: `25 min`, `4.0 h`.
#[must_use]
pub fn in_words(s: f64) -> String {
    match s {
        s if s < 5400.0 => format!("{:.0} min", (s / 60.0).ceil()),
        s => format!("{:.1} h", s / 3600.0),
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let some = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let mut parts = vec![(self.start.likely_s, some(self.starts, "server start", "server starts"))];
        if self.searches > 0 {
            let probes = (self.probes as f64 / self.searches as f64).round();
            let searches = some(self.searches, "search", "searches");
            parts.push((self.search.likely_s, format!("{searches} of {probes} runs")));
        }
        if self.runs > 0 {
            parts.push((self.run.likely_s, some(self.runs, "run at a given load", "runs at given loads")));
        }
        // What takes longest comes first.
        parts.sort_by(|a, b| b.0.total_cmp(&a.0));
        let parts: Vec<String> = parts.into_iter().map(|(s, what)| format!("{what} ({})", in_words(s))).collect();
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

/// What the rows of a sweep so far, or of earlier ones, say about times.
#[derive(Debug, Default)]
pub struct Observed {
    /// Mean time until a server was ready, by framework, s.
    pub ready_s: BTreeMap<String, f64>,
    /// Mean time of a unit, by stage, scenario, and whether it is a search, s.
    pub unit_s: BTreeMap<(Option<Stage>, String, bool), f64>,
}

/// Estimates lists of candidates.
#[derive(Debug, Default)]
pub struct Estimator {
    /// What rows say about times: these units take as long as others of their kind took.
    pub observed: Observed,
    /// Estimated and observed time of such units, s: the others are off by the same factor.
    seen: (f64, f64),
    /// What searches cost. Most candidates, and most plans, have the same searches.
    known: Vec<(SearchCase, SearchCost)>,
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
        for candidate in candidates.filter(|c| c.status.is_none() && !c.units.is_empty()) {
            all.starts += 1;
            let ready =
                frameworks.get(&candidate.server.definition).map_or(0, |framework| framework.probe.usual_ready_s);
            let ready = self.observed.ready_s.get(&candidate.framework).copied().unwrap_or(ready as f64);
            all.start.add(ready, ready);
            let bench = &candidate.benchmark;
            let warm = f64::from(bench.warmup_requests);
            for scenario in &candidate.scenarios {
                let members = sla::of_scenario(&candidate.sla, &scenario.name);
                all.assumed |= is_assumed(&members);
                let most = answer_s(&members, scenario);
                let likely = most * LIKELY;
                for unit in candidate.units.iter().filter(|unit| unit.scenario == scenario.name) {
                    let Some(load) = candidate.loads.get(unit.load) else { continue };
                    let Some(range) = SearchRange::of(load) else {
                        all.runs += 1;
                        let run = |answer: f64| warm * answer + run_s(load, bench, answer);
                        let key = (candidate.search.stage, scenario.name.clone(), false);
                        let time = self.corrected(&key, TimeRange { likely_s: run(likely), most_s: run(most) });
                        all.run.add(time.likely_s, time.most_s);
                        continue;
                    };
                    let limits = sla::Limits::read(&members).with_floor();
                    let first = candidate.search.baseline;
                    let challenges = candidate.search.stage == Some(Stage::Search) && (unit.bar.is_some() || !first);
                    let screen = match (load.screen, first) {
                        (true, true) => Some(Screened::First),
                        (true, false) => Some(Screened::AtBar),
                        (false, _) => challenges.then_some(Screened::Challenger),
                    };
                    let case = SearchCase::new(range, limits, load, bench, most);
                    let cost = self.search(SearchCase { screen, ..case });
                    all.searches += 1;
                    all.probes += cost.probes;
                    let key = (candidate.search.stage, scenario.name.clone(), true);
                    let time = self.corrected(&key, cost.time);
                    all.search.add(time.likely_s, time.most_s);
                }
            }
        }
        all
    }

    /// The time that all stages of a plan with stages take: of these candidates, those that are likely to advance, and at most as many as
    /// can.
    #[must_use]
    pub fn estimate_stages(&mut self, candidates: &[Candidate], frameworks: &Frameworks) -> Estimate {
        let [likely, most] = [BEST, MOST].map(|each| {
            let stages = likely_stages(candidates, each);
            self.estimate(stages.iter().flat_map(|stage| &stage.candidates), frameworks)
        });
        let range =
            |get: fn(&Estimate) -> TimeRange| TimeRange { likely_s: get(&likely).likely_s, most_s: get(&most).most_s };
        Estimate {
            start: range(|estimate| estimate.start),
            search: range(|estimate| estimate.search),
            run: range(|estimate| estimate.run),
            ..likely
        }
    }

    /// The time of a unit of this kind, by what rows say about it or about others.
    fn corrected(&mut self, key: &(Option<Stage>, String, bool), estimated: TimeRange) -> TimeRange {
        match self.observed.unit_s.get(key) {
            Some(mean) => {
                self.seen = (self.seen.0 + estimated.likely_s, self.seen.1 + mean);
                TimeRange { likely_s: *mean, most_s: estimated.most_s.max(*mean) }
            }
            None if self.seen.0 > 0.0 => {
                let likely_s = estimated.likely_s * self.seen.1 / self.seen.0;
                TimeRange { likely_s, most_s: estimated.most_s.max(likely_s) }
            }
            None => estimated,
        }
    }

    /// What a search costs.
    fn search(&mut self, case: SearchCase) -> SearchCost {
        if let Some((_, cost)) = self.known.iter().find(|(other, _)| *other == case) {
            return *cost;
        }
        let cost = case.cost();
        self.known.push((case, cost));
        cost
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

/// Time of a run of this length, s.
fn length_s(length: &RunLength, load: &Load, warmup_s: Option<f64>, answer: f64) -> f64 {
    let n = f64::from(length.requests);
    match load.mode {
        LoadMode::Open => length.due_s.unwrap_or(0.0) + answer + warmup_s.unwrap_or(0.0),
        LoadMode::Closed => (n / f64::from(load.concurrency.unwrap_or(1))).ceil() * answer,
        LoadMode::Burst => (n / BATCH).ceil() * answer,
    }
}

fn run_s(load: &Load, bench: &Benchmark, answer: f64) -> f64 {
    let length = LengthNeed::once(load.mode).length(bench.num_prompts, bench.duration_s, load, Some(answer));
    length_s(&length, load, bench.warmup_s, answer)
}

/// How a candidate begins in a sweep with stages.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Screened {
    /// No load of its framework is known.
    First,
    /// At the best load of its framework.
    AtBar,
    /// In the second stage: it has to beat the leader of its framework.
    Challenger,
}

/// What decides how long a search takes.
#[derive(Debug, PartialEq)]
struct SearchCase {
    /// Set if it is no search by itself.
    screen: Option<Screened>,
    range: SearchRange,
    limits: sla::Limits,
    load: Load,
    num_prompts: u32,
    duration_s: Option<f64>,
    warmup_s: Option<f64>,
    /// Time of an answer that just meets the limits, s.
    answer: f64,
}

/// How long a search takes.
#[derive(Debug, Clone, Copy)]
struct SearchCost {
    probes: usize,
    time: TimeRange,
}

impl SearchCase {
    fn new(range: SearchRange, limits: sla::Limits, load: &Load, bench: &Benchmark, answer: f64) -> Self {
        let Benchmark { num_prompts, duration_s, warmup_s, .. } = *bench;
        Self { screen: None, range, limits, load: load.clone(), num_prompts, duration_s, warmup_s, answer }
    }

    /// Its likely cost, and the highest one: that of a server that keeps up to some load of the range and whose answers take as
    /// long as the SLA allows. It depends on that load how much the number of runs and the length of each count.
    fn cost(&self) -> SearchCost {
        let SearchRange { lower, upper, .. } = self.range;
        let alone = matches!(self.screen, None | Some(Screened::First));
        let bursts = if self.range.is_wide() && alone { BURSTS } else { 1.0 };
        let likely = self.answer * LIKELY;
        let keeps = match self.range.what {
            SearchedLoad::Rate => BATCH / likely.max(0.001),
            SearchedLoad::Concurrency => BATCH,
        };
        let keeps = keeps.clamp(lower, upper);
        let start = Some(keeps / 2.0).filter(|_| self.range.is_wide());
        let (probes, usual) = self.simulate(start, keeps, likely, CUT);
        let step = (upper / lower).powf(1.0 / f64::from(LEVELS));
        let levels = (0..=LEVELS).map(|i| lower * step.powi(i) * 1.000_001);
        let longest = levels.map(|keeps| self.simulate(None, keeps, self.answer, 1.0).1).fold(0.0, f64::max);
        let most_s = bursts * self.answer + longest;
        SearchCost { probes, time: TimeRange { likely_s: (bursts * likely + usual).min(most_s), most_s } }
    }

    /// The number of runs and their time, s, if the server keeps up to the load `keeps` and failing runs take a share `cut` of their
    /// length.
    fn simulate(&self, start: Option<f64>, keeps: f64, answer: f64, cut: f64) -> (usize, f64) {
        let mut search = match self.screen {
            None => LoadSearch::new(self.range, &self.limits, start),
            Some(Screened::First) => LoadSearch::race(self.range, &self.limits, start, None),
            Some(Screened::Challenger) => LoadSearch::challenge(self.range, &self.limits, keeps),
            Some(Screened::AtBar) => LoadSearch::race(self.range, &self.limits, None, Some(keeps)),
        };
        let (mut probes, mut seconds) = (0, 0.0);
        while let Some(probe) = search.next() {
            let load = self.range.load(probe.value, &self.load);
            let length = probe.need.length(self.num_prompts, self.duration_s, &load, Some(answer));
            let passed = probe.value <= keeps;
            probes += 1;
            seconds += length_s(&length, &load, self.warmup_s, answer) * if passed { 1.0 } else { cut };
            search.record(
                probe,
                ProbeOutcome::Judged(Evidence {
                    passed,
                    cut: !passed,
                    tests: Vec::new(),
                    requests: length.requests,
                    answers: answers(&length, &load, Some(answer)),
                }),
            );
        }
        (probes, seconds)
    }
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

    fn search(limit: &str, benchmark: &Value) -> TimeRange {
        let search = estimated(benchmark, &json!({limit: 2000}));
        assert_eq!((search.searches, search.runs), (1, 0));
        assert!(search.probes >= 4, "{search:?}");
        search.search
    }

    #[test]
    fn a_search_takes_the_requests_that_its_percentile_takes() {
        let rates = |lower: f64| json!({"max_concurrency": [null], "qps": {"lower": lower, "upper": 2.0 * lower}});
        let (slow, fast) = (search("max_p99_e2e_ms", &rates(0.5)), search("max_p99_e2e_ms", &rates(1.0)));
        assert!(slow.likely_s > 1.8 * fast.likely_s && slow.most_s > 1.8 * fast.most_s, "{slow:?} {fast:?}");
        // It keeps up to 2/s, as 64 requests a second would: 1000 requests there.
        assert!(fast.likely_s > 500.0 && fast.most_s > fast.likely_s && fast.most_s < 3600.0, "{fast:?}");
        let p90 = search("max_p90_e2e_ms", &rates(1.0));
        assert!(p90.most_s < fast.most_s / 4.0, "{p90:?} {fast:?}");
        // Not more than num_prompts asks for.
        let users = search("max_p99_e2e_ms", &json!({"concurrency": {"lower": 1, "upper": 64}}));
        assert!(users.likely_s > 16.0 && users.most_s > users.likely_s, "{users:?}");
    }

    #[test]
    fn what_takes_longest_comes_first_and_assumptions_are_said() {
        let limits = json!({"max_p99_ttft_ms": 100, "max_p99_tpot_ms": 10});
        let text =
            estimated(&json!({"max_concurrency": [null, 4], "qps": {"lower": 0.25, "upper": 8}}), &limits).to_string();
        assert!(text.starts_with("about ") && text.contains(": 1 search of "), "{text}");
        assert!(!text.contains("without a limit"), "{text}");
        let text = estimated(&json!({"max_concurrency": [1]}), &json!({})).to_string();
        assert!(text.contains("; without a limit 1000 ms to the first token and 30 ms per output token"), "{text}");
        assert!(text.contains(": 1 run at a given load (2 min), 1 server start (1 min);"), "{text}");
    }
}
