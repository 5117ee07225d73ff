//! Reads earlier results for bench-expand: which units are done, and which candidates led.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::input::InputSource;
use super::stdio;
use crate::base::error::Result;
use crate::base::notice::Notice;
use crate::flags::expand::RetryPolicy;
use crate::metrics::nodes::NodeSpeeds;
use crate::metrics::slots::refusal;
use crate::plan::expand::{FirstPassScore, Observed, StageFinding, UnitKind};
use crate::rank::{Intake, Ranking, rank};
use crate::rows::jsonl::RowPlace;
use crate::rows::kinds::{Candidate, Load, NodeRow, ResultRow, Status};
use crate::rows::resume::{ATTEMPTS, BAD_NODES, closes, is_cut};
use crate::rows::row::Row;
use crate::rows::words::{FailureClass, Stage, StartKind};

/// Maximum size of a plan row, bytes.
const MAX_PLAN: u64 = 16 << 20;

/// Opens all files before reading any rows: if one is missing, its units would run again.
///
/// # Errors
/// A file that cannot be read.
pub fn rows(paths: &[PathBuf], notice: &'static Notice) -> Result<Vec<(Row, RowPlace)>> {
    rows_of(paths.iter().cloned().map(InputSource::of).collect(), notice)
}

/// The same for inputs of which the beginning may have been read.
///
/// # Errors
/// As [`rows`].
pub fn rows_of(mut inputs: Vec<InputSource>, notice: &'static Notice) -> Result<Vec<(Row, RowPlace)>> {
    if inputs.is_empty() {
        return Ok(Vec::new());
    }
    inputs.iter_mut().try_for_each(InputSource::check)?;
    stdio::lines_of(inputs, Row::parse, notice).collect()
}

/// The plans and the results among the inputs of `--done`, which takes all file names that follow it: plans are files of YAML, and those
/// that begin with a plan row.
#[must_use]
pub fn plans_among(done: Vec<PathBuf>) -> (Vec<InputSource>, Vec<InputSource>) {
    let (mut plans, mut results) = (Vec::new(), Vec::new());
    for mut input in done.into_iter().map(InputSource::of) {
        if is_plan(&mut input) { &mut plans } else { &mut results }.push(input);
    }
    (plans, results)
}

fn is_plan(input: &mut InputSource) -> bool {
    if stdio::is_yaml(input.path()) {
        return true;
    }
    if input.path() == Path::new("-") {
        return false;
    }
    // What cannot be read is reported with the results.
    let line = input.first_line(MAX_PLAN).unwrap_or_default();
    let row = std::str::from_utf8(&line).ok().and_then(|line| Row::parse(line.trim_end()).ok());
    row.is_some_and(|row| row.record() == Some("plan"))
}

/// The names of the files that have raw rows of runs, and no result of them.
fn without_results(rows: &[(Row, RowPlace)]) -> BTreeSet<&str> {
    let of = |is: fn(&str) -> bool| -> BTreeSet<&str> {
        let own = rows.iter().filter(|(row, _)| row.record().is_some_and(is));
        own.map(|(_, place)| place.name.as_ref()).collect()
    };
    of(|record| record == "run_end" || record == "server_end")
        .difference(&of(|record| record == "result"))
        .copied()
        .collect()
}

