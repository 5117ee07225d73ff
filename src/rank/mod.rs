//! The ranking of the source document, scenario by scenario.

mod by;
mod capacity;
mod combined;
mod decision;
mod entry;
mod fast;
mod gate;
mod group;
mod notes;
mod rejected;
mod release;
mod trial;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::attempt::{self, Attempt};

pub use by::{Options, RankBy, Statistic, Throughput};
pub use capacity::{Card, Demand, card};
pub use combined::{Combined, Score};
pub use decision::{Decision, Ties};
pub use entry::{Entry, Intake, Keys, Own};
pub use group::{GroupKey, differences};
pub use notes::Notes;
pub use rejected::Rejected;
pub use release::{Change, Release, release};
pub use trial::Trial;

/// Everything that a report shows.
#[derive(Debug)]
pub struct Ranking {
    /// How it was made.
    pub options: Options,
    /// Groups that are not to be compared with each other.
    pub groups: Vec<Group>,
    /// Results that have no metrics to rank by, in a fixed order.
    pub failed: Vec<Entry>,
    /// What was tried and not selected, a line a candidate and reason.
    pub rejected: Vec<Rejected>,
    /// Results that so long a list leaves out.
    pub rejected_more: usize,
    /// Candidates tried and known, by framework.
    pub tried: BTreeMap<Arc<str>, Tried>,
    /// Notes that some ranked row has.
    pub notes: Notes,
    /// Limits of the rows, `max_p99_ttft_ms 1500`, and those given in their place.
    pub limits: Vec<String>,
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
    pub ranked: Vec<Ranked>,
    /// What follows.
    pub decision: Decision,
    /// Who is tied with the leader.
    pub ties: Ties,
    /// By what its rows differ that should be equal; only with `allow_mixed`.
    pub mixed: Vec<String>,
}

/// A candidate: its best load point, by which it stands, and its others.
#[derive(Debug, Clone)]
pub struct Ranked {
    /// By this it stands.
    pub best: Trial,
    /// Its other load points and probes.
    pub others: Vec<Trial>,
}

impl Ranked {
    /// All of them, the best first.
    pub fn trials(&self) -> impl Iterator<Item = &Trial> {
        std::iter::once(&self.best).chain(&self.others)
    }
}

/// How far a framework was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
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

impl Tried {
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
    pub fn best_of_frameworks(&self) -> Vec<&Ranked> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        self.ranked.iter().filter(|ranked| seen.insert(&ranked.best.entry().framework)).collect()
    }

    /// Everything in it, ranked or beneath.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ranked.iter().flat_map(Ranked::trials).flat_map(|trial| &trial.entries)
    }
}

/// Each row once, and of every unit only its latest attempt, by the time when its run started.
fn latest(mut entries: Vec<Entry>) -> Vec<Entry> {
    // Only of runs it matters which came first; the others are put in order later.
    if entries.iter().all(|entry| entry.own.is_none()) {
        let mut seen: HashSet<Box<str>> = HashSet::new();
        let mut hashes: HashSet<u64> = HashSet::with_capacity(entries.len());
        let hasher = RandomState::new();
        entries.retain(|entry| hashes.insert(hasher.hash_one(entry.line())) || seen.insert(entry.line().into()));
        if !seen.is_empty() {
            // Some line may stand twice: what is seldom may be slow.
            entries.sort_by(|a, b| a.line().cmp(b.line()));
            entries.dedup_by(|a, b| a.line() == b.line());
        }
        return entries;
    }
    entries.sort_unstable_by(|a, b| {
        let times = a.own.as_ref().map(|own| &own.started_at).cmp(&b.own.as_ref().map(|own| &own.started_at));
        times.then_with(|| a.line().cmp(b.line()))
    });
    entries.dedup_by(|a, b| a.line() == b.line());
    let attempt = |entry: &Entry| -> Attempt {
        let Some(own) = &entry.own else { return (BTreeSet::new(), None) };
        let units = own.units.iter().chain(Some(&own.unit).filter(|unit| !unit.is_empty())).map(ToString::to_string);
        (units.collect(), own.probe.then(|| own.server_id.to_string()))
    };
    let counts = attempt::latest(&entries.iter().map(attempt).collect::<Vec<_>>());
    entries.into_iter().zip(counts).filter(|(_, counts)| *counts).map(|(entry, _)| entry).collect()
}

