//! Framework definitions: the differences between serving frameworks, as data. The format is documented in
//! `configs/frameworks/README.md`; adding a framework needs no change here.

mod client;
mod entry;
mod knob;
mod log;
mod named;
mod options;
mod parts;
mod role;
mod rules;
mod speculation;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use self::client::{ClientLoads, FrameworkClient};
pub use self::entry::{EntryPoint, EntryPosition};
pub use self::knob::{Family, Kind, Knob};
pub use self::log::{FactPattern, FailurePattern, ServerPhase};
pub use self::named::FlagMeaning;
pub use self::options::{NodeFlags, OptionPrecedence};
pub use self::parts::{
    Booleans, CachePath, Divisor, FlagJoin, FlagStyle, HelpCommand, HelpSubject, Leniency, MetricMapping,
    MetricsEndpoint, Parallelism, PlanStarter, PromptLimit, ReadinessProbe, RequestStyle, SequenceLimit, VersionSource,
};
pub use self::role::KnobRole;
pub use self::rules::{FixedKnob, Requirement, RuleEffect, RuleScope, SearchRule};
pub use self::speculation::{ForcedAcceptance, SpeculationStyle};

use super::architecture::ModelArchitecture;
use super::launcher::Launchers;
use super::version::FrameworkVersion;
use crate::base::error::{Context, Error, Result};
use crate::base::visible::{SLUG, is_slug};
use crate::base::yaml;

/// The definitions that are compiled in: a test makes them from the YAML files beside them (`BLESS=1`). Every program starts by
/// reading them, and JSON takes a tenth of the time.
const SHIPPED: &str = include_str!("../../../configs/frameworks/shipped.json");

/// All known frameworks, by name.
#[derive(Debug, Clone)]
pub struct Frameworks {
    all: BTreeMap<String, Framework>,
    launchers: Launchers,
}

impl Frameworks {
    /// The shipped definitions, and additional ones as (source name, YAML text), which replace shipped ones of the same name;
    /// likewise for launchers.
    ///
    /// # Errors
    /// An invalid definition, with its place.
    pub fn load(more: &[(String, String)], launchers: &[(String, String)]) -> Result<Self> {
        let shipped: Vec<Framework> = serde_json::from_str(SHIPPED)
            .context("cannot read")
            .map_err(|e| e.at("configs/frameworks/shipped.json"))?;
        let mut all: BTreeMap<_, _> =
            shipped.into_iter().map(|framework| (framework.name.clone(), framework)).collect();
        for (name, text) in more {
            let framework: Framework = yaml::typed(text, name)?;
            framework.check().map_err(|e| e.at(name))?;
            if !is_slug(&framework.name) {
                let why = format!("name: {:?} becomes a part of file names, so it must be {SLUG}", framework.name);
                return Err(Error::new(why).at(name.clone()));
            }
            all.insert(framework.name.clone(), framework);
        }
        Ok(Self { all, launchers: Launchers::load(launchers)? })
    }

    /// The launchers.
    #[must_use]
    pub fn launchers(&self) -> &Launchers {
        &self.launchers
    }

    /// One definition.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Framework> {
        self.all.get(name)
    }

    /// All definitions, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Framework> {
        self.all.values()
    }
}

