//! Reports: a ranking as Markdown, as tables for a terminal, as CSV, as rows.

pub mod csv;
pub mod jsonl;
pub mod markdown;
mod note;
pub mod table;
pub mod text;
