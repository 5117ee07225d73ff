//! Content that several report formats share, as rows of words.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::note;
use super::text::load;
use crate::rank::{Entry, Group, RankedCandidate, Ranking, TokenLength, Trial};

/// Maximum number of candidates and trials whose prompts are read, per group.
const READ: (usize, usize) = (20, 50);
/// Maximum number of candidates whose platforms are read, per group.
const PLATFORMS: usize = 200;

/// Scenario, input and output tokens, prompts, loads, endpoint, client.
pub const WORKLOAD: [&str; 7] = ["Scenario", "Input tokens", "Output tokens", "Prompts", "Loads", "Endpoint", "Client"];

/// The workload of every group, with these columns.
pub fn workload(ranking: &Ranking) -> impl Iterator<Item = [String; 7]> {
    ranking.groups.iter().filter_map(|group| {
        let entry = group.ranked.first()?.best.entry();
        let length = |output: bool| match entry.length(output) {
            TokenLength { asked: Some(asked), p50: Some(p50), p95: Some(p95) } if p50 != asked || p95 != asked => {
                format!("{asked} (measured p50 {p50}, p95 {p95})")
            }
            TokenLength { asked: None, p50: Some(p50), p95: Some(p95) } => format!("measured p50 {p50}, p95 {p95}"),
            TokenLength { asked, .. } => asked.map_or("-".into(), |n| n.to_string()),
        };
        let loads = ordered(group.loads.iter().cloned());
        let trials = group.ranked.iter().take(READ.0).flat_map(RankedCandidate::trials).take(READ.1);
        let prompts = trials.filter_map(|trial| trial.entry().num_prompts());
        let prompts = ordered(prompts.map(|n| n.to_string()));
        Some([
            note::group_title(ranking, group),
            length(false),
            length(true),
            prompts.join(", "),
            loads.join(", "),
            entry.endpoint().to_string(),
            entry.client().to_string(),
        ])
    })
}

/// The distinct values in the order of their first appearance; if more than a dozen, the first and the last.
fn ordered(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    distinct.extend(values.filter(|value| !value.is_empty() && seen.insert(value.clone())));
    if distinct.len() > 12 {
        distinct = vec![format!("{} to {} ({} values)", distinct[0], distinct[distinct.len() - 1], distinct.len())];
    }
    distinct
}

/// Columns of [`platforms`].
pub const PLATFORM: [&str; 6] = ["Framework", "Version", "GPU", "GPUs", "Driver", "Image"];

/// The platforms, without duplicates.
pub fn platforms(ranking: &Ranking) -> BTreeSet<[String; 6]> {
    let or_dash = |text: &str| if text.is_empty() { "-".to_string() } else { text.to_string() };
    let shown = ranking.groups.iter().flat_map(|group| group.ranked.iter().take(PLATFORMS));
    shown
        .map(|ranked| {
            let entry = ranked.best.entry();
            let gpus = entry.keys.gpus.map_or("-".into(), |n| n.to_string());
            let [version, gpu, driver, image] = entry.platform().map(or_dash);
            [entry.framework.to_string(), version, gpu, gpus, driver, image]
        })
        .collect()
}

/// A framework's fastest trial in a group, and its fastest that meets the SLA.
pub struct RawThroughput<'a> {
    /// The group.
    pub title: String,
    /// The framework.
    pub framework: &'a str,
    /// The highest throughput.
    pub fastest: Option<&'a Trial>,
    /// The highest throughput that meets the SLA.
    pub passing: Option<&'a Trial>,
}

/// The columns of these.
pub fn raw_head(ranking: &Ranking) -> [&'static str; 7] {
    let unit = ranking.options.by.unit();
    ["Scenario", "Framework", "Fastest", unit, "SLA", "Fastest that meets the SLA", unit]
}

/// These for every framework; empty if no row has an SLA.
pub fn raw(ranking: &Ranking) -> Vec<RawThroughput<'_>> {
    if ranking.groups.iter().all(|group| group.ranked.iter().all(|ranked| ranked.best.passed().is_none())) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for group in &ranking.groups {
        let title = note::group_title(ranking, group);
        for first in group.best_of_frameworks() {
            // Equal names are one allocation.
            let framework = &first.best.entry().framework;
            let own = group.ranked.iter().filter(|ranked| Arc::ptr_eq(&ranked.best.entry().framework, framework));
            let (mut fastest, mut passing) = (None, None);
            for trial in own.flat_map(RankedCandidate::trials).filter(|trial| trial.keys().by.is_some()) {
                let faster = |than: &Option<&Trial>| than.is_none_or(|than| trial.keys().by > than.keys().by);
                if faster(&fastest) {
                    fastest = Some(trial);
                }
                if trial.passed() == Some(true) && faster(&passing) {
                    passing = Some(trial);
                }
            }
            all.push(RawThroughput { title: title.clone(), framework, fastest, passing });
        }
    }
    all
}

/// The columns of the candidates that were not selected.
pub const REJECTED: [&str; 6] = ["Framework", "Flags changed", "Outcome", "Where", "Reason", "Candidate"];

/// The candidates that were not selected, with these columns.
pub fn rejected(ranking: &Ranking) -> impl Iterator<Item = [String; 6]> {
    ranking.rejected.iter().map(|r| {
        let place = if r.places.is_empty() { "everywhere".into() } else { r.places.join(", ") };
        let what = match r.entry.failure_class() {
            class if class.is_empty() || class == r.how || r.entry.ok => r.how.clone(),
            class => format!("{} ({class})", r.how),
        };
        let id = r.entry.candidate_id.to_string();
        [r.entry.framework.to_string(), r.entry.label(), what, place, r.why.clone(), id]
    })
}

/// A trial by its flags and load; `none` if absent.
pub fn trial_name(trial: Option<&Trial>) -> String {
    let Some(trial) = trial else { return "none".into() };
    let load = load(trial);
    let at = if load.is_empty() { String::new() } else { format!(" at {load}") };
    format!("{}{at}", trial.entry().label())
}

/// Files of the candidates shown: the best of each framework, and those not selected. Candidate, role, path.
pub fn files(ranking: &Ranking) -> BTreeSet<[String; 3]> {
    let best = ranking.groups.iter().flat_map(Group::best_of_frameworks).map(|ranked| ranked.best.entry());
    let shown: Vec<&Entry> = best.chain(ranking.rejected.iter().map(|r| &r.entry)).collect();
    let mut files: BTreeSet<[String; 3]> = BTreeSet::new();
    for entry in shown {
        let own = entry.artifacts().map(|(role, path)| [&*entry.candidate_id, role, path].map(String::from));
        files.extend(own);
        let dataset = entry.dataset_path();
        if !dataset.is_empty() {
            files.insert(["workload", "dataset", dataset].map(String::from));
        }
    }
    files
}
