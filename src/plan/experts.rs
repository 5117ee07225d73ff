//! Whether GPUs can share the experts of an FP8 model: each needs whole blocks of them, or the server does not start.

use serde_json::Value;

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::model::ModelFacts;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Kind, KnobRole};
use crate::rows::words::FindingCode as Code;

/// Warns about baselines whose GPUs share the experts of a model in parts of blocks.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(context.frameworks) {
        let Some(facts) = context.facts(plan.model_of(section)) else { continue };
        found.extend(uneven_blocks(plan, section, framework, &facts));
    }
}

fn uneven_blocks(plan: &Plan, section: &FrameworkPlan, framework: &Framework, facts: &ModelFacts) -> Option<Finding> {
    let base = plan.base(section, framework);
    let tensor = framework.parallelism.tensor.as_ref()?;
    let gpus = base.get(tensor)?.as_u64()?.max(1);
    let set = framework.with_role(KnobRole::ExpertParallel).find_map(|(name, _)| base.get(name));
    let among = match set {
        Some(Value::Bool(true)) => 1,
        Some(degree) => gpus / degree.as_u64().unwrap_or(1).clamp(1, gpus),
        None => gpus,
    };
    let (width, block) = (facts.expert_width?, facts.block?);
    if facts.shares_experts(among) {
        return None;
    }
    let way_out =
        proposal(framework, gpus, facts).map_or(String::new(), |(knob, value)| format!(": set {knob}: {value}"));
    let why = format!(
        "{among} GPUs share each expert, {} columns of {width} on each, which is not divisible by the model's FP8 block of {block}{way_out}",
        width as f64 / among as f64
    );
    Some(Finding::value(Code::Experts, &format!("/frameworks/{}/base_server_flags", escape(&section.name)), why))
}

/// The knob for expert parallelism, and its smallest value with which this number of GPUs shares the experts of a model in
/// whole blocks.
#[must_use]
pub fn proposal(framework: &Framework, gpus: u64, facts: &ModelFacts) -> Option<(String, Value)> {
    let (name, knob) = framework.with_role(KnobRole::ExpertParallel).next()?;
    let value = match knob.kind {
        Some(Kind::Flag) => Value::Bool(true),
        _ => {
            let whole = |n: &u64| facts.experts.is_none_or(|experts| experts.is_multiple_of(*n));
            let degrees = (2..=gpus).filter(|n| gpus.is_multiple_of(*n)).filter(whole);
            degrees.into_iter().find(|n| facts.shares_experts(gpus / n))?.into()
        }
    };
    Some((name.to_string(), value))
}
