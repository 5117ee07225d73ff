//! Ranks results by the rules of the source document, scenario by scenario.

#![allow(clippy::vec_box, reason = "entries are large, and moved more often than looked at")]

mod candidate;
mod capacity;
mod combined;
mod coverage;
mod criterion;
mod decision;
mod entry;
mod fast;
mod fold;
mod gate;
mod group;
mod intake;
mod key;
mod lenient;
mod missing;
mod nodes;
mod notes;
mod numbers;
mod ranking;
mod rejected;
mod release;
mod row_commands;
mod shown;
mod slots;
mod tested;
mod trial;
mod unfinished;
mod words;

pub use self::candidate::RankedCandidate;
pub use self::capacity::{CapacityCard, CapacityDemand, card};
pub use self::combined::{CombinedRanking, Score};
pub use self::coverage::SearchCoverage;
pub use self::criterion::{RankBy, RankOptions, Throughput};
pub use self::decision::{Decision, RIGHT_ANSWERS, Ties};
pub use self::entry::{Entry, RunInfo, SortKeys, TokenLength};
pub use self::fast::RANKING_KEYS;
pub use self::group::{Group, Missing};
pub use self::intake::Intake;
pub use self::key::{Difference, GroupKey, LOAD, differences};
pub use self::missing::short;
pub use self::notes::Notes;
pub use self::ranking::{Ranking, rank};
pub use self::rejected::RejectedCandidate;
pub use self::release::{ReleaseChange, ReleaseComparison, release};
pub use self::row_commands::RowCommands;
pub use self::shown::ShownRow;
pub use self::trial::{Confirmation, Trial};
pub use self::unfinished::Unfinished;

#[cfg(test)]
mod tests;