/// One framework.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// The name in plans: `vllm`.
    pub name: String,
    /// The name in reports: `vLLM`.
    pub title: String,
    /// What people call it besides: `trtllm`.
    #[serde(default)]
    pub also: Vec<String>,
    /// Documentation of flags and behaviour.
    #[serde(default)]
    pub sources: Vec<String>,
    /// How to get it, for people: commands, an image, a page.
    #[serde(default)]
    pub install: Vec<String>,
    /// True for a simulated engine.
    #[serde(default)]
    pub simulated: bool,
    /// The serving command, as argv: `[vllm, serve]`.
    pub command: Vec<String>,
    /// Other commands that start the same server: `[sglang, serve]`.
    #[serde(default)]
    pub commands: Vec<EntryPoint>,
    /// The flag for the model; null: the model is the first argument.
    pub model_flag: Option<String>,
    /// Other flags for the model.
    #[serde(default)]
    pub model_flags: Vec<String>,
    /// Flags that select the model by a repository or URL, instead of `model_flag`.
    #[serde(default)]
    pub model_sources: Vec<String>,
    /// The flag for the model's name at the endpoint, if any.
    pub served_name_flag: Option<String>,
    /// The flag for the address to bind.
    pub host_flag: String,
    /// The flag for the port.
    pub port_flag: String,
    /// The port in the reported command.
    pub default_port: u16,
    /// How a knob becomes a flag.
    pub flags: FlagStyle,
    /// Environment variables of the server; null inherits the value.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    /// Environment variables for the paths of what it compiles and keeps: `VLLM_CACHE_ROOT: {folder: vllm}`.
    #[serde(default)]
    pub caches: BTreeMap<String, CachePath>,
    /// Default options of launchers, by launcher: `docker: --shm-size 16g`.
    #[serde(default)]
    pub launcher_options: BTreeMap<String, String>,
    /// How to check that the server is ready.
    pub probe: ReadinessProbe,
    /// The knob that limits prompt plus output, if any.
    pub sequence_limit: Option<SequenceLimit>,
    /// How long a prompt may be, unless it is split.
    #[serde(default)]
    pub prompt_limit: Option<PromptLimit>,
    /// The knob for what requests have to show, if any.
    #[serde(default)]
    pub api_key: Option<String>,
    /// Knobs with which no client reaches the server, each with the reason.
    #[serde(default)]
    pub unreachable: BTreeMap<String, String>,
    /// The knobs that set the number of GPUs.
    pub parallelism: Parallelism,
    /// The version its flags were checked against.
    #[serde(default)]
    pub checked: Option<FrameworkVersion>,
    /// Knobs by family, as plans spell them (`max_num_seqs`). Those of the family `speculative` are a stage of their own.
    pub knobs: BTreeMap<String, Family>,
    /// Values that are excluded unless a plan lifts the rule.
    #[serde(default)]
    pub rules: Vec<SearchRule>,
    /// Content of a new plan.
    #[serde(default)]
    pub starter: PlanStarter,
    /// Knobs for which a higher value needs more memory.
    #[serde(default)]
    pub memory_knobs: Vec<String>,
    /// Knobs that take the path of an option file, with the name of that file: a map in a plan becomes its content.
    #[serde(default)]
    pub option_files: BTreeMap<String, String>,
    /// Knobs that an option file can set too, each with its member there: `kv_cache_config.free_gpu_memory_fraction`.
    #[serde(default)]
    pub option_members: BTreeMap<String, String>,
    /// What counts if an option file and a flag give the same setting; absent: not known.
    #[serde(default)]
    pub option_precedence: Option<OptionPrecedence>,
    /// By launcher, its settings for a server of several ranks that the launcher has to start.
    #[serde(default)]
    pub ranks: BTreeMap<String, BTreeMap<String, String>>,
    /// What its processes on several nodes need to find each other, where the launcher starts one on each.
    #[serde(default)]
    pub nodes: Option<NodeFlags>,
    /// Knobs with one allowed value.
    #[serde(default)]
    pub fixed: BTreeMap<String, FixedKnob>,
    /// Values that need a GPU family.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// How to find its version.
    #[serde(default)]
    pub version: VersionSource,
    /// Commands that print its help.
    #[serde(default)]
    pub help: Vec<HelpCommand>,
    /// Its own counters, if any.
    #[serde(default)]
    pub metrics: Option<MetricsEndpoint>,
    /// How it drafts tokens, if it does.
    #[serde(default)]
    pub speculation: Option<SpeculationStyle>,
    /// What its endpoints accept.
    pub request: RequestStyle,
    /// Path of a POST that empties the prefix cache.
    pub reset_path: Option<String>,
    /// Its own benchmark client, for `bench-load --client`.
    #[serde(default)]
    pub client: Option<FrameworkClient>,
    /// Its failure patterns, which take precedence over those for all frameworks.
    #[serde(default)]
    pub failures: Vec<FailurePattern>,
    /// Facts about capacity and start-up in its log.
    #[serde(default)]
    pub facts: Vec<FactPattern>,
    /// Regular expressions for the command lines of processes that the server cannot work without.
    #[serde(default)]
    pub workers: Vec<String>,
}

