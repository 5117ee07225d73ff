//! Generates the JSON Schemas in `configs/schemas/` from the row types. `BLESS=1` rewrites them.
#![cfg(test)]

use std::fs;
use std::path::Path;

use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

use super::{
    Candidate, Check, DecisionRow, DoctorRow, Native, NodeRow, PlanRow, Progress, Request, ResultRow, Run, RunEnd,
    SearchEnd, Server, ServerEnd,
};

/// The JSON Schema of every row kind, by the value of `record`.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        of::<PlanRow>("plan"),
        of::<Candidate>("candidate"),
        of::<Server>("server"),
        of::<ServerEnd>("server_end"),
        of::<Run>("run"),
        of::<Request>("request"),
        of::<RunEnd>("run_end"),
        of::<SearchEnd>("search_end"),
        of::<Check>("check"),
        of::<Native>("native"),
        of::<ResultRow>("result"),
        of::<NodeRow>("node"),
        of::<DecisionRow>("decision"),
        of::<Progress>("progress"),
        of::<DoctorRow>("doctor"),
    ]
}

fn of<T: JsonSchema>(record: &'static str) -> (&'static str, Value) {
    let mut schema = schema_for!(T).to_value();
    let properties = schema["properties"].as_object_mut().unwrap();
    properties.insert("schema_version".into(), json!({"const": crate::rows::row::SCHEMA_VERSION}));
    properties.insert("record".into(), json!({"const": record}));
    let required = schema.as_object_mut().unwrap().entry("required").or_insert_with(|| json!([]));
    let required = required.as_array_mut().unwrap();
    required.insert(0, "record".into());
    required.insert(0, "schema_version".into());
    (record, schema)
}

#[test]
fn schemas_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/schemas");
    let mut stale = Vec::new();
    for (record, schema) in all() {
        let path = folder.join(format!("{record}.schema.json"));
        let text = format!("{schema:#}\n");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(record);
        }
    }
    assert!(stale.is_empty(), "out of date: {stale:?}; run the tests once with BLESS=1");
}
