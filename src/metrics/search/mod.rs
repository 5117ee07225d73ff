//! The search for the highest load that meets the SLA, a request rate or a number of requests in flight: which load to measure
//! next and for how long, given the results so far.
//!
//! Go up from a start until a load fails, or down until one passes, in steps that grow; bisect between the two, with longer runs
//! the narrower the bracket is; then measure the ends of the bracket again, with other seeds, until there are enough requests
//! and answers to tell. All runs count together ([`evidence`]). The result is always a load that was measured, and at which a
//! run passed.
//!
//! `tests/it/law.rs` holds this against engines whose capacity is known, and says what it costs.

mod advance;
mod entrant;
mod evidence;
mod judge;
mod ladder;
mod length;
mod pilot;
mod race;

pub use self::advance::{BEST, MOST, advancing};
pub use self::evidence::{Evidence, LoadVerdict};
pub use self::judge::ProbeRun;
pub use self::ladder::{Ladder, RATIO, SearchRange};
pub use self::length::{LengthNeed, STEADY_ANSWERS, answer_s, answers, run_s};
pub use self::pilot::{PILOT_START, Pilot};

use self::entrant::Entrant;
use self::evidence::verdicts;
use super::sla::Limits;
use super::stability::ENOUGH;
use crate::rows::words::{Limit, SearchEndReason};

/// A bracket of so many steps of the ladder is not worth bisecting.
pub const NARROW: usize = 2;
/// Factor between its ends up to which that holds.
const NARROW_RATIO: f64 = 1.06;
/// Steps from the start to the next load; they double from load to load.
const FIRST_STRIDE: usize = 8;
/// Steps to the next load after a bracket was found and lost again; they double, too.
const LATER_STRIDE: usize = 2;
/// Maximum number of steps from one load to the next.
pub const MOST_STRIDE: usize = 24;
/// Number of consecutive runs that fail for reasons other than the SLA before the search is aborted.
const INFRA: usize = 2;

/// A percentile is decided by so many requests that this many are expected above it: 1000 of a p99.
const EXPECTED_ABOVE: f64 = 10.0;
/// Answers one after the other that decide a load.
const DECIDING_ANSWERS: f64 = 24.0;
/// Share of the deciding requests and answers that a failing load needs, unless a run was cut short there: to miss a limit by
/// chance is rarer than to meet it.
const FAILING_SHARE: f64 = 0.7;
/// A bracket of more steps than this is bisected with short runs, which cost little.
const FAR: usize = 10;
/// One of more steps than this with longer runs.
const CLOSER: usize = 5;
/// Share of the deciding requests in a run of a closer bracket.
const CLOSER_SHARE: f64 = 0.2;
/// Answers of a run of a closer bracket, ramp included.
const CLOSER_ANSWERS: f64 = 7.0;
/// Share of the deciding requests in a run of a close bracket.
const CLOSE_SHARE: f64 = 0.5;
/// Answers of a run of a close bracket, ramp included.
const CLOSE_ANSWERS: f64 = 25.0;

/// The next run of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchProbe {
    /// Requests per second, or requests in flight.
    pub value: f64,
    /// Its step of the ladder.
    pub step: usize,
    /// Number of earlier runs at this load: each has its own seed.
    pub vote: u32,
    /// How long it has to be.
    pub need: LengthNeed,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeOutcome {
    /// The SLA was tested.
    Judged(Evidence),
    /// The run says nothing about the SLA: the server was lost, or the client fell behind.
    Infra,
}

/// How a search ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    /// Highest load that passed.
    pub max_pass: Option<f64>,
    /// Lowest load above it that failed.
    pub min_fail: Option<f64>,
    /// The limit that was missed there.
    pub decided_by: Option<Limit>,
    /// Bisection steps.
    pub rounds: u32,
    /// All runs.
    pub probes: u32,
    /// Why it ended.
    pub reason: SearchEndReason,
    /// Every run at some load above one that failed has passed.
    pub non_monotone: bool,
}

/// A search and its runs so far.
#[derive(Debug, Clone)]
pub struct LoadSearch {
    range: SearchRange,
    ladder: Ladder,
    start: usize,
    /// The best load of another candidate, if the search ends early for a candidate that cannot sustain it.
    incumbent: Option<usize>,
    /// It has to beat that candidate by more than noise: short runs do not tell.
    challenges: bool,
    /// Set in the first of two stages, which only tells the best candidates from the others.
    race: Option<Entrant>,
    /// Requests that decide a load.
    deciding: f64,
    done: Vec<(SearchProbe, ProbeOutcome)>,
    stride: usize,
    bracketed: bool,
    rounds: u32,
    /// Bisection steps since the bracket was found: where more runs lose or widen it, it is bisected anew.
    rounds_here: u32,
}

