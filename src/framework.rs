//! Framework definitions: what differs between serving frameworks, as data. The format is documented in
//! `configs/frameworks/README.md`; adding a framework needs no change here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::launcher::Launchers;
use crate::schema::Connections;
use crate::yaml;

/// The definitions that are compiled in, by name.
pub const SHIPPED: &[(&str, &str)] = &[
    ("sglang", include_str!("../configs/frameworks/sglang.yaml")),
    ("vllm", include_str!("../configs/frameworks/vllm.yaml")),
    ("tensorrt_llm", include_str!("../configs/frameworks/tensorrt_llm.yaml")),
    ("tokenspeed", include_str!("../configs/frameworks/tokenspeed.yaml")),
    ("llama_cpp", include_str!("../configs/frameworks/llama_cpp.yaml")),
    ("sim", include_str!("../configs/frameworks/sim.yaml")),
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
    /// The flag that takes the model; null: the model stands right behind the command.
    pub model_flag: Option<String>,
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
    pub probe: Probe,
    /// The knob that limits prompt plus output, where there is one.
    pub sequence_limit: Option<SequenceLimit>,
    /// Which knobs take GPUs.
    pub parallelism: Parallelism,
    /// Knobs by family, as plans spell them (`max_num_seqs`).
    pub knobs: BTreeMap<String, Vec<String>>,
    /// Knobs that stay in the baseline unless the plan says so, with the reason.
    #[serde(default)]
    pub pinned: BTreeMap<String, String>,
    /// Knobs of which a higher value asks for more memory.
    #[serde(default)]
    pub memory_knobs: Vec<String>,
    /// Knobs that take the path of an option file, with the name of that file: a map in a plan becomes its content.
    #[serde(default)]
    pub option_files: BTreeMap<String, String>,
    /// Knobs with one allowed value.
    #[serde(default)]
    pub fixed: BTreeMap<String, Fixed>,
    /// Values that need a GPU family.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// How its version is found.
    #[serde(default)]
    pub version: Version,
    /// Commands that print its help, as argv.
    #[serde(default)]
    pub help: Vec<Vec<String>>,
    /// Its own counters, where it exposes any.
    #[serde(default)]
    pub metrics: Option<Metrics>,
    /// What its endpoints take.
    pub request: RequestStyle,
    /// Path of a POST that empties the prefix cache.
    pub reset_path: Option<String>,
    /// Its own benchmark client, for `bench-load --client`.
    #[serde(default)]
    pub client: Option<Client>,
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

/// How knobs become flags.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagStyle {
    /// `dash`: `--max-num-seqs`; `underscore`: `--max_num_seqs`.
    pub words: Words,
    /// What a boolean knob becomes.
    pub booleans: Booleans,
    /// Knobs whose flag is not made by the rule: `ctx_size: -c`.
    #[serde(default)]
    pub spelled: BTreeMap<String, String>,
}

/// A server's own counters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Path of a GET that answers in Prometheus' text format.
    pub path: String,
    /// What they tell about a run.
    pub told: Vec<Told>,
}

/// One thing that a server's counters tell about a run: what came to a counter, or the mean of what came to a histogram.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// `BLOCK.KEY` of the result, the key with its unit: `cache.hit_tokens`, `phase_metrics.mean_queue_ms`.
    pub name: String,
    /// A counter.
    #[serde(default)]
    pub delta: Option<String>,
    /// A histogram or summary, without `_sum` and `_count`.
    #[serde(default)]
    pub mean: Option<String>,
    /// Factor to the unit of the key.
    #[serde(default = "once")]
    pub times: f64,
}

fn once() -> f64 {
    1.0
}

/// How the words of a flag are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// `--max-num-seqs`
    Dash,
    /// `--max_num_seqs`
    Underscore,
}

/// What a boolean knob becomes on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booleans {
    /// true: the flag; false: nothing.
    Switch,
    /// true: `--flag`; false: `--no-flag`.
    NoPrefix,
    /// `--flag true`, `--flag false`.
    Value,
}

/// How to see that a server is ready.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Answers 200 when healthy.
    pub health_path: String,
    /// Lists the models.
    #[serde(default = "models_path")]
    pub models_path: String,
    /// Most seconds until ready.
    #[serde(default = "ready_timeout_s")]
    pub ready_timeout_s: u64,
}

fn models_path() -> String {
    "/v1/models".into()
}

fn ready_timeout_s() -> u64 {
    900
}

/// The knob that limits prompt plus output tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceLimit {
    /// `max_model_len`.
    pub knob: String,
    /// The limit is shared by this many sequences: llama.cpp's `parallel`.
    pub divided_by: Option<String>,
}

/// Which knobs take GPUs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parallelism {
    /// The tensor-parallel knob, set to `gpu_count` when a plan names no parallelism; null: the framework has none.
    pub tensor: Option<String>,
    /// Knobs whose product is the number of GPUs.
    #[serde(default)]
    pub multiply: Vec<String>,
    /// Knobs that share those GPUs (expert parallelism).
    #[serde(default)]
    pub share: Vec<String>,
}

/// A knob with one allowed value.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// The value.
    pub value: Value,
    /// Why any other is refused.
    pub reason: String,
}

