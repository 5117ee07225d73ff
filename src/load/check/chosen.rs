//! Which candidates of one pass may win, and at which load.

use std::collections::BTreeMap;

/// A candidate within this share of the best of its framework may still win.
const NEAR: f64 = 0.95;

/// A load at which a server met its limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChosenLoad {
    /// What it is compared by: the highest load of a search, otherwise requests per second.
    pub score: f64,
    /// Requests in flight at this load.
    pub in_flight: u32,
    /// Index of its scenario within the candidate.
    pub scenario: usize,
}

impl ChosenLoad {
    /// The requests in flight at `rate` requests per second with answers of `answer_s` seconds (Little's law), at least one.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count within bounds")]
    pub fn little(rate: f64, answer_s: Option<f64>) -> u32 {
        (rate * answer_s.unwrap_or(1.0)).ceil().clamp(1.0, f64::from(u16::MAX)) as u32
    }
}

/// The best of each framework so far, by framework, scenario and kind of load.
#[derive(Debug, Default)]
pub struct BestLoads(BTreeMap<String, f64>);

impl BestLoads {
    /// Of the chosen loads of one candidate, by the same keys, those with which it may win: the one with the most requests in flight.
    pub fn may_win(&self, own: &BTreeMap<String, ChosenLoad>) -> Option<ChosenLoad> {
        let is_near = |key: &String, score: f64| self.0.get(key).is_none_or(|best| score >= best * NEAR);
        let near = own.iter().filter(|(key, load)| is_near(key, load.score)).map(|(_, load)| *load);
        near.max_by_key(|load| load.in_flight)
    }

    /// Takes the chosen loads of one candidate whose answers were not found to be wrong: one that never wins is no measure for others.
    pub fn insert(&mut self, own: &BTreeMap<String, ChosenLoad>) {
        for (key, load) in own {
            let best = self.0.entry(key.clone()).or_insert(load.score);
            *best = best.max(load.score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_near_the_best_so_far_may_win() {
        let mut best = BestLoads::default();
        let mut take = |score, in_flight| {
            let own = BTreeMap::from([("vllm chat".to_string(), ChosenLoad { score, in_flight, scenario: 0 })]);
            let load = best.may_win(&own);
            best.insert(&own);
            load
        };
        assert_eq!(take(10.0, 4).map(|load| load.in_flight), Some(4));
        assert_eq!(take(8.0, 4), None);
        assert!(take(9.6, 4).is_some() && take(12.0, 5).is_some());
        assert_eq!(take(10.0, 4), None);
        assert_eq!(best.may_win(&BTreeMap::new()), None);
    }

    #[test]
    fn one_whose_answers_are_wrong_does_not_keep_others_from_being_checked() {
        let mut best = BestLoads::default();
        let of = |score| BTreeMap::from([("vllm chat".to_string(), ChosenLoad { score, in_flight: 4, scenario: 0 })]);
        best.insert(&of(10.0));
        // The second is twice as fast and wrong, so it is not inserted; the third may win.
        assert!(best.may_win(&of(20.0)).is_some());
        assert!(best.may_win(&of(15.0)).is_some());
        best.insert(&of(20.0));
        assert!(best.may_win(&of(15.0)).is_none());
    }

    #[test]
    fn a_rate_has_its_requests_in_flight() {
        assert_eq!([ChosenLoad::little(4.0, Some(2.1)), ChosenLoad::little(0.1, Some(0.5))], [9, 1]);
    }
}
