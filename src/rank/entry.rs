//! One result row, read leniently: it may come from this program or from another tool that uses the same keys. The
//! values that decide its rank are read at once; what only a report shows is read from the row's text when it is shown.

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use super::criterion::RankOptions;
use super::fast::ResultSummary;
use super::gate;
use super::gate::Gate;
use super::key::GroupKey;
use super::notes::Notes;
use super::row_commands::RowCommands;
use crate::base::{redact, shell};
use crate::rows::jsonl;
use crate::rows::kinds::{AnswerQuality, Load, Members, SlaTest, Slot, Substitution};
use crate::rows::row::Row;
use crate::rows::words::{CheckVerdict, FailureClass, Latency, SearchEndReason, StartKind};

/// The values that decide a rank; `None` if not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SortKeys {
    /// The throughput to rank by.
    pub by: Option<f64>,
    /// Output tokens per second.
    pub output: Option<f64>,
    /// TTFT, ms.
    pub ttft: Option<f64>,
    /// TPOT, ms; ITL if there is no TPOT.
    pub tpot: Option<f64>,
    /// True if `tpot` is ITL.
    pub itl: bool,
    /// GPUs.
    pub gpus: Option<f64>,
}

/// Members that only rows of runs have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunInfo {
    /// Units that the row completes.
    pub units: Vec<Box<str>>,
    /// The unit of its run.
    pub unit: Box<str>,
    /// True for a probe of a rate search.
    pub probe: bool,
    /// The id of the server's start.
    pub server_id: Box<str>,
    /// Start of the run, RFC 3339.
    pub started_at: Box<str>,
    /// Index of the repeat, from 0.
    pub repeat: u32,
    /// True if its rate search chose it; `None` for a row without a search.
    pub chosen: Option<bool>,
    /// Its search never ended.
    pub unfinished: bool,
    /// The attempt was interrupted: it does not replace a completed one.
    pub cut: bool,
}

/// Numbers of prompt or output tokens of a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenLength {
    /// Requested.
    pub asked: Option<f64>,
    /// Measured, median.
    pub p50: Option<f64>,
    /// Measured, 95th percentile.
    pub p95: Option<f64>,
}

/// A result.
#[derive(Debug, Clone)]
pub struct Entry {
    pub(super) line: Box<str>,
    /// The row has none of the keys that a ranking sets.
    pub(super) is_unranked: bool,
    pub(super) read: OnceLock<Box<Row>>,
    /// Framework.
    pub framework: Arc<str>,
    /// Candidate.
    pub candidate_id: Box<str>,
    /// The group that it belongs to.
    pub group: Arc<GroupKey>,
    /// True for a run that completed.
    pub ok: bool,
    /// True if it meets the SLA, false if not; `None` without an SLA.
    pub passed: Option<bool>,
    /// True if a percentile has too few requests to confirm it.
    pub unconfirmed: bool,
    /// The largest miss, as a share of the limit; infinite if requests failed, `None` if the row does not have it.
    pub miss: Option<f64>,
    /// The values that decide its rank.
    pub keys: SortKeys,
    /// Requested rate, requests per second.
    pub rate: Option<f64>,
    /// Requests in flight, or their cap in open loop.
    pub in_flight: Option<f64>,
    /// Caveats.
    pub notes: Notes,
    /// The node that measured it; empty if the row does not have it.
    pub node: Box<str>,
    /// The part of the host that it had, where several were measured at the same time.
    pub slot: Option<Box<Slot>>,
    /// Members that only rows of runs have.
    pub own: Option<Box<RunInfo>>,
    /// What the check of its answers says; `None` if the row says nothing of one.
    pub answers: Option<CheckVerdict>,
    /// True for the baseline of its framework, and the framework's number of candidates; `None` if the row does not
    /// have them.
    pub tried: Option<(bool, u32)>,
}

impl Entry {
    /// The row's line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The row's line without its last brace, for members to follow; `None` if it has one of the [`RANKING_KEYS`] already.
    ///
    /// [`RANKING_KEYS`]: super::RANKING_KEYS
    #[must_use]
    pub fn open_line(&self) -> Option<&str> {
        self.line.trim_end().strip_suffix('}').filter(|_| self.is_unranked)
    }

