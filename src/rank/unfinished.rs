//! A ranking of which runs are still missing: what the report says first.

use std::fmt;
use std::str::FromStr;

use crate::base::error::{Error, Result};
use crate::rows::words::UnfinishedReason;

/// Runs of a plan that are done, of those that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// Why the others are missing.
    pub reason: UnfinishedReason,
    /// Number of runs that are done.
    pub done: usize,
    /// Number of runs that the plan asks for.
    pub planned: usize,
    /// Frameworks of which nothing was started.
    pub never_started: Vec<String>,
}

impl Unfinished {
    /// The first line of a report.
    #[must_use]
    pub fn sentence(&self) -> String {
        let why = match self.reason {
            UnfinishedReason::Interrupted => "interrupted",
            UnfinishedReason::Failed => "a program failed",
            UnfinishedReason::Budget => "the time budget was used up",
            UnfinishedReason::Running => "still running",
        };
        let never = match &self.never_started[..] {
            [] => String::new(),
            names => format!(", {} never started", names.join(", ")),
        };
        let rest = if self.reason == UnfinishedReason::Running { "" } else { "; rerun to resume" };
        format!("PROVISIONAL: {why}, {} of {} runs done{never}{rest}", self.done, self.planned)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.reason, self.done, self.planned)?;
        match &self.never_started[..] {
            [] => Ok(()),
            names => write!(f, ":{}", names.join(",")),
        }
    }
}

impl FromStr for Unfinished {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next();
        let (reason, counts, never) = (next(), next(), next());
        let read = || {
            let (done, planned) = counts?.split_once('/')?;
            let never_started = never.map_or_else(Vec::new, |names| names.split(',').map(String::from).collect());
            let (done, planned) = (done.parse().ok()?, planned.parse().ok()?);
            Some(Self { reason: reason?.parse().ok()?, done, planned, never_started })
        };
        let words = UnfinishedReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
        read().ok_or_else(|| {
            Error::new(format!(
                "{text:?} must be REASON:DONE/PLANNED or REASON:DONE/PLANNED:NAME,NAME (frameworks never started), REASON one of {words}"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let left: Unfinished = "interrupted:3/8".parse().unwrap();
        assert_eq!(left.to_string(), "interrupted:3/8");
        assert_eq!(left.sentence(), "PROVISIONAL: interrupted, 3 of 8 runs done; rerun to resume");
        let left: Unfinished = "running:7/36:sim_broad,vllm".parse().unwrap();
        assert_eq!(left.to_string(), "running:7/36:sim_broad,vllm");
        assert_eq!(left.sentence(), "PROVISIONAL: still running, 7 of 36 runs done, sim_broad, vllm never started");
        for wrong in ["", "3/8", "interrupted:3", "tired:3/8", "budget:-1/8"] {
            assert!(wrong.parse::<Unfinished>().is_err(), "{wrong}");
        }
    }
}
