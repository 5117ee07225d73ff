//! Caveats about speculative decoding: forced acceptance, and how long the accepted drafts of winners are.

use std::collections::BTreeSet;

use super::text::{candidate, number};
use crate::rank::{Decision, Group, Notes, Ranking};

/// Forced entries that are read.
const READ: usize = 200;

/// What to know of drafts, title and text of each caveat.
pub fn of_drafts(ranking: &Ranking) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let forced = ranking.groups.iter().flat_map(Group::entries).filter(|entry| entry.notes.has(Notes::FORCED));
    let lengths: BTreeSet<String> =
        forced.take(READ).filter_map(|entry| entry.forced_acceptance()).map(|length| length.to_string()).collect();
    if !lengths.is_empty() {
        let lengths: Vec<String> = lengths.into_iter().collect();
        found.push((
            "Forced acceptance",
            format!(
                "rows labelled so were made to accept {} output tokens per step. How many real prompts get depends on their drafts: measure with a data set before you deploy. Their text means nothing, so their answers were not checked; their commands leave the forcing out.",
                lengths.join(" or ")
            ),
        ));
    }
    let winners = ranking.groups.iter().filter(|group| !matches!(group.decision, Decision::None { .. }));
    for (group, first) in winners.filter_map(|group| Some((group, group.ranked.first()?.best.entry()))) {
        if !first.drafts() || first.forced_acceptance().is_some() {
            continue;
        }
        let said = match first.acceptance() {
            Some(length) => format!("{} output tokens per step in {}", number(Some(length)), group.key.scenario),
            None => "an unknown number of output tokens per step: it drafted none, or its counters are off".into(),
        };
        found.push(("Drafts", format!("{} accepted {said}.", candidate(first))));
    }
    found
}