/// Ranks what was taken in. The order of the input does not matter.
#[must_use]
pub fn rank(entries: Vec<Entry>, intake: &Intake) -> Ranking {
    let options = intake.options().clone();
    let mut entries = latest(entries);
    let tried = count(&entries);
    let claims = claims(&entries, &options);
    let (mut assumed, mut differing) = (Vec::new(), BTreeMap::new());
    settle(&mut entries, options.allow_mixed, &mut assumed, &mut differing);
    let (ok, mut failed): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.ok);
    let mut notes = Notes::default();
    ok.iter().for_each(|entry| notes.insert(entry.notes));
    let mut groups: Vec<Group> = Vec::new();
    for (key, ranked) in candidates(ok) {
        groups.push(group(key, ranked, &options, &mut differing));
    }
    failed.sort_by(|a, b| {
        let load = |e: &Entry| [e.rate, e.in_flight].map(|n| n.map_or(0, f64::to_bits));
        (&a.framework, &a.candidate_id)
            .cmp(&(&b.framework, &b.candidate_id))
            .then_with(|| a.group.cmp(&b.group))
            .then_with(|| load(a).cmp(&load(b)))
            .then_with(|| a.line().cmp(b.line()))
    });
    let (rejected, rejected_more) = rejected::rejected(&groups, &failed, &options);
    let mut limits: Vec<String> = intake.limits.iter().cloned().collect();
    limits.extend(options.sla.iter().map(|(scenario, key, value)| {
        let of = scenario.as_ref().map_or(String::new(), |scenario| format!(" for {scenario}"));
        format!("{key} {value}{of} (given to this report)")
    }));
    Ranking { options, groups, failed, rejected, rejected_more, tried, notes, limits, claims, assumed }
}

/// Claims that are told one by one.
const CLAIMS: usize = 20;

/// What rows claim about their SLA and their numbers do not say: the first of them in words, and how many there are.
fn claims(entries: &[Entry], options: &Options) -> (Vec<String>, usize) {
    let mut claiming: Vec<&Entry> = entries.iter().filter(|entry| entry.notes.has(Notes::CLAIM)).collect();
    claiming.sort_unstable_by(|a, b| {
        (&a.framework, &a.candidate_id, a.line()).cmp(&(&b.framework, &b.candidate_id, b.line()))
    });
    let words = |entry: &&Entry| {
        entry.claim(options).map(|claim| format!("{} {}: {claim}", entry.framework, entry.candidate_id))
    };
    (claiming.iter().take(CLAIMS).filter_map(words).collect(), claiming.len())
}

fn count(entries: &[Entry]) -> BTreeMap<Arc<str>, Tried> {
    let mut tried: BTreeMap<Arc<str>, Tried> = BTreeMap::new();
    let mut by_candidate: HashMap<(&str, &str), (bool, bool)> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let counts = match tried.get_mut(&entry.framework) {
            Some(counts) => counts,
            None => tried.entry(Arc::clone(&entry.framework)).or_default(),
        };
        if let Some((baseline, of)) = entry.tried {
            counts.of = counts.of.max(of as usize);
            counts.baseline |= baseline && entry.ok;
            counts.baseline_seen |= baseline;
        }
        let of = by_candidate.entry((&entry.framework, &entry.candidate_id)).or_default();
        of.0 |= entry.ok;
        of.1 |= entry.notes.has(Notes::EXCLUDED);
    }
    for ((framework, _), (finished, excluded)) in by_candidate {
        if let Some(counts) = tried.get_mut(framework) {
            counts.seen += 1;
            counts.finished += usize::from(finished);
            counts.excluded |= excluded;
        }
    }
    tried
}

