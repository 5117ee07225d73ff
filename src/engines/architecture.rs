//! Architectures of models, and which of them a framework serves. The table is data: `configs/rules/architectures.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer};

use super::version::FrameworkVersion;
use crate::base::yaml;

static TABLE: LazyLock<ArchitectureTable> = LazyLock::new(|| {
    yaml::typed(include_str!("../../configs/rules/architectures.yaml"), "configs/rules/architectures.yaml")
        .expect("compiled in, and tested")
});

/// How the names of all models begin, the longest first; of equally long ones the last in the table.
static BY_NAME: LazyLock<Vec<(&'static str, &'static ModelArchitecture)>> = LazyLock::new(|| {
    let own = |architecture: &'static ModelArchitecture| {
        architecture.names.iter().map(move |name| (name.as_str(), architecture))
    };
    let mut all: Vec<_> = TABLE.architectures.iter().rev().flat_map(own).collect();
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ArchitectureTable {
    architectures: Vec<ModelArchitecture>,
    /// By the name of the framework definition.
    frameworks: BTreeMap<String, ServedModels>,
}

/// A property of a model that flags depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelTrait {
    /// Multi-head latent attention.
    Mla,
    /// DeepSeek's sparse attention.
    Dsa,
}

impl ModelTrait {
    const ALL: [Self; 2] = [Self::Mla, Self::Dsa];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Mla => "mla",
            Self::Dsa => "dsa",
        }
    }
}

/// Models that frameworks treat alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelArchitecture {
    /// Its name in rules and messages.
    pub name: String,
    /// How the names of its models begin, in lower case.
    #[serde(deserialize_with = "lower_case")]
    names: Vec<String>,
    /// Their names in `architectures` of `config.json`.
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    traits: Vec<ModelTrait>,
}

/// What was read about the models of a framework.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedModels {
    /// The newest release that was looked at.
    pub checked: FrameworkVersion,
    /// When, `2026-11-28`.
    pub date: String,
    /// Where.
    pub source: String,
    /// By architecture, the newest release that does not serve it.
    #[serde(default)]
    unknown: BTreeMap<String, FrameworkVersion>,
    /// By architecture, the first release that serves it.
    #[serde(default)]
    since: BTreeMap<String, FrameworkVersion>,
}

/// Whether a release serves an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It does, as far as is known.
    Yes,
    /// It does not.
    No,
    /// No release up to the newest one that was looked at does; this one is newer, or unknown.
    NotYet,
}

impl ModelArchitecture {
    /// The architecture of a model by its name or path.
    #[must_use]
    pub fn named(model: &str) -> Option<&'static Self> {
        let name = last_part(model).to_ascii_lowercase();
        let first = name.bytes().next()?;
        let known = BY_NAME.iter().filter(|(own, _)| own.as_bytes().first() == Some(&first));
        known.into_iter().find(|(own, _)| name.starts_with(own)).map(|(_, architecture)| *architecture)
    }

    /// The architecture of a model by its name and the `architectures` of its `config.json`, which decide; the name chooses where
    /// several have the same.
    #[must_use]
    pub fn of(model: &str, classes: &[String]) -> Option<&'static Self> {
        let by_name = Self::named(model);
        if classes.is_empty() {
            return by_name;
        }
        let fits = |architecture: &&'static Self| architecture.classes.iter().any(|own| classes.contains(own));
        let by_name = by_name.filter(|own| own.classes.is_empty() || fits(own));
        by_name.or_else(|| TABLE.architectures.iter().find(fits))
    }

    /// The architecture with this name.
    #[must_use]
    pub fn get(name: &str) -> Option<&'static Self> {
        TABLE.architectures.iter().find(|architecture| architecture.name == name)
    }

    /// True for its name and for its traits.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.name == word || self.traits.iter().any(|own| own.as_str() == word)
    }

    /// True if some architecture is meant by this word.
    #[must_use]
    pub fn is_known(word: &str) -> bool {
        ModelTrait::ALL.iter().any(|known| known.as_str() == word) || Self::get(word).is_some()
    }
}

impl ServedModels {
    /// What was read about a framework definition.
    #[must_use]
    pub fn of(definition: &str) -> Option<&'static Self> {
        TABLE.frameworks.get(definition)
    }

    /// Whether a release serves this architecture; `None` for an unknown release.
    #[must_use]
    pub fn serves(&self, architecture: &ModelArchitecture, version: Option<&FrameworkVersion>) -> Served {
        let too_old = |first: &FrameworkVersion| version.is_some_and(|version| version < first);
        if self.since.get(&architecture.name).is_some_and(too_old) {
            return Served::No;
        }
        let Some(last) = self.unknown.get(&architecture.name) else { return Served::Yes };
        match version {
            Some(version) if version <= last => Served::No,
            _ if *last == self.checked => Served::NotYet,
            _ => Served::Yes,
        }
    }
}

