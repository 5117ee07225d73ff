//! One result row, read leniently: ours, or somebody else's with the source document's names.

use std::cmp::Ordering;

use serde_json::Value;

use crate::row::Row;
use crate::shell;

/// What throughput a ranking goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankBy {
    /// Successful requests per second.
    RequestThroughput,
    /// Requests per second within every SLA limit.
    Goodput,
    /// Output tokens per second.
    OutputTokenThroughput,
}

impl RankBy {
    /// The metric's name.
    #[must_use]
    pub fn metric(self) -> &'static str {
        match self {
            Self::RequestThroughput => "request_throughput",
            Self::Goodput => "goodput",
            Self::OutputTokenThroughput => "output_token_throughput",
        }
    }
}

/// What is never mixed in one ranking.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// Scenario.
    pub scenario: String,
    /// `open`, `closed`, `burst`, or nothing when the row does not say.
    pub mode: String,
    /// Model.
    pub model: String,
    /// GPU model, when known.
    pub gpu: String,
    /// Workload, endpoint, sampling and client, by their fingerprint.
    pub workload: String,
    /// The client that measured.
    pub client: String,
    /// A flow check.
    pub smoke: bool,
    /// A simulated engine.
    pub simulated: bool,
}

/// A result.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The row, for what only a report shows.
    pub row: Row,
    /// Framework.
    pub framework: String,
    /// Candidate.
    pub candidate_id: String,
    /// `ok`, `failed`, ….
    pub status: String,
    /// The SLA's answer; `None` when there was none to give.
    pub passed: Option<bool>,
    /// Too few requests behind a percentile.
    pub unconfirmed: bool,
    /// Where it belongs.
    pub group: GroupKey,
}

impl Entry {
    /// Reads a `result` row.
    #[must_use]
    pub fn read(row: Row) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let at = |pointer: &str| pointed(&row, pointer);
        let mode = text(&at("/workload/load/mode"));
        let mode = match (
            mode.is_empty(),
            at("/workload/request_rate").is_null(),
            at("/workload/max_concurrency").is_null(),
        ) {
            (false, ..) => mode,
            (true, false, _) => "open".into(),
            (true, true, false) => "closed".into(),
            (true, true, true) => String::new(),
        };
        // Other arrivals are another load.
        let mode = match at("/workload/load/arrivals").as_str() {
            Some(arrivals) => format!("{mode} {arrivals}"),
            None => mode,
        };
        let group = GroupKey {
            scenario: text(&at("/workload/scenario")),
            mode,
            model: text(&at("/model")),
            gpu: text(&at("/hardware/gpu_model")),
            workload: ["workload", "endpoint", "sampling"]
                .map(|k| at(&format!("/fingerprint/{k}")).to_string())
                .join(" "),
            client: text(&at("/fingerprint/client")),
            smoke: at("/quality/smoke") == true,
            simulated: at("/quality/simulated") == true,
        };
        Self {
            framework: text(&at("/framework")),
            candidate_id: text(&at("/candidate_id")),
            status: text(&at("/status")),
            passed: at("/sla/passed").as_bool(),
            unconfirmed: at("/verdict") == "pass_unconfirmed",
            group,
            row,
        }
    }

    /// Whatever stands at a JSON pointer; null when nothing does.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Value {
        pointed(&self.row, pointer)
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

    /// Mean TPOT, or mean ITL in its place; true when it is the latter.
    #[must_use]
    pub fn tpot(&self) -> Option<(f64, bool)> {
        self.metric("mean_tpot_ms").map(|v| (v, false)).or_else(|| self.metric("mean_itl_ms").map(|v| (v, true)))
    }

    /// True for a run that went its whole way.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == "ok"
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
        let number = |pointer: &str| self.at(pointer).as_f64();
        match (number("/workload/request_rate"), number("/workload/max_concurrency")) {
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
        let number = |pointer: &str| self.at(pointer).as_f64();
        number("/workload/request_rate").or(number("/workload/max_concurrency")).unwrap_or_default()
    }

    /// The better one first: status, SLA, throughput, output tokens, mean TTFT, mean TPOT, GPUs; then names, so that the
    /// order is total. What was not measured is worst.
    #[must_use]
    pub fn compare(&self, other: &Self, by: RankBy) -> Ordering {
        let high =
            |a: Option<f64>, b: Option<f64>| b.unwrap_or(f64::NEG_INFINITY).total_cmp(&a.unwrap_or(f64::NEG_INFINITY));
        let low = |a: Option<f64>, b: Option<f64>| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY));
        let metric = |name: &str| (self.metric(name), other.metric(name));
        let (throughput, output, ttft) =
            (metric(by.metric()), metric("output_token_throughput"), metric("mean_ttft_ms"));
        let gpus = |e: &Self| e.at("/hardware/gpu_count").as_f64();
        (other.is_ok().cmp(&self.is_ok()))
            .then_with(|| (other.passed == Some(true)).cmp(&(self.passed == Some(true))))
            .then_with(|| high(throughput.0, throughput.1))
            .then_with(|| high(output.0, output.1))
            .then_with(|| low(ttft.0, ttft.1))
            .then_with(|| low(self.tpot().map(|t| t.0), other.tpot().map(|t| t.0)))
            .then_with(|| low(gpus(self), gpus(other)))
            .then_with(|| self.framework.cmp(&other.framework))
            .then_with(|| self.candidate_id.cmp(&other.candidate_id))
            .then_with(|| self.row.line().cmp(&other.row.line()))
    }
}

fn pointed(row: &Row, pointer: &str) -> Value {
    let mut keys = pointer.trim_start_matches('/').split('/');
    let first = keys.next().and_then(|key| row.get(key));
    let found = keys.fold(first, |value, key| value.and_then(|value| value.get(key)));
    found.cloned().unwrap_or_default()
}
