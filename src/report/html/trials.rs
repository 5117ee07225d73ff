//! Helpers that several plots use.

use serde_json::Value;

use super::chart::{SLOTS, key};
use super::escape::line;
use super::scale::sane;
use crate::rank::{Entry, Group, RankOptions, RankedCandidate, Trial};
use crate::report::text::{candidate, load};

/// The best candidates, as many as colours and shapes can distinguish.
pub fn first(group: &Group) -> impl Iterator<Item = (usize, &RankedCandidate)> {
    group.ranked.iter().take(SLOTS).enumerate()
}

/// All load points of a candidate, by increasing load.
pub fn all(ranked: &RankedCandidate) -> Vec<&Trial> {
    let mut trials: Vec<&Trial> = ranked.trials().collect();
    trials.sort_by(|a, b| a.entry().amount().total_cmp(&b.entry().amount()));
    trials
}

/// The limit that applies to a group: the overridden one, otherwise the rows'.
pub fn limit(group: &Group, options: &RankOptions, name: &str) -> Option<f64> {
    let own_limit =
        options.overrides(&group.key.scenario).filter(|(key, _)| *key == name).last().map(|(_, value)| value);
    let own = || group.ranked.first()?.best.entry().threshold(name);
    sane(own_limit.or_else(own))
}

/// `3 vllm max_num_seqs=64`, with its rank: its name in every plot.
pub fn name(rank: usize, entry: &Entry) -> String {
    format!("{} {}", rank + 1, candidate(entry))
}

/// A load point as text.
pub fn point(rank: usize, trial: &Trial) -> String {
    let at = load(trial);
    let at = if at.is_empty() { at } else { format!(" at {at}") };
    let sla = if trial.passed() == Some(false) { ", misses the SLA" } else { "" };
    format!("{}{at}{sla}", name(rank, trial.entry()))
}

/// The legend of the plots with a group's best candidates.
pub fn legend<'a>(shown: impl Iterator<Item = (usize, &'a RankedCandidate)>) -> String {
    let items: String = shown
        .map(|(i, ranked)| {
            let entry = ranked.best.entry();
            format!("<li>{}<b>{}</b> {}</li>", key(i), i + 1, line(&candidate(entry)))
        })
        .collect();
    format!("<ul class=\"legend\">{items}</ul>")
}

/// The flags that a candidate changes, each as `name=value`.
pub fn changed(entry: &Entry) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToString::to_string);
    entry.changed().into_iter().flatten().map(|(name, value)| (name.clone(), word(value))).collect()
}
