//! A new plan for a model, with comments: `bench-validate --new MODEL --gpus N`.

use std::fmt::Write;

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::engines::framework::{Framework, Frameworks};
use crate::rows::kinds::Members;

/// Default frameworks of a new plan.
const USUAL: [&str; 4] = ["sglang", "vllm", "tensorrt_llm", "tokenspeed"];
/// Sequence limit for the longest scenario of a new plan, with room for a chat template, tokens.
const SEQUENCE: u64 = 9216;

/// The text of a new plan.
///
/// # Errors
/// An unknown framework.
pub fn plan(model: &str, gpus: u32, gpu: Option<&str>, names: &[String], frameworks: &Frameworks) -> Result<String> {
    if model.trim().is_empty() {
        return Err(Error::new("--new requires a model: a path or an id"));
    }
    let usual: Vec<String> = USUAL.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { &usual } else { names };
    let mut text = format!(
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
         benchmark:\n  \
           endpoint: /v1/completions\n  \
           # null: open loop, with a search for the highest rate (qps). 16: closed loop with 16 requests in flight.\n  \
           max_concurrency: [null, 16]\n  \
           qps: {{lower: 0.25, upper: 8, tolerance: 0.25, max_rounds: 5}}\n\n\
         # SLA limits; each names its statistic.\n\
         sla:\n  \
           max_p99_ttft_ms: 2000\n  \
           max_p99_tpot_ms: 50\n  \
           min_success_rate: 0.99\n\n\
         search:\n  \
           # 1: smoke test, 2: bounded, 3: everything.\n  \
           tier: 2\n  \
           max_candidates_per_framework: 8\n\n\
         frameworks:\n",
        model = quoted(&Value::from(model)),
        gpu = gpu.map_or("# gpu_model: NVIDIA H100 80GB HBM3".into(), |gpu| format!("gpu_model: {}", Value::from(gpu))),
        s = if gpus == 1 { "" } else { "s" },
    );
    let mut once: Vec<&String> = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    for (i, name) in once.into_iter().enumerate() {
        let unknown = || {
            let near = crate::plan::shape::nearest(name, frameworks.iter().map(|f| f.name.as_str()));
            Error::new(format!("unknown framework {name:?}{near}"))
        };
        let framework = frameworks.get(name).ok_or_else(unknown)?;
        if i > 0 {
            text.push('\n');
        }
        section(&mut text, framework, gpus);
    }
    Ok(text)
}

fn section(text: &mut String, framework: &Framework, gpus: u32) {
    let mut base = Members::new();
    if let Some(tensor) = framework.parallelism.tensor.as_ref().filter(|_| gpus > 0) {
        base.insert(tensor.clone(), gpus.into());
    }
    if let Some(limit) = &framework.sequence_limit {
        let shared = limit.divided_by.as_ref().map_or(1, |by| {
            let searched = framework.starter.search.get(by).and_then(Value::as_array).into_iter().flatten();
            framework.starter.base.get(by).into_iter().chain(searched).filter_map(Value::as_u64).max().unwrap_or(1)
        });
        base.insert(limit.knob.clone(), (SEQUENCE * shared).into());
    }
    base.extend(framework.starter.base.clone());
    let search = &framework.starter.search;
    let _ = writeln!(text, "  # {}", framework.title);
    let _ = writeln!(text, "  {}:", framework.name);
    for (part, what, members) in [
        ("base_server_flags", "The baseline, which every candidate starts from.", &base),
        ("search_space", "Values to try.", search),
    ] {
        if members.is_empty() {
            continue;
        }
        let _ = writeln!(text, "    # {what}\n    {part}:");
        for (knob, value) in members {
            let line = format!("      {knob}: {}", quoted(value));
            let meaning = framework.knob(knob).and_then(|knob| knob.meaning.as_deref());
            match meaning {
                Some(meaning) => _ = writeln!(text, "{line:<50} # {meaning}"),
                None => _ = writeln!(text, "{line}"),
            }
        }
    }
}

/// A value as YAML that all readers agree on: JSON, except for strings that do not need quotes.
fn quoted(value: &Value) -> String {
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