enum SearchStep {
    Run(SearchProbe),
    End(SearchEndReason),
}

impl LoadSearch {
    /// A search within `range` for the limits of a plan that starts at `start`, or at the lower end.
    #[must_use]
    pub fn new(range: SearchRange, limits: &Limits, start: Option<f64>) -> Self {
        let ladder = Ladder::of(&range);
        let start = ladder.nearest(start.filter(|value| value.is_finite()).unwrap_or(range.lower));
        Self {
            range,
            ladder,
            start,
            incumbent: None,
            challenges: false,
            race: None,
            deciding: limits.strictest_quantile().map_or(0.0, |q| (EXPECTED_ABOVE / (1.0 - q)).round()),
            done: Vec::new(),
            stride: FIRST_STRIDE,
            bracketed: false,
            rounds: 0,
            rounds_here: 0,
        }
    }

    /// A search that starts at the best load of another candidate and ends if that fails twice, with two seeds.
    #[must_use]
    pub fn against(range: SearchRange, limits: &Limits, incumbent: f64) -> Self {
        let search = Self::new(range, limits, Some(incumbent));
        Self { incumbent: Some(search.start), ..search }
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
        let before = self.bracket();
        let new = self.done.iter().all(|(other, _)| other.step != probe.step);
        self.done.push((probe, outcome));
        match before {
            (Some(low), Some(high)) => {
                let bisected = u32::from(new && low < probe.step && probe.step < high.step);
                self.rounds += bisected;
                self.rounds_here += bisected;
            }
            (None, None) => {}
            (Some(_), None) | (None, Some(_)) if !new => {}
            (Some(_), None) | (None, Some(_)) => self.stride = (2 * self.stride).min(MOST_STRIDE),
        }
        let width =
            |(low, high): (Option<usize>, Option<LoadVerdict>)| high.zip(low).map(|(high, low)| high.step - low);
        let (before, after) = (width(before), width(self.bracket()));
        if after.is_some() && !self.bracketed {
            (self.bracketed, self.stride) = (true, LATER_STRIDE);
        }
        if after.is_none_or(|after| before.is_some_and(|before| after > before)) {
            self.rounds_here = 0;
        }
    }

    /// The result so far, or at the end.
    #[must_use]
    pub fn ended(&self) -> SearchResult {
        let reason = match self.step() {
            SearchStep::End(reason) => reason,
            SearchStep::Run(_) => SearchEndReason::Interrupted,
        };
        let (low, high) = self.bracket();
        let runs = self.runs();
        let passed = |step: usize| {
            let mut at = runs.iter().filter(|(other, _)| *other == step);
            at.all(|(_, evidence)| evidence.passed)
        };
        SearchResult {
            max_pass: low.map(|step| self.ladder.value(step)),
            min_fail: high.map(|verdict| self.ladder.value(verdict.step)),
            decided_by: high.and_then(|verdict| verdict.limit),
            rounds: self.rounds,
            probes: u32::try_from(self.done.len()).unwrap_or(u32::MAX),
            reason,
            non_monotone: high.is_some_and(|high| runs.iter().any(|(step, _)| *step > high.step && passed(*step))),
        }
    }

    /// The runs that say something, with their step.
    fn runs(&self) -> Vec<(usize, &Evidence)> {
        let judged = self.done.iter().filter_map(|(probe, outcome)| match outcome {
            ProbeOutcome::Judged(evidence) => Some((probe.step, evidence)),
            ProbeOutcome::Infra => None,
        });
        judged.collect()
    }

    /// The highest step that passes, and the lowest that fails.
    fn bracket(&self) -> (Option<usize>, Option<LoadVerdict>) {
        let verdicts = verdicts(&self.runs());
        let low = verdicts.iter().rfind(|verdict| verdict.passes).map(|verdict| verdict.step);
        (low, verdicts.into_iter().find(|verdict| !verdict.passes))
    }

    /// Whether the runs at a step are this share of what decides it.
    fn is_decided(&self, step: usize, share: f64) -> bool {
        let at = || self.runs().into_iter().filter(|(other, _)| *other == step).map(|(_, evidence)| evidence);
        let requests: f64 = at().map(|evidence| f64::from(evidence.requests)).sum();
        let answers: f64 = at().map(|evidence| evidence.answers).sum();
        requests >= share * self.deciding && answers >= share * DECIDING_ANSWERS
    }

