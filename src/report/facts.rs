//! What reports say in several forms, as rows of words.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::note;
use super::text::{changes, load};
use crate::rank::{Entry, Group, RankedCandidate, Ranking, Trial};

/// Of so many candidates and trials a group's prompts are read.
const READ: (usize, usize) = (20, 50);
/// Of so many candidates of a group the platforms are read.
const PLATFORMS: usize = 200;

/// Scenario, input and output tokens, prompts, loads, endpoint, client.
pub const WORKLOAD: [&str; 7] = ["Scenario", "Input tokens", "Output tokens", "Prompts", "Loads", "Endpoint", "Client"];

/// The workload of every group, in these columns.
pub fn workload(ranking: &Ranking) -> impl Iterator<Item = [String; 7]> {
    ranking.groups.iter().filter_map(|group| {
        let entry = group.ranked.first()?.best.entry();
        let of = |name: &str| entry.at(&format!("/workload/{name}")).as_f64();
        let length = |name: &str| match (of(name), of(&format!("{name}_p50")), of(&format!("{name}_p95"))) {
            (Some(asked), Some(p50), Some(p95)) if p50 != asked || p95 != asked => {
                format!("{asked} (measured p50 {p50}, p95 {p95})")
            }
            (None, Some(p50), Some(p95)) => format!("measured p50 {p50}, p95 {p95}"),
            (asked, ..) => asked.map_or("-".into(), |n| n.to_string()),
        };
        let loads = ordered(group.loads.iter().cloned());
        let trials = group.ranked.iter().take(READ.0).flat_map(RankedCandidate::trials).take(READ.1);
        let prompts = trials.filter_map(|trial| trial.entry().at("/workload/num_prompts").as_u64());
        let prompts = ordered(prompts.map(|n| n.to_string()));
        let client = entry.text("/run/client");
        let client = if client.is_empty() { entry.text("/native/client") } else { client };
        Some([
            note::group_title(ranking, group),
            length("input_len"),
            length("output_len"),
            prompts.join(", "),
            loads.join(", "),
            entry.text("/workload/endpoint"),
            client,
        ])
    })
}

/// The distinct values in the order of their first appearance; more than a dozen as the first and the last.
fn ordered(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    kept.extend(values.filter(|value| !value.is_empty() && seen.insert(value.clone())));
    if kept.len() > 12 {
        kept = vec![format!("{} to {}, {} of them", kept[0], kept[kept.len() - 1], kept.len())];
    }
    kept
}

/// Columns of [`platforms`].
pub const PLATFORM: [&str; 6] = ["Framework", "Version", "GPU", "GPUs", "Driver", "Image"];

/// What it ran on, once each.
pub fn platforms(ranking: &Ranking) -> BTreeSet<[String; 6]> {
    let or_dash = |text: String| if text.is_empty() { "-".to_string() } else { text };
    let shown = ranking.groups.iter().flat_map(|group| group.ranked.iter().take(PLATFORMS));
    shown
        .map(|ranked| {
            let entry = ranked.best.entry();
            let gpus = entry.keys.gpus.map_or("-".into(), |n| n.to_string());
            let [version, gpu, driver, image] =
                ["/framework_version", "/hardware/gpu_model", "/hardware/driver", "/environment/image"]
                    .map(|pointer| or_dash(entry.text(pointer)));
            [entry.framework.to_string(), version, gpu, gpus, driver, image]
        })
        .collect()
}

/// What a framework's fastest trial of all is in a group, and the fastest that keeps the SLA.
pub struct RawThroughput<'a> {
    /// The group.
    pub title: String,
    /// The framework.
    pub framework: &'a str,
    /// The most of all.
    pub fastest: Option<&'a Trial>,
    /// The most that keeps the SLA.
    pub passing: Option<&'a Trial>,
}

/// Columns of these.
pub fn raw_head(ranking: &Ranking) -> [&'static str; 7] {
    let unit = ranking.options.by.unit();
    ["Scenario", "Framework", "Fastest of all", unit, "SLA", "Fastest that keeps the SLA", unit]
}

/// These, framework by framework; nothing where no row has an SLA.
pub fn raw(ranking: &Ranking) -> Vec<RawThroughput<'_>> {
    if ranking.groups.iter().all(|group| group.ranked.iter().all(|ranked| ranked.best.passed().is_none())) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for group in &ranking.groups {
        let title = note::group_title(ranking, group);
        for first in group.best_of_frameworks() {
            // Equal names are one.
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

/// Columns of what was tried and not selected.
pub const REJECTED: [&str; 6] = ["Framework", "Flags changed", "What", "Where", "Why", "Candidate"];

/// What was tried and not selected, in these columns.
pub fn rejected(ranking: &Ranking) -> impl Iterator<Item = [String; 6]> {
    ranking.rejected.iter().map(|r| {
        let place = if r.places.is_empty() { "everywhere".into() } else { r.places.join(", ") };
        let what = match r.entry.text("/failure_class") {
            class if class.is_empty() || class == r.how || r.entry.ok => r.how.clone(),
            class => format!("{} ({class})", r.how),
        };
        let id = r.entry.candidate_id.to_string();
        [r.entry.framework.to_string(), changes(&r.entry), what, place, r.why.clone(), id]
    })
}

/// A trial by its flags and load; `none` without one.
pub fn trial_name(trial: Option<&Trial>) -> String {
    let Some(trial) = trial else { return "none".into() };
    let load = load(trial);
    let at = if load.is_empty() { String::new() } else { format!(" at {load}") };
    format!("{}{at}", changes(trial.entry()))
}

/// Files of what is shown: the best of each framework, and what was not selected. Candidate, role, path.
pub fn files(ranking: &Ranking) -> BTreeSet<[String; 3]> {
    let best = ranking.groups.iter().flat_map(Group::best_of_frameworks).map(|ranked| ranked.best.entry());
    let shown: Vec<&Entry> = best.chain(ranking.rejected.iter().map(|r| &r.entry)).collect();
    let mut files: BTreeSet<[String; 3]> = BTreeSet::new();
    for entry in shown {
        for (role, path) in entry.at("/artifacts").as_object().into_iter().flatten() {
            if let Some(path) = path.as_str() {
                files.insert([entry.candidate_id.to_string(), role.clone(), path.to_string()]);
            }
        }
        let dataset = entry.text("/workload/dataset_path");
        if !dataset.is_empty() {
            files.insert(["workload".into(), "data set".into(), dataset]);
        }
    }
    files
}