    /// The whole row, for members that only a report shows.
    #[must_use]
    pub fn row(&self) -> &Row {
        self.read.get_or_init(|| {
            let mut row = Row::parse(&self.line).unwrap_or_else(|_| Row::new("result", &Members::new()));
            // Another tool may have written it.
            jsonl::shown_row(&mut row, &redact::redactor());
            Box::new(row)
        })
    }

    /// True if [`Self::row`] has read it: it stays in memory.
    #[cfg(test)]
    pub fn is_read(&self) -> bool {
        self.read.get().is_some()
    }

    /// The member at a path; `None` for null.
    fn member(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let found = rest.iter().try_fold(self.row().get(first)?, |value, key| value.get(*key))?;
        Some(found).filter(|value| !value.is_null())
    }

    fn object(&self, path: &[&str]) -> Option<&Members> {
        self.member(path)?.as_object()
    }

    fn number(&self, path: &[&str]) -> Option<f64> {
        self.member(path)?.as_f64()
    }

    /// The text at a path; empty if there is no text.
    fn text(&self, path: &[&str]) -> &str {
        self.member(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The commands of its row.
    #[must_use]
    pub fn commands(&self) -> RowCommands<'_> {
        let [launch, server] = [self.text(&["launch_command"]), self.text(&["server_command"])];
        // Rows of other tools use this key for the server's command.
        let (launch, server) = if server.is_empty() { ("", launch) } else { (launch, server) };
        RowCommands { launch, server, benchmark: self.text(&["benchmark_command"]) }
    }

    /// A metric that was measured, by its key in `metrics`.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.number(&["metrics", name]).filter(|v| v.is_finite())
    }

    /// Minimum and maximum of a latency, ms.
    #[must_use]
    pub fn extremes(&self, latency: Latency) -> [Option<f64>; 2] {
        let key = format!("{latency}_ms");
        ["min", "max"].map(|end| self.number(&["statistics", &key, end]))
    }

    /// Prompt tokens of the workload, or output tokens if `output`.
    #[must_use]
    pub fn length(&self, output: bool) -> TokenLength {
        let name = if output { "output_len" } else { "input_len" };
        let [asked, p50, p95] = ["", "_p50", "_p95"].map(|end| self.number(&["workload", &format!("{name}{end}")]));
        TokenLength { asked, p50, p95 }
    }

    /// Requested number of measured requests.
    #[must_use]
    pub fn num_prompts(&self) -> Option<u64> {
        self.member(&["workload", "num_prompts"])?.as_u64()
    }

