//! How long a run has to be for its question.
//!
//! By Little's law the requests in flight of an open loop rise for as long as an answer takes, the ramp; only what comes after it
//! tells whether the server keeps up. A percentile takes as many requests as lie above it, and slow requests come in clusters
//! that are about as long as an answer, so a search asks for more of both the closer it comes to its result.

use crate::metrics::sample::{Sample, percentile};
use crate::rows::kinds::{Load, LoadMode, RunLength};
use crate::rows::words::LengthReason;

/// Answers after the ramp that tell whether a server keeps up.
pub const STEADY_ANSWERS: f64 = 3.0;
/// Length of the ramp, answers.
pub const RAMP: f64 = 1.0;
/// Percentile of E2E that counts as the length of an answer.
const ANSWER_PERCENTILE: f64 = 95.0;

/// What a run needs at least, beside the plan's own `num_prompts` and `duration_s`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LengthNeed {
    /// Requests.
    pub requests: u32,
    /// Answers one after the other, those of the ramp included.
    pub answers: f64,
}

impl LengthNeed {
    /// That of a run at a given load: an open loop tells whether the server keeps up, a closed loop and a burst cannot fall behind.
    #[must_use]
    pub fn once(mode: LoadMode) -> Self {
        let answers = if mode == LoadMode::Open { RAMP + STEADY_ANSWERS } else { 0.0 };
        Self { requests: 0, answers }
    }

    /// The length of a run at this load with answers of `answer_s` seconds, if that is known. A plan's `num_prompts` and `duration_s`
    /// are lower bounds.
    #[must_use]
    pub fn length(self, num_prompts: u32, duration_s: Option<f64>, load: &Load, answer_s: Option<f64>) -> RunLength {
        let rate = load.rate.filter(|_| load.mode == LoadMode::Open);
        let by_answers = match load.mode {
            LoadMode::Open => rate.zip(answer_s).map(|(rate, answer)| rate * answer * self.answers),
            LoadMode::Closed => load.concurrency.map(|n| f64::from(n) * self.answers),
            LoadMode::Burst => None,
        };
        let by_time = duration_s.zip(rate).map(|(duration, rate)| duration * rate);
        let asked = [
            (LengthReason::NumPrompts, num_prompts),
            (LengthReason::Duration, whole(by_time)),
            (LengthReason::Answers, whole(by_answers)),
            (LengthReason::Evidence, self.requests),
        ];
        // Of equal ones the first decides.
        let longest = |a: (LengthReason, u32), b: (LengthReason, u32)| if b.1 > a.1 { b } else { a };
        let (decided_by, requests) =
            asked.into_iter().reduce(longest).unwrap_or((LengthReason::NumPrompts, num_prompts));
        RunLength { requests, decided_by, due_s: rate.map(|rate| f64::from(requests) / rate), answer_s }
    }
}

/// How many answers of `answer_s` seconds fit into a run one after the other after the ramp.
#[must_use]
pub fn answers(length: &RunLength, load: &Load, answer_s: Option<f64>) -> f64 {
    let all = match load.mode {
        LoadMode::Open => length.due_s.zip(answer_s).map(|(due, answer)| due / answer),
        LoadMode::Closed | LoadMode::Burst => {
            load.concurrency.map(|n| f64::from(length.requests) / f64::from(n.max(1)))
        }
    };
    all.map_or(0.0, |all| all - RAMP)
}

/// Time that a run of this length takes if the server keeps up, s; `None` if that is not known.
#[must_use]
pub fn run_s(length: &RunLength, load: &Load) -> Option<f64> {
    match load.mode {
        LoadMode::Open => Some(length.due_s? + length.answer_s?),
        LoadMode::Closed => {
            Some((f64::from(length.requests) / f64::from(load.concurrency?.max(1))).ceil() * length.answer_s?)
        }
        LoadMode::Burst => None,
    }
}

/// The length of an answer, s: the 95th percentile of E2E. `None` without one.
#[must_use]
pub fn answer_s(sample: &Sample) -> Option<f64> {
    percentile(&sample.e2e, ANSWER_PERCENTILE).map(|ms| ms / 1000.0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn whole(n: Option<f64>) -> u32 {
    n.map_or(0, |n| n.ceil() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(rate: f64) -> Load {
        Load { rate: Some(rate), ..Load::default() }
    }

    #[test]
    fn what_asks_for_most_decides() {
        let of = |need: LengthNeed, duration, answer| {
            let length = need.length(80, duration, &open(4.0), answer);
            (length.requests, length.decided_by)
        };
        let once = LengthNeed::once(LoadMode::Open);
        assert_eq!(of(once, None, None), (80, LengthReason::NumPrompts));
        assert_eq!(of(once, None, Some(5.0)), (80, LengthReason::NumPrompts), "20 s are enough");
        assert_eq!(of(once, None, Some(10.0)), (160, LengthReason::Answers));
        assert_eq!(of(once, Some(60.0), Some(10.0)), (240, LengthReason::Duration));
        assert_eq!(of(LengthNeed { requests: 500, answers: 4.0 }, None, Some(10.0)), (500, LengthReason::Evidence));
        assert_eq!(once.length(80, None, &open(4.0), Some(10.0)).due_s, Some(40.0));
    }

    #[test]
    fn a_closed_loop_is_as_long_as_its_answers() {
        let closed = Load { mode: LoadMode::Closed, concurrency: Some(50), ..Load::default() };
        assert_eq!(LengthNeed::once(LoadMode::Closed).length(80, Some(60.0), &closed, Some(10.0)).requests, 80);
        let need = LengthNeed { requests: 0, answers: 4.0 };
        let length = need.length(80, None, &closed, None);
        assert_eq!((length.requests, answers(&length, &closed, None)), (200, 3.0));
    }
}
