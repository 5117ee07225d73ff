//! The search for the highest request rate that meets the SLA: which rate to measure next, given the results so far.
//!
//! Double the starting rate until one fails, or halve it until one passes; bisect between the two. A result close to a limit is
//! decided by the best of three runs with new seeds. The best rate is confirmed by another run with its own seed; if that fails,
//! the search continues below it. The result is always a rate that was measured and passed.

use crate::rows::kinds::Qps;
use crate::rows::words::SearchEndReason;

/// A bracket this narrow, as a share of its upper end, is not worth another run.
const NARROW: f64 = 0.05;
/// Significant digits of a rate: people read it in a report and type it.
const DIGITS: i32 = 4;
/// Number of consecutive runs that fail for reasons other than the SLA before the search is aborted.
const INFRA: usize = 2;

/// The next run of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchProbe {
    /// Requests per second.
    pub rate: f64,
    /// Number of earlier runs at this rate: each has its own seed.
    pub vote: u32,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The SLA was met; `near`: some limit was almost missed.
    Pass {
        /// Within a tenth of a limit.
        near: bool,
    },
    /// The SLA was missed; `near`: all limits were almost met.
    Fail {
        /// Within a tenth of every limit.
        near: bool,
    },
    /// The run says nothing about the SLA: the server was lost, or the client fell behind.
    Infra,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    /// Highest rate that passed and was confirmed.
    pub max_pass: Option<f64>,
    /// Lowest rate above it that failed.
    pub min_fail: Option<f64>,
    /// Bisection steps.
    pub rounds: u32,
    /// All runs.
    pub probes: u32,
    /// Why it ended.
    pub reason: SearchEndReason,
    /// A rate above one that failed has passed.
    pub non_monotone: bool,
}

/// A search and its runs so far.
#[derive(Debug, Clone)]
pub struct RateSearch {
    spec: Qps,
    start: f64,
    /// The best rate of another candidate, if the search ends early for a candidate that cannot sustain it.
    incumbent: Option<f64>,
    done: Vec<(SearchProbe, ProbeOutcome)>,
}

enum SearchStep {
    Run(SearchProbe),
    End(SearchEndReason),
}

impl RateSearch {
    /// A search between `spec.lower` and `spec.upper` that starts at `start`, or at the lower end.
    #[must_use]
    pub fn new(spec: Qps, start: Option<f64>) -> Self {
        let start = start.filter(|rate| rate.is_finite()).unwrap_or(spec.lower).clamp(spec.lower, spec.upper);
        Self { spec, start, incumbent: None, done: Vec::new() }
    }

    /// A search that starts at the best rate of another candidate and ends if that fails twice, with two seeds.
    #[must_use]
    pub fn against(spec: Qps, incumbent: f64) -> Self {
        Self { incumbent: Some(incumbent), ..Self::new(spec, Some(incumbent)) }
    }

    /// The next run; `None` if the search has ended.
    #[must_use]
    pub fn next(&self) -> Option<SearchProbe> {
        match self.step() {
            SearchStep::Run(probe) => Some(probe),
            SearchStep::End(_) => None,
        }
    }

    /// Records the outcome of a run.
    pub fn record(&mut self, probe: SearchProbe, outcome: ProbeOutcome) {
        self.done.push((probe, outcome));
    }

    /// The result so far, or at the end.
    #[must_use]
    pub fn ended(&self) -> SearchResult {
        let reason = match self.step() {
            SearchStep::End(reason) => reason,
            SearchStep::Run(_) => SearchEndReason::Interrupted,
        };
        let (low, min_fail) = self.bracket();
        let max_pass = low.filter(|rate| self.confirmed(*rate) == Some(true));
        let passes = |rate: &f64| self.decided(*rate) == Some(true) && self.confirmed(*rate) != Some(false);
        SearchResult {
            max_pass,
            min_fail,
            rounds: self.rounds(),
            probes: u32::try_from(self.done.len()).unwrap_or(u32::MAX),
            reason,
            non_monotone: min_fail.is_some_and(|fail| self.rates().iter().any(|rate| *rate > fail && passes(rate))),
        }
    }

