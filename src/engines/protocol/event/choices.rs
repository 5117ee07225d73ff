//! Which choices of an answer (`n` of a request) an event is about.

/// A set of choices by their index; indexes of 63 and more count as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChoiceSet(u64);

impl ChoiceSet {
    /// The choices 0 to `n` − 1.
    #[must_use]
    pub fn first(n: u32) -> Self {
        if n > 63 { Self(u64::MAX) } else { Self((1 << n) - 1) }
    }

    /// Adds the choice with this index.
    pub fn insert(&mut self, index: u32) {
        self.0 |= 1 << index.min(63);
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Number of choices.
    #[must_use]
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// True without a choice.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The choices that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::fmt::Display for ChoiceSet {
    /// `0, 2`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = (0..64).filter(|index| self.0 & (1 << index) != 0).map(|index: u32| index.to_string());
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_choices() {
        let (mut all, mut one) = (ChoiceSet::default(), ChoiceSet::default());
        [0, 2, 2, 900].into_iter().for_each(|index| all.insert(index));
        one.insert(2);
        assert_eq!((all.len(), all.to_string().as_str(), all.without(one).len()), (3, "0, 2, 63", 2));
        one.extend(all);
        assert!(all.without(one).is_empty() && !all.is_empty());
    }
}
