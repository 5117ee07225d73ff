//! How long the rest of a sweep takes, by what was measured so far.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::rows::kinds::CandidatePosition;

/// Time and units since the first candidate that a program saw.
#[derive(Debug, Clone, Copy, Default)]
pub struct SweepPace {
    /// When the first candidate came, and how many units were left then, if its row says so.
    first: Option<(Instant, Option<usize>)>,
    left: Option<usize>,
}

impl SweepPace {
    /// A candidate comes.
    pub fn enter(&mut self, position: Option<CandidatePosition>) {
        self.left = position.map(|position| position.units_left);
        self.first.get_or_insert((Instant::now(), self.left));
    }

    /// Time since the first candidate.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.first.map_or(Duration::ZERO, |(begun, _)| begun.elapsed())
    }

    /// Time left when `done` units of the present candidate are done; `None` until anything is done.
    #[must_use]
    pub fn left(&self, done: usize) -> Option<Duration> {
        let (begun, first) = self.first?;
        remaining(begun.elapsed(), first?, self.left?, done)
    }

    /// `12 min elapsed, about 40 min left`.
    #[must_use]
    pub fn text(&self, done: usize) -> String {
        let elapsed = format!("{} elapsed", brief(self.elapsed()));
        self.left(done).map_or_else(|| elapsed.clone(), |left| format!("{elapsed}, about {} left", brief(left)))
    }
}

/// Says when something that happens often is shown again.
#[derive(Debug, Clone, Default)]
pub struct Throttle(Cell<Option<Instant>>);

impl Throttle {
    /// True if it is the first time, or `every` has passed since it was true.
    #[must_use]
    pub fn is_due(&self, every: Duration) -> bool {
        let due = self.0.get().is_none_or(|latest| latest.elapsed() >= every);
        if due {
            self.0.set(Some(Instant::now()));
        }
        due
    }
}

fn remaining(elapsed: Duration, first: usize, left: usize, done: usize) -> Option<Duration> {
    let rest = left.saturating_sub(done);
    let measured = first.saturating_sub(rest);
    (measured > 0).then(|| elapsed.mul_f64(rest as f64 / measured as f64))
}

/// Seconds to the millisecond.
#[must_use]
pub fn rounded_s(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// A time in at most three digits: `41 s`, `12 min`, `4.5 h`.
#[must_use]
pub fn brief(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 99.5 * 60.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_per_unit_as_what_is_done() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(remaining(minutes(10), 36, 36, 0), None, "nothing is measured yet");
        assert_eq!(remaining(minutes(10), 36, 36, 6), Some(minutes(50)));
        assert_eq!(remaining(minutes(10), 36, 24, 6), Some(minutes(10)));
        assert_eq!(remaining(minutes(10), 36, 3, 3), Some(Duration::ZERO));
        let mut pace = SweepPace::default();
        pace.enter(None);
        assert_eq!(pace.left(3), None, "rows of other tools have no position");
    }

    #[test]
    fn a_throttle_lets_the_first_through() {
        let throttle = Throttle::default();
        let hour = Duration::from_secs(3600);
        assert_eq!([hour, hour, Duration::ZERO].map(|every| throttle.is_due(every)), [true, false, true]);
    }

    #[test]
    fn times_are_brief() {
        let texts = [0.04, 9.96, 99.4, 99.6, 5969.0, 5971.0].map(|s| brief(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["0.0 s", "10 s", "99 s", "2 min", "99 min", "1.7 h"]);
    }
}
