//! Fills in what the file of another client lacks or writes differently: candidate, members, commands.

use serde_json::{Value, json};

use super::format::{FlagCommand, put};
use super::gpu_count::amount;
use super::overrides::{ImportOverrides, typed};
use super::repeats::REPEAT;
use crate::base::error::Result;
use crate::base::shell;
use crate::rows::kinds::{CandidateBlock, Members, ResultRow, WorkloadBlock};
use crate::rows::words::{FailureClass, Status};

/// Fills in members from a candidate row.
pub fn from_candidate(row: &mut Value, candidate: &Value) {
    for key in ["framework", "candidate_id", "model", "hardware", "server_command", "sla", "caveats", "substitutions"] {
        if !candidate[key].is_null() {
            row[key] = candidate[key].clone();
        }
    }
    let search = &candidate["search"];
    let changed = &candidate["server"]["changed"];
    row["candidate"] = block(changed, &search["baseline"], &search["index"], &search["of"]);
    // The scenario whose lengths match, if there is only one.
    let scenarios = candidate["scenarios"].as_array().cloned().unwrap_or_default();
    let lengths = |scenario: &&Value| {
        ["input_len", "output_len"]
            .iter()
            .all(|key| row["workload"][*key].is_null() || scenario[*key].as_f64() == row["workload"][*key].as_f64())
    };
    let mut fitting = scenarios.iter().filter(lengths);
    if let (Some(scenario), None) = (fitting.next(), fitting.next()) {
        put(row, "workload/scenario", scenario["name"].clone());
        put(row, "workload/input_len", scenario["input_len"].clone());
        put(row, "workload/output_len", scenario["output_len"].clone());
    }
}

/// The row of a run of which the file states only its error.
///
/// # Errors
/// A member of the wrong type.
pub fn failed(content: &Value, overrides: &ImportOverrides) -> Result<ResultRow> {
    let text = |key: &str| content[key].as_str().unwrap_or_default();
    let mut row = json!(ResultRow {
        failure_class: Some(FailureClass::ClientFailed),
        failure_reason: Some(format!("{}: {}", text("error_type"), text("error"))),
        sla: [("passed".to_string(), Value::Null)].into_iter().collect(),
        workload: Some(WorkloadBlock::default()),
        ..ResultRow::new("vllm", &overrides.name, "", Status::Failed)
    });
    if let Some(candidate) = &overrides.candidate {
        from_candidate(&mut row, candidate);
    }
    set_members(&mut row, overrides);
    tidy(&mut row);
    typed(row)
}

/// Sets the members that the user sets; the index of a repeat is set where the repeats are numbered.
pub fn set_members(row: &mut Value, overrides: &ImportOverrides) {
    for (place, value) in overrides.set.iter().filter(|(place, _)| place != REPEAT) {
        put(row, place, value.clone());
    }
}

fn block(changed: &Value, baseline: &Value, index: &Value, of: &Value) -> Value {
    let count = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
    json!(CandidateBlock {
        changed: changed.as_object().cloned().unwrap_or_default(),
        baseline: *baseline == true,
        index: count(index).unwrap_or(0),
        // Other clients do not state how many candidates their search has.
        of: count(of).unwrap_or(0),
        calibration: false,
        slot_check: None,
        slot: None,
        why: String::new(),
        stage: None,
        never_tried: Members::new(),
        weights: Members::new(),
    })
}

/// Converts members to the form of a row: a rate that means all at once and invalid numbers become null, blocks are
/// completed.
pub fn tidy(row: &mut Value) {
    let rate = &mut row["workload"]["request_rate"];
    *rate = amount(rate).filter(|rate| *rate > 0.0).map_or(Value::Null, |rate| json!(rate));
    // A length or a number of requests of 0 means that it was not set.
    for key in ["input_len", "output_len"] {
        let length = &mut row["workload"][key];
        *length = amount(length).filter(|n| *n > 0.0).map_or(Value::Null, |n| json!(n));
    }
    for key in ["num_prompts", "max_concurrency"] {
        let value = &mut row["workload"][key];
        *value = amount(value).filter(|n| *n > 0.0 && n.fract() == 0.0).map_or(Value::Null, |n| json!(n as u64));
    }
    if !row["candidate"].is_null() {
        let own = row["candidate"].clone();
        row["candidate"] = block(&own["changed"], &own["baseline"], &own["index"], &own["of"]);
    }
    for key in ["model", "framework", "candidate_id", "server_command"] {
        row[key] = words(&row[key]).into();
    }
}

/// A command, built from its flags.
pub fn argv(command: &FlagCommand, flags: &Members) -> Vec<String> {
    let flag = |(name, value): (&String, &Value)| {
        let name = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Bool(true) => vec![name],
            Value::Bool(false) | Value::Null => Vec::new(),
            Value::Array(values) => std::iter::once(name).chain(values.iter().map(words)).collect(),
            value => vec![name, words(value)],
        }
    };
    command.words.iter().cloned().chain(flags.iter().flat_map(flag)).collect()
}

/// A value as text; a list is joined as the words of a command.
pub fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(list) => shell::join(&list.iter().map(words).collect::<Vec<_>>()),
        other => other.to_string(),
    }
}
