//! Checks everything in a plan except its frameworks: model, dataset, load, search, SLA.

use std::collections::BTreeSet;

use serde_json::Value;

use super::finding::Finding;
use super::keys;
use super::limits;
use super::read::Plan;
use crate::engines::framework::{Frameworks, KnobRole};
use crate::metrics::search::{MOST_STRIDE, NARROW, RATIO};
use crate::rows::kinds::{Load, LoadMode};
use crate::rows::words::{DatasetKind, Endpoint, FindingCode as Code, Strategy};

/// Maximum number of combinations in tier 3.
const MAX_COMBINATIONS: usize = 10_000;
/// Members of a request that the workload sets.
const WORKLOAD: [&str; 7] =
    ["prompt", "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens"];
/// Kinds of source in plans of the cookbook.
const SOURCES: [&str; 2] = ["llm_serving_cookbook", "cookbook"];

/// Adds findings about a plan whose values have the right types.
pub fn check(value: &Value, plan: &Plan, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    missing(value, found);
    dataset(value, found);
    let reported = benchmark(value, found);
    search(value, found);
    limits::check(value, &plan.scenarios, found);
    load_points(value, plan, reported, found);
    targets(value, plan, frameworks, found);
}

/// What was already reported about the load points, at the entries that cause it.
#[derive(Debug, Clone, Copy, Default)]
struct ReportedLoads {
    /// A duplicate.
    duplicate: bool,
    /// There is none.
    none: bool,
}

/// The load points as read, beyond what their single entries show, and keys that have no effect with them.
fn load_points(value: &Value, plan: &Plan, reported: ReportedLoads, found: &mut Vec<Finding>) {
    let open = plan.loads.iter().any(|load| load.mode == LoadMode::Open);
    if value["benchmark"]["arrivals"].is_string() && !open {
        let why = "arrivals has no effect: no load of this plan is open loop";
        found.push(Finding::value(Code::NoEffectWarning, "/benchmark/arrivals", why));
    }
    if plan.sla.is_empty() && plan.loads.iter().any(Load::is_search) {
        let what =
            if plan.loads.iter().any(|load| load.qps.is_some()) { "rate" } else { "number of requests in flight" };
        let why =
            format!("without an SLA every {what} passes, so the search only finds its upper bound: set limits in sla");
        found.push(Finding::value(Code::SlaMissing, "/benchmark", why));
    }
    let duplicates = plan.loads.iter().enumerate().filter(|(i, load)| plan.loads[..*i].contains(load));
    for (i, load) in duplicates.filter(|_| !reported.duplicate) {
        let text = load.rate.map_or(format!("load {}", i + 1), |rate| format!("request rate {rate}"));
        found.push(Finding::value(Code::Duplicate, "/benchmark", format!("duplicate {text}")));
    }
    if plan.loads.is_empty() && !reported.none {
        found.push(Finding::value(
            Code::Empty,
            "/benchmark",
            "no load given: set max_concurrency, request_rates or burst",
        ));
    }
}

