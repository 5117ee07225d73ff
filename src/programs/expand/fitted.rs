//! What runs next, and what a limit of time leaves out.

use super::Expander;
use super::chosen::{ChosenRuns, TimeLimit};
use crate::flags::expand::ExpandFormat;
use crate::flags::fit::FitTime;
use crate::metrics::search::BEST;
use crate::plan::Plan;
use crate::plan::expand::{Fitted, StageCandidates, StagedSweep, fit, in_time, likely_stages, skipped};
use crate::programs::earlier::{self, StageRows};
use crate::rows::kinds::Candidate;
use crate::rows::words::Stage;

/// Share of a search that may be missing at its end.
const CUT: f64 = 0.75;

/// The number of runs that candidates ask for.
fn runs(candidates: &[Candidate]) -> usize {
    candidates.iter().filter(|candidate| candidate.status.is_none()).map(|candidate| candidate.units.len()).sum()
}

impl Expander<'_> {
    /// The time in which the runs of this plan are to end: its share of the time by the command line, otherwise its own, where runs are
    /// chosen.
    pub(super) fn time_limit(&self, plan: &Plan, share: f64) -> Option<TimeLimit> {
        let args = self.args;
        let (seconds, source) = match self.fit {
            Some(FitTime::Unlimited) => return None,
            Some(FitTime::Within(time)) => (self.shares.of(time.as_secs_f64(), share), None),
            None => {
                // Other rows than those of the next runs, or for people and other tools.
                let is_other = args.format != ExpandFormat::Jsonl
                    || args.calibrate
                    || args.slot_check.is_some()
                    || args.claim.is_some()
                    || !args.on.is_empty()
                    || !args.from.is_empty()
                    || !args.emit.is_empty();
                (plan.fit.filter(|_| !is_other)?.as_secs_f64(), Some("search.fit"))
            }
        };
        Some(TimeLimit { seconds, source })
    }

    /// What of these is likely to end within `seconds`.
    pub(super) fn fit_into(&mut self, stages: Vec<StageCandidates>, seconds: f64) -> Fitted {
        let (estimator, frameworks) = (&mut self.estimator, &self.frameworks);
        fit(stages, seconds, |candidate| estimator.estimate(std::iter::once(candidate), frameworks).likely_s())
    }

    /// The candidates of the first of these stages with runs left, or with runs for which there is time.
    pub(super) fn staged(
        &mut self,
        candidates: &[Candidate],
        own: &[Candidate],
        stages: &[Stage],
        is_own: &dyn Fn(&Candidate) -> bool,
        limit: Option<TimeLimit>,
    ) -> ChosenRuns {
        let StageRows { found, best } = std::mem::take(&mut self.staged);
        let sweep = StagedSweep { candidates, found: &found, best: &best };
        let mut skipped = Vec::new();
        let mut chosen = ChosenRuns { candidates: Vec::new(), rest: Vec::new(), fitted: None };
        for stage in stages {
            let mut all = sweep.stage(*stage);
            earlier::leave_out(&mut all, &self.done);
            // A stage begins once the one before is complete in all parts.
            let of_others = runs(&all);
            all.retain(is_own);
            let of_others = of_others - runs(&all);
            let mut rest = vec![StageCandidates { stage: Some(*stage), candidates: all }];
            if limit.is_some() {
                rest.extend(likely_stages(own, BEST).into_iter().filter(|later| later.stage > Some(*stage)));
            }
            let found = self.choose(rest, limit);
            let runs = runs(&found.candidates);
            if runs > 0 || of_others > 0 || stages.len() == 1 {
                self.notice.say(format!("stage {stage}: {runs} run{}", if runs == 1 { "" } else { "s" }));
                chosen = found;
                break;
            }
            skipped.extend(found.candidates);
        }
        self.staged = StageRows { found, best };
        // What does not fit now may fit later, if the others are quicker than expected.
        if runs(&chosen.candidates) == 0 {
            chosen.candidates.extend(skipped);
        }
        chosen
    }

    /// What runs next of the first of these stages, and what is left out of it.
    pub(super) fn choose(&mut self, rest: Vec<StageCandidates>, limit: Option<TimeLimit>) -> ChosenRuns {
        let all = rest[0].candidates.clone();
        let Some(TimeLimit { seconds, .. }) = limit else {
            return ChosenRuns { candidates: all, rest, fitted: None };
        };
        let fitted = self.fit_into(rest.clone(), seconds);
        let mut kept = fitted.stages.first().map(|stage| stage.candidates.clone()).unwrap_or_default();
        let is_tight = fitted.likely_s > seconds;
        if is_tight && !self.estimator.observed.unit_s.is_empty() {
            // Before anything has run, a guess must not keep everything from running.
            let (estimator, frameworks) = (&mut self.estimator, &self.frameworks);
            kept = in_time(kept, seconds, |candidate| {
                let likely = estimator.estimate(std::iter::once(candidate), frameworks);
                // A search that the time cuts off counts as far as it came.
                likely.likely_s() - CUT * likely.search.likely_s
            });
        }
        let skipped = skipped(&all, &kept, seconds);
        if self.args.next {
            let mut frameworks: Vec<&str> = kept.iter().map(|candidate| candidate.framework.as_str()).collect();
            frameworks.sort_unstable();
            frameworks.dedup();
            // The last ones singly, or as many as run at the same time.
            let at_once = self.estimator.slots.map_or(1, |(slots, _)| slots);
            let (most, mut n) = (if is_tight { at_once } else { frameworks.len() * at_once }, 0);
            kept.retain(|candidate| {
                n += usize::from(candidate.status.is_none());
                candidate.status.is_some() || n <= most
            });
        }
        if !self.args.next || runs(&kept) == 0 {
            kept.extend(skipped);
        }
        ChosenRuns { candidates: kept, rest, fitted: Some(fitted) }
    }
}
