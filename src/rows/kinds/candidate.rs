//! `candidate`: one framework, one flag set, and the units that are still to run with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CachePolicy, CheckSettings, Hardware, Load, Members, Scenario, Shared, Slot, Speculation, Substitution};
use crate::rows::words::{Endpoint, FailureClass, SlotPart, Stage, Status, Strategy};

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
    /// Tokenizer path or id, if it is not the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Requested precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Requested quantization.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// The GPU budget.
    pub hardware: Shared<Hardware>,
    /// Number of GPUs that its degrees of parallelism use, if fewer than the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// How the server is started.
    pub server: Shared<CandidateServer>,
    /// The server's own command, with the framework's default port; quoted for a POSIX shell. Deploy with it unless
    /// there is a `launch_command`.
    pub server_command: String,
    /// The command to deploy through the plan's launchers, as it is run, with image, mounts and option files; absent if
    /// the server has no launcher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_command: Option<String>,
    /// All scenarios of the plan.
    pub scenarios: Shared<Vec<Scenario>>,
    /// All load specs of the plan.
    pub loads: Shared<Vec<Load>>,
    /// The units still to run: scenario × load × repeat.
    pub units: Vec<Unit>,
    /// How the load is driven.
    pub benchmark: Shared<Benchmark>,
    /// What to check of the answers; absent if the plan asks for no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Shared<CheckSettings>>,
    /// How its drafts are accepted; absent without speculative decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculation: Option<Speculation>,
    /// SLA limits by key (`max_p99_ttft_ms`, `min_success_rate`); empty if the plan has none.
    #[serde(default)]
    pub sla: Shared<Members>,
    /// The weight of each scenario in a decision over all of them.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub weights: Shared<Members>,
    /// Its place in the search.
    pub search: SearchPosition,
    /// Its place among all candidates of the plans; absent if it is not to be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<CandidatePosition>,
    /// The folder of its claim, where several hosts share the candidates: bench-load writes there how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The part of the host that its server gets; bench-serve sets it where it runs several at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The framework version that its flags were checked against; absent if no help was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its flags as accepted by the captured help; absent if none was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_cli_flags: Option<ValidatedFlags>,
    /// Knobs of the plan that were renamed or dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub substitutions: Vec<Substitution>,
    /// Caveats of the plan, for readers of its results.
    #[serde(default, skip_serializing_if = "is_empty_list")]
    pub caveats: Shared<Vec<String>>,
    /// The engine is simulated: no result of this row is a measurement of a real engine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
    /// Set only if the candidate is not to be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// More specific than `status`: `unsupported`, `budget`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_class: Option<FailureClass>,
    /// Why it is not to be run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

fn is_empty(members: &Shared<Members>) -> bool {
    members.is_empty()
}

fn is_empty_list(list: &Shared<Vec<String>>) -> bool {
    list.is_empty()
}

impl Candidate {
    /// The name by which requests ask for the model.
    #[must_use]
    pub fn served_name(&self) -> &str {
        self.server.served_name.as_ref().unwrap_or(&self.model)
    }

    /// The number of GPUs that it needs, if it says so.
    #[must_use]
    pub fn needed_gpus(&self) -> Option<u32> {
        self.gpus.or(self.hardware.gpu_count)
    }

    /// It runs while nothing else runs, also where others share the host in slots of `size` GPUs: a baseline, a finalist in its repeats, and
    /// one that needs more GPUs than a slot has.
    #[must_use]
    pub fn runs_alone(&self, size: usize) -> bool {
        let is_repeat = !self.units.is_empty() && self.units.iter().all(|unit| unit.repeat > 0);
        let is_wide = self.needed_gpus().is_some_and(|needed| needed as usize > size);
        self.search.baseline || self.search.stage == Some(Stage::Repeat) || is_repeat || is_wide
    }
}

