//! Counts of what is going on in several threads.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// A count that each of its marks adds 1 to.
#[derive(Debug, Clone, Default)]
pub struct LiveCount(Arc<AtomicUsize>);

/// Counts until it is dropped.
#[derive(Debug)]
pub struct CountMark(LiveCount);

impl LiveCount {
    /// The count now.
    pub fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts one more, until the mark is dropped.
    pub fn mark(&self) -> CountMark {
        self.0.fetch_add(1, Relaxed);
        CountMark(self.clone())
    }
}

impl Drop for CountMark {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
