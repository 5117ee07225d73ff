//! `run`, `run_end` and `search_end`: one trial, before and after it, and the end of a rate search.

use serde::{Deserialize, Serialize};

use super::{CachePolicy, Load, Members};
use crate::rows::words::{Endpoint, FailureClass, SearchEndReason, Status};

/// A `run` row, written before the first measured request is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Run {
    /// From server, scenario, load, probe and repeat.
    pub run_id: String,
    /// The server it runs on.
    pub server_id: String,
    /// The unit that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What is asked.
    pub workload: Workload,
    /// How requests arrive; a search's probes have their rate here.
    pub load: Load,
    /// Number of the probe within a search, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<u32>,
    /// Which part of the load this client drives, where several share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// From 0.
    pub repeat: u32,
    /// How often this run was measured before, because the client fell behind in it; absent for 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub attempt: u32,
    /// Seed of the schedule and the prompts.
    pub seed: u64,
    /// Seconds of the same load before the measured requests; the load then continues until the last of them returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_s: Option<f64>,
    /// SHA-256 of the due times; absent in closed loop, which has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_sha256: Option<String>,
    /// The bench-load command that repeats this run on its own.
    pub benchmark_command: String,
    /// Who measured.
    pub client: ClientInfo,
    /// How it connected.
    #[serde(default)]
    pub connections: Connections,
    /// How prompts avoid hits in the prefix cache.
    #[serde(default)]
    pub cache: CachePolicy,
    /// A smoke test, not a benchmark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smoke: bool,
    /// The engine says that it simulates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// RFC 3339, UTC.
    pub started_at: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde passes it")]
fn is_first(attempt: &u32) -> bool {
    *attempt == 0
}

/// One of several clients that share a load: every so-manieth session of its schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// True when the `i`-th of a list is ours.
    #[must_use]
    pub fn has(self, i: usize) -> bool {
        i % self.of.max(1) as usize == self.index as usize
    }

    /// Our part of a number.
    #[must_use]
    pub fn part(self, n: u32) -> u32 {
        n / self.of.max(1) + u32::from(self.index < n % self.of.max(1))
    }
}

/// What is asked of the server in one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Workload {
    /// Name of the scenario.
    pub scenario: String,
    /// `random`, `shared_prefix`, `multi_turn`, or the kind of a file.
    pub kind: String,
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// Prompt tokens asked for.
    pub input_len: u32,
    /// Output tokens asked for.
    pub output_len: u32,
    /// Measured requests.
    pub num_prompts: u32,
    /// Path of the data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_path: Option<String>,
    /// Prompts share their beginnings on purpose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prefix_reuse: bool,
    /// Tokens that the chat template adds to a prompt, as the server counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_tokens: Option<u32>,
    /// Answers are not streamed: there is no time to first token.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// `token_ids` or `text`: how prompts are sent.
    pub prompt_form: String,
    /// SHA-256 of what decides the prompts, without the seed.
    pub sha256: String,
}

/// The client that measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientInfo {
    /// `bench-load`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that it was built from, its first seven digits, with `-dirty` where the sources were changed after it;
    /// absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl std::fmt::Display for ClientInfo {
    /// `bench-load 0.1.0 (fdbb2a5)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)?;
        self.commit.iter().try_for_each(|commit| write!(f, " ({commit})"))
    }
}

/// How requests get their connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Connections {
    /// Kept alive and used again.
    #[default]
    Pooled,
    /// A new one each, for servers that close a connection that they promised to keep.
    PerRequest,
}

/// A `run_end` row, written after the last request of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunEnd {
    /// The run that ended.
    pub run_id: String,
    /// The part of it that ended, where several clients share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// `ok` when the run went its whole way, whatever became of its requests.
    pub status: Status,
    /// `interrupted`, `server_lost`, `budget`, `client_saturated`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// A sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// From the run's start to the end of its last request, s.
    pub duration_s: f64,
    /// Health of the client.
    pub client: ClientHealth,
    /// Distributions too long to list.
    #[serde(default)]
    pub histograms: Histograms,
    /// What the server's own counters say about the run, by `BLOCK.KEY`: `cache.hit_tokens`.
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
    /// CPU seconds of the client over the run's duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
    /// Share of this host's CPU time that was busy during the run, whoever used it, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cpu_share: Option<f64>,
    /// Connections that answers came on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// The client did not keep up: the run says nothing about the server.
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

/// A `search_end` row: the bracket that a rate search ended with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchEnd {
    /// The server searched on.
    pub server_id: String,
    /// The unit that it closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Name of the scenario.
    pub scenario: String,
    /// Highest rate that was measured and passed, requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pass: Option<f64>,
    /// Lowest rate that was measured and failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fail: Option<f64>,
    /// Bisection steps.
    #[serde(default)]
    pub rounds: u32,
    /// Runs that it took.
    pub probes: u32,
    /// `resolved`, `max_rounds`, `max_probes`, `no_pass_in_range`, `no_failure_in_range`, `aborted`, `pruned`,
    /// `budget`, `interrupted`.
    pub reason: SearchEndReason,
    /// Some rate passed above one that failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub non_monotone: bool,
}

/// A `native` row: what another client printed about a server that bench-serve leased to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Native {
    /// Whose output it is, where that is known: `vllm_bench_serve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The server that was measured.
    pub server_id: String,
    /// What the client was asked to do, where bench-load ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The output, unchanged.
    pub payload: Members,
}
