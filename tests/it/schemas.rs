//! The JSON Schemas in `configs/schemas/`, which hold what the programs write. A test of `src/schema` generates them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
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

/// Where the words of an enum are in rows of one kind: pointers, with `*` for any member or item, and the enum's name.
fn words(schema: &Value, at: &Value, pointer: &str, found: &mut Vec<(String, String)>) {
    let Some(members) = at.as_object() else { return };
    let of_enum = |at: &Value| {
        let one_of = at["oneOf"].as_array().is_some_and(|all| all.iter().any(|one| one.get("const").is_some()));
        one_of || at.get("enum").is_some() || at["pattern"].as_str().is_some_and(|p| p.starts_with("^(poisson"))
    };
    if of_enum(at) {
        found.push((pointer.into(), "arrivals".into()));
    }
    if let Some(name) = at["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        let target = &schema["$defs"][name];
        match of_enum(target) {
            true => found.push((pointer.into(), name.into())),
            false => words(schema, target, pointer, found),
        }
    }
    for (key, part) in members {
        match key.as_str() {
            "properties" => {
                for (name, part) in part.as_object().unwrap() {
                    words(schema, part, &format!("{pointer}/{name}"), found);
                }
            }
            "items" | "additionalProperties" => words(schema, part, &format!("{pointer}/*"), found),
            "anyOf" => part.as_array().unwrap().iter().for_each(|part| words(schema, part, pointer, found)),
            _ => {}
        }
    }
}

/// Replaces or adds the word at the first place that fits; false if the row does not have one.
fn replace(row: &mut Value, pointer: &str) -> bool {
    let Some((key, rest)) = pointer.strip_prefix('/').map(|p| p.split_once('/').unwrap_or((p, ""))) else {
        let is_word = row.is_string();
        if is_word {
            *row = "nope".into();
        }
        return is_word;
    };
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    match (key, row) {
        ("*", Value::Array(items)) => items.iter_mut().any(|item| replace(item, &rest)),
        ("*", Value::Object(members)) => members.values_mut().any(|member| replace(member, &rest)),
        // A last member that is missing is optional: it is added.
        (_, Value::Object(members)) if rest.is_empty() && members.get(key).is_none_or(Value::is_null) => {
            members.insert(key.into(), "nope".into());
            true
        }
        (_, Value::Object(members)) => members.get_mut(key).is_some_and(|member| replace(member, &rest)),
        _ => false,
    }
}

/// Every row of the cases that is a valid row of its kind, without duplicates.
pub fn rows_of_the_cases() -> Vec<Value> {
    let mut lines = BTreeSet::new();
    for program in fs::read_dir(root().join("tests/it/cases")).unwrap() {
        for case in fs::read_dir(program.unwrap().path()).unwrap().map(|case| case.unwrap().path()) {
            for file in ["stdin", "stdout"].map(|name| case.join(name)).iter().filter(|file| file.is_file()) {
                let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
                lines.extend(text.lines().filter(|line| line.contains("\"record\"")).map(String::from));
            }
        }
    }
    let rows: Vec<Value> = lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // No case has a server that answers questions.
    let mut checked: Vec<Value> = rows.iter().filter(|row| row["record"] == "candidate").take(9).cloned().collect();
    for candidate in &mut checked {
        candidate["check"] = serde_json::json!({"candidates": "all", "questions": 200, "max_tokens": 64});
    }
    // Nor one that drafts tokens.
    let whole = |row: &&Value| row["record"] == "result" && row["quality"]["percentile_method"].is_string();
    let mut drafted: Vec<Value> = rows.iter().filter(whole).take(9).cloned().collect();
    for result in &mut drafted {
        result["quality"]["drafts"] = serde_json::json!({"verdict": "forced", "forced_acceptance_length": 2.8});
    }
    // Kinds and members that no case has.
    let more = [
        serde_json::json!({"schema_version": 1, "record": "search_end", "server_id": "s", "scenario": "chat", "probes": 3,
            "reason": "resolved"}),
        serde_json::json!({"schema_version": 1, "record": "server_end", "server_id": "s", "candidate_id": "c",
            "status": "ok", "ended_at": "2026-01-01T00:00:00Z", "lifecycle": [{"state": "ready", "at_ms": 1.0}]}),
        serde_json::json!({"schema_version": 1, "record": "check", "server_id": "s", "part": "answers", "reference_key": "k",
            "questions_sha256": "q", "endpoint": "/v1/chat/completions", "in_flight": 8, "seed": 1, "max_tokens": 64, "asked": 1,
            "outcomes": "+", "duration_s": 1.0, "verdict": "same"}),
    ];
    rows.into_iter()
        .chain(checked)
        .chain(drafted)
        .chain(more)
        .filter(|row| row["record"].as_str().is_some_and(|kind| KINDS.contains(&kind)))
        .collect()
}

pub const KINDS: [&str; 10] =
    ["candidate", "server", "server_end", "run", "request", "run_end", "search_end", "check", "result", "native"];

/// The lines of a file of these rows that `bench-validate --rows` refuses, with the messages.
fn refused(rows: &[Value]) -> BTreeMap<usize, String> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let done = run(program("bench-validate").args(["--rows", "-"]), &text);
    let lines = done.stderr.lines().filter_map(|line| line.strip_prefix("stdin:"));
    lines.filter_map(|line| line.split_once(": ")).map(|(n, why)| (n.parse().unwrap(), why.into())).collect()
}

#[test]
fn an_unknown_word_of_any_enum_is_refused_with_its_place() {
    let rows = rows_of_the_cases();
    let invalid = refused(&rows);
    let valid: Vec<Value> =
        rows.into_iter().enumerate().filter(|(i, _)| !invalid.contains_key(&(i + 1))).map(|(_, row)| row).collect();
    let (mut wrong, mut expected, mut all, mut tried) = (Vec::new(), Vec::new(), BTreeSet::new(), BTreeSet::new());
    for kind in KINDS {
        let path = root().join(format!("configs/schemas/{kind}.schema.json"));
        let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut places = Vec::new();
        words(&schema, &schema, "", &mut places);
        assert!(!places.is_empty(), "{kind}");
        for (pointer, name) in places {
            all.insert(name.clone());
            let mut of_kind = valid.iter().filter(|row| row["record"] == kind);
            let row = of_kind.find_map(|row| {
                let mut row = row.clone();
                replace(&mut row, &pointer).then_some(row)
            });
            if let Some(row) = row {
                wrong.push(row);
                expected.push((kind, pointer));
                tried.insert(name);
            }
        }
    }
    let why = refused(&wrong);
    for (i, (kind, pointer)) in expected.iter().enumerate() {
        let why = why.get(&(i + 1)).unwrap_or_else(|| panic!("{kind} {pointer}: {}", wrong[i]));
        let key = pointer.rsplit('/').find(|key| *key != "*").unwrap();
        assert!(why.contains("unknown") && why.contains("\"nope\"") && why.contains(key), "{kind} {pointer}: {why}");
    }
    assert_eq!(tried, all, "no row of the cases has a word of these");
}
