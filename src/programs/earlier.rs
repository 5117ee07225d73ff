//! Reads earlier results for bench-expand: which units are done, and which candidates led.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::stdio;
use crate::base::error::Result;
use crate::base::notice::Notice;
use crate::flags::expand::RetryPolicy;
use crate::plan::expand::{FirstPassScore, closes};
use crate::rank::{Intake, Ranking, rank};
use crate::rows::jsonl::RowPlace;
use crate::rows::kinds::{Candidate, Load, ResultRow, Status};
use crate::rows::resume::is_cut;
use crate::rows::row::Row;

/// Maximum number of attempts at a unit with transient failures.
const ATTEMPTS: u32 = 3;

/// Opens all files before reading any rows: if one is missing, its units would run again.
fn rows(paths: &[PathBuf], notice: &'static Notice) -> Result<Vec<(Row, RowPlace)>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    for path in paths {
        stdio::open(path)?;
    }
    stdio::rows(paths, notice).collect()
}

/// The keys of the units that result rows complete.
///
/// # Errors
/// A file that cannot be read.
pub fn done(paths: &[PathBuf], retry: RetryPolicy, notice: &'static Notice) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut given_up = 0;
    for (row, place) in rows(paths, notice)? {
        // Results of other clients do not have units.
        if row.str("record") != Some("result") {
            continue;
        }
        let result = match row.view::<ResultRow>() {
            Ok(result) => result,
            Err(e) => {
                notice.error(&e.at(place));
                continue;
            }
        };
        let closed = closes(result.status, result.failure_class.as_ref());
        let search = result.search.as_ref().map(|search| search.reason);
        let cut = is_cut(result.status == Status::Ok, result.failure_class.as_ref(), search);
        let is_done = match retry {
            RetryPolicy::All => false,
            RetryPolicy::Failed => result.status == Status::Ok,
            RetryPolicy::Transient => closed || (result.attempts >= ATTEMPTS && !cut),
        };
        if is_done {
            given_up += usize::from(!closed && result.status != Status::Ok);
            keys.extend(result.units);
            // A unit that failed too often is completed by its last failure.
            keys.extend(result.run.and_then(|run| run.unit).filter(|_| !closed));
        }
    }
    if given_up > 0 {
        notice.say(format!("{given_up} results failed {ATTEMPTS} times with transient errors and are not run again; use --retry failed to run them"));
    }
    Ok(keys)
}

/// Drops the units that are done, and candidates without units left.
pub fn drop_done(candidates: &mut Vec<Candidate>, done: &BTreeSet<String>, notice: &Notice) {
    let mut units = candidates.iter().flat_map(|candidate| &candidate.units);
    if !done.is_empty() && !units.any(|unit| done.contains(&unit.key)) {
        let why = "no run in --done belongs to this plan, so everything is run: its model, command, GPUs, workload or framework \
                   version is another one (to go on with a sweep give its plan.jsonl, which has the versions of its captured help)";
        notice.warn(why);
    }
    for candidate in candidates.iter_mut() {
        candidate.units.retain(|unit| !done.contains(&unit.key));
    }
    candidates.retain(|candidate| !candidate.units.is_empty());
}

/// The ranking of result rows.
///
/// # Errors
/// A file that cannot be read.
pub fn ranking(paths: &[PathBuf], notice: &'static Notice) -> Result<Ranking> {
    let mut intake = Intake::default();
    let rows = rows(paths, notice)?;
    let mut entries = Vec::new();
    for (row, place) in rows {
        match intake.line(&row.line()) {
            Ok(entry) => entries.extend(entry),
            Err(e) => notice.error(&e.at(place)),
        }
    }
    Ok(rank(entries, &intake))
}

/// The best load point of each candidate, scenario by scenario in ranking order; candidates that missed the SLA come
/// last.
#[must_use]
pub fn best(ranking: &Ranking) -> Vec<FirstPassScore> {
    let mut all = Vec::new();
    for ranked in ranking.groups.iter().flat_map(|group| &group.ranked) {
        let entry = ranked.best.entry();
        let Some(load) = entry.load_block() else { continue };
        let (candidate_id, scenario) = (entry.candidate_id.to_string(), entry.group.scenario.clone());
        all.push(FirstPassScore { candidate_id, scenario, load: Load { qps: None, users: None, ..load } });
    }
    all
}

/// The best candidate of every framework: the one with the best ranks over all rankings.
#[must_use]
pub fn leaders(ranking: &Ranking) -> BTreeMap<String, String> {
    let mut places: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for group in &ranking.groups {
        for (place, ranked) in group.ranked.iter().enumerate() {
            let entry = ranked.best.entry();
            let sums = places.entry((entry.framework.to_string(), entry.candidate_id.to_string())).or_default();
            *sums = (sums.0 + 1, sums.1 + place);
        }
    }
    let mut leaders: BTreeMap<String, ((usize, usize), String)> = BTreeMap::new();
    let groups = ranking.groups.len();
    for ((framework, candidate), (ranked, sum)) in places {
        // A ranking without it counts as the last rank of all.
        let score = (groups - ranked.min(groups), sum);
        let best = leaders.entry(framework).or_insert_with(|| (score, candidate.clone()));
        if score < best.0 {
            *best = (score, candidate);
        }
    }
    leaders.into_iter().map(|(framework, (_, candidate))| (framework, candidate)).collect()
}
