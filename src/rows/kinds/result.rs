//! `result`: one trial, or one candidate without a trial, in the schema of the source document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AnswerQuality, Artifacts, DraftQuality, Hardware, Load, Members, Slot, Substitution, ValidatedFlags};
use crate::rows::words::{
    Basis, FailureClass, Limit, ReachedBy, SearchEndReason, SearchedLoad, SlotPart, Stage, Status, TokenSource, Verdict,
};

/// A `result` row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResultRow {
    /// The framework's name in the plan.
    pub framework: String,
    /// As reported by the server or its package.
    pub framework_version: Option<String>,
    /// Commit of the framework, if known.
    pub framework_commit: Option<String>,
    /// The candidate.
    pub candidate_id: String,
    /// Model path or id.
    pub model: String,
    /// The outcome.
    pub status: Status,
    /// More specific than `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// A sentence that says whether to retry, lower the load, fix a parameter, or do nothing.
    pub failure_reason: Option<String>,
    /// The machine.
    pub hardware: Hardware,
    /// The requested workload; null for a candidate that never ran.
    pub workload: Option<WorkloadBlock>,
    /// Limits by key; `passed`: null if there is no limit or nothing was measured; `tested`: an SlaTest by limit.
    pub sla: Members,
    /// Named as in the source document; a metric that was not measured is null or absent.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// The server's own command: deploy with it unless there is a `launch_command`.
    pub server_command: String,
    /// The command to deploy through the plan's launchers, as it was run; absent if the server has no launcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_command: Option<String>,
    /// The bench-load command that repeats the run; null for a candidate that never ran.
    pub benchmark_command: Option<String>,
    /// Spread of the latencies `ttft_ms`, `tpot_ms`, `e2e_ms`, `ttfat_ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statistics: BTreeMap<String, Spread>,
    /// The SLA verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Caveats about the numbers.
    pub quality: Quality,
    /// Settings that must be equal in rows that are compared.
    pub fingerprint: Members,
    /// `image, image_digest, cuda, nccl, driver`, null if unknown; and settings that the server's log states:
    /// `attention_backend`, `dtype`, ….
    pub environment: Members,
    /// Start-up: `ready_ms`, `cold`, `start`, and durations in the server's log, seconds.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub startup: Members,
    /// Capacity in the server's log: `kv_cache_tokens`, ….
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub memory: Members,
    /// Counters of the prefix cache during the run, reported by the server.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub cache: Members,
    /// Counters of speculative decoding during the run, reported by the server.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub spec_decode: Members,
    /// Queue, prefill and decode times during the run, reported by the server.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub phase_metrics: Members,
    /// The candidate's place in its search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateBlock>,
    /// The rate search that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchBlock>,
    /// The run that the row summarizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunBlock>,
    /// Units that this row completes: one, or all remaining ones of a candidate that failed.
    #[serde(default)]
    pub units: Vec<String>,
    /// The nodes on which attempts at these units failed for a reason that may pass; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_on: Vec<String>,
    /// Number of attempts at these units in the input, this one included.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub attempts: u32,
    /// Sources of the numbers of another client's result; absent for runs of bench-load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<NativeBlock>,
    /// Its flags as accepted by the captured help; absent if none was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_cli_flags: Option<ValidatedFlags>,
    /// Knobs of the plan that were renamed or dropped.
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
    /// A result without measurements.
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
            failed_on: Vec::new(),
            attempts: once(),
            native: None,
            validated_cli_flags: None,
            substitutions: Vec::new(),
            caveats: Vec::new(),
            artifacts: Artifacts::default(),
        }
    }

    /// The members that `environment` always has, null if unknown.
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

/// The result of another client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NativeBlock {
    /// Its format: `vllm_bench_serve`.
    pub format: String,
    /// Name of the client.
    pub client: String,
    /// Source of each metric.
    #[serde(default)]
    pub fields: BTreeMap<String, NativeField>,
    /// Why a metric is null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nulls: BTreeMap<String, String>,
    /// What this client does not detect (`in_band_error`, `early_stop`, `first_chunk`, `reasoning`, …) and the
    /// consequence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blind: BTreeMap<String, String>,
    /// Index, from 0, among the results of one configuration at one load; absent if not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
}

/// The source of one number of another client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NativeField {
    /// Its key in the client's file; `requests` if it was recomputed from the requests.
    pub field: String,
    /// Its unit in the client's file.
    pub unit: String,
    /// Its formula in that client.
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
    /// Path of the dataset.
    pub dataset_path: Option<String>,
    /// Requested prompt tokens.
    pub input_len: Option<f64>,
    /// Requested output tokens.
    pub output_len: Option<f64>,
    /// Measured prompt tokens, median.
    pub input_len_p50: Option<f64>,
    /// Measured prompt tokens, 95th percentile.
    pub input_len_p95: Option<f64>,
    /// Measured output tokens, median.
    pub output_len_p50: Option<f64>,
    /// Measured output tokens, 95th percentile.
    pub output_len_p95: Option<f64>,
    /// Number of measured requests.
    pub num_prompts: Option<u32>,
    /// Open loop: requested rate, requests per second.
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
    /// Number of values: successful requests that have this latency.
    pub n: u64,
    /// Standard deviation; null for a single value.
    pub sd: Option<f64>,
    /// Minimum.
    pub min: f64,
    /// Maximum.
    pub max: f64,
}

fn unknown_limit() -> Limit {
    Limit::InFlight
}

