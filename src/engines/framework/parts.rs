//! How a framework is called, probed, asked for its version and counters.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::rows::kinds::{Connections, Members};

/// How knobs become flags.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagStyle {
    /// `dash`: `--max-num-seqs`; `underscore`: `--max_num_seqs`.
    pub words: FlagJoin,
    /// What a boolean knob becomes.
    pub booleans: Booleans,
    /// Knobs whose flag is not made by the rule: `ctx_size: -c`.
    #[serde(default)]
    pub spelled: BTreeMap<String, String>,
    /// Other names of flags, each with the knob or the flag that it stands for: `-tp: tensor_parallel_size`.
    #[serde(default)]
    pub also: BTreeMap<String, String>,
    /// A flag with a dot sets one member of a map: `--compilation-config.mode 3`.
    #[serde(default)]
    pub dotted: bool,
}

/// A server's own counters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsEndpoint {
    /// Path of a GET that answers in Prometheus' text format.
    pub path: String,
    /// What they tell about a run.
    pub told: Vec<MetricMapping>,
}

/// One thing that a server's counters tell about a run: what came to a counter, or the mean of what came to a histogram.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricMapping {
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
pub enum FlagJoin {
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
pub struct ReadinessProbe {
    /// Answers 200 when healthy.
    pub health_path: String,
    /// Lists the models.
    #[serde(default = "models_path")]
    pub models_path: String,
    /// Most seconds until ready.
    #[serde(default = "ready_timeout_s")]
    pub ready_timeout_s: u64,
    /// Seconds that a start usually takes, for estimates.
    #[serde(default = "usual_ready_s")]
    pub usual_ready_s: u64,
}

fn usual_ready_s() -> u64 {
    300
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
    /// Knobs of `multiply` that share those GPUs instead where a switch is on: `dp_size: enable_dp_attention`.
    #[serde(default)]
    pub shared_by: BTreeMap<String, String>,
    /// The knob that says over how many nodes it goes.
    #[serde(default)]
    pub nodes: Option<String>,
}

/// Degrees of parallelism by their knobs.
pub type Degrees = Vec<(String, u64)>;

impl Parallelism {
    /// The degrees that these flags set, of these knobs.
    fn degrees(knobs: &[String], flags: &Members) -> Degrees {
        knobs.iter().filter_map(|knob| Some((knob.clone(), flags.get(knob)?.as_u64()?))).collect()
    }

    /// True for a degree of `multiply` that a switch among these flags makes one inside the others.
    #[must_use]
    pub fn shares(&self, knob: &str, flags: &Members) -> bool {
        self.shared_by.get(knob).is_some_and(|switch| flags.get(switch) == Some(&true.into()))
    }

    /// The degrees whose product is the number of GPUs, and those that share these GPUs.
    #[must_use]
    pub fn parted(&self, flags: &Members) -> (Degrees, Degrees) {
        let (inside, multiply): (Vec<_>, Vec<_>) =
            Self::degrees(&self.multiply, flags).into_iter().partition(|(knob, _)| self.shares(knob, flags));
        (multiply, Self::degrees(&self.share, flags).into_iter().chain(inside).collect())
    }

    /// How many GPUs a server with these flags takes; `None` where no knob says.
    #[must_use]
    pub fn gpus(&self, flags: &Members) -> Option<u64> {
        let (degrees, _) = self.parted(flags);
        (!self.multiply.is_empty()).then(|| degrees.iter().fold(1, |product: u64, (_, n)| product.saturating_mul(*n)))
    }
}

/// A command that prints help, and how a file with what it printed is recognised.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelpCommand {
    /// The command, as argv.
    pub command: Vec<String>,
    /// Of what it is the help.
    #[serde(default)]
    pub of: HelpSubject,
    /// Sets of words: a file whose name has all words of one of them is such a capture. Most words win.
    #[serde(default)]
    pub named: Vec<Vec<String>>,
    /// A line that stands only in help which lists groups of flags instead of flags.
    #[serde(default)]
    pub grouped: Option<String>,
    /// It is known not to list all flags.
    #[serde(default)]
    pub incomplete: bool,
}

/// Of what a help is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HelpSubject {
    /// The server.
    #[default]
    Server,
    /// Its own benchmark client.
    Benchmark,
    /// Its own sweep over server flags.
    Sweep,
}

/// What a new plan begins with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStarter {
    /// Flags of the baseline.
    #[serde(default)]
    pub base: Members,
    /// The main knobs, and values to try.
    #[serde(default)]
    pub search: Members,
}

/// How a version is found: the first of these that is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionSource {
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
    /// Endpoints of its own beside OpenAI's: `/generate`.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// `per_request` for a server that closes connections which it promised to keep.
    #[serde(default)]
    pub connections: Connections,
}
