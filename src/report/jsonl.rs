//! Result rows with `rank`, `group` and `verdict`; failed results and load points other than the candidate's best have
//! no rank. The first row of a group has the `decision` on it; if the group lacks frameworks, it is `provisional` and lists those that are `missing`.

use serde_json::Value;

use super::note;
use crate::base::error::Result;
use crate::rank::{Entry, Ranking, Trial};
use crate::rows::jsonl::RowWriter;
use crate::rows::kinds::Members;
use crate::rows::row::Row;

/// Writes the rows, ranked ones first.
///
/// # Errors
/// If the reader left, or the error of the system.
pub fn rows<W: std::io::Write>(ranking: &Ranking, out: &mut RowWriter<W>) -> Result<()> {
    for (n, group) in ranking.groups.iter().enumerate() {
        for (i, ranked) in group.ranked.iter().enumerate() {
            for entry in ranked.best.entries() {
                let mut row = row(entry, Some(i + 1), n + 1)?;
                if i == 0 {
                    row.set("decision", note::decision(ranking, group));
                }
                if i == 0 && !group.missing.is_empty() {
                    let missing = group.missing.iter().map(|m| (m.framework.to_string(), Value::from(m.why.as_str())));
                    row.set("provisional", true);
                    row.set("missing", missing.collect::<Members>());
                }
                out.write(&row)?;
            }
            for entry in ranked.others.iter().flat_map(Trial::entries) {
                out.write(&row(entry, None, n + 1)?)?;
            }
        }
    }
    ranking.failed.iter().try_for_each(|entry| out.write_line(entry.line()))
}

fn row(entry: &Entry, rank: Option<usize>, group: usize) -> Result<Row> {
    let mut row = Row::parse(entry.line())?;
    if let Some(rank) = rank {
        row.set("rank", rank);
    }
    row.set("group", group);
    if entry.passed.is_some() {
        row.set("verdict", entry.verdict());
    }
    Ok(row)
}