/// Scenarios, model, GPUs and endpoint, against one another and against the definitions of the frameworks.
fn targets(value: &Value, plan: &Plan, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    for (i, scenario) in plan.scenarios.iter().enumerate() {
        let duplicate = plan.scenarios[..i].iter().any(|other| other.name == scenario.name);
        if duplicate && value["dataset"]["scenario_names"].is_null() {
            let why = format!("duplicate pair {}/{}", scenario.input_len, scenario.output_len);
            found.push(Finding::value(Code::Duplicate, "/dataset/input_len", why));
        }
    }
    if plan.model.starts_with('-') || plan.model.chars().any(char::is_control) {
        found.push(Finding::value(
            Code::Range,
            "/model",
            "the model must be a path or an id, on one line and not starting with -",
        ));
    }
    let named =
        plan.hardware.visible_devices.as_ref().map(|names| names.split(',').filter(|n| !n.trim().is_empty()).count());
    if let (Some(named), Some(count)) =
        (named, value["hardware"]["gpu_count"].as_u64().filter(|n| named.is_some_and(|m| m as u64 != *n)))
    {
        let why = format!("visible_devices names {named} GPUs, but gpu_count is {count}");
        found.push(Finding::value(Code::Conflict, "/hardware/visible_devices", why));
    }
    let endpoint = plan.benchmark.endpoint;
    let own = endpoint == Endpoint::Generate;
    for section in plan.frameworks.iter().filter(|section| section.enabled && own) {
        let own = frameworks
            .get(&section.definition)
            .filter(|framework| !framework.request.endpoints.iter().any(|e| e == endpoint.as_str()));
        if let Some(framework) = own {
            let why = format!("{} does not have {endpoint}; all frameworks have /v1/completions", framework.title);
            found.push(Finding::value(Code::Endpoint, "/benchmark/endpoint", why));
        }
    }
    let random = kind(&value["dataset"]) == DatasetKind::Random;
    for section in plan.frameworks.iter().filter(|section| section.enabled && random) {
        let Some(framework) = frameworks.get(&section.definition) else { continue };
        for (knob, values) in &section.space {
            let role = framework.knob(knob).and_then(|knob| knob.role);
            let more = section.base.get(knob).into_iter().chain(values).collect::<Vec<_>>();
            if role == Some(KnobRole::PrefixCaching) && more.iter().any(|value| *value != more[0]) {
                let at = format!(
                    "/frameworks/{}/search_space/{}",
                    crate::base::yaml::escape(&section.name),
                    crate::base::yaml::escape(knob)
                );
                let why = format!(
                    "{knob} is searched, but random prompts do not share a prefix: this only measures its overhead"
                );
                found.push(Finding::value(Code::PrefixRandom, &at, why));
            }
        }
    }
}

/// How candidates are generated.
fn search(plan: &Value, found: &mut Vec<Finding>) {
    let search = &plan["search"];
    if let Some(Err(why)) = search["fit"].as_str().map(crate::base::span::span) {
        found.push(Finding::value(Code::Range, "/search/fit", format!("fit {why}")));
    }
    if search["stages"].as_u64().is_some_and(|stages| stages > 2) {
        found.push(Finding::value(Code::Range, "/search/stages", "stages must be 1 or 2"));
    }
    if search["tier"].as_u64().is_some_and(|tier| tier > 3) {
        found.push(Finding::value(
            Code::Range,
            "/search/tier",
            "tier must be 1 (smoke test), 2 (bounded) or 3 (everything)",
        ));
    }
    if search["strategy"].is_string() && search["candidate_generation"].is_string() {
        found.push(Finding::value(
            Code::TwoPlaces,
            "/search/candidate_generation",
            "candidate_generation is another name for strategy: keep one",
        ));
    }
    for (name, section) in plan["frameworks"].as_object().into_iter().flatten().filter(|_| search["tier"] == 3) {
        let values = section["search_space"].as_object().into_iter().flatten();
        let size = values.fold(1usize, |n, (_, values)| n.saturating_mul(values.as_array().map_or(1, Vec::len).max(1)));
        if size > MAX_COMBINATIONS && search["max_candidates_per_framework"].is_null() {
            let why = format!(
                "{name} has {size} combinations, but tier 3 runs at most {MAX_COMBINATIONS}: try fewer values, or set max_candidates_per_framework"
            );
            found.push(Finding::value(Code::Range, "/search/tier", why));
        }
    }
    let ordered = ["strategy", "candidate_generation"].iter().any(|key| search[*key] == Strategy::Ordered.as_str());
    for (name, section) in plan["frameworks"].as_object().into_iter().flatten() {
        let at = format!("/frameworks/{}", crate::base::yaml::escape(name));
        let listed = section["candidates"].as_array().is_some_and(|list| !list.is_empty());
        if ordered && !listed && section["enabled"] != false {
            let why =
                "strategy ordered needs candidates, the list of changes to try: without it only the baseline runs";
            found.push(Finding::key(Code::NoEffectWarning, &at, why));
        }
        if listed && !ordered {
            let why = "candidates is ignored: only strategy ordered uses it";
            found.push(Finding::value(Code::NoEffectWarning, &format!("{at}/candidates"), why));
        }
    }
    for pointer in ["/search/resume", "/search/output_dir", "/benchmark/output_dir"] {
        if plan.pointer(pointer).is_some_and(|value| !value.is_null()) {
            let key = pointer.rsplit('/').next().unwrap_or_default();
            let why = format!("{key} is ignored: scripts/sweep PLAN --out DIR resumes in DIR");
            found.push(Finding::value(Code::Ignored, pointer, why));
        }
    }
    framework_set(plan, found);
}

