//! What a plan means, checked apart from its frameworks: model, data set, load, SLA.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Finding;
use super::read::DEFAULT_QPS;
use crate::schedule::Arrivals;
use crate::schema::CachePolicy;
use crate::sla::Limit;

/// Prompts that a p99 needs before it can be confirmed: with none over the limit, at 95 % confidence.
const P99_PROMPTS: u64 = 299;

/// Adds what is wrong with a plan of the right shape.
pub fn check(plan: &Value, found: &mut Vec<Finding>) {
    missing(plan, found);
    dataset(plan, found);
    benchmark(plan, found);
    sla(plan, found);
}

fn missing(plan: &Value, found: &mut Vec<Finding>) {
    let model = ["/model/path", "/model/model_path", "/model/name", "/model/id"];
    if !plan["model"].is_string() && !model.iter().any(|p| plan.pointer(p).is_some()) {
        found.push(Finding::error("", "`model` is missing: a path or an id, or a map with `path`"));
    }
    for pointer in std::iter::once("/model").chain(model) {
        if plan.pointer(pointer).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
            found.push(Finding::error(pointer, "`model` is empty: a path or an id"));
        }
    }
    if plan["frameworks"].as_object().is_none_or(serde_json::Map::is_empty) {
        found.push(Finding::error("", "`frameworks` is missing: a map of at least one framework"));
    }
    if plan["schema_version"].as_u64().is_some_and(|v| v > 2) {
        found.push(Finding::error("/schema_version", "schema versions up to 2 are understood"));
    }
}

fn dataset(plan: &Value, found: &mut Vec<Finding>) {
    let dataset = &plan["dataset"];
    if let Some(kind) = dataset["kind"].as_str().filter(|kind| *kind != "random") {
        let why = format!("the data set kind {kind:?} cannot be driven yet; `random` can");
        found.push(Finding::error("/dataset/kind", why));
    }
    let length = |key: &str| match &dataset[key] {
        Value::Null => None,
        Value::Array(items) => Some(items.len()),
        _ => Some(1),
    };
    let (input, output, names) = (length("input_len"), length("output_len"), length("scenario_names"));
    if input == Some(0) && output == Some(0) {
        found.push(Finding::error("/dataset/input_len", "input_len is empty: there is no scenario to run"));
    }
    if input != output {
        let count = |n: Option<usize>| n.map_or("none".into(), |n| n.to_string());
        let why = format!(
            "input_len and output_len are aligned pairs, one per scenario: {} and {} were given",
            count(input),
            count(output)
        );
        found.push(Finding::error("/dataset/input_len", why));
    } else if let (Some(names), Some(pairs)) = (names, input.or(Some(2)))
        && names != pairs
    {
        found.push(Finding::error("/dataset/scenario_names", format!("{names} names for {pairs} scenarios")));
    }
    let mut seen = BTreeSet::new();
    for (i, name) in dataset["scenario_names"].as_array().into_iter().flatten().enumerate() {
        if !seen.insert(name.as_str()) {
            found
                .push(Finding::error(&format!("/dataset/scenario_names/{i}"), format!("the name {name} stands twice")));
        }
    }
}

fn benchmark(plan: &Value, found: &mut Vec<Finding>) {
    let benchmark = &plan["benchmark"];
    if let Some(endpoint) = benchmark["endpoint"].as_str()
        && !["/v1/completions", "/v1/chat/completions"].contains(&endpoint)
    {
        found.push(Finding::error("/benchmark/endpoint", "the endpoint is /v1/completions or /v1/chat/completions"));
    }
    if let Some(Err(why)) = benchmark["arrivals"].as_str().map(Arrivals::parse) {
        found.push(Finding::error("/benchmark/arrivals", why));
    }
    if benchmark["cache"].is_string() && serde_json::from_value::<CachePolicy>(benchmark["cache"].clone()).is_err() {
        found.push(Finding::error("/benchmark/cache", "cache is unique_prompts or reset"));
    }
    if plan.pointer("/dataset/num_prompts").is_some() && benchmark["num_prompts"].is_u64() {
        let why = "num_prompts stands in dataset and in benchmark: keep one";
        found.push(Finding::error("/benchmark/num_prompts", why));
    }
    loads(benchmark, found);
    let qps = &benchmark["qps"];
    if qps.is_object() {
        let lower = qps["lower"].as_f64().unwrap_or(DEFAULT_QPS.lower);
        let upper = qps["upper"].as_f64().unwrap_or(DEFAULT_QPS.upper);
        if lower <= 0.0 || upper <= lower {
            found.push(Finding::error("/benchmark/qps", "0 < lower < upper must hold"));
        } else {
            let rounds = i32::try_from(qps["max_rounds"].as_u64().unwrap_or(5)).unwrap_or(i32::MAX);
            let reached = (upper - lower) / 2f64.powi(rounds);
            let tolerance = qps["tolerance"].as_f64().unwrap_or(0.1);
            if reached > tolerance {
                let why = format!(
                    "{rounds} rounds resolve the bracket to {reached:.2} requests per second, not to the tolerance {tolerance}"
                );
                found.push(Finding::warning("/benchmark/qps", why));
            }
        }
    }
    if let Some(strategy) = plan.pointer("/search/strategy").and_then(Value::as_str)
        && strategy != "baseline_first_bounded_product"
    {
        let why = format!("the strategy {strategy:?} is not known; baseline_first_bounded_product is");
        found.push(Finding::error("/search/strategy", why));
    }
}

/// Every load point once, and at least one.
fn loads(benchmark: &Value, found: &mut Vec<Finding>) {
    for part in ["max_concurrency", "request_rates"] {
        let Some(entries) = benchmark[part].as_array() else { continue };
        let other = if part == "max_concurrency" { "request_rates" } else { "max_concurrency" };
        if entries.is_empty() && benchmark[other].is_null() && benchmark["burst"] != true {
            let why = format!("{part} is empty: there is no load to drive");
            found.push(Finding::error(&format!("/benchmark/{part}"), why));
        }
        let mut seen = BTreeSet::new();
        for (i, entry) in entries.iter().enumerate() {
            if !seen.insert(entry.to_string()) {
                let why = format!("the load {entry} stands twice");
                found.push(Finding::error(&format!("/benchmark/{part}/{i}"), why));
            }
        }
    }
}

fn sla(plan: &Value, found: &mut Vec<Finding>) {
    for pointer in ["/sla", "/benchmark/sla"] {
        for (key, value) in plan.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
            let at = format!("{pointer}/{}", crate::yaml::escape(key));
            let limit = match Limit::parse(key) {
                Ok(limit) => limit,
                Err(why) => {
                    found.push(Finding::key(super::Level::Error, &at, why));
                    continue;
                }
            };
            if let Err(why) = limit.takes(value.as_f64().unwrap_or_default()) {
                found.push(Finding::error(&at, format!("{key} is {why}")));
            }
            let prompts =
                plan.pointer("/dataset/num_prompts").or(plan.pointer("/benchmark/num_prompts")).and_then(Value::as_u64);
            let prompts = prompts.unwrap_or(80);
            if key.contains("_p99_") && prompts < P99_PROMPTS {
                let why = format!(
                    "W-P99-N: {prompts} prompts cannot confirm a p99 (it takes {P99_PROMPTS}): a pass will be called unconfirmed"
                );
                found.push(Finding::warning(&at, why));
            }
        }
    }
    if plan["sla"].is_object() && plan.pointer("/benchmark/sla").is_some() {
        found.push(Finding::error("/sla", "limits stand in sla and in benchmark.sla: keep one"));
    }
}
