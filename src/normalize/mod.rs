//! Turns recorded runs into result rows: folds a stream of `server`, `run`, `request`, `run_end`, `server_end`.
//!
//! The requests of a run are kept as numbers until its `run_end`; the results of a server until its `server_end`, which
//! may change their status; all results until the end of the input, because only the latest attempt at a unit counts.

mod answers;
pub mod claim;
pub mod evals;
pub mod import;
pub mod llm_d;
mod nodes;
mod result;
mod shards;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use self::answers::AnswerChecks;
use self::result::RunMeasurement;
use crate::base::error::{Error, Result};
use crate::metrics::nodes::NodeSpeeds;
use crate::metrics::sample::Sample;
use crate::metrics::sla;
use crate::metrics::sla::Limits;
use crate::rows::kinds::{
    Candidate, Check, GpuDevice, Native, NodeRow, Request, ResultRow, Run, RunEnd, SearchEnd, Server, ServerEnd, Status,
};
use crate::rows::resume::{Attempt, attempts, closes, is_cut, latest};
use crate::rows::row::Row;
use crate::rows::words::Phase;

/// The fold over a stream of rows.
#[derive(Debug, Default)]
pub struct RowFold {
    servers: BTreeMap<String, ServerRuns>,
    runs: BTreeMap<String, OpenRun>,
    /// Each with the start that it belongs to.
    results: Vec<(StartOrder, ResultRow)>,
    /// The latest start.
    last_start: StartOrder,
    ended: BTreeSet<String>,
    /// Every run that was announced, so that a file that is read twice counts once.
    announced: BTreeSet<String>,
    answers: AnswerChecks,
    /// The GPUs of servers that calibrated a node.
    gpus: BTreeMap<String, Vec<GpuDevice>>,
    /// Servers and runs whose announcement is missing; each is reported once.
    missing: BTreeSet<String>,
}

/// The place of a start among all: attempts are ordered by their starts, not by their ends, and by time, since files of several hosts
/// may come in any order. A start without a time of its own follows the one before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct StartOrder {
    at: Timestamp,
    number: usize,
}

/// A server and its measurements.
#[derive(Debug)]
struct ServerRuns {
    /// Its place among all starts.
    start: StartOrder,
    candidate: Candidate,
    server: Server,
    results: Vec<ResultRow>,
    /// It has ended, but some shares of its runs have not been read yet.
    ended: Option<ServerEnd>,
}

impl ServerRuns {
    /// The results of the server, once all its rows have been read.
    fn close(mut self) -> Vec<ResultRow> {
        match self.ended.take() {
            Some(end) => self.end(&end),
            None => {
                self.results.iter_mut().filter_map(|result| result.run.as_mut()).for_each(|run| run.open = true);
                self.results.iter_mut().for_each(|result| result::lost(result, &self.server));
                self.unfinished();
            }
        }
        self.results
    }

    /// Applies its end, which may change the status of its runs.
    fn end(&mut self, end: &ServerEnd) {
        for result in &mut self.results {
            result::ended(result, end);
        }
        self.unfinished();
    }

    /// Marks searches without an end as unfinished.
    fn unfinished(&mut self) {
        let open = |row: &&mut ResultRow| row.search.is_none() && probe_of(row).is_some();
        let mut probes: Vec<&mut ResultRow> = self.results.iter_mut().filter(open).collect();
        result::searched(&mut probes, None);
    }
}

/// The unit of the search that a result is a probe of.
fn probe_of(row: &ResultRow) -> Option<&String> {
    row.run.as_ref().filter(|run| run.probe.is_some()).and_then(|run| run.unit.as_ref())
}

/// A set of numbers that are mostly close together: 64 bits per key.
#[derive(Debug, Default)]
struct NumberSet(BTreeMap<u32, u64>);

impl NumberSet {
    /// True if the number is new.
    fn insert(&mut self, number: u32) -> bool {
        let (bits, bit) = (self.0.entry(number / 64).or_default(), 1 << (number % 64));
        let new = *bits & bit == 0;
        *bits |= bit;
        new
    }
}

/// A line of the stream. Most lines are requests, so they are read without building a tree of values.
#[derive(Debug)]
pub enum StreamLine {
    /// A request.
    Request(Box<Request>),
    /// Any other row.
    Row(Row),
}

impl StreamLine {
    /// Reads a line.
    ///
    /// # Errors
    /// As [`Row::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        let begins = |text: &str| text.starts_with("{\"schema_version\":1,\"record\":\"request\",");
        if begins(text)
            && let Ok(request) = serde_json::from_str(text)
        {
            return Ok(Self::Request(request));
        }
        // The reader of rows reports the error.
        Row::parse(text).map(Self::Row)
    }
}

