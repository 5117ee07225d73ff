//! Candidates: the baseline first, then the bounded product of the search space.

mod render;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::digest;
use crate::error::{Error, Result};
use crate::framework::{Framework, Frameworks};
use crate::plan::{FrameworkPlan, Plan};
use crate::row::SCHEMA_VERSION;
use crate::schema::{Candidate, CandidateServer, LauncherStep, Members, Search, Status, Unit};

/// One flag set of a framework.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagSet {
    /// Baseline and search values together.
    pub flags: Members,
    /// What differs from the baseline.
    pub changed: Members,
}

/// What was made of one framework's search space.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// The framework's name in the plan.
    pub framework: String,
    /// Its candidates, the baseline first.
    pub candidates: Vec<Candidate>,
    /// Flag sets before the cap.
    pub space: usize,
}

/// The baseline, then the product of the search space, last knob fastest, without duplicates, `cap` at most; and how many
/// there would be without the cap.
#[must_use]
pub fn flag_sets(base: &Members, space: &[(String, Vec<Value>)], cap: usize) -> (Vec<FlagSet>, usize) {
    let mut seen = BTreeSet::from([digest::canonical(&Value::Object(base.clone()))]);
    let mut sets = vec![FlagSet { flags: base.clone(), changed: Members::new() }];
    // A product beyond this is counted by its size, not one by one.
    let size = space.iter().fold(1usize, |size, (_, values)| size.saturating_mul(values.len().max(1)));
    let mut index = vec![0; space.len()];
    let mut tried = 0usize;
    while tried < size && !space.is_empty() && (sets.len() < cap || tried < 100_000) {
        tried += 1;
        let mut flags = base.clone();
        for ((knob, values), &i) in space.iter().zip(&index) {
            if let Some(value) = values.get(i) {
                flags.insert(knob.clone(), value.clone());
            }
        }
        if seen.insert(digest::canonical(&Value::Object(flags.clone()))) && sets.len() < cap.max(1) {
            let changed = flags.iter().filter(|(knob, value)| base.get(*knob) != Some(value));
            let changed = changed.map(|(knob, value)| (knob.clone(), value.clone())).collect();
            sets.push(FlagSet { flags, changed });
        }
        // The last knob varies fastest.
        for (at, (_, values)) in space.iter().enumerate().rev() {
            index[at] += 1;
            if index[at] < values.len() {
                break;
            }
            index[at] = 0;
        }
    }
    let space = if tried < size { size } else { seen.len() };
    (sets, space)
}

/// The candidates of every framework of a plan.
///
/// # Errors
/// A framework without a definition.
pub fn expand(plan: &Plan, frameworks: &Frameworks) -> Result<Vec<Expansion>> {
    plan.frameworks.iter().map(|given| one(plan, given, frameworks)).collect()
}

