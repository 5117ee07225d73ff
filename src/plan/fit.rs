//! Whether the weights fit: their size over the GPUs that share them, against the memory of one.

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::model::{ModelFacts, bits};
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::framework::Framework;
use crate::engines::gpu_model::memory_gb;

/// Share of a GPU's memory available to weights; the rest is for the KV cache, activations and the runtime.
const USABLE: f64 = 0.9;
/// Warns about weights that do not fit, with the arithmetic.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    let on_gpus = plan.hardware.gpu_count != Some(0);
    for section in plan.frameworks.iter().filter(|section| section.enabled && on_gpus) {
        let Some(framework) = context.frameworks.get(&section.definition) else { continue };
        let facts = context.models.get(section.model.as_ref().unwrap_or(&plan.model)).cloned().unwrap_or_default();
        let Some((size, what)) = weights(plan, section, framework, &facts) else { continue };
        let (share, gpus) = sharing(plan, section, framework);
        let each = size / share;
        let Some((gpu, memory)) = plan.hardware.gpu_model.as_ref().and_then(|gpu| Some((gpu, memory_gb(gpu)?))) else {
            continue;
        };
        if each > memory * USABLE {
            let at = format!("/frameworks/{}/base_server_flags", escape(&section.name));
            let how = if each > memory { "do not fit" } else { "barely fit" };
            let why = format!(
                "the weights {how}: {what} take {size:.0} GB, {each:.0} GB on each of {gpus}, but {gpu} has {memory:.0} GB, about {:.0} % of it available to weights",
                USABLE * 100.0
            );
            found.push(Finding::warning(&at, why));
        }
    }
}

/// The size of the weights in GB, and the source of that number.
fn weights(plan: &Plan, section: &FrameworkPlan, framework: &Framework, facts: &ModelFacts) -> Option<(f64, String)> {
    let quantized = framework.with_role("quantization");
    let by_flag = quantized.filter_map(|(name, _)| section.base.get(name)?.as_str()).find_map(bits);
    let asked = section.quantization.as_deref().or(plan.quantization.as_deref()).and_then(bits);
    let quantized = by_flag.or(asked);
    if let (Some(bytes), None) = (facts.bytes, quantized) {
        return Some((bytes / 1e9, "its files".into()));
    }
    let parameters = plan.parameters.or(facts.parameters)?;
    let known = quantized.or_else(|| plan.precision.as_deref().and_then(bits)).or(plan.weights_bits).or(facts.bits)?;
    Some((parameters * known / 8e9, format!("{:.1}e9 parameters at {known} bits", parameters / 1e9)))
}

/// How many GPUs share the weights, and the degrees of parallelism behind it; replicas do not share.
fn sharing(plan: &Plan, section: &FrameworkPlan, framework: &Framework) -> (f64, String) {
    let mut terms: Vec<(String, u64)> = Vec::new();
    for role in ["tensor_parallel", "pipeline_parallel"] {
        let knobs = framework.with_role(role);
        let degree = knobs.filter_map(|(name, _)| Some((name, section.base.get(name)?.as_u64()?))).next();
        terms.extend(degree.filter(|(_, n)| *n > 1).map(|(name, n)| (name.to_string(), n)));
    }
    if terms.is_empty() {
        let parallel = framework.parallelism.multiply.iter().any(|knob| section.base.contains_key(knob));
        let all = plan.hardware.gpu_count.filter(|_| !parallel).unwrap_or(1);
        return (all.into(), format!("{all} GPUs"));
    }
    let share = terms.iter().fold(1.0, |product, (_, n)| product * *n as f64);
    (share, terms.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(" × "))
}
