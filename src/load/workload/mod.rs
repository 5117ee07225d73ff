//! Workloads: prompts with exact token counts, seeded. The same seed gives every candidate the same prompts.

mod item;

pub use self::item::{PromptContent, PromptPiece, WorkloadItem, WorkloadItems};

use crate::rows::words::Phase;
use rand::RngExt;
use rand_pcg::Pcg64;

/// Token ids that prompts are drawn from: above the single bytes and special tokens of the usual vocabularies, and below
/// the size of any.
const IDS: std::ops::Range<u32> = 300..1000;

/// Words for prompts that must be text; the server is asked for their token counts.
pub const WORDS: [&str; 24] = [
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company",
];

/// What a prompt is used for: no two purposes share a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// Phase of the run.
    pub phase: Phase,
    /// Repeat and probe: `0/3`.
    pub trial: &'a str,
}

/// `len` token ids.
pub fn token_ids(len: u32, rng: &mut Pcg64) -> impl Iterator<Item = u32> {
    (0..len).map(|_| rng.random_range(IDS))
}

/// Token counts of [`WORDS`], each after another word, and of what every prompt has besides its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Tokens of each word, by its index; 0 if unknown.
    pub words: Vec<u32>,
    /// Tokens besides the words: template, begin-of-text.
    pub overhead: u32,
}

impl Sizes {
    /// A text whose words have exactly `len` tokens by these sizes.
    ///
    /// # Errors
    /// When no word can be used to fill it exactly.
    pub fn text(&self, len: u32, rng: &mut Pcg64) -> Result<String, String> {
        let mut left = len;
        let usable: Vec<usize> = (0..self.words.len()).filter(|&i| self.words[i] > 0).collect();
        let smallest =
            usable.iter().map(|&i| self.words[i]).min().ok_or("the token counts of all words are unknown")?;
        let mut text = String::new();
        while left > 0 {
            // After this word nothing may be left, or enough for another word.
            let fits = |&&i: &&usize| self.words[i] == left || self.words[i] + smallest <= left;
            let choices: Vec<usize> = usable.iter().filter(fits).copied().collect();
            if choices.is_empty() {
                return Err(format!(
                    "cannot make a text of exactly {len} tokens: {left} are missing, but the shortest word has {smallest}"
                ));
            }
            let word = choices[rng.random_range(0..choices.len())];
            text.push(' ');
            text.push_str(WORDS[word]);
            left -= self.words[word];
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::generator;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_prompts_are_the_same() {
        let mut seen = BTreeSet::new();
        for (scenario, phase, trial) in [
            ("chat", Phase::Warmup, "0/0"),
            ("chat", Phase::Measured, "0/0"),
            ("chat", Phase::Measured, "0/1"),
            ("sum", Phase::Measured, "0/0"),
        ] {
            let what = crate::rows::kinds::Scenario::random(scenario, 20, 1);
            let purpose = Purpose { scenario, phase, trial };
            let items = WorkloadItems::new(&what, purpose, 7, (&[], 100), &mut BTreeSet::new()).unwrap();
            for i in 0..100 {
                let PromptContent::Generated(pieces) = items.item(i).ask else { panic!("not generated") };
                let ids: Vec<u32> =
                    pieces.into_iter().flat_map(|mut p| token_ids(p.tokens, &mut p.rng).collect::<Vec<_>>()).collect();
                assert_eq!(ids.len(), 20);
                assert!(seen.insert(ids));
            }
        }
    }

    proptest! {
        #[test]
        fn text_has_exactly_its_size(mut sizes in proptest::collection::vec(0u32..4, 24), len in 1u32..400, seed: u64) {
            sizes[0] = 1;
            let sizes = Sizes { words: sizes, overhead: 0 };
            let text = sizes.text(len, &mut generator(seed, &[])).unwrap();
            let size = |word| sizes.words[WORDS.iter().position(|w| *w == word).unwrap()];
            prop_assert_eq!(text.split_whitespace().map(size).sum::<u32>(), len);
        }
    }
}
