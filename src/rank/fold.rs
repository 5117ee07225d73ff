//! Folds results into trials and candidates: removes duplicates, keeps the latest attempt of every unit, joins repeats.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::candidate::RankedCandidate;
use super::criterion::RankOptions;
use super::entry::Entry;
use super::key::GroupKey;
use super::trial::Trial;
use crate::rows::resume;
use crate::rows::resume::Attempt;

/// Removes duplicate rows and all but the latest completed attempt of every unit, ordered by the start of their runs.
/// Results of one candidate end up adjacent.
pub fn latest(mut entries: Vec<Box<Entry>>) -> Vec<Box<Entry>> {
    entries = side_by_side(entries);
    entries.dedup_by(|a, b| a.is_of(b) && a.line() == b.line());
    // The order in time matters only for runs.
    let mut runs: Vec<usize> = (0..entries.len()).filter(|i| entries[*i].own.is_some()).collect();
    let started = |i: usize| (entries[i].own.as_ref().map(|own| &own.started_at), entries[i].line());
    runs.sort_by(|a, b| started(*a).cmp(&started(*b)));
    let attempt = |i: &usize| -> Attempt {
        let Some(own) = &entries[*i].own else { return Attempt::default() };
        let units = own.units.iter().chain(Some(&own.unit).filter(|unit| !unit.is_empty())).map(ToString::to_string);
        let name = own.probe.then(|| own.server_id.to_string());
        Attempt { units: units.collect(), name, cut: own.cut, empty: !entries[*i].ok }
    };
    let counts = resume::latest(&runs.iter().map(attempt).collect::<Vec<_>>());
    let mut retained = vec![true; entries.len()];
    runs.into_iter().zip(counts).for_each(|(i, counts)| retained[i] = counts);
    let mut retained = retained.into_iter();
    entries.retain(|_| retained.next().unwrap_or(true));
    entries
}

/// Groups the results of each candidate, in the order of their lines; candidates in any order.
fn side_by_side(entries: Vec<Box<Entry>>) -> Vec<Box<Entry>> {
    fn names(entry: &Entry) -> (usize, &str) {
        // Equal framework names are one allocation.
        (Arc::as_ptr(&entry.framework).addr(), &entry.candidate_id)
    }
    let hasher = RandomState::new();
    let mut hashes: Vec<(u64, usize)> =
        entries.iter().enumerate().map(|(i, entry)| (hasher.hash_one(names(entry)), i)).collect();
    hashes.sort_unstable();
    // After the first result of its candidate; in place if that is the one before it.
    let mut places: Vec<(usize, usize)> = (0..entries.len()).map(|i| (i, 0)).collect();
    for equal in hashes.chunk_by_mut(|a, b| a.0 == b.0).filter(|equal| equal.len() > 1) {
        let order = |i: &usize| (names(&entries[*i]), entries[*i].line());
        equal.sort_by(|(_, a), (_, b)| order(a).cmp(&order(b)));
        for of_one in equal.chunk_by(|(_, a), (_, b)| entries[*a].is_of(&entries[*b])) {
            of_one.iter().enumerate().for_each(|(n, (_, i))| places[*i] = (of_one[0].1, n));
        }
    }
    if places.iter().enumerate().all(|(i, place)| *place == (i, 0)) {
        return entries;
    }
    let mut placed: Vec<((usize, usize), Box<Entry>)> = places.into_iter().zip(entries).collect();
    placed.sort_unstable_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, entry)| entry).collect()
}

/// A group's candidates.
pub struct FoldResult {
    pub key: Arc<GroupKey>,
    /// Candidates, in order.
    pub ranked: Vec<RankedCandidate>,
    /// Every load of some row, the lowest first.
    pub loads: Vec<String>,
}

/// A group's results.
#[derive(Default)]
struct Results {
    entries: Vec<Box<Entry>>,
    loads: Vec<(f64, String)>,
    seen: HashSet<[Option<u64>; 2]>,
}

impl Results {
    fn push(&mut self, entry: Box<Entry>) {
        if self.seen.insert([entry.rate, entry.in_flight].map(|load| load.map(f64::to_bits))) {
            self.loads.push((entry.amount(), entry.load()));
        }
        self.entries.push(entry);
    }

