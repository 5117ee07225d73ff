//! Parts of a definition: flags, probes, parallelism, help, versions, counters, requests.

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
    /// Flags of knobs that do not follow this rule: `ctx_size: -c`.
    #[serde(default)]
    pub spelled: BTreeMap<String, String>,
    /// Other names of flags, each with its knob or flag: `-tp: tensor_parallel_size`.
    #[serde(default)]
    pub also: BTreeMap<String, String>,
    /// A flag with a dot sets one member of a map: `--compilation-config.mode 3`.
    #[serde(default)]
    pub dotted: bool,
    /// What the parser of the command line accepts besides the flags as its help lists them.
    #[serde(default)]
    pub lenient: BTreeSet<Leniency>,
}

/// What a parser of command lines accepts besides the flags as its help lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leniency {
    /// The value of a short flag of one letter, without a space: `-O3`.
    Attached,
    /// The beginning of a long flag, if no other flag begins like it: `--tp` for `--tp-size`.
    Prefixes,
    /// `_` for `-` in a long flag: `--max_num_seqs`.
    Underscores,
}

/// The counters of a server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsEndpoint {
    /// Path of a GET that returns Prometheus' text format.
    pub path: String,
    /// Metrics of a run from the counters.
    #[serde(rename = "told")]
    pub mappings: Vec<MetricMapping>,
}

/// A metric of a run: the increase of a counter, or of one counter per another, or the mean of the values added to a histogram. A
/// counter may be given with a label: `x{position="0"}`. Of several mappings of one name the last that has a value counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricMapping {
    /// `BLOCK.KEY` in the result; the key has its unit: `cache.hit_tokens`, `phase_metrics.mean_queue_ms`.
    pub name: String,
    /// A counter.
    #[serde(default)]
    pub delta: Option<String>,
    /// A histogram or summary, without `_sum` and `_count`.
    #[serde(default)]
    pub mean: Option<String>,
    /// With `delta`: a counter whose increase is subtracted.
    #[serde(default)]
    pub less: Option<String>,
    /// With `delta`: a counter by whose increase it is divided.
    #[serde(default)]
    pub per: Option<String>,
    /// A gauge: its value after the run.
    #[serde(default)]
    pub gauge: Option<String>,
    /// Factor to the unit of the key.
    #[serde(default = "once")]
    pub times: f64,
    /// Added to the value.
    #[serde(default)]
    pub plus: f64,
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
    /// Maximum time until ready, s.
    #[serde(default = "ready_timeout_s")]
    pub ready_timeout_s: u64,
    /// Usual time until ready, for estimates, s.
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

/// How long a prompt may be, unless it is split over several steps.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptLimit {
    /// The knob with the maximum number of tokens of a step.
    pub knob: String,
    /// The switch by which prompts are split.
    pub unless: String,
    /// The limit where no knob sets it, tokens.
    pub default: u64,
}

/// The knob that limits prompt plus output tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceLimit {
    /// `max_model_len`.
    pub knob: String,
    /// The knob with the number of sequences that share the limit: llama.cpp's `parallel`.
    pub divided_by: Option<String>,
}

/// Which knobs take GPUs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parallelism {
    /// The tensor-parallel knob, set to `gpu_count` if a plan sets no degree of parallelism; null: not supported.
    pub tensor: Option<String>,
    /// Knobs whose product is the number of GPUs.
    #[serde(default)]
    pub multiply: Vec<String>,
    /// Degrees within those GPUs (expert parallelism).
    #[serde(default)]
    pub share: Vec<String>,
    /// Knobs of `multiply` that share those GPUs instead if a switch is on: `dp_size: enable_dp_attention`.
    #[serde(default)]
    pub shared_by: BTreeMap<String, String>,
    /// Degrees that must divide others.
    #[serde(default)]
    pub divisors: Vec<Divisor>,
    /// Knobs with which the GPUs hold other weights than those of the checkpoint, or only some of them.
    #[serde(default)]
    pub other_weights: Vec<String>,
    /// The knob with the number of nodes.
    #[serde(default)]
    pub nodes: Option<String>,
}

/// Degrees whose product must divide the product of others, or the server does not start.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Divisor {
    /// The degrees that divide; one of [`Parallelism::shared_by`] only while its switch is on.
    pub knobs: Vec<String>,
    /// The degrees that are divided.
    pub of: Vec<String>,
}

/// Degrees of parallelism by their knobs.
pub type Degrees<'a> = Vec<(&'a str, u64)>;

