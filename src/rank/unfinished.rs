//! A ranking of which runs are still missing: what the report says first.

use std::fmt;
use std::str::FromStr;

use crate::base::error::{Error, Result};
use crate::rows::words::UnfinishedReason;

/// Runs of a plan that are done, of those that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    /// Why the others are missing.
    pub reason: UnfinishedReason,
    /// Number of runs that are done.
    pub done: usize,
    /// Number of runs that the plan asks for.
    pub planned: usize,
}

impl Unfinished {
    /// The first line of a report.
    #[must_use]
    pub fn sentence(&self) -> String {
        let why = match self.reason {
            UnfinishedReason::Interrupted => "interrupted",
            UnfinishedReason::Failed => "a program failed",
            UnfinishedReason::Budget => "the time budget was used up",
        };
        format!("PROVISIONAL: {why}, {} of {} runs done; rerun to resume", self.done, self.planned)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.reason, self.done, self.planned)
    }
}

impl FromStr for Unfinished {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once(':').and_then(|(reason, rest)| Some((reason, rest.split_once('/')?)));
        let numbers = parts.and_then(|(reason, (done, planned))| {
            Some(Self { reason: reason.parse().ok()?, done: done.parse().ok()?, planned: planned.parse().ok()? })
        });
        let words = UnfinishedReason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>().join(", ");
        numbers.ok_or_else(|| Error::new(format!("{text:?} must be REASON:DONE/PLANNED, REASON one of {words}")))
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
        for wrong in ["", "3/8", "interrupted:3", "tired:3/8", "budget:-1/8"] {
            assert!(wrong.parse::<Unfinished>().is_err(), "{wrong}");
        }
    }
}
