//! A secret in each text of each kind of row, by the schemas, and in each text of other clients' results: none may come out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use serving_bench::base::redact;
use serving_bench::normalize::import::ImportOverrides;
use serving_bench::programs::import;
use serving_bench::rows::jsonl::{RowWriter, is_own, quote_bare};
use serving_bench::rows::row::Row;

use crate::harness::{json_lines, program, root, run, scratch};
use crate::schemas::{KINDS, rows_of_the_cases};

/// A value that is known as a secret, and one that looks like one, put together here so that it is not in the repository.
const KNOWN: &str = "quietharbour";
const SHAPE: [&str; 2] = ["hf_", "Zq7Zq7Zq7Zq7Zq7Zq7Zq7Zq7Zq7Z"];

fn planted() -> String {
    format!("a {KNOWN} b {} c", SHAPE.concat())
}

/// The places of texts that may be anything, as pointers with `*` for a member or an item of any name.
fn texts(schema: &Value, at: &Value, pointer: &str, within: &[&str], found: &mut BTreeSet<String>) {
    let Some(members) = at.as_object() else { return };
    if let Some(name) = at["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"))
        && !within.contains(&name)
    {
        let within: Vec<&str> = within.iter().copied().chain([name]).collect();
        texts(schema, &schema["$defs"][name], pointer, &within, found);
    }
    let kinds = match &at["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let is_fixed = ["enum", "const", "pattern"].iter().any(|key| members.contains_key(*key));
    if kinds.iter().any(|kind| kind == "string") && !is_fixed {
        found.insert(pointer.into());
    }
    for (key, part) in members {
        match key.as_str() {
            "properties" => {
                for (name, part) in part.as_object().unwrap() {
                    texts(schema, part, &format!("{pointer}/{name}"), within, found);
                }
            }
            "additionalProperties" if part == true => {
                found.insert(format!("{pointer}/*"));
            }
            "items" | "additionalProperties" => texts(schema, part, &format!("{pointer}/*"), within, found),
            "anyOf" | "oneOf" => {
                part.as_array().unwrap().iter().for_each(|part| texts(schema, part, pointer, within, found));
            }
            _ => {}
        }
    }
}

