//! `result`: one trial, or one candidate that gave none, in the source document's schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Artifacts, Hardware, Load, Members, Substitution, ValidatedFlags};
use crate::rows::words::{Basis, FailureClass, Limit, ReachedBy, SearchEndReason, Status, Verdict};

/// A `result` row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResultRow {
    /// The framework's name in the plan.
    pub framework: String,
    /// As the server or its package says.
    pub framework_version: Option<String>,
    /// Commit, where known.
    pub framework_commit: Option<String>,
    /// The candidate.
    pub candidate_id: String,
    /// Model path or id.
    pub model: String,
    /// The outcome.
    pub status: Status,
    /// Finer than `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// A sentence that says whether to retry, lower the load, fix a parameter, or do nothing.
    pub failure_reason: Option<String>,
    /// The machine.
    pub hardware: Hardware,
    /// The requested workload; null for a candidate that never ran.
    pub workload: Option<WorkloadBlock>,
    /// Limits by key; `passed`: null when there is no limit or nothing was measured; `tested`: an SlaTest by limit.
    pub sla: Members,
    /// By the source document's names; a metric that was not measured is null or absent.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The server's own command: the one to deploy unless there is a `launch_command`.
    pub server_command: String,
    /// The command to deploy through the plan's launchers, as it was run; absent for a server without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_command: Option<String>,
    /// The command that measured; null for a candidate that never ran.
    pub benchmark_command: Option<String>,
    /// How latencies spread, by `ttft_ms`, `tpot_ms`, `e2e_ms`, `ttfat_ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, Spread>,
    /// The gate's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Caveats about the numbers.
    pub quality: Quality,
    /// Settings that must be equal in rows that are compared.
    pub fingerprint: Members,
    /// `image, image_digest, cuda, nccl, driver`, null where unknown; and what the server's log says that it runs with:
    /// `attention_backend`, `dtype`, ….
    pub environment: Members,
    /// Start-up: `ready_ms`, `cold`, and durations in the server's log, seconds.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub startup: Members,
    /// Capacity in the server's log: `kv_cache_tokens`, ….
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub memory: Members,
    /// The prefix cache during the run, by the server's own counters.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub cache: Members,
    /// Speculation during the run, by the server's own counters.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub spec_decode: Members,
    /// Queue, prefill and decode during the run, by the server's own counters.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub phase_metrics: Members,
    /// The candidate's place in its search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateBlock>,
    /// The rate search that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchBlock>,
    /// The run behind the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunBlock>,
    /// Units that this row closes: one, or all that a failed candidate had left.
    #[serde(default)]
    pub units: Vec<String>,
    /// Attempts at these units in what was read, this one included.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub attempts: u32,
    /// Sources of the numbers of another client's result; absent for runs of bench-load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeBlock>,
    /// Its flags as a captured help accepts them; absent when none was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_cli_flags: Option<ValidatedFlags>,
    /// Knobs of the plan that go by another name, or are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitutions: Vec<Substitution>,
    /// Caveats of the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
    /// Logs and other files.
    #[serde(default)]
    pub artifacts: Artifacts,
}

impl ResultRow {
    /// A result without anything measured.
    #[must_use]
    pub fn new(framework: &str, candidate_id: &str, model: &str, status: Status) -> Self {
        Self {
            framework: framework.into(),
            framework_version: None,
            framework_commit: None,
            candidate_id: candidate_id.into(),
            model: model.into(),
            status,
            failure_class: None,
            failure_reason: None,
            hardware: Hardware::default(),
            workload: None,
            sla: Members::new(),
            metrics: BTreeMap::new(),
            server_command: String::new(),
            launch_command: None,
            benchmark_command: None,
            statistics: BTreeMap::new(),
            verdict: None,
            quality: Quality::default(),
            fingerprint: Members::new(),
            environment: Members::new(),
            startup: Members::new(),
            memory: Members::new(),
            cache: Members::new(),
            spec_decode: Members::new(),
            phase_metrics: Members::new(),
            candidate: None,
            search: None,
            run: None,
            units: Vec::new(),
            attempts: once(),
            native: None,
            validated_cli_flags: None,
            substitutions: Vec::new(),
            caveats: Vec::new(),
            artifacts: Artifacts::default(),
        }
    }