    /// All measured rates in ascending order.
    fn rates(&self) -> Vec<f64> {
        let mut rates: Vec<f64> = self.done.iter().map(|(probe, _)| probe.rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates
    }

    /// The votes on a rate, one per run, as (passed, near); runs without a result are skipped.
    fn votes(&self, rate: f64) -> Vec<(bool, bool)> {
        let votes = self.done.iter().filter(|(probe, _)| probe.rate == rate).filter_map(|(_, outcome)| match outcome {
            ProbeOutcome::Pass { near } => Some((true, *near)),
            ProbeOutcome::Fail { near } => Some((false, *near)),
            ProbeOutcome::Infra => None,
        });
        votes.collect()
    }

    /// The decision on a rate and the number of votes it took: one that is clear, or two of three.
    fn decision(&self, rate: f64) -> Option<(bool, usize)> {
        let votes = self.votes(rate);
        match votes.first() {
            None => None,
            Some((pass, false)) => Some((*pass, 1)),
            Some(_) => [true, false].into_iter().find_map(|side| {
                let mut counted = 0;
                let at = votes.iter().position(|(pass, _)| {
                    counted += usize::from(*pass == side);
                    counted == 2
                })?;
                (at < 3).then_some((side, at + 1))
            }),
        }
    }

    fn decided(&self, rate: f64) -> Option<bool> {
        self.decision(rate).map(|(pass, _)| pass)
    }

    /// Whether the run after the deciding ones confirmed that a rate passes; `None` if there is none yet.
    fn confirmed(&self, rate: f64) -> Option<bool> {
        let (pass, used) = self.decision(rate)?;
        if pass { self.votes(rate).get(used).map(|(pass, _)| *pass) } else { None }
    }

    fn again(&self, rate: f64) -> SearchStep {
        let vote = self.done.iter().filter(|(probe, _)| probe.rate == rate).count();
        SearchStep::Run(SearchProbe { rate, vote: u32::try_from(vote).unwrap_or(u32::MAX) })
    }

    /// Number of bisection steps: rates strictly between one that had passed and one that had failed before.
    fn rounds(&self) -> u32 {
        let mut rounds = 0;
        for (i, (probe, _)) in self.done.iter().enumerate() {
            let earlier = Self { done: self.done[..i].to_vec(), ..self.clone() };
            let new = earlier.done.iter().all(|(before, _)| before.rate != probe.rate);
            let (low, high) = earlier.bracket();
            rounds += u32::from(new && low.zip(high).is_some_and(|(low, high)| low < probe.rate && probe.rate < high));
        }
        rounds
    }

    /// The highest rate that passed below the lowest that failed, and the latter. A rate that was not confirmed has failed.
    fn bracket(&self) -> (Option<f64>, Option<f64>) {
        let failed = |rate: &f64| self.decided(*rate) == Some(false) || self.confirmed(*rate) == Some(false);
        let high = self.rates().into_iter().find(failed);
        let below = |rate: &f64| high.is_none_or(|high| *rate < high);
        let low = self.rates().into_iter().filter(below).rfind(|rate| self.decided(*rate) == Some(true));
        (low, high)
    }

    fn step(&self) -> SearchStep {
        let last = self.done.iter().rev().take_while(|(_, outcome)| *outcome == ProbeOutcome::Infra).count();
        if last >= INFRA {
            return SearchStep::End(SearchEndReason::Aborted);
        }
        if self.done.len() >= self.spec.max_probes as usize {
            return SearchStep::End(SearchEndReason::MaxProbes);
        }
        // A rate without a decision is measured again first.
        if let Some((probe, _)) = self.done.last()
            && self.decided(probe.rate).is_none()
        {
            return self.again(probe.rate);
        }
        if let Some(rate) = self.incumbent.filter(|rate| self.rates() == [*rate]) {
            match self.votes(rate)[..] {
                [(false, _)] => return self.again(rate),
                [(false, _), (false, _), ..] => return SearchStep::End(SearchEndReason::Pruned),
                _ => {}
            }
        }
        let Qps { lower, upper, tolerance, max_rounds, .. } = self.spec;
        let (reason, best) = match self.bracket() {
            (None, None) => return self.again(self.start),
            (None, Some(high)) if high <= lower => return SearchStep::End(SearchEndReason::NoPassInRange),
            (None, Some(high)) => return self.again((high / 2.0).max(lower)),
            (Some(low), None) if low >= upper => (SearchEndReason::NoFailureInRange, low),
            (Some(low), None) => return self.again((low * 2.0).min(upper)),
            (Some(low), Some(high)) if high - low <= tolerance.max(NARROW * high) => (SearchEndReason::Resolved, low),
            (Some(low), Some(_)) if self.rounds() >= max_rounds => (SearchEndReason::MaxRounds, low),
            (Some(low), Some(high)) => return self.again(significant(f64::midpoint(low, high), DIGITS)),
        };
        // If it is not confirmed, it becomes the upper end of the next bracket.
        if self.confirmed(best) == Some(true) { SearchStep::End(reason) } else { self.again(best) }
    }
}

/// A positive number rounded to this many significant digits.
#[must_use]
pub fn significant(value: f64, digits: i32) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(digits - 1 - value.log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPEC: Qps = Qps { lower: 0.5, upper: 16.0, tolerance: 0.1, max_rounds: 5, max_probes: 20, prune: false };

    /// Runs a search against an oracle; the rates in the order of their measurement, and the end.
    fn run(mut search: RateSearch, mut oracle: impl FnMut(SearchProbe) -> ProbeOutcome) -> (Vec<f64>, SearchResult) {
        let mut rates = Vec::new();
        while let Some(probe) = search.next() {
            assert!(rates.len() < 100, "endless search: {rates:?}");
            rates.push(probe.rate);
            search.record(probe, oracle(probe));
        }
        (rates, search.ended())
    }

    fn clear(pass: bool) -> ProbeOutcome {
        if pass { ProbeOutcome::Pass { near: false } } else { ProbeOutcome::Fail { near: false } }
    }

    #[test]
    fn everything_passes() {
        let (rates, ended) = run(RateSearch::new(SPEC, None), |_| clear(true));
        assert_eq!(rates, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0]);
        assert_eq!(
            (ended.max_pass, ended.min_fail, ended.reason),
            (Some(16.0), None, SearchEndReason::NoFailureInRange)
        );
    }

