//! How far a framework was searched.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::Entry;
use super::notes::Notes;

/// How far a framework was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchCoverage {
    /// Number of candidates that produced a result.
    pub finished: usize,
    /// Number of candidates that have any row.
    pub seen: usize,
    /// Number of candidates in its search, if the rows have it.
    pub of: usize,
    /// Its baseline produced a result.
    pub baseline: bool,
    /// Its baseline has a row that says why it failed.
    pub baseline_seen: bool,
    /// The user excluded it.
    pub excluded: bool,
}

impl SearchCoverage {
    /// What its search still lacks; `None` if it is complete enough or the rows do not have the number of candidates.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let tuned = self.finished > usize::from(self.baseline);
        match () {
            () if self.of == 0 || self.excluded => None,
            () if !self.baseline && !self.baseline_seen => Some("its baseline has no result"),
            // Failures are explained elsewhere.
            () if !tuned && self.seen < self.of => Some("none of its tuned candidates has a result"),
            () => None,
        }
    }
}

/// Counts candidates by framework. The results of a candidate must be adjacent.
pub fn count(entries: &[Box<Entry>]) -> BTreeMap<Arc<str>, SearchCoverage> {
    let mut tried: BTreeMap<Arc<str>, SearchCoverage> = BTreeMap::new();
    for of_one in entries.chunk_by(|a, b| a.is_of(b)) {
        let counts = tried.entry(Arc::clone(&of_one[0].framework)).or_default();
        for entry in of_one {
            let (baseline, of) = entry.tried.unwrap_or_default();
            counts.of = counts.of.max(of as usize);
            counts.baseline |= baseline && entry.ok;
            counts.baseline_seen |= baseline;
            counts.excluded |= entry.notes.has(Notes::EXCLUDED);
        }
        counts.seen += 1;
        counts.finished += usize::from(of_one.iter().any(|entry| entry.ok));
    }
    tried
}
