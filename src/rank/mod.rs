//! The ranking of the source document, scenario by scenario.

#![allow(clippy::vec_box, reason = "entries are large, and moved more often than looked at")]

mod capacity;
mod combined;
mod criterion;
mod decision;
mod entry;
mod fast;
mod fold;
mod gate;
mod group;
mod intake;
mod missing;
mod notes;
mod rejected;
mod release;
mod trial;
mod words;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use self::fold::FoldResult;
use crate::rows::words::Limit;

pub use self::capacity::{CapacityCard, CapacityDemand, card};
pub use self::combined::{CombinedRanking, Score};
pub use self::criterion::{RankBy, RankOptions, Throughput};
pub use self::decision::{Decision, Ties};
pub use self::entry::{Entry, RunInfo, SortKeys};
pub use self::group::{GroupKey, differences};
pub use self::intake::Intake;
pub use self::missing::Missing;
pub use self::notes::Notes;
pub use self::rejected::RejectedCandidate;
pub use self::release::{ReleaseChange, ReleaseComparison, release};
pub use self::trial::Trial;

/// Everything that a report shows.
#[derive(Debug)]
pub struct Ranking {
    /// How it was made.
    pub options: RankOptions,
    /// Groups that are not to be compared with each other.
    pub groups: Vec<Group>,
    /// Results that have no metrics to rank by, in a fixed order.
    pub failed: Vec<Box<Entry>>,
    /// What was tried and not selected, a line a candidate and reason.
    pub rejected: Vec<RejectedCandidate>,
    /// Results that so long a list leaves out.
    pub rejected_more: usize,
    /// Frameworks that have no valid result anywhere, and why.
    pub unmeasured: Vec<Missing>,
    /// Candidates tried and known, by framework.
    pub tried: BTreeMap<Arc<str>, SearchCoverage>,
    /// Notes that some ranked row has.
    pub notes: Notes,
    /// Limits of the rows, `max_p99_ttft_ms 1500`, and those given in their place.
    pub limits: Vec<String>,
    /// The kinds of limits among them.
    pub limited: BTreeSet<Limit>,
    /// What rows claim and their numbers do not say, and how often.
    pub claims: (Vec<String>, usize),
    /// Rows that say less than others and were taken for the same: what these are compared as.
    pub assumed: Vec<String>,
}

/// Results that may be compared.
#[derive(Debug)]
pub struct Group {
    /// What they have in common.
    pub key: Arc<GroupKey>,
    /// Candidates, best first.
    pub ranked: Vec<RankedCandidate>,
    /// The places of the best of every framework, in their order.
    best: Vec<usize>,
    /// Every load that some row of it has, the least first.
    pub loads: Vec<String>,
    /// What follows.
    pub decision: Decision,
    /// Who is tied with the leader.
    pub ties: Ties,
    /// Frameworks that were asked for and have no valid result in it: its winner is provisional.
    pub missing: Vec<Missing>,
    /// By what its rows differ that should be equal; only with `allow_mixed`.
    pub mixed: Vec<String>,
}

/// A candidate: its best load point, by which it stands, and its others.
#[derive(Debug, Clone)]
pub struct RankedCandidate {
    /// By this it stands.
    pub best: Trial,
    /// Its other load points and probes.
    pub others: Vec<Trial>,
}

impl RankedCandidate {
    /// All of them, the best first.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        std::iter::once(&self.best).chain(&self.others)
    }
}

/// How far a framework was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchCoverage {
    /// Candidates that gave a result.
    pub finished: usize,
    /// Candidates that gave any row.
    pub seen: usize,
    /// Candidates that its search has, where rows say so.
    pub of: usize,
    /// Its baseline gave a result.
    pub baseline: bool,
    /// Its baseline gave a row that says why it gave none.
    pub baseline_seen: bool,
    /// The user left it out.
    pub excluded: bool,
}

impl SearchCoverage {
    /// What is missing before the framework was given its chance; nothing where rows do not say what there is.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let tuned = self.finished > usize::from(self.baseline);
        match () {
            () if self.of == 0 || self.excluded => None,
            () if !self.baseline && !self.baseline_seen => Some("its baseline has no result"),
            // What failed has its reason.
            () if !tuned && self.seen < self.of => Some("none of its tuned candidates has a result"),
            () => None,
        }
    }
}

impl Group {
    /// The best entry of every framework, in the group's order.
    #[must_use]
    pub fn best_of_frameworks(&self) -> Vec<&RankedCandidate> {
        self.best.iter().map(|place| &self.ranked[*place]).collect()
    }

