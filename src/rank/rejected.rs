//! What was tried and not selected, a line a candidate and reason.

use std::collections::BTreeSet;

use super::criterion::RankOptions;
use super::entry::Entry;
use super::group::Group;
use crate::rows::kinds::SlaTest;
use crate::rows::words::Basis;

/// A configuration that was tried and not selected.
#[derive(Debug, Clone)]
pub struct RejectedCandidate {
    /// The result; the first of several that say the same.
    pub entry: Entry,
    /// `failed`, `oom`, `timeout`, `skipped` or `missed SLA`.
    pub how: String,
    /// Why.
    pub why: String,
    /// Where it was so, `chat at 4 req/s`; nothing when the candidate never ran.
    pub places: Vec<String>,
}

/// Lines of that table; more are told as a number.
const MOST: usize = 200;

/// Failed results by candidate and reason, and candidates that kept the SLA at none of their load points; and how many results
/// are left out of so long a list.
pub fn rejected(groups: &[Group], failed: &[Box<Entry>], options: &RankOptions) -> (Vec<RejectedCandidate>, usize) {
    let missing = groups.iter().flat_map(|group| &group.ranked).filter(|ranked| ranked.best.passed() == Some(false));
    let all = missing.map(|ranked| ranked.best.entry()).chain(failed.iter().map(|entry| &**entry));
    let (mut all, left_out) = first_candidates(all.collect());
    // Both parts come in a fixed order, and sorting keeps it among equals.
    all.sort_by(|a, b| name(a).cmp(&name(b)));
    let (mut told, mut rest) = (Vec::new(), all.as_slice());
    while let Some(first) = rest.first().filter(|_| told.len() < MOST) {
        let (of_one, others) = rest.split_at(rest.partition_point(|entry| name(entry) <= name(first)));
        rest = others;
        let line = |entry: &&Entry| match entry.ok {
            true => new("missed SLA".into(), missed(&entry.tests(options)), (*entry).clone()),
            false => new(entry.status().to_string(), entry.failure_reason().to_string(), (*entry).clone()),
        };
        let mut lines: Vec<RejectedCandidate> = of_one.iter().map(line).collect();
        lines.sort_by(|a, b| key(a).cmp(&key(b)));
        lines.dedup_by(|next, kept| {
            let same = key(next) == key(kept);
            if same {
                let more: Vec<String> = next.places.drain(..).filter(|place| !kept.places.contains(place)).collect();
                kept.places.extend(more);
            }
            same
        });
        told.append(&mut lines);
    }
    (told, rest.len() + left_out)
}

fn name(entry: &Entry) -> (&str, &str) {
    (&entry.framework, &entry.candidate_id)
}

/// The results of as many candidates as there can be lines, the first by their names; and how many others there are.
fn first_candidates(all: Vec<&Entry>) -> (Vec<&Entry>, usize) {
    let mut first = least(MOST, all.iter().map(|entry| name(entry)));
    let n = all.len();
    let Some(last) = first.pop_last() else { return (all, 0) };
    let kept: Vec<&Entry> = all.into_iter().filter(|entry| name(entry) <= last).collect();
    let left_out = n - kept.len();
    (kept, left_out)
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

/// Which limits a result misses, in words.
fn missed(tests: &[SlaTest]) -> String {
    let words: Vec<String> = tests
        .iter()
        .filter(|test| !test.passed)
        .map(|test| match (test.value, test.basis) {
            (Some(value), _) => format!("{} {value:.1}, limit {}", test.limit, test.threshold),
            (None, Basis::NotMeasured) => format!("{} was not measured, limit {}", test.limit, test.threshold),
            (None, _) => format!("{} is infinite (requests failed), limit {}", test.limit, test.threshold),
        })
        .collect();
    if words.is_empty() { "the row says that it missed the SLA".into() } else { words.join("; ") }
}

/// The `n` least of these, each once.
pub fn least<T: Ord>(n: usize, items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut kept = BTreeSet::new();
    for item in items {
        if kept.len() < n || kept.last().is_some_and(|last| item < *last) {
            kept.insert(item);
            if kept.len() > n {
                kept.pop_last();
            }
        }
    }
    kept
}
