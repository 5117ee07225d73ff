//! Estimates how long a search takes, before anything is started. How fast the servers are is unknown: the likely figure assumes
//! that every answer takes half of what the SLA allows, the highest figure all of it. Both assume that a server starts in the
//! time that is usual for its framework.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::check_cost::check_cost;
use super::estimate::{Estimate, TPOT_MS, TTFT_MS, TimeRange};
use super::search_cost::{LIKELY, Screened, SearchCase, SearchCost, run_s};
use super::stages::{StageCandidates, later_stages, likely_stages};
use crate::engines::framework::Frameworks;
use crate::metrics::search::{MOST, SearchRange};
use crate::metrics::sla;
use crate::rows::kinds::{Candidate, Members, Scenario, Shared};
use crate::rows::words::Stage;

/// The stage and scenario of a unit, and whether it is a search.
pub type UnitKind = (Option<Stage>, String, bool);

/// What a unit takes.
#[derive(Debug)]
struct UnitCost<'a> {
    stage: Option<Stage>,
    scenario: &'a str,
    is_search: bool,
    /// Runs of its search.
    probes: usize,
    time: TimeRange,
}

impl UnitCost<'_> {
    fn kind(&self) -> UnitKind {
        (self.stage, self.scenario.to_string(), self.is_search)
    }
}

/// What the rows of a sweep so far, or of earlier ones, say about times.
#[derive(Debug, Default)]
pub struct Observed {
    /// Mean time until a server was ready, by framework, s.
    pub ready_s: BTreeMap<String, f64>,
    /// Mean time of a unit of each kind, s.
    pub unit_s: BTreeMap<UnitKind, f64>,
}

/// Estimates lists of candidates.
#[derive(Debug, Default)]
pub struct Estimator {
    /// What rows say about times: these units take as long as others of their kind took.
    pub observed: Observed,
    /// Candidates that run at the same time (`bench-serve --slots`): how many, and the number of GPUs of each.
    pub slots: Option<(usize, usize)>,
    /// Observed over estimated time of such units, by [`Self::calibrate`]: the others are off by the same factor.
    factor: Option<f64>,
    /// The limits and scenarios of the candidate before. Those of the next are the same in most plans.
    workload: Option<(Shared<Members>, Shared<Vec<Scenario>>)>,
    /// What they say about the answers of each scenario.
    answers: Vec<AnswerLimits>,
    /// What searches cost. Most candidates, and most plans, have the same searches.
    known: Vec<(SearchCase, SearchCost)>,
}

impl Estimator {
    /// Compares what rows say with the estimates for a whole plan, in whatever order its candidates are.
    pub fn calibrate(&mut self, candidates: &[Candidate], stages: bool) {
        if self.observed.unit_s.is_empty() {
            return;
        }
        let in_stages = if stages { likely_stages(candidates, MOST) } else { Vec::new() };
        let all = in_stages.iter().flat_map(|stage| &stage.candidates).chain(candidates.iter().filter(|_| !stages));
        let mut kinds: BTreeMap<UnitKind, (f64, f64)> = BTreeMap::new();
        for candidate in all.filter(|c| c.status.is_none()) {
            for cost in self.units(candidate) {
                let sum = kinds.entry(cost.kind()).or_default();
                *sum = (sum.0 + 1.0, sum.1 + cost.time.likely_s);
            }
        }
        let both = kinds.iter().filter_map(|(kind, (n, sum))| Some((sum / n, *self.observed.unit_s.get(kind)?)));
        let (estimated, observed) = both.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.factor = (estimated > 0.0).then(|| observed / estimated);
    }

