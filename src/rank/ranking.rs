//! The ranking: groups of comparable results, and all results that are in none of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::combined::CombinedRanking;
use super::coverage::SearchCoverage;
use super::criterion::RankOptions;
use super::decision::Decision;
use super::entry::Entry;
use super::fold::FoldResult;
use super::group::{Group, Missing};
use super::intake::Intake;
use super::key::GroupKey;
use super::notes::Notes;
use super::rejected::RejectedCandidate;
use super::{combined, coverage, decision, fold, key, missing, nodes, rejected, slots};
use crate::metrics::nodes::NodeSpeeds;
use crate::rows::words::Limit;

/// Everything that a report shows.
#[derive(Debug)]
pub struct Ranking {
    /// The options of the ranking.
    pub options: RankOptions,
    /// Groups of results; groups are not comparable with each other.
    pub groups: Vec<Group>,
    /// Results that have no metrics to rank by, in a fixed order.
    pub failed: Vec<Box<Entry>>,
    /// Candidates that were not selected, one entry per candidate and reason.
    pub rejected: Vec<RejectedCandidate>,
    /// Number of results beyond the maximum length of that list.
    pub rejected_more: usize,
    /// Frameworks that have no valid result anywhere, and why.
    pub unmeasured: Vec<Missing>,
    /// Number of tested and known candidates, by framework.
    pub tried: BTreeMap<Arc<str>, SearchCoverage>,
    /// Caveats of the ranked rows.
    pub notes: Notes,
    /// Limits of the rows, `max_p99_ttft_ms 1500`, or those that override them.
    pub limits: Vec<String>,
    /// The kinds of these limits.
    pub limited: BTreeSet<Limit>,
    /// Claims of rows that their own numbers contradict, and their total number.
    pub claims: (Vec<String>, usize),
    /// Settings that some rows lack and that were assumed to match.
    pub assumed: Vec<String>,
    /// How fast the nodes are.
    pub speeds: NodeSpeeds,
    /// The nodes that measured a row.
    pub measured_on: BTreeSet<String>,
    /// How much servers disturbed each other that were measured at the same time, a sentence each.
    pub slots: Vec<String>,
}

