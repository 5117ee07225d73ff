//! Configurations that were tried and not selected, one entry per candidate and reason.

use std::collections::BTreeSet;

use super::criterion::RankOptions;
use super::entry::Entry;
use super::group::Group;
use super::notes::Notes;
use crate::rows::words::{Basis, CheckVerdict};

/// A configuration that was tried and not selected.
#[derive(Debug, Clone)]
pub struct RejectedCandidate {
    /// The result; the first of several with the same reason.
    pub entry: Entry,
    /// `failed`, `oom`, `timeout`, `skipped`, `missed SLA` or `wrong answers`.
    pub how: String,
    /// The reason.
    pub why: String,
    /// The scenarios and loads it applies to, `chat at 4 req/s`; empty if the candidate never ran.
    pub places: Vec<String>,
}

/// Maximum number of entries; further ones are only counted.
const MOST: usize = 200;

/// Failed results by candidate and reason, then candidates that miss the SLA at all load points; and the number of
/// results beyond the maximum.
pub fn rejected(groups: &[Group], failed: &[Box<Entry>], options: &RankOptions) -> (Vec<RejectedCandidate>, usize) {
    let outraced: BTreeSet<(&str, &str)> =
        failed.iter().filter(|entry| entry.notes.has(Notes::OUTRACED)).map(|entry| name(entry)).collect();
    let missing = groups.iter().flat_map(|group| &group.ranked).filter(|ranked| {
        // Who lost the first of two stages says so in a row of its own.
        ranked.best.passed() == Some(false) && !outraced.contains(&name(ranked.best.entry()))
    });
    let all = missing
        .map(|ranked| {
            ranked.best.checked_entry().filter(|_| ranked.best.has_wrong_answers()).unwrap_or(ranked.best.entry())
        })
        .chain(failed.iter().map(|entry| &**entry));
    let (mut all, left_out) = first_candidates(all.collect());
    // Both parts are in a fixed order, which sorting keeps among equals.
    all.sort_by(|a, b| name(a).cmp(&name(b)));
    let (mut found, mut rest) = (Vec::new(), all.as_slice());
    while let Some(first) = rest.first().filter(|_| found.len() < MOST) {
        let (of_one, others) = rest.split_at(rest.partition_point(|entry| name(entry) <= name(first)));
        rest = others;
        let line = |entry: &&Entry| match entry.ok {
            true if entry.answers.is_some_and(CheckVerdict::is_out) => {
                let why = entry.answer_quality().map(|answers| answers.reason).unwrap_or_default();
                new("wrong answers".into(), why, (*entry).clone())
            }
            true => new("missed SLA".into(), missed(entry, options), (*entry).clone()),
            false => new(entry.status().to_string(), entry.failure_reason().to_string(), (*entry).clone()),
        };
        let mut lines: Vec<RejectedCandidate> = of_one.iter().map(line).collect();
        lines.sort_by(|a, b| key(a).cmp(&key(b)));
        lines.dedup_by(|next, previous| {
            let same = key(next) == key(previous);
            if same {
                let more: Vec<String> =
                    next.places.drain(..).filter(|place| !previous.places.contains(place)).collect();
                previous.places.extend(more);
            }
            same
        });
        found.append(&mut lines);
    }
    (found, rest.len() + left_out)
}

fn name(entry: &Entry) -> (&str, &str) {
    (&entry.framework, &entry.candidate_id)
}

/// The results of the first candidates by name, as many as the maximum allows; and the number of the others.
fn first_candidates(all: Vec<&Entry>) -> (Vec<&Entry>, usize) {
    let mut first = least(MOST, all.iter().map(|entry| name(entry)));
    let n = all.len();
    let Some(last) = first.pop_last() else { return (all, 0) };
    let shown: Vec<&Entry> = all.into_iter().filter(|entry| name(entry) <= last).collect();
    let left_out = n - shown.len();
    (shown, left_out)
}

fn key(r: &RejectedCandidate) -> [&str; 4] {
    [&r.entry.framework, &r.entry.candidate_id, &r.how, &r.why]
}

fn new(how: String, why: String, entry: Entry) -> RejectedCandidate {
    let place = match (entry.group.scenario.as_str(), entry.load()) {
        ("", _) => None,
        (scenario, load) if load.is_empty() => Some(scenario.to_string()),
        (scenario, load) => Some(format!("{scenario} at {load}")),
    };
    RejectedCandidate { entry, how, why, places: place.into_iter().collect() }
}

/// The limits that a result misses, as text.
fn missed(entry: &Entry, options: &RankOptions) -> String {
    if let Some((test, value)) = entry.already_missed(options) {
        return format!("cut short: {} already {value:.1}, limit {}", test.limit, test.threshold);
    }
    let tests = entry.tests(options);
    let words: Vec<String> = tests
        .iter()
        .filter(|test| !test.passed)
        .map(|test| match (test.value, test.basis) {
            (Some(value), _) => format!("{} {value:.1}, limit {}", test.limit, test.threshold),
            (None, Basis::NotMeasured) => format!("{} was not measured, limit {}", test.limit, test.threshold),
            (None, _) if entry.is_cut_short() => {
                format!("{} cannot be met any more (cut short), limit {}", test.limit, test.threshold)
            }
            (None, _) => format!("{} is infinite (requests failed), limit {}", test.limit, test.threshold),
        })
        .collect();
    if words.is_empty() { "the row says that it missed the SLA".into() } else { words.join("; ") }
}

/// The `n` smallest of these, without duplicates.
pub fn least<T: Ord>(n: usize, items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut lowest = BTreeSet::new();
    for item in items {
        if lowest.len() < n || lowest.last().is_some_and(|last| item < *last) {
            lowest.insert(item);
            if lowest.len() > n {
                lowest.pop_last();
            }
        }
    }
    lowest
}
