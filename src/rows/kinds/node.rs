//! `node`: what a node of a sweep is, and how fast it measured a fixed load.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A `node` row: the calibration of one node. Each framework's baseline ran at one fixed load, the same on every node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeRow {
    /// Its name: `BENCH_NODE`, else what Slurm calls it, else the name of the host.
    pub node: String,
    /// Its GPUs that were used.
    #[serde(default)]
    pub gpus: Vec<NodeGpu>,
    /// Driver version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// What it measured, by framework.
    #[serde(default)]
    pub figures: BTreeMap<String, NodeFigure>,
    /// How much servers in slots disturbed each other, by framework.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<SlotCheck>,
    /// The units that this row completes.
    #[serde(default)]
    pub units: Vec<String>,
}

/// A GPU of a node during its calibration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeGpu {
    /// Unique id.
    pub uuid: String,
    /// SM clock when the server was ready, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_before_mhz: Option<f64>,
    /// SM clock under the last of the load, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_after_mhz: Option<f64>,
    /// Share of samples in which heat or the power supply slowed it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_share: Option<f64>,
}

/// What a node measured of one framework's baseline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NodeFigure {
    /// The baseline.
    pub candidate_id: String,
    /// The scenario.
    pub scenario: String,
    /// Requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Requests per second; null if it failed.
    pub request_throughput: Option<f64>,
    /// Mean E2E, ms; null if it failed.
    pub mean_e2e_ms: Option<f64>,
    /// Digest of the container image, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Why there is no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Start of the run, RFC 3339; of several the latest counts.
    #[serde(default)]
    pub started_at: String,
}

/// How much servers in slots disturbed each other: a framework's baseline alone, and the same in every slot at the same time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SlotCheck {
    /// All slots: `0-3,4-7`.
    pub slots: String,
    /// The framework.
    pub framework: String,
    /// Its baseline.
    pub candidate_id: String,
    /// The scenario.
    pub scenario: String,
    /// Requests in flight on each server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// How each metric changed, in the slot where it is worst.
    #[serde(default)]
    pub metrics: BTreeMap<String, SlotChange>,
    /// Why the check says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Start of its last run, RFC 3339; of several checks the latest counts.
    #[serde(default)]
    pub started_at: String,
}

/// A metric of a server alone, and of the same beside others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SlotChange {
    /// Mean of the runs alone, in the metric's unit.
    pub alone: f64,
    /// Mean of the runs beside others.
    pub beside: f64,
    /// Share by which it is worse beside others, 0.05 for 5 %; negative if it is better.
    pub worse: f64,
    /// Lower end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// Upper end of its 95 % interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
    /// The interval contains 0, or the change is below 2 %.
    pub within_noise: bool,
}
