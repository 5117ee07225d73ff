//! What is publicly known about the shape of a model, by its name, where its files are not on this host.

use std::sync::LazyLock;

use serde::Deserialize;

use super::model::ModelFacts;
use super::named::{NamedSize, has_words, is_other_model, upper_name, words_of};
use crate::base::yaml;

/// Words of checkpoints in eight bits that have no blocks.
const WITHOUT_BLOCKS: [&str; 5] = ["DYNAMIC", "INT8", "W8A8", "Q8", "8BIT"];

static SHAPES: LazyLock<Vec<ModelShape>> = LazyLock::new(|| {
    yaml::typed(include_str!("../../configs/rules/shapes.yaml"), "configs/rules/shapes.yaml")
        .expect("compiled in, and tested")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelShape {
    name: String,
    heads: u64,
    #[serde(default)]
    experts: Option<u64>,
    #[serde(default)]
    width: Option<u64>,
    #[serde(default)]
    block: Option<u64>,
    source: String,
}

impl ModelFacts {
    /// The public facts about a model with this path or id: its attention heads and experts, nothing about its size. `None` for
    /// a name that the table does not have.
    #[must_use]
    pub fn named(model: &str) -> Option<Self> {
        let model = model.trim_end_matches('/');
        let name = upper_name(model);
        let words = words_of(&name);
        let shape = SHAPES.iter().find(|shape| has_words(&words, &shape.name)).filter(|_| !is_other_model(&words))?;
        // Others than its owner publish FP8 checkpoints without blocks.
        let owner = shape.source.rsplit('/').nth(1).unwrap_or_default();
        let id = model.split_once('/').filter(|(_, name)| !model.starts_with(['/', '.', '~']) && !name.contains('/'));
        let in_blocks = id.is_none_or(|(by, _)| by.eq_ignore_ascii_case(owner))
            && NamedSize::of(model).bits == Some(8.0)
            && !words.iter().any(|word| WITHOUT_BLOCKS.contains(word));
        Some(Self {
            heads: Some(shape.heads),
            experts: shape.experts,
            expert_width: shape.width,
            block: shape.block.filter(|_| in_blocks),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_by_the_name() {
        for (model, heads, width, block) in [
            ("Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", Some(64), Some(1536), Some(128)),
            ("/models/Qwen3-235B-A22B-FP8/", Some(64), Some(1536), Some(128)),
            ("Qwen/Qwen3-235B-A22B", Some(64), Some(1536), None),
            ("RedHatAI/Qwen3-235B-A22B-FP8", Some(64), Some(1536), None),
            ("deepseek-ai/DeepSeek-V3.2", Some(128), Some(2048), Some(128)),
            ("deepseek-ai/DeepSeek-R1-0528", Some(128), Some(2048), Some(128)),
            ("nvidia/DeepSeek-R1-0528-NVFP4", Some(128), Some(2048), None),
            ("moonshotai/Kimi-K2-Thinking", Some(64), Some(2048), None),
            ("Qwen/Qwen3-32B", Some(64), None, None),
            ("Qwen/Qwen3-32B-AWQ", Some(64), None, None),
        ] {
            let facts = ModelFacts::named(model).unwrap();
            assert_eq!((facts.heads, facts.expert_width, facts.block), (heads, width, block), "{model}");
        }
        for model in ["deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "acme/tiny-random-Qwen3-32B", "acme/new", ""] {
            assert_eq!(ModelFacts::named(model), None, "{model}");
        }
    }

    #[test]
    fn every_shape_has_a_source_and_is_found_by_its_own_name() {
        for shape in SHAPES.iter() {
            assert!(shape.source.starts_with("https://huggingface.co/"), "{}", shape.name);
            let facts = ModelFacts::named(&shape.name.replace(' ', "-")).unwrap();
            assert_eq!((facts.heads, facts.expert_width), (Some(shape.heads), shape.width), "{}", shape.name);
            let by_source = ModelFacts::named(shape.source.trim_start_matches("https://huggingface.co/")).unwrap();
            assert_eq!((by_source.heads, by_source.block), (Some(shape.heads), shape.block), "{}", shape.source);
        }
    }
}
