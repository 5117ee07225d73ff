//! Rows again: every result with its `rank` in its group; failed ones without.

use crate::rank::Ranking;
use crate::row::Row;

/// The rows, ranked ones first.
#[must_use]
pub fn rows(ranking: &Ranking) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in &ranking.groups {
        for trial in &group.trials {
            let mut row = trial.row.clone();
            if let Some(rank) = group.rank_of(trial) {
                row.set("rank", rank);
            }
            rows.push(row);
        }
    }
    rows.extend(ranking.failed.iter().map(|entry| entry.row.clone()));
    rows
}
