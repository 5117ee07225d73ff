//! The types of the rows. `configs/schemas/` holds their JSON Schemas, generated from here and held by a test.
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

use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

/// The JSON Schema of every row kind, by the value of `record`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        of::<PlanRow>("plan"),
        of::<Candidate>("candidate"),
        of::<Server>("server"),
        of::<ServerEnd>("server_end"),
        of::<Run>("run"),
        of::<Request>("request"),
        of::<RunEnd>("run_end"),
        of::<SearchEnd>("search_end"),
        of::<Native>("native"),
        of::<ResultRow>("result"),
    ]
}

fn of<T: JsonSchema>(record: &'static str) -> (&'static str, Value) {
    let mut schema = schema_for!(T).to_value();
    let properties = schema["properties"].as_object_mut().expect("a row is an object with properties");
    properties.insert("schema_version".into(), json!({"const": super::row::SCHEMA_VERSION}));
    properties.insert("record".into(), json!({"const": record}));
    let required =
        schema.as_object_mut().expect("a schema is an object").entry("required").or_insert_with(|| json!([]));
    let required = required.as_array_mut().expect("`required` is an array");
    required.insert(0, "record".into());
    required.insert(0, "schema_version".into());
    (record, schema)
}