/// A run that has not ended.
#[derive(Debug)]
struct OpenRun {
    run: Run,
    limits: Limits,
    sample: Sample,
    one_token_a_chunk: bool,
    short: u32,
    /// Choices that each request asks for.
    choices: u32,
    /// The error of the first request that failed.
    error: Option<String>,
    /// Requests are numbered within their phase; one that occurs twice (a file given twice) counts once.
    seen: BTreeMap<Phase, NumberSet>,
    /// If several clients share a run: the shares that were announced, and the ends of those that ended.
    parts: BTreeSet<u32>,
    ends: Vec<RunEnd>,
}

impl OpenRun {
    /// Shares of which no row has been read yet.
    fn misses_parts(&self) -> bool {
        self.run.shard.is_some_and(|shard| self.parts.len() < shard.of as usize)
    }
}

/// For each attempt, the nodes on which its units failed for a transient reason.
fn failed_on<'a>(all: &[Attempt], results: impl Iterator<Item = &'a ResultRow>) -> Vec<Vec<String>> {
    let mut nodes: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for (attempt, result) in all.iter().zip(results) {
        let is_transient = !attempt.cut && !closes(result.status, result.failure_class.as_ref());
        for node in result.hardware.node.iter().filter(|_| is_transient) {
            for unit in &attempt.units {
                nodes.entry(unit).or_default().insert(node);
            }
        }
    }
    let of_units = |attempt: &Attempt| -> Vec<String> {
        let nodes = attempt.units.iter().filter_map(|unit| nodes.get(unit)).flatten();
        nodes.collect::<BTreeSet<_>>().into_iter().map(ToString::to_string).collect()
    };
    all.iter().map(of_units).collect()
}

impl RowFold {
    /// Takes one row; returns rows of other kinds, which pass through.
    ///
    /// # Errors
    /// A row that does not match its kind, or that names a server or run that was not announced.
    pub fn take(&mut self, row: Row) -> Result<Option<Row>> {
        match row.record() {
            Some("server") => self.server(&row)?,
            Some("run") => self.run(&row)?,
            Some("request") => self.request(&row.view()?)?,
            Some("run_end") => self.run_end(&row)?,
            Some("server_end") => self.server_end(&row)?,
            Some("candidate") if row.get("status").is_some() => {
                let candidate: Candidate = row.view()?;
                let status = candidate.status.unwrap_or(Status::Skipped);
                self.push(result::not_tried(&candidate, None, status), None);
            }
            Some("search_end") => self.search_end(&row)?,
            Some("check") => self.answers.insert(row.view::<Check>()?)?,
            Some("native") => return self.native(row),
            Some("candidate" | "plan") => {}
            _ => return Ok(Some(row)),
        }
        Ok(None)
    }

    /// All results, with unfinished runs as interrupted; only the latest attempt at every unit.
    #[must_use]
    pub fn finish(self) -> Vec<ResultRow> {
        self.finish_with_nodes().0
    }

    /// The same, and the nodes that were calibrated. What a node measured that differs from the others counts only where no other
    /// node measured it.
    #[must_use]
    pub fn finish_with_nodes(mut self) -> (Vec<ResultRow>, Vec<NodeRow>) {
        let open: Vec<String> = self.runs.keys().cloned().collect();
        for run_id in open {
            self.close_run(&run_id, None);
        }
        for served in std::mem::take(&mut self.servers).into_values() {
            let start = served.start;
            self.results.extend(served.close().into_iter().map(|result| (start, result)));
        }
        self.results.sort_by_key(|(start, _)| *start);
        let is_calibration = |row: &ResultRow| {
            row.candidate.as_ref().is_some_and(|candidate| candidate.calibration || candidate.slot_check.is_some())
        };
        let (calibrations, results) = self.results.into_iter().partition(|(_, row)| is_calibration(row));
        self.results = results;
        let calibrations: Vec<ResultRow> = Vec::into_iter(calibrations).map(|(_, row)| row).collect();
        let nodes = nodes::nodes(&calibrations, &self.gpus);
        let speeds = NodeSpeeds::of(&nodes);
        let is_apart = |row: &ResultRow| row.hardware.node.as_ref().is_some_and(|node| speeds.apart_by(node).is_some());
        let attempt = |(_, result): &(StartOrder, ResultRow)| -> Attempt {
            let run = result.run.as_ref();
            let search = result.search.as_ref().map(|search| search.reason);
            Attempt {
                units: result.units.iter().cloned().chain(run.and_then(|run| run.unit.clone())).collect(),
                name: run.filter(|run| run.probe.is_some()).map(|run| run.server_id.clone()),
                cut: is_cut(result.status == Status::Ok, result.failure_class.as_ref(), search) || is_apart(result),
                empty: result.status != Status::Ok,
            }
        };
        let all: Vec<Attempt> = self.results.iter().map(attempt).collect();
        let failed_on = failed_on(&all, self.results.iter().map(|(_, result)| result));
        let counted = latest(&all).into_iter().zip(attempts(&all)).zip(failed_on);
        let results = self.results.into_iter().map(|(_, result)| result);
        let counting = |(result, ((counts, attempts), failed_on)): (ResultRow, ((bool, u32), Vec<String>))| {
            counts.then_some(ResultRow { attempts, failed_on, ..result })
        };
        let mut results: Vec<ResultRow> = results.zip(counted).filter_map(counting).collect();
        self.answers.write(&mut results);
        (results, nodes)
    }

