//! What is never mixed in one ranking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What rows have in common that may be compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Scenario.
    pub scenario: String,
    /// `open`, `closed`, `burst`, or nothing when the row does not say; with the arrivals where these are told.
    pub mode: String,
    /// A flow check.
    pub smoke: bool,
    /// A simulated engine.
    pub simulated: bool,
    /// What else has to be equal, by name; empty where the row does not say.
    pub rest: [String; REST.len()],
}

/// Names of the members of [`GroupKey::rest`].
pub const REST: [&str; 10] = [
    "model",
    "GPU",
    "client",
    "workload",
    "endpoint",
    "sampling",
    "precision",
    "quantization",
    "GPU budget",
    "cache policy",
];
const MODEL: usize = 0;
const GPU: usize = 1;
const CLIENT: usize = 2;

impl GroupKey {
    /// Model.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.rest[MODEL]
    }

    /// GPU model.
    #[must_use]
    pub fn gpu(&self) -> &str {
        &self.rest[GPU]
    }

    /// The client that measured.
    #[must_use]
    pub fn client(&self) -> &str {
        &self.rest[CLIENT]
    }

    /// Whether both may be of one group: what one of them does not say matches anything.
    fn fits(&self, other: &Self) -> bool {
        let alike = |(a, b): (&String, &String)| a == b || a.is_empty() || b.is_empty();
        (&self.scenario, &self.mode, self.smoke, self.simulated)
            == (&other.scenario, &other.mode, other.smoke, other.simulated)
            && self.rest.iter().zip(&other.rest).all(alike)
    }

    fn said(&self) -> usize {
        self.rest.iter().filter(|member| !member.is_empty()).count()
    }
}

/// Where rows belong that say less than others: to the group that says more and fits. Where several that differ would fit they
/// stay on their own.
pub fn settle(all: &BTreeSet<Arc<GroupKey>>) -> BTreeMap<Arc<GroupKey>, Arc<GroupKey>> {
    let mut ends: BTreeMap<Arc<GroupKey>, Arc<GroupKey>> = BTreeMap::new();
    let mut by_said: Vec<&Arc<GroupKey>> = all.iter().collect();
    by_said.sort_by_key(|key| std::cmp::Reverse(key.said()));
    for key in by_said {
        // Those that say more have found their end.
        let fitting = ends.iter().filter(|(other, _)| other.said() > key.said() && key.fits(other)).map(|(_, end)| end);
        let fitting: BTreeSet<&Arc<GroupKey>> = fitting.collect();
        let end = match (fitting.first(), fitting.len()) {
            (Some(end), 1) => Arc::clone(end),
            _ => Arc::clone(key),
        };
        ends.insert(Arc::clone(key), end);
    }
    ends
}

/// Everything by which groups of one scenario differ, in words: `model: a, b`.
#[must_use]
pub fn differences(keys: &[&GroupKey]) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |name: &str, values: BTreeSet<String>| {
        let values: Vec<String> =
            values.into_iter().map(|v| if v.is_empty() { "not said".into() } else { v }).collect();
        if values.len() > 1 {
            told.push(format!("{name}: {}", values.join(", ")));
        }
    };
    tell("load", keys.iter().map(|key| key.mode.clone()).collect());
    let word = |yes: bool, a: &str, b: &str| if yes { a.to_string() } else { b.to_string() };
    tell("purpose", keys.iter().map(|key| word(key.smoke, "flow check", "measurement")).collect());
    tell("engine", keys.iter().map(|key| word(key.simulated, "simulated", "real")).collect());
    for (i, name) in REST.into_iter().enumerate() {
        tell(name, keys.iter().map(|key| key.rest[i].clone()).collect());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str, gpu: &str) -> Arc<GroupKey> {
        let mut rest = <[String; REST.len()]>::default();
        (rest[MODEL], rest[GPU]) = (model.into(), gpu.into());
        Arc::new(GroupKey { scenario: "chat".into(), rest, ..GroupKey::default() })
    }

    #[test]
    fn what_is_not_said_matches_the_one_that_fits() {
        let (full, less, none) = (key("m", "H100"), key("m", ""), key("", ""));
        let settled = settle(&[&full, &less, &none].map(Arc::clone).into());
        assert!(settled.values().all(|end| *end == full), "{settled:?}");
        let other = key("m", "A100");
        let settled = settle(&[&full, &less, &other].map(Arc::clone).into());
        assert_eq!(settled[&less], less, "two would fit");
    }

    #[test]
    fn differences_are_told_by_name() {
        assert_eq!(differences(&[&key("m", "H100"), &key("m", "")]), ["GPU: not said, H100"]);
    }
}
