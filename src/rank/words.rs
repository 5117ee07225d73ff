//! Words of a row that the ranking acts on: an unknown one is an error, not another word.

use std::fmt::Display;
use std::str::FromStr;

use super::fast::ResultSummary;
use crate::base::error::{Error, Result};
use crate::rows::words::{Arrivals, LoadMode, Status, Verdict};

/// Checks a result row's words.
///
/// # Errors
/// The first unknown word, with the known ones.
pub fn check(row: &ResultSummary) -> Result<()> {
    let load = row.workload.as_ref().and_then(|workload| workload.load.as_ref());
    let mode = load.and_then(|load| load.mode.as_deref());
    known::<Status>("status", row.status.as_deref())?;
    known::<Verdict>("verdict", row.verdict.as_deref())?;
    known::<LoadMode>("workload.load.mode", mode)?;
    known::<Arrivals>("workload.load.arrivals", load.and_then(|load| load.arrivals.as_deref()))
}

fn known<W: FromStr<Err: Display>>(key: &str, word: Option<&str>) -> Result<()> {
    match word.map(str::parse::<W>) {
        Some(Err(why)) => Err(Error::new(format!("{key}: {why}"))),
        Some(Ok(_)) | None => Ok(()),
    }
}
