//! A reference that was measured earlier, from a file of rows.

use std::fs;

use crate::base::error::{Context, Error, Result};
use crate::rows::kinds::Check;
use crate::rows::row::Row;

/// The check rows of a file that bench-load wrote: those of its reference, otherwise those of its first check.
///
/// # Errors
/// A file that cannot be read, or that has no check.
pub fn read(path: &str) -> Result<Vec<Check>> {
    let text = fs::read_to_string(path).context("cannot read the reference").map_err(|e| e.at(path))?;
    let mut rows: Vec<Check> = Vec::new();
    let at = |i: usize| format!("{path}:{}", i + 1);
    for (i, line) in text.lines().enumerate().filter(|(_, line)| line.contains("\"check\"")) {
        let row = Row::parse(line).map_err(|e| e.at(at(i)))?;
        if row.record() == Some("check") {
            let row: Check = row.view().map_err(|e| e.at(at(i)))?;
            if let Some(why) = row.contradiction() {
                return Err(Error::new(why).at(at(i)));
            }
            rows.push(row);
        }
    }
    let wanted = rows.iter().find(|row| row.reference).or(rows.first());
    let Some((server, reference)) = wanted.map(|row| (row.server_id.clone(), row.reference)) else {
        return Err(Error::new("the file has no check row: make it with bench-load --check").at(path));
    };
    rows.retain(|row| row.server_id == server && row.reference == reference);
    Ok(rows)
}
