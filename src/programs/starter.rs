//! A new plan for a model, with comments: `bench-validate --new MODEL --gpus N`.

use std::fmt::Write;

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::engines::framework::{Framework, Frameworks, KnobRole};
use crate::plan::{CACHE_MOUNT, ModelFacts, NamedSize, expert_proposal, is_hub_id};
use crate::rows::kinds::Members;
use crate::system::process::proc;

/// Default frameworks of a new plan.
const USUAL: [&str; 4] = ["sglang", "vllm", "tensorrt_llm", "tokenspeed"];
/// The framework whose models are GGUF files.
const GGUF: &str = "llama_cpp";
/// Sequence limit for the longest scenario of a new plan, with room for a chat template, tokens.
const SEQUENCE: u64 = 9216;

/// Number of parameters from which a model may have experts although its name does not say so.
const SPARSE: f64 = 100e9;

/// What a new plan is for.
#[derive(Debug)]
pub struct NewPlan<'a> {
    /// Path or id of the model.
    pub model: &'a str,
    /// Facts from the model's files, if they are on this host.
    pub facts: Option<ModelFacts>,
    /// Number of GPUs; 0 for an engine on the CPU.
    pub gpus: u32,
    /// The GPU's name, if known.
    pub gpu: Option<String>,
    /// The frameworks; empty for those found on this host.
    pub names: &'a [String],
}

impl NewPlan<'_> {
    /// True if the model's name says that it is a GGUF file, which llama.cpp serves.
    fn is_gguf(&self) -> bool {
        self.model.to_ascii_lowercase().contains("gguf")
    }

    /// What is known about the model: from its files, otherwise by its name.
    fn known(&self) -> Option<ModelFacts> {
        self.facts.clone().or_else(|| ModelFacts::named(self.model))
    }

    /// The number of GPUs that share each layer: the largest that divides the model's attention heads, if these are known.
    fn degree(&self) -> u64 {
        let gpus = u64::from(self.gpus);
        let heads = self.known().and_then(|facts| facts.heads);
        heads.and_then(|heads| (1..=gpus).rev().find(|n| heads.is_multiple_of(*n))).unwrap_or(gpus)
    }
}

/// How a new plan measures and searches.
pub const WORKLOAD: &str = "\
benchmark:
  endpoint: /v1/completions
  # null: open loop, with a search for the highest rate (qps). 16: closed loop with 16 requests in flight.
  max_concurrency: [null, 16]
  qps: {lower: 0.25, upper: 8}

# SLA limits; each names its statistic.
sla:
  max_p99_ttft_ms: 2000
  max_p99_tpot_ms: 50
  min_success_rate: 0.99

# Are the answers of those that may win right under load? 64 nonces and 200 questions, compared with the baseline's own answers.
check: winners

search:
  # 1: smoke test, 2: bounded, 3: everything.
  tier: 2
  # 2: compare all candidates with a few short runs, then search the best two of each framework and their ties, then repeat the
  # finalists. 1: search every candidate.
  stages: 2
  # To end within a night: what is not likely to fit is left out, and bench-expand says what. Without this line everything runs.
  fit: 8h
  # Every value of every knob first, then every pair of values.
  strategy: pairwise
  max_candidates_per_framework: 8

";

/// One framework of a new plan.
struct FrameworkChoice<'a> {
    framework: &'a Framework,
    /// False: only shown, as a comment.
    active: bool,
    /// The command to start it with, where that is not the definition's.
    command: Option<String>,
}

/// The text of a new plan.
///
/// # Errors
/// An unknown framework.
pub fn plan(new: &NewPlan, frameworks: &Frameworks, notice: &Notice) -> Result<String> {
    if new.model.trim().is_empty() {
        return Err(Error::new("--new requires a model: a path or an id"));
    }
    if !new.is_gguf()
        && !new.gpus.is_power_of_two()
        && new.gpus > 0
        && new.known().is_none_or(|facts| facts.heads.is_none())
    {
        notice.warn(format!(
            "tensor parallelism over {} GPUs only starts if that number divides the attention heads of {}, which are \
             unknown: see num_attention_heads in its config.json",
            new.gpus, new.model
        ));
    }
    let mut text = head(new);
    for (i, choice) in choices(new, frameworks, notice)?.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        let (title, section) = (&choice.framework.title, section(choice, new));
        if choice.active {
            let _ = write!(text, "  # {title}\n{section}");
            continue;
        }
        let _ = writeln!(text, "  # {title} is not on PATH. To compare it too, uncomment this and set how it starts:");
        section.lines().for_each(|line| _ = writeln!(text, "  #{}", line.strip_prefix(' ').unwrap_or(line)));
    }
    Ok(text)
}

