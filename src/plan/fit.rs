//! Whether the weights fit: their size over the GPUs that share them, against the memory of one.

use std::sync::LazyLock;

use serde::Deserialize;

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::model::{ModelFacts, bits};
use super::read::Plan;
use crate::base::yaml;
use crate::base::yaml::escape;
use crate::engines::framework::Framework;

/// Part of a GPU's memory that weights may take: the rest is for the KV cache, activations and the runtime.
const USABLE: f64 = 0.9;
/// Memory of GPUs, by the words of their names; the first that matches counts.
static GPUS: LazyLock<Vec<GpuMemory>> = LazyLock::new(|| {
    yaml::typed(include_str!("../../configs/rules/gpus.yaml"), "configs/rules/gpus.yaml")
        .expect("compiled in, and tested")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GpuMemory {
    name: String,
    gb: f64,
}

/// Memory of one GPU, GB: as its own name says, else by its family.
#[must_use]
pub fn memory_gb(gpu: &str) -> Option<f64> {
    let words: Vec<String> = gpu.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_uppercase).collect();
    let said = words.iter().zip(words.iter().skip(1).map(String::as_str).chain([""])).find_map(|(word, next)| {
        let number = word.strip_suffix("GB").unwrap_or(if next == "GB" { word } else { "" });
        number.parse::<f64>().ok()
    });
    let family = || GPUS.iter().find(|gpu| gpu.name.split(' ').all(|part| words.iter().any(|word| word == part)));
    said.or_else(|| family().map(|gpu| gpu.gb))
}

/// Warns of weights that do not fit, with the arithmetic; a folder with an engine is no model.
pub fn check(plan: &Plan, known: &CheckContext, found: &mut Vec<Finding>) {
    let on_gpus = plan.hardware.gpu_count != Some(0);
    for given in plan.frameworks.iter().filter(|given| given.enabled && on_gpus) {
        let Some(framework) = known.frameworks.get(&given.definition) else { continue };
        let facts = known.models.get(given.model.as_ref().unwrap_or(&plan.model)).cloned().unwrap_or_default();
        let Some((size, what)) = weights(plan, given, framework, &facts) else { continue };
        let (share, gpus) = sharing(plan, given, framework);
        let each = size / share;
        let Some((gpu, memory)) = plan.hardware.gpu_model.as_ref().and_then(|gpu| Some((gpu, memory_gb(gpu)?))) else {
            continue;
        };
        if each > memory * USABLE {
            let at = format!("/frameworks/{}/base_server_flags", escape(&given.name));
            let how = if each > memory { "do not fit" } else { "hardly fit" };
            let why = format!(
                "the weights {how}: {what} are {size:.0} GB, {each:.0} GB for each of {gpus}, and {gpu} has {memory:.0} GB, of which about {:.0} % are for weights",
                USABLE * 100.0
            );
            found.push(Finding::warning(&at, why));
        }
    }
}

/// The weights in GB, and how that is known.
fn weights(plan: &Plan, given: &FrameworkPlan, framework: &Framework, facts: &ModelFacts) -> Option<(f64, String)> {
    let quantized = framework.with_role("quantization");
    let by_flag = quantized.filter_map(|(name, _)| given.base.get(name)?.as_str()).find_map(bits);
    let asked = given.quantization.as_deref().or(plan.quantization.as_deref()).and_then(bits);
    let quantized = by_flag.or(asked);
    if let (Some(bytes), None) = (facts.bytes, quantized) {
        return Some((bytes / 1e9, "its files".into()));
    }
    let parameters = plan.parameters.or(facts.parameters)?;
    let known = quantized.or_else(|| plan.precision.as_deref().and_then(bits)).or(plan.weights_bits).or(facts.bits)?;
    Some((parameters * known / 8e9, format!("{:.1}e9 parameters at {known} bits", parameters / 1e9)))
}

/// How many GPUs share the weights, and which degrees say so: replicas share nothing.
fn sharing(plan: &Plan, given: &FrameworkPlan, framework: &Framework) -> (f64, String) {
    let mut terms: Vec<(String, u64)> = Vec::new();
    for role in ["tensor_parallel", "pipeline_parallel"] {
        let knobs = framework.with_role(role);
        let degree = knobs.filter_map(|(name, _)| Some((name, given.base.get(name)?.as_u64()?))).next();
        terms.extend(degree.filter(|(_, n)| *n > 1).map(|(name, n)| (name.to_string(), n)));
    }
    if terms.is_empty() {
        let parallel = framework.parallelism.multiply.iter().any(|knob| given.base.contains_key(knob));
        let all = plan.hardware.gpu_count.filter(|_| !parallel).unwrap_or(1);
        return (all.into(), format!("{all} GPUs"));
    }
    let share = terms.iter().fold(1.0, |product, (_, n)| product * *n as f64);
    (share, terms.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(" × "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_by_a_gpus_name() {
        assert_eq!(memory_gb("NVIDIA H100 80GB HBM3"), Some(80.0));
        assert_eq!(memory_gb("NVIDIA A100-SXM4-40GB"), Some(40.0));
        assert_eq!(memory_gb("H200"), Some(141.0));
        assert_eq!(memory_gb("NVIDIA GeForce RTX 5090"), Some(32.0));
        assert_eq!(memory_gb("Tesla of tomorrow"), None);
    }
}
