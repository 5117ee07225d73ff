//! How far a sweep is, from the files in its folder: also while it runs, and after it was killed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;

use super::folder::{self, SweepFolder};
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::shell;
use crate::flags::expand::RetryPolicy;
use crate::metrics::nodes::{self, NodeSpeeds};
use crate::normalize::{RowFold, StreamLine};
use crate::plan::expand::{StagedSweep, in_words};
use crate::programs::{earlier, stdio};
use crate::rank::{Intake, rank};
use crate::report::text::candidate;
use crate::rows::kinds::{Candidate, NodeRow, ResultRow, Slot, Status};
use crate::rows::row::Row;
use crate::rows::words::Stage;

/// The candidates of one framework.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    failed: usize,
    skipped: usize,
    left: usize,
}

/// Prints how far the sweep in `folder` is.
///
/// # Errors
/// Not the folder of a sweep, or a file that cannot be read.
pub fn print(folder: &SweepFolder, notice: &'static Notice) -> Result<()> {
    let name = folder.root().display();
    let planned = folder.common("candidates.jsonl");
    if !planned.is_file() {
        let why = "not the folder of a sweep that has begun: it has no candidates.jsonl";
        return Err(Error::new(why).at(name.to_string()));
    }
    let candidates = candidates(&planned, notice)?;
    let RawRows { results, nodes, open } = results(&folder.raw_files(), notice)?;
    let mut file = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let lines = results.iter().map(|result| Row::new("result", result).line());
    for line in nodes.iter().map(|node| Row::new("node", node).line()).chain(lines) {
        writeln!(file, "{line}").context("cannot write a temporary file")?;
    }
    let paths = [file.path().to_path_buf()];
    let rows = earlier::rows(&paths, notice)?;
    let speeds = NodeSpeeds::of(&nodes);
    let done = earlier::done(&rows, &speeds, RetryPolicy::Transient, notice);
    let rows = earlier::stages(&rows);
    let (mut stage, mut all, mut left) = (None, candidates.clone(), candidates.clone());
    if folder::is_staged(&folder.common("plan.jsonl"), notice)? {
        let sweep = StagedSweep { candidates: &candidates, found: &rows.found, best: &rows.best };
        for of in Stage::ALL {
            (stage, all) = (Some(*of), sweep.stage(*of));
            left.clone_from(&all);
            earlier::leave_out(&mut left, &done);
            if left.iter().any(|candidate| candidate.status.is_none()) {
                break;
            }
        }
    } else {
        earlier::leave_out(&mut left, &done);
    }
    let waits = |candidate: &Candidate| {
        left.iter().any(|other| other.status.is_none() && other.candidate_id == candidate.candidate_id)
    };
    let ended = |candidate: &Candidate, how: &dyn Fn(Status) -> bool| {
        let own = |row: &&ResultRow| {
            row.candidate_id == candidate.candidate_id
                && row.candidate.as_ref().is_some_and(|block| block.stage == stage)
        };
        results.iter().filter(own).any(|row| how(row.status))
    };
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for candidate in all.iter().filter(|candidate| candidate.status.is_none()) {
        let tally = tallies.entry(&candidate.framework).or_default();
        match () {
            () if waits(candidate) => tally.left += 1,
            () if ended(candidate, &|status| status == Status::Ok) => tally.done += 1,
            () if ended(candidate, &|status| status != Status::Skipped) => tally.failed += 1,
            () => tally.skipped += 1,
        }
    }
    let mut out = stdio::row_writer()?;
    let (is_running, hosts) = folder.running()?;
    let on = if hosts.is_empty() { String::new() } else { format!(" on {}", hosts.join(", ")) };
    let running = format!("{}{on}", if is_running { "running" } else { "not running" });
    let at = |stage: Stage| {
        let place = Stage::ALL.iter().position(|other| *other == stage).map_or(0, |place| place + 1);
        format!(", stage {stage} ({place} of {})", Stage::ALL.len())
    };
    out.write_line(&format!("{name}: {running}{}", stage.map_or(String::new(), at)))?;
    let width = tallies.keys().map(|name| name.len()).max().unwrap_or(0).max(9);
    out.write_line(&format!("{:<width$}  {:>5} {:>7} {:>8} {:>5}", "framework", "done", "failed", "skipped", "left"))?;
    for (framework, Tally { done, failed, skipped, left }) in &tallies {
        out.write_line(&format!("{framework:<width$}  {done:>5} {failed:>7} {skipped:>8} {left:>5}"))?;
    }
    let slots = open.last().and_then(|(_, candidate)| candidate.slot.clone()).filter(|_| is_running);
    if let Some(slots) = &slots {
        out.write_line(&in_slots(slots, &open))?;
    }
    for line in best(&results, &nodes)? {
        out.write_line(&line)?;
    }
    for (node, ratio) in speeds.apart() {
        let how = nodes::in_words(ratio);
        out.write_line(&format!(
            "node {node} is {how} than the others: its rows do not count, and it takes no candidates"
        ))?;
    }
    let waiting = left.iter().filter(|candidate| candidate.status.is_none()).count();
    match (mean_s(&results, stage), waiting) {
        (_, 0) => out.write_line("nothing left to run"),
        (None, waiting) => out.write_line(&format!("{waiting} server starts left; no time known yet")),
        (Some(mean), waiting) => {
            let of = if stage.is_some() { " of this stage" } else { "" };
            // Those in slots take their part of the time; one slot at least is like none.
            let at_once = slots.as_ref().map_or(1, |slot| slot.of.max(1));
            let size =
                slots.as_ref().and_then(|slot| slot.gpus.as_ref()).map_or(usize::MAX, |gpus| gpus.split(',').count());
            let alone = left.iter().filter(|other| other.status.is_none() && other.runs_alone(size)).count();
            let left_s = mean * (alone as f64 + (waiting - alone) as f64 / at_once as f64);
            out.write_line(&format!("about {} for {waiting} server starts left{of}", in_words(left_s)))
        }
    }
}

