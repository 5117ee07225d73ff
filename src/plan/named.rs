//! The size of a model by its name: `Qwen3-235B-A22B-FP8` has 235e9 parameters of 8 bits. A name may mislead, so what it says is
//! taken only where one reading is left.

use std::sync::LazyLock;

use serde::Deserialize;

use super::model::bits;
use crate::base::yaml;

/// Share of the product `8x7B` that such models have in all: the experts share everything else. Mixtral 8x7B has 46.7e9,
/// 8x22B 141e9.
const SHARED: f64 = 0.8;
/// Words of models that are only a part of the named one, or have no real weights.
const PARTS: [&str; 8] = ["TINY", "RANDOM", "DUMMY", "LORA", "ADAPTER", "DRAFT", "SPECULATOR", "MTP"];
/// Words of smaller models that are called after a family.
const SMALLER: [&str; 5] = ["DISTILL", "LITE", "SMALL", "MINI", "NANO"];
/// Models whose names do not state their size; the first match is used.
static FAMILIES: LazyLock<Vec<ModelFamily>> = LazyLock::new(|| {
    yaml::typed(include_str!("../../configs/rules/models.yaml"), "configs/rules/models.yaml")
        .expect("compiled in, and tested")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFamily {
    name: String,
    billions: f64,
    bits: f64,
    #[serde(default)]
    experts: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers of the file"))]
    source: String,
}

/// What the name of a model says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct NamedSize {
    /// Number of parameters, in all.
    pub parameters: Option<f64>,
    /// True if the name states that number; false if it is known of its family.
    pub stated: bool,
    /// Bits per weight.
    pub bits: Option<f64>,
    /// True if it is known to have experts.
    pub experts: bool,
}

impl NamedSize {
    /// Reads a path or an id: only its last part counts.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let name = upper_name(model);
        let words = words_of(&name);
        if is_part(&words) {
            return Self::default();
        }
        let parts = with_fractions(&name);
        let experts =
            parts.iter().any(|part| matches!(part, SizeWord::Active | SizeWord::Experts | SizeWord::Product(_)));
        let stated = parameters(&parts);
        let family = FAMILIES
            .iter()
            .find(|family| has_words(&words, &family.name) && !words.iter().any(|word| SMALLER.contains(word)));
        let family = family.filter(|family| stated.is_none_or(|n| (n / 1e9 / family.billions - 1.0).abs() < 0.1));
        Self {
            parameters: family.map(|family| family.billions * 1e9).or(stated),
            stated: stated.is_some(),
            bits: stated_bits(&words).or(family.map(|family| family.bits)),
            experts: experts || family.is_some_and(|family| family.experts),
        }
    }
}

/// True if a name, in words, is that of a part of a model, or of one without real weights.
fn is_part(words: &[&str]) -> bool {
    words.iter().any(|word| PARTS.contains(word) || word.starts_with("EAGLE"))
}

/// The last part of a model's path or id, in upper case.
pub(super) fn upper_name(model: &str) -> String {
    model.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_uppercase()
}

