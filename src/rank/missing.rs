//! Finds the frameworks that a group lacks: they were requested and have no valid run in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::coverage::SearchCoverage;
use super::entry::Entry;
use super::group::{Group, Missing};
use super::key::GroupKey;
use super::notes::Notes;
use crate::rows::words::Status;

/// The reason of a framework that an unfinished sweep did not come to.
const NEVER: &str = "never started";
/// Maximum number of failures per framework that are searched for a reason.
const READ: usize = 200;
/// Maximum length of a reason, in characters; the table of rejected candidates has the whole text.
const MOST: usize = 480;

/// Records the frameworks that each group lacks, those that were `never` started among them; returns those without a valid
/// result anywhere.
pub fn fill(
    groups: &mut [Group],
    failed: &[Box<Entry>],
    tried: &BTreeMap<Arc<str>, SearchCoverage>,
    never: &[String],
) -> Vec<Missing> {
    let never = never.iter().filter(|framework| !tried.contains_key(framework.as_str()));
    let never: Vec<Missing> =
        never.map(|framework| Missing { framework: framework.as_str().into(), why: NEVER.into() }).collect();
    let mut failures: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    failed.iter().for_each(|entry| failures.entry(&entry.framework).or_default().push(entry));
    let measured: Vec<(Arc<GroupKey>, BTreeSet<Arc<str>>)> = groups
        .iter()
        .map(|group| (Arc::clone(&group.key), group.frameworks().into_iter().map(Arc::clone).collect()))
        .collect();
    let wanted = || tried.iter().filter(|(_, tried)| !tried.excluded).map(|(framework, _)| framework);
    for (group, (key, present)) in groups.iter_mut().zip(&measured) {
        for framework in wanted().filter(|framework| !present.contains(*framework)) {
            let own = failures.get(&**framework).map(Vec::as_slice).unwrap_or_default();
            let elsewhere = measured.iter().any(|(other, there)| there.contains(framework) && meets(key, other));
            let here: Vec<&Entry> = own.iter().copied().filter(|entry| meets(key, &entry.group)).collect();
            if elsewhere || !here.is_empty() {
                group.missing.push(Missing { framework: Arc::clone(framework), why: why(&here, Some(key), elsewhere) });
            }
        }
        group.missing.extend(never.iter().cloned());
        group.missing.sort();
    }
    let nowhere = wanted().filter(|framework| measured.iter().all(|(_, there)| !there.contains(*framework)));
    let reason = |framework: &Arc<str>| {
        let own = failures.get(&**framework).map(Vec::as_slice).unwrap_or_default();
        Missing { framework: Arc::clone(framework), why: why(own, None, false) }
    };
    let mut unmeasured: Vec<Missing> = nowhere.map(reason).chain(never).collect();
    unmeasured.sort();
    unmeasured
}

/// True if rows of both kinds could be from one plan: their scenarios and loads may differ, but not model and client. A
/// server that never started has no client.
fn meets(a: &GroupKey, b: &GroupKey) -> bool {
    let alike = |a: &str, b: &str| a == b || a.is_empty() || b.is_empty();
    alike(a.model(), b.model()) && alike(a.client(), b.client())
}

/// Why a framework has no valid result in a group, or anywhere: the most frequent reason of its failures there.
fn why(failed: &[&Entry], key: Option<&GroupKey>, elsewhere: bool) -> String {
    let there = |entry: &&&Entry| {
        key.is_none_or(|key| {
            entry.group.scenario == key.scenario && (entry.group.mode == key.mode || entry.group.mode.is_empty())
        })
    };
    let runs: Vec<&&Entry> = failed.iter().filter(there).filter(|entry| !entry.group.scenario.is_empty()).collect();
    let starts: Vec<&&Entry> = failed.iter().filter(|entry| entry.group.scenario.is_empty()).collect();
    let (what, nearest) = match (runs.is_empty(), starts.is_empty()) {
        (false, _) => ("no valid run", runs),
        (true, false) => ("failed to start", starts),
        (true, true) if elsewhere => return "its results are only in other rankings".into(),
        (true, true) => return "no run of it in the input".into(),
    };
    let skip = |entry: &Entry| entry.status() == Status::Skipped.as_str();
    let mut reasons: BTreeMap<(bool, bool, &str), (usize, &str)> = BTreeMap::new();
    for entry in nearest.iter().take(READ) {
        let class = Some(entry.failure_class()).filter(|class| !class.is_empty()).unwrap_or(entry.status());
        // Candidates skipped after others failed do not explain anything.
        let follows = entry.notes.has(Notes::GAVE_UP) || entry.notes.has(Notes::FORESEEN);
        let reason = reasons.entry((follows, skip(entry), class)).or_insert((0, entry.failure_reason()));
        reason.0 += 1;
    }
    let first = reasons.keys().next().is_some_and(|(follows, ..)| !follows);
    let most = reasons.iter().filter(|((follows, ..), _)| !(first && *follows)).max_by_key(|(_, (n, _))| *n);
    let Some(((_, skipped, class), (_, reason))) = most else { return what.into() };
    let what = if *skipped { "skipped" } else { what };
    match (reason.is_empty(), what == *class) {
        (true, true) => what.into(),
        (true, false) => format!("{what} ({class})"),
        (false, _) => format!("{what} ({class}: {})", short(reason)),
    }
}

/// A reason on one line.
pub fn short(reason: &str) -> String {
    let line: Vec<&str> = reason.split_whitespace().collect();
    let line = line.join(" ");
    match line.chars().count() > MOST {
        true => line.chars().take(MOST - 1).chain(['…']).collect(),
        false => line,
    }
}