/// The keys of the units that result rows complete; `speeds` are those of the nodes.
#[must_use]
pub fn done(rows: &[(Row, RowPlace)], speeds: &NodeSpeeds, retry: RetryPolicy, notice: &Notice) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for name in without_results(rows) {
        notice.warn(format!("{name} has rows of runs, but no results: fold it with bench-normalize first"));
    }
    let checked = nodes(rows);
    let mut given_up = 0;
    // Of several files each knows only its own attempts.
    let mut failed_on: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (row, place) in rows {
        // Results of other clients do not have units.
        if row.str("record") != Some("result") {
            continue;
        }
        let result = match row.view::<ResultRow>() {
            Ok(result) => result,
            Err(e) => {
                notice.error(&e.at(place.clone()));
                continue;
            }
        };
        // Another node should measure it.
        if result.hardware.node.as_ref().is_some_and(|node| speeds.apart_by(node).is_some()) {
            continue;
        }
        // It is not ranked.
        let slot = result.candidate.as_ref().and_then(|candidate| candidate.slot.as_ref());
        let node = result.hardware.node.as_deref().unwrap_or_default();
        let is_ok = result.status == Status::Ok;
        if is_ok && slot.is_some_and(|slot| refusal(&checked, node, slot).is_some()) {
            continue;
        }
        let closed = closes(result.status, result.failure_class.as_ref());
        let mut is_bad = false;
        if !closed {
            for unit in result.units.iter().chain(result.run.as_ref().and_then(|run| run.unit.as_ref())) {
                let nodes = failed_on.entry(unit.clone()).or_default();
                nodes.extend(result.failed_on.iter().cloned());
                is_bad |= nodes.len() >= BAD_NODES;
            }
        }
        let search = result.search.as_ref().map(|search| search.reason);
        let cut = is_cut(result.status == Status::Ok, result.failure_class.as_ref(), search);
        let is_done = match retry {
            RetryPolicy::All => false,
            RetryPolicy::Failed => result.status == Status::Ok,
            RetryPolicy::Transient => closed || ((is_bad || result.attempts as usize >= ATTEMPTS) && !cut),
        };
        if is_done {
            given_up += usize::from(!closed && result.status != Status::Ok);
            keys.extend(result.units);
            // A unit that failed too often is completed by its last failure.
            keys.extend(result.run.and_then(|run| run.unit).filter(|_| !closed));
        }
    }
    if given_up > 0 {
        notice.say(format!("{given_up} results failed {ATTEMPTS} times, or on {BAD_NODES} nodes, with transient errors and are not run again; use --retry failed to run them"));
    }
    keys
}

/// The calibrations of nodes among rows.
#[must_use]
pub fn nodes(rows: &[(Row, RowPlace)]) -> Vec<NodeRow> {
    let nodes = rows.iter().filter(|(row, _)| row.record() == Some("node"));
    nodes.filter_map(|(row, _)| row.view().ok()).collect()
}

/// The starts of which rows are the results from their beginning to their end.
#[must_use]
pub fn starts(rows: &[(Row, RowPlace)]) -> BTreeSet<String> {
    let of = |(row, _): &(Row, RowPlace)| {
        let run = row.get("run")?;
        let is_open = run.get("open").is_some_and(|open| *open == true);
        run.get("server_id").filter(|_| !is_open)?.as_str().map(String::from)
    };
    rows.iter().filter_map(of).collect()
}

/// The results among rows; what cannot be read was reported with the rows that are done.
fn results(rows: &[(Row, RowPlace)]) -> impl Iterator<Item = (&Row, ResultRow)> {
    let results = rows.iter().filter(|(row, _)| row.record() == Some("result"));
    results.filter_map(|(row, _)| Some((row, row.view::<ResultRow>().ok()?)))
}

/// How long servers took to start and units to run, according to result rows.
#[must_use]
pub fn times(rows: &[(Row, RowPlace)]) -> Observed {
    let mut servers: BTreeMap<String, ((String, Option<StartKind>), f64)> = BTreeMap::new();
    let mut units: BTreeMap<(String, String), (UnitKind, f64)> = BTreeMap::new();
    for (_, result) in results(rows) {
        let (Some(run), Some(block)) = (result.run, result.candidate) else { continue };
        if let Some(ready) = result.startup.get("ready_ms").and_then(serde_json::Value::as_f64) {
            let start = result.startup.get("start").and_then(|start| start.as_str()?.parse().ok());
            servers.insert(run.server_id.clone(), ((result.framework, start), ready / 1000.0));
        }
        let times = run.ended_at.as_ref().and_then(|end| {
            Some(end.parse::<Timestamp>().ok()?.duration_since(run.started_at.parse().ok()?).as_secs_f64())
        });
        // An interrupted run says nothing about the time of a whole one.
        let is_cut = result.failure_class.as_ref().is_some_and(FailureClass::is_cut);
        if let (Some(seconds), Some(unit), false) = (times, run.unit, is_cut) {
            let scenario = result.workload.and_then(|workload| workload.scenario).unwrap_or_default();
            let kind = (block.stage, scenario, run.probe.is_some());
            units.entry((run.server_id, unit)).or_insert((kind, 0.0)).1 += seconds;
        }
    }
    // The next start is warm where one was: of cold ones only a framework without warm ones is known by.
    let mut ready_s = BTreeMap::new();
    for ((framework, start), seconds) in means(servers.into_values()) {
        if start == Some(StartKind::Warm) || !ready_s.contains_key(&framework) {
            ready_s.insert(framework, seconds);
        }
    }
    Observed { ready_s, unit_s: means(units.into_values()) }
}

