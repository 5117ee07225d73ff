//! Words of a row that decide what it is taken for: one that nobody knows would be taken for another.

use super::fast::ResultSummary;
use crate::base::error::{Error, Result};
use crate::rows::kinds::Arrivals;

const STATUS: [&str; 5] = ["ok", "failed", "oom", "timeout", "skipped"];
const VERDICT: [&str; 3] = ["pass", "pass_unconfirmed", "fail"];
const MODE: [&str; 3] = ["open", "closed", "burst"];

/// Checks a result row's words.
///
/// # Errors
/// The first that nobody knows, and what it may be.
pub fn check(row: &ResultSummary) -> Result<()> {
    let load = row.workload.as_ref().and_then(|workload| workload.load.as_ref());
    let mode = load.and_then(|load| load.mode.as_deref());
    let words: [(&str, Option<&str>, &[&str]); 3] = [
        ("status", row.status.as_deref(), &STATUS),
        ("verdict", row.verdict.as_deref(), &VERDICT),
        ("workload.load.mode", mode, &MODE),
    ];
    for (key, word, known) in words {
        if let Some(word) = word.filter(|word| !known.contains(word)) {
            return Err(Error::new(format!("{key} {word:?} is not one of {}", known.join(", "))));
        }
    }
    let arrivals = load.and_then(|load| load.arrivals.as_deref()).map(str::parse::<Arrivals>);
    arrivals.transpose().map_err(|why| Error::new(format!("workload.load.arrivals: {why}"))).map(|_| ())
}
