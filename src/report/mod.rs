//! Reports: a ranking as Markdown, as tables for a terminal, as a page, as CSV, as rows; and two rankings against each other.

mod capacity;
mod caveat;
mod columns;
pub mod csv;
mod facts;
mod handoff;
pub mod html;
pub mod jsonl;
pub mod markdown;
mod md;
mod note;
pub mod release;
pub mod table;
pub mod text;

use crate::rank::{CapacityDemand, Ranking};

/// What a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The ranking.
    pub ranking: &'a Ranking,
    /// What capacity cards are made for.
    pub demand: CapacityDemand,
    /// The framework that is handed to a profiler when it does not win.
    pub handoff: &'a str,
}