    #[test]
    fn failing_twice_at_the_rate_of_another_candidate_is_pruned() {
        let (rates, ended) = run(RateSearch::against(SPEC, 6.0), |_| clear(false));
        assert_eq!((rates, ended.reason, ended.max_pass), (vec![6.0, 6.0], SearchEndReason::Pruned, None));
        // One failure is not enough.
        let (rates, ended) = run(RateSearch::against(SPEC, 6.0), |probe| clear(probe.rate < 5.0 || probe.vote > 0));
        assert!(rates.len() > 2 && ended.reason != SearchEndReason::Pruned, "{rates:?}");
        // If it passes there, the search continues above.
        let (rates, ended) = run(RateSearch::against(SPEC, 6.0), |probe| clear(probe.rate <= 9.0));
        assert!(rates[1] > 6.0 && ended.max_pass > Some(8.0), "{rates:?} {ended:?}");
    }

    #[test]
    fn nothing_passes() {
        let (rates, ended) = run(RateSearch::new(SPEC, Some(6.0)), |_| clear(false));
        assert_eq!(rates, [6.0, 3.0, 1.5, 0.75, 0.5]);
        assert_eq!((ended.max_pass, ended.min_fail, ended.reason), (None, Some(0.5), SearchEndReason::NoPassInRange));
    }

    #[test]
    fn a_threshold_is_bracketed() {
        let (rates, ended) = run(RateSearch::new(SPEC, None), |probe| clear(probe.rate <= 5.3));
        assert_eq!(rates, [0.5, 1.0, 2.0, 4.0, 8.0, 6.0, 5.0, 5.5, 5.25, 5.25]);
        assert_eq!((ended.max_pass, ended.min_fail), (Some(5.25), Some(5.5)));
        assert_eq!(
            (ended.reason, ended.rounds, ended.probes, ended.non_monotone),
            (SearchEndReason::Resolved, 4, 10, false)
        );
    }

