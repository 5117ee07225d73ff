//! A plan that has been checked, with every default that was used.

use serde_json::{Value, json};

use super::framework_plan::{FrameworkPlan, frameworks};
use super::shape::texts;
use crate::engines::framework::Framework;
use crate::rows::kinds::{
    Benchmark, CachePolicy, Dataset, Hardware, Load, LoadMode, MAX_PROBES, Members, PlanCheck, Qps, Scenario,
    SharedPrefix,
};
use crate::rows::words::{Arrivals, Endpoint, Strategy};

/// Prompts of a run when the plan does not say.
const NUM_PROMPTS: u64 = 80;
/// With this many prompts or fewer a run is a flow check.
pub const SMOKE_PROMPTS: u64 = 20;

/// Kinds of workload that are made up; every other is a file.
pub const MADE_UP: [&str; 3] = ["random", "shared_prefix", "multi_turn"];
/// What plans call files.
pub const FILES: [&str; 7] = ["jsonl", "custom", "canonical", "sharegpt", "messages", "mooncake", "trace"];

/// The bracket of a rate search when the plan does not say.
pub const DEFAULT_QPS: Qps =
    Qps { lower: 0.25, upper: 16.0, tolerance: 0.1, max_rounds: 5, max_probes: MAX_PROBES, prune: false };

/// A plan, normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Model path or id.
    pub model: String,
    /// Tokenizer, where it is not the model's.
    pub tokenizer: Option<String>,
    /// Asked precision.
    pub precision: Option<String>,
    /// Asked quantization.
    pub quantization: Option<String>,
    /// Parameters of the model, where the plan says.
    pub parameters: Option<f64>,
    /// Bits of a weight in its checkpoint, where the plan says.
    pub weights_bits: Option<f64>,
    /// The GPU budget.
    pub hardware: Hardware,
    /// Aligned length pairs.
    pub scenarios: Vec<Scenario>,
    /// Load specs.
    pub loads: Vec<Load>,
    /// Runs of each unit.
    pub repeats: u32,
    /// How the load is driven.
    pub benchmark: Benchmark,
    /// SLA limits.
    pub sla: Members,
    /// What each scenario counts in a decision over all of them.
    pub weights: Members,
    /// Most candidates per framework.
    pub max_candidates: usize,
    /// How far the search goes: 1, 2 or 3.
    pub tier: u64,
    /// How candidates are made.
    pub strategy: Strategy,
    /// Rules that the plan lifts.
    pub allow: Vec<String>,
    /// Seed of what is made by chance: the search's, else the benchmark's.
    pub search_seed: u64,
    /// The second stage: what speculates is searched, on top of the best that does not.
    pub speculative: bool,
    /// What checking it found out.
    pub checked: PlanCheck,
    /// Frameworks in the plan's order.
    pub frameworks: Vec<FrameworkPlan>,
    /// Values that the plan did not give, by dotted name.
    pub defaults: Members,
}

/// Reads values and notes the defaults that it had to take.
struct PlanReader<'a> {
    plan: &'a Value,
    defaults: Members,
}

impl PlanReader<'_> {
    fn or(&mut self, pointer: &str, default: Value) -> Value {
        match self.plan.pointer(pointer).filter(|v| !v.is_null()) {
            Some(given) => given.clone(),
            None => {
                self.defaults.insert(super::shape::name(pointer), default.clone());
                default
            }
        }
    }

    fn text(&self, pointers: &[&str]) -> Option<String> {
        pointers.iter().find_map(|pointer| self.plan.pointer(pointer)?.as_str().map(String::from))
    }

    fn count(&mut self, pointer: &str, default: u64) -> u64 {
        self.or(pointer, default.into()).as_u64().unwrap_or(default)
    }
}

