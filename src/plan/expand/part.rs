//! One of several parts of a plan's candidates: the same on every host, since the id of a candidate decides.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::base::digest;
use crate::rows::kinds::Candidate;

/// One of several parts: the `index`-th of `of` parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandidatePart {
    /// From 1.
    pub index: u32,
    /// Number of parts.
    pub of: u32,
}

impl CandidatePart {
    /// All parts of `of`.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// The ids of the part's candidates: its own, and the baselines of their frameworks, which the others are compared with.
    #[must_use]
    pub fn of_candidates(self, all: &[Candidate]) -> BTreeSet<String> {
        let parts = Self::by_candidate(all, self.of).into_iter();
        parts.filter(|(_, parts)| parts.contains(&self.index)).map(|(id, _)| id.to_string()).collect()
    }

    /// For each candidate, by id, the indices of the parts of `of` that have it.
    #[must_use]
    pub fn by_candidate(all: &[Candidate], of: u32) -> BTreeMap<&str, BTreeSet<u32>> {
        let mut parts: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        let mut of_framework: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for candidate in all {
            let own = Self::of_id(&candidate.candidate_id, of).index;
            parts.entry(&candidate.candidate_id).or_default().insert(own);
            if candidate.status.is_none() {
                of_framework.entry(&candidate.framework).or_default().insert(own);
            }
        }
        for baseline in all.iter().filter(|candidate| candidate.search.baseline && candidate.status.is_none()) {
            let of_all = of_framework.get(baseline.framework.as_str()).into_iter().flatten();
            parts.entry(&baseline.candidate_id).or_default().extend(of_all);
        }
        parts
    }

    /// The part of `of` whose own a candidate with this id is.
    fn of_id(candidate_id: &str, of: u32) -> Self {
        let digits = digest::sha256(candidate_id.as_bytes());
        let number = u64::from_str_radix(&digits[..16], 16).unwrap_or_default();
        #[allow(clippy::cast_possible_truncation, reason = "less than `of`")]
        let index = (number % u64::from(of.max(1))) as u32 + 1;
        Self { index, of }
    }
}

impl fmt::Display for CandidatePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for CandidatePart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        let part = numbers.map(|(index, of)| Self { index, of }).filter(|part| (1..=part.of).contains(&part.index));
        part.ok_or_else(|| format!("{text:?} must be K/N with K from 1 to N, such as 3/16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_number_of_a_number() {
        assert_eq!("3/16".parse(), Ok(CandidatePart { index: 3, of: 16 }));
        for text in ["0/4", "5/4", "1/0", "1", "a/b", "1/2/3", "-1/2"] {
            assert!(text.parse::<CandidatePart>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_id_is_in_exactly_one_part_and_parts_are_about_equal() {
        let mut sizes = [0; 4];
        for i in 0..4000 {
            let id = format!("vllm-{i:08x}");
            let own: Vec<u32> = CandidatePart::all(4)
                .filter(|part| *part == CandidatePart::of_id(&id, 4))
                .map(|part| part.index)
                .collect();
            assert_eq!(own.len(), 1, "{id}");
            sizes[own[0] as usize - 1] += 1;
        }
        assert!(sizes.iter().all(|size| (900..1100).contains(size)), "{sizes:?}");
        // Parts of a running sweep must not change with a version.
        assert_eq!(
            (0..8).filter(|i| CandidatePart::of_id(&format!("sim-0000000{i}"), 2).index == 1).collect::<Vec<_>>(),
            [0, 1, 3]
        );
    }
}