    /// Whether a load fails for sure: a run there was cut short, or fell behind, or there are enough of them.
    fn is_failed(&self, step: usize) -> bool {
        let sure = |(other, evidence): &(usize, &Evidence)| *other == step && (evidence.cut || evidence.fell_behind());
        self.runs().iter().any(sure) || self.is_decided(step, FAILING_SHARE)
    }

    /// The run at a step, as long as the width of the bracket asks for, in steps; `None` without one.
    fn probe(&self, step: usize, width: Option<usize>) -> SearchStep {
        let vote = self.done.iter().filter(|(probe, _)| probe.step == step).count();
        let share = |share: f64, answers: f64| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let requests = (share * self.deciding).ceil() as u32;
            LengthNeed { requests, answers }
        };
        let need = match width {
            Some(width) if width <= CLOSER => share(CLOSE_SHARE, CLOSE_ANSWERS),
            Some(width) if width <= FAR => share(CLOSER_SHARE, CLOSER_ANSWERS),
            Some(_) | None => LengthNeed { requests: ENOUGH, answers: length::RAMP + STEADY_ANSWERS },
        };
        let vote = u32::try_from(vote).unwrap_or(u32::MAX);
        SearchStep::Run(SearchProbe { value: self.ladder.value(step), step, vote, need })
    }

    fn step(&self) -> SearchStep {
        match self.wanted() {
            SearchStep::Run(_) if self.done.len() >= self.range.max_probes as usize => {
                SearchStep::End(SearchEndReason::MaxProbes)
            }
            step => step,
        }
    }

    fn wanted(&self) -> SearchStep {
        let last = self.done.iter().rev().take_while(|(_, outcome)| *outcome == ProbeOutcome::Infra).count();
        if last >= INFRA {
            return SearchStep::End(SearchEndReason::Aborted);
        }
        if let Some(pruning) = self.prune() {
            return pruning;
        }
        if let Some(race) = self.race {
            return self.raced(race);
        }
        let top = self.ladder.top();
        // After a bracket was found the result is near, and runs are long.
        let near = self.bracketed.then_some(LATER_STRIDE);
        match self.bracket() {
            (None, None) => self.probe(self.start, None),
            (None, Some(high)) if high.step == 0 => match self.is_failed(0) {
                true => SearchStep::End(SearchEndReason::NoPassInRange),
                false => self.probe(0, near),
            },
            (None, Some(high)) => self.probe(high.step.saturating_sub(self.stride), near),
            (Some(low), None) if low == top => match self.is_decided(top, 1.0) {
                true => SearchStep::End(SearchEndReason::NoFailureInRange),
                false => self.probe(top, Some(NARROW)),
            },
            (Some(low), None) => self.probe((low + self.stride).min(top), near),
            (Some(low), Some(high)) => self.between(low, high.step),
        }
    }

    /// What comes next while the best load of another candidate is all that was measured.
    fn prune(&self) -> Option<SearchStep> {
        let step = self.incumbent.filter(|step| self.done.iter().all(|(probe, _)| probe.step == *step))?;
        let passed: Vec<bool> = self.runs().iter().map(|(_, evidence)| evidence.passed).collect();
        match (&passed[..], self.bracket().0) {
            ([], _) => None,
            ([false], _) => Some(self.probe(step, None)),
            ([false, false, ..], _) => Some(SearchStep::End(SearchEndReason::Pruned)),
            _ if !self.challenges => None,
            (_, Some(_)) if self.is_decided(step, CLOSE_SHARE) => None,
            (_, None) if self.is_failed(step) => Some(SearchStep::End(SearchEndReason::Pruned)),
            _ => Some(self.probe(step, Some(NARROW))),
        }
    }

    /// What comes next between a step that passes and one that fails.
    fn between(&self, low: usize, high: usize) -> SearchStep {
        let width = high - low;
        let (from, to) = (self.ladder.value(low), self.ladder.value(high));
        // Small numbers of requests in flight are further apart than rates.
        let narrow = width == 1 || (width <= NARROW && to <= NARROW_RATIO * from) || to - from <= self.range.tolerance;
        let spent = self.rounds_here >= self.range.max_rounds;
        if !narrow && !spent {
            return self.probe(low + width / 2, Some(width));
        }
        if !self.is_decided(low, 1.0) {
            return self.probe(low, Some(NARROW));
        }
        if !self.is_failed(high) {
            return self.probe(high, Some(NARROW));
        }
        SearchStep::End(if narrow { SearchEndReason::Resolved } else { SearchEndReason::MaxRounds })
    }
}

#[cfg(test)]
mod tests;
