//! The JSON Schemas in `configs/schemas/`, which hold what the programs write. A test of `src/schema` generates them.

use std::fs;

use serving_bench::base::yaml;
use serving_bench::engines::framework::Frameworks;

use crate::harness::{program, root, run};

/// The schema of one row kind, compiled.
pub fn validator(record: &str) -> jsonschema::Validator {
    let path = root().join(format!("configs/schemas/{record}.schema.json"));
    let schema = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// Plans that validate are valid for an editor too: those that are shipped, and those that bench-validate writes.
#[test]
fn shipped_and_new_plans_fit_the_schema_of_a_plan_file() {
    let validator = validator("plan-file");
    let check = |text: &str, name: &str| {
        let plan = yaml::load(text, name).unwrap().value;
        let wrong: Vec<String> =
            validator.iter_errors(&plan).map(|e| format!("{name}: {}: {e}", e.instance_path())).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    let mut n = 0;
    for folder in ["configs", "configs/cookbook-llm"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "yaml") {
                check(&fs::read_to_string(&path).unwrap(), &path.display().to_string());
                n += 1;
            }
        }
    }
    assert!(n > 50, "{n}");
    for framework in Frameworks::load(&[], &[]).unwrap().iter() {
        let arguments = ["--new", "m", "--gpus", "2", "--frameworks", &framework.name];
        check(&run(program("bench-validate").args(arguments), "").expect(0).stdout, &framework.name);
    }
}

#[test]
fn the_schema_of_a_plan_file_refuses_what_bench_validate_refuses() {
    let validator = validator("plan-file");
    let plan = serde_json::json!({"model": "m", "frameworks": {"sim": {}}});
    assert!(validator.is_valid(&plan));
    for (section, key, value) in [
        ("hardware", "gpu_count", "4".into()),
        ("hardware", "gpus", 4.into()),
        ("benchmark", "endpoint", "/v2".into()),
        ("sla", "ttft_p99", 2000.into()),
        ("sla", "min_success_rate", 99.into()),
        ("search", "strategy", "orderd".into()),
    ] {
        let mut wrong = plan.clone();
        wrong[section] = serde_json::json!({});
        wrong[section][key] = value;
        assert!(!validator.is_valid(&wrong), "{key}");
    }
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
