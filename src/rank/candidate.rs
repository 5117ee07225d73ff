//! A candidate with all its load points.

use super::trial::Trial;

/// A candidate: its best load point, which decides its rank, and all others.
#[derive(Debug, Clone)]
pub struct RankedCandidate {
    /// The load point that it is ranked by.
    pub best: Trial,
    /// Its other load points and probes.
    pub others: Vec<Trial>,
}

impl RankedCandidate {
    /// All load points, the best first.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        std::iter::once(&self.best).chain(&self.others)
    }
}
