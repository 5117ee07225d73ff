//! How several plans share the time that a command line gives them.

use std::collections::VecDeque;

use serde_json::Value;

use crate::base::span::span;

/// The plans that share a time.
#[derive(Debug, Default)]
pub(super) struct TimeShares {
    /// Time that the plans before have, s.
    used_s: f64,
    /// What `search.fit` of each plan that is still to come says, s.
    to_come: VecDeque<Option<f64>>,
}

impl TimeShares {
    /// One more plan that is to come, by how it is searched.
    pub(super) fn add(&mut self, search: Option<&Value>) {
        let fit = search.and_then(|search| search.get("fit")?.as_str());
        self.to_come.push_back(fit.and_then(|text| span(text).ok()).map(|time| time.as_secs_f64()));
    }

    /// The share of the next plan in what is left for it and the plans after it: as its `search.fit` is to the sum of theirs if all of
    /// them say it, otherwise the same for each.
    pub(super) fn next(&mut self) -> f64 {
        let own = self.to_come.pop_front().flatten();
        let sum = own.and_then(|own| self.to_come.iter().try_fold(own, |sum, other| Some(sum + (*other)?)));
        own.zip(sum).map_or(1.0 / (self.to_come.len() + 1) as f64, |(own, sum)| own / sum)
    }

    /// A share of what the plans so far leave of the whole time, s.
    pub(super) fn of(&self, whole_s: f64, share: f64) -> f64 {
        (whole_s - self.used_s).max(0.0) * share
    }

    /// The runs of a plan are likely to take this long.
    pub(super) fn take(&mut self, s: f64) {
        self.used_s += s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shares(fits: &[Value], used: &[f64]) -> Vec<f64> {
        let mut shares = TimeShares::default();
        fits.iter().for_each(|fit| shares.add(Some(&json!({"fit": fit}))));
        let next = |used: &f64| {
            let next = shares.next();
            let share = shares.of(3600.0, next);
            shares.take(*used);
            share
        };
        used.iter().map(next).collect()
    }

    #[test]
    fn plans_share_the_time_and_what_others_leave() {
        assert_eq!(shares(&[Value::Null], &[3600.0]), [3600.0]);
        assert_eq!(shares(&[Value::Null, Value::Null], &[1800.0, 0.0]), [1800.0, 1800.0]);
        assert_eq!(shares(&[Value::Null, "1h".into()], &[600.0, 0.0]), [1800.0, 3000.0]);
        assert_eq!(shares(&["10m".into(), "50m".into()], &[600.0, 0.0]), [600.0, 3000.0]);
        assert_eq!(shares(&[Value::Null, Value::Null], &[4000.0, 0.0]), [1800.0, 0.0]);
    }
}
