//! Processes without which a server does not work, although its first process may live on when they are gone.

use std::time::{Duration, Instant};

use regex::Regex;

use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::system::process::proc::{Process, descendants};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The workers of one server that have been seen.
#[derive(Debug)]
pub struct Workers {
    patterns: Vec<Regex>,
    /// Seen once: between fork and exec a child shows its parent's command line, so one look proves nothing.
    new: Vec<(i32, u64)>,
    seen: Vec<Process>,
    looked: Instant,
}

impl Workers {
    /// Workers are known by their command lines.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let patterns = patterns.iter().map(|pattern| ascii(pattern));
        Ok(Self {
            patterns: patterns.collect::<Result<_>>()?,
            new: Vec::new(),
            seen: Vec::new(),
            looked: Instant::now(),
        })
    }

    /// A worker that was seen before and is gone, `pid name`.
    pub fn lost(&mut self, guard: i32) -> Option<String> {
        if self.patterns.is_empty() || self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        if let Some(gone) = self.seen.iter().find(|worker| !worker.lives()) {
            return Some(gone.label());
        }
        let is_worker = |process: &Process| {
            let command = process.command_line();
            self.patterns.iter().any(|pattern| pattern.is_match(&command))
        };
        let known =
            |process: &Process| self.seen.iter().any(|seen| (seen.pid, seen.start) == (process.pid, process.start));
        let found: Vec<Process> =
            descendants(guard, Some(guard)).into_iter().filter(|p| !known(p) && is_worker(p)).collect();
        let (again, new): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|process| self.new.contains(&(process.pid, process.start)));
        self.seen.extend(again);
        self.new = new.iter().map(|process| (process.pid, process.start)).collect();
        None
    }

    /// Returns when a worker has gone; never without patterns.
    pub async fn watch(&mut self, guard: i32) -> String {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(gone) = self.lost(guard) {
                return gone;
            }
        }
    }
}
