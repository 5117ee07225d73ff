//! Reads a checked plan, and records every default it uses.

use std::time::Duration;

use serde_json::Value;

use super::framework_plan::{FrameworkPlan, frameworks};
use super::keys::{SMOKE_PROMPTS, default_at};
use super::shape::texts;
use crate::base::span::span;
use crate::engines::framework::{Framework, Frameworks};
use crate::rows::kinds::{
    Benchmark, CachePolicy, CheckSettings, Dataset, Hardware, Load, LoadMode, Members, PlanCheck, Qps, Scenario,
    SharedPrefix, Users,
};
use crate::rows::words::{Arrivals, CheckScope, DatasetKind, Strategy};

/// A plan with all defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Model path or id.
    pub model: String,
    /// Tokenizer, if it differs from the model's.
    pub tokenizer: Option<String>,
    /// Requested precision.
    pub precision: Option<String>,
    /// Requested quantization.
    pub quantization: Option<String>,
    /// Number of parameters of the model, if the plan gives it.
    pub parameters: Option<f64>,
    /// Bits per weight of its checkpoint, if the plan gives it.
    pub weights_bits: Option<f64>,
    /// The GPU budget.
    pub hardware: Hardware,
    /// Scenarios: dataset and lengths.
    pub scenarios: Vec<Scenario>,
    /// Load points, or rate searches.
    pub loads: Vec<Load>,
    /// Number of runs per unit.
    pub repeats: u32,
    /// Settings of the load generator.
    pub benchmark: Benchmark,
    /// What to check of the answers.
    pub check: Option<CheckSettings>,
    /// Mean number of tokens per step to force on candidates that draft tokens, the model's own included.
    pub acceptance_length: Option<f64>,
    /// SLA limits.
    pub sla: Members,
    /// Weight of each scenario in a decision over all of them.
    pub weights: Members,
    /// Maximum number of candidates per framework.
    pub max_candidates: usize,
    /// Search tier: 1 (smoke test), 2 (bounded) or 3 (everything).
    pub tier: u64,
    /// Number of stages in which candidates are searched: 1 or 2.
    pub stages: u64,
    /// Time in which the runs are to end.
    pub fit: Option<Duration>,
    /// How candidates are generated.
    pub strategy: Strategy,
    /// Rules lifted by the plan.
    pub allow: Vec<String>,
    /// Seed of random choices in the search: `search.seed`, otherwise `benchmark.seed`.
    pub search_seed: u64,
    /// True in the second stage, which searches the knobs for speculative decoding on top of the best plain candidate.
    pub speculative: bool,
    /// Results of the check.
    pub checked: PlanCheck,
    /// Frameworks in the plan's order.
    pub frameworks: Vec<FrameworkPlan>,
    /// Defaults used, by dotted name.
    pub defaults: Members,
}

/// Reads values, and records the defaults it uses.
struct PlanReader<'a> {
    plan: &'a Value,
    defaults: Members,
}

impl PlanReader<'_> {
    /// The value of a key; where it is absent, its default, which is recorded.
    fn value(&mut self, pointer: &str) -> Value {
        self.or(pointer, default_at(pointer))
    }

    /// The same with another default than the key's own.
    fn or(&mut self, pointer: &str, default: Value) -> Value {
        match self.plan.pointer(pointer).filter(|v| !v.is_null()) {
            Some(value) => value.clone(),
            None => {
                self.defaults.insert(super::shape::name(pointer), default.clone());
                default
            }
        }
    }

    fn text(&self, pointers: &[&str]) -> Option<String> {
        pointers.iter().find_map(|pointer| self.plan.pointer(pointer)?.as_str().map(String::from))
    }

    fn count(&mut self, pointer: &str) -> u64 {
        self.value(pointer).as_u64().unwrap_or_default()
    }

    fn number(&mut self, pointer: &str) -> f64 {
        self.value(pointer).as_f64().unwrap_or_default()
    }

    fn is_set(&self, pointer: &str) -> bool {
        self.plan.pointer(pointer) == Some(&Value::Bool(true))
    }
}

