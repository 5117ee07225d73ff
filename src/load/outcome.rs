//! The result of a request: its row, and when its tokens arrived.

use std::ops::Range;

use crate::rows::kinds::Request;
use crate::rows::units::Micros;

/// The result of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestOutcome {
    /// The row.
    pub row: Request,
    /// Time of each token-bearing chunk, and the number of tokens up to it if the server reports it in every chunk.
    pub stamps: Vec<(Micros, Option<u32>)>,
}

impl RequestOutcome {
    /// Gaps between the token-bearing chunks, µs. Chunks that arrived together share the gap before them; those together with
    /// the first have none, and neither have the chunks of several choices, which alternate.
    pub fn gaps(&self) -> impl Iterator<Item = u64> + '_ {
        let later = self.batches().skip(1).filter(|_| self.row.choices.is_none());
        later.flat_map(|batch| std::iter::repeat_n(self.gap(&batch) / batch.len() as u64, batch.len()))
    }

    /// Gaps between tokens: each batch's gap divided by its tokens, µs, and their number; `None` if the tokens of some chunk are
    /// unknown.
    #[must_use]
    pub fn token_gaps(&self) -> Option<Vec<(u64, u64)>> {
        let counted = |at: usize| self.stamps[at].1.filter(|_| self.row.choices.is_none());
        let pairs = self.batches().skip(1).map(|batch| {
            let tokens = counted(batch.end - 1)?.checked_sub(counted(batch.start - 1)?).filter(|n| *n > 0)?;
            Some((self.gap(&batch) / u64::from(tokens), u64::from(tokens)))
        });
        pairs.collect()
    }

    /// The chunks that arrived together, in order.
    fn batches(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = next;
            next = start + batch(&self.stamps[start..]);
            (next > start).then_some(start..next)
        })
    }

    /// From the last chunk before a batch to its last one, µs.
    fn gap(&self, batch: &Range<usize>) -> u64 {
        let (before, last) = (self.stamps[batch.start - 1].0, self.stamps[batch.end - 1].0);
        last.0.saturating_sub(before.0)
    }
}

/// Chunks of one stream that follow each other faster than this arrived together, and were only read one after the other, µs: no
/// engine makes 10,000 chunks a second for one user.
pub const TOGETHER: u64 = 100;

/// Number of chunks at the beginning that arrived together.
pub fn batch(stamps: &[(Micros, Option<u32>)]) -> usize {
    let apart = |pair: &[(Micros, Option<u32>)]| pair[1].0.0.saturating_sub(pair[0].0.0) >= TOGETHER;
    stamps.windows(2).position(apart).map_or(stamps.len(), |at| at + 1)
}