/// One SLA limit, compared with the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SlaTest {
    /// Key of the limit: `max_p99_ttft_ms`.
    #[serde(skip, default = "unknown_limit")]
    pub limit: Limit,
    /// The limit's value.
    pub threshold: f64,
    /// The measured value; null if failures make it infinite or nothing was measured.
    pub value: Option<f64>,
    /// `all_scheduled` (failures count as infinite), `successes`, `requests`, `rate_times_e2e` of the first and last
    /// third of the run, or `reported`: from a row's metrics, because its requests are not known.
    pub basis: Basis,
    /// (threshold − value) / threshold for a maximum, (value − threshold) / threshold for a minimum; negative if
    /// missed.
    pub margin: Option<f64>,
    /// True if the limit is met.
    pub passed: bool,
    /// Number of scheduled requests behind a percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u32>,
    /// Number of these that failed or exceeded the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<u32>,
    /// Number of requests needed to confirm this percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needed: Option<u32>,
    /// False if there were too few requests for this percentile.
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
    /// More than 1 % of the outputs were shorter than requested.
    #[serde(default)]
    pub length_mismatch: bool,
    /// More than 1 % of the prompt tokens came from a cache.
    #[serde(default)]
    pub cache_contaminated: bool,
    /// Of more than 1 % of the answers many tokens arrived at once: a proxy buffers, the server sends whole answers, or the client
    /// got no CPU. Their TPOT is that of the other tokens, or unknown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub buffered: bool,
    /// Choices of an answer (`n`), if there are several: TPOT and ITL are unknown, for the choices share the chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<u32>,
    /// Numbers of another client that its own counts contradict, each with both values; the row has the computed one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contradicted: Vec<String>,
    /// Thirds of the run differ by more than 10 %.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstable: bool,
    /// The server fell behind its load: after the ramp, requests took longer and longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub saturated: bool,
    /// The client writes 0 for values that it did not measure; these are null here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub placeholder_zero: bool,
    /// What its client does not detect, one word each; `native.blind` has the consequences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<String>,
    /// The row's claim about its SLA, if its own numbers contradict it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Heat or the power supply slowed a GPU down in more than 5 % of the samples.
    #[serde(default)]
    pub throttled: bool,
    /// How the client reached the server, if not on the same host: `tunnel`, `network`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached_by: Option<ReachedBy>,
    /// Open loop: the run was too short to tell whether the server keeps up with its load.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_short_to_tell: bool,
    /// Thirds of the run after its ramp; absent if the run was too short to tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability: Option<Stability>,
    /// Source of the token counts; the weakest of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_source: Option<TokenSource>,
    /// How percentiles are computed: `type7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile_method: Option<String>,
    /// What became of drafted tokens; absent without speculative decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drafts: Option<DraftQuality>,
    /// The check of the server's answers; absent if the plan asks for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<AnswerQuality>,
}

/// The thirds of a run's window, which begins at the end of the ramp, when the first responses are complete, and ends
/// at the last start. It is the whole run if the server falls behind so fast that the ramp never ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stability {
    /// Highest completion rate of a third divided by the lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_min_throughput: Option<f64>,
    /// Highest mean TTFT of a third divided by the lowest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_min_ttft: Option<f64>,
    /// True if both are at most 1.10.
    pub stable: bool,
    /// Start of the window, s after the first request was due.
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
    /// E2E grows significantly from third to third: more requests are in flight than rate × E2E of the first third, and
    /// the server falls behind its load.
    pub saturated: bool,
}

/// The search that a result is a probe of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchBlock {
    /// The search chose this result: the last run that passed at the highest load that passed, or the lowest that failed.
    pub chosen: bool,
    /// What was searched; absent in rows of earlier versions, which searched rates.
    #[serde(default)]
    pub searched: SearchedLoad,
    /// Highest load that passed, requests per second or requests in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pass: Option<f64>,
    /// Lowest load above it that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fail: Option<f64>,
    /// The limit that was missed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub decided_by: Option<Limit>,
    /// Why it ended: `resolved`, `max_rounds`, `no_failure_in_range`, …; `unfinished`.
    pub reason: SearchEndReason,
    /// Number of runs.
    pub probes: u32,
    /// Some load passed above one that failed.
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
    /// Index in the search of its framework; 0 is the baseline.
    pub index: usize,
    /// Number of candidates of its framework that run.
    pub of: usize,
    /// It calibrates a node.
    #[serde(skip)]
    pub calibration: bool,
    /// It shows how much servers in slots disturb each other.
    #[serde(skip)]
    pub slot_check: Option<SlotPart>,
    /// The part of the host that it had, where several were measured at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Why it is tested.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The stage of the sweep, where the plan has stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Allowed values of knobs that no candidate of its framework has.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub never_tried: Members,
    /// The plan's weight of each scenario in a decision over all of them.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub weights: Members,
}

/// The run that a result summarizes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunBlock {
    /// Id of the run.
    pub run_id: String,
    /// Id of the server's start.
    pub server_id: String,
    /// Index of the repeat, from 0.
    pub repeat: u32,
    /// The unit that it is an attempt at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Index of the probe in its rate search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<u32>,
    /// Client, version and commit if known: `bench-load 0.1.0 (fdbb2a5)`.
    pub client: String,
    /// Start, RFC 3339.
    pub started_at: String,
    /// End, RFC 3339; absent for a run that never ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// The rows have no end of its server: it was still running, or its programs were killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Number of requests by status.
    pub requests: BTreeMap<String, u64>,
}
