//! Data sets as CSV: a line of names, then a row each.

use serde_json::{Map, Value};

/// The rows of a text whose first line has the names, separated by this character; the line number of each that is not one.
pub fn rows(text: &str, separator: u8) -> (Vec<Value>, Vec<(usize, String)>) {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .trim(csv::Trim::Fields)
        .from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(|name| name.trim().to_string()).collect(),
        Err(e) => return (Vec::new(), vec![(1, format!("malformed CSV: {e}"))]),
    };
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                if record.len() > names.len() {
                    let why = format!("{} fields, but the header has {}", record.len(), names.len());
                    broken.push((usize::try_from(line).unwrap_or(usize::MAX), why));
                    continue;
                }
                let filled = names.iter().zip(&record).filter(|(_, field)| !field.is_empty());
                let row: Map<String, Value> = filled.map(|(name, field)| (name.clone(), field.into())).collect();
                rows.push(row.into());
            }
            Err(e) => {
                let line = e.position().map_or(0, csv::Position::line);
                broken.push((usize::try_from(line).unwrap_or(usize::MAX), format!("malformed CSV: {e}")));
            }
        }
    }
    (rows, broken)
}
