//! Which results count: for every unit of resume the latest completed attempt, or the latest one if none was completed.

use crate::rows::kinds::Status;
use crate::rows::words::{FailureClass, SearchEndReason};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of attempts at what fails for a transient reason.
pub const ATTEMPTS: usize = 3;
/// What failed on so many nodes for transient reasons is not tried on others.
pub const BAD_NODES: usize = 2;

/// True if a result with this status and class completes its units; transient failures are run again.
#[must_use]
pub fn closes(status: Status, class: Option<&FailureClass>) -> bool {
    status != Status::Timeout && !class.is_some_and(FailureClass::is_transient)
}

/// An attempt at units of resume, as one result shows it.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// The units that the result completes.
    pub units: BTreeSet<String>,
    /// The id of the attempt that it belongs to; `None`: the result is an attempt by itself. All probes of a rate
    /// search on one server are one attempt.
    pub name: Option<String>,
    /// The attempt was interrupted, so it does not complete its units.
    pub cut: bool,
    /// The result has no figures: it was skipped, or failed.
    pub empty: bool,
}

/// What an attempt is worth: of two attempts at a unit the better one counts, of equal ones the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AttemptWorth {
    /// It was interrupted before anything was measured.
    Nothing,
    /// It was interrupted, and has figures.
    Part,
    /// It was completed.
    Complete,
}

/// True if the attempt behind a result was interrupted; `ok` is the result's status. `search` is the reason its rate
/// search ended, if it is a probe of one: an interrupted search completes nothing, unless the server itself failed.
#[must_use]
pub fn is_cut(ok: bool, class: Option<&FailureClass>, search: Option<SearchEndReason>) -> bool {
    let unfinished = search.is_some_and(SearchEndReason::is_cut);
    let server_failed = !ok && class != Some(&FailureClass::ClientSaturated);
    class.is_some_and(FailureClass::is_cut) || (unfinished && !server_failed)
}

/// Results by the attempt that they belong to.
struct Attempts {
    /// For each result, the index of the first result of its attempt.
    first: Vec<usize>,
    /// By that index, what the attempt is worth: its last result says whether it was interrupted.
    worth: Vec<AttemptWorth>,
}

impl Attempts {
    fn of(all: &[Attempt]) -> Self {
        let mut named: BTreeMap<&String, usize> = BTreeMap::new();
        let mut first = Vec::with_capacity(all.len());
        for (i, attempt) in all.iter().enumerate() {
            first.push(attempt.name.as_ref().map_or(i, |name| *named.entry(name).or_insert(i)));
        }
        let (mut cut, mut empty) = (vec![false; all.len()], vec![true; all.len()]);
        for (first, attempt) in first.iter().zip(all) {
            cut[*first] = attempt.cut;
            empty[*first] &= attempt.empty;
        }
        let worth = |(cut, empty)| match (cut, empty) {
            (false, _) => AttemptWorth::Complete,
            (true, false) => AttemptWorth::Part,
            (true, true) => AttemptWorth::Nothing,
        };
        let worth = cut.into_iter().zip(empty).map(worth).collect();
        Self { first, worth }
    }

    fn worth(&self, i: usize) -> AttemptWorth {
        self.worth[self.first[i]]
    }
}

/// Number of attempts at the units of each result, its own included. Interrupted attempts do not count, but every
/// result has at least one.
#[must_use]
pub fn attempts(all: &[Attempt]) -> Vec<u32> {
    let known = Attempts::of(all);
    let mut at: BTreeMap<&String, BTreeSet<usize>> = BTreeMap::new();
    for (i, attempt) in all.iter().enumerate().filter(|(i, _)| known.worth(*i) == AttemptWorth::Complete) {
        attempt.units.iter().for_each(|unit| {
            at.entry(unit).or_default().insert(known.first[i]);
        });
    }
    let most = |attempt: &Attempt| attempt.units.iter().filter_map(|unit| at.get(unit)).map(BTreeSet::len).max();
    all.iter().map(|attempt| u32::try_from(most(attempt).unwrap_or(1)).unwrap_or(u32::MAX)).collect()
}

/// Which of these count, in the order of their starts: an interrupted attempt never replaces a completed one, and one without
/// figures none that has some. A result without units always counts.
#[must_use]
pub fn latest(all: &[Attempt]) -> Vec<bool> {
    let known = Attempts::of(all);
    let mut last: BTreeMap<&String, usize> = BTreeMap::new();
    for (i, attempt) in all.iter().enumerate() {
        for unit in &attempt.units {
            let before = last.get(unit).copied();
            if before.is_none_or(|before| known.worth(i) >= known.worth(before)) {
                last.insert(unit, i);
            }
        }
    }
    let same = |unit: &String, i: usize| last.get(unit).is_some_and(|last| known.first[*last] == known.first[i]);
    let counts =
        |(i, attempt): (usize, &Attempt)| attempt.units.is_empty() || attempt.units.iter().any(|unit| same(unit, i));
    all.iter().enumerate().map(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(units: &[&str], name: Option<&str>, cut: bool) -> Attempt {
        let units = units.iter().map(ToString::to_string).collect();
        Attempt { units, name: name.map(String::from), cut, empty: false }
    }

    #[test]
    fn what_was_measured_is_not_replaced_by_an_attempt_for_which_there_was_no_time() {
        let probe = |empty| Attempt { empty, ..attempt(&["u"], Some("s1"), true) };
        let skipped = Attempt { empty: true, ..attempt(&["u"], None, true) };
        assert_eq!(latest(&[probe(false), probe(true), skipped.clone()]), [true, true, false]);
        assert_eq!(latest(&[skipped.clone(), probe(false)]), [false, true]);
        assert_eq!(latest(&[skipped.clone(), skipped.clone()]), [false, true]);
        assert_eq!(latest(&[skipped, attempt(&["u"], None, false)]), [false, true]);
    }

    #[test]
    fn a_finished_attempt_is_never_replaced_by_one_that_was_cut_off() {
        let (done, cut) = (attempt(&["u"], None, false), attempt(&["u"], None, true));
        assert_eq!(latest(&[done.clone(), cut.clone()]), [true, false]);
        assert_eq!(latest(&[cut.clone(), done.clone()]), [false, true]);
        assert_eq!(latest(&[done.clone(), done.clone(), cut.clone()]), [false, true, false]);
        assert_eq!(latest(&[cut.clone(), cut.clone()]), [false, true]);
        assert_eq!(latest(&[attempt(&[], None, true), done]), [true, true]);
    }

    #[test]
    fn attempts_that_were_cut_off_do_not_count() {
        let (done, cut) = (attempt(&["u"], None, false), attempt(&["u"], None, true));
        assert_eq!(attempts(&[cut.clone(), cut.clone(), done.clone(), done]), [2, 2, 2, 2]);
        assert_eq!(attempts(&[cut.clone(), cut]), [1, 1]);
    }

    #[test]
    fn the_last_probe_of_a_search_says_whether_it_was_cut_off() {
        let probe = |server: &str, cut: bool| attempt(&["u"], Some(server), cut);
        let all = [probe("s1", true), probe("s1", false), probe("s2", false), probe("s2", true)];
        assert_eq!(latest(&all), [true, true, false, false]);
        assert!(
            is_cut(true, None, Some(SearchEndReason::Unfinished))
                && !is_cut(false, Some(&FailureClass::Oom), Some(SearchEndReason::Interrupted))
        );
        assert!(
            !is_cut(true, None, Some(SearchEndReason::Resolved))
                && is_cut(false, Some(&FailureClass::Interrupted), None)
        );
    }
}
