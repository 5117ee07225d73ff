//! `server` and `server_end`: a server that is ready, and how it ended.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Hardware, Members, ProcessExit, Status};
use crate::rows::words::{FailureClass, ReachedBy, ServerState, StartKind};

/// The members that bench-serve adds to a candidate row when the server is ready; the row is then a `server` row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Server {
    /// Id of the start; new for every start.
    pub server_id: String,
    /// The candidate that it serves.
    pub candidate_id: String,
    /// Where clients reach it, and its model's name.
    pub endpoint: ServerAddress,
    /// As reported by the server or its package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework_version: Option<String>,
    /// Commit of the framework, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework_commit: Option<String>,
    /// `image, image_digest, cuda, nccl, driver`, if known.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub environment: Members,
    /// Time from exec to ready on the monotonic clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<f64>,
    /// No unit may start that would end after this time, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The machine.
    pub hardware: Hardware,
    /// Files of this start.
    #[serde(default)]
    pub artifacts: Artifacts,
    /// The executed command, with the real port, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launched_argv: Vec<String>,
    /// The CPUs that are left to it, where the client has some of its own (`--client-cpus`): `2-7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Facts in the log up to the time the server was ready: `kv_cache_tokens`, `model_load_s`, ….
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub facts: Members,
    /// The first start of this model on this host by this bench-serve: its files may have to be read from disk.
    #[serde(default)]
    pub cold: bool,
    /// Whether it found what an earlier server of the same version and GPU had compiled; absent if nothing is kept (`bench-serve --caches`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// The engine reports that it is simulated.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// Where clients reach a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerAddress {
    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub base_url: String,
    /// The model's id as listed by `/v1/models`.
    pub model_id: String,
    /// Path of the lease's Unix socket; absent for a server without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// How clients reach it: `same_host`, `tunnel` or `network`.
    pub reached_by: ReachedBy,
}

/// Paths of artifacts by role (`server_log`), relative to the folder that the sweep writes to.
pub type Artifacts = BTreeMap<String, String>;

/// A `server_end` row. For a candidate that never became ready it contains the candidate row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerEnd {
    /// The start that ended; a new id for a start that failed.
    pub server_id: String,
    /// Its candidate.
    pub candidate_id: String,
    /// `ok` if the server ran until its lease was returned.
    pub status: Status,
    /// More specific than `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// A sentence that says what happened and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// How the server's first process ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ProcessExit>,
    /// How it was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Result of the smoke test (`--smoke`), which is not a benchmark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoke: Option<Smoke>,
    /// Samples of its GPUs while it was leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSummary>,
    /// Facts in its log up to its end.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub facts: Members,
    /// The states that it went through, with times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<LifecycleStage>,
    /// Files of this start.
    #[serde(default)]
    pub artifacts: Artifacts,
    /// The node, as in `hardware`, since a candidate that never became ready has no `server` row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// RFC 3339, UTC.
    pub ended_at: String,
}

/// A state, and when the server entered it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LifecycleStage {
    /// The state.
    pub state: ServerState,
    /// Time since the first state was entered, ms.
    pub at_ms: f64,
    /// Time limit of the state, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<f64>,
}

/// A smoke test of one server: the model is listed, and one streamed and five whole responses were requested.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Smoke {
    /// The model's id as listed.
    pub model_id: String,
    /// Time from sending to the first token of the streamed request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Number of requests sent.
    pub requests: u32,
    /// Number of responses with a token.
    pub ok: u32,
    /// Why others failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// How a server was stopped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    /// Time between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// Time from SIGTERM until no process was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// Processes that needed SIGKILL: `pid name`.
    #[serde(default)]
    pub killed: Vec<String>,
    /// Processes that are still running: `pid name`.
    #[serde(default)]
    pub survivors: Vec<String>,
    /// What was not freed in time: `GPU 0: 29000 MiB`, `port 8000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
}

/// Samples of GPUs while a server was leased, one per second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuSummary {
    /// Number of samples.
    pub samples: u32,
    /// Each GPU.
    pub devices: Vec<GpuDevice>,
    /// Power of all GPUs together over time: pairs of Unix time in ms, and W.
    #[serde(default)]
    pub power: Vec<(u64, f64)>,
}

/// One GPU while a server was leased. Values that the probe command does not report are absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuDevice {
    /// Unique id.
    pub uuid: String,
    /// Name as reported by the driver.
    pub name: String,
    /// Maximum memory in use, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_max_mib: Option<f64>,
    /// Total memory, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_mib: Option<f64>,
    /// Mean utilisation, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_mean: Option<f64>,
    /// Mean power, W.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mean_w: Option<f64>,
    /// First SM clock, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_first_mhz: Option<f64>,
    /// Last SM clock, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_last_mhz: Option<f64>,
    /// Minimum SM clock, MHz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_min_mhz: Option<f64>,
    /// Maximum temperature, degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_max_c: Option<f64>,
    /// Share of samples in which heat or the power supply slowed it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_share: Option<f64>,
}
