//! The size of a model, from the files of its folder.

use serde_json::Value;

use super::shape::texts;

/// How a `config.json` calls the number of experts.
const EXPERTS: [&str; 3] = ["num_experts", "n_routed_experts", "num_local_experts"];

/// Facts about a model, from its local folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelFacts {
    /// Number of parameters, calculated from `config.json`.
    pub parameters: Option<f64>,
    /// Bits per weight, from `config.json`.
    pub bits: Option<f64>,
    /// Size of its weights in bytes, from the index of its files.
    pub bytes: Option<f64>,
    /// Number of attention heads, from `config.json`.
    pub heads: Option<u64>,
    /// Number of experts of a layer, from `config.json`.
    pub experts: Option<u64>,
    /// Columns of one expert, from `config.json`.
    pub expert_width: Option<u64>,
    /// Number of columns that share a scale in an FP8 checkpoint, from `config.json`.
    pub block: Option<u64>,
    /// Names of its files.
    pub files: Vec<String>,
    /// `architectures` in `config.json`.
    pub classes: Vec<String>,
}

impl ModelFacts {
    /// Reads a `config.json` and, if present, the index of the weights.
    #[must_use]
    pub fn read(config: &Value, index: &Value, files: Vec<String>) -> Self {
        let text = if config["text_config"].is_object() { &config["text_config"] } else { config };
        let quantization = [config, text].into_iter().map(|c| &c["quantization_config"]).find(|q| q.is_object());
        let stored = [config, text].into_iter().find_map(|c| c["torch_dtype"].as_str().or(c["dtype"].as_str()));
        let bits = match quantization {
            Some(q) => q["bits"].as_f64().or_else(|| q["quant_method"].as_str().and_then(bits)),
            None => stored.and_then(bits),
        };
        Self {
            parameters: parameters(text),
            bits,
            bytes: index["metadata"]["total_size"].as_f64(),
            heads: ["num_attention_heads", "n_head"].iter().find_map(|key| text[*key].as_u64()).filter(|n| *n > 0),
            experts: EXPERTS.iter().find_map(|key| text[*key].as_u64()),
            expert_width: text["moe_intermediate_size"].as_u64(),
            block: quantization.and_then(|q| q["weight_block_size"][0].as_u64()).filter(|block| *block > 0),
            files,
            classes: texts(&config["architectures"]),
        }
    }

    /// True if this number of GPUs can share each expert, because each gets whole blocks of it.
    #[must_use]
    pub fn shares_experts(&self, gpus: u64) -> bool {
        match (self.expert_width, self.block) {
            (Some(width), Some(block)) => {
                let gpus = gpus.max(1);
                width.is_multiple_of(gpus) && (width / gpus).is_multiple_of(block)
            }
            _ => true,
        }
    }
}

/// Number of parameters of a decoder from its `config.json`: embeddings, attention, and dense or expert layers.
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
    let experts = number(&EXPERTS).unwrap_or(0.0);
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

/// Bits per weight of a format, from its name.
pub(super) fn bits(name: &str) -> Option<f64> {
    let name = name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match () {
        () if has(&["gptq", "awq"]) && has(&["int8", "8bit"]) => Some(8.0),
        () if has(&["fp4", "int4", "awq", "gptq", "w4a", "4bit", "bitsandbytes"]) || name.starts_with("q4") => {
            Some(4.5)
        }
        () if has(&["fp8", "int8", "w8a", "8bit", "float8", "modelopt"]) || name.starts_with("q8") => Some(8.0),
        () if has(&["bf16", "bfloat16", "fp16", "float16", "half"]) => Some(16.0),
        () if has(&["fp32", "float32", "float"]) => Some(32.0),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn experts_are_shared_in_whole_blocks() {
        let config = json!({"moe_intermediate_size": 1536, "quantization_config": {"weight_block_size": [128, 128]}});
        let facts = ModelFacts::read(&config, &Value::Null, Vec::new());
        assert_eq!([1, 2, 4, 8, 5].map(|gpus| facts.shares_experts(gpus)), [true, true, true, false, false]);
        let no_blocks = ModelFacts::read(&json!({"moe_intermediate_size": 1536}), &Value::Null, Vec::new());
        assert!(no_blocks.shares_experts(8));
    }

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
}
