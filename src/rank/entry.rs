//! One result row, read leniently: ours, or somebody else's with the source document's names. What decides its place is read at
//! once; whatever only a report shows is read from the row's text when it is shown.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::Value;

use super::criterion::RankOptions;
use super::fast::ResultSummary;
use super::gate;
use super::gate::Gate;
use super::key::GroupKey;
use super::notes::Notes;
use crate::base::shell;
use crate::rows::kinds::{Members, SlaTest};
use crate::rows::row::Row;

/// What decides a place. `None` is what was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SortKeys {
    /// The throughput that is ranked by.
    pub by: Option<f64>,
    /// Output tokens per second.
    pub output: Option<f64>,
    /// TTFT, ms.
    pub ttft: Option<f64>,
    /// TPOT, ms; ITL where there is none.
    pub tpot: Option<f64>,
    /// The latter is ITL.
    pub itl: bool,
    /// GPUs.
    pub gpus: Option<f64>,
}

/// What only rows of runs have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunInfo {
    /// Units that the row closes.
    pub units: Vec<Box<str>>,
    /// The unit of its run.
    pub unit: Box<str>,
    /// A probe of a search.
    pub probe: bool,
    /// The server.
    pub server_id: Box<str>,
    /// RFC 3339.
    pub started_at: Box<str>,
    /// From 0.
    pub repeat: u32,
    /// It stands for its search, or does not; `None` of a row of no search.
    pub chosen: Option<bool>,
    /// Its search never ended.
    pub unfinished: bool,
    /// The attempt was cut off: it replaces none that came to its end.
    pub cut: bool,
}

/// A result.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) line: Box<str>,
    pub(super) read: OnceCell<Box<Row>>,
    /// Framework.
    pub framework: Arc<str>,
    /// Candidate.
    pub candidate_id: Box<str>,
    /// Where it belongs.
    pub group: Arc<GroupKey>,
    /// A run that went its whole way.
    pub ok: bool,
    /// The SLA's answer; `None` when there was none to give.
    pub passed: Option<bool>,
    /// Too few requests behind a percentile.
    pub unconfirmed: bool,
    /// By what share it misses the limit that it misses most; infinite where requests failed, `None` where the row does not say.
    pub miss: Option<f64>,
    /// What decides its place.
    pub keys: SortKeys,
    /// Requests per second asked for.
    pub rate: Option<f64>,
    /// Requests in flight, or the cap of them.
    pub in_flight: Option<f64>,
    /// What to know before believing it.
    pub notes: Notes,
    /// What only rows of runs have.
    pub own: Option<Box<RunInfo>>,
    /// The baseline of its framework, and how many candidates that has; `None` where the row does not say.
    pub tried: Option<(bool, u32)>,
}

impl Entry {
    /// The row's line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The row, for what only a report shows.
    #[must_use]
    pub fn row(&self) -> &Row {
        self.read
            .get_or_init(|| Box::new(Row::parse(&self.line).unwrap_or_else(|_| Row::new("result", &Members::new()))))
    }

    /// Whatever stands at a JSON pointer; null when nothing does.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Value {
        let mut keys = pointer.trim_start_matches('/').split('/');
        let first = keys.next().and_then(|key| self.row().get(key));
        let found = keys.fold(first, |value, key| value.and_then(|value| value.get(key)));
        found.cloned().unwrap_or_default()
    }

    /// The server's command and the benchmark's, as rows name them; empty when they are not told.
    #[must_use]
    pub fn commands(&self) -> [String; 2] {
        let server = Some(self.text("/server_command")).filter(|command| !command.is_empty());
        [server.unwrap_or_else(|| self.text("/launch_command")), self.text("/benchmark_command")]
    }

    /// The string at a JSON pointer, empty when there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> String {
        self.at(pointer).as_str().unwrap_or_default().to_string()
    }

    /// A metric that was measured.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.at(&format!("/metrics/{name}")).as_f64().filter(|v| v.is_finite())
    }

    /// `pass`, `pass_unconfirmed`, `fail`, or nothing when there was no answer to give.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.passed, self.unconfirmed) {
            (Some(true), false) => "pass",
            (Some(true), true) => "pass_unconfirmed",
            (Some(false), _) => "fail",
            (None, _) => "",
        }
    }

    /// What was tested, limit by limit, by these options.
    #[must_use]
    pub fn tests(&self, options: &RankOptions) -> Vec<SlaTest> {
        self.gate(options).judged.map(|judged| judged.tests).unwrap_or_default()
    }

    /// What the row claims about its SLA, where its numbers say something else.
    #[must_use]
    pub fn claim(&self, options: &RankOptions) -> Option<String> {
        self.gate(options).judged.and_then(|judged| judged.claim())
    }

    fn gate(&self, options: &RankOptions) -> Gate {
        let summary = ResultSummary::read(&self.line).ok();
        summary.map(|row| gate::gate(&self.line, &row, &self.group.scenario, options)).unwrap_or_default()
    }

    /// True of two results of one candidate.
    #[must_use]
    pub fn is_of(&self, candidate: &Self) -> bool {
        // Equal names of frameworks are one.
        Arc::ptr_eq(&self.framework, &candidate.framework) && self.candidate_id == candidate.candidate_id
    }

    /// `ok`, `failed`, ….
    #[must_use]
    pub fn status(&self) -> String {
        self.text("/status")
    }

    /// The flags that it changes, `max_num_seqs=4`; `baseline` when it changes none.
    #[must_use]
    pub fn changes(&self) -> String {
        match self.at("/candidate/changed").as_object() {
            Some(changed) if changed.is_empty() => "baseline".into(),
            Some(changed) => shell::settings(changed),
            None => String::new(),
        }
    }

    /// The load point: `4 req/s`, `8 in flight`, `all at once`.
    #[must_use]
    pub fn load(&self) -> String {
        match (self.rate, self.in_flight) {
            (Some(rate), Some(cap)) => format!("{rate} req/s, cap {cap}"),
            (Some(rate), None) => format!("{rate} req/s"),
            (None, Some(n)) => format!("{n} in flight"),
            (None, None) if self.group.mode == "burst" => "all at once".into(),
            (None, None) => String::new(),
        }
    }

    /// How much load: its rate, else its number in flight; nothing for all at once.
    #[must_use]
    pub fn amount(&self) -> f64 {
        self.rate.or(self.in_flight).unwrap_or_default()
    }

    /// It stands for its search; true of a row of no search, and of one whose search never ended.
    #[must_use]
    pub fn is_claim(&self) -> bool {
        self.own.as_ref().is_none_or(|own| own.chosen != Some(false) || own.unfinished)
    }

    /// From 0.
    #[must_use]
    pub fn repeat(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.repeat)
    }
}
