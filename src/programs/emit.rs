//! Writes candidates as input for the sweeps of other tools.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::engines::framework::Framework;
use crate::rows::kinds::{Candidate, Load, LoadMode, Members, Scenario};
use crate::rows::words::Endpoint;
use crate::system::process::capture::save;

/// Writes a sweep for each entry of a plan with this framework, and returns the folders with their numbers of
/// candidates: `folder` itself for a single entry, otherwise a subfolder named after each entry, because a sweep starts
/// one command.
///
/// # Errors
/// No candidate of that framework, or a file that cannot be written.
pub fn vllm_sweeps(folder: &Path, candidates: &[Candidate], framework: &Framework) -> Result<Vec<(PathBuf, usize)>> {
    let mut entries: Vec<(&str, Vec<&Candidate>)> = Vec::new();
    for candidate in candidates.iter().filter(|c| c.server.definition == framework.name && c.status.is_none()) {
        match entries.iter_mut().find(|(name, _)| *name == candidate.framework) {
            Some((_, own)) => own.push(candidate),
            None => entries.push((&candidate.framework, vec![candidate])),
        }
    }
    let several = entries.len() > 1;
    let sweep = |(name, own): &(&str, Vec<&Candidate>)| {
        let folder = if several { folder.join(name) } else { folder.to_path_buf() };
        vllm_sweep(&folder, own, framework)?;
        Ok((folder, own.len()))
    };
    match entries.is_empty() {
        true => Err(Error::new(format!("no candidate of {} to run in the plan", framework.title))),
        false => entries.iter().map(sweep).collect(),
    }
}

/// Writes `serve_params.json`, `bench_params.json` and `sweep.sh` for `vllm bench sweep serve`: the changes of each candidate
/// become server overrides, the scenarios and load points become benchmark overrides.
fn vllm_sweep(folder: &Path, own: &[&Candidate], framework: &Framework) -> Result<()> {
    let Some(baseline) = own.iter().find(|c| c.search.baseline).or(own.first()) else { return Ok(()) };
    let serve: Vec<Value> =
        own.iter().map(|candidate| named(&candidate.candidate_id, &candidate.server.changed)).collect();
    let mut bench = Vec::new();
    for scenario in baseline.scenarios.iter() {
        for load in baseline.loads.iter() {
            bench.extend(points(load).into_iter().map(|(name, point)| {
                let lengths = [
                    ("random_input_len", json!(scenario.input_len)),
                    ("random_output_len", json!(scenario.output_len)),
                    ("num_prompts", json!(baseline.benchmark.num_prompts)),
                ];
                let mut members: Members = lengths.map(|(key, value)| (key.to_string(), value)).into_iter().collect();
                members.extend(point);
                named(&label(scenario, &name), &members)
            }));
        }
    }
    let port = framework.default_port.to_string();
    let serve_cmd: Vec<String> = baseline.server.argv.iter().map(|word| word.replace("{port}", &port)).collect();
    let backend = if baseline.benchmark.endpoint == Endpoint::Chat { "openai-chat" } else { "openai" };
    let temperature = baseline.benchmark.extra_request_body.get("temperature").map_or("0".into(), Value::to_string);
    let warmup = baseline.benchmark.warmup_requests.to_string();
    let bench_cmd = [
        "vllm",
        "bench",
        "serve",
        "--backend",
        backend,
        "--endpoint",
        baseline.benchmark.endpoint.as_str(),
        "--model",
        &baseline.model,
        "--port",
        &port,
        "--dataset-name",
        "random",
        "--ignore-eos",
        "--temperature",
        &temperature,
        "--num-warmups",
        &warmup,
        "--seed",
        &baseline.benchmark.seed.to_string(),
    ]
    .map(String::from);
    let command = [
        "vllm",
        "bench",
        "sweep",
        "serve",
        "--serve-cmd",
        &shell::join(&serve_cmd),
        "--bench-cmd",
        &shell::join(&bench_cmd),
        "--serve-params",
        "serve_params.json",
        "--bench-params",
        "bench_params.json",
        "--num-runs",
        "1",
        "--continue-on-error",
        "--output-dir",
        "results",
    ]
    .map(String::from);
    let environment = shell::assignments(&baseline.server.env).join(" ");
    let pretty = |value: &[Value]| serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default();
    save(&folder.join("serve_params.json"), &pretty(&serve))?;
    save(&folder.join("bench_params.json"), &pretty(&bench))?;
    save(
        &folder.join("sweep.sh"),
        &format!("#!/bin/sh\n# Run this in its own folder.\n{environment} {}\n", shell::join(&command))
            .replace("\n ", "\n"),
    )
}

/// What the tool does not support, one line each.
#[must_use]
pub fn unsupported(candidates: &[Candidate], framework: &Framework) -> Vec<String> {
    let mut lines = Vec::new();
    let other: BTreeSet<&str> =
        candidates.iter().filter(|c| c.server.definition != framework.name).map(|c| c.framework.as_str()).collect();
    if !other.is_empty() {
        let other = other.into_iter().collect::<Vec<_>>().join(", ");
        lines.push(format!("skipping {other}: the sweep supports only {}", framework.title));
    }
    if candidates.iter().flat_map(|c| c.loads.iter()).any(Load::is_search) {
        lines.push(
            "the sweep does not support searches: each becomes loads that double from its lower to its upper bound"
                .into(),
        );
    }
    lines
}

fn named(name: &str, members: &Members) -> Value {
    let mut all: Members = [("_benchmark_name".to_string(), Value::from(name))].into_iter().collect();
    // The tool cannot remove a flag.
    all.extend(members.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), value.clone())));
    Value::Object(all)
}

fn label(scenario: &Scenario, load: &str) -> String {
    format!("{}-{load}", scenario.name)
}

/// The load points of a load: a search becomes loads that double from its lower to its upper bound.
fn points(load: &Load) -> Vec<(String, Members)> {
    let one = |key: &str, value: Value| -> (String, Members) {
        (format!("{key}={value}"), [(key.to_string(), value)].into_iter().collect())
    };
    match (load.mode, &load.qps, load.rate, load.concurrency) {
        (LoadMode::Open, Some(qps), ..) => {
            let rates =
                std::iter::successors(Some(qps.lower), |rate| Some(rate * 2.0)).take_while(|rate| *rate < qps.upper);
            rates.chain([qps.upper]).map(|rate| one("request_rate", json!(rate))).collect()
        }
        (LoadMode::Open, None, Some(rate), _) => vec![one("request_rate", json!(rate))],
        (LoadMode::Closed, _, _, Some(n)) => vec![one("max_concurrency", json!(n))],
        (LoadMode::Closed, _, _, None) if load.users.is_some() => {
            let (lower, upper) = load.users.map_or((1, 1), |users| (users.lower, users.upper));
            let counts = std::iter::successors(Some(lower), |n| n.checked_mul(2)).take_while(|n| *n < upper);
            counts.chain([upper]).map(|n| one("max_concurrency", json!(n))).collect()
        }
        _ => vec![one("request_rate", json!("inf"))],
    }
}
