//! What to do after a ranking: the steps that make its decision more certain.

use super::text::candidate;
use crate::rank::{Decision, Group, RIGHT_ANSWERS, Ranking, Trial};

/// How to run again what failed.
const AGAIN: &str = "bench-expand PLAN --done RESULTS --retry all";
/// How to repeat the leaders.
const REPEAT: &str = "bench-expand PLAN --from RESULTS --repeats 2..5";

/// The steps for the decision on a group, a sentence each; empty if nothing is left to do.
#[must_use]
pub fn steps(ranking: &Ranking, group: &Group) -> Vec<String> {
    let missing = |missing: &crate::rank::Missing| {
        format!("measure {} ({}): mend the cause, then {AGAIN}", missing.framework, missing.why)
    };
    let mut steps: Vec<String> = group.missing.iter().map(missing).collect();
    let Some(first) = group.ranked.first().map(|ranked| &ranked.best) else { return steps };
    match &group.decision {
        Decision::None { limit, .. } if *limit == RIGHT_ANSWERS => {
            steps.push(
                "leave out the flags that make answers wrong, or check what was not checked (check: all in the plan)"
                    .into(),
            );
        }
        Decision::None { nearest, limit, .. } => {
            let near = candidate(group.ranked[*nearest].best.entry());
            steps.push(format!(
                "measure {near} at a lower load, or search the highest rate that meets {limit} (benchmark.qps of the plan)"
            ));
        }
        Decision::Winner | Decision::Fastest => steps.extend(confirm(ranking, first)),
    }
    steps.extend(repeat(group));
    steps
}

/// The number of requests that confirms a verdict.
#[must_use]
pub fn confirm(ranking: &Ranking, trial: &Trial) -> Vec<String> {
    let sentence = |(statistic, found): (crate::rows::words::Statistic, crate::rank::Confirmation)| {
        format!("confirm the {} with at least {} requests at this load (num_prompts)", statistic.title(), found.needed)
    };
    let unconfirmed = trial.passed() == Some(true) && trial.unconfirmed();
    let by = trial.unconfirmed_by(&ranking.options).into_iter();
    by.filter(|_| unconfirmed).map(sentence).collect()
}

/// Single runs do not show their noise.
fn repeat(group: &Group) -> Option<String> {
    let (second, comparison) = group.ties.next.as_ref()?;
    // Only a plan can be repeated by name.
    let of_plan = group.ranked[*second].best.entry().own.as_ref().is_some_and(|own| !own.unit.is_empty());
    (comparison.interval.is_none() && of_plan && !group.key.smoke)
        .then(|| format!("repeat the leaders, which were measured once: {REPEAT}"))
}