/// The words of a name: what stands between its dashes, dots and the like.
pub(super) fn words_of(name: &str) -> Vec<&str> {
    name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

/// True if these words, separated by spaces, follow each other among the words of a name.
pub(super) fn has_words(words: &[&str], wanted: &str) -> bool {
    let own: Vec<&str> = wanted.split(' ').collect();
    words.windows(own.len()).any(|window| window == own)
}

/// True if a name, in words, is that of another model than the one it is called after.
pub(super) fn is_other_model(words: &[&str]) -> bool {
    is_part(words) || words.contains(&"DISTILL")
}

/// A word of a name that says something about a size.
#[derive(Debug, Clone, Copy, PartialEq)]
enum SizeWord {
    /// `235B`, `0.6B`, `1T`: parameters.
    Billions(f64),
    /// `270M`: parameters, or tokens of context if there is another size.
    Millions(f64),
    /// `8x7B`: experts and parameters.
    Product(f64),
    /// `A22B`: active parameters.
    Active,
    /// `128E`: experts, so that a size beside it is that of the active parameters.
    Experts,
}

/// The words of a name that say something about its size; a point between digits belongs to a word.
fn with_fractions(name: &str) -> Vec<SizeWord> {
    let chars: Vec<char> = name.chars().collect();
    let digit = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(char::is_ascii_digit);
    let ends = |(i, c): (usize, &char)| match c {
        '.' => !(digit(i.checked_sub(1)) && digit(Some(i + 1))),
        c => !c.is_ascii_alphanumeric(),
    };
    let kept: String = chars.iter().enumerate().map(|(i, c)| if ends((i, c)) { ' ' } else { *c }).collect();
    kept.split(' ').filter_map(size_word).collect()
}

fn size_word(word: &str) -> Option<SizeWord> {
    let number = |text: &str| {
        let plain = text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_ascii_digit());
        text.parse::<f64>().ok().filter(|n| plain && *n > 0.0)
    };
    if let Some(experts) = word.strip_suffix('E') {
        return number(experts).map(|_| SizeWord::Experts);
    }
    if let Some(millions) = word.strip_suffix('M') {
        return number(millions).map(|n| SizeWord::Millions(n * 1e6));
    }
    if let Some(trillions) = word.strip_suffix('T') {
        return number(trillions).map(|n| SizeWord::Billions(n * 1e12));
    }
    let billions = word.strip_suffix('B')?;
    if let Some(active) = billions.strip_prefix('A') {
        return number(active).map(|_| SizeWord::Active);
    }
    match billions.split_once('X') {
        Some((experts, each)) => Some(SizeWord::Product(number(experts)? * number(each)? * 1e9 * SHARED)),
        None => number(billions).map(|n| SizeWord::Billions(n * 1e9)),
    }
}

/// The one number of parameters in these words, if there is one.
fn parameters(words: &[SizeWord]) -> Option<f64> {
    let only = |of: &dyn Fn(&SizeWord) -> Option<f64>| {
        let mut all: Vec<f64> = words.iter().filter_map(of).collect();
        all.dedup();
        all
    };
    let large = only(&|word| match word {
        SizeWord::Billions(n) | SizeWord::Product(n) => Some(*n),
        SizeWord::Millions(_) | SizeWord::Active | SizeWord::Experts => None,
    });
    let small = only(&|word| match word {
        SizeWord::Millions(n) => Some(*n),
        SizeWord::Billions(_) | SizeWord::Product(_) | SizeWord::Active | SizeWord::Experts => None,
    });
    match (&large[..], &small[..]) {
        _ if words.contains(&SizeWord::Experts) => None,
        ([n], _) | ([], [n]) => Some(*n),
        _ => None,
    }
}

