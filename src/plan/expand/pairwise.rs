//! Combinations that try every value of every knob first, then every pair of values of two knobs: a greedy covering array.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_pcg::Pcg64;
use serde_json::Value;

use super::change::{Allowed, KnobChange, Space};
use crate::rows::kinds::Members;

/// A value of a knob, by their indices.
type KnobValue = (usize, usize);

/// What is left to cover, and how the next combination is chosen.
pub struct Pairwise<'a> {
    space: &'a Space,
    allowed: &'a Allowed<'a>,
    rng: Pcg64,
    /// Values that no combination has yet.
    values: BTreeSet<KnobValue>,
    /// Pairs that no combination has yet; the lower knob first.
    pairs: BTreeSet<(KnobValue, KnobValue)>,
}

impl<'a> Pairwise<'a> {
    /// Nothing is covered but the baseline.
    pub fn new(space: &'a Space, base: &Members, allowed: &'a Allowed<'a>, rng: Pcg64) -> Self {
        let all = |knob: usize| (0..space[knob].1.len()).map(move |value| (knob, value));
        let in_base =
            |(knob, value): KnobValue| base.get(&space[knob].0).unwrap_or(&Value::Null) == &space[knob].1[value];
        let mut values = BTreeSet::new();
        let mut pairs = BTreeSet::new();
        for first in 0..space.len() {
            values.extend(all(first).filter(|choice| !in_base(*choice)));
            for second in first + 1..space.len() {
                let both = all(first).flat_map(|a| all(second).map(move |b| (a, b)));
                pairs.extend(both.filter(|(a, b)| !(in_base(*a) && in_base(*b))));
            }
        }
        Self { space, allowed, rng, values, pairs }
    }

    fn set(&self, row: &[KnobValue]) -> Members {
        row.iter().map(|(knob, value)| (self.space[*knob].0.clone(), self.space[*knob].1[*value].clone())).collect()
    }

    fn is_allowed(&self, row: &[KnobValue]) -> bool {
        (self.allowed)(&self.set(row))
    }

    /// The choices that the next combination begins with: a value that is not covered, if necessary together with one that
    /// makes it possible, otherwise a pair. `Err`: a pair that may not run.
    fn begin(&mut self) -> Option<Result<Vec<KnobValue>, Vec<KnobValue>>> {
        while let Some(value) = self.next_value() {
            if self.is_allowed(&[value]) {
                return Some(Ok(vec![value]));
            }
            let mut with = self.pairs.iter().filter(|(a, b)| *a == value || *b == value).map(|(a, b)| vec![*a, *b]);
            if let Some(pair) = with.find(|pair| self.is_allowed(pair)) {
                return Some(Ok(pair));
            }
            self.values.remove(&value);
        }
        let (a, b) = *self.pairs.first()?;
        let pair = vec![a, b];
        if self.is_allowed(&pair) {
            return Some(Ok(pair));
        }
        self.pairs.remove(&(a, b));
        Some(Err(pair))
    }

    /// A value that is not covered, of the knob with the most of them: that one decides how many combinations are needed.
    fn next_value(&self) -> Option<KnobValue> {
        let left = |knob: usize| self.values.iter().filter(|(other, _)| *other == knob).count();
        let most = (0..self.space.len()).rev().max_by_key(|knob| left(*knob))?;
        self.values.iter().copied().find(|(knob, _)| *knob == most)
    }

    /// How many values and pairs a choice would cover beside those of a row.
    fn gain(&self, row: &[KnobValue], choice: KnobValue) -> (usize, usize) {
        let pair = |other: &&KnobValue| self.pairs.contains(&(choice.min(**other), choice.max(**other)));
        (usize::from(self.values.contains(&choice)), row.iter().filter(pair).count())
    }

    /// Adds a value of each other knob: the allowed one that covers most, at random among equals. A knob of which no value is
    /// allowed stays as in the baseline.
    fn complete(&mut self, mut row: Vec<KnobValue>) -> Vec<KnobValue> {
        for knob in 0..self.space.len() {
            if row.iter().any(|(set, _)| *set == knob) {
                continue;
            }
            let mut left: Vec<KnobValue> = (0..self.space[knob].1.len()).map(|value| (knob, value)).collect();
            while let Some(most) = left.iter().map(|choice| self.gain(&row, *choice)).max() {
                let equal: Vec<KnobValue> =
                    left.iter().copied().filter(|choice| self.gain(&row, *choice) == most).collect();
                let choice = equal[self.rng.random_range(0..equal.len())];
                row.push(choice);
                if self.is_allowed(&row) {
                    break;
                }
                row.pop();
                left.retain(|other| *other != choice);
            }
        }
        row.sort_unstable();
        row
    }
}