/// All candidates in the order in which they are tried: every framework's baseline before any second candidate.
#[must_use]
pub fn round_robin(expansions: Vec<Expansion>) -> Vec<Candidate> {
    let mut queues: Vec<_> = expansions.into_iter().map(|e| e.candidates.into_iter()).collect();
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(queues.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

fn one(plan: &Plan, given: &FrameworkPlan, frameworks: &Frameworks) -> Result<Expansion> {
    let no_definition =
        || Error::new(format!("there is no framework definition {:?}", given.definition)).at(given.name.clone());
    let framework = frameworks.get(&given.definition).ok_or_else(no_definition)?;
    let mut base = given.base.clone();
    let parallel = &framework.parallelism;
    let names_parallelism = parallel.multiply.iter().any(|knob| base.contains_key(knob));
    if let (Some(tensor), Some(gpus), false) = (&parallel.tensor, plan.hardware.gpu_count, names_parallelism) {
        base.insert(tensor.clone(), gpus.into());
    }
    if !given.enabled {
        let set = FlagSet { flags: base, changed: Members::new() };
        let mut candidate = candidate(plan, given, framework, set, (0, 1, 1));
        skip(&mut candidate, "excluded", "excluded by the user (enabled: false)".into());
        return Ok(Expansion { framework: given.name.clone(), candidates: vec![candidate], space: 1 });
    }
    let (sets, space) = flag_sets(&base, &given.space, plan.max_candidates);
    let of = sets.len();
    let numbered = sets.into_iter().enumerate();
    let candidates = numbered.map(|(i, set)| candidate(plan, given, framework, set, (i, of, space))).collect();
    Ok(Expansion { framework: given.name.clone(), candidates, space })
}

fn skip(candidate: &mut Candidate, class: &str, reason: String) {
    candidate.status = Some(Status::Skipped);
    candidate.failure_class = Some(class.into());
    candidate.failure_reason = Some(reason);
}

fn candidate(
    plan: &Plan,
    given: &FrameworkPlan,
    framework: &Framework,
    set: FlagSet,
    (index, of, space): (usize, usize, usize),
) -> Candidate {
    let model = given.model.clone().unwrap_or_else(|| plan.model.clone());
    let mut rendered = render::nested(&set.flags);
    let files = render::files(framework, &mut rendered);
    let argv = render::argv(framework, given, &model, &rendered);
    let mut env = framework.env.clone();
    env.extend(given.env.clone());
    if let Some(devices) = &plan.hardware.visible_devices {
        env.entry("CUDA_VISIBLE_DEVICES".into()).or_insert_with(|| Some(devices.clone()));
    }
    let server = CandidateServer {
        definition: framework.name.clone(),
        argv,
        env,
        files,
        flags: set.flags,
        changed: set.changed,
        launcher: launchers(given, framework),
        image: given.image.clone(),
        mounts: given.mounts.clone(),
    };
    let mut content = json!([server.definition, server.argv, server.env, server.files, model, plan.hardware]);
    // What is not there changes no id.
    let local = [LauncherStep::plain("local")];
    let launcher = if server.launcher == local { json!(null) } else { json!(server.launcher) };
    for more in [json!(server.image), json!(server.mounts), launcher] {
        if !more.is_null() && more != json!([]) {
            content.as_array_mut().expect("made as a list above").push(more);
        }
    }
    let mut candidate = Candidate {
        framework: given.name.clone(),
        candidate_id: format!("{}-{}", given.name, digest::short(&content)),
        model,
        tokenizer: plan.tokenizer.clone(),
        precision: plan.precision.clone(),
        quantization: given.quantization.clone().or_else(|| plan.quantization.clone()),
        hardware: plan.hardware.clone(),
        server_command: render::command(framework, &server),
        server,
        scenarios: plan.scenarios.clone(),
        loads: plan.loads.clone(),
        units: Vec::new(),
        benchmark: plan.benchmark.clone(),
        sla: plan.sla.clone(),
        search: Search { strategy: plan.strategy.clone(), index, of, space, baseline: index == 0 },
        simulated: framework.simulated,
        status: None,
        failure_class: None,
        failure_reason: None,
    };
    candidate.units = units(&candidate, plan.repeats);
    if let Some(why) = misfit(&candidate, framework) {
        skip(&mut candidate, "unsupported", why);
    }
    for (knob, rule) in &framework.fixed {
        let value = candidate.server.flags.get(knob).cloned();
        if let Some(value) = value.filter(|value| *value != rule.value) {
            skip(
                &mut candidate,
                "unsupported",
                format!("{knob} {value} is unsupported, {} is: {}", rule.value, rule.reason),
            );
        }
    }
    candidate
}

/// The plan's launchers, with what the framework asks of them where the plan says nothing.
fn launchers(given: &FrameworkPlan, framework: &Framework) -> Vec<LauncherStep> {
    let mut steps = given.launcher.clone();
    for step in &mut steps {
        if let Some(options) = framework.launcher_options.get(&step.name) {
            step.options.entry("options".into()).or_insert_with(|| options.clone());
        }
    }
    steps
}

/// Why a candidate cannot run on this hardware: a value that needs another GPU, or more GPUs than there are.
fn misfit(candidate: &Candidate, framework: &Framework) -> Option<String> {
    let flags = &candidate.server.flags;
    for rule in &framework.requires {
        let Some(knob) = rule.knobs.iter().find(|knob| flags.get(*knob) == Some(&rule.value)) else { continue };
        // An unknown GPU is not known to be the wrong one.
        let Some(gpu) = &candidate.hardware.gpu_model else { continue };
        let words: Vec<String> = gpu.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_uppercase).collect();
        if !rule.gpus.iter().any(|family| words.contains(&family.to_ascii_uppercase())) {
            return Some(format!(
                "{knob} {} is unsupported on {gpu}: {}; use {}",
                rule.value, rule.reason, rule.instead
            ));
        }
    }
    if let Some(why) = too_short(candidate, framework) {
        return Some(why);
    }
    let degrees = framework.parallelism.multiply.iter().filter_map(|knob| Some((knob, flags.get(knob)?.as_u64()?)));
    let degrees: Vec<_> = degrees.collect();
    let needed = degrees.iter().fold(1u64, |product, (_, n)| product.saturating_mul(*n));
    let budget = candidate.hardware.gpu_count.map(u64::from)?;
    let terms = || degrees.iter().map(|(knob, n)| format!("{knob} {n}")).collect::<Vec<_>>().join(" × ");
    (needed > budget).then(|| format!("{} needs {needed} GPUs, and gpu_count is {budget}", terms()))
}

/// Why its sequence limit does not hold the longest row of a data set. Lengths that a plan gives were checked with the plan.
fn too_short(candidate: &Candidate, framework: &Framework) -> Option<String> {
    let limit = framework.sequence_limit.as_ref()?;
    let number = |knob: &String| candidate.server.flags.get(knob).and_then(Value::as_u64);
    let shared = limit.divided_by.as_ref().and_then(number).unwrap_or(1).max(1);
    let holds = number(&limit.knob).filter(|n| *n > 0)? / shared;
    let known = candidate.scenarios.iter().filter_map(|s| s.dataset.as_ref());
    let longest = known.filter(|dataset| !dataset.estimated).max_by_key(|dataset| dataset.longest)?;
    (holds < longest.longest.into()).then(|| {
        format!(
            "{} {holds} does not hold the {} tokens of the longest row of {}",
            limit.knob,
            longest.longest,
            longest.name()
        )
    })
}

/// Scenario × load × repeat, each with the key of everything that its result depends on.
fn units(candidate: &Candidate, repeats: u32) -> Vec<Unit> {
    let mut units = Vec::new();
    for repeat in 0..repeats {
        for scenario in &candidate.scenarios {
            for (load, spec) in candidate.loads.iter().enumerate() {
                let mut hardware = candidate.hardware.clone();
                hardware.gpu_uuids.clear();
                let mut content = json!({
                    "schema": SCHEMA_VERSION, "framework": candidate.framework, "server": candidate.server.argv,
                    "env": candidate.server.env, "files": candidate.server.files, "definition": candidate.server.definition,
                    "model": candidate.model, "precision": candidate.precision, "quantization": candidate.quantization,
                    "hardware": hardware, "scenario": scenario.identity(), "load": spec, "benchmark": candidate.benchmark,
                    "repeat": repeat, "client": env!("CARGO_PKG_VERSION_MAJOR"),
                });
                if let Some(image) = &candidate.server.image {
                    content["image"] = image.as_str().into();
                }
                let key = digest::sha256(digest::canonical(&content).as_bytes())[..16].to_string();
                units.push(Unit { key, scenario: scenario.name.clone(), load, repeat });
            }
        }
    }
    units
}

/// True when a result of this status and class closes its units: what failed for a reason that passes is tried again.
#[must_use]
pub fn closes(status: Status, class: Option<&str>) -> bool {
    const PASSING: [&str; 12] = [
        "no_answer",
        "worker_died",
        "gpu_busy",
        "interrupted",
        "server_lost",
        "server_died",
        "client_saturated",
        "budget",
        "not_ready",
        "port_in_use",
        "lease_timeout",
        "client_failed",
    ];
    status != Status::Timeout && !class.is_some_and(|class| PASSING.contains(&class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(value: Value) -> Members {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn last_knob_varies_fastest() {
        let space = vec![("a".to_string(), vec![json!(1), json!(2)]), ("b".to_string(), vec![json!(3), json!(4)])];
        let (sets, size) = flag_sets(&members(json!({"a": 1, "b": 3, "c": 0})), &space, 10);
        let pairs: Vec<(i64, i64)> =
            sets.iter().map(|s| (s.flags["a"].as_i64().unwrap(), s.flags["b"].as_i64().unwrap())).collect();
        assert_eq!(pairs, [(1, 3), (1, 4), (2, 3), (2, 4)]);
        assert_eq!((size, &sets[1].changed), (4, &members(json!({"b": 4}))));
    }

    #[test]
    fn a_huge_space_is_only_counted() {
        let space: Vec<(String, Vec<Value>)> =
            (0..12).map(|k| (format!("k{k}"), (0..10).map(Value::from).collect())).collect();
        let (sets, size) = flag_sets(&Members::new(), &space, 5);
        assert_eq!((sets.len(), size), (5, 1_000_000_000_000));
    }

    proptest! {
        #[test]
        fn baseline_first_bounded_and_without_duplicates(
            base in proptest::collection::btree_map("[a-d]", 0u8..3, 0..4),
            space in proptest::collection::vec(("[a-d]", proptest::collection::vec(0u8..3, 1..4)), 0..4),
            cap in 1usize..12,
        ) {
            let base: Members = base.into_iter().map(|(k, v)| (k, v.into())).collect();
            let mut space: Vec<(String, Vec<Value>)> =
                space.into_iter().map(|(k, vs)| (k, vs.into_iter().map(Value::from).collect())).collect();
            space.sort_by(|a, b| a.0.cmp(&b.0));
            space.dedup_by(|a, b| a.0 == b.0);
            let (sets, size) = flag_sets(&base, &space, cap);
            prop_assert_eq!(&sets[0].flags, &base);
            prop_assert!(sets[0].changed.is_empty());
            prop_assert!(sets.len() <= cap && sets.len() == size.min(cap));
            let distinct: BTreeSet<String> = sets.iter().map(|s| digest::canonical(&Value::Object(s.flags.clone()))).collect();
            prop_assert_eq!(distinct.len(), sets.len());
            prop_assert!(sets[1..].iter().all(|s| !s.changed.is_empty()));
            prop_assert_eq!(flag_sets(&base, &space, cap), (sets, size));
        }
    }
}
