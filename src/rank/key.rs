//! The settings that must be equal in one ranking.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// The settings that comparable rows have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Scenario.
    pub scenario: String,
    /// `open`, `closed` or `burst`, with the arrivals if the row has them; empty if the row does not have a load mode.
    pub mode: String,
    /// A smoke test.
    pub smoke: bool,
    /// A simulated engine.
    pub simulated: bool,
    /// Everything else that must be equal, by name; empty if the row does not have it.
    pub rest: [String; REST.len()],
}

/// Names of the members of [`GroupKey::rest`].
pub const REST: [&str; 11] = [
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
    "node",
];
const MODEL: usize = 0;
const GPU: usize = 1;
const CLIENT: usize = 2;
const NODE: usize = 10;

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

    /// The same settings on one node that differs from the others, or on the others.
    pub(super) fn on_node(&self, node: &str) -> Self {
        let mut key = self.clone();
        key.rest[NODE] = node.into();
        key
    }

    /// Its settings besides model, GPU and client, by name; empty if the row does not have them.
    pub fn settings(&self) -> impl Iterator<Item = (&'static str, &str)> {
        REST.into_iter().zip(self.rest.iter().map(String::as_str)).skip(CLIENT + 1)
    }

    /// True if both may be of one group: a setting that is missing in one of them matches anything.
    fn fits(&self, other: &Self) -> bool {
        let alike = |(a, b): (&String, &String)| a == b || a.is_empty() || b.is_empty();
        (&self.scenario, &self.mode, self.smoke, self.simulated)
            == (&other.scenario, &other.mode, other.smoke, other.simulated)
            && self.rest.iter().zip(&other.rest).all(alike)
    }

    fn specified(&self) -> usize {
        self.rest.iter().filter(|member| !member.is_empty()).count()
    }
}

/// Moves groups whose rows specify less into the one group that specifies more and fits. If several different groups
/// would fit, they stay separate.
pub fn settle(all: &BTreeSet<Arc<GroupKey>>) -> BTreeMap<Arc<GroupKey>, Arc<GroupKey>> {
    let mut ends: BTreeMap<Arc<GroupKey>, Arc<GroupKey>> = BTreeMap::new();
    let mut by_specified: Vec<&Arc<GroupKey>> = all.iter().collect();
    by_specified.sort_by_key(|key| std::cmp::Reverse(key.specified()));
    for key in by_specified {
        // Groups that specify more are already placed.
        let fitting =
            ends.iter().filter(|(other, _)| other.specified() > key.specified() && key.fits(other)).map(|(_, end)| end);
        let fitting: BTreeSet<&Arc<GroupKey>> = fitting.collect();
        let end = match (fitting.first(), fitting.len()) {
            (Some(end), 1) => Arc::clone(end),
            _ => Arc::clone(key),
        };
        ends.insert(Arc::clone(key), end);
    }
    ends
}

/// A setting in which groups differ, and its values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// Its name: `load`, `model`, ….
    pub what: &'static str,
    /// Its values; `unspecified` for rows without it.
    pub values: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.values.join(", "))
    }
}

/// The name of a difference in how requests arrive.
pub const LOAD: &str = "load";

/// All settings in which the groups of one scenario differ.
#[must_use]
pub fn differences(keys: &[&GroupKey]) -> Vec<Difference> {
    let mut all = Vec::new();
    let mut compare = |what: &'static str, values: BTreeSet<String>| {
        if values.len() > 1 {
            let named = |value: String| if value.is_empty() { "unspecified".into() } else { value };
            all.push(Difference { what, values: values.into_iter().map(named).collect() });
        }
    };
    compare(LOAD, keys.iter().map(|key| key.mode.clone()).collect());
    let word = |yes: bool, a: &str, b: &str| if yes { a.to_string() } else { b.to_string() };
    compare("purpose", keys.iter().map(|key| word(key.smoke, "smoke test", "benchmark")).collect());
    compare("engine", keys.iter().map(|key| word(key.simulated, "simulated", "real")).collect());
    for (i, name) in REST.into_iter().enumerate() {
        compare(name, keys.iter().map(|key| key.rest[i].clone()).collect());
    }
    all
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
    fn differences_are_named() {
        let found = differences(&[&key("m", "H100"), &key("m", "")]);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["GPU: unspecified, H100"]);
    }
}
