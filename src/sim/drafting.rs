//! Speculative decoding: how many of the tokens that a sequence drafts in a step are accepted, by a stated law.

use rand::RngExt as _;
use rand_pcg::Pcg64;

use crate::base::random::generator;

/// By what law drafted tokens are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AcceptanceLaw {
    /// Each with this chance, if all before it were.
    Chance(f64),
    /// So many tokens per step on average, the model's own included: the whole part in every step, and one more with the chance of the
    /// rest. As far as the draft goes.
    Length(f64),
}

/// Drafts of all sequences, and what became of them.
#[derive(Debug)]
pub struct Drafting {
    /// Tokens that a sequence drafts per step.
    tokens: u64,
    law: AcceptanceLaw,
    random: Pcg64,
    counts: DraftCounts,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DraftCounts {
    /// Drafts: one per decoding sequence and step.
    pub drafts: u64,
    /// Drafted tokens.
    pub drafted: u64,
    /// Accepted ones, those beyond the end of an output included.
    pub accepted: u64,
}

impl Drafting {
    /// `tokens` per sequence and step; the same seed accepts the same tokens.
    #[must_use]
    pub fn new(tokens: u64, law: AcceptanceLaw, seed: u64) -> Self {
        Self { tokens, law, random: generator(seed, &["acceptance"]), counts: DraftCounts::default() }
    }

    /// Tokens that a sequence drafts per step.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The totals so far.
    #[must_use]
    pub fn counts(&self) -> DraftCounts {
        self.counts
    }

    /// Drafts once; the number of tokens that are accepted.
    pub fn draft(&mut self) -> u64 {
        let accepted = match self.law {
            AcceptanceLaw::Chance(chance) => {
                let random = &mut self.random;
                (0..self.tokens).take_while(|_| random.random::<f64>() < chance).count() as u64
            }
            AcceptanceLaw::Length(length) => {
                let beyond_own = (length - 1.0).max(0.0);
                let more = self.random.random::<f64>() < beyond_own.fract();
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number of tokens")]
                let whole = beyond_own as u64;
                (whole + u64::from(more)).min(self.tokens)
            }
        };
        self.counts.drafts += 1;
        self.counts.drafted += self.tokens;
        self.counts.accepted += accepted;
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens per step, the model's own included.
    #[allow(clippy::cast_precision_loss, reason = "counts of steps")]
    fn mean_length(tokens: u64, law: AcceptanceLaw, seed: u64) -> f64 {
        let mut drafting = Drafting::new(tokens, law, seed);
        let all: u64 = (0..20_000).map(|_| drafting.draft()).sum();
        let DraftCounts { drafts, drafted, accepted } = drafting.counts();
        assert_eq!((drafts, drafted, accepted), (20_000, 20_000 * tokens, all));
        1.0 + accepted as f64 / drafts as f64
    }

    #[test]
    fn the_laws_hold() {
        // 1 + p + p² + p³
        let chance = mean_length(3, AcceptanceLaw::Chance(0.7), 1);
        assert!((chance - 2.533).abs() < 0.03, "{chance}");
        for asked in [1.0, 1.4, 2.8, 4.0] {
            let found = mean_length(3, AcceptanceLaw::Length(asked), 1);
            assert!((found / asked - 1.0).abs() < 0.01, "{asked}: {found}");
        }
        assert!((mean_length(2, AcceptanceLaw::Length(3.5), 1) - 3.0).abs() < 1e-9, "no draft is longer");
        let first = |seed| {
            let mut drafting = Drafting::new(4, AcceptanceLaw::Chance(0.5), seed);
            (0..50).map(|_| drafting.draft()).collect::<Vec<_>>()
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
