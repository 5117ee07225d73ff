//! Generates candidates: the baseline first, then flag sets from the search space, by the plan's strategy.

mod calibration;
mod candidate;
mod change;
mod check_cost;
mod cost_table;
mod estimate;
mod estimator;
mod finalists;
mod fit;
mod pairwise;
mod part;
mod render;
mod search_cost;
mod slot_check;
mod space;
mod stages;
mod strategy;
mod unit;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::calibration::calibration;
pub use self::cost_table::cost_table;
pub use self::estimate::{Estimate, in_words};
pub use self::estimator::{Estimator, Observed, UnitKind};
pub use self::finalists::{Finalists, FirstPassScore, finalists};
pub use self::fit::{Fitted, fit, in_time, skipped};
pub use self::part::CandidatePart;
pub use self::slot_check::slot_check;
pub use self::stages::{StageCandidates, StageFinding, StagedSweep, likely_after, likely_stages};
pub use self::strategy::size;

use self::candidate::{CandidateBuilder, PlanMembers};
use self::space::{FlagSet, FlagSetSearch, FlagSets};

use super::{FrameworkPlan, Plan};
use crate::base::error::{Error, Result};
use crate::engines::framework::Frameworks;
use crate::rows::kinds::{Candidate, Members, Status};
use crate::rows::words::{FailureClass, Strategy};

/// The expansion of one framework's search space.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// The framework's name in the plan.
    pub framework: String,
    /// Its candidates, the baseline first; skipped ones last, one for each reason.
    pub candidates: Vec<Candidate>,
    /// Number of combinations in the search space.
    pub space: usize,
    /// Allowed values that no candidate has, by knob.
    pub never_tried: Members,
}

/// The candidates of every framework of a plan.
///
/// # Errors
/// A framework without a definition.
pub fn expand(plan: &Plan, frameworks: &Frameworks) -> Result<Vec<Expansion>> {
    let shared = PlanMembers::of(plan);
    plan.frameworks.iter().map(|section| one(plan, &shared, section, frameworks)).collect()
}

/// All candidates in the order in which they run: the baselines of all frameworks before any other candidate.
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

fn one(plan: &Plan, shared: &PlanMembers, section: &FrameworkPlan, frameworks: &Frameworks) -> Result<Expansion> {
    let no_definition =
        || Error::new(format!("unknown framework definition {:?}", section.definition)).at(section.name.clone());
    let framework = frameworks.get(&section.definition).ok_or_else(no_definition)?;
    let base = plan.base(section, framework);
    let baseline = FlagSet { flags: base.clone(), changed: Members::new(), why: "baseline".into() };
    let make = CandidateBuilder { plan, shared, section, framework, launchers: frameworks.launchers() };
    if !section.enabled {
        let search = make.search(&baseline, 0, 1, 1);
        let mut candidate = make.candidate(baseline, search);
        skip(&mut candidate, FailureClass::Excluded, "excluded by the user (enabled: false)".into());
        let framework = section.name.clone();
        return Ok(Expansion { framework, candidates: vec![candidate], space: 1, never_tried: Members::new() });
    }
    let space: Vec<(String, Vec<Value>)> = match plan.tier {
        1 => strategy::first_tier(&base, &section.space),
        _ => section.space.clone(),
    };
    let FlagSets { sets, refused, refused_values } = FlagSetSearch { plan, section, framework }.sets(baseline, &space);
    // A list is complete; any other strategy may leave values out.
    let never_tried = match plan.strategy {
        Strategy::Ordered => Members::new(),
        _ => space::never_tried(&section.space, &sets, &refused_values),
    };
    let (of, size) = (
        sets.len() + refused.len(),
        if plan.strategy == Strategy::Ordered { section.list.len() } else { strategy::size(&space) },
    );
    let all = sets.into_iter().map(|set| (set, None)).chain(refused.into_iter().map(|(set, why)| (set, Some(why))));
    let mut candidates = Vec::with_capacity(of);
    for (index, (set, refusal)) in all.enumerate() {
        let mut search = make.search(&set, index, of, size);
        search.never_tried.clone_from(&never_tried);
        let mut candidate = make.candidate(set, search);
        if let Some(refusal) = refusal {
            skip(&mut candidate, refusal.class, refusal.reason);
        }
        candidates.push(candidate);
    }
    // A skipped baseline still comes first.
    candidates.sort_by_key(|candidate| !candidate.search.baseline);
    Ok(Expansion { framework: section.name.clone(), candidates, space: size, never_tried })
}

/// The plan of the second stage, which searches only the knobs for speculative decoding, on top of the best candidate of
/// each framework; and the frameworks that have no such candidate.
#[must_use]
pub fn on_top_of(
    mut plan: Plan,
    first: &[Expansion],
    leaders: &BTreeMap<String, String>,
    frameworks: &Frameworks,
) -> (Plan, Vec<String>) {
    let all = || first.iter().flat_map(|e| &e.candidates);
    let mut without = Vec::new();
    plan.speculative = true;
    plan.frameworks.retain_mut(|section| {
        let leader = leaders.get(&section.name);
        let best = leader.and_then(|id| all().find(|candidate| candidate.candidate_id == *id));
        let (Some(best), Some(framework)) = (best, frameworks.get(&section.definition)) else {
            without.extend(section.enabled.then(|| section.name.clone()));
            return false;
        };
        section.base.clone_from(&best.server.flags);
        section.space.retain(|(knob, _)| framework.is_speculative(knob));
        section.list.retain(|changes| changes.keys().all(|knob| framework.is_speculative(knob)));
        true
    });
    (plan, without)
}

