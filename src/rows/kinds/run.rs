//! `run`, `run_end` and `search_end`: the start and end of one trial, and the end of a rate search.

use serde::{Deserialize, Serialize};

use super::{Load, Members};
use crate::rows::words::{
    CachePolicy, Connections, DatasetKind, Endpoint, FailureClass, LengthReason, Limit, PromptForm, SearchEndReason,
    SearchedLoad, Status,
};

/// A `run` row, written before the first measured request is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// Digest of server, scenario, load, probe and repeat.
    pub run_id: String,
    /// The server that it runs on.
    pub server_id: String,
    /// The unit that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The requested workload.
    pub workload: Workload,
    /// How requests arrive; for a probe of a rate search, with its rate.
    pub load: Load,
    /// Number of the probe within a search, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<u32>,
    /// The share of the load that this client drives, if several clients share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// How the clock of this client differs from that of the first one of several on other hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockOffset>,
    /// From 0.
    pub repeat: u32,
    /// Number of earlier measurements of this run in which the client fell behind; absent for 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub attempt: u32,
    /// How many requests it has, and why; absent where another client measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<RunLength>,
    /// Seed of the schedule and the prompts.
    pub seed: u64,
    /// Duration of the same load before the measured requests, s; the load then continues until the last of them
    /// returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_s: Option<f64>,
    /// SHA-256 of the due times; absent in closed loop, which does not have any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_sha256: Option<String>,
    /// The bench-load command that repeats this run on its own.
    pub benchmark_command: String,
    /// The client that measured.
    pub client: ClientInfo,
    /// Whether it reused connections.
    #[serde(default)]
    pub connections: Connections,
    /// How prompts avoid hits in the prefix cache.
    #[serde(default)]
    pub cache: CachePolicy,
    /// A smoke test, not a benchmark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smoke: bool,
    /// The engine reports that it is simulated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// RFC 3339, UTC.
    pub started_at: String,
}

/// How long a run is, and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunLength {
    /// Measured requests.
    pub requests: u32,
    /// What asked for the most requests.
    pub decided_by: LengthReason,
    /// Open loop: time in which they come due, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_s: Option<f64>,
    /// The length of an answer that this was decided with, s: the p95 of E2E of an earlier run or burst with the same scenario on
    /// the same server, or the fastest request of the warm-up. Absent where none was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_s: Option<f64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde passes it")]
fn is_first(attempt: &u32) -> bool {
    *attempt == 0
}

/// The share of one client of several: every `of`-th session of the schedule, starting at `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// Number of clients.
    pub of: u32,
}

/// How two clocks differ, from round trips right before a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClockOffset {
    /// The monotonic clock of the first client minus that of this one, ms. Two hosts count from when they started.
    pub offset_ms: f64,
    /// The offset is wrong by at most this, ms: half of the shortest round trip.
    pub uncertainty_ms: f64,
}

impl Shard {
    /// True if this client sends the `i`-th session.
    #[must_use]
    pub fn has(self, i: usize) -> bool {
        i % self.of.max(1) as usize == self.index as usize
    }

    /// This client's part of a number.
    #[must_use]
    pub fn part(self, n: u32) -> u32 {
        n / self.of.max(1) + u32::from(self.index < n % self.of.max(1))
    }
}

/// The workload of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Workload {
    /// Name of the scenario.
    pub scenario: String,
    /// `random`, `shared_prefix`, `multi_turn`, or the kind of a file.
    pub kind: DatasetKind,
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// Requested prompt tokens.
    pub input_len: u32,
    /// Requested output tokens.
    pub output_len: u32,
    /// Number of measured requests.
    pub num_prompts: u32,
    /// Path of the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_path: Option<String>,
    /// Prompts share prefixes on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix_reuse: bool,
    /// Number of tokens that the chat template adds to a prompt, as counted by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_tokens: Option<u32>,
    /// Responses are not streamed, so there is no time to first token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// `token_ids` or `text`: how prompts are sent.
    pub prompt_form: PromptForm,
    /// SHA-256 of everything that determines the prompts, except the seed.
    pub sha256: String,
}

/// The client that measured a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientInfo {
    /// `bench-load`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, its first seven digits, with `-dirty` if the sources were changed after it;
    /// absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The CPUs that it ran on, where it was given some (`--client-cpus`): `0-1,4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
}

impl std::fmt::Display for ClientInfo {
    /// `bench-load 0.1.0 (fdbb2a5)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        self.commit.iter().try_for_each(|commit| write!(f, " ({commit})"))
    }
}

/// A `run_end` row, written after the last request of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunEnd {
    /// The run that ended.
    pub run_id: String,
    /// The share that ended, if several clients share the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// `ok` if all requests were sent and finished, even if some of them failed.
    pub status: Status,
    /// `interrupted`, `server_lost`, `budget`, `client_saturated`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// The reason, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// From the start of the run to the end of its last request, s.
    pub duration_s: f64,
    /// Whether the client kept up with its schedule.
    pub client: ClientHealth,
    /// Distributions that are too long to list.
    #[serde(default)]
    pub histograms: Histograms,
    /// Metrics of the run from the server's own counters, by `BLOCK.KEY`: `cache.hit_tokens`.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub server_metrics: Members,
    /// RFC 3339, UTC.
    pub ended_at: String,
}

/// Whether the client followed its own schedule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientHealth {
    /// Median of sent − due, ms; open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_p50_ms: Option<f64>,
    /// 99th percentile of sent − due, ms; open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_p99_ms: Option<f64>,
    /// Share of requests sent more than 10 ms late; open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_share: Option<f64>,
    /// Longest time during which the client did not run at all, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_gap_ms: Option<f64>,
    /// CPU seconds of the client per second of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Share of this host's CPU time that was busy during the run, whoever used it, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_share: Option<f64>,
    /// Number of connections on which responses arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// The client fell behind its schedule, so the run says nothing about the server.
    pub saturated: bool,
}

/// Distributions, HdrHistogram V2 compressed, base64; values in µs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Histograms {
    /// Gaps between token-bearing chunks of successful requests, µs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_gap_us: Option<String>,
    /// Gaps between tokens, µs: chunk gaps spread over the chunk's tokens; only where every chunk's tokens are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_us: Option<String>,
}

/// A `search_end` row: the bracket that a search for the highest load ended with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchEnd {
    /// The server that was searched.
    pub server_id: String,
    /// The unit that it completes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Name of the scenario.
    pub scenario: String,
    /// What was searched; absent in rows of earlier versions, which searched rates.
    #[serde(default)]
    pub searched: SearchedLoad,
    /// Highest load that was measured and passed, requests per second or requests in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pass: Option<f64>,
    /// Lowest load that was measured and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fail: Option<f64>,
    /// The limit that was missed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub decided_by: Option<Limit>,
    /// Bisection steps.
    #[serde(default)]
    pub rounds: u32,
    /// Number of runs.
    pub probes: u32,
    /// `resolved`, `max_rounds`, `max_probes`, `no_pass_in_range`, `no_failure_in_range`, `aborted`, `pruned`,
    /// `budget`, `interrupted`.
    pub reason: SearchEndReason,
    /// Some load passed above one that failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub non_monotone: bool,
}

/// A `native` row: the output of another client for a server that bench-serve leased to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Native {
    /// Format of the output, if known: `vllm_bench_serve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The server that was measured.
    pub server_id: String,
    /// The requested workload, if bench-load ran the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The output, unchanged.
    pub payload: Members,
}