fn count32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Plan {
    /// Reads a plan in which [`super::load`] found no error.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let mut plan = PlanReader { plan: value, defaults: Members::new() };
        let scenarios = scenarios(&mut plan);
        let model =
            plan.text(&["/model", "/model/path", "/model/model_path", "/model/name", "/model/id"]).unwrap_or_default();
        let gpu_count = plan.or("/hardware/gpu_count", json!(1)).as_u64().map(count32);
        let visible = value.pointer("/hardware/visible_devices").map(|v| match v {
            Value::Array(ids) => ids.iter().map(|id| id.to_string().replace('"', "")).collect::<Vec<_>>().join(","),
            other => other.as_str().unwrap_or_default().to_string(),
        });
        let sla = value
            .get("sla")
            .or(value.pointer("/benchmark/sla"))
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        Self {
            model,
            tokenizer: plan.text(&["/model/tokenizer", "/model/tokenizer_path", "/benchmark/tokenizer"]),
            precision: plan.text(&["/model/precision", "/model/dtype", "/precision"]),
            quantization: plan.text(&["/model/quantization"]).filter(|name| name != "none"),
            parameters: value["model"]["parameters"].as_f64(),
            weights_bits: value["model"]["weights_bits"].as_f64(),
            hardware: Hardware {
                gpu_model: plan.text(&["/hardware/gpu_model"]),
                gpu_count,
                visible_devices: visible,
                multi_node: value.pointer("/hardware/multi_node") == Some(&Value::Bool(true)),
                ..Hardware::default()
            },
            scenarios,
            loads: loads(&mut plan),
            repeats: count32(plan.count("/benchmark/repeats", 1)),
            benchmark: benchmark(&mut plan),
            sla,
            weights: value["dataset"]["weights"].as_object().cloned().unwrap_or_default(),
            max_candidates: candidates(&mut plan),
            tier: plan.count("/search/tier", 2),
            strategy: strategy(&mut plan),
            allow: texts(&value["search"]["allow"]),
            search_seed: value["search"]["seed"].as_u64().or(value["benchmark"]["seed"].as_u64()).unwrap_or(1),
            speculative: false,
            checked: PlanCheck::default(),
            frameworks: frameworks(value),
            defaults: plan.defaults,
        }
    }

    /// A framework's baseline: with tensor parallelism over all GPUs where the plan names no parallelism.
    #[must_use]
    pub fn base(&self, given: &FrameworkPlan, framework: &Framework) -> Members {
        let mut base = given.base.clone();
        let parallel = &framework.parallelism;
        let named = parallel.multiply.iter().any(|knob| base.contains_key(knob) && !parallel.shares(knob, &base));
        let gpus = self.hardware.gpu_count.filter(|gpus| *gpus > 0);
        if let (Some(tensor), Some(gpus), false) = (&parallel.tensor, gpus, named) {
            base.insert(tensor.clone(), gpus.into());
        }
        base
    }

    /// The prefix cache is emptied between runs.
    pub(super) fn cache_reset(&self) -> bool {
        self.benchmark.cache == CachePolicy::Reset
    }

    /// Makes the substitutions that checking the plan asks for.
    pub(super) fn substitute(&mut self) {
        for substitution in &self.checked.substitutions {
            let own = self.frameworks.iter_mut().filter(|given| given.name == substitution.framework);
            for given in own {
                given.substitute(&substitution.knob, substitution.to.as_deref());
            }
        }
    }
}

/// Most candidates of a framework: the third tier has no bound unless the plan gives one.
fn candidates(plan: &mut PlanReader) -> usize {
    let pointer = "/search/max_candidates_per_framework";
    let silent = plan.plan.pointer(pointer).is_none_or(Value::is_null);
    if silent && plan.plan["search"]["tier"] == 3 {
        return usize::MAX;
    }
    usize::try_from(plan.count(pointer, 10)).unwrap_or(usize::MAX)
}

/// The strategy: as given, by either of its two names, else the tier's own.
fn strategy(plan: &mut PlanReader) -> Strategy {
    let own = if plan.plan["search"]["tier"] == 1 { Strategy::OneAtATime } else { Strategy::BoundedProduct };
    let given = plan.text(&["/search/strategy", "/search/candidate_generation"]);
    // A word that is not known was an error before this.
    let given =
        given.unwrap_or_else(|| plan.or("/search/strategy", own.as_str().into()).as_str().unwrap_or_default().into());
    given.parse().unwrap_or(own)
}

fn lengths(value: &Value) -> Vec<u32> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_u64).map(count32).collect(),
        one => one.as_u64().map(count32).into_iter().collect(),
    }
}

fn scenarios(plan: &mut PlanReader) -> Vec<Scenario> {
    let kind = plan.or("/dataset/kind", "random".into()).as_str().unwrap_or_default().to_string();
    let dataset = &plan.plan["dataset"];
    let names = dataset["scenario_names"].as_array();
    let given: Option<Vec<String>> =
        names.map(|names| names.iter().filter_map(|n| n.as_str().map(String::from)).collect());
    if !MADE_UP.contains(&kind.as_str()) {
        let path = dataset["path"].as_str().unwrap_or_default();
        let stem = path.rsplit('/').next().unwrap_or(path).split('.').next().unwrap_or(path);
        let name = given.and_then(|names| names.into_iter().next()).unwrap_or_else(|| stem.into());
        let file = Dataset {
            path: path.into(),
            prefix_reuse: dataset["prefix_reuse"] == true,
            default_output_len: lengths(&dataset["output_len"]).first().copied(),
            ..Dataset::default()
        };
        return vec![Scenario { kind, dataset: Some(file), ..Scenario::random(&name, 0, 0) }];
    }
    let number = |key: &str| dataset[key].as_u64().map(count32);
    let model = Scenario {
        range_ratio: dataset["range_ratio"].as_f64().filter(|ratio| *ratio > 0.0),
        shared_prefix: number("prefix_len")
            .map(|tokens| SharedPrefix { tokens, groups: number("groups").unwrap_or(1) }),
        turns: number("turns").filter(|turns| *turns > 1),
        think_s: dataset["think_s"].as_f64().filter(|s| *s > 0.0),
        kind,
        ..Scenario::random("", 0, 0)
    };
    let product = dataset["pairing"] == "product";
    let input = lengths(&plan.or("/dataset/input_len", json!([1000, 8000])));
    let output = lengths(&plan.or("/dataset/output_len", json!([1000, 1000])));
    let pairs: Vec<(u32, u32)> = match product {
        true => input.iter().flat_map(|i| output.iter().map(|o| (*i, *o))).collect(),
        false => input.iter().copied().zip(output).collect(),
    };
    let given = given.unwrap_or_else(|| match pairs[..] {
        [(1000, 1000), (8000, 1000)] => vec!["chat".into(), "summarization".into()],
        _ => pairs.iter().map(|(i, o)| format!("in{i}_out{o}")).collect(),
    });
    let named = given.into_iter().zip(pairs);
    named.map(|(name, (input_len, output_len))| Scenario { name, input_len, output_len, ..model.clone() }).collect()
}

