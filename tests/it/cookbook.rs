//! The plans in `configs/cookbook-llm/` are those of the table `scripts/cookbook.yaml`. `BLESS=1` (scripts/cookbook) rewrites
//! them. The table says what the facts in `tests/fixtures/cookbook.jsonl` say, but for the corrections that it lists.

mod table;
mod text;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use serving_bench::base::yaml;

use crate::harness::{program, root, run, scratch};
use table::{Correction, Entry, Table};

const START: &str = "<!-- models: scripts/cookbook writes this list -->\n";
const END: &str = "<!-- end of models -->\n";

/// The files of the folder that hold something else than the table says, and plans that it no longer has.
fn stale(table: &Table, entries: &[Entry], bless: bool) -> Vec<String> {
    let folder = root().join("configs/cookbook-llm");
    let mut stale = Vec::new();
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let (before, rest) = readme.split_once(START).expect("the mark before the list in README.md");
    let (_, after) = rest.split_once(END).expect("the mark behind the list in README.md");
    let readme = format!("{before}{START}{}{END}{after}", text::list(table, entries));
    let plans = entries.iter().map(|entry| (format!("{}.yaml", entry.id), text::plan(table, entry)));
    let files: Vec<(String, String)> = plans.chain([("README.md".into(), readme)]).collect();
    for (name, text) in &files {
        let path = folder.join(name);
        if bless {
            fs::write(&path, text).unwrap();
        }
        if fs::read_to_string(path).unwrap_or_default() != *text {
            stale.push(name.clone());
        }
    }
    for found in fs::read_dir(folder).unwrap() {
        let path = found.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let known = files.iter().any(|(known, _)| *known == name);
        // What somebody else put there is none of the table's business.
        let ours = fs::read_to_string(&path).is_ok_and(|text| text.starts_with(text::FIRST_LINE));
        match bless {
            _ if known || !ours => {}
            true => fs::remove_file(path).unwrap(),
            false => stale.push(format!("{name}, which the table does not have")),
        }
    }
    stale
}

#[test]
fn cookbook_is_current() {
    let (table, entries) = table::read();
    let ids: BTreeSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids.len(), entries.len(), "an id stands twice");
    let stale = stale(&table, &entries, std::env::var_os("BLESS").is_some());
    assert!(stale.is_empty(), "out of date: {stale:?}; run scripts/cookbook");
}

/// The plan that an entry's facts are, without what every plan has and without the frameworks that are left out.
fn expected(facts: &Value, entry: &Entry) -> Value {
    let mut frameworks = facts["frameworks"].as_object().cloned().unwrap();
    for (name, _) in &entry.left_out {
        assert!(frameworks.shift_remove(name).is_some(), "{}: {name} is left out but was not in the plan", entry.id);
    }
    json!({
        "source": {"id": facts["id"]},
        "model": {"path": facts["model"], "precision": facts["precision"]},
        "hardware": {
            "gpu_model": facts["accelerator"], "gpu_count": facts["gpu_count"], "multi_node": facts["multi_node"],
        },
        "benchmark": {
            "endpoint": facts["endpoint"], "max_concurrency": facts["max_concurrency"], "qps": facts["qps"],
            "extra_request_body": facts["extra_request_body"],
        },
        "search": {"max_candidates_per_framework": facts["max_candidates_per_framework"]},
        "frameworks": frameworks,
    })
}

/// The same of a plan.
fn said(plan: &Value) -> Value {
    let mut plan = plan.clone();
    let mut leave = |part: &str, key: &str| {
        let members = plan.pointer_mut(part).and_then(Value::as_object_mut).unwrap();
        assert!(members.shift_remove(key).is_some(), "{part}/{key}");
    };
    let shared = [
        ("", "schema_version"),
        ("", "dataset"),
        ("/source", "kind"),
        ("/model", "parameters"),
        ("/model", "weights_bits"),
    ];
    let more = [("/benchmark", "sla"), ("/search", "tier"), ("/search", "strategy")];
    shared.into_iter().chain(more).for_each(|(part, key)| leave(part, key));
    plan
}

/// Every value that is no map, with its place, in order; null is nothing.
fn leaves(value: &Value, at: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (key, value) in members {
                leaves(value, &if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, found);
            }
        }
        leaf => found.push((at.into(), leaf.clone())),
    }
}