/// A knob's value that needs one of these GPUs, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The knobs.
    pub knobs: Vec<String>,
    /// The value.
    pub value: Value,
    /// GPU families by name, compared without case, as part of the GPU's name.
    pub gpus: Vec<String>,
    /// Why.
    pub reason: String,
    /// What to use instead.
    pub instead: String,
}

/// How a version is found: the first of these that is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// GET this path of the running server.
    pub path: Option<String>,
    /// Member of the answer: `version`.
    pub key: Option<String>,
    /// Name of the Python package, whose metadata is read.
    pub package: Option<String>,
    /// A quick command that prints it.
    #[serde(default)]
    pub command: Vec<String>,
    /// Members of `environment` by the packages that tell them, the first that is there: `nccl: [nvidia_nccl_cu13]`.
    #[serde(default)]
    pub libraries: BTreeMap<String, Vec<String>>,
}

/// What the endpoints take beyond OpenAI's own members.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestStyle {
    /// `/v1/completions` takes a list of token ids as prompt.
    pub token_id_prompts: bool,
    /// Members that make the answer exactly as long as asked: `{ignore_eos: true}`.
    pub exact_length: BTreeMap<String, Value>,
    /// What its chat endpoint takes beside text, with a model that can: `images`, `tools`.
    #[serde(default)]
    pub takes: BTreeSet<String>,
    /// `per_request` for a server that closes connections which it promised to keep.
    #[serde(default)]
    pub connections: Connections,
}

/// How a framework's own benchmark client is called: the command, then the words for the endpoint, the load and the length
/// of answers. `{base_url}`, `{model_id}`, `{tokenizer}`, `{input_len}`, `{output_len}`, `{num_prompts}`, `{warmup}`,
/// `{seed}`, `{rate}`, `{concurrency}`, `{temperature}` and `{extra_body}` are words of their own, and so is where it is to
/// leave its result: `{result}`, or `{folder}` and `{file}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// What its output is called: `vllm_bench_serve`.
    pub format: String,
    /// The command, with random prompts of a fixed length and all details on.
    pub command: Vec<String>,
    /// By the path of the endpoint; one that is not there it does not speak.
    pub endpoints: BTreeMap<String, Vec<String>>,
    /// By how requests arrive.
    pub loads: ClientLoads,
    /// For answers of exactly the asked length.
    #[serde(default)]
    pub exact_length: Vec<String>,
    /// For answers that end by themselves.
    #[serde(default)]
    pub own_length: Vec<String>,
}

/// The words for each way in which requests arrive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientLoads {
    /// At a rate.
    pub open: Vec<String>,
    /// So many in flight.
    pub closed: Vec<String>,
    /// All at once.
    pub burst: Vec<String>,
}

/// What a server was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It had not been ready yet.
    Starting,
    /// It had been.
    Ready,
}

/// Log text that tells why a server failed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailurePattern {
    /// `bad_flag`, `oom`, `port_in_use`, ….
    pub class: String,
    /// `failed` or `oom`.
    #[serde(default = "failed")]
    pub status: String,
    /// A regular expression for one line of the log.
    pub pattern: String,
    /// Only when an earlier line matches this: what the server was doing.
    pub after: Option<String>,
    /// Only `starting` or only `ready`.
    pub phase: Option<Phase>,
    /// A line that it matches, from a real log.
    pub sample: String,
    /// What to do about it.
    pub advice: String,
}

/// A fact that one line of a log tells.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactPattern {
    /// Its key, with the unit: `kv_cache_tokens`, `model_load_s`, `attention_backend`.
    pub name: String,
    /// A regular expression for one line, whose first group is the value.
    pub pattern: String,
    /// Of several lines the last counts, not the first: a trial pass prints the same before the real one.
    #[serde(default)]
    pub last: bool,
    /// A line that it matches, from a real log.
    pub sample: String,
    /// The value that the sample gives.
    pub value: Value,
}

fn failed() -> String {
    "failed".into()
}

impl Framework {
    /// All knobs that the definition knows.
    pub fn known_knobs(&self) -> impl Iterator<Item = &str> {
        self.knobs.values().flatten().map(String::as_str)
    }

    /// The flag of a knob: `max_num_seqs` → `--max-num-seqs`.
    #[must_use]
    pub fn flag(&self, knob: &str) -> String {
        if let Some(flag) = self.flags.spelled.get(knob) {
            return flag.clone();
        }
        match self.flags.words {
            Words::Dash => format!("--{}", knob.replace('_', "-")),
            Words::Underscore => format!("--{knob}"),
        }
    }

    fn check(&self) -> Result<()> {
        if self.command.is_empty() {
            return Err(Error::new("`command` is empty"));
        }
        let known: Vec<&str> = self.known_knobs().collect();
        let named = self.pinned.keys().chain(self.fixed.keys()).chain(self.requires.iter().flat_map(|r| &r.knobs));
        let named =
            named.chain(&self.parallelism.multiply).chain(&self.parallelism.tensor).chain(&self.parallelism.share);
        let named = named
            .chain(&self.memory_knobs)
            .chain(self.option_files.keys())
            .chain(self.sequence_limit.iter().map(|limit| &limit.knob))
            .chain(self.flags.spelled.keys());
        for knob in named {
            if !known.contains(&knob.as_str()) {
                return Err(Error::new(format!("`{knob}` is used but is in no family of `knobs`")));
            }
        }
        Ok(())
    }
}