    fn fold(mut self, key: Arc<GroupKey>, options: &RankOptions) -> FoldResult {
        self.loads.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let loads = self.loads.into_iter().map(|(_, load)| load).collect();
        FoldResult { key, ranked: sorted(candidates(self.entries, options), options), loads }
    }
}

/// Results by group. The results of a candidate must be adjacent.
pub fn groups(entries: Vec<Box<Entry>>, options: &RankOptions) -> Vec<FoldResult> {
    let mut groups: Vec<(Arc<GroupKey>, Results)> = Vec::new();
    // Equal keys are one allocation.
    let mut places: HashMap<*const GroupKey, usize> = HashMap::new();
    for entry in entries {
        let place = *places.entry(Arc::as_ptr(&entry.group)).or_insert_with(|| {
            groups.push((Arc::clone(&entry.group), Results::default()));
            groups.len() - 1
        });
        groups[place].1.push(entry);
    }
    groups.sort_by(|a, b| a.0.cmp(&b.0));
    groups.into_iter().map(|(key, results)| results.fold(key, options)).collect()
}

fn candidates(entries: Vec<Box<Entry>>, options: &RankOptions) -> Vec<RankedCandidate> {
    let mut ranked = Vec::with_capacity(entries.len());
    let mut waiting = entries.into_iter().peekable();
    while let Some(first) = waiting.next() {
        let more: Vec<Box<Entry>> = std::iter::from_fn(|| waiting.next_if(|next| next.is_of(&first))).collect();
        ranked.push(candidate(first, more, options));
    }
    ranked
}

/// A candidate from all its results in a group, at least one.
fn candidate(first: Box<Entry>, more: Vec<Box<Entry>>, options: &RankOptions) -> RankedCandidate {
    if more.is_empty() {
        return RankedCandidate { best: Trial::of(first, more), others: Vec::new() };
    }
    let mut entries: Vec<Box<Entry>> = std::iter::once(first).chain(more).collect();
    entries.sort_by_key(|entry| load_point(entry));
    let mut trials: Vec<Trial> = Vec::new();
    let mut waiting = entries.into_iter().peekable();
    while let Some(first) = waiting.next() {
        let point = load_point(&first);
        let same = |next: &Entry| point.is_some() && load_point(next) == point;
        let repeats: Vec<Box<Entry>> = std::iter::from_fn(|| waiting.next_if(|next| same(next))).collect();
        trials.push(Trial::of(first, repeats));
    }
    // Only the chosen run of a rate search counts.
    let claim = |trial: &Trial| trial.entry().is_claim();
    trials.sort_by(|a, b| claim(b).cmp(&claim(a)).then_with(|| a.compare(b, options)));
    let best = trials.remove(0);
    RankedCandidate { best, others: trials }
}

/// What makes results repeats of each other: a load point, the result of a search, or a probe of one. Rows that are not
/// of runs are never repeats of each other.
fn load_point(entry: &Entry) -> Option<(bool, bool, u64, u64)> {
    let own = entry.own.as_ref()?;
    let bits = |value: Option<f64>| value.map_or(u64::MAX, f64::to_bits);
    Some(match own.chosen {
        Some(true) => (true, false, 0, 0),
        _ => (false, own.probe, bits(entry.rate), bits(entry.in_flight)),
    })
}

/// Candidates, best first.
fn sorted(ranked: Vec<RankedCandidate>, options: &RankOptions) -> Vec<RankedCandidate> {
    let mut order: Vec<([u64; 6], usize)> =
        ranked.iter().enumerate().map(|(i, ranked)| (ranked.best.place(options), i)).collect();
    order.sort_unstable_by_key(|(place, _)| *place);
    // Names are slow to look up: they are compared last.
    for equal in order.chunk_by_mut(|(a, _), (b, _)| a == b).filter(|equal| equal.len() > 1) {
        equal.sort_by_cached_key(|(_, i)| ranked[*i].best.names());
    }
    let mut ranked: Vec<Option<RankedCandidate>> = ranked.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(_, i)| ranked[i].take()).collect()
}