/// Everything before the frameworks.
fn head(new: &NewPlan) -> String {
    let gpus = new.gpus;
    format!(
        "# {model} on {gpus} GPU{s}: compares frameworks and searches their best server commands.\n\
         # Check it with `bench-validate THIS`, print its commands with `bench-expand THIS --format sh`, run it with\n\
         # `scripts/sweep THIS`.\n\
         schema_version: 1\n\
         model:\n  \
           path: {model}\n  \
           # precision: bf16\n\
         hardware:\n  \
           # Set this: some flags require a GPU family, and it checks that the weights fit.\n  \
           {gpu}\n  \
           gpu_count: {gpus}\n  \
           multi_node: false\n\n\
         dataset:\n  \
           kind: random\n  \
           # 80 are enough for a comparison; confirming a p99 takes 299.\n  \
           num_prompts: 80\n  \
           # Aligned pairs: chat has 1000 input and 1000 output tokens.\n  \
           scenario_names: [chat, summarization]\n  \
           input_len: [1000, 8000]\n  \
           output_len: [1000, 1000]\n\n\
         {WORKLOAD}frameworks:\n",
        model = quoted(&Value::from(new.model)),
        gpu = new.gpu.as_ref().map_or("# gpu_model: NVIDIA H100 80GB HBM3".into(), |gpu| format!(
            "gpu_model: {}",
            Value::from(gpu.as_str())
        )),
        s = if gpus == 1 { "" } else { "s" },
    )
}

/// The frameworks of a new plan: those asked for, otherwise the usual ones, of which those on PATH are active; all, if none is on PATH.
fn choices<'a>(new: &NewPlan, frameworks: &'a Frameworks, notice: &Notice) -> Result<Vec<FrameworkChoice<'a>>> {
    if !new.names.is_empty() {
        let mut all: Vec<FrameworkChoice> = Vec::new();
        for name in new.names {
            let unknown = || {
                let near = crate::plan::shape::nearest(name, frameworks.iter().map(|f| f.name.as_str()));
                Error::new(format!("unknown framework {name:?}{near}"))
            };
            let framework = frameworks.get(name).ok_or_else(unknown)?;
            if all.iter().all(|choice| choice.framework.name != *name) {
                all.push(FrameworkChoice { framework, active: true, command: None });
            }
        }
        return Ok(all);
    }
    let names = if new.is_gguf() { vec![GGUF] } else { USUAL.to_vec() };
    let listed = names.into_iter().filter_map(|name| frameworks.get(name));
    let mut all: Vec<FrameworkChoice> = listed
        .map(|framework| {
            let found = installed(framework);
            FrameworkChoice { framework, active: found.is_some(), command: found.flatten() }
        })
        .collect();
    if all.iter().all(|choice| !choice.active) {
        let programs: Vec<&str> = all.iter().map(|choice| program(choice.framework)).collect();
        let why = format!(
            "none of {} is on PATH; the plan includes their frameworks anyway: set how each starts (server_command, or launcher and image), or delete it",
            programs.join(", ")
        );
        notice.warn(why);
        all.iter_mut().for_each(|choice| choice.active = true);
    }
    // The ones to edit come last.
    all.sort_by_key(|choice| !choice.active);
    Ok(all)
}

/// The program that shows on PATH that a framework is installed: an interpreter alone shows nothing.
fn program(framework: &Framework) -> &str {
    let own = framework.commands.iter().map(|entry| &entry.command).chain([&framework.command]).rev();
    let mut programs = own.filter_map(|command| command.first());
    programs.find(|program| !program.starts_with("python")).map_or(framework.name.as_str(), String::as_str)
}

/// Whether a framework is on PATH, and the command to start it with if that is not the definition's.
fn installed(framework: &Framework) -> Option<Option<String>> {
    let program = program(framework);
    let other = framework.commands.iter().find(|entry| entry.command.first().is_some_and(|first| first == program));
    let command = match framework.command.first().is_some_and(|first| first == program) {
        true => None,
        false => Some(crate::base::shell::join(&other?.command)),
    };
    (!proc::on_path(program).is_empty()).then_some(command)
}

/// The part of the plan for one framework.
fn section(choice: &FrameworkChoice, new: &NewPlan) -> String {
    let framework = choice.framework;
    let mut text = String::new();
    let _ = writeln!(text, "  {}:", framework.name);
    how_it_starts(&mut text, choice, new.model);
    let mut base = Members::new();
    if let Some(tensor) = framework.parallelism.tensor.as_ref().filter(|_| new.gpus > 0) {
        base.insert(tensor.clone(), new.degree().into());
    }
    if let Some(limit) = &framework.sequence_limit {
        let shared = limit.divided_by.as_ref().map_or(1, |by| {
            let searched = framework.starter.search.get(by).and_then(Value::as_array).into_iter().flatten();
            framework.starter.base.get(by).into_iter().chain(searched).filter_map(Value::as_u64).max().unwrap_or(1)
        });
        base.insert(limit.knob.clone(), (SEQUENCE * shared).into());
    }
    base.extend(framework.starter.base.clone());
    let _ = writeln!(text, "    # The baseline, which every candidate starts from.\n    base_server_flags:");
    base.iter().for_each(|(knob, value)| knob_line(&mut text, framework, knob, value, ""));
    idle_gpus(&mut text, framework, new);
    expert_parallel(&mut text, framework, new);
    if !framework.starter.search.is_empty() {
        let _ = writeln!(text, "    # Values to try.\n    search_space:");
        framework.starter.search.iter().for_each(|(knob, value)| knob_line(&mut text, framework, knob, value, ""));
    }
    text
}

