//! A candidate with all its load points.

use super::trial::Trial;

/// A candidate: its best load point, by which it stands, and its others.
#[derive(Debug, Clone)]
pub struct RankedCandidate {
    /// By this it stands.
    pub best: Trial,
    /// Its other load points and probes.
    pub others: Vec<Trial>,
}

impl RankedCandidate {
    /// All of them, the best first.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        std::iter::once(&self.best).chain(&self.others)
    }
}