/// How one server is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CandidateServer {
    /// The framework definition that it was rendered from: `vllm`.
    pub definition: String,
    /// The name by which requests ask for the model, if it is not `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_name: Option<String>,
    /// The command, as argv. bench-serve replaces `{port}` with the port that it chooses. Over several nodes
    /// `{rank}`, `{leader}` (the host of rank 0), `{leader_port}` (where the ranks meet) and `{nodes}` (their number) are replaced too.
    pub argv: Vec<String>,
    /// What the processes of a server over several nodes have after it, but for the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<String>,
    /// Environment variables added to the inherited ones; null inherits the variable of this name.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    /// Option files by name; bench-serve writes them, and argv refers to them as `{files}/NAME`.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The flags as the plan spells them, baseline and search values together.
    pub flags: Members,
    /// The flags that differ from the baseline; empty for the baseline itself.
    #[serde(default)]
    pub changed: Members,
    /// What starts it, outermost first: `local`, or `ssh` and inside it `docker_exec`.
    pub launcher: Vec<LauncherStep>,
    /// Container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// `HOST:CONTAINER` folders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<String>,
}

/// One launcher and its settings.
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

/// The unit of work and of resume: scenario × load spec × repeat of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Unit {
    /// 16 hexadecimal digits: a digest of everything that the unit's result depends on.
    pub key: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Index into `loads`.
    pub load: usize,
    /// From 0.
    pub repeat: u32,
    /// Where its search begins, requests per second or in flight: the candidate's own result of the stage before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// The highest load at which another candidate of the framework met the SLA in this stage, according to earlier rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bar: Option<f64>,
}

/// How the load is driven, the same for every candidate of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Benchmark {
    /// Path of the endpoint: `/v1/completions`, `/v1/chat/completions` or `/generate`.
    pub endpoint: Endpoint,
    /// Number of measured requests per run, unless `duration_s` needs more.
    pub num_prompts: u32,
    /// Open loop: minimum duration, s: n = max(`num_prompts`, rate × duration).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Requests sent before the measured ones, of the same scenario, and discarded.
    pub warmup_requests: u32,
    /// Warm up under the measured load for this long instead, s, and keep the load running until the last measured
    /// request returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_s: Option<f64>,
    /// Seed of schedule and prompts.
    pub seed: u64,
    /// Request outputs of exactly `output_len` tokens, even if the model would stop earlier.
    pub ignore_eos: bool,
    /// Members of every request's body; temperature is 0 unless the plan sets a sampling parameter.
    pub extra_request_body: Members,
    /// Responses arrive whole, not as a stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_answers: bool,
    /// Request the token count in every chunk: it costs the server a little, and shows how many tokens each chunk has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continuous_usage: bool,
    /// Headers of every request; `${NAME}` in a value is replaced by that environment variable.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// How prompts avoid hits in the prefix cache.
    #[serde(default, skip_serializing_if = "CachePolicy::is_default")]
    pub cache: CachePolicy,
    /// A smoke test, not a benchmark: few prompts, or set by the plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smoke: bool,
}

/// A candidate's place in the search of its framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SearchPosition {
    /// As in the plan: `baseline_first_bounded_product`, `one_at_a_time`, ….
    pub strategy: Strategy,
    /// From 0; 0 is the baseline.
    pub index: usize,
    /// Number of candidates of this framework that run, at most `max_candidates_per_framework`.
    pub of: usize,
    /// Number of combinations in the search space.
    pub space: usize,
    /// True for the baseline.
    pub baseline: bool,
    /// Its runs calibrate the node: they are compared with those of other nodes, and not ranked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calibration: bool,
    /// Its runs show how much servers in slots disturb each other, and are not ranked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_check: Option<SlotPart>,
    /// Why it is tested.
    #[serde(default)]
    pub why: String,
    /// The stage that these units are of, where the plan has stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Allowed values of knobs that no candidate of this framework has, because the maximum number of candidates was
    /// reached.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub never_tried: Members,
}

/// A candidate's place among all that the plans ask for, whether measured before or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CandidatePosition {
    /// From 1.
    pub index: usize,
    /// Number of candidates.
    pub of: usize,
    /// Number of units still to run, with those of this candidate and without those of earlier ones.
    pub units_left: usize,
}

/// Flags accepted by the captured help.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ValidatedFlags {
    /// The version that the help belongs to, if known.
    #[serde(default)]
    pub version: Option<String>,
    /// Flags of the server.
    pub server: Vec<String>,
    /// Flags of the framework's own benchmark client, if its help was captured.
    pub benchmark: Vec<String>,
    /// Flags of the server that are not in the help, which is known to be incomplete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unverifiable: Vec<String>,
}
