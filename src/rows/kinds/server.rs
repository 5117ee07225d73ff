//! `server` and `server_end`: a started server and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Hardware, Members, ProcessExit, Status};
use crate::rows::words::{FailureClass, ReachedBy};

/// What bench-serve adds to a candidate row when the server is ready; the row is then a `server` row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Server {
    /// New for every start.
    pub server_id: String,
    /// The candidate that it serves.
    pub candidate_id: String,
    /// Where and as what it answers.
    pub endpoint: ServerAddress,
    /// As the server or its package says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework_version: Option<String>,
    /// Commit, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub framework_commit: Option<String>,
    /// `image, image_digest, cuda, nccl, driver`, where known.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub environment: Members,
    /// From exec to ready, by the monotonic clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_ms: Option<f64>,
    /// No unit may be started that would end after this, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The machine.
    pub hardware: Hardware,
    /// Files that tell more.
    #[serde(default)]
    pub artifacts: Artifacts,
    /// What was executed, with the real port, redacted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub launched_argv: Vec<String>,
    /// Facts in the log by the time the server was ready: `kv_cache_tokens`, `model_load_s`, ….
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub facts: Members,
    /// The first start of this model on this host by this bench-serve: files had to come from disk.
    #[serde(default)]
    pub cold: bool,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// The engine says that it simulates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerAddress {
    /// `http://127.0.0.1:PORT`, without a trailing slash.
    pub base_url: String,
    /// The model's id, as `/v1/models` lists it.
    pub model_id: String,
    /// Path of the lease's Unix socket; absent for a server without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// `same_host`.
    pub reached_by: ReachedBy,
}

/// Paths of artifacts by role (`server_log`), relative to the folder that the sweep writes.
pub type Artifacts = BTreeMap<String, String>;

/// A `server_end` row. For a candidate that never became ready it contains the candidate row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerEnd {
    /// The start that ended; new for a start that failed.
    pub server_id: String,
    /// Its candidate.
    pub candidate_id: String,
    /// `ok` when the server lived until its lease was given back.
    pub status: Status,
    /// Finer than `status`.
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
    /// What the preflight found (`--smoke`): a smoke test, not a benchmark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoke: Option<Smoke>,
    /// What its GPUs did while it was leased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuSummary>,
    /// Facts in its log until its end.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub facts: Members,
    /// The states that it went through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<LifecycleStage>,
    /// Files that tell more.
    #[serde(default)]
    pub artifacts: Artifacts,
    /// RFC 3339, UTC.
    pub ended_at: String,
}

/// A state of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Port, GPUs and folders are checked.
    Preflight,
    /// The command was executed.
    Starting,
    /// Its endpoint is asked again and again.
    Probing,
    /// Its row was written; its lease is not taken yet.
    Ready,
    /// A client holds its lease, or the chained program runs.
    Leased,
    /// Something is wrong: what is there is stopped.
    Failed,
    /// The stop ladder.
    Stopping,
    /// No process, port or GPU memory is held any more.
    Released,
}

/// A state and when it was entered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LifecycleStage {
    /// The state.
    pub state: ServerState,
    /// When, ms from the beginning of the first.
    pub at_ms: f64,
    /// How long it may last, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<f64>,
}

/// A smoke test of one server: its model is listed, one streamed request and five that come whole were sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Smoke {
    /// The model's id as listed.
    pub model_id: String,
    /// From sending to the first token of the streamed request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Requests sent.
    pub requests: u32,
    /// Those that were answered with a token.
    pub ok: u32,
    /// Why others were not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// How a server was stopped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stop {
    /// Time given between SIGTERM and SIGKILL.
    pub grace_ms: u64,
    /// Time from SIGTERM until no process was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<f64>,
    /// Processes that needed SIGKILL: `pid name`.
    #[serde(default)]
    pub killed: Vec<String>,
    /// Processes that are still there: `pid name`.
    #[serde(default)]
    pub survivors: Vec<String>,
    /// What was not given back in time: `GPU 0: 29000 MiB`, `port 8000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
}

/// What GPUs did while a server was leased, one sample a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuSummary {
    /// Samples taken.
    pub samples: u32,
    /// Each GPU.
    pub devices: Vec<GpuDevice>,
    /// Power of all GPUs together over time: Unix time in ms, W.
    #[serde(default)]
    pub power: Vec<(u64, f64)>,
}

/// One GPU while a server was leased. What the probe does not know is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GpuDevice {
    /// Unique id.
    pub uuid: String,
    /// As the driver names it.
    pub name: String,
    /// Most memory in use, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_used_max_mib: Option<f64>,
    /// Memory in all, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_total_mib: Option<f64>,
    /// Mean utilisation, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilization_mean: Option<f64>,
    /// Mean power, W.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mean_w: Option<f64>,
    /// Lowest SM clock, MHz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_min_mhz: Option<f64>,
    /// Highest temperature, degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_max_c: Option<f64>,
    /// Share of the samples in which heat or the power supply slowed it down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_share: Option<f64>,
}
