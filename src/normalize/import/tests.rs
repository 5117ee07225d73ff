use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn fixtures(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => fixtures(&path, found),
            false => found.push(path),
        }
    }
}

/// All contents of known formats in the fixtures.
fn contents() -> Vec<Value> {
    let mut paths = Vec::new();
    fixtures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/native"), &mut paths);
    paths.sort();
    let text = |path: &PathBuf| crate::rows::jsonl::quote_bare(&fs::read_to_string(path).unwrap());
    let first = |path: &PathBuf| -> Option<Value> {
        let text = text(path);
        serde_json::from_str(&text).ok().or_else(|| serde_json::from_str(text.lines().next()?).ok())
    };
    paths.iter().filter_map(first).filter(|content| ImportFormat::of(content).is_some()).collect()
}

/// Some place in a value; the number selects the path.
fn somewhere(value: &mut Value, mut pick: usize) -> &mut Value {
    let n = match value {
        Value::Object(members) => members.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if n == 0 || pick.is_multiple_of(7) {
        return value;
    }
    let at = pick % n;
    pick /= n;
    match value {
        Value::Object(members) => somewhere(members.values_mut().nth(at).unwrap(), pick),
        Value::Array(items) => somewhere(&mut items[at], pick),
        other => other,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([1e308, -1, null, "NaN"])),
        Just(json!("Infinity")),
    ]
}

#[test]
fn what_no_client_measures_is_no_number() {
    type Change = fn(&str, f64) -> Value;
    let changes: [Change; 4] = [
        |place, x| if place.contains("tt") || place.contains("lat") { json!(-x) } else { json!(x) },
        |place, x| if place.contains("itl") || place.contains("lat") { json!(0) } else { json!(x) },
        |place, x| if place.contains("lat") || place.contains("e2e") { json!("NaN") } else { json!(x) },
        |_, x| json!(-x),
    ];
    fn change(value: &mut Value, place: &str, how: Change) {
        match value {
            Value::Number(number) => *value = how(place, number.as_f64().unwrap()),
            Value::Array(items) => items.iter_mut().for_each(|item| change(item, place, how)),
            Value::Object(members) => members.iter_mut().for_each(|(key, item)| change(item, key, how)),
            _ => {}
        }
    }
    for content in contents() {
        let format = ImportFormat::of(&content).unwrap();
        for how in changes {
            let mut content = content.clone();
            change(&mut content, "", how);
            for found in results(format, &content, &ImportOverrides::default()).unwrap_or_default() {
                for (name, value) in &found.row.metrics {
                    let latency = ["ttft", "tpot", "itl", "e2e"].iter().any(|word| name.contains(word));
                    let possible = value.is_none_or(|value| value > 0.0 || (value == 0.0 && !latency));
                    assert!(possible, "{}: {name} {value:?}", format.name);
                }
            }
        }
    }
}

#[test]
fn counted_failures_did_happen() {
    let content = json!({"endpoint_type": "vllm", "completed": 8, "failed": 3, "num_prompts": 8, "duration": 2.0,
        "total_output_tokens": 80, "output_throughput": 40.0, "request_throughput": 4.0});
    let format = ImportFormat::of(&content).unwrap();
    let found = results(format, &content, &ImportOverrides::default()).unwrap();
    assert_eq!(found[0].row.metrics["failed"], Some(3.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_damage_to_a_result_panics_or_gives_a_number_that_is_none(
        which: prop::sample::Index, changes in prop::collection::vec((any::<usize>(), any_value()), 1..6),
    ) {
        static ALL: std::sync::LazyLock<Vec<Value>> = std::sync::LazyLock::new(contents);
        let mut content = ALL[which.index(ALL.len())].clone();
        for (pick, value) in changes {
            *somewhere(&mut content, pick) = value;
        }
        let Some(format) = ImportFormat::of(&content) else { return Ok(()) };
        let set = vec![("sla/max_p99_ttft_ms".to_string(), json!(100))];
        for ImportedResult { row, .. } in results(format, &content, &ImportOverrides { set, ..ImportOverrides::default() }).unwrap_or_default() {
            prop_assert!(row.metrics.values().flatten().all(|value| value.is_finite()), "{:?}", row.metrics);
        }
    }
}

#[test]
fn a_throughput_that_its_counts_contradict_is_made_again() {
    let mut file = json!({
        "date": "20261128-000000", "endpoint_type": "vllm", "model_id": "m", "num_prompts": 100, "completed": 100,
        "failed": 0, "duration": 20.0, "total_input_tokens": 1000, "total_output_tokens": 2000, "request_throughput": 50.0,
        "output_throughput": 100.0, "total_token_throughput": 150.004, "mean_ttft_ms": 5.0, "latencies": [],
    });
    let read = |file: &Value| {
        let format = ImportFormat::of(file).unwrap();
        results(format, file, &ImportOverrides::default()).unwrap().remove(0).row
    };
    let row = read(&file);
    let get = |row: &ResultRow, name: &str| row.metrics[name];
    assert_eq!((get(&row, "request_throughput"), get(&row, "output_token_throughput")), (Some(5.0), Some(100.0)));
    assert_eq!(get(&row, "total_token_throughput"), Some(150.004), "rounded");
    assert_eq!(row.quality.contradicted.len(), 1, "{:?}", row.quality.contradicted);
    assert!(row.quality.contradicted[0].contains("50"), "{:?}", row.quality.contradicted);
    file["request_throughput"] = json!(5.0);
    assert!(read(&file).quality.contradicted.is_empty());
}