    /// The members that `environment` always has, null where unknown.
    #[must_use]
    pub fn unknown_environment() -> Members {
        ["image", "image_digest", "cuda", "nccl", "driver"]
            .map(|key| (key.to_string(), Value::Null))
            .into_iter()
            .collect()
    }
}

fn once() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_once(attempts: &u32) -> bool {
    *attempts == 1
}

/// Another client's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NativeBlock {
    /// Its format: `vllm_bench_serve`.
    pub format: String,
    /// The client.
    pub client: String,
    /// Where each metric is from.
    #[serde(default)]
    pub fields: BTreeMap<String, NativeField>,
    /// Why a metric is null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulls: BTreeMap<String, String>,
    /// What this client does not detect: `in_band_error`, `early_stop`, `first_chunk`, `reasoning`, …, and what follows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blind: BTreeMap<String, String>,
    /// From 0: which of the results of one configuration at one load it is; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
}

/// A number of another client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NativeField {
    /// Its key there; `requests` for what was computed anew from its requests.
    pub field: String,
    /// Its unit there.
    pub unit: String,
    /// Its formula there.
    #[serde(default, rename = "is", skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// The workload of a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WorkloadBlock {
    /// `random`.
    pub kind: Option<String>,
    /// Name of the scenario.
    pub scenario: Option<String>,
    /// Path of the data set.
    pub dataset_path: Option<String>,
    /// Prompt tokens asked for.
    pub input_len: Option<f64>,
    /// Output tokens asked for.
    pub output_len: Option<f64>,
    /// Measured prompt tokens, median.
    pub input_len_p50: Option<f64>,
    /// Measured prompt tokens, 95th percentile.
    pub input_len_p95: Option<f64>,
    /// Measured output tokens, median.
    pub output_len_p50: Option<f64>,
    /// Measured output tokens, 95th percentile.
    pub output_len_p95: Option<f64>,
    /// Measured requests.
    pub num_prompts: Option<u32>,
    /// Open loop: requests per second asked for.
    pub request_rate: Option<f64>,
    /// Closed loop: requests in flight. Open loop: the cap.
    pub max_concurrency: Option<u32>,
    /// Path of the endpoint.
    pub endpoint: Option<String>,
    /// How requests arrive.
    pub load: Option<Load>,
}

/// Spread of a latency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Spread {
    /// Values: successful requests that have this latency.
    pub n: u64,
    /// Standard deviation; null of one value.
    pub sd: Option<f64>,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

fn unknown_limit() -> Limit {
    Limit::InFlight
}

/// One SLA limit against what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SlaTest {
    /// `max_p99_ttft_ms`: its key.
    #[serde(skip, default = "unknown_limit")]
    pub limit: Limit,
    /// The limit's value.
    pub threshold: f64,
    /// The measured value; null when failures make it infinite or nothing was measured.
    pub value: Option<f64>,
    /// `all_scheduled` (failures count as infinite), `successes`, `requests`, `rate_times_e2e` of the run's first and last
    /// third, or `reported`: from a
    /// row's metrics, for the requests themselves are not known.
    pub basis: Basis,
    /// (threshold − value) / threshold for a ceiling, (value − threshold) / threshold for a floor; negative fails.
    pub margin: Option<f64>,
    /// Whether the limit holds.
    pub passed: bool,
    /// Requests that were to be sent, behind a percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Those of them that failed or were above the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<u32>,
    /// Requests that the confirmation of this percentile needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<u32>,
    /// False when there were too few requests for that percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<bool>,
}