fn count32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Plan {
    /// The frameworks that are not excluded, with their definitions.
    pub fn enabled<'a>(
        &'a self,
        frameworks: &'a Frameworks,
    ) -> impl Iterator<Item = (&'a FrameworkPlan, &'a Framework)> {
        let enabled = self.frameworks.iter().filter(|section| section.enabled);
        enabled.filter_map(|section| Some((section, frameworks.get(&section.definition)?)))
    }

    /// The model that a framework serves: its own, or the plan's.
    #[must_use]
    pub fn model_of<'a>(&'a self, section: &'a FrameworkPlan) -> &'a String {
        section.model.as_ref().unwrap_or(&self.model)
    }

    /// Reads a plan in which [`super::load`] found no error.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let mut plan = PlanReader { plan: value, defaults: Members::new() };
        let scenarios = scenarios(&mut plan);
        let model =
            plan.text(&["/model", "/model/path", "/model/model_path", "/model/name", "/model/id"]).unwrap_or_default();
        let gpu_count = plan.value("/hardware/gpu_count").as_u64().map(count32);
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
                multi_node: plan.is_set("/hardware/multi_node"),
                ..Hardware::default()
            },
            scenarios,
            loads: loads(&mut plan),
            repeats: count32(plan.count("/benchmark/repeats")),
            benchmark: benchmark(&mut plan),
            check: check(&mut plan),
            acceptance_length: plan.plan["benchmark"]["acceptance_length"].as_f64(),
            sla,
            weights: value["dataset"]["weights"].as_object().cloned().unwrap_or_default(),
            max_candidates: candidates(&mut plan),
            tier: plan.count("/search/tier"),
            stages: value["search"]["stages"].as_u64().unwrap_or(1),
            // The check has already reported what is no time.
            fit: value["search"]["fit"].as_str().and_then(|text| span(text).ok()),
            strategy: strategy(&mut plan),
            allow: texts(&value["search"]["allow"]),
            search_seed: value["search"]["seed"].as_u64().or(value["benchmark"]["seed"].as_u64()).unwrap_or(1),
            speculative: false,
            checked: PlanCheck::default(),
            frameworks: frameworks(value),
            defaults: plan.defaults,
        }
    }

    /// A framework's baseline flags, with tensor parallelism over all GPUs unless the plan sets a degree of parallelism.
    #[must_use]
    pub fn base(&self, section: &FrameworkPlan, framework: &Framework) -> Members {
        let mut base = section.base.clone();
        let parallel = &framework.parallelism;
        let named = parallel.multiply.iter().any(|knob| base.contains_key(knob) && !parallel.shares(knob, &base));
        let gpus = self.hardware.gpu_count.filter(|gpus| *gpus > 0);
        if let (Some(tensor), Some(gpus), false) = (&parallel.tensor, gpus, named) {
            base.insert(tensor.clone(), gpus.into());
        }
        base
    }

    /// True if the prefix cache is emptied between runs.
    pub(super) fn cache_reset(&self) -> bool {
        self.benchmark.cache == CachePolicy::Reset
    }

    /// Applies the substitutions that the check found.
    pub(super) fn substitute(&mut self) {
        for substitution in &self.checked.substitutions {
            let own = self.frameworks.iter_mut().filter(|section| section.name == substitution.framework);
            for section in own {
                section.substitute(&substitution.knob, substitution.to.as_deref());
            }
        }
    }
}

/// Maximum number of candidates per framework; tier 3 has none unless the plan sets it.
fn candidates(plan: &mut PlanReader) -> usize {
    let pointer = "/search/max_candidates_per_framework";
    let silent = plan.plan.pointer(pointer).is_none_or(Value::is_null);
    if silent && plan.plan["search"]["tier"] == 3 {
        return usize::MAX;
    }
    usize::try_from(plan.count(pointer)).unwrap_or(usize::MAX)
}