    /// The place of the next start; `at` is its time, if it has one.
    fn start(&mut self, at: Option<&str>) -> StartOrder {
        let at = at.and_then(|at| at.parse().ok()).unwrap_or(self.last_start.at);
        self.last_start = StartOrder { at, number: self.last_start.number + 1 };
        self.last_start
    }

    /// The result of a start that has no server row.
    fn push(&mut self, result: ResultRow, at: Option<&str>) {
        let start = self.start(at);
        self.results.push((start, result));
    }

    /// Reports a missing announcement once; further rows of the same id are skipped silently.
    fn unknown(&mut self, what: &str, id: &str) -> Result<()> {
        // The id of a run begins with that of its server.
        let known = self.missing.iter().any(|missing| id.starts_with(missing.as_str()));
        if known || !self.missing.insert(id.to_string()) {
            return Ok(());
        }
        Err(Error::new(format!("the {what} {id} was never announced: is the stream's beginning missing?")))
    }

    fn server(&mut self, row: &Row) -> Result<()> {
        let server: Server = row.view()?;
        if self.servers.contains_key(&server.server_id) || self.ended.contains(&server.server_id) {
            return Ok(());
        }
        let candidate: Candidate = row.view()?;
        let (id, start) = (server.server_id.clone(), self.start(Some(&server.started_at)));
        self.servers.insert(id, ServerRuns { start, candidate, server, results: Vec::new(), ended: None });
        Ok(())
    }