/// `enabled` of each framework decides what is compared: warn about a list that differs from it.
fn framework_set(plan: &Value, found: &mut Vec<Finding>) {
    let Some(set) = plan["benchmark"]["framework_set"].as_array() else { return };
    let set: BTreeSet<&str> = set.iter().filter_map(Value::as_str).collect();
    let frameworks = plan["frameworks"].as_object().into_iter().flatten();
    let enabled: BTreeSet<&str> =
        frameworks.filter(|(_, section)| section["enabled"] != false).map(|(name, _)| name.as_str()).collect();
    if set != enabled {
        let named = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
        let why = format!(
            "framework_set is ignored: the plan runs {}, not {}; exclude one with frameworks.NAME.enabled: false",
            named(enabled),
            named(set)
        );
        found.push(Finding::value(Code::NoEffectWarning, "/benchmark/framework_set", why));
    }
}

fn missing(plan: &Value, found: &mut Vec<Finding>) {
    let model = ["/model/path", "/model/model_path", "/model/name", "/model/id"];
    if !plan["model"].is_string() && !model.iter().any(|p| plan.pointer(p).is_some()) {
        found.push(Finding::value(Code::Missing, "/model", "missing `model`: a path or an id, or a map with `path`"));
    }
    for pointer in std::iter::once("/model").chain(model) {
        if plan.pointer(pointer).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty()) {
            found.push(Finding::value(Code::Empty, pointer, "`model` is empty: set a path or an id"));
        }
    }
    if plan["frameworks"].as_object().is_none_or(serde_json::Map::is_empty) {
        found.push(Finding::value(
            Code::Missing,
            "/frameworks",
            "missing `frameworks`: a map with at least one framework",
        ));
    }
    if let Some(kind) = plan["source"]["kind"].as_str().filter(|kind| !SOURCES.contains(kind)) {
        found.push(Finding::value(Code::Ignored, "/source/kind", format!("unknown kind of source {kind:?}: ignored")));
    }
    if plan["dataset"]["canonical_jsonl"].is_string() {
        let why = "canonical_jsonl is not supported: write kind: canonical and path";
        found.push(Finding::key(Code::NoEffect, "/dataset/canonical_jsonl", why));
    }
    if plan["schema_version"].as_u64().is_some_and(|v| v > 2) {
        found.push(Finding::value(
            Code::Range,
            "/schema_version",
            "unknown schema version; this version reads up to 2",
        ));
    }
}

/// The kind of a plan's dataset; the check of types has reported an unknown word.
fn kind(dataset: &Value) -> DatasetKind {
    dataset["kind"].as_str().and_then(|kind| kind.parse().ok()).unwrap_or_default()
}