/// Bits per weight by the words of a name: those with a number before AWQ and GPTQ, which have 4 bits unless something else is
/// said; the fewest of several.
fn stated_bits(words: &[&str]) -> Option<f64> {
    let with_digit =
        words.iter().filter(|word| word.contains(|c: char| c.is_ascii_digit())).filter_map(|word| bits(word));
    let method = || words.iter().filter(|word| matches!(**word, "AWQ" | "GPTQ")).find_map(|word| bits(word));
    with_digit.min_by(f64::total_cmp).or_else(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn billions(name: &str) -> Option<f64> {
        NamedSize::of(name).parameters.map(|n| (n / 1e7).round() / 100.0)
    }

    #[test]
    fn sizes_that_names_state() {
        for (name, size) in [
            ("Qwen/Qwen3-235B-A22B-FP8", 235.0),
            ("Qwen/Qwen3-30B-A3B", 30.0),
            ("/models/Qwen2.5-0.5B-Instruct/", 0.5),
            ("mistralai/Mixtral-8x7B-Instruct-v0.1", 44.8),
            ("ibm-granite/granite-4.2-3b", 3.0),
            ("inclusionAI/Ling-2.5-1T", 1000.0),
            ("google/gemma-3-270m", 0.27),
            ("Qwen/Qwen2.5-7B-Instruct-1M", 7.0),
            ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 32.0),
            ("nvidia/Llama-3_1-Nemotron-Ultra-253B-v1", 253.0),
            ("/m/llama-3-70b.Q4_K_M.gguf", 70.0),
            ("llama3.1:405b", 405.0),
        ] {
            assert_eq!((billions(name), NamedSize::of(name).stated), (Some(size), true), "{name}");
        }
    }

    #[test]
    fn names_without_one_sure_size() {
        for name in [
            "Qwen/Qwen3-Next",
            "deepseek-ai/DeepSeek-V3-Lite",
            "Qwen/Qwen1.5-MoE-A2.7B",
            "allenai/OLMoE-1B-7B-0924",
            "google/gemma-3n-E4B-it",
            "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B",
            "hf-internal-testing/tiny-random-Llama-70B",
            "acme/llama-70b-lora",
            "microsoft/Phi-3-mini-128k-instruct",
            "/models/8b/model",
            "v1.0B.",
            "0B",
            "",
            "/",
        ] {
            assert!(!NamedSize::of(name).stated, "{name}: {:?}", NamedSize::of(name));
            assert_eq!(NamedSize::of(name).parameters, None, "{name}");
        }
    }

    #[test]
    fn families_with_a_known_size() {
        for (name, size, bits) in [
            ("deepseek-ai/DeepSeek-V3-0324", 671.0, 8.0),
            ("deepseek-ai/DeepSeek-V3.2-Exp", 671.0, 8.0),
            ("nvidia/DeepSeek-R1-0528-NVFP4", 671.0, 4.5),
            ("moonshotai/Kimi-K2-Instruct", 1000.0, 8.0),
            ("moonshotai/Kimi-K2-Thinking", 1000.0, 4.8),
            ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 109.0, 16.0),
        ] {
            let known = NamedSize::of(name);
            assert_eq!(
                (billions(name), known.bits, known.stated, known.experts),
                (Some(size), Some(bits), false, true),
                "{name}"
            );
        }
        // The name states a size that the family confirms, and the family knows the bits.
        let stated = NamedSize::of("openai/gpt-oss-120b");
        assert_eq!((stated.stated, stated.bits), (true, Some(4.5)));
        assert_eq!(NamedSize::of("acme/DeepSeek-R1-Distill"), NamedSize::default());
        assert_eq!(NamedSize::of("acme/DeepSeek-V3-7B").bits, None, "another model of that name");
    }

    #[test]
    fn bits_that_names_state() {
        for (name, bits) in [
            ("m-FP8", Some(8.0)),
            ("m-FP8-dynamic", Some(8.0)),
            ("m-AWQ", Some(4.5)),
            ("m-GPTQ-Int8", Some(8.0)),
            ("m-GPTQ-Int4", Some(4.5)),
            ("m-NVFP4", Some(4.5)),
            ("m-MXFP4", Some(4.5)),
            ("m-quantized.w4a16", Some(4.5)),
            ("m-quantized.w8a8", Some(8.0)),
            ("m-bnb-4bit", Some(4.5)),
            ("m-BF16", Some(16.0)),
            ("m.Q8_0.gguf", Some(8.0)),
            ("m-Instruct", None),
            ("m-halfway-float", None),
        ] {
            assert_eq!(NamedSize::of(name).bits, bits, "{name}");
        }
    }

    #[test]
    fn every_family_has_a_source_and_is_found_by_its_own_name() {
        for family in FAMILIES.iter() {
            assert!(family.source.starts_with("https://"), "{}", family.name);
            let name = family.name.replace(' ', "-");
            assert_eq!(NamedSize::of(&name).parameters, Some(family.billions * 1e9), "{name}");
        }
    }
}