/// The mean value of each key.
fn means<K: Ord>(values: impl Iterator<Item = (K, f64)>) -> BTreeMap<K, f64> {
    let mut sums: BTreeMap<K, (f64, f64)> = BTreeMap::new();
    for (key, value) in values {
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + 1.0, sum.1 + value);
    }
    sums.into_iter().map(|(key, (n, sum))| (key, sum / n)).collect()
}

/// What the stages of a sweep found so far.
#[derive(Debug, Default)]
pub struct StageRows {
    /// How its searches ended, the latest last.
    pub found: Vec<StageFinding>,
    /// The best load points of the second stage, in ranking order.
    pub best: Vec<FirstPassScore>,
}

/// What result rows say about the stages of a sweep.
#[must_use]
pub fn stages(rows: &[(Row, RowPlace)]) -> StageRows {
    let mut found: Vec<(String, StageFinding)> = Vec::new();
    let mut intake = Intake::default();
    let mut entries = Vec::new();
    for (row, result) in results(rows) {
        let Some(stage) = result.candidate.as_ref().and_then(|candidate| candidate.stage) else { continue };
        if stage == Stage::Search
            && let Ok(entry) = intake.line(&row.line())
        {
            entries.extend(entry);
        }
        if result.units.is_empty() {
            continue;
        }
        let (Some(search), Some(run)) = (result.search, result.run) else { continue };
        let one = StageFinding {
            stage,
            framework: result.framework,
            candidate_id: result.candidate_id,
            scenario: result.workload.and_then(|workload| workload.scenario).unwrap_or_default(),
            searched: search.searched,
            max_pass: search.max_pass,
            min_fail: search.min_fail,
            wrong_answers: result.quality.answers.is_some_and(|answers| answers.verdict.is_out()),
        };
        found.push((run.started_at, one));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let best = best(&rank(entries, &intake));
    StageRows { found: found.into_iter().map(|(_, found)| found).collect(), best }
}

/// Drops the units that are done, and candidates without units left; says so if none of them belongs to these candidates.
pub fn drop_done(candidates: &mut Vec<Candidate>, done: &BTreeSet<String>, notice: &Notice) {
    let mut units = candidates.iter().flat_map(|candidate| &candidate.units);
    if !done.is_empty() && !units.any(|unit| done.contains(&unit.key)) {
        let why = "no run in --done belongs to this plan, so everything is run: its model, command, GPUs, workload or framework \
                   version is another one (to go on with a sweep give its plan.jsonl, which has the versions of its captured help)";
        notice.warn(why);
    }
    leave_out(candidates, done);
}

/// Drops the units that are done, and candidates without units left.
pub fn leave_out(candidates: &mut Vec<Candidate>, done: &BTreeSet<String>) {
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
/// last, and those whose answers are wrong are left out: they never win.
#[must_use]
pub fn best(ranking: &Ranking) -> Vec<FirstPassScore> {
    let mut all = Vec::new();
    let may_win = ranking.groups.iter().flat_map(|group| &group.ranked).filter(|one| !one.best.has_wrong_answers());
    for ranked in may_win {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A result of a server that was ready after so many seconds.
    fn result(server: &str, framework: &str, start: Value, ready_s: f64) -> (Row, RowPlace) {
        let mut row = json!(ResultRow::new(framework, "c", "m", Status::Ok));
        row["startup"] = json!({"ready_ms": ready_s * 1000.0, "start": start});
        row["candidate"] = json!({"changed": {}, "baseline": true, "index": 0, "of": 1});
        row["run"] = json!({"run_id": server, "server_id": server, "repeat": 0, "client": "bench-load",
                            "started_at": "2026-01-01T00:00:00Z", "requests": {}});
        (Row::new("result", &row), RowPlace { name: "x".into(), line: 1 })
    }

    #[test]
    fn the_next_start_takes_as_long_as_warm_ones_took() {
        let rows = [
            result("1", "a", "cold".into(), 300.0),
            result("2", "a", "warm".into(), 50.0),
            result("3", "a", "warm".into(), 70.0),
            result("4", "b", "cold".into(), 200.0),
            result("5", "c", Value::Null, 30.0),
        ];
        let expected = [("a", 60.0), ("b", 200.0), ("c", 30.0)].map(|(name, s)| (name.to_string(), s));
        assert_eq!(times(&rows).ready_s, BTreeMap::from(expected));
    }
}