/// The strategy from either of its two keys, otherwise the default of the tier.
fn strategy(plan: &mut PlanReader) -> Strategy {
    let own = if plan.plan["search"]["tier"] == 1 { Strategy::OneAtATime } else { Strategy::BoundedProduct };
    let word = plan.text(&["/search/strategy", "/search/candidate_generation"]);
    // The check has already reported an unknown word.
    let word =
        word.unwrap_or_else(|| plan.or("/search/strategy", own.as_str().into()).as_str().unwrap_or_default().into());
    word.parse().unwrap_or(own)
}

fn lengths(value: &Value) -> Vec<u32> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_u64).map(count32).collect(),
        one => one.as_u64().map(count32).into_iter().collect(),
    }
}

fn scenarios(plan: &mut PlanReader) -> Vec<Scenario> {
    // The check has already reported an unknown word.
    let kind = plan.value("/dataset/kind").as_str().and_then(|word| word.parse().ok()).unwrap_or(DatasetKind::Random);
    let dataset = &plan.plan["dataset"];
    let names = dataset["scenario_names"].as_array();
    let own_names: Option<Vec<String>> =
        names.map(|names| names.iter().filter_map(|n| n.as_str().map(String::from)).collect());
    if !kind.is_generated() {
        let path = dataset["path"].as_str().unwrap_or_default();
        let stem = path.rsplit('/').next().unwrap_or(path).split('.').next().unwrap_or(path);
        let name = own_names.and_then(|names| names.into_iter().next()).unwrap_or_else(|| stem.into());
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
    let input = lengths(&plan.value("/dataset/input_len"));
    let output = lengths(&plan.value("/dataset/output_len"));
    let pairs: Vec<(u32, u32)> = match product {
        true => input.iter().flat_map(|i| output.iter().map(|o| (*i, *o))).collect(),
        false => input.iter().copied().zip(output).collect(),
    };
    let names = own_names.unwrap_or_else(|| match pairs[..] {
        [(1000, 1000), (8000, 1000)] => vec!["chat".into(), "summarization".into()],
        _ => pairs.iter().map(|(i, o)| format!("in{i}_out{o}")).collect(),
    });
    let named = names.into_iter().zip(pairs);
    named.map(|(name, (input_len, output_len))| Scenario { name, input_len, output_len, ..model.clone() }).collect()
}

fn loads(plan: &mut PlanReader) -> Vec<Load> {
    // The check has already reported an unknown word.
    let arrivals = plan.plan.pointer("/benchmark/arrivals").and_then(Value::as_str).and_then(|kind| kind.parse().ok());
    let arrivals = arrivals.filter(|kind| *kind != Arrivals::Poisson);
    let load = |mode| Load { mode, arrivals: arrivals.filter(|_| mode == LoadMode::Open), ..Load::default() };
    let mut loads = Vec::new();
    for rate in plan.plan.pointer("/benchmark/request_rates").and_then(Value::as_array).into_iter().flatten() {
        let value = rate.get("rate").unwrap_or(rate);
        let mut one = Load { rate: value.as_f64(), cap: rate["cap"].as_u64().map(count32), ..load(LoadMode::Open) };
        if value.as_str().and_then(|word| word.parse().ok()) == Some(Arrivals::Trace) {
            one.arrivals = Some(Arrivals::Trace);
        }
        loads.push(one);
    }
    if plan.is_set("/benchmark/burst") {
        loads.push(load(LoadMode::Burst));
    }
    let searches_users = plan.plan.pointer("/benchmark/concurrency").is_some_and(Value::is_object);
    let concurrency = match plan.plan.pointer("/benchmark/max_concurrency") {
        Some(Value::Array(items)) => items.clone(),
        Some(one) => vec![one.clone()],
        None if loads.is_empty() && !searches_users => vec![plan.value("/benchmark/max_concurrency")],
        None => Vec::new(),
    };
    for entry in concurrency {
        loads.push(match entry.as_u64() {
            Some(n) => Load { concurrency: Some(count32(n)), ..load(LoadMode::Closed) },
            None => {
                let qps = Qps {
                    lower: plan.number("/benchmark/qps/lower"),
                    upper: plan.number("/benchmark/qps/upper"),
                    tolerance: plan.number("/benchmark/qps/tolerance"),
                    max_rounds: count32(plan.count("/benchmark/qps/max_rounds")),
                    max_probes: count32(plan.count("/benchmark/qps/max_probes")),
                    prune: plan.is_set("/benchmark/qps/prune"),
                };
                Load { qps: Some(qps), ..load(LoadMode::Open) }
            }
        });
    }
    if searches_users {
        let users = Users {
            lower: count32(plan.count("/benchmark/concurrency/lower")),
            upper: count32(plan.count("/benchmark/concurrency/upper")),
            max_rounds: count32(plan.count("/benchmark/concurrency/max_rounds")),
            max_probes: count32(plan.count("/benchmark/concurrency/max_probes")),
            prune: plan.is_set("/benchmark/concurrency/prune"),
        };
        loads.push(Load { users: Some(users), ..load(LoadMode::Closed) });
    }
    loads
}

fn benchmark(plan: &mut PlanReader) -> Benchmark {
    let smoke = plan.is_set("/benchmark/smoke");
    let pointer = if plan.plan.pointer("/dataset/num_prompts").is_some() {
        "/dataset/num_prompts"
    } else {
        "/benchmark/num_prompts"
    };
    let usual = if smoke { SMOKE_PROMPTS.into() } else { default_at("/benchmark/num_prompts") };
    let num_prompts = plan.or(pointer, usual).as_u64().unwrap_or_default();
    Benchmark {
        endpoint: plan
            .value("/benchmark/endpoint")
            .as_str()
            .and_then(|endpoint| endpoint.parse().ok())
            .unwrap_or_default(),
        num_prompts: count32(num_prompts),
        duration_s: plan.plan.pointer("/benchmark/duration_s").and_then(Value::as_f64),
        warmup_requests: count32(plan.count("/benchmark/warmup_requests")),
        warmup_s: plan.plan.pointer("/benchmark/warmup_s").and_then(Value::as_f64),
        seed: plan.count("/benchmark/seed"),
        ignore_eos: plan.value("/benchmark/ignore_eos") == true,
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
        smoke: smoke || num_prompts <= SMOKE_PROMPTS,
    }
}

/// What to check of the answers; `None` where the plan does not say.
fn check(plan: &mut PlanReader) -> Option<CheckSettings> {
    // The check of the plan has already reported an unknown word.
    match plan.plan.get("check")? {
        Value::String(word) => word.parse().ok().map(CheckSettings::of),
        Value::Object(_) => Some(CheckSettings {
            candidates: plan.value("/check/candidates").as_str().and_then(|word| word.parse().ok()).unwrap_or_default(),
            questions: count32(plan.count("/check/questions")),
            file: plan.text(&["/check/file"]),
            max_tokens: count32(plan.count("/check/max_tokens")),
            in_flight: None,
        }),
        _ => None,
    }
    .filter(|check| check.candidates != CheckScope::None)
}

/// Extra members of the request. The temperature is always sent, so that no server uses a default of its own.
fn sampling(plan: &mut PlanReader) -> Members {
    let mut members = plan.plan["benchmark"]["extra_request_body"].as_object().cloned().unwrap_or_default();
    if !members.contains_key("temperature") {
        members.insert("temperature".into(), 0.into());
        plan.defaults.insert("benchmark.extra_request_body.temperature".into(), 0.into());
    }
    members
}