impl Parallelism {
    /// The degrees that these flags set, of these knobs.
    fn degrees<'a>(
        knobs: impl IntoIterator<Item = &'a String>,
        flags: &Members,
    ) -> impl Iterator<Item = (&'a str, u64)> {
        knobs.into_iter().filter_map(|knob| Some((knob.as_str(), flags.get(knob)?.as_u64()?)))
    }

    /// True for a degree of `multiply` that a switch in these flags puts inside the others.
    #[must_use]
    pub fn shares(&self, knob: &str, flags: &Members) -> bool {
        self.shared_by.get(knob).is_some_and(|switch| flags.get(switch) == Some(&true.into()))
    }

    /// The degrees whose product is the number of GPUs, and those that share these GPUs.
    #[must_use]
    pub fn split_degrees(&self, flags: &Members) -> (Degrees<'_>, Degrees<'_>) {
        let (inside, multiply): (Vec<_>, Vec<_>) =
            Self::degrees(&self.multiply, flags).partition(|(knob, _)| self.shares(knob, flags));
        (multiply, Self::degrees(&self.share, flags).chain(inside).collect())
    }

    /// The first degrees that must divide others but do not, and those others. Unless the flags set one of the others, nothing
    /// is known about them.
    #[must_use]
    pub fn uneven(&self, flags: &Members) -> Option<(Degrees<'_>, Degrees<'_>)> {
        let inside = |knob: &&String| !self.multiply.contains(knob) || self.shares(knob, flags);
        self.divisors.iter().find_map(|divisor| {
            let divides = || Self::degrees(divisor.knobs.iter().filter(inside), flags).filter(|(_, n)| *n > 1);
            let of = || Self::degrees(&divisor.of, flags);
            if of().next().is_none() || product(of()).is_multiple_of(product(divides())) {
                return None;
            }
            let (divides, mut of): (Degrees, Degrees) = (divides().collect(), of().collect());
            // What is 1 explains nothing, unless all is.
            if of.iter().any(|(_, n)| *n > 1) {
                of.retain(|(_, n)| *n > 1);
            }
            Some((divides, of))
        })
    }

    /// Number of GPUs of a server with these flags; `None` if no knob sets it.
    #[must_use]
    pub fn gpus(&self, flags: &Members) -> Option<u64> {
        let own = Self::degrees(&self.multiply, flags).filter(|(knob, _)| !self.shares(knob, flags));
        (!self.multiply.is_empty()).then(|| product(own))
    }
}

/// The product of degrees, at least 1.
fn product<'a>(degrees: impl IntoIterator<Item = (&'a str, u64)>) -> u64 {
    degrees.into_iter().fold(1, |product: u64, (_, n)| product.saturating_mul(n.max(1)))
}

/// A command that prints help, and how to recognize a file with its output.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelpCommand {
    /// The command, as argv.
    pub command: Vec<String>,
    /// The program it is the help of.
    #[serde(default)]
    pub of: HelpSubject,
    /// Lists of words: a file whose name has all words of one list is a capture of it. The longest match wins.
    #[serde(default)]
    pub named: Vec<Vec<String>>,
    /// Pattern for a line found only in help that lists groups instead of flags.
    #[serde(default)]
    pub grouped: Option<String>,
    /// True if it does not list all flags.
    #[serde(default)]
    pub incomplete: bool,
}

/// The program a help belongs to.
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

/// Content of a new plan.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStarter {
    /// Flags of the baseline.
    #[serde(default)]
    pub base: Members,
    /// The main knobs, with values to try.
    #[serde(default)]
    pub search: Members,
    /// Its container image, as its own documentation names it.
    #[serde(default)]
    pub image: Option<String>,
}

/// How to find the version: the first of these that is available.
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
    /// Members of `environment`, each with its Python packages, of which the first one installed counts: `nccl: [nvidia_nccl_cu13]`.
    #[serde(default)]
    pub libraries: BTreeMap<String, Vec<String>>,
}

/// What the endpoints accept beyond OpenAI's API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestStyle {
    /// True if `/v1/completions` accepts a list of token ids as prompt.
    pub token_id_prompts: bool,
    /// Members that force the requested output length: `{ignore_eos: true}`.
    pub exact_length: BTreeMap<String, Value>,
    /// What its chat endpoint accepts besides text, if the model supports it: `images`, `tools`.
    #[serde(default)]
    pub takes: BTreeSet<String>,
    /// Its own endpoints besides OpenAI's: `/generate`.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// `per_request` for a server that closes connections despite keep-alive.
    #[serde(default)]
    pub connections: Connections,
}

/// A path inside the folder of what a framework compiles; `{candidate}` in it is the id of the candidate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePath {
    /// A folder, which bench-serve creates.
    Folder(String),
    /// A file, which the server writes.
    File(String),
}