    fn run(&mut self, row: &Row) -> Result<()> {
        let run: Run = row.view()?;
        if let Some(open) = self.runs.get_mut(&run.run_id) {
            open.parts.extend(run.shard.map(|shard| shard.index));
        }
        if self.announced.contains(&run.run_id) {
            return Ok(());
        }
        let Some(served) = self.servers.get(&run.server_id) else { return self.unknown("server", &run.server_id) };
        let limits = Limits::read(&sla::of_scenario(&served.candidate.sla, &run.workload.scenario)).with_floor();
        if self.announced.insert(run.run_id.clone()) {
            let id = run.run_id.clone();
            let sample = Sample::of(run.warmup_s.is_some());
            let parts = run.shard.iter().map(|shard| shard.index).collect();
            let seen = BTreeMap::new();
            let asked = served.candidate.benchmark.extra_request_body.get("n").and_then(serde_json::Value::as_u64);
            let choices = asked.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1);
            let open = OpenRun {
                sample,
                run,
                limits,
                one_token_a_chunk: true,
                short: 0,
                choices,
                error: None,
                seen,
                parts,
                ends: Vec::new(),
            };
            self.runs.insert(id, open);
        }
        Ok(())
    }

    /// Another client's result for a leased server, as a result of that server's candidate; unknown formats pass
    /// through.
    fn native(&mut self, row: Row) -> Result<Option<Row>> {
        let content = row.get("payload").cloned().unwrap_or_default();
        let Some(format) = import::ImportFormat::of(&content) else { return Ok(Some(row)) };
        let native: Native = row.view()?;
        let Some(served) = self.servers.get_mut(&native.server_id) else {
            return self.unknown("server", &native.server_id).map(|()| None);
        };
        let candidate = serde_json::to_value(&served.candidate).ok();
        let set = native.run.as_ref().map(result::asked).unwrap_or_default();
        let name = served.candidate.candidate_id.clone();
        let overrides = import::ImportOverrides { candidate, set, name, ..import::ImportOverrides::default() };
        for found in import::results(format, &content, &overrides)? {
            served.results.push(result::imported(&served.candidate, &served.server, native.run.as_ref(), found.row));
        }
        Ok(None)
    }

    /// Takes one request.
    ///
    /// # Errors
    /// A request of a run that was not announced.
    pub fn request(&mut self, request: &Request) -> Result<()> {
        let Some(open) = self.runs.get_mut(&request.run_id) else {
            return if self.announced.contains(&request.run_id) {
                Ok(())
            } else {
                self.unknown("run", &request.run_id)
            };
        };
        if !open.seen.entry(request.phase).or_default().insert(request.i) {
            return Ok(());
        }
        if request.phase != Phase::Measured {
            open.sample.around(request);
            return Ok(());
        }
        if request.status == crate::rows::kinds::RequestStatus::Ok {
            open.one_token_a_chunk &= request.output_tokens == Some(request.chunks);
            let asked = request.asked_output_tokens.unwrap_or(open.run.workload.output_len);
            let asked = asked.saturating_mul(open.choices);
            open.short += u32::from(request.output_tokens.is_some_and(|n| n < asked));
        } else if open.error.is_none() {
            open.error = request.error.clone().filter(|error| !error.is_empty());
        }
        open.sample.add(request, &open.limits);
        Ok(())
    }

    fn run_end(&mut self, row: &Row) -> Result<()> {
        let end: RunEnd = row.view()?;
        if !self.runs.contains_key(&end.run_id) {
            return if self.announced.contains(&end.run_id) { Ok(()) } else { self.unknown("run", &end.run_id) };
        }
        let id = end.run_id.clone();
        let Some(open) = self.runs.get_mut(&id) else { return Ok(()) };
        let Some(shard) = open.run.shard else {
            self.close_run(&id, Some(end));
            return Ok(());
        };
        if open.ends.iter().all(|other| other.shard != end.shard) {
            open.ends.push(end);
        }
        if open.ends.len() == shard.of as usize {
            self.close_run(&id, None);
        }
        Ok(())
    }

    fn close_run(&mut self, run_id: &str, end: Option<RunEnd>) {
        let Some(mut open) = self.runs.remove(run_id) else { return };
        let Some(served) = self.servers.get_mut(&open.run.server_id) else { return };
        open.sample.close();
        let end = end.or_else(|| shards::merge(std::mem::take(&mut open.ends), open.run.shard?.of));
        let measured = RunMeasurement {
            run: &open.run,
            sample: &open.sample,
            end: end.as_ref(),
            one_token_a_chunk: open.one_token_a_chunk,
            short: open.short,
            error: open.error.as_deref(),
        };
        served.results.push(result::measured(&served.candidate, &served.server, &open.limits, &measured));
    }

    fn search_end(&mut self, row: &Row) -> Result<()> {
        let end: SearchEnd = row.view()?;
        if let Some(served) = self.servers.get_mut(&end.server_id) {
            let of = |row: &ResultRow| {
                row.search.is_none() && probe_of(row).is_some_and(|unit| Some(unit) == end.unit.as_ref())
            };
            let mut probes: Vec<&mut ResultRow> = served.results.iter_mut().filter(|row| of(row)).collect();
            result::searched(&mut probes, Some(&end));
        }
        Ok(())
    }

    fn server_end(&mut self, row: &Row) -> Result<()> {
        let end: ServerEnd = row.view()?;
        let of = |open: &&OpenRun| open.run.server_id == end.server_id;
        if let Some(served) = self.servers.get_mut(&end.server_id)
            && self.runs.values().filter(of).any(OpenRun::misses_parts)
        {
            served.ended = Some(end);
            return Ok(());
        }
        if !self.ended.insert(end.server_id.clone()) {
            return Ok(());
        }
        let open: Vec<String> = self
            .runs
            .values()
            .filter(|open| open.run.server_id == end.server_id)
            .map(|open| open.run.run_id.clone())
            .collect();
        for run_id in open {
            self.close_run(&run_id, None);
        }
        let Some(mut served) = self.servers.remove(&end.server_id) else {
            // The start failed: its row contains the whole candidate.
            let Ok(candidate) = row.view::<Candidate>() else { return self.unknown("server", &end.server_id) };
            self.push(result::not_tried(&candidate, Some(&end), end.status), Some(&end.ended_at));
            return Ok(());
        };
        if served.candidate.search.calibration
            && let Some(gpu) = &end.gpu
        {
            self.gpus.insert(end.server_id.clone(), gpu.devices.clone());
        }
        served.end(&end);
        if served.results.is_empty() && end.status != Status::Ok {
            served.results.push(result::not_tried(&served.candidate, Some(&end), end.status));
        }
        let start = served.start;
        self.results.extend(served.results.into_iter().map(|result| (start, result)));
        Ok(())
    }
}
