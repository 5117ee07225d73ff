//! Turns search spaces into changes of the baseline, in the order in which they run. The baseline itself is not among them.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_pcg::Pcg64;
use serde_json::Value;

use super::change::{Allowed, KnobChange, Space};
use super::pairwise::Pairwise;
use crate::base::random::generator;
use crate::rows::kinds::Members;
use crate::rows::words::Strategy;

/// Maximum number of draws for a new combination, after which a random search ends.
const DRAWS: usize = 10_000;
/// Maximum number of knobs in tier 1, and of values of each.
const TIER_1: (usize, usize) = (6, 2);

/// The search space of tier 1: the first six knobs, each with two values that differ from the baseline.
#[must_use]
pub fn first_tier(base: &Members, space: &Space) -> Vec<(String, Vec<Value>)> {
    let some = |(knob, values): &(String, Vec<Value>)| {
        let other = values.iter().filter(|value| base.get(knob) != Some(value)).take(TIER_1.1);
        (knob.clone(), other.cloned().collect())
    };
    space.iter().take(TIER_1.0).map(some).collect()
}

/// The changes of a strategy, generated lazily because a space may be huge. Only pairwise asks whether changes are allowed.
pub fn changes<'a>(
    strategy: Strategy,
    base: &'a Members,
    space: &'a Space,
    list: &'a [Members],
    seed: u64,
    allowed: &'a Allowed<'a>,
) -> Box<dyn Iterator<Item = KnobChange> + 'a> {
    match strategy {
        Strategy::Ordered => Box::new(
            list.iter()
                .enumerate()
                .map(|(i, set)| KnobChange::new(set.clone(), &format!("number {} in candidates", i + 1))),
        ),
        Strategy::OneAtATime => Box::new(space.iter().flat_map(move |(knob, values)| {
            let other = values.iter().filter(move |value| base.get(knob) != Some(value));
            other.map(move |value| {
                let set = Members::from_iter([(knob.clone(), value.clone())]);
                KnobChange::new(set, &format!("only {knob} differs from the baseline"))
            })
        })),
        Strategy::Pairwise => Box::new(Pairwise::new(space, base, allowed, generator(seed, &["search", "pairwise"]))),
        Strategy::Random => Box::new(random(space, generator(seed, &["search", "random"]), seed)),
        Strategy::BoundedProduct => Box::new(product(space)),
        Strategy::None => Box::new(std::iter::empty()),
    }
}

/// Number of combinations in a space.
#[must_use]
pub fn size(space: &Space) -> usize {
    space.iter().fold(1usize, |size, (_, values)| size.saturating_mul(values.len().max(1)))
}

/// All combinations, the last knob fastest.
fn product(space: &Space) -> impl Iterator<Item = KnobChange> {
    let mut at = (!space.is_empty()).then(|| vec![0; space.len()]);
    std::iter::from_fn(move || {
        let index = at.as_mut()?;
        let set = chosen(space, index);
        let moved = space.iter().enumerate().rev().any(|(knob, (_, values))| {
            index[knob] += 1;
            let more = index[knob] < values.len();
            if !more {
                index[knob] = 0;
            }
            more
        });
        if !moved {
            at = None;
        }
        Some(KnobChange::new(set, "next combination"))
    })
}

fn chosen(space: &Space, index: &[usize]) -> Members {
    let one = |((knob, values), &i): (&(String, Vec<Value>), &usize)| Some((knob.clone(), values.get(i)?.clone()));
    space.iter().zip(index).filter_map(one).collect()
}

/// Random combinations without repetition.
fn random(space: &Space, mut rng: Pcg64, seed: u64) -> impl Iterator<Item = KnobChange> {
    let mut seen: BTreeSet<Vec<usize>> = BTreeSet::new();
    let all = if space.is_empty() { 0 } else { size(space) };
    let why = format!("random, seed {seed}");
    std::iter::from_fn(move || {
        for _ in 0..DRAWS {
            if seen.len() >= all {
                return None;
            }
            let index: Vec<usize> = space.iter().map(|(_, values)| rng.random_range(0..values.len().max(1))).collect();
            if seen.insert(index.clone()) {
                return Some(KnobChange::new(chosen(space, &index), &why));
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::words::Strategy;
    use proptest::prelude::*;
    use serde_json::json;

    fn space(sizes: &[u8]) -> Vec<(String, Vec<Value>)> {
        sizes.iter().enumerate().map(|(i, n)| (format!("k{i}"), (0..*n).map(Value::from).collect())).collect()
    }

    fn all(strategy: Strategy, space: &Space) -> Vec<KnobChange> {
        changes(strategy, &Members::new(), space, &[], 7, &|_| true).take(100_000).collect()
    }

    #[test]
    fn last_knob_varies_fastest() {
        let sets = all(Strategy::BoundedProduct, &space(&[2, 2]));
        let sets: Vec<Value> = sets.into_iter().map(|change| Value::Object(change.set)).collect();
        assert_eq!(sets, [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| json!({"k0": a, "k1": b})));
    }

    #[test]
    fn a_huge_space_is_generated_lazily() {
        let huge = space(&[10; 12]);
        assert_eq!(size(&huge), 1_000_000_000_000);
        for strategy in [Strategy::BoundedProduct, Strategy::Random, Strategy::OneAtATime] {
            assert_eq!(changes(strategy, &Members::new(), &huge, &[], 1, &|_| true).take(5).count(), 5, "{strategy}");
        }
        // 12 knobs of 10 values: 6,600 pairs, at least 100 sets.
        assert!((100..400).contains(&all(Strategy::Pairwise, &huge).len()));
    }

    #[test]
    fn the_first_tier_is_six_knobs_with_two_values() {
        let base = json!({"k0": 0}).as_object().cloned().unwrap();
        let first = first_tier(&base, &space(&[4; 8]));
        assert_eq!(first.len(), 6);
        assert_eq!((first[0].1.clone(), first[1].1.clone()), (vec![json!(1), json!(2)], vec![json!(0), json!(1)]));
    }

    proptest! {
        #[test]
        fn random_draws_everything_once(sizes in proptest::collection::vec(1u8..4, 1..5)) {
            let space = space(&sizes);
            let drawn: Vec<String> = all(Strategy::Random, &space).into_iter().map(|c| Value::Object(c.set).to_string()).collect();
            let distinct: BTreeSet<&String> = drawn.iter().collect();
            prop_assert_eq!(distinct.len(), drawn.len());
            prop_assert_eq!(drawn.len(), size(&space));
        }
    }
}