    /// The time that the remaining units of these candidates take.
    #[must_use]
    pub fn estimate<'a>(
        &mut self,
        candidates: impl Iterator<Item = &'a Candidate>,
        frameworks: &Frameworks,
    ) -> Estimate {
        let mut all = Estimate::default();
        let (mut shared, mut longest_s) = (0, 0.0_f64);
        for candidate in candidates.filter(|c| c.status.is_none() && !c.units.is_empty()) {
            all.starts += 1;
            let at_once = self.slots.filter(|(_, size)| !candidate.runs_alone(*size)).map_or(1, |(n, _)| n);
            // Of those in slots each takes its part of the time.
            let part = 1.0 / at_once as f64;
            let before = all.most_s();
            let ready =
                frameworks.get(&candidate.server.definition).map_or(0, |framework| framework.probe.usual_ready_s);
            let ready = self.observed.ready_s.get(&candidate.framework).copied().unwrap_or(ready as f64);
            all.start.add(ready * part, ready * part);
            for cost in self.units(candidate) {
                let time = self.corrected(&cost);
                if cost.is_search {
                    all.searches += 1;
                    all.probes += cost.probes;
                    all.search.add(time.likely_s * part, time.most_s * part);
                } else {
                    all.runs += 1;
                    all.run.add(time.likely_s * part, time.most_s * part);
                }
            }
            let check = check_cost(candidate, |prompt, tokens| {
                let of_scenario = |answer: &AnswerLimits| answer.of_tokens_s(prompt, tokens);
                self.answers.iter().map(of_scenario).fold(0.0, f64::max)
            });
            all.checks += check.checks;
            all.check.add(check.time.likely_s * part, check.time.most_s * part);
            all.assumed |= self.answers.iter().any(|answer| answer.assumed);
            if at_once > 1 {
                shared += 1;
                longest_s = longest_s.max((all.most_s() - before) / part);
            }
        }
        if let Some((n, _)) = self.slots.filter(|_| shared > 1) {
            // At worst the longest one runs last, beside nothing.
            all.run.add(0.0, longest_s * (1.0 - 1.0 / n as f64));
        }
        all
    }

    /// What each unit of a candidate takes, if nothing is known from rows.
    fn units<'a>(&mut self, candidate: &'a Candidate) -> Vec<UnitCost<'a>> {
        let bench = &candidate.benchmark;
        let warm = f64::from(bench.warmup_requests);
        if self.workload.as_ref().is_none_or(|(sla, of)| *sla != candidate.sla || *of != candidate.scenarios) {
            self.answers = candidate.scenarios.iter().map(|one| AnswerLimits::of(&candidate.sla, one)).collect();
            self.workload = Some((candidate.sla.clone(), candidate.scenarios.clone()));
        }
        let mut costs = Vec::new();
        for (n, scenario) in candidate.scenarios.iter().enumerate() {
            let most = self.answers[n].most_s;
            let likely = most * LIKELY;
            for unit in candidate.units.iter().filter(|unit| unit.scenario == scenario.name) {
                let Some(load) = candidate.loads.get(unit.load) else { continue };
                let range = SearchRange::of(load);
                let (stage, is_search) = (candidate.search.stage, range.is_some());
                let cost = |probes, time| UnitCost { stage, scenario: &scenario.name, is_search, probes, time };
                let Some(range) = range else {
                    let run = |answer: f64| warm * answer + run_s(load, bench, answer);
                    costs.push(cost(0, TimeRange { likely_s: run(likely), most_s: run(most) }));
                    continue;
                };
                let first = candidate.search.baseline;
                let screen = match (load.screen, stage) {
                    (true, _) if first => Some(Screened::First),
                    (true, _) => Some(Screened::AtBar),
                    (false, Some(Stage::Search)) if unit.bar.is_some() || !first => Some(Screened::Challenger),
                    (false, Some(Stage::Search)) => Some(Screened::Leader),
                    (false, _) => None,
                };
                let mut case = SearchCase::new(range, Rc::clone(&self.answers[n].limits), load, bench, most);
                case.screen = screen;
                let SearchCost { probes, time } = self.search(case);
                costs.push(cost(probes, time));
            }
        }
        costs
    }

    /// The time that all stages of a plan with stages take: `likely` are those of the candidates that are likely to advance
    /// ([`likely_stages`] of [`BEST`] of each framework); at most as many advance as can.
    ///
    /// [`BEST`]: crate::metrics::search::BEST
    ///
    /// # Panics
    /// If there is no stage.
    #[must_use]
    pub fn estimate_stages(
        &mut self,
        likely: &[StageCandidates],
        candidates: &[Candidate],
        frameworks: &Frameworks,
    ) -> Estimate {
        let mut of =
            |stages: &[StageCandidates]| self.estimate(stages.iter().flat_map(|stage| &stage.candidates), frameworks);
        let (first, later) = likely.split_at(1);
        let first = of(first);
        let likely = first.plus(&of(later));
        let most = first.plus(&of(&later_stages(candidates, MOST)));
        let range =
            |get: fn(&Estimate) -> TimeRange| TimeRange { likely_s: get(&likely).likely_s, most_s: get(&most).most_s };
        Estimate {
            start: range(|estimate| estimate.start),
            search: range(|estimate| estimate.search),
            run: range(|estimate| estimate.run),
            check: range(|estimate| estimate.check),
            ..likely
        }
    }

    /// The time of a unit, by what rows say about its kind or about others.
    fn corrected(&self, cost: &UnitCost) -> TimeRange {
        let (time, known) = (&cost.time, &self.observed.unit_s);
        let mean = if known.is_empty() { None } else { known.get(&cost.kind()).copied() };
        let known = mean.or_else(|| self.factor.map(|factor| time.likely_s * factor));
        known.map_or(*time, |likely_s| TimeRange { likely_s, most_s: time.most_s.max(likely_s) })
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

/// What the limits of a scenario say about the time of an answer.
#[derive(Debug)]
struct AnswerLimits {
    /// The time of one that just meets them, s.
    most_s: f64,
    /// Its output tokens.
    tokens: f64,
    /// The time to its first token, s.
    first_s: f64,
    /// Tokens of its prompt.
    prompt: f64,
    limits: Rc<sla::Limits>,
    /// They leave the time of an answer open.
    assumed: bool,
}

impl AnswerLimits {
    fn of(sla: &Members, scenario: &Scenario) -> Self {
        let members = sla::of_scenario(sla, &scenario.name);
        let most_s = answer_s(&members, scenario);
        Self {
            most_s,
            tokens: output_tokens(scenario).max(1.0),
            prompt: f64::from(scenario.input_len).max(1.0),
            first_s: limit(&members, "ttft").unwrap_or(TTFT_MS).min(most_s * 1000.0) / 1000.0,
            limits: sla::Limits::read(&members).with_floor().into(),
            assumed: is_assumed(&members),
        }
    }

    /// The time of an answer of so many tokens to a prompt of so many that just meets them, s: a shorter prompt has its first token
    /// earlier.
    fn of_tokens_s(&self, prompt: f64, tokens: f64) -> f64 {
        self.first_s * (prompt / self.prompt).min(1.0) + (self.most_s - self.first_s) / self.tokens * tokens
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

/// Output tokens of an answer.
fn output_tokens(scenario: &Scenario) -> f64 {
    scenario.dataset.as_ref().map_or(f64::from(scenario.output_len), |_| f64::from(scenario.output_len).max(256.0))
}

/// Time of one answer that just meets the limits, s.
fn answer_s(sla: &Members, scenario: &Scenario) -> f64 {
    let tokens = output_tokens(scenario);
    let (ttft, tpot) = (limit(sla, "ttft"), limit(sla, "tpot"));
    let whole = ttft.unwrap_or(TTFT_MS) + tpot.unwrap_or(TPOT_MS) * tokens;
    match (limit(sla, "e2e"), ttft, tpot) {
        (Some(e2e), None, None) => e2e / 1000.0,
        (e2e, ..) => e2e.unwrap_or(f64::INFINITY).min(whole) / 1000.0,
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

    #[test]
    fn candidates_in_slots_share_the_time_and_the_baseline_has_its_own() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let plan = json!({"model": "m", "hardware": {"gpu_count": 1}, "benchmark": {"max_concurrency": [4]},
                          "sla": {"max_p99_ttft_ms": 1000, "max_p99_tpot_ms": 10},
                          "frameworks": {"sim": {"search_space": {"max_num_seqs": [1, 2, 4, 8]}}},
                          "dataset": {"scenario_names": ["chat"], "input_len": [100], "output_len": [100], "num_prompts": 40}});
        let (found, plan) = load(&plan, &CheckContext::only(&frameworks));
        let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
        let candidates = round_robin(expand(&plan, &frameworks).unwrap());
        let n = candidates.len() as f64;
        let estimate = |slots| {
            let mut estimator = Estimator { slots, ..Estimator::default() };
            let all = estimator.estimate(candidates.iter(), &frameworks);
            (all.likely_s(), all.most_s())
        };
        // Each takes 13 to 25 s, see above.
        assert_eq!(estimate(None), (13.0 * n, 25.0 * n));
        assert_eq!(estimate(Some((2, 1))), (13.0 + 13.0 * (n - 1.0) / 2.0, 25.0 + 25.0 * (n - 1.0) / 2.0 + 12.5));
        // A slot of no use: all need more than it has.
        assert_eq!(estimate(Some((2, 0))), estimate(None));
    }

    #[test]
    fn checks_count_and_cost_a_tenth_of_a_search_at_most() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let estimate = |check: &Value, space: &Value| {
            // The scenarios, rates and limits that a new plan begins with.
            let plan = json!({"model": "m", "sla": {"max_p99_ttft_ms": 2000, "max_p99_tpot_ms": 50}, "check": check,
                              "frameworks": {"vllm": {"search_space": space}}});
            let (found, plan) = load(&plan, &CheckContext::only(&frameworks));
            let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
            let candidates = round_robin(expand(&plan, &frameworks).unwrap());
            Estimator::default().estimate(candidates.iter(), &frameworks)
        };
        let (alone, five) = (json!({}), json!({"max_num_seqs": [16, 32, 64, 128]}));
        let without = estimate(&json!("none"), &alone);
        assert_eq!((without.checks, without.check), (0.0, TimeRange::default()));
        let one = estimate(&json!("winners"), &alone);
        assert_eq!((one.checks, one.search), (1.0, without.search));
        assert!((one.likely_s() - without.likely_s() - one.check.likely_s).abs() < 1e-6);
        let share = one.check.likely_s / one.search.likely_s;
        assert!(share <= 0.10, "the check of a winner and its reference take {share} of its search: {one:?}");
        // The second of two candidates is the better one in every second plan.
        let some = estimate(&json!("winners"), &five);
        assert!((some.checks - (1.0 + 1.0 / 2.0 + 1.0 / 3.0 + 1.0 / 4.0 + 1.0 / 5.0)).abs() < 1e-9, "{some:?}");
        let all = estimate(&json!({"candidates": "all", "questions": 400}), &five);
        assert!((all.checks - 5.0).abs() < 1e-9 && all.check.likely_s > some.check.likely_s, "{all:?}");
        let text = some.to_string();
        assert!(text.contains(" 2 checks of answers ("), "{text}");
    }

    #[test]
    fn what_rows_say_counts_in_whatever_order_the_candidates_are() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let plan = json!({"model": "m", "benchmark": {"max_concurrency": [4]}, "frameworks": {"sim": {}},
                          "dataset": {"scenario_names": ["a", "b", "c"], "input_len": [100, 100, 100],
                                      "output_len": [100, 200, 400], "num_prompts": 40}});
        let (_, plan) = load(&plan, &CheckContext::only(&frameworks));
        let mut candidates = round_robin(expand(&plan.unwrap(), &frameworks).unwrap());
        let observed =
            || Observed { unit_s: BTreeMap::from([((None, "b".to_string(), false), 3.0)]), ..Observed::default() };
        let mut both = Vec::new();
        for _ in 0..2 {
            let mut estimator = Estimator { observed: observed(), ..Estimator::default() };
            estimator.calibrate(&candidates, false);
            let alone: Vec<f64> = candidates[0]
                .scenarios
                .iter()
                .map(|scenario| {
                    let mut only = candidates[0].clone();
                    only.units.retain(|unit| unit.scenario == scenario.name);
                    estimator.estimate([&only].into_iter(), &frameworks).run.likely_s
                })
                .collect();
            let all = estimator.estimate(candidates.iter(), &frameworks).run.likely_s;
            assert!((alone.iter().sum::<f64>() - all).abs() < 1e-9, "{alone:?} {all}");
            assert!(alone.iter().all(|s| *s < 10.0), "without rows each takes more than 20 s: {alone:?}");
            both.push(all);
            candidates[0].scenarios.reverse();
        }
        assert!((both[0] - both[1]).abs() < 1e-9, "{both:?}");
    }

    #[test]
    fn the_second_stage_searches_from_what_the_first_found() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let plan = json!({"model": "m", "sla": {"max_p99_e2e_ms": 2000}, "frameworks": {"sim": {}},
                          "benchmark": {"max_concurrency": [null], "qps": {"lower": 0.25, "upper": 64}}});
        let (_, plan) = load(&plan, &CheckContext::only(&frameworks));
        let candidates = round_robin(expand(&plan.unwrap(), &frameworks).unwrap());
        let likely_s = |stage| {
            let mut candidate = candidates[0].clone();
            candidate.search.stage = stage;
            Estimator::default().estimate([&candidate].into_iter(), &frameworks).search.likely_s
        };
        let (alone, leader) = (likely_s(None), likely_s(Some(Stage::Search)));
        assert!(leader < 0.95 * alone && leader > 0.5 * alone, "{leader} s, alone {alone} s");
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
        assert!(
            text.starts_with("at most ") && text.contains(", likely ") && text.contains(": 1 search of "),
            "{text}"
        );
        assert!(!text.contains("without a limit"), "{text}");
        let text = estimated(&json!({"max_concurrency": [1]}), &json!({})).to_string();
        assert!(text.contains("; without a limit 1000 ms to the first token and 30 ms per output token"), "{text}");
        assert!(text.contains(": 1 run at a given load (2 min), 1 server start (1 min);"), "{text}");
    }
}
