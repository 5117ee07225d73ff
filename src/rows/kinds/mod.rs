//! The types of the rows. `configs/schemas/` holds their JSON Schemas, which a test generates from here and holds:
//! `json` is compiled for tests only.
//!
//! A typed row is a view: it names the members that its owner sets. Members that it does not name stay in the row.

mod candidate;
mod common;
mod plan;
mod request;
mod result;
mod run;
mod scenario;
mod server;

pub use self::candidate::{Benchmark, Candidate, CandidateServer, LauncherStep, SearchPosition, Unit, ValidatedFlags};
pub use self::common::{CachePolicy, Hardware, Load, MAX_PROBES, Members, ProcessExit, Qps};
pub use self::plan::{FlagCheck, PlanCheck, PlanFile, PlanRow, Rejection, Substitution, Verdicts};
pub use self::request::{Request, TokenSource};
pub use self::result::{
    CandidateBlock, NativeBlock, NativeField, Quality, ResultRow, RunBlock, SearchBlock, SlaTest, Spread, Stability,
    WorkloadBlock,
};
pub use self::run::{
    ClientHealth, ClientInfo, Connections, Histograms, Native, Run, RunEnd, SearchEnd, Shard, Workload,
};
pub use self::scenario::{Dataset, Scenario, SharedPrefix};
pub use self::server::{
    Artifacts, GpuDevice, GpuSummary, LifecycleStage, Server, ServerAddress, ServerEnd, ServerState, Smoke, Stop,
};

pub use super::words::{LoadMode, RequestStatus, Status, Verdict};

#[cfg(test)]
mod json;
