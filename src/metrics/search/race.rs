//! The first of two stages: which candidates of a framework are worth a search.
//!
//! A candidate is measured shortly at the best load known of its framework, the bar. It is out if it fails there twice; otherwise it
//! climbs until it fails, and may raise the bar. The first candidate of a framework finds where the bar is. Loads are compared a
//! rung below the bar, so that a candidate within noise of it stays.

use super::entrant::{Entrant, RUNG};
use super::{LoadSearch, NARROW, SearchRange, SearchStep};
use crate::metrics::sla::Limits;
use crate::rows::words::SearchEndReason;

/// Steps below the bar at which a candidate is measured: 5 %.
const BELOW: usize = NARROW;

impl LoadSearch {
    /// A race at `bar`, the best load known of the framework; without one, the search for it from `start`.
    #[must_use]
    pub fn race(range: SearchRange, limits: &Limits, start: Option<f64>, bar: Option<f64>) -> Self {
        let search = Self::new(range, limits, bar.or(start));
        match bar {
            None => Self { race: Some(Entrant::First), ..search },
            Some(_) => {
                let start = search.start.saturating_sub(BELOW);
                Self { race: Some(Entrant::AtBar), start, stride: RUNG, ..search }
            }
        }
    }

    /// The search of a candidate that has to beat the leader of its framework: it begins 10 % above the leader's rate, and ends if it fails
    /// two short runs or a long one there, for then it is at most tied.
    #[must_use]
    pub fn challenge(range: SearchRange, limits: &Limits, leader: f64) -> Self {
        let search = Self::new(range, limits, Some(leader));
        let start = (search.start + RUNG).min(search.ladder.top());
        Self { incumbent: Some(start), challenges: true, start, ..search }
    }

    /// What comes next in a race.
    pub(super) fn raced(&self, race: Entrant) -> SearchStep {
        let top = self.ladder.top();
        match (self.bracket(), race) {
            ((None, None), _) => self.probe(self.start, None),
            ((None, Some(high)), Entrant::AtBar) => match self.done.len() {
                0 | 1 => self.probe(high.step, None),
                _ => SearchStep::End(SearchEndReason::Outraced),
            },
            ((None, Some(high)), Entrant::First) if high.step == 0 => SearchStep::End(SearchEndReason::NoPassInRange),
            ((None, Some(high)), Entrant::First) => self.probe(high.step.saturating_sub(self.stride), None),
            ((Some(low), None), _) if low == top => SearchStep::End(SearchEndReason::NoFailureInRange),
            ((Some(low), None), _) => self.probe((low + self.stride).min(top), None),
            ((Some(low), Some(high)), _) if high.step - low > RUNG => self.probe(low + (high.step - low) / 2, None),
            ((Some(_), Some(_)), _) => SearchStep::End(SearchEndReason::Screened),
        }
    }
}