#[test]
fn every_plan_says_what_the_facts_say_but_for_listed_corrections() {
    let (table, entries) = table::read();
    let facts = fs::read_to_string(root().join("tests/fixtures/cookbook.jsonl")).unwrap();
    let facts: Vec<Value> = facts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(facts.len(), entries.len());
    for (facts, entry) in facts.iter().zip(&entries) {
        assert_eq!(facts["set"], entry.set, "{}", entry.id);
        let plan = yaml::load(&text::plan(&table, entry), &entry.id).unwrap_or_else(|e| panic!("{e}")).value;
        let (mut fact, mut plan_says) = (Vec::new(), Vec::new());
        leaves(&expected(facts, entry), "", &mut fact);
        leaves(&said(&plan), "", &mut plan_says);
        for corrected in entry.corrected.iter().chain(&entry.shared) {
            for place in corrected.places() {
                let take = |from: &mut Vec<(String, Value)>| {
                    let at = from.iter().position(|(at, _)| at == place);
                    at.map_or(Value::Null, |at| from.remove(at).1)
                };
                let (was, is) = (take(&mut fact), take(&mut plan_says));
                assert_eq!(was, corrected.was, "{}: {place}: what the facts say", entry.id);
                assert_ne!(was, is, "{}: {place} is listed as corrected and is not", entry.id);
            }
        }
        let only = |here: &[(String, Value)], there: &[(String, Value)]| -> Vec<_> {
            here.iter().filter(|leaf| !there.contains(leaf)).cloned().collect()
        };
        let (more, less) = (only(&plan_says, &fact), only(&fact, &plan_says));
        assert_eq!(more, less, "{}: differences that are not listed", entry.id);
        assert_eq!(plan_says, fact, "{}: another order", entry.id);
    }
}

#[test]
fn gpus_are_only_added_where_the_weights_do_not_fit() {
    let (table, entries) = table::read();
    let mut added = 0;
    for entry in &entries {
        let gpus = |corrected: &&Correction| corrected.places().contains(&"hardware.gpu_count");
        let Some(corrected) = entry.corrected.iter().find(gpus) else { continue };
        // As many as can share a model's heads.
        let mut fewer = corrected.was.as_u64().unwrap();
        while fewer < entry.gpus {
            assert!(entry.card(&table, fewer).is_none(), "{}: {fewer} GPUs are enough", entry.id);
            fewer *= 2;
        }
        added += 1;
    }
    assert!(added > 0);
}

#[test]
fn every_plan_is_accepted() {
    let (table, entries) = table::read();
    let folder = scratch();
    for entry in &entries {
        fs::write(folder.path().join(format!("{}.yaml", entry.id)), text::plan(&table, entry)).unwrap();
    }
    let done = run(program("bench-validate").args(["--format", "jsonl"]).arg(folder.path()), "");
    let errors: Vec<&str> = done.stderr.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!((done.code, errors), (Some(0), Vec::new()));
    assert_eq!(done.rows().len(), entries.len());
}

#[test]
fn every_framework_begins_with_its_baseline() {
    let (table, entries) = table::read();
    let folder = scratch();
    let mut wrong = Vec::new();
    for entry in &entries {
        let path = folder.path().join(format!("{}.yaml", entry.id));
        fs::write(&path, text::plan(&table, entry)).unwrap();
        let rows = run(program("bench-expand").arg(path), "").expect(0).rows();
        let (first, later) = rows.split_at(entry.frameworks.len());
        let is = |row: &Value| (row["framework"].clone(), row["search"]["baseline"] == true, row["status"].clone());
        let first: Vec<_> = first.iter().map(is).collect();
        let wanted: Vec<_> = entry.frameworks.keys().map(|name| (json!(name), true, Value::Null)).collect();
        if first != wanted || later.is_empty() || later.iter().any(|row| row["search"]["baseline"] != false) {
            wrong.push(format!("{}: {first:?}", entry.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn frameworks_that_serve_a_model_in_no_release_are_left_out() {
    let (_, entries) = table::read();
    let mut out: Vec<&str> = Vec::new();
    for entry in &entries {
        assert!(!entry.frameworks.is_empty(), "{}", entry.id);
        out.extend(entry.left_out.iter().map(|(name, _)| name.as_str()));
    }
    let count = |framework: &str| out.iter().filter(|name| **name == framework).count();
    assert_eq!((count("tokenspeed"), count("tensorrt_llm"), count("vllm"), out.len()), (22, 8, 1, 31));
}

#[test]
fn every_value_to_try_can_run_on_the_smallest_gpus() {
    let (table, entries) = table::read();
    let folder = scratch();
    for entry in &entries {
        let gpu = entry.card(&table, entry.gpus).expect("it fits");
        let plan = text::plan(&table, entry);
        let plan = match &entry.gpu {
            Some(_) => plan,
            None => plan.replace("hardware:\n", &format!("hardware:\n  gpu_model: {}\n", gpu.name)),
        };
        fs::write(folder.path().join(format!("{}.yaml", entry.id)), plan).unwrap();
    }
    let done = run(program("bench-validate").args(["--format", "jsonl"]).arg(folder.path()), "");
    let words = ["not supported", "does not serve", "dropped from the search", "do not fit", "divide"];
    // Knobs that newer releases no longer have are the source's.
    let is_refused = |line: &&str| words.iter().any(|word| line.contains(word)) && !line.contains("assumed version");
    let refused: Vec<&str> = done.stderr.lines().filter(is_refused).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