fn candidates(path: &std::path::Path, notice: &'static Notice) -> Result<Vec<Candidate>> {
    let mut all = Vec::new();
    for row in stdio::rows(&[path.to_path_buf()], notice) {
        let (row, place) = row?;
        if row.record() == Some("candidate") {
            all.push(row.view().map_err(|e| e.at(place))?);
        }
    }
    Ok(all)
}

/// What runs in each slot.
fn in_slots(slots: &Slot, open: &[(String, Candidate)]) -> String {
    let name = |of: &Candidate| format!("{} {}", of.framework, shell::settings(&of.server.changed));
    let own: Vec<String> = open
        .iter()
        .filter_map(|(_, of)| {
            let slot = of.slot.as_ref()?;
            let index = slot.index.map_or_else(|| "all".to_string(), |index| (index + 1).to_string());
            let name = if of.search.baseline { format!("{} baseline", of.framework) } else { name(of) };
            Some(format!("{index}: {name}{}", if slot.alone { ", alone" } else { "" }))
        })
        .collect();
    format!("slots {}: {}", slots.slots, own.join("; "))
}

/// What raw rows say.
#[derive(Default)]
struct RawRows {
    results: Vec<ResultRow>,
    nodes: Vec<NodeRow>,
    /// The candidates whose servers have not ended, by the id of the start.
    open: Vec<(String, Candidate)>,
}

/// The results so far, and the nodes. The last rows of a running sweep may still be incomplete.
fn results(raw: &[PathBuf], notice: &'static Notice) -> Result<RawRows> {
    let mut fold = RowFold::default();
    // What an earlier pipe left open ended with its programs.
    let (mut open, mut file): (Vec<(String, Candidate)>, _) = (Vec::new(), None);
    if raw.is_empty() {
        return Ok(RawRows::default());
    }
    for line in stdio::lines(raw, StreamLine::parse, notice) {
        let (line, place) = line?;
        if file.as_ref() != Some(&place.name) {
            open.clear();
            file = Some(place.name);
        }
        if let StreamLine::Row(row) = &line
            && let Some(id) = row.str("server_id")
        {
            match row.record() {
                Some("server") => open.extend(row.view().ok().map(|candidate| (id.to_string(), candidate))),
                Some("server_end") => open.retain(|(other, _)| other != id),
                _ => {}
            }
        }
        // bench-normalize reports rows that do not fit.
        let _ = match line {
            StreamLine::Request(request) => fold.request(&request),
            StreamLine::Row(row) => fold.take(row).map(|_| ()),
        };
    }
    let (results, nodes) = fold.finish_with_nodes();
    Ok(RawRows { results, nodes, open })
}

/// The leader of each ranking.
fn best(results: &[ResultRow], nodes: &[NodeRow]) -> Result<Vec<String>> {
    let mut intake = Intake::default();
    intake.nodes = nodes.to_vec();
    let mut entries = Vec::new();
    for result in results {
        entries.extend(intake.line(&Row::new("result", result).line())?);
    }
    let ranking = rank(entries, &intake);
    let lines = ranking.groups.iter().filter_map(|group| {
        let first = &group.ranked.first()?.best;
        let verdict = match first.passed() {
            Some(false) => ", misses the SLA",
            Some(true) | None => "",
        };
        let entry = first.entry();
        Some(format!(
            "best so far, {} {}: {} at {}{verdict}",
            group.key.scenario,
            group.key.mode,
            candidate(entry),
            first.load()
        ))
    });
    Ok(lines.collect())
}

/// Mean time of a server of this stage, from its start to the end of its last run, s.
fn mean_s(results: &[ResultRow], stage: Option<Stage>) -> Option<f64> {
    let mut servers: BTreeMap<&str, (Timestamp, Timestamp, f64)> = BTreeMap::new();
    for row in results.iter().filter(|row| row.candidate.as_ref().is_some_and(|block| block.stage == stage)) {
        let Some(run) = &row.run else { continue };
        let (Ok(from), Some(Ok(to))) =
            (run.started_at.parse::<Timestamp>(), run.ended_at.as_ref().map(|at| at.parse()))
        else {
            continue;
        };
        let ready_s = row.startup.get("ready_ms").and_then(serde_json::Value::as_f64).unwrap_or(0.0) / 1000.0;
        let times = servers.entry(&run.server_id).or_insert((from, to, ready_s));
        *times = (times.0.min(from), times.1.max(to), ready_s);
    }
    let all: Vec<f64> =
        servers.values().map(|(from, to, ready)| to.duration_since(*from).as_secs_f64() + ready).collect();
    crate::metrics::sample::mean(&all)
}
