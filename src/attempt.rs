//! Which results count: of every unit of resume only the latest attempt.

use std::collections::{BTreeMap, BTreeSet};

/// The units that a result is about, and the attempt at them that it belongs to; none of its own: the result alone is one.
/// All probes of a rate search on one server are one attempt.
pub type Attempt = (BTreeSet<String>, Option<String>);

/// How many attempts there are at the units of each, its own included.
#[must_use]
pub fn attempts(all: &[Attempt]) -> Vec<u32> {
    let name = |i: usize| all[i].1.clone().unwrap_or_else(|| i.to_string());
    let mut at: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for (i, (units, _)) in all.iter().enumerate() {
        units.iter().for_each(|unit| {
            at.entry(unit).or_default().insert(name(i));
        });
    }
    let most =
        |(units, _): &Attempt| units.iter().filter_map(|unit| at.get(unit)).map(BTreeSet::len).max().unwrap_or(1);
    all.iter().map(|attempt| u32::try_from(most(attempt)).unwrap_or(u32::MAX)).collect()
}

/// Which of these count, later ones standing behind earlier ones. A result about no unit always does.
#[must_use]
pub fn latest(all: &[Attempt]) -> Vec<bool> {
    let name = |i: usize| all[i].1.clone().unwrap_or_else(|| i.to_string());
    let mut last: BTreeMap<&String, String> = BTreeMap::new();
    for (i, (units, _)) in all.iter().enumerate() {
        last.extend(units.iter().map(|unit| (unit, name(i))));
    }
    let counts = |(i, (units, _)): (usize, &Attempt)| {
        units.is_empty() || units.iter().any(|unit| last.get(unit) == Some(&name(i)))
    };
    all.iter().enumerate().map(counts).collect()
}
