//! Framework definitions: what differs between serving frameworks, as data. The format is documented in
//! `configs/frameworks/README.md`; adding a framework needs no change here.

mod client;
mod entry;
mod knob;
mod log;
mod named;
mod parts;
mod rules;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

pub use self::client::{ClientLoads, FrameworkClient};
pub use self::entry::{Entry, EntryPosition};
pub use self::knob::{Family, Kind, Knob};
pub use self::log::{FactPattern, FailurePattern, ServerPhase};
pub use self::named::FlagMeaning;
pub use self::parts::{
    Booleans, FlagJoin, FlagStyle, HelpCommand, HelpSubject, MetricMapping, MetricsEndpoint, Parallelism, PlanStarter,
    ReadinessProbe, RequestStyle, SequenceLimit, VersionSource,
};
pub use self::rules::{FixedKnob, Requirement, RuleEffect, RuleScope, SearchRule};

use super::launcher::Launchers;
use super::version::FrameworkVersion;
use crate::base::error::{Error, Result};
use crate::base::yaml;

/// The definitions that are compiled in, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("sglang", include_str!("../../../configs/frameworks/sglang.yaml")),
    ("vllm", include_str!("../../../configs/frameworks/vllm.yaml")),
    ("tensorrt_llm", include_str!("../../../configs/frameworks/tensorrt_llm.yaml")),
    ("tokenspeed", include_str!("../../../configs/frameworks/tokenspeed.yaml")),
    ("llama_cpp", include_str!("../../../configs/frameworks/llama_cpp.yaml")),
    ("sim", include_str!("../../../configs/frameworks/sim.yaml")),
];

/// All known frameworks, by name.
#[derive(Debug, Clone)]
pub struct Frameworks {
    all: BTreeMap<String, Framework>,
    launchers: Launchers,
}