/// Puts rows that say less to the group that they fit; with `mixed` all of a scenario and a way to load into one.
fn settle(
    entries: &mut [Entry],
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
    let by_place: HashMap<*const GroupKey, &Arc<GroupKey>> =
        ends.iter().map(|(from, to)| (Arc::as_ptr(from), to)).collect();
    for entry in entries {
        if let Some(end) = by_place.get(&Arc::as_ptr(&entry.group)) {
            entry.group = Arc::clone(end);
        }
    }
}

/// What is a repeat of what: a load point, the result of a search, or a probe of one. Rows that do not say that they are runs
/// are no repeats of each other.
fn load_point(entry: &Entry) -> Option<(bool, bool, u64, u64)> {
    let own = entry.own.as_ref()?;
    let bits = |value: Option<f64>| value.map_or(u64::MAX, f64::to_bits);
    Some(match own.chosen {
        Some(true) => (true, false, 0, 0),
        _ => (false, own.probe, bits(entry.rate), bits(entry.in_flight)),
    })
}

/// Results by group and candidate, each candidate's trials.
fn candidates(entries: Vec<Entry>) -> Vec<(Arc<GroupKey>, Vec<Vec<Trial>>)> {
    // Entries are large: their numbers are sorted.
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&entries[*a], &entries[*b]);
        let groups = if Arc::ptr_eq(&a.group, &b.group) { Ordering::Equal } else { a.group.cmp(&b.group) };
        groups
            .then_with(|| a.framework.cmp(&b.framework))
            .then_with(|| a.candidate_id.cmp(&b.candidate_id))
            .then_with(|| load_point(a).cmp(&load_point(b)))
    });
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    let entries = order.into_iter().filter_map(move |i| entries[i].take());
    let mut groups: Vec<(Arc<GroupKey>, Vec<Vec<Trial>>)> = Vec::new();
    let mut last: Option<(Arc<str>, Box<str>)> = None;
    let mut waiting = entries.peekable();
    while let Some(first) = waiting.next() {
        if groups.last().is_none_or(|(key, _)| *key != first.group) {
            groups.push((Arc::clone(&first.group), Vec::new()));
            last = None;
        }
        let id = (Arc::clone(&first.framework), first.candidate_id.clone());
        let mut repeats = vec![first];
        let point = load_point(&repeats[0]);
        let same = |next: &Entry| {
            point.is_some()
                && load_point(next) == point
                && next.group == repeats[0].group
                && next.framework == id.0
                && next.candidate_id == id.1
        };
        let more: Vec<Entry> = std::iter::from_fn(|| waiting.next_if(same)).collect();
        repeats.extend(more);
        let Some((_, ranked)) = groups.last_mut() else { continue };
        match ranked.last_mut().filter(|_| last.as_ref() == Some(&id)) {
            Some(trials) => trials.push(Trial::of(repeats)),
            None => ranked.push(vec![Trial::of(repeats)]),
        }
        last = Some(id);
    }
    groups
}

fn group(
    key: Arc<GroupKey>,
    candidates: Vec<Vec<Trial>>,
    options: &Options,
    differing: &mut BTreeMap<Arc<GroupKey>, Vec<String>>,
) -> Group {
    let mut ranked: Vec<Ranked> = candidates
        .into_iter()
        .map(|mut trials| {
            // Of a search only what stands for it is a claim.
            let claim = |trial: &Trial| trial.entry().is_claim();
            trials.sort_by(|a, b| claim(b).cmp(&claim(a)).then_with(|| a.compare(b, options)));
            let best = trials.remove(0);
            Ranked { best, others: trials }
        })
        .collect();
    ranked.sort_by(|a, b| a.best.compare(&b.best, options));
    let mut ties = decision::ties(&ranked);
    if options.prefer_simple && ties.simpler.is_some() {
        decision::prefer_simple(&mut ranked, &ties, options);
        ties = decision::ties(&ranked);
        ties.simpler = None;
    }
    let decision = decision::decide(&ranked, options);
    let mixed = differing.remove(&key).unwrap_or_default();
    Group { key, ranked, decision, ties, mixed }
}

impl Ranking {
    /// True when SLAs were given and nothing keeps them anywhere.
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
        self.groups.iter().flat_map(Group::entries).chain(&self.failed)
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