impl Iterator for Pairwise<'_> {
    type Item = KnobChange;

    fn next(&mut self) -> Option<KnobChange> {
        let row = match self.begin()? {
            Ok(begin) => self.complete(begin),
            Err(refused) => {
                return Some(KnobChange { set: self.set(&refused), why: "a pair of values".into() });
            }
        };
        let before = (self.values.len(), self.pairs.len());
        for (i, first) in row.iter().enumerate() {
            self.values.remove(first);
            for second in &row[i + 1..] {
                self.pairs.remove(&(*first, *second));
            }
        }
        let (values, pairs) = (before.0 - self.values.len(), before.1 - self.pairs.len());
        let why = match (values, pairs) {
            (0, 1) => "1 new pair of values".to_string(),
            (0, n) => format!("{n} new pairs of values"),
            (1, _) => "1 new value".to_string(),
            (n, _) => format!("{n} new values"),
        };
        Some(KnobChange { set: self.set(&row), why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::generator;
    use proptest::prelude::*;
    use serde_json::json;

    fn space(sizes: &[u8]) -> Vec<(String, Vec<Value>)> {
        sizes.iter().enumerate().map(|(i, n)| (format!("k{i}"), (0..*n).map(Value::from).collect())).collect()
    }

    fn rows(space: &Space, base: &Members, allowed: &Allowed, seed: u64) -> Vec<Members> {
        let rng = generator(seed, &["search", "pairwise"]);
        Pairwise::new(space, base, allowed, rng).take(10_000).map(|change| change.set).collect()
    }

    /// The rows as they run, those of the baseline's own values filled in.
    fn full(rows: &[Members], base: &Members) -> Vec<Members> {
        let one = |row: &Members| base.clone().into_iter().chain(row.clone()).collect();
        std::iter::once(base.clone()).chain(rows.iter().map(one)).collect()
    }

    fn base(values: &[u8]) -> Members {
        values.iter().enumerate().map(|(i, v)| (format!("k{i}"), json!(v))).collect()
    }

    #[test]
    fn a_value_that_only_runs_with_another_is_tried_with_it() {
        // k1 = 2 needs k0 = 1, as expert parallelism over more GPUs needs more tensor parallelism.
        let allowed = |set: &Members| set.get("k1") != Some(&json!(2)) || set.get("k0") == Some(&json!(1));
        let rows = rows(&space(&[2, 3, 2]), &base(&[0, 0, 0]), &allowed, 1);
        let first: Vec<&Members> = rows.iter().filter(|row| allowed(row)).collect();
        assert!(first[..2].iter().any(|row| row["k1"] == 2), "{rows:?}");
        // The pair that is not possible is said once, by itself.
        let refused: Vec<&Members> = rows.iter().filter(|row| !allowed(row)).collect();
        assert!(refused.iter().all(|row| row.len() == 2), "{refused:?}");
    }

    #[test]
    fn nothing_allowed_ends() {
        let rows = rows(&space(&[3, 3]), &Members::new(), &|_| false, 1);
        assert_eq!(rows.len(), 9, "each pair once");
        assert!(rows_of_nothing().is_empty());
    }

    fn rows_of_nothing() -> Vec<Members> {
        rows(&space(&[]), &Members::new(), &|_| true, 1)
    }

    proptest! {
        #[test]
        fn values_first_then_pairs(
            sizes in proptest::collection::vec(1u8..5, 1..7),
            start in proptest::collection::vec(0u8..6, 7),
            seed in 0u64..50,
        ) {
            let space = space(&sizes);
            // Some of the baseline's values are in the space, some are not.
            let base = base(&start[..sizes.len()]);
            let sets = rows(&space, &base, &|_| true, seed);
            let ran = full(&sets, &base);
            let most = space.iter().map(|(knob, values)| values.iter().filter(|v| base[knob] != **v).count()).max();
            let soon = &ran[..=most.unwrap_or(0)];
            for (i, (knob, values)) in space.iter().enumerate() {
                for value in values {
                    prop_assert!(soon.iter().any(|row| row[knob] == *value), "{knob} {value} is not among the first");
                    for (other, others) in &space[i + 1..] {
                        for second in others {
                            prop_assert!(ran.iter().any(|row| row[knob] == *value && row[other] == *second));
                        }
                    }
                }
            }
            let distinct: BTreeSet<String> = ran.iter().map(|row| Value::Object(row.clone()).to_string()).collect();
            prop_assert_eq!(distinct.len(), ran.len(), "the baseline included");
            prop_assert_eq!(&sets, &rows(&space, &base, &|_| true, seed));
        }

        #[test]
        fn what_may_not_run_is_never_in_a_longer_combination(
            sizes in proptest::collection::vec(1u8..4, 2..6),
            seed in 0u64..50,
        ) {
            let space = space(&sizes);
            let sum = |set: &Members| set.values().filter_map(Value::as_u64).sum::<u64>();
            for row in rows(&space, &Members::new(), &|set| sum(set) % 3 != 2, seed) {
                prop_assert!(sum(&row) % 3 != 2 || row.len() == 2, "{row:?}");
            }
        }
    }
}