fn dataset(plan: &Value, found: &mut Vec<Finding>) {
    let dataset = &plan["dataset"];
    let kind = kind(dataset);
    let mut wrong =
        |code: Code, key: &str, why: String| found.push(Finding::value(code, &format!("/dataset/{key}"), why));
    let mut file_only = vec!["path", "prefix_reuse"];
    let mut made_only = vec!["input_len", "range_ratio", "prefix_len", "groups", "turns", "think_s", "pairing"];
    let made = kind.is_generated();
    if !made && dataset["path"].as_str().is_none_or(str::is_empty) {
        wrong(Code::Missing, "kind", format!("dataset.kind {kind} requires dataset.path"));
    }
    let needed = match kind {
        DatasetKind::SharedPrefix => Some("prefix_len"),
        DatasetKind::MultiTurn => Some("turns"),
        _ => None,
    };
    if let Some(key) = needed.filter(|key| dataset[*key].is_null()) {
        wrong(Code::Missing, "kind", format!("dataset.kind {kind} requires dataset.{key}"));
    }
    let unused = if made { &mut file_only } else { &mut made_only };
    if kind == DatasetKind::Random {
        unused.extend(["prefix_len", "groups", "turns", "think_s"]);
    }
    for key in unused.iter().filter(|key| !dataset[**key].is_null()) {
        wrong(Code::NoEffect, key, format!("{key} has no effect with dataset.kind {kind}"));
    }
    if dataset["range_ratio"].as_f64().is_some_and(|ratio| !(0.0..1.0).contains(&ratio)) {
        wrong(Code::Range, "range_ratio", "range_ratio must be at least 0 and below 1".into());
    }
    if dataset["think_s"].as_f64().is_some_and(|s| s < 0.0) {
        wrong(Code::Range, "think_s", "think_s must be at least 0".into());
    }
    if !made {
        return;
    }
    let lengths = |value: &Value| -> Vec<u64> {
        let all = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        all.iter().filter_map(Value::as_u64).collect()
    };
    let given = lengths(&dataset["input_len"]);
    let input = if given.is_empty() { lengths(&keys::default_at("/dataset/input_len")) } else { given };
    if let Some(prefix) = dataset["prefix_len"].as_u64().filter(|_| kind != DatasetKind::Random)
        && input.iter().any(|input| *input <= prefix)
    {
        wrong(Code::Lengths, "prefix_len", "prefix_len is part of input_len, so it must be less than input_len".into());
    }
    pairs(dataset, found);
}

/// Length pairs and the names of their scenarios.
fn pairs(dataset: &Value, found: &mut Vec<Finding>) {
    let product = dataset["pairing"] == "product";
    let length = |key: &str| match &dataset[key] {
        Value::Null => None,
        Value::Array(items) => Some(items.len()),
        _ => Some(1),
    };
    let (input, output, names) = (length("input_len"), length("output_len"), length("scenario_names"));
    if input == Some(0) && output == Some(0) {
        found.push(Finding::value(Code::Empty, "/dataset/input_len", "input_len is empty: no scenario to run"));
    }
    let pairs = if product { input.unwrap_or(2) * output.unwrap_or(2) } else { input.unwrap_or(2) };
    if input != output && !product {
        let count = |n: Option<usize>| n.map_or("none".into(), |n| n.to_string());
        let why = format!(
            "input_len and output_len are aligned pairs, one per scenario, but have {} and {} values (pairing: product runs \
             every combination)",
            count(input),
            count(output)
        );
        found.push(Finding::value(Code::Lengths, "/dataset/input_len", why));
    } else if let Some(names) = names
        && names != pairs
    {
        found.push(Finding::value(
            Code::Lengths,
            "/dataset/scenario_names",
            format!("{names} names for {pairs} scenarios"),
        ));
    }
    let mut seen = BTreeSet::new();
    for (i, name) in dataset["scenario_names"].as_array().into_iter().flatten().enumerate() {
        if !seen.insert(name.as_str()) {
            found.push(Finding::value(
                Code::Duplicate,
                &format!("/dataset/scenario_names/{i}"),
                format!("duplicate name {name}"),
            ));
        }
    }
}

