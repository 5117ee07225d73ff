//! Checks the words of a row that the ranking acts on: an unknown word is an error.

use std::fmt::Display;
use std::str::FromStr;

use super::fast::ResultSummary;
use crate::base::error::{Error, Result};
use crate::rows::words::{
    AcceptanceVerdict, Arrivals, CheckVerdict, LoadMode, ReachedBy, SearchEndReason, Status, TokenSource, Verdict,
};

/// Checks a result row's words.
///
/// # Errors
/// The first unknown word, with the known ones.
pub fn check(row: &ResultSummary) -> Result<()> {
    let load = row.workload.as_ref().and_then(|workload| workload.load.as_ref());
    let mode = load.and_then(|load| load.mode.as_deref());
    known::<Status>("status", row.status.as_deref())?;
    known::<Verdict>("verdict", row.verdict())?;
    known::<LoadMode>("workload.load.mode", mode)?;
    known::<Arrivals>("workload.load.arrivals", load.and_then(|load| load.arrivals.as_deref()))?;
    let quality = row.quality.as_ref();
    known::<ReachedBy>("quality.reached_by", quality.and_then(|quality| quality.reached_by.as_deref()))?;
    known::<TokenSource>("quality.token_source", quality.and_then(|quality| quality.token_source.as_deref()))?;
    let answers = quality.and_then(|quality| quality.answers.as_ref());
    known::<CheckVerdict>("quality.answers.verdict", answers.and_then(|answers| answers.verdict.as_deref()))?;
    let drafts = quality.and_then(|quality| quality.drafts.as_ref());
    known::<AcceptanceVerdict>("quality.drafts.verdict", drafts.and_then(|drafts| drafts.verdict.as_deref()))?;
    known::<SearchEndReason>("search.reason", row.search.as_ref().and_then(|search| search.reason.as_deref()))?;
    match row.sla.as_ref().and_then(|sla| sla.unknown_test.as_deref()) {
        Some(why) => Err(Error::new(why)),
        None => Ok(()),
    }
}

fn known<W: FromStr<Err: Display>>(key: &str, word: Option<&str>) -> Result<()> {
    match word.map(str::parse::<W>) {
        Some(Err(why)) => Err(Error::new(format!("{key}: {why}"))),
        Some(Ok(_)) | None => Ok(()),
    }
}
