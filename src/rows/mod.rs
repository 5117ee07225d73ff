//! What crosses the pipe: rows, their reader and writer, row kinds, words and units.

pub mod jsonl;
pub mod kinds;
pub mod resume;
pub mod row;
pub mod units;
pub mod words;
