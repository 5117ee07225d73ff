//! The JSON Schemas in `configs/schemas/` are those of the types. `BLESS=1` rewrites them.

use std::fs;

use serving_bench::rows::kinds;

use crate::harness::root;

/// The schema of one row kind, compiled.
pub fn validator(record: &str) -> jsonschema::Validator {
    let (_, schema) = kinds::all().into_iter().find(|(name, _)| *name == record).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn schemas_are_current() {
    let folder = root().join("configs/schemas");
    let mut stale = Vec::new();
    for (record, schema) in kinds::all() {
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

#[test]
fn a_schema_refuses_what_its_type_refuses() {
    let run_end = serde_json::json!({
        "schema_version": 1, "record": "run_end", "run_id": "r", "status": "ok", "duration_s": 1.0,
        "client": {"saturated": false}, "ended_at": "2026-01-01T00:00:00Z", "unknown": true,
    });
    let validator = validator("run_end");
    assert!(validator.is_valid(&run_end));
    for (key, value) in [("status", "fine".into()), ("record", "run".into()), ("duration_s", serde_json::Value::Null)] {
        let mut wrong = run_end.clone();
        wrong[key] = value;
        assert!(!validator.is_valid(&wrong), "{key}");
    }
}