    #[test]
    fn rounds_are_bounded() {
        let spec = Qps { max_rounds: 1, ..SPEC };
        let (_, ended) = run(RateSearch::new(spec, None), |probe| clear(probe.rate <= 5.3));
        assert_eq!(
            (ended.max_pass, ended.min_fail, ended.reason, ended.rounds),
            (Some(4.0), Some(6.0), SearchEndReason::MaxRounds, 1)
        );
        let spec = Qps { max_probes: 3, ..SPEC };
        let (_, ended) = run(RateSearch::new(spec, None), |_| clear(true));
        // A rate that was not confirmed is not a result.
        assert_eq!((ended.max_pass, ended.reason, ended.probes), (None, SearchEndReason::MaxProbes, 3));
    }

    #[test]
    fn close_calls_are_voted_on() {
        let mut outcomes =
            [ProbeOutcome::Fail { near: true }, ProbeOutcome::Pass { near: true }, ProbeOutcome::Pass { near: false }]
                .into_iter();
        let (rates, ended) = run(RateSearch::new(SPEC, Some(8.0)), |probe| match probe.rate {
            8.0 => outcomes.next().unwrap_or(clear(true)),
            rate => clear(rate < 8.0),
        });
        assert_eq!(rates[..4], [8.0, 8.0, 8.0, 16.0]);
        assert_eq!((ended.max_pass, ended.non_monotone), (Some(8.0), false));
    }

    #[test]
    fn a_rate_that_is_not_confirmed_is_lowered() {
        let (_, ended) =
            run(RateSearch::new(SPEC, None), |probe| clear(probe.rate <= 5.3 && !(probe.rate > 4.5 && probe.vote > 0)));
        assert_eq!((ended.max_pass, ended.min_fail, ended.reason), (Some(4.5), Some(5.0), SearchEndReason::MaxRounds));
    }

    #[test]
    fn an_infrastructure_failure_is_not_a_missed_sla() {
        let mut first = true;
        let (rates, ended) = run(RateSearch::new(SPEC, None), |probe| {
            if std::mem::take(&mut first) { ProbeOutcome::Infra } else { clear(probe.rate <= 1.0) }
        });
        assert_eq!(rates[..3], [0.5, 0.5, 1.0]);
        assert_eq!(ended.max_pass, Some(1.0));
        let (rates, ended) = run(RateSearch::new(SPEC, None), |_| ProbeOutcome::Infra);
        assert_eq!((rates.len(), ended.max_pass, ended.reason), (2, None, SearchEndReason::Aborted));
    }

    #[test]
    fn a_pass_above_a_failure_is_reported() {
        // Going down from 6: 6 fails, 3 passes, 4.5 fails; 8 was never asked. A cliff that lies makes it non-monotone.
        let mut search = RateSearch::new(SPEC, None);
        for (rate, pass) in [(0.5, true), (1.0, false)] {
            search.record(SearchProbe { rate, vote: 0 }, clear(pass));
        }
        search.record(SearchProbe { rate: 2.0, vote: 0 }, clear(true));
        let ended = search.ended();
        assert!(ended.non_monotone && ended.max_pass.is_none(), "{ended:?}");
    }

    proptest! {
        #[test]
        fn whatever_comes_it_ends_and_claims_only_what_passed(
            outcomes in proptest::collection::vec(0u8..5, 40),
            start in proptest::option::of(0.1f64..40.0),
        ) {
            let mut outcomes = outcomes.into_iter();
            let mut seen: Vec<(f64, ProbeOutcome)> = Vec::new();
            let (rates, ended) = run(RateSearch::new(SPEC, start), |probe| {
                let outcome = match outcomes.next() {
                    Some(0) => ProbeOutcome::Infra,
                    Some(1) => ProbeOutcome::Pass { near: true },
                    Some(2) => ProbeOutcome::Fail { near: true },
                    Some(3) => clear(true),
                    _ => clear(false),
                };
                seen.push((probe.rate, outcome));
                outcome
            });
            prop_assert!(rates.len() <= 20 && rates.iter().all(|rate| (0.5..=16.0).contains(rate)));
            if let Some(max_pass) = ended.max_pass {
                let passes = seen.iter().filter(|(rate, o)| *rate == max_pass && matches!(o, ProbeOutcome::Pass { .. })).count();
                prop_assert!(passes >= 2);
            }
            prop_assert!(ended.rounds <= 5);
        }
    }
}
