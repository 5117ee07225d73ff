//! Workloads: prompts with exact token counts, seeded. The same seed gives every candidate the same prompts.

use rand::RngExt;
use rand_pcg::Pcg64;
use serde_json::Value;

use crate::schedule::generator;

/// Token ids that prompts are drawn from: above the single bytes and special tokens of the usual vocabularies, and below
/// the size of any.
const IDS: std::ops::Range<u32> = 300..1000;

/// Words whose token counts are asked of the server, for prompts that must be text.
pub const WORDS: [&str; 24] = [
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school", "state",
    "family", "student", "group", "country", "problem", "hand", "part", "place", "case", "week", "company",
];

/// What a prompt is for: no two purposes share a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose<'a> {
    /// The scenario's name.
    pub scenario: &'a str,
    /// `warmup` or `measured`.
    pub phase: &'a str,
    /// Repeat and probe: `0/3`.
    pub trial: &'a str,
}

/// The generator of the `i`-th prompt.
#[must_use]
pub fn prompt_generator(seed: u64, purpose: &Purpose, i: u32) -> Pcg64 {
    generator(seed, &["prompt", purpose.scenario, purpose.phase, purpose.trial, &i.to_string()])
}

/// A prompt of `len` token ids.
#[must_use]
pub fn token_ids(len: u32, rng: &mut Pcg64) -> Value {
    (0..len).map(|_| rng.random_range(IDS)).collect::<Vec<u32>>().into()
}

/// How many tokens each of [`WORDS`] is behind another word, and how many any prompt has beside its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Tokens of each word, by its index; 0 where it could not be told.
    pub words: Vec<u32>,
    /// Tokens beside the words: template, begin-of-text.
    pub overhead: u32,
}

impl Sizes {
    /// A text of exactly `len` tokens by these sizes.
    ///
    /// # Errors
    /// When `len` is not above the overhead, or no word can be used to fill it exactly.
    pub fn text(&self, len: u32, rng: &mut Pcg64) -> Result<String, String> {
        let mut left = len.checked_sub(self.overhead).filter(|left| *left > 0).ok_or_else(|| {
            format!("a prompt of {len} tokens is not possible: the chat template alone has {}", self.overhead)
        })?;
        let usable: Vec<usize> = (0..self.words.len()).filter(|&i| self.words[i] > 0).collect();
        let smallest = usable.iter().map(|&i| self.words[i]).min().ok_or("no word's size is known")?;
        let mut text = String::new();
        while left > 0 {
            // What the word leaves must be nothing, or enough for another word.
            let fits = |&&i: &&usize| self.words[i] == left || self.words[i] + smallest <= left;
            let choices: Vec<usize> = usable.iter().filter(fits).copied().collect();
            if choices.is_empty() {
                return Err(format!(
                    "no words make exactly {len} tokens: {left} are left and the shortest word has {smallest}"
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
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_prompts_are_the_same() {
        let mut seen = BTreeSet::new();
        for (scenario, phase, trial) in [
            ("chat", "warmup", "0/0"),
            ("chat", "measured", "0/0"),
            ("chat", "measured", "0/1"),
            ("sum", "measured", "0/0"),
        ] {
            let purpose = Purpose { scenario, phase, trial };
            for i in 0..100 {
                let ids = token_ids(20, &mut prompt_generator(7, &purpose, i));
                assert_eq!(ids.as_array().unwrap().len(), 20);
                assert!(seen.insert(ids.to_string()));
            }
        }
    }

    proptest! {
        #[test]
        fn text_has_exactly_its_size(mut sizes in proptest::collection::vec(0u32..4, 24), overhead in 0u32..20, len in 1u32..400, seed: u64) {
            sizes[0] = 1;
            let sizes = Sizes { words: sizes, overhead };
            match sizes.text(len, &mut generator(seed, &[])) {
                Err(_) => prop_assert!(len <= overhead),
                Ok(text) => {
                    let size = |word| sizes.words[WORDS.iter().position(|w| *w == word).unwrap()];
                    prop_assert_eq!(text.split_whitespace().map(size).sum::<u32>() + overhead, len);
                }
            }
        }
    }
}
