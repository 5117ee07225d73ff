//! Worker processes: without them a server does not work, although its first process may live on.

use std::time::{Duration, Instant};

use regex::Regex;

use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::system::process::proc::{Process, descendants};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The worker processes of one server, as far as seen.
#[derive(Debug)]
pub struct Workers {
    patterns: Vec<Regex>,
    /// Seen only once: between fork and exec a child shows its parent's command line, so one match proves nothing.
    new: Vec<(i32, u64)>,
    seen: Vec<Process>,
    checked: Instant,
}

impl Workers {
    /// Workers are the processes whose command lines match.
    ///
    /// # Errors
    /// A pattern that is not a regular expression.
    pub fn new(patterns: &[String]) -> Result<Self> {
        let patterns = patterns.iter().map(|pattern| ascii(pattern));
        Ok(Self {
            patterns: patterns.collect::<Result<_>>()?,
            new: Vec::new(),
            seen: Vec::new(),
            checked: Instant::now(),
        })
    }

    /// A worker that was seen before and has exited: `pid name`.
    pub fn lost(&mut self, guard: i32) -> Option<String> {
        if self.patterns.is_empty() || self.checked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.checked = Instant::now();
        if let Some(worker) = self.seen.iter().find(|worker| !worker.lives()) {
            return Some(worker.label());
        }
        let is_worker = |process: &Process| {
            let command = process.command_line();
            self.patterns.iter().any(|pattern| pattern.is_match(&command))
        };
        let was_seen =
            |process: &Process| self.seen.iter().any(|seen| (seen.pid, seen.start) == (process.pid, process.start));
        let found: Vec<Process> =
            descendants(guard, Some(guard)).into_iter().filter(|p| !was_seen(p) && is_worker(p)).collect();
        let (again, new): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|process| self.new.contains(&(process.pid, process.start)));
        self.seen.extend(again);
        self.new = new.iter().map(|process| (process.pid, process.start)).collect();
        None
    }

    /// Returns when a worker has exited; never without patterns.
    pub async fn watch(&mut self, guard: i32) -> String {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Some(worker) = self.lost(guard) {
                return worker;
            }
        }
    }
}
