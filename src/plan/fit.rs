//! Whether the weights fit: their size over the GPUs that share them, against the memory of one.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::{CheckContext, Finding, FrameworkPlan, Plan};
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

/// What a local folder tells about a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelFacts {
    /// Parameters, by the arithmetic of its `config.json`.
    pub parameters: Option<f64>,
    /// Bits of a weight, by its `config.json`.
    pub bits: Option<f64>,
    /// Bytes of its weights, by the index of its files.
    pub bytes: Option<f64>,
    /// Its files.
    pub files: Vec<String>,
}

impl ModelFacts {
    /// Reads a `config.json`, and the index of the weights where there is one.
    #[must_use]
    pub fn read(config: &Value, index: &Value, files: Vec<String>) -> Self {
        let text = if config["text_config"].is_object() { &config["text_config"] } else { config };
        let quantization = [config, text].into_iter().map(|c| &c["quantization_config"]).find(|q| q.is_object());
        let stored = [config, text].into_iter().find_map(|c| c["torch_dtype"].as_str().or(c["dtype"].as_str()));
        let bits = match quantization {
            Some(q) => q["bits"].as_f64().or_else(|| q["quant_method"].as_str().and_then(bits)),
            None => stored.and_then(bits),
        };
        Self { parameters: parameters(text), bits, bytes: index["metadata"]["total_size"].as_f64(), files }
    }
}

/// Parameters of a decoder by its `config.json`: embeddings, attention, and dense or expert layers.
#[must_use]
pub fn parameters(config: &Value) -> Option<f64> {
    let number = |keys: &[&str]| keys.iter().find_map(|key| config[*key].as_f64());
    let hidden = number(&["hidden_size", "n_embd"])?;
    let layers = number(&["num_hidden_layers", "n_layer"])?;
    let vocabulary = number(&["vocab_size"])?;
    let inner = number(&["intermediate_size", "n_inner"]).unwrap_or(4.0 * hidden);
    let heads = number(&["num_attention_heads", "n_head"])?;
    let kv_heads = number(&["num_key_value_heads"]).unwrap_or(heads);
    let head = number(&["head_dim"]).unwrap_or(hidden / heads);
    let embeddings = vocabulary * hidden * if config["tie_word_embeddings"] == true { 1.0 } else { 2.0 };
    let attention = 2.0 * hidden * head * (heads + kv_heads);
    let experts = number(&["num_experts", "n_routed_experts", "num_local_experts"]).unwrap_or(0.0);
    let dense = 3.0 * hidden * inner;
    let sparse = if experts > 0.0 {
        let width = number(&["moe_intermediate_size"]).unwrap_or(inner);
        let shared = number(&["n_shared_experts"]).unwrap_or(0.0);
        3.0 * hidden * width * (experts + shared) + hidden * experts
    } else {
        dense
    };
    let first = if experts > 0.0 { number(&["first_k_dense_replace"]).unwrap_or(0.0) } else { 0.0 };
    Some(embeddings + layers * attention + first * dense + (layers - first) * sparse)
}

/// Bits of a weight in a format, by its name.
fn bits(name: &str) -> Option<f64> {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match () {
        () if has(&["mxfp4", "nvfp4", "fp4", "int4", "awq", "gptq", "w4a"]) => Some(4.5),
        () if has(&["fp8", "int8", "w8a8", "mxfp8", "modelopt"]) => Some(8.0),
        () if has(&["bf16", "bfloat16", "fp16", "float16", "half"]) => Some(16.0),
        () if has(&["fp32", "float32", "float"]) => Some(32.0),
        () => None,
    }
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
    use serde_json::json;

    #[test]
    fn parameters_by_the_arithmetic_of_a_config() {
        // Llama 3.1 8B has 8.03e9; Qwen3-30B-A3B 30.5e9.
        let llama = json!({"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 128_256, "intermediate_size": 14336,
                           "num_attention_heads": 32, "num_key_value_heads": 8});
        assert!((parameters(&llama).unwrap() / 8.03e9 - 1.0).abs() < 0.01);
        let qwen = json!({"hidden_size": 2048, "num_hidden_layers": 48, "vocab_size": 151_936, "intermediate_size": 6144,
                          "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
                          "moe_intermediate_size": 768});
        assert!((parameters(&qwen).unwrap() / 30.5e9 - 1.0).abs() < 0.02);
    }

    #[test]
    fn memory_by_a_gpus_name() {
        assert_eq!(memory_gb("NVIDIA H100 80GB HBM3"), Some(80.0));
        assert_eq!(memory_gb("NVIDIA A100-SXM4-40GB"), Some(40.0));
        assert_eq!(memory_gb("H200"), Some(141.0));
        assert_eq!(memory_gb("NVIDIA GeForce RTX 5090"), Some(32.0));
        assert_eq!(memory_gb("Tesla of tomorrow"), None);
    }
}
