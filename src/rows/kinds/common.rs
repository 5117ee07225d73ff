//! Blocks that several row kinds share.

use serde::{Deserialize, Serialize};

use crate::rows::words::{Arrivals, LoadMode};

/// A JSON object with any members.
pub type Members = serde_json::Map<String, serde_json::Value>;

/// The machine that the server runs on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hardware {
    /// As named by the plan or the driver: `H100`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_model: Option<String>,
    /// Number of GPUs: in a plan the budget, in a result those that the candidate uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_count: Option<u32>,
    /// `CUDA_VISIBLE_DEVICES` or the equivalent, as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_devices: Option<String>,
    /// UUIDs of the GPUs in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_uuids: Vec<String>,
    /// A server may use GPUs of more than one host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multi_node: bool,
    /// Driver version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The node that it was measured on: `BENCH_NODE`, else what Slurm calls it, else the name of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Hardware {
    /// The GPUs that a server gets, `0,1`: the named ones, otherwise the first ones of the host; `None` for a server
    /// without GPUs.
    #[must_use]
    pub fn devices(&self) -> Option<String> {
        let first = |count: u32| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        match (self.gpu_count, &self.visible_devices) {
            (Some(0), _) => None,
            (_, Some(named)) => Some(named.clone()),
            (count, None) => count.map(first),
        }
    }
}

/// The part of a host that a server gets, where several are measured at the same time (`bench-serve --slots`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Slot {
    /// All slots: `0-3,4-7`.
    pub slots: String,
    /// How many of them there are.
    pub of: usize,
    /// Which of them, from 0; absent for a server that has the GPUs of all slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// Its GPUs, `4,5,6,7`; absent for an engine on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<String>,
    /// Its CPUs, `32-63`; absent if it may use all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// No other server runs meanwhile.
    pub alone: bool,
}

/// One load point, or a search for one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Load {
    /// How requests arrive.
    pub mode: LoadMode,
    /// Open loop: mean requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Closed loop: number of requests in flight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Open loop: maximum number of requests in flight; a request that comes due above it is dropped and counts as
    /// failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<u32>,
    /// Open loop: `constant`, `gamma:SHAPE`, `linear:FROM`, `exponential:FROM` (a ramp from that rate), `trace` (the
    /// timestamps of the dataset); absent: a Poisson process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// Open loop without `rate`: search for the highest rate that meets the SLA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qps: Option<Qps>,
    /// Closed loop without `concurrency`: search the highest number of requests in flight that meets the SLA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Users>,
    /// The first of two stages: a few short runs that compare the candidate with the best one of its framework, instead of a search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub screen: bool,
}

impl Load {
    /// True of a search: it has no load of its own.
    #[must_use]
    pub fn is_search(&self) -> bool {
        self.qps.is_some() && self.rate.is_none() || self.users.is_some() && self.concurrency.is_none()
    }
}

/// The range of a rate search, requests per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Qps {
    /// Lowest rate to try.
    pub lower: f64,
    /// Highest rate to try.
    pub upper: f64,
    /// Stop when the bracket is this narrow; a bracket of 5 % is always narrow enough.
    pub tolerance: f64,
    /// Maximum number of bisection steps.
    pub max_rounds: u32,
    /// Maximum number of runs.
    #[serde(default = "max_probes")]
    pub max_probes: u32,
    /// Begin at the best rate of the candidates before, and end the search if that fails twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
}

/// The bracket of a search for the highest number of requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Users {
    /// Lowest number tried.
    pub lower: u32,
    /// Highest number tried.
    pub upper: u32,
    /// Maximum number of bisection steps.
    pub max_rounds: u32,
    /// Maximum number of runs.
    #[serde(default = "max_probes")]
    pub max_probes: u32,
    /// Begin at the best number of the candidates before, and search no further where that fails twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
}

/// Default maximum number of runs of one search.
pub const MAX_PROBES: u32 = 20;

fn max_probes() -> u32 {
    MAX_PROBES
}

/// How a process ended: one of the two is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessExit {
    /// Exit status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}
