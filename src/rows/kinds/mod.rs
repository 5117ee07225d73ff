//! The row types. `configs/schemas/` has their JSON Schemas, which a test generates from these types and compares; the
//! module `json` is compiled only for tests.
//!
//! A typed row is a view: it names the members that its owner sets. All other members stay in the row.

mod candidate;
mod check;
mod common;
mod decision;
mod doctor;
mod node;
mod outcomes;
mod plan;
mod progress;
mod request;
mod result;
mod run;
mod scenario;
mod server;
mod shared;
mod speculation;

pub use self::candidate::{
    Benchmark, Candidate, CandidatePosition, CandidateServer, LauncherStep, SearchPosition, Unit, ValidatedFlags,
};
pub use self::check::{
    AnswerQuality, AnswerShape, BEGINNING_TOKENS, CHECK_BEGINNINGS, CHECK_NONCES, Check, CheckSettings,
    DEFAULT_MAX_TOKENS, DEFAULT_QUESTIONS,
};
pub use self::common::{Hardware, Load, MAX_PROBES, Members, ProcessExit, Qps, Slot, Users};
pub use self::decision::DecisionRow;
pub use self::doctor::DoctorRow;
pub use self::node::{NodeFigure, NodeGpu, NodeRow, SlotChange, SlotCheck};
pub use self::outcomes::QuestionOutcomes;
pub use self::plan::{FlagCheck, PlanCheck, PlanFile, PlanRow, Rejection, Substitution, Verdicts};
pub use self::progress::Progress;
pub use self::request::Request;
pub use self::result::{
    CandidateBlock, NativeBlock, NativeField, Quality, ResultRow, RunBlock, SearchBlock, SlaTest, Spread, Stability,
    WorkloadBlock,
};
pub use self::run::{
    ClientHealth, ClientInfo, ClockOffset, Histograms, Native, Run, RunEnd, RunLength, SearchEnd, Shard, Workload,
};
pub use self::scenario::{
    Dataset, MAX_OUTPUT_TOKENS, MAX_PROMPT_TOKENS, MAX_REQUESTS, MAX_TURNS, Scenario, SharedPrefix,
};
pub use self::server::{
    Artifacts, GpuDevice, GpuSummary, LifecycleStage, Server, ServerAddress, ServerEnd, Smoke, Stop,
};
pub use self::shared::Shared;
pub use self::speculation::{DraftQuality, Speculation};

pub use super::words::{CachePolicy, Connections, LoadMode, RequestStatus, ServerState, Status, TokenSource, Verdict};

#[cfg(test)]
mod json;