impl Framework {
    /// The names of all knobs.
    pub fn known_knobs(&self) -> impl Iterator<Item = &str> {
        self.described().map(|(name, _)| name)
    }

    /// All knobs with their descriptions.
    pub fn described(&self) -> impl Iterator<Item = (&str, &Knob)> {
        self.knobs.values().flat_map(|family| &family.0).map(|(name, knob)| (name.as_str(), knob))
    }

    /// The knobs with a role, whatever their name in this framework: `tensor_parallel`.
    pub fn with_role(&self, role: KnobRole) -> impl Iterator<Item = (&str, &Knob)> {
        self.described().filter(move |(_, knob)| knob.role == Some(role))
    }

    /// The description of a knob; for a dotted one that of its map.
    #[must_use]
    pub fn knob(&self, name: &str) -> Option<&Knob> {
        let root = name.split('.').next().unwrap_or(name);
        self.described().find(|(known, _)| *known == root).map(|(_, knob)| knob)
    }

    /// True for its name, its title and what people call it besides, whatever the case and the signs between words.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let letters = |text: &str| text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let own = [&self.name, &self.title].into_iter().chain(&self.also);
        own.into_iter().any(|own| letters(own) == letters(name))
    }

    /// The flag of a knob: `max_num_seqs` → `--max-num-seqs`.
    #[must_use]
    pub fn flag(&self, knob: &str) -> String {
        if let Some(flag) = self.flags.spelled.get(knob) {
            return flag.clone();
        }
        let mut flag = String::with_capacity(2 + knob.len());
        flag.push_str("--");
        match self.flags.words {
            FlagJoin::Dash => flag.extend(knob.chars().map(|c| if c == '_' { '-' } else { c })),
            FlagJoin::Underscore => flag.push_str(knob),
        }
        flag
    }

    /// The flag for this value of a knob; `None` if the value adds nothing to the command.
    #[must_use]
    pub fn spell(&self, knob: &str, value: &Value) -> Option<String> {
        match (value, self.flags.booleans) {
            _ if !self.is_spelled(value) => None,
            (Value::Bool(false), Booleans::NoPrefix) => Some(self.flag(knob).replacen("--", "--no-", 1)),
            _ => Some(self.flag(knob)),
        }
    }

    /// True if this value of a knob adds something to the command.
    #[must_use]
    pub fn is_spelled(&self, value: &Value) -> bool {
        !matches!((value, self.flags.booleans), (Value::Null, _) | (Value::Bool(false), Booleans::Switch))
    }

    fn check(&self) -> Result<()> {
        if self.command.is_empty() || self.commands.iter().any(|entry| entry.command.is_empty()) {
            return Err(Error::new("`command` is empty"));
        }
        let outside = |path: &&CachePath| {
            let (CachePath::Folder(path) | CachePath::File(path)) = path;
            path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..")
        };
        if let Some(path) = self.caches.values().find(outside) {
            return Err(Error::new(format!("{path:?} in `caches` is not a path inside the folder of caches")));
        }
        let own = [&self.model_flag, &self.served_name_flag].into_iter().flatten();
        let own: Vec<&String> = own.chain([&self.host_flag, &self.port_flag]).collect();
        if let Some(flag) = self.flags.also.values().find(|to| to.starts_with('-') && !own.contains(to)) {
            return Err(Error::new(format!("`{flag}` in `flags.also` is not the flag for model, name, host or port")));
        }
        let known: Vec<&str> = self.known_knobs().collect();
        let named = self.rules.iter().flat_map(|r| &r.knobs).chain(self.fixed.keys());
        let named = named.chain(self.requires.iter().flat_map(|r| &r.knobs)).chain(&self.parallelism.nodes);
        let named =
            named.chain(&self.parallelism.multiply).chain(&self.parallelism.tensor).chain(&self.parallelism.share);
        let named = named
            .chain(&self.memory_knobs)
            .chain(self.option_files.keys())
            .chain(self.sequence_limit.iter().map(|limit| &limit.knob))
            .chain(self.described().filter_map(|(_, knob)| knob.now.as_ref()))
            .chain(self.starter.base.keys())
            .chain(self.starter.search.keys())
            .chain(self.flags.spelled.keys())
            .chain(self.parallelism.shared_by.iter().flat_map(|(knob, switch)| [knob, switch]))
            .chain(self.parallelism.divisors.iter().flat_map(|divisor| divisor.knobs.iter().chain(&divisor.of)))
            .chain(&self.parallelism.other_weights)
            .chain(self.flags.also.values().filter(|target| !target.starts_with('-')))
            .chain(self.option_members.keys())
            .chain(self.api_key.iter().chain(self.unreachable.keys()))
            .chain(self.nodes.iter().flat_map(|nodes| nodes.flags.keys()))
            .chain(self.prompt_limit.iter().flat_map(|limit| [&limit.knob, &limit.unless]));
        let root = |path: &String| path.split('.').next().unwrap_or(path).to_string();
        let forced = self.speculation.iter().flat_map(|style| style.force.iter().flat_map(|force| force.flags.keys()));
        let set_by = self.speculation.iter().flat_map(|style| &style.set_by);
        for knob in named.cloned().chain(set_by.chain(forced).map(root)) {
            if !known.contains(&knob.as_str()) {
                return Err(Error::new(format!("`{knob}` is used but not declared in `knobs`")));
            }
        }
        let mut models = self.rules.iter().flat_map(|r| &r.models).chain(self.requires.iter().flat_map(|r| &r.models));
        if let Some(word) = models.find(|word| !ModelArchitecture::is_known(word)) {
            return Err(Error::new(format!(
                "`{word}` in `models` is not an architecture or trait of configs/rules/architectures.yaml"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod shipped {
    //! The definitions that are compiled in are those of the YAML files. `BLESS=1` rewrites them.

    use std::fmt::Debug;
    use std::fs;
    use std::path::Path;

    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use crate::base::error::Result;
    use crate::base::yaml;

    /// Holds `shipped.json` of a folder to its YAML files, each of which reads as `T` and passes `check`.
    pub fn is_current<T: DeserializeOwned + Debug>(folder: &str, check: impl Fn(&T) -> Result<()>) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
        files.sort();
        let mut lines = Vec::new();
        for path in files {
            let (name, text) = (path.display().to_string(), fs::read_to_string(&path).unwrap());
            let typed: T = yaml::typed(&text, &name).unwrap();
            check(&typed).unwrap_or_else(|e| panic!("{name}: {e}"));
            let value: Value = yaml::load(&text, &name).unwrap().value;
            // A definition reads the same in both forms.
            let same: T = serde_json::from_str(&value.to_string()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(format!("{same:?}"), format!("{typed:?}"));
            lines.push(value.to_string());
        }
        let (path, text) = (folder.join("shipped.json"), format!("[\n{}\n]\n", lines.join(",\n")));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == text,
            "{} is out of date; run the tests once with BLESS=1",
            path.display()
        );
    }

    #[test]
    fn frameworks_are_current() {
        is_current("configs/frameworks", super::Framework::check);
    }
}