/// Caveats about the numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quality {
    /// A simulated engine: not a measurement of a real one.
    #[serde(default)]
    pub simulated: bool,
    /// A smoke test: too few prompts or smoke settings.
    #[serde(default)]
    pub smoke: bool,
    /// The load generator fell behind its schedule.
    #[serde(default)]
    pub client_saturated: bool,
    /// More than 1 % of the answers were shorter than asked.
    #[serde(default)]
    pub length_mismatch: bool,
    /// More than 1 % of the prompt tokens came from a cache.
    #[serde(default)]
    pub cache_contaminated: bool,
    /// Thirds of the run differ by more than 10 %.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstable: bool,
    /// The server fell behind its load: after the ramp each answer took longer than those before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saturated: bool,
    /// Its client writes 0 where it measured nothing; such a number is null here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub placeholder_zero: bool,
    /// What its client does not detect, in a word each; `native.blind` has the consequences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<String>,
    /// The row's claim about its SLA, if its numbers contradict it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Heat or the power supply slowed a GPU down in more than 5 % of the samples.
    #[serde(default)]
    pub throttled: bool,
    /// How the client reached the server, where it was not on the same host: `tunnel`, `network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_by: Option<ReachedBy>,
    /// Open loop: the run was too short to tell whether the server keeps up with its load.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_short_to_tell: bool,
    /// Thirds of the run after its ramp; absent when it was too short to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// Where token counts come from; the weakest source of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_source: Option<String>,
    /// How percentiles are made: `type7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile_method: Option<String>,
}

/// What the thirds of a run's window say; the window goes from the end of the ramp, at which the first answers are back, to
/// the last start. The whole run of a server that so plainly falls behind that its ramp has no end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stability {
    /// Largest rate of completions of a third over the smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_min_throughput: Option<f64>,
    /// Largest mean TTFT of a third over the smallest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_min_ttft: Option<f64>,
    /// Both are at most 1.10.
    pub stable: bool,
    /// Where the window begins, s after the first request was due.
    #[serde(default)]
    pub from_s: f64,
    /// Requests started in the window, per second.
    #[serde(default)]
    pub rate: f64,
    /// Mean number of requests in flight in each third.
    pub in_flight: [f64; 3],
    /// Mean E2E of the successful requests started in each third, s.
    #[serde(default)]
    pub e2e_s: [Option<f64>; 3],
    /// E2E grows significantly from third to third: requests in flight become more than rate × E2E of the first third, and
    /// the server falls behind its load.
    pub saturated: bool,
}

/// The rate search that a result is a probe of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchBlock {
    /// The search chose this result: the confirmed run at the highest rate that passed, or the lowest that failed.
    pub chosen: bool,
    /// Highest rate that passed and was confirmed, requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pass: Option<f64>,
    /// Lowest rate above it that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fail: Option<f64>,
    /// Why it ended: `resolved`, `max_rounds`, `no_failure_in_range`, …; `unfinished`.
    pub reason: SearchEndReason,
    /// Runs that it took.
    pub probes: u32,
    /// Some rate passed above one that failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub non_monotone: bool,
}

/// The candidate's place in its search, for the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CandidateBlock {
    /// Flags that differ from the baseline.
    pub changed: Members,
    /// True for the baseline.
    pub baseline: bool,
    /// Index in the search of its framework.
    pub index: usize,
    /// Candidates of its framework after the cap.
    pub of: usize,
    /// Why it is tried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Allowed values of knobs that no candidate of its framework has.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub never_tried: Members,
    /// The plan's weight of each scenario in a decision over all of them.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub weights: Members,
}

/// The run behind a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunBlock {
    /// The run.
    pub run_id: String,
    /// The server.
    pub server_id: String,
    /// From 0.
    pub repeat: u32,
    /// The unit of resume that it is an attempt at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Probe of a search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<u32>,
    /// Client, version and, where it is known, commit: `bench-load 0.1.0 (fdbb2a5)`.
    pub client: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339; absent for a run that never ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// Requests by status.
    pub requests: BTreeMap<String, u64>,
}