/// The command of a framework, and ways to start it from elsewhere.
fn how_it_starts(text: &mut String, choice: &FrameworkChoice, model: &str) {
    let framework = choice.framework;
    let folder = if framework.version.package.is_some() { "/path/to/venv/bin/" } else { "/path/to/" };
    let elsewhere = format!("server_command: {folder}{}", crate::base::shell::join(&framework.command));
    let _ = match &choice.command {
        _ if framework.simulated => Ok(()),
        _ if !choice.active => writeln!(text, "    {elsewhere}"),
        Some(command) => writeln!(text, "    server_command: {command}\n    # To start it in a container:"),
        None => writeln!(text, "    # To start it from a virtual environment, or in a container:\n    # {elsewhere}"),
    };
    if let Some(image) = &framework.starter.image {
        let _ = writeln!(text, "    # launcher: docker\n    # image: {image}");
        // A container has neither the files nor the variables of this host.
        if model.starts_with('/') {
            let mount = Value::from(vec![format!("{model}:{model}:ro")]);
            let _ = writeln!(text, "    # mounts: {mount}");
        } else if is_hub_id(model) {
            let _ = writeln!(text, "    # mounts: [\"{CACHE_MOUNT}\"]\n    # env: {{HF_TOKEN: null}}");
        }
    }
}

/// Why fewer GPUs share each layer than there are, and what uses the others.
fn idle_gpus(text: &mut String, framework: &Framework, new: &NewPlan) {
    let (degree, gpus) = (new.degree(), u64::from(new.gpus));
    let (Some(tensor), Some(heads)) = (&framework.parallelism.tensor, new.known().and_then(|facts| facts.heads)) else {
        return;
    };
    if degree == gpus {
        return;
    }
    let pipeline = framework.with_role(KnobRole::PipelineParallel).next();
    let whole = (1..=degree).rev().find(|n| gpus.is_multiple_of(*n) && heads.is_multiple_of(*n)).unwrap_or(1);
    let others = pipeline
        .map_or(String::new(), |(knob, _)| format!(" {tensor}: {whole} and {knob}: {} use all {gpus}.", gpus / whole));
    let _ = writeln!(
        text,
        "      # {gpus} does not divide the {heads} attention heads of the model, {degree} does.{others}"
    );
}

/// Expert parallelism, where several GPUs may be unable to share the experts of a model.
fn expert_parallel(text: &mut String, framework: &Framework, new: &NewPlan) {
    let gpus = new.degree();
    if gpus < 2 || framework.parallelism.tensor.is_none() {
        return;
    }
    let known = new.known();
    let named = NamedSize::of(new.model);
    let sparse = named.experts || named.parameters.is_none_or(|n| n >= SPARSE);
    if known.is_none() && !(sparse && named.bits == Some(8.0)) {
        return;
    }
    // Those of a model whose expert a single GPU must hold: an FP8 model that is not known may be like that.
    let unknown = ModelFacts { expert_width: Some(1), block: Some(1), ..ModelFacts::default() };
    let facts = known.as_ref().unwrap_or(&unknown);
    let Some((knob, value)) = expert_proposal(framework, gpus, facts).filter(|_| !facts.shares_experts(gpus)) else {
        return;
    };
    let (why, comment) = match (facts.expert_width, facts.block, &known) {
        (Some(width), Some(block), Some(_)) => {
            (format!("{gpus} GPUs cannot share the {width} columns of an expert in whole FP8 blocks of {block}."), "")
        }
        _ => (format!("If the start fails because {gpus} GPUs cannot share the experts in whole FP8 blocks:"), "# "),
    };
    let _ = writeln!(text, "      # {why}");
    knob_line(text, framework, &knob, &value, comment);
}

/// One knob with its meaning.
fn knob_line(text: &mut String, framework: &Framework, knob: &str, value: &Value, comment: &str) {
    let line = format!("      {comment}{knob}: {}", quoted(value));
    let meaning = framework.knob(knob).and_then(|knob| knob.meaning.as_deref());
    match meaning {
        Some(meaning) => _ = writeln!(text, "{line:<50} # {meaning}"),
        None => _ = writeln!(text, "{line}"),
    }
}

/// A value as YAML that all readers agree on: JSON, except for strings that do not need quotes.
pub(super) fn quoted(value: &Value) -> String {
    let plain = |text: &str| {
        let safe = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let word = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
        let hazard = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
        safe && word && !hazard.contains(&text.to_ascii_lowercase().as_str())
    };
    match value {
        Value::String(text) if plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
