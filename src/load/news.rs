//! What copies of bench-load tell each other (`--jobs`): the highest loads so far, which later candidates are measured against, and the
//! answers of baselines, which later ones are compared with.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::check::References;
use crate::base::error::Result;
use crate::rows::kinds::Check;
use crate::rows::row::Row;

/// The kind of the row; it goes from one copy to the others, and nowhere else.
pub const NEWS: &str = "news";

#[derive(Debug, Default, Serialize, Deserialize)]
struct News {
    /// The highest load at which any candidate met the SLA, by scenario and load.
    best: BTreeMap<String, f64>,
    /// The rows of references.
    references: Vec<Vec<Check>>,
}

/// What the other copies know already.
#[derive(Debug, Default)]
pub struct SharedNews {
    best: BTreeMap<String, f64>,
    references: BTreeSet<String>,
}

impl SharedNews {
    /// What the others do not know yet; `None` if there is nothing.
    pub fn news(&mut self, best: &BTreeMap<String, f64>, references: &References) -> Option<Row> {
        let is_new = |(key, value): &(&String, &f64)| self.best.get(*key).is_none_or(|known| known < *value);
        let better: BTreeMap<String, f64> =
            best.iter().filter(is_new).map(|(key, value)| (key.clone(), *value)).collect();
        let new = references.all().filter(|(key, _)| !self.references.contains(*key));
        let new: Vec<(String, Vec<Check>)> = new.map(|(key, rows)| (key.clone(), rows.clone())).collect();
        if better.is_empty() && new.is_empty() {
            return None;
        }
        self.best.extend(better.clone());
        self.references.extend(new.iter().map(|(key, _)| key.clone()));
        Some(Row::new(NEWS, &News { best: better, references: new.into_iter().map(|(_, rows)| rows).collect() }))
    }

    /// Takes what another copy tells.
    ///
    /// # Errors
    /// A row that is not of this kind.
    pub fn take(&mut self, row: &Row, best: &mut BTreeMap<String, f64>, references: &mut References) -> Result<()> {
        let news: News = row.view()?;
        for (key, value) in news.best {
            let own = best.entry(key.clone()).or_insert(value);
            *own = own.max(value);
            self.best.insert(key, *own);
        }
        for rows in news.references {
            references.insert(&rows);
            self.references.extend(rows.first().map(|row| row.reference_key.clone()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_and_what_was_heard_is_not_told_again() {
        let references = References::default();
        let (mut one, mut other) = (SharedNews::default(), SharedNews::default());
        let mut best = BTreeMap::from([("a".to_string(), 4.0)]);
        let row = one.news(&best, &references).unwrap();
        assert!(one.news(&best, &references).is_none());
        let (mut theirs, mut heard) =
            (BTreeMap::from([("a".to_string(), 3.0), ("b".to_string(), 9.0)]), References::default());
        other.take(&row, &mut theirs, &mut heard).unwrap();
        assert_eq!(theirs, BTreeMap::from([("a".to_string(), 4.0), ("b".to_string(), 9.0)]));
        let back = other.news(&theirs, &heard).unwrap();
        assert!(back.line().contains("\"b\":9") && !back.line().contains("\"a\""), "{}", back.line());
        best.insert("a".into(), 5.0);
        assert!(one.news(&best, &references).unwrap().line().contains("\"a\":5"));
    }
}