    /// Path of the endpoint; empty if the row does not have it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.text(&["workload", "endpoint"])
    }

    /// Path of the dataset; empty if the row does not have it.
    #[must_use]
    pub fn dataset_path(&self) -> &str {
        self.text(&["workload", "dataset_path"])
    }

    /// The load point as requested of its run.
    #[must_use]
    pub fn load_block(&self) -> Option<Load> {
        Load::deserialize(self.member(&["workload", "load"])?).ok()
    }

    /// The client with its version; empty if the row does not have it.
    #[must_use]
    pub fn client(&self) -> &str {
        let own = self.text(&["run", "client"]);
        if own.is_empty() { self.text(&["native", "client"]) } else { own }
    }

    /// Start of the run, RFC 3339; empty if the row does not have it.
    #[must_use]
    pub fn ended_at(&self) -> &str {
        self.text(&["run", "ended_at"])
    }

    /// Framework version, GPU model, driver, image; each empty if the row does not have it.
    #[must_use]
    pub fn platform(&self) -> [&str; 4] {
        [
            self.text(&["framework_version"]),
            self.text(&["hardware", "gpu_model"]),
            self.text(&["hardware", "driver"]),
            self.text(&["environment", "image"]),
        ]
    }

    /// A fact about where it ran, by its key in `environment`; empty if the row does not have it.
    #[must_use]
    pub fn environment(&self, key: &str) -> &str {
        self.text(&["environment", key])
    }

    /// `quality.simulated` and `quality.smoke`, if the row has them.
    #[must_use]
    pub fn simulated_and_smoke(&self) -> [Option<bool>; 2] {
        ["simulated", "smoke"].map(|flag| self.member(&["quality", flag])?.as_bool())
    }

    /// Failure class; empty if the row does not have one.
    #[must_use]
    pub fn failure_class(&self) -> &str {
        self.text(&["failure_class"])
    }

    /// Failure reason, a sentence; empty if the row does not have one.
    #[must_use]
    pub fn failure_reason(&self) -> &str {
        self.text(&["failure_reason"])
    }

    /// Flags that differ from the baseline; `None` if the row does not list them.
    #[must_use]
    pub fn changed(&self) -> Option<&Members> {
        self.object(&["candidate", "changed"])
    }

    /// Values of knobs that no candidate of its framework has.
    pub fn never_tried(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.object(&["candidate", "never_tried"]).into_iter().flatten()
    }

    /// The plan's weights of scenarios.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, f64)> {
        let weights = self.object(&["candidate", "weights"]).into_iter().flatten();
        weights.filter_map(|(name, weight)| Some((name.clone(), weight.as_f64()?))).collect()
    }

    /// Caveats of the plan, a sentence each.
    pub fn caveats(&self) -> impl Iterator<Item = &str> {
        self.member(&["caveats"]).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Knobs of the plan that were renamed or dropped.
    pub fn substitutions(&self) -> impl Iterator<Item = Substitution> {
        let all = self.member(&["substitutions"]).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(|one| Substitution::deserialize(one).ok())
    }

    /// Files that belong to it: role and path.
    pub fn artifacts(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.object(&["artifacts"]).into_iter().flatten();
        all.filter_map(|(role, path)| Some((role.as_str(), path.as_str()?)))
    }

    /// Why its rate search ended; the lowest rate that failed; whether a higher rate passed.
    #[must_use]
    pub fn search_end(&self) -> (Option<SearchEndReason>, Option<f64>, bool) {
        let odd = self.member(&["search", "non_monotone"]).is_some_and(|odd| *odd == true);
        (self.text(&["search", "reason"]).parse().ok(), self.number(&["search", "min_fail"]), odd)
    }

    /// Capacity of the KV cache, tokens.
    #[must_use]
    pub fn kv_cache_tokens(&self) -> Option<f64> {
        self.number(&["memory", "kv_cache_tokens"])
    }

    /// Time from the server's start until it was ready, s.
    #[must_use]
    pub fn ready_s(&self) -> Option<f64> {
        self.number(&["startup", "ready_ms"]).map(|ms| ms / 1000.0)
    }

    /// Whether that start found what an earlier one had compiled; `None` if nothing is kept.
    #[must_use]
    pub fn start(&self) -> Option<StartKind> {
        self.text(&["startup", "start"]).parse().ok()
    }

    /// The row's own threshold of a limit, by its key in `sla`.
    #[must_use]
    pub fn threshold(&self, limit: &str) -> Option<f64> {
        self.number(&["sla", limit])
    }

    /// Tests of its run, as recorded in the row.
    #[must_use]
    pub fn recorded_tests(&self) -> Vec<SlaTest> {
        gate::recorded(&self.line)
    }

    /// `pass`, `pass_unconfirmed` or `fail`; empty without an SLA.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        verdict_word(self.passed, self.unconfirmed)
    }

    /// The limits that were tested with these options; for a run with recorded tests only if it failed.
    #[must_use]
    pub fn tests(&self, options: &RankOptions) -> Vec<SlaTest> {
        self.gate(options).judged.map(|judged| judged.tests).unwrap_or_default()
    }

    /// All limits that were tested, with these options or by the run itself.
    #[must_use]
    pub fn all_tests(&self, options: &RankOptions) -> Vec<SlaTest> {
        match self.tests(options) {
            tests if tests.is_empty() => self.recorded_tests(),
            tests => tests,
        }
    }

    /// The row's claim about its SLA, if its numbers contradict it.
    #[must_use]
    pub fn claim(&self, options: &RankOptions) -> Option<String> {
        self.gate(options).judged.and_then(|judged| judged.claim())
    }

    fn gate(&self, options: &RankOptions) -> Gate {
        let summary = ResultSummary::read(&self.line).ok();
        summary.map(|row| gate::gate(&self.line, &row, &self.group.scenario, options)).unwrap_or_default()
    }

    /// True for a run that its client ended early because it could no longer meet the SLA: its other requests did not fail.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.failure_class() == FailureClass::CannotPass.as_str()
    }

    /// A limit that the finished requests of a run that was cut short miss already, and their value.
    #[must_use]
    pub fn already_missed(&self, options: &RankOptions) -> Option<(SlaTest, f64)> {
        let missed = |test: SlaTest| {
            let value = test.limit.metric().and_then(|metric| self.metric(metric))?;
            (!test.passed && test.value.is_none() && value > test.threshold).then_some((test, value))
        };
        self.tests(options).into_iter().filter(|_| self.is_cut_short()).find_map(missed)
    }

    /// The check of its answers; `None` without one.
    #[must_use]
    pub fn answer_quality(&self) -> Option<AnswerQuality> {
        AnswerQuality::deserialize(self.member(&["quality", "answers"])?).ok()
    }

    /// The client that measured it, if that does not count failed requests.
    #[must_use]
    pub fn blind_to_failures(&self) -> Option<&str> {
        let client = self.text(&["native", "client"]);
        (!client.is_empty() && self.metric("success_rate").is_none()).then_some(client)
    }

    /// True for two results of one candidate.
    #[must_use]
    pub fn is_of(&self, candidate: &Self) -> bool {
        // Equal framework names are one allocation.
        Arc::ptr_eq(&self.framework, &candidate.framework) && self.candidate_id == candidate.candidate_id
    }

    /// `ok`, `failed`, ….
    #[must_use]
    pub fn status(&self) -> &str {
        self.text(&["status"])
    }

    /// The flags that it changes, `max_num_seqs=4`; `baseline` if it changes none.
    #[must_use]
    pub fn changes(&self) -> String {
        match self.changed() {
            Some(changed) if changed.is_empty() => "baseline".into(),
            Some(changed) => shell::settings(changed),
            None => String::new(),
        }
    }

    /// The same, or its id without them, with what sets its numbers apart: `spec_tokens=3 (acceptance forced to 2.8)`.
    #[must_use]
    pub fn label(&self) -> String {
        let changes = self.changes();
        let name = if changes.is_empty() { self.candidate_id.to_string() } else { changes };
        let forced = self.forced_acceptance().map(|length| format!(" (acceptance forced to {length})"));
        name + &forced.unwrap_or_default()
    }

    /// True if it drafts tokens.
    #[must_use]
    pub fn drafts(&self) -> bool {
        self.object(&["quality", "drafts"]).is_some()
    }

    /// Output tokens per step to which its acceptance was forced.
    #[must_use]
    pub fn forced_acceptance(&self) -> Option<f64> {
        self.number(&["quality", "drafts", "forced_acceptance_length"])
    }

    /// Output tokens per step that its server counted.
    #[must_use]
    pub fn acceptance(&self) -> Option<f64> {
        self.number(&["quality", "drafts", "acceptance_length"])
    }

    /// The load point: `4 req/s`, `concurrency 8`, `all at once`.
    #[must_use]
    pub fn load(&self) -> String {
        match (self.rate, self.in_flight) {
            (Some(rate), Some(cap)) => format!("{rate} req/s, cap {cap}"),
            (Some(rate), None) => format!("{rate} req/s"),
            (None, Some(n)) => format!("concurrency {n}"),
            (None, None) if self.group.mode == "burst" => "all at once".into(),
            (None, None) => String::new(),
        }
    }

    /// The amount of load: its rate, otherwise its concurrency; 0 for all at once.
    #[must_use]
    pub fn amount(&self) -> f64 {
        self.rate.or(self.in_flight).unwrap_or_default()
    }

    /// True for the chosen run of a search, a row without a search, and one whose search never ended.
    #[must_use]
    pub fn is_claim(&self) -> bool {
        self.own.as_ref().is_none_or(|own| own.chosen != Some(false) || own.unfinished)
    }

    /// Index of the repeat, from 0.
    #[must_use]
    pub fn repeat(&self) -> u32 {
        self.own.as_ref().map_or(0, |own| own.repeat)
    }
}

/// `pass`, `pass_unconfirmed` or `fail`; empty without an SLA.
pub(super) fn verdict_word(passed: Option<bool>, unconfirmed: bool) -> &'static str {
    match (passed, unconfirmed) {
        (Some(true), false) => "pass",
        (Some(true), true) => "pass_unconfirmed",
        (Some(false), _) => "fail",
        (None, _) => "",
    }
}
