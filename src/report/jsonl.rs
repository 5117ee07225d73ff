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
            if let Some(at) = group.best.iter().position(|best| best == trial) {
                row.set("rank", at + 1);
            }
            rows.push(row);
        }
    }
    rows.extend(ranking.failed.iter().map(|entry| entry.row.clone()));
    rows
}