    /// The frameworks that have a result in it, in its order.
    #[must_use]
    pub fn frameworks(&self) -> Vec<&Arc<str>> {
        self.best.iter().map(|place| &self.ranked[*place].best.entry().framework).collect()
    }

    /// Everything in it, ranked or beneath.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ranked.iter().flat_map(RankedCandidate::trials).flat_map(Trial::entries)
    }
}

/// Ranks what was taken in. The order of the input does not matter.
#[must_use]
pub fn rank(entries: Vec<Box<Entry>>, intake: &Intake) -> Ranking {
    let options = intake.options().clone();
    let mut entries = fold::latest(entries);
    let tried = count(&entries);
    let claims = claims(&entries, &options);
    let (mut assumed, mut differing) = (Vec::new(), BTreeMap::new());
    settle(&mut entries, options.allow_mixed, &mut assumed, &mut differing);
    let (ok, mut failed): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.ok);
    let mut notes = Notes::default();
    ok.iter().for_each(|entry| notes.insert(entry.notes));
    let folded = fold::groups(ok, &options).into_iter();
    let mut groups: Vec<Group> = folded.map(|folded| group(folded, &options, &mut differing)).collect();
    failed.sort_by(|a, b| {
        let load = |e: &Entry| [e.rate, e.in_flight].map(|n| n.map_or(0, f64::to_bits));
        (&a.framework, &a.candidate_id)
            .cmp(&(&b.framework, &b.candidate_id))
            .then_with(|| a.group.cmp(&b.group))
            .then_with(|| load(a).cmp(&load(b)))
            .then_with(|| a.line().cmp(b.line()))
    });
    let unmeasured = missing::fill(&mut groups, &failed, &tried);
    let (rejected, rejected_more) = rejected::rejected(&groups, &failed, &options);
    let given = options.sla.iter().filter_map(|(_, key, _)| Limit::known(key));
    let limited = intake.limited.iter().copied().chain(given).collect();
    let mut limits: Vec<String> = intake.limits.iter().cloned().collect();
    limits.extend(options.sla.iter().map(|(scenario, key, value)| {
        let of = scenario.as_ref().map_or(String::new(), |scenario| format!(" for {scenario}"));
        format!("{key} {value}{of} (given to this report)")
    }));
    Ranking {
        options,
        groups,
        failed,
        rejected,
        rejected_more,
        unmeasured,
        tried,
        notes,
        limits,
        limited,
        claims,
        assumed,
    }
}

/// Claims that are told one by one.
const CLAIMS: usize = 20;

/// What rows claim about their SLA and their numbers do not say: the first of them in words, and how many there are.
fn claims(entries: &[Box<Entry>], options: &RankOptions) -> (Vec<String>, usize) {
    let claiming = || entries.iter().enumerate().filter(|(_, entry)| entry.notes.has(Notes::CLAIM));
    let named = claiming().map(|(i, entry)| (&*entry.framework, &*entry.candidate_id, entry.line(), i));
    let words = |(framework, id, _, i): (&str, &str, &str, usize)| {
        entries[i].claim(options).map(|claim| format!("{framework} {id}: {claim}"))
    };
    (least(CLAIMS, named).into_iter().filter_map(words).collect(), claiming().count())
}

/// The `n` least of these, each once.
fn least<T: Ord>(n: usize, items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut kept = BTreeSet::new();
    for item in items {
        if kept.len() < n || kept.last().is_some_and(|last| item < *last) {
            kept.insert(item);
            if kept.len() > n {
                kept.pop_last();
            }
        }
    }
    kept
}

/// Those of a candidate stand side by side.
fn count(entries: &[Box<Entry>]) -> BTreeMap<Arc<str>, SearchCoverage> {
    let mut tried: BTreeMap<Arc<str>, SearchCoverage> = BTreeMap::new();
    for of_one in entries.chunk_by(|a, b| a.is_of(b)) {
        let counts = tried.entry(Arc::clone(&of_one[0].framework)).or_default();
        for entry in of_one {
            let (baseline, of) = entry.tried.unwrap_or_default();
            counts.of = counts.of.max(of as usize);
            counts.baseline |= baseline && entry.ok;
            counts.baseline_seen |= baseline;
            counts.excluded |= entry.notes.has(Notes::EXCLUDED);
        }
        counts.seen += 1;
        counts.finished += usize::from(of_one.iter().any(|entry| entry.ok));
    }
    tried
}