impl Frameworks {
    /// The shipped definitions, and those given as (source name, YAML text), which replace shipped ones of the same name;
    /// the same for launchers.
    ///
    /// # Errors
    /// A definition that does not load, with its place.
    pub fn load(more: &[(String, String)], launchers: &[(String, String)]) -> Result<Self> {
        let shipped =
            SHIPPED.iter().map(|(name, text)| (format!("configs/frameworks/{name}.yaml"), (*text).to_string()));
        let mut all = BTreeMap::new();
        for (name, text) in shipped.chain(more.iter().cloned()) {
            let framework: Framework = yaml::typed(&text, &name)?;
            framework.check().map_err(|e| e.at(&name))?;
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
    /// Where flags and behaviour are documented.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The engine simulates.
    #[serde(default)]
    pub simulated: bool,
    /// The command that serves, as argv: `[vllm, serve]`.
    pub command: Vec<String>,
    /// Other commands that start the same server: `[sglang, serve]`.
    #[serde(default)]
    pub commands: Vec<Entry>,
    /// The flag that takes the model; null: the model stands right behind the command.
    pub model_flag: Option<String>,
    /// Other flags that take the model.
    #[serde(default)]
    pub model_flags: Vec<String>,
    /// Flags that say the model in another way, by a repository or a URL: beside one of these no model is given.
    #[serde(default)]
    pub model_sources: Vec<String>,
    /// The flag that sets the model's name at the endpoint, where there is one.
    pub served_name_flag: Option<String>,
    /// The flag that takes the address to bind.
    pub host_flag: String,
    /// The flag that takes the port.
    pub port_flag: String,
    /// The port of the rendered deploy command.
    pub default_port: u16,
    /// How a knob becomes a flag.
    pub flags: FlagStyle,
    /// Environment that the server is started with; null inherits the name.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    /// Options of launchers, by launcher, where a plan gives none: `docker: --shm-size 16g`.
    #[serde(default)]
    pub launcher_options: BTreeMap<String, String>,
    /// How to see that the server is ready.
    pub probe: ReadinessProbe,
    /// The knob that limits prompt plus output, where there is one.
    pub sequence_limit: Option<SequenceLimit>,
    /// Which knobs take GPUs.
    pub parallelism: Parallelism,
    /// The version that its flags were checked against.
    #[serde(default)]
    pub checked: Option<FrameworkVersion>,
    /// Knobs by family, as plans spell them (`max_num_seqs`). Those of the family `speculative` are a stage of their own.
    pub knobs: BTreeMap<String, Family>,
    /// What stays out of a search unless a plan lifts the rule.
    #[serde(default)]
    pub rules: Vec<SearchRule>,
    /// What a new plan begins with.
    #[serde(default)]
    pub starter: PlanStarter,
    /// Knobs of which a higher value asks for more memory.
    #[serde(default)]
    pub memory_knobs: Vec<String>,
    /// Knobs that take the path of an option file, with the name of that file: a map in a plan becomes its content.
    #[serde(default)]
    pub option_files: BTreeMap<String, String>,
    /// Knobs with one allowed value.
    #[serde(default)]
    pub fixed: BTreeMap<String, FixedKnob>,
    /// Values that need a GPU family.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// How its version is found.
    #[serde(default)]
    pub version: VersionSource,
    /// Commands that print its help.
    #[serde(default)]
    pub help: Vec<HelpCommand>,
    /// Its own counters, where it exposes any.
    #[serde(default)]
    pub metrics: Option<MetricsEndpoint>,
    /// What its endpoints take.
    pub request: RequestStyle,
    /// Path of a POST that empties the prefix cache.
    pub reset_path: Option<String>,
    /// Its own benchmark client, for `bench-load --client`.
    #[serde(default)]
    pub client: Option<FrameworkClient>,
    /// Log text that tells why it failed, before the rules for all frameworks.
    #[serde(default)]
    pub failures: Vec<FailurePattern>,
    /// What its log tells about capacity and start-up.
    #[serde(default)]
    pub facts: Vec<FactPattern>,
    /// Regular expressions for the command lines of processes without which the server does not work.
    #[serde(default)]
    pub workers: Vec<String>,
}

impl Framework {
    /// All knobs that the definition knows.
    pub fn known_knobs(&self) -> impl Iterator<Item = &str> {
        self.described().map(|(name, _)| name)
    }

    /// All knobs with what is said about them.
    pub fn described(&self) -> impl Iterator<Item = (&str, &Knob)> {
        self.knobs.values().flat_map(|family| &family.0).map(|(name, knob)| (name.as_str(), knob))
    }

    /// The knobs that play a role, whatever the framework calls them: `tensor_parallel`.
    pub fn with_role<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a str, &'a Knob)> {
        self.described().filter(move |(_, knob)| knob.role.as_deref() == Some(role))
    }

    /// What is said about a knob; of a dotted one about the map that it is a member of.
    #[must_use]
    pub fn knob(&self, name: &str) -> Option<&Knob> {
        let root = name.split('.').next().unwrap_or(name);
        self.described().find(|(known, _)| *known == root).map(|(_, knob)| knob)
    }

    /// True for a knob that belongs to the second stage of a search.
    #[must_use]
    pub fn is_speculative(&self, knob: &str) -> bool {
        self.knobs.get("speculative").is_some_and(|family| family.0.iter().any(|(known, _)| known == knob))
    }

    /// The flag of a knob: `max_num_seqs` → `--max-num-seqs`.
    #[must_use]
    pub fn flag(&self, knob: &str) -> String {
        if let Some(flag) = self.flags.spelled.get(knob) {
            return flag.clone();
        }
        match self.flags.words {
            FlagJoin::Dash => format!("--{}", knob.replace('_', "-")),
            FlagJoin::Underscore => format!("--{knob}"),
        }
    }

    /// The flag by which this value of a knob is said; `None` for a value that no flag says.
    #[must_use]
    pub fn spell(&self, knob: &str, value: &Value) -> Option<String> {
        match (value, self.flags.booleans) {
            (Value::Null, _) | (Value::Bool(false), Booleans::Switch) => None,
            (Value::Bool(false), Booleans::NoPrefix) => Some(self.flag(knob).replacen("--", "--no-", 1)),
            _ => Some(self.flag(knob)),
        }
    }

    fn check(&self) -> Result<()> {
        if self.command.is_empty() || self.commands.iter().any(|entry| entry.command.is_empty()) {
            return Err(Error::new("`command` is empty"));
        }
        let own = [&self.model_flag, &self.served_name_flag].into_iter().flatten();
        let own: Vec<&String> = own.chain([&self.host_flag, &self.port_flag]).collect();
        if let Some(flag) = self.flags.also.values().find(|to| to.starts_with('-') && !own.contains(to)) {
            return Err(Error::new(format!("`{flag}` in `flags.also` is not a flag of model, name, host or port")));
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
            .chain(self.flags.also.values().filter(|target| !target.starts_with('-')));
        for knob in named {
            if !known.contains(&knob.as_str()) {
                return Err(Error::new(format!("`{knob}` is used but is in no family of `knobs`")));
            }
        }
        Ok(())
    }
}