/// Ranks the entries. The order of the input does not matter.
#[must_use]
pub fn rank(entries: Vec<Box<Entry>>, intake: &Intake) -> Ranking {
    let speeds = NodeSpeeds::of(&intake.nodes);
    let options = RankOptions { node_sd: speeds.sd(), ..intake.options().clone() };
    let mut entries = entries;
    nodes::yield_to_others(&mut entries, &speeds);
    let mut entries = fold::latest(entries);
    slots::refuse(&mut entries, &intake.nodes);
    let slots = slots::notes(&entries, &intake.nodes);
    let tried = coverage::count(&entries);
    let claims = claims(&entries, &options);
    let (mut assumed, mut differing) = (Vec::new(), BTreeMap::new());
    settle(&mut entries, options.allow_mixed, &mut assumed, &mut differing);
    let measured_on =
        entries.iter().filter(|entry| entry.ok && !entry.node.is_empty()).map(|entry| entry.node.to_string()).collect();
    nodes::set_apart(&mut entries, &speeds);
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
    let unmeasured = missing::fill(&mut groups, &failed, &tried, &options.never_started);
    let (rejected, rejected_more) = rejected::rejected(&groups, &failed, &options);
    let overrides = options.sla.iter().filter_map(|(_, key, _)| Limit::known(key));
    let limited = intake.limited.iter().copied().chain(overrides).collect();
    let mut limits = limits(intake);
    limits.extend(options.sla.iter().map(|(scenario, key, value)| {
        let of = scenario.as_ref().map_or(String::new(), |scenario| format!(" for {scenario}"));
        format!("{key} {value}{of} (set with --sla)")
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
        speeds,
        measured_on,
        slots,
    }
}

/// The limits of the rows; where a scenario has another value than the others, with the scenarios.
fn limits(intake: &Intake) -> Vec<String> {
    let key = |limit: &str| limit.split(' ').next().unwrap_or_default().to_string();
    let mut values: BTreeMap<String, usize> = BTreeMap::new();
    intake.limits.keys().for_each(|limit| *values.entry(key(limit)).or_default() += 1);
    let words = |(limit, scenarios): (&String, &BTreeSet<String>)| {
        let named: Vec<&str> = scenarios.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        match values[&key(limit)] > 1 && !named.is_empty() {
            true => format!("{limit} for {}", named.join(" and ")),
            false => limit.clone(),
        }
    };
    intake.limits.iter().map(words).collect()
}

/// Maximum number of claims to list.
const CLAIMS: usize = 20;

/// Claims about the SLA that the rows' own numbers contradict: the first ones as text, and their total number.
fn claims(entries: &[Box<Entry>], options: &RankOptions) -> (Vec<String>, usize) {
    let claiming = || entries.iter().enumerate().filter(|(_, entry)| entry.notes.has(Notes::CLAIM));
    let named = claiming().map(|(i, entry)| (&*entry.framework, &*entry.candidate_id, entry.line(), i));
    let words = |(framework, id, _, i): (&str, &str, &str, usize)| {
        entries[i].claim(options).map(|claim| format!("{framework} {id}: {claim}"))
    };
    (rejected::least(CLAIMS, named).into_iter().filter_map(words).collect(), claiming().count())
}

/// Moves rows that specify less into the group that they fit; with `mixed`, all rows of a scenario and load mode into
/// one
fn settle(
    entries: &mut [Box<Entry>],
    mixed: bool,
    assumed: &mut Vec<String>,
    differing: &mut BTreeMap<Arc<GroupKey>, Vec<String>>,
) {
    // Keys are shared, so only the distinct ones are compared.
    let shared: HashMap<*const GroupKey, &Arc<GroupKey>> =
        entries.iter().map(|entry| (Arc::as_ptr(&entry.group), &entry.group)).collect();
    let all: BTreeSet<Arc<GroupKey>> = shared.into_values().map(Arc::clone).collect();
    let mut ends = key::settle(&all);
    for (from, to) in ends.iter().filter(|(from, to)| from != to) {
        assumed.extend(key::differences(&[from, to]).iter().map(ToString::to_string));
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
            let words = key::differences(&plain).iter().map(ToString::to_string).collect();
            differing.insert(Arc::clone(keys[0]), words);
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
    let mut ties = decision::ties(&ranked, options);
    if options.prefer_simple && ties.simpler.is_some() {
        decision::prefer_simple(&mut ranked, &ties, options);
        ties = decision::ties(&ranked, options);
        ties.simpler = None;
    } else if !options.prefer_simple {
        ties = decision::by_latency(&mut ranked, ties, options);
    }
    let decision = decision::decide(&ranked, options);
    let mixed = differing.remove(&key).unwrap_or_default();
    let mut best: Vec<usize> = Vec::new();
    for (place, next) in ranked.iter().enumerate() {
        // Equal names are one allocation.
        let known = |of: &usize| Arc::ptr_eq(&ranked[*of].best.entry().framework, &next.best.entry().framework);
        if !best.iter().any(known) {
            best.push(place);
        }
    }
    Group { key, ranked, best, loads, decision, ties, missing: Vec::new(), mixed }
}

impl Ranking {
    /// True if an SLA was given and no candidate meets it, and if nothing was measured at all.
    #[must_use]
    pub fn nothing_passed(&self) -> bool {
        self.groups.iter().all(|group| matches!(group.decision, Decision::None { .. }))
    }

    /// True if some row comes from a simulated engine.
    #[must_use]
    pub fn simulated(&self) -> bool {
        self.groups.iter().any(|group| group.key.simulated) || self.failed.iter().any(|entry| entry.group.simulated)
    }

    /// True if some row is a smoke test.
    #[must_use]
    pub fn smoke(&self) -> bool {
        self.groups.iter().any(|group| group.key.smoke) || self.failed.iter().any(|entry| entry.group.smoke)
    }

    /// True if some row is a measurement.
    #[must_use]
    pub fn measured(&self) -> bool {
        let is = |key: &GroupKey| !key.smoke && !key.simulated;
        self.groups.iter().any(|group| is(&group.key)) || self.failed.iter().any(|entry| is(&entry.group))
    }

    /// Every result, ranked or not.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.groups.iter().flat_map(Group::entries).chain(self.failed.iter().map(|entry| &**entry))
    }

    /// Missing frameworks, each with the groups that lack it for the same reason.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<&Missing, Vec<&Group>> {
        let mut all: BTreeMap<&Missing, Vec<&Group>> = BTreeMap::new();
        for group in &self.groups {
            group.missing.iter().for_each(|missing| all.entry(missing).or_default().push(group));
        }
        all
    }

    /// Frameworks with an incomplete search, and what they lack: until it is complete, a winner is provisional.
    #[must_use]
    pub fn provisional(&self) -> Vec<(&str, &'static str)> {
        if self.tried.len() < 2 {
            return Vec::new();
        }
        self.tried.iter().filter_map(|(framework, tried)| Some((&**framework, tried.missing()?))).collect()
    }

    /// The decisions over several scenarios.
    #[must_use]
    pub fn combined(&self) -> Vec<CombinedRanking> {
        combined::combined(&self.groups, &self.weights())
    }

    /// Weights of the scenarios: those of --weights, otherwise those of the plan; empty without either.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, f64)> {
        let first = self.groups.iter().find_map(|group| group.ranked.first());
        match self.options.weights.is_empty() {
            true => first.map(|ranked| ranked.best.entry().weights()).unwrap_or_default(),
            false => self.options.weights.clone(),
        }
    }
}