fn skip(candidate: &mut Candidate, class: FailureClass, reason: String) {
    candidate.status = Some(Status::Skipped);
    candidate.failure_class = Some(class);
    candidate.failure_reason = Some(reason);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CheckContext, load};
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    /// The expansion of a plan for a framework with the knobs a to d.
    fn expanded(base: &Value, space: &Value, search: &Value) -> Expansion {
        let text = "{name: x, title: X, command: [x], model_flag: --model, host_flag: --host, port_flag: --port, default_port: 1, \
                    flags: {words: dash, booleans: switch}, probe: {health_path: /h}, parallelism: {tensor: null}, \
                    sequence_limit: null, served_name_flag: null, reset_path: null, \
                    knobs: {all: [a, b, c, d]}, request: {token_id_prompts: true, exact_length: {}}, \
                    rules: [{allow: no_nine, knobs: [a, b, c, d], values: [9], reason: nine}]}";
        let frameworks = Frameworks::load(&[("x.yaml".into(), text.into())], &[]).unwrap();
        let plan = json!({"model": "m", "sla": {"max_p50_ttft_ms": 1}, "search": search,
                          "frameworks": {"x": {"base_server_flags": base, "search_space": space}}});
        let (found, plan) = load(&plan, &CheckContext::only(&frameworks));
        let plan = plan.unwrap_or_else(|| panic!("{found:?}"));
        expand(&plan, &frameworks).unwrap().remove(0)
    }

    #[test]
    fn a_candidate_has_its_number_of_gpus_if_below_the_budget() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let plan = json!({"model": "m", "hardware": {"gpu_count": 4}, "sla": {"max_p50_ttft_ms": 1},
                          "frameworks": {"vllm": {"search_space": {"tensor_parallel_size": [2, 1]}}}});
        let (found, plan) = load(&plan, &CheckContext::only(&frameworks));
        let all = expand(&plan.unwrap_or_else(|| panic!("{found:?}")), &frameworks).unwrap().remove(0);
        let gpus: Vec<Option<u32>> = all.candidates.iter().map(|candidate| candidate.gpus).collect();
        assert_eq!(gpus, [None, Some(2), Some(1)], "absent if it is the whole budget");
    }

    #[test]
    fn refused_flag_sets_do_not_count_towards_the_maximum() {
        let all = expanded(
            &json!({"a": 1}),
            &json!({"a": [9, 1, 2], "b": [9, 3]}),
            &json!({"max_candidates_per_framework": 3}),
        );
        let run: Vec<String> = all
            .candidates
            .iter()
            .filter(|c| c.status.is_none())
            .map(|c| Value::Object(c.server.changed.clone()).to_string())
            .collect();
        assert_eq!(run, ["{}", "{\"b\":3}", "{\"a\":2,\"b\":3}"]);
        let refused: Vec<&FailureClass> = all.candidates.iter().filter_map(|c| c.failure_class.as_ref()).collect();
        assert_eq!(refused, [&FailureClass::Rule, &FailureClass::Rule]);
        assert!(all.never_tried.is_empty());
    }

    #[test]
    fn values_left_out_by_the_maximum_are_reported() {
        let all =
            expanded(&json!({}), &json!({"a": [1, 2, 3], "b": [4, 5]}), &json!({"max_candidates_per_framework": 4}));
        assert_eq!((all.space, all.candidates.len()), (6, 4));
        assert_eq!(Value::Object(all.never_tried), json!({"a": [3]}));
    }

    #[test]
    fn nothing_to_search_leaves_the_baseline() {
        for strategy in ["baseline_first_bounded_product", "one_at_a_time", "pairwise", "random"] {
            let search = json!({"max_candidates_per_framework": 1, "strategy": strategy});
            let all = expanded(&json!({}), &json!({}), &search);
            let [baseline] = &all.candidates[..] else { panic!("{strategy}: {:?}", all.candidates) };
            assert!(baseline.search.baseline && baseline.server.flags.is_empty(), "{strategy}: {baseline:?}");
        }
    }

    proptest! {
        #[test]
        fn baseline_first_bounded_and_without_duplicates(
            base in proptest::collection::btree_map("[a-d]", 0u8..3, 0..4),
            space in proptest::collection::btree_map("[a-d]", proptest::collection::btree_set(0u8..3, 1..4), 0..4),
            cap in 1usize..12,
            strategy in prop_oneof![
                Just("baseline_first_bounded_product"), Just("one_at_a_time"), Just("pairwise"), Just("random")],
        ) {
            let search = json!({"max_candidates_per_framework": cap, "strategy": strategy});
            let (base, space) = (json!(base), json!(space));
            let all = expanded(&base, &space, &search);
            prop_assert_eq!(Value::Object(all.candidates[0].server.flags.clone()), base.clone());
            prop_assert!(all.candidates[0].search.baseline && !all.candidates[1..].iter().any(|c| c.search.baseline));
            prop_assert!(all.candidates.len() <= cap);
            let ids: BTreeSet<&String> = all.candidates.iter().map(|c| &c.candidate_id).collect();
            prop_assert_eq!(ids.len(), all.candidates.len());
            prop_assert!(all.candidates.iter().all(|c| !c.search.why.is_empty()));
            prop_assert_eq!(all, expanded(&base, &space, &search));
        }
    }
}