fn lower_case<'de, D: Deserializer<'de>>(names: D) -> Result<Vec<String>, D::Error> {
    Vec::<String>::deserialize(names).map(|names| names.iter().map(|name| name.to_ascii_lowercase()).collect())
}

/// The last part of a model's id or path; of a folder of the hub's cache the model's name.
fn last_part(model: &str) -> &str {
    let mut parts = model.trim_end_matches('/').rsplit('/');
    let cached = model.split('/').find_map(|part| part.strip_prefix("models--"));
    cached.and_then(|id| id.rsplit("--").next()).or_else(|| parts.next()).unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(architecture: Option<&ModelArchitecture>) -> &str {
        architecture.map_or("", |architecture| architecture.name.as_str())
    }

    #[test]
    fn the_table_names_only_architectures_and_frameworks_that_there_are() {
        let frameworks = crate::engines::framework::Frameworks::load(&[], &[]).unwrap();
        for (definition, served) in &TABLE.frameworks {
            assert!(frameworks.get(definition).is_some(), "{definition}");
            assert!(!served.source.is_empty() && served.date.len() == "2026-11-28".len(), "{definition}");
            for (architecture, last) in &served.unknown {
                assert!(
                    ModelArchitecture::get(architecture).is_some() && *last <= served.checked,
                    "{definition}: {architecture}"
                );
            }
            assert!(
                served.since.keys().all(|architecture| ModelArchitecture::get(architecture).is_some()),
                "{definition}"
            );
        }
    }

    #[test]
    fn an_architecture_by_the_longest_beginning_of_a_name() {
        for (model, architecture) in [
            ("deepseek-ai/DeepSeek-V3.2", "DeepSeek-V3.2"),
            ("deepseek-ai/DeepSeek-V3.1", "DeepSeek-V3"),
            ("nvidia/DeepSeek-R1-FP4", "DeepSeek-V3"),
            ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "DeepSeek-R1-Distill"),
            ("/models/glm-4.7-flash/", "GLM-4.7-Flash"),
            ("/hub/models--openai--gpt-oss-120b/snapshots/0123abc", "gpt-oss"),
            ("Qwen/Qwen3-8B", ""),
        ] {
            assert_eq!(name(ModelArchitecture::named(model)), architecture, "{model}");
        }
    }

    #[test]
    fn the_architecture_decides() {
        let of = |model: &str, architecture: &str| name(ModelArchitecture::of(model, &[architecture.to_string()]));
        assert_eq!(of("/data/m1", "DeepseekV32ForCausalLM"), "DeepSeek-V3.2");
        assert_eq!(of("/data/GLM-5-distilled-8b", "Qwen3ForCausalLM"), "");
        assert!(ModelArchitecture::of("/data/m1", &["DeepseekV32ForCausalLM".into()]).unwrap().is("dsa"));
    }

    #[test]
    fn a_release_serves_an_architecture_or_not() {
        let serves = |definition: &str, architecture: &str, version: Option<&str>| {
            let version = version.and_then(FrameworkVersion::parse);
            ServedModels::of(definition)
                .unwrap()
                .serves(ModelArchitecture::get(architecture).unwrap(), version.as_ref())
        };
        assert_eq!(serves("tokenspeed", "MiniMax-M2", Some("0.1.1")), Served::No);
        assert_eq!(serves("tokenspeed", "MiniMax-M2", Some("0.1.2")), Served::NotYet);
        assert_eq!(serves("tokenspeed", "MiniMax-M2", None), Served::NotYet);
        assert_eq!(serves("tensorrt_llm", "MiniMax-M2", Some("1.2.1")), Served::No);
        assert_eq!(serves("tensorrt_llm", "MiniMax-M2", Some("1.3.0rc2")), Served::Yes);
        assert_eq!(serves("tensorrt_llm", "MiniMax-M2", None), Served::Yes);
        assert_eq!(serves("vllm", "Mistral-Small-4", Some("0.19.1")), Served::No);
        assert_eq!(serves("vllm", "gpt-oss", Some("0.19.1")), Served::Yes);
    }
}
