//! The types of the rows. `configs/schemas/` holds their JSON Schemas, generated from here and held by a test.
//!
//! A typed row is a view: it names the members that its owner sets. Members that it does not name stay in the row.

mod arrivals;
mod candidate;
mod common;
mod plan;
mod request;
mod result;
mod run;
mod scenario;
mod server;
mod words;

pub use arrivals::Arrivals;
pub use candidate::{Benchmark, Candidate, CandidateServer, LauncherStep, Search, Unit, ValidatedFlags};
pub use common::{CachePolicy, Exit, Hardware, Load, LoadMode, MAX_PROBES, Members, Qps, Status};
pub use plan::{Checked, FlagCheck, Plan, PlanFile, Rejection, Substitution, Verdicts};
pub use request::{Request, RequestStatus, TokenSource};
pub use result::{
    NativeBlock, NativeField, Quality, ResultRow, RunBlock, SearchBlock, SlaTest, Spread, Stability, Tried, Verdict,
    WorkloadBlock,
};
pub use run::{Client, ClientHealth, Connections, Histograms, Native, Run, RunEnd, SearchEnd, Shard, Workload};
pub use scenario::{Dataset, Scenario, SharedPrefix};
pub use server::{Artifacts, Endpoint, GpuDevice, GpuSummary, Server, ServerEnd, Smoke, Stage, State, Stop};
pub use words::{ENDPOINTS, PHASES, WAYS};

use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

/// The JSON Schema of every row kind, by the value of `record`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        of::<Plan>("plan"),
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
    properties.insert("schema_version".into(), json!({"const": crate::row::SCHEMA_VERSION}));
    properties.insert("record".into(), json!({"const": record}));
    let required =
        schema.as_object_mut().expect("a schema is an object").entry("required").or_insert_with(|| json!([]));
    let required = required.as_array_mut().expect("`required` is an array");
    required.insert(0, "record".into());
    required.insert(0, "schema_version".into());
    (record, schema)
}
