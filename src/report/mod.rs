//! Reports: a ranking as Markdown, terminal tables, HTML, CSV and rows; and the comparison of two rankings.

mod capacity;
mod caveat;
mod columns;
pub mod csv;
pub mod deploy;
mod drafts;
pub mod explain;
mod facts;
mod handoff;
pub mod html;
pub mod jsonl;
pub mod markdown;
mod md;
mod next;
mod note;
mod parts;
pub mod release;
pub mod table;
#[cfg(test)]
mod tests;
pub mod text;

use crate::rank::{CapacityDemand, Ranking, Unfinished};

/// The content of a report.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The ranking.
    pub ranking: &'a Ranking,
    /// The assumptions of the capacity cards.
    pub demand: CapacityDemand,
    /// The framework of the profiler handoff, unless it wins.
    pub handoff: &'a str,
    /// Runs of the plan that are missing; `None` if none is, or if that is not known.
    pub unfinished: Option<Unfinished>,
}