/// Puts rows that say less to the group that they fit; with `mixed` all of a scenario and a way to load into one.
fn settle(
    entries: &mut [Box<Entry>],
    mixed: bool,
    assumed: &mut Vec<String>,
    differing: &mut BTreeMap<Arc<GroupKey>, Vec<String>>,
) {
    // They are shared: as few are looked at as there are.
    let shared: HashMap<*const GroupKey, &Arc<GroupKey>> =
        entries.iter().map(|entry| (Arc::as_ptr(&entry.group), &entry.group)).collect();
    let all: BTreeSet<Arc<GroupKey>> = shared.into_values().map(Arc::clone).collect();
    let mut ends = group::settle(&all);
    for (from, to) in ends.iter().filter(|(from, to)| from != to) {
        assumed.extend(group::differences(&[from, to]));
    }
    assumed.sort();
    assumed.dedup();
    if mixed {
        let mut together: BTreeMap<(&str, &str), Vec<&Arc<GroupKey>>> = BTreeMap::new();
        for key in &all {
            together.entry((&key.scenario, &key.mode)).or_default().push(key);
        }
        for keys in together.into_values() {
            let plain: Vec<&GroupKey> = keys.iter().map(|key| &***key).collect();
            differing.insert(Arc::clone(keys[0]), group::differences(&plain));
            ends.extend(keys.iter().map(|key| (Arc::clone(key), Arc::clone(keys[0]))));
        }
    }
    if ends.iter().all(|(from, to)| Arc::ptr_eq(from, to)) {
        return;
    }
    let by_place: HashMap<*const GroupKey, &Arc<GroupKey>> =
        ends.iter().map(|(from, to)| (Arc::as_ptr(from), to)).collect();
    for entry in entries {
        if let Some(end) = by_place.get(&Arc::as_ptr(&entry.group)) {
            entry.group = Arc::clone(end);
        }
    }
}

fn group(
    FoldResult { key, mut ranked, loads }: FoldResult,
    options: &RankOptions,
    differing: &mut BTreeMap<Arc<GroupKey>, Vec<String>>,
) -> Group {
    let mut ties = decision::ties(&ranked);
    if options.prefer_simple && ties.simpler.is_some() {
        decision::prefer_simple(&mut ranked, &ties, options);
        ties = decision::ties(&ranked);
        ties.simpler = None;
    }
    let decision = decision::decide(&ranked, options);
    let mixed = differing.remove(&key).unwrap_or_default();
    let mut best: Vec<usize> = Vec::new();
    for (place, next) in ranked.iter().enumerate() {
        // Equal names are one.
        let known = |of: &usize| Arc::ptr_eq(&ranked[*of].best.entry().framework, &next.best.entry().framework);
        if !best.iter().any(known) {
            best.push(place);
        }
    }
    Group { key, ranked, best, loads, decision, ties, missing: Vec::new(), mixed }
}

impl Ranking {
    /// True when SLAs were given and nothing keeps them anywhere, and when nothing was measured at all.
    #[must_use]
    pub fn nothing_passed(&self) -> bool {
        self.groups.iter().all(|group| matches!(group.decision, Decision::None { .. }))
    }

    /// Some row comes from a simulated engine.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.groups.iter().any(|group| group.key.simulated) || self.failed.iter().any(|entry| entry.group.simulated)
    }

    /// Some row is a flow check.
    #[must_use]
    pub fn smoke(&self) -> bool {
        self.groups.iter().any(|group| group.key.smoke) || self.failed.iter().any(|entry| entry.group.smoke)
    }

    /// Some row is a measurement.
    #[must_use]
    pub fn measured(&self) -> bool {
        let is = |key: &GroupKey| !key.smoke && !key.simulated;
        self.groups.iter().any(|group| is(&group.key)) || self.failed.iter().any(|entry| is(&entry.group))
    }

    /// Every result, ranked or not.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(Group::entries).chain(self.failed.iter().map(|entry| &**entry))
    }

    /// What groups lack, each with the groups that lack it for this reason.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<&Missing, Vec<&Group>> {
        let mut all: BTreeMap<&Missing, Vec<&Group>> = BTreeMap::new();
        for group in &self.groups {
            group.missing.iter().for_each(|missing| all.entry(missing).or_default().push(group));
        }
        all
    }

    /// Frameworks that were not given their chance, and what they lack: until then a winner over several is provisional.
    #[must_use]
    pub fn provisional(&self) -> Vec<(&str, &'static str)> {
        if self.tried.len() < 2 {
            return Vec::new();
        }
        self.tried.iter().filter_map(|(framework, tried)| Some((&**framework, tried.missing()?))).collect()
    }
}

#[cfg(test)]
mod tests;