fn loads(plan: &mut PlanReader) -> Vec<Load> {
    // One that is not a word for them is a finding of the check.
    let arrivals = plan.plan.pointer("/benchmark/arrivals").and_then(Value::as_str).and_then(|kind| kind.parse().ok());
    let arrivals = arrivals.filter(|kind| *kind != Arrivals::Poisson);
    let load = |mode| Load { mode, arrivals: arrivals.filter(|_| mode == LoadMode::Open), ..Load::default() };
    let mut loads = Vec::new();
    for rate in plan.plan.pointer("/benchmark/request_rates").and_then(Value::as_array).into_iter().flatten() {
        let given = rate.get("rate").unwrap_or(rate);
        let mut one = Load { rate: given.as_f64(), cap: rate["cap"].as_u64().map(count32), ..load(LoadMode::Open) };
        if given == "trace" {
            one.arrivals = Some(Arrivals::Trace);
        }
        loads.push(one);
    }
    if plan.plan.pointer("/benchmark/burst") == Some(&true.into()) {
        loads.push(load(LoadMode::Burst));
    }
    let concurrency = match plan.plan.pointer("/benchmark/max_concurrency") {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None if loads.is_empty() => vec![plan.or("/benchmark/max_concurrency", json!(null))],
        None => Vec::new(),
    };
    for entry in concurrency {
        loads.push(match entry.as_u64() {
            Some(n) => Load { concurrency: Some(count32(n)), ..load(LoadMode::Closed) },
            None => {
                let mut number = |key: &str, default: f64| {
                    plan.or(&format!("/benchmark/qps/{key}"), json!(default)).as_f64().unwrap_or(default)
                };
                let default = DEFAULT_QPS;
                let (lower, upper, tolerance) = (
                    number("lower", default.lower),
                    number("upper", default.upper),
                    number("tolerance", default.tolerance),
                );
                let prune = plan.plan.pointer("/benchmark/qps/prune") == Some(&true.into());
                let rounds = plan.count("/benchmark/qps/max_rounds", default.max_rounds.into());
                let probes = plan.count("/benchmark/qps/max_probes", default.max_probes.into());
                let qps =
                    Qps { lower, upper, tolerance, max_rounds: count32(rounds), max_probes: count32(probes), prune };
                Load { qps: Some(qps), ..load(LoadMode::Open) }
            }
        });
    }
    loads
}

fn benchmark(plan: &mut PlanReader) -> Benchmark {
    let said = plan.plan.pointer("/benchmark/smoke") == Some(&true.into());
    let pointer = if plan.plan.pointer("/dataset/num_prompts").is_some() {
        "/dataset/num_prompts"
    } else {
        "/benchmark/num_prompts"
    };
    let num_prompts = plan.count(pointer, if said { SMOKE_PROMPTS } else { NUM_PROMPTS });
    Benchmark {
        endpoint: plan
            .or("/benchmark/endpoint", Endpoint::default().as_str().into())
            .as_str()
            .and_then(|endpoint| endpoint.parse().ok())
            .unwrap_or_default(),
        num_prompts: count32(num_prompts),
        duration_s: plan.plan.pointer("/benchmark/duration_s").and_then(Value::as_f64),
        warmup_requests: count32(plan.count("/benchmark/warmup_requests", 2)),
        warmup_s: plan.plan.pointer("/benchmark/warmup_s").and_then(Value::as_f64),
        seed: plan.count("/benchmark/seed", 1),
        ignore_eos: plan.or("/benchmark/ignore_eos", true.into()) == true,
        extra_request_body: sampling(plan),
        cache: serde_json::from_value(plan.plan["benchmark"]["cache"].clone()).unwrap_or_default(),
        whole_answers: plan.plan["benchmark"]["stream"] == false,
        continuous_usage: plan.plan["benchmark"]["continuous_usage"] == true,
        headers: plan.plan["benchmark"]["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string())))
            .collect(),
        smoke: said || num_prompts <= SMOKE_PROMPTS,
    }
}

/// Sampling is always sent, so that no server's own defaults decide.
fn sampling(plan: &mut PlanReader) -> Members {
    let mut members = plan.plan["benchmark"]["extra_request_body"].as_object().cloned().unwrap_or_default();
    if !members.contains_key("temperature") {
        members.insert("temperature".into(), 0.into());
        plan.defaults.insert("benchmark.extra_request_body.temperature".into(), 0.into());
    }
    members
}
