//! Checks rows against the types of their kinds: `bench-validate --rows FILE`.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::stdio;
use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::rows::kinds::{
    Candidate, Check, DecisionRow, Native, PlanRow, Request, ResultRow, Run, RunEnd, SearchEnd, Server, ServerEnd,
};
use crate::rows::row::Row;

/// Checks every row of these files, and reports errors with file and line.
///
/// # Errors
/// A file that cannot be read.
pub fn check(paths: &[PathBuf], notice: &'static Notice) -> Result<ExitStatus> {
    let (mut n, mut wrong, mut unknown) = (0usize, 0usize, 0usize);
    for row in stdio::rows(paths, notice) {
        let (row, place) = row?;
        n += 1;
        match typed(&row) {
            Some(Ok(())) => {}
            Some(Err(e)) => {
                wrong += 1;
                notice.plain(format!("{place}: error: {e}"));
            }
            None => {
                unknown += 1;
                let kind = row.str("record").unwrap_or("none");
                notice.plain(format!("{place}: warning: unknown kind of row {kind:?}"));
            }
        }
    }
    notice.say(format!("{n} rows, {wrong} invalid, {unknown} of unknown kinds"));
    Ok(if wrong > 0 { ExitStatus::No } else { ExitStatus::Done })
}

/// Reads the row as the type of its kind; `None` for an unknown kind. Results of other clients do not have a type.
fn typed(row: &Row) -> Option<Result<()>> {
    fn of<T: DeserializeOwned>(row: &Row) -> Result<()> {
        row.view::<T>().map(|_| ())
    }
    if row.str("record").is_some() && row.get("schema_version").and_then(serde_json::Value::as_u64).is_none() {
        return Some(Err(Error::new("missing `schema_version`")));
    }
    Some(match row.record()? {
        "plan" => of::<PlanRow>(row),
        "candidate" => of::<Candidate>(row),
        "server" => of::<Server>(row),
        "server_end" => of::<ServerEnd>(row),
        "run" => of::<Run>(row),
        "request" => of::<Request>(row),
        "run_end" => of::<RunEnd>(row),
        "search_end" => of::<SearchEnd>(row),
        "decision" => of::<DecisionRow>(row),
        "check" => of::<Check>(row),
        "native" => of::<Native>(row),
        "result" if row.str("record").is_none() => Ok(()),
        "result" => of::<ResultRow>(row),
        _ => return None,
    })
}