fn places(kind: &str) -> BTreeSet<String> {
    let path = root().join(format!("configs/schemas/{kind}.schema.json"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut found = BTreeSet::new();
    texts(&schema, &schema, "", &[], &mut found);
    assert!(!found.is_empty(), "{kind}");
    found
}

/// Puts the text at a place, with what is missing on the way.
fn plant(row: &mut Value, pointer: &str, text: &str) {
    let Some((key, rest)) = pointer.strip_prefix('/').map(|p| p.split_once('/').unwrap_or((p, ""))) else {
        *row = text.into();
        return;
    };
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    match (key, &mut *row) {
        ("*", Value::Array(items)) => {
            if items.is_empty() {
                items.push(Value::Null);
            }
            plant(&mut items[0], &rest, text);
        }
        ("*", Value::Object(members)) => plant(members.entry("planted").or_insert(Value::Null), &rest, text),
        ("*", other) => {
            *other = json!({});
            plant(other, pointer, text);
        }
        (_, Value::Object(members)) => plant(members.entry(key).or_insert(Value::Null), &rest, text),
        (_, other) => {
            *other = json!({});
            plant(other, pointer, text);
        }
    }
}

/// For each place a row of that kind with the text there.
fn rows_with_plants(kind: &str) -> Vec<(String, Value)> {
    let all = rows_of_the_cases();
    let of_kind: Vec<&Value> = all.iter().filter(|row| row["record"] == kind).collect();
    let mut rows = Vec::new();
    for place in places(kind) {
        // A row that has most of the way already.
        let steps: Vec<&str> = place.split('/').skip(1).take_while(|step| *step != "*").collect();
        let depth = |row: &Value| {
            let mut at = Some(row);
            steps
                .iter()
                .take_while(|step| {
                    at = at.and_then(|at| at.get(**step));
                    at.is_some()
                })
                .count()
        };
        let mut row = (*of_kind.iter().max_by_key(|row| depth(row)).unwrap()).clone();
        plant(&mut row, &place, &planted());
        rows.push((place, row));
    }
    rows
}

#[track_caller]
fn clean(text: &str, place: &str) {
    for secret in [KNOWN, &SHAPE.concat()] {
        let line = text.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{place}: {secret} comes out:\n{}", line.unwrap_or_default());
    }
}

#[test]
fn no_text_of_a_row_brings_out_a_known_secret() {
    redact::hide([KNOWN.to_string()]);
    for kind in KINDS {
        for (place, row) in rows_with_plants(kind) {
            let mut out = RowWriter::new(Vec::new());
            out.write(&Row::parse(&row.to_string()).unwrap()).unwrap();
            let written = String::from_utf8(out.into_inner()).unwrap();
            // A run in a row is a row of its own.
            let row = place.strip_prefix("/run").filter(|rest| rest.starts_with('/')).unwrap_or(&place);
            let own = row.split('/').nth(1).is_some_and(is_own) && row != "/endpoint/model_id";
            assert_eq!(written.contains(KNOWN), own, "{kind} {place}: {written}");
        }
    }
}

#[test]
fn no_text_of_a_result_comes_out_in_a_report() {
    let folder = scratch();
    let rows = rows_with_plants("result");
    let mut file = String::new();
    for (i, (place, row)) in rows.iter().enumerate() {
        let mut row = row.clone();
        // Each in a ranking of its own, and one that failed.
        for (scenario, status) in [(format!("s{i}"), "ok"), (format!("f{i}"), "failed")] {
            if place != "/workload/scenario" {
                row["workload"]["scenario"] = scenario.as_str().into();
            }
            row["status"] = status.into();
            writeln!(file, "{row}").unwrap();
        }
    }
    std::fs::write(folder.path().join("results.jsonl"), &file).unwrap();
    let rank = |arguments: &[&str]| {
        let mut command = program("bench-rank");
        command.args(arguments).arg("results.jsonl").current_dir(folder.path()).env("DB_PASSWORD", KNOWN);
        let done = run(&mut command, "");
        clean(&done.stderr, &format!("{arguments:?}, standard error"));
        assert!(done.stdout.len() > 2000, "{arguments:?}: {}", done.stderr);
        done.stdout
    };
    for format in ["md", "table", "csv", "html"] {
        let report = rank(&["--format", format]);
        clean(&report, format);
        // A terminal has room for a few of the rankings only.
        assert!(format == "table" || report.contains("REDACTED"), "{format}");
    }
    clean(&rank(&["--baseline", "results.jsonl"]), "--baseline");
    // Rows for programs keep what joins them.
    for row in json_lines(&rank(&["--format", "jsonl"])) {
        let (mut all, run) = (row.as_object().unwrap().clone(), row["run"].as_object().cloned());
        all.remove("run");
        for (key, value) in all.into_iter().chain(run.into_iter().flatten()) {
            assert!(is_own(&key) || !value.to_string().contains(KNOWN), "{key}: {value}");
        }
    }
}

#[test]
fn no_text_of_the_rows_of_a_run_comes_out_of_its_result() {
    let case = root().join("tests/it/cases/bench-normalize/closed-loop-counts-from-the-sending/stdin");
    let rows = json_lines(&std::fs::read_to_string(case).unwrap());
    let (mut results, mut tried) = (String::new(), 0);
    for kind in ["server", "run", "request", "run_end", "server_end", "search_end"] {
        let Some(at) = rows.iter().position(|row| row["record"] == kind) else { continue };
        for place in places(kind).into_iter().filter(|place| !place.split('/').nth(1).is_some_and(is_own)) {
            let mut rows = rows.clone();
            plant(&mut rows[at], &place, &planted());
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            let done = run(program("bench-normalize").env("DB_PASSWORD", KNOWN), &text);
            for said in [&done.stdout, &done.stderr] {
                assert!(!said.contains(KNOWN), "{kind} {place}: {said}");
            }
            results.push_str(&done.stdout);
            tried += 1;
        }
    }
    assert!(tried > 15, "{tried}");
    for format in ["md", "table", "csv", "html"] {
        let done = run(program("bench-rank").args(["--format", format]), &results);
        clean(&(done.stdout + &done.stderr), format);
    }
}

/// Every distinct place of a text in a JSON value.
fn text_places(at: &Value, pointer: &str, found: &mut BTreeSet<String>) {
    match at {
        Value::String(_) => {
            found.insert(pointer.into());
        }
        Value::Array(items) => items.iter().take(3).for_each(|item| text_places(item, &format!("{pointer}/*"), found)),
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| text_places(value, &format!("{pointer}/{key}"), found));
        }
        _ => {}
    }
}

/// Replaces the texts at a place, of all items.
fn replace_all(at: &mut Value, pointer: &str, text: &str) {
    match (pointer.strip_prefix('/').map(|p| p.split_once('/').unwrap_or((p, ""))), at) {
        (None, at @ Value::String(_)) => *at = text.into(),
        (Some((key, rest)), at) => {
            let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
            match at {
                Value::Array(items) => items.iter_mut().for_each(|item| replace_all(item, &rest, text)),
                Value::Object(members) => {
                    members.get_mut(key).into_iter().for_each(|member| replace_all(member, &rest, text));
                }
                _ => {}
            }
        }
        (None, _) => {}
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn no_text_of_another_clients_result_comes_out() {
    redact::hide([KNOWN.to_string()]);
    let overrides = ImportOverrides { name: "x".into(), ..ImportOverrides::default() };
    let (mut tried, mut read) = (0, 0);
    for path in files(&root().join("tests/fixtures/native")) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let text = quote_bare(&text);
        let contents: Vec<Value> = match serde_json::from_str(&text) {
            Ok(whole) => vec![whole],
            Err(_) => text.lines().take(3).filter_map(|line| serde_json::from_str(line).ok()).collect(),
        };
        for content in contents.iter().filter(|content| import::of(content, &overrides).is_ok()) {
            let mut places = BTreeSet::new();
            text_places(content, "", &mut places);
            read += 1;
            for place in places {
                let mut content = content.clone();
                replace_all(&mut content, &place, &planted());
                let Ok(found) = import::of(&content, &overrides) else { continue };
                tried += 1;
                for result in found {
                    let mut out = RowWriter::new(Vec::new());
                    out.write_typed("result", &result.row).unwrap();
                    clean(&String::from_utf8(out.into_inner()).unwrap(), &format!("{} {place}", path.display()));
                }
            }
        }
    }
    assert!(read > 20 && tried > 200, "{read} {tried}");
}
