//! `candidate`: one framework, one flag set, and the trials that are left to run with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CachePolicy, Hardware, Load, Members, Scenario, Substitution};
use crate::rows::words::{Endpoint, FailureClass, Status, Strategy};

/// A `candidate` row: everything that bench-serve and bench-load need to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Candidate {
    /// The framework's name in the plan.
    pub framework: String,
    /// `NAME-` and eight hexadecimal digits of the content: command, files, environment, model, GPUs.
    pub candidate_id: String,
    /// Model path or id.
    pub model: String,
    /// Tokenizer path or id, where it is not the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Asked precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Asked quantization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// The GPU budget.
    pub hardware: Hardware,
    /// GPUs that its degrees of parallelism take, where these are fewer than the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// How the server is started.
    pub server: CandidateServer,
    /// The server's own command, with the framework's default port; quoted for a POSIX shell. It is the command to deploy unless
    /// there is a `launch_command`.
    pub server_command: String,
    /// The command to deploy through the plan's launchers, as it is run, with image, mounts and option files; absent for a server
    /// without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_command: Option<String>,
    /// The scenarios of the plan, all of them.
    pub scenarios: Vec<Scenario>,
    /// The load specs of the plan, all of them.
    pub loads: Vec<Load>,
    /// What is left to run: scenario × load × repeat.
    pub units: Vec<Unit>,
    /// How the load is driven.
    pub benchmark: Benchmark,
    /// SLA limits by key (`max_p99_ttft_ms`, `min_success_rate`); empty when the plan gives none.
    #[serde(default)]
    pub sla: Members,
    /// What each scenario counts in a decision over all of them.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub weights: Members,
    /// Its place in the search.
    pub search: SearchPosition,
    /// The framework's version that its flags were checked for; absent when no help was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its flags as a captured help accepts them; absent when none was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_cli_flags: Option<ValidatedFlags>,
    /// Knobs of the plan that go by another name, or are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitutions: Vec<Substitution>,
    /// What a reader of its results has to know about the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
    /// The engine simulates; nothing that follows from this row is a measurement of a real engine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// Given only when the candidate is not to be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Finer than `status`: `unsupported`, `budget`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// Why it is not to be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// How one server is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CandidateServer {
    /// The framework definition that rendered it: `vllm`.
    pub definition: String,
    /// The command to deploy. `{port}` is replaced by the port that bench-serve chooses.
    pub argv: Vec<String>,
    /// Environment beside the inherited one; null means: inherit this name.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    /// Option files by name; bench-serve writes them, `{files}/NAME` in argv is their path.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The flags as the plan spells them, baseline and search values together.
    pub flags: Members,
    /// The flags that differ from the baseline; empty for the baseline itself.
    #[serde(default)]
    pub changed: Members,
    /// What starts it, outermost first: `local`, or `ssh` and in it `docker_exec`.
    pub launcher: Vec<LauncherStep>,
    /// Container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `HOST:CONTAINER` folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
}

/// One launcher, and what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LauncherStep {
    /// `local`, `docker`, `ssh`, ….
    pub name: String,
    /// `host`, `container`, `options`, ….
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl LauncherStep {
    /// A launcher without options.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        Self { name: name.into(), options: BTreeMap::new() }
    }

    /// The launcher that starts a plain child process.
    #[must_use]
    pub fn local() -> Self {
        Self::plain("local")
    }

    /// True for the launcher that starts a plain child process.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.name == "local"
    }
}

/// One unit of work and of resume: scenario × load spec × repeat of this candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unit {
    /// 16 hexadecimal digits of everything that the unit's result depends on.
    pub key: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Index into `loads`.
    pub load: usize,
    /// From 0.
    pub repeat: u32,
}

/// How the load is driven, the same for every candidate of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Benchmark {
    /// Path of the endpoint: `/v1/completions`, `/v1/chat/completions` or `/generate`.
    pub endpoint: Endpoint,
    /// Measured requests per run, exactly, unless `duration_s` asks for more.
    pub num_prompts: u32,
    /// Open loop: at least this long: n = max(`num_prompts`, rate × duration).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Requests before the measured ones, of the same scenario, discarded.
    pub warmup_requests: u32,
    /// Instead: warm up under the measured load for this many seconds, and keep it running until the last measured request returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_s: Option<f64>,
    /// Seed of schedule and prompts.
    pub seed: u64,
    /// Ask the server to go on to `output_len` whatever the model says.
    pub ignore_eos: bool,
    /// Members of every request's body; temperature 0 when the plan gives no sampling.
    pub extra_request_body: Members,
    /// Answers come whole and not as a stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_answers: bool,
    /// Ask for the count of tokens in every chunk: it costs the server a little, and tells how many tokens a chunk has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continuous_usage: bool,
    /// Headers of every request; `${NAME}` in a value is replaced by that environment variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How prompts stay out of the prefix cache from one run to the next.
    #[serde(default, skip_serializing_if = "CachePolicy::is_default")]
    pub cache: CachePolicy,
    /// A smoke test, not a benchmark (few prompts, or set by the plan).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smoke: bool,
}

/// A candidate's place in the search of its framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchPosition {
    /// As the plan says: `baseline_first_bounded_product`, `one_at_a_time`, ….
    pub strategy: Strategy,
    /// From 0; 0 is the baseline.
    pub index: usize,
    /// Candidates of this framework after the cap.
    pub of: usize,
    /// Candidates that the search space holds before the cap.
    pub space: usize,
    /// True for the baseline.
    pub baseline: bool,
    /// Why it is tried.
    #[serde(default)]
    pub why: String,
    /// Values of knobs that no candidate of this framework has, though nothing forbids them: the cap came first.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub never_tried: Members,
}

/// Flags that a captured help accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValidatedFlags {
    /// The version that the help is of, where it is known.
    #[serde(default)]
    pub version: Option<String>,
    /// Flags of the server.
    pub server: Vec<String>,
    /// Flags of the framework's own benchmark client, where one was captured.
    pub benchmark: Vec<String>,
    /// Flags of the server that are not in the help, which is known to be incomplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverifiable: Vec<String>,
}
