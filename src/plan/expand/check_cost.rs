//! How long checks of answers take beside the runs of a candidate.

use super::estimate::TimeRange;
use super::search_cost::{BATCH, LIKELY};
use crate::rows::kinds::{BEGINNING_TOKENS, CHECK_BEGINNINGS, CHECK_NONCES, Candidate, CheckSettings, Load};
use crate::rows::words::{CheckScope, Stage};

/// Mean number of tokens of our questions: most have 40, and every fourth has 40 records.
const PROMPT: f64 = 250.0;
/// Output tokens that the answer to a question of ours is likely to take: a number, a code, or five numbers.
const TOKENS: f64 = 24.0;

/// Checks of one candidate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct CheckCost {
    /// How many are likely: below 1 where only a candidate that may win is checked.
    pub checks: f64,
    /// Their time, with that of the reference.
    pub time: TimeRange,
}

/// What the checks of a candidate cost; `answer_s` is the time of an answer that just meets its limits, s, by the tokens of prompt and answer.
pub(super) fn check_cost(candidate: &Candidate, answer_s: impl Fn(f64, f64) -> f64) -> CheckCost {
    let forced = candidate.speculation.as_ref().is_some_and(|own| own.forced_acceptance_length.is_some());
    let Some(check) = candidate.check.as_ref().filter(|check| check.candidates != CheckScope::None && !forced) else {
        return CheckCost::default();
    };
    let (stage, baseline) = (candidate.search.stage, candidate.search.baseline);
    let time = |requests: u32, at_once: f64, tokens: AnswerTokens| {
        let rounds = (f64::from(requests) / at_once).ceil();
        TimeRange {
            likely_s: rounds * answer_s(PROMPT, tokens.likely) * LIKELY,
            most_s: rounds * answer_s(PROMPT, tokens.most),
        }
    };
    let tokens = AnswerTokens::of(check);
    let mut cost = CheckCost::default();
    let reference = baseline && stage.is_none_or(|stage| stage == Stage::Screen);
    if reference {
        let alone = time(check.questions + CHECK_BEGINNINGS, 1.0, tokens);
        cost.time.add(alone.likely_s, alone.most_s);
    }
    // Of candidates in any order the n-th is the best so far with a chance of 1/n.
    let share = match (check.candidates, stage) {
        (CheckScope::All, _) => 1.0,
        (_, None | Some(Stage::Search)) if baseline => 1.0,
        #[allow(clippy::cast_precision_loss, reason = "a number of candidates")]
        (_, None | Some(Stage::Search)) => 1.0 / (candidate.search.index + 1) as f64,
        (_, Some(Stage::Screen | Stage::Repeat)) => 0.0,
    };
    if share > 0.0 {
        let in_flight = candidate.units.iter().filter_map(|unit| candidate.loads.get(unit.load)).map(in_flight);
        // Half of the requests are those of the load.
        let own = (in_flight.fold(1.0, f64::max) / 2.0).ceil();
        let full = time(CHECK_NONCES + check.questions + CHECK_BEGINNINGS, own, tokens);
        cost.time.add(share * full.likely_s, full.most_s);
        cost.checks = share;
    } else if !reference && stage == Some(Stage::Screen) {
        let beginnings = f64::from(BEGINNING_TOKENS);
        let screening = time(1, 1.0, AnswerTokens { likely: beginnings, most: beginnings });
        cost.time.add(screening.likely_s, screening.most_s);
    }
    cost
}

/// Output tokens of an answer.
#[derive(Debug, Clone, Copy)]
struct AnswerTokens {
    likely: f64,
    most: f64,
}

impl AnswerTokens {
    fn of(check: &CheckSettings) -> Self {
        let most = f64::from(check.max_tokens);
        // Nobody knows what the questions of a file take.
        let likely = if check.file.is_some() { most / 2.0 } else { TOKENS.min(most) };
        Self { likely, most }
    }
}

/// Requests in flight at a load, as far as it says.
fn in_flight(load: &Load) -> f64 {
    let most = load.concurrency.or(load.cap).or(load.users.as_ref().map(|users| users.upper));
    most.map_or(BATCH, f64::from).min(BATCH)
}