fn benchmark(plan: &Value, found: &mut Vec<Finding>) -> ReportedLoads {
    let benchmark = &plan["benchmark"];
    if !benchmark["warmup_s"].is_null() && !benchmark["warmup_requests"].is_null() {
        let why = "warmup_s warms up under the measured load, warmup_requests with sequential requests: keep one";
        found.push(Finding::value(Code::TwoPlaces, "/benchmark/warmup_s", why));
    }
    for (name, value) in benchmark["headers"].as_object().into_iter().flatten() {
        if crate::base::redact::is_inline_header(name, value.as_str().unwrap_or_default()) {
            let at = format!("/benchmark/headers/{}", crate::base::yaml::escape(name));
            found.push(Finding::value(
                Code::SecretInline,
                &at,
                "do not write secrets into a plan: write ${NAME} and set NAME",
            ));
        }
    }
    let own = ["/model/tokenizer", "/model/tokenizer_path"].iter().find_map(|pointer| plan.pointer(pointer)?.as_str());
    if let (Some(own), Some(other)) = (own, benchmark["tokenizer"].as_str())
        && own != other
    {
        let why = format!("the tokenizer is {own} in model and {other} in benchmark: keep one");
        found.push(Finding::value(Code::TwoPlaces, "/benchmark/tokenizer", why));
    }
    if plan.pointer("/dataset/num_prompts").is_some() && benchmark["num_prompts"].is_u64() {
        let why = "num_prompts is set in both dataset and benchmark: keep one";
        found.push(Finding::value(Code::TwoPlaces, "/benchmark/num_prompts", why));
    }
    for key in WORKLOAD.iter().filter(|key| !benchmark["extra_request_body"][**key].is_null()) {
        let why = format!("{key} is set by the workload and cannot be in extra_request_body");
        found.push(Finding::value(Code::NoEffect, &format!("/benchmark/extra_request_body/{key}"), why));
    }
    if benchmark["repeats"].as_u64().is_some_and(|n| n > 1000) {
        found.push(Finding::value(Code::Range, "/benchmark/repeats", "repeats must be at most 1000"));
    }
    let reported = loads(benchmark, found);
    let qps = &benchmark["qps"];
    if qps.is_object() {
        let number = |key: &str| {
            qps[key].as_f64().or(keys::default_at(&format!("/benchmark/qps/{key}")).as_f64()).unwrap_or_default()
        };
        let (lower, upper) = (number("lower"), number("upper"));
        if lower <= 0.0 || upper <= lower {
            found.push(Finding::value(Code::Range, "/benchmark/qps", "lower must be above 0 and below upper"));
        } else {
            let (rounds, tolerance) = (number("max_rounds"), number("tolerance"));
            // The search asks for no less than a bracket of two steps, and bisects at most as many steps as it strides.
            let reached = upper * narrowed(rounds);
            let wanted = tolerance.max(upper * narrowed(f64::INFINITY));
            if reached > wanted {
                let why = format!(
                    "max_rounds {rounds} narrows the rate to {reached:.2} requests per second, not to {wanted:.2} \
                     (the tolerance, or 5 %)"
                );
                found.push(Finding::value(Code::QpsTolerance, "/benchmark/qps", why));
            }
        }
    }
    let users = &benchmark["concurrency"];
    if users.is_object() {
        let number = |key: &str| {
            users[key]
                .as_u64()
                .or(keys::default_at(&format!("/benchmark/concurrency/{key}")).as_u64())
                .unwrap_or_default()
        };
        if number("upper") <= number("lower") {
            found.push(Finding::value(Code::Range, "/benchmark/concurrency", "lower must be below upper"));
        }
    }
    reported
}

/// The width of the narrowest bracket of a rate search after so many bisection steps, as a share of its upper end.
fn narrowed(rounds: f64) -> f64 {
    let steps = (MOST_STRIDE as f64 / 2f64.powf(rounds)).max(NARROW as f64);
    1.0 - RATIO.powf(-steps)
}

/// Load points must be distinct, and there must be at least one.
fn loads(benchmark: &Value, found: &mut Vec<Finding>) -> ReportedLoads {
    let mut reported = ReportedLoads::default();
    for part in ["max_concurrency", "request_rates"] {
        let Some(entries) = benchmark[part].as_array() else { continue };
        let other = if part == "max_concurrency" { "request_rates" } else { "max_concurrency" };
        let others = [&benchmark[other], &benchmark["concurrency"]];
        if entries.is_empty() && others.iter().all(|other| other.is_null()) && benchmark["burst"] != true {
            let why = format!("{part} is empty: no load given");
            reported.none = true;
            found.push(Finding::value(Code::Empty, &format!("/benchmark/{part}"), why));
        }
        let mut seen = BTreeSet::new();
        for (i, entry) in entries.iter().enumerate() {
            if entry.is_object() && entry["rate"].is_null() {
                let why = "missing rate: write {rate: 4, cap: 16}";
                found.push(Finding::value(Code::Missing, &format!("/benchmark/{part}/{i}"), why));
            }
            if !seen.insert(entry.to_string()) {
                let why = format!("duplicate load {entry}");
                reported.duplicate = true;
                found.push(Finding::value(Code::Duplicate, &format!("/benchmark/{part}/{i}"), why));
            }
        }
    }
    reported
}
