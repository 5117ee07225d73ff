//! The JSON Schemas in `configs/schemas/`, which hold what the programs write. A test of `src/schema` generates them.

use std::fs;

use crate::harness::root;

/// The schema of one row kind, compiled.
pub fn validator(record: &str) -> jsonschema::Validator {
    let path = root().join(format!("configs/schemas/{record}.schema.json"));
    let schema = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
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
