//! What crosses the pipe: rows, their reader and writer, their kinds, their words and units.

pub mod jsonl;
pub mod kinds;
pub mod resume;
pub mod row;
pub mod units;
pub mod words;
