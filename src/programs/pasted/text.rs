//! The text of a plan from a pasted command.

use std::fmt::Write;

use serde_json::Value;

use super::{PastedServer, container::Container};
use crate::base::shell;
use crate::engines::launcher::NODES;
use crate::programs::starter::{WORKLOAD, quoted};
use crate::rows::kinds::{LauncherStep, Members};

/// The scenarios of a new plan: name, prompt and output tokens.
const SCENARIOS: [(&str, u64, u64); 2] = [("chat", 1000, 1000), ("summarization", 8000, 1000)];

impl PastedServer<'_> {
    /// The text of the plan, with these values to try.
    pub(super) fn text(&self, gpu: Option<&str>, searched: &Members) -> String {
        let mut text = format!(
            "# {model} with {title}, from a pasted command, which is the baseline.\n\
             # Check it with `bench-validate THIS`, print its commands with `bench-expand THIS --format sh`, run it with\n\
             # `scripts/sweep THIS`.\n\
             schema_version: 1\n\
             model:\n  \
               path: {path}\n\
             hardware:\n  \
               {gpu}\n  \
               gpu_count: {gpus}\n",
            model = self.model,
            title = self.framework.title,
            path = quoted(&Value::from(self.model.as_str())),
            gpu = gpu
                .map_or("# gpu_model: NVIDIA H100 80GB HBM3".into(), |gpu| format!("gpu_model: {}", Value::from(gpu))),
            gpus = self.gpus,
        );
        if let Some(devices) = &self.devices {
            let _ = writeln!(text, "  visible_devices: {}", Value::from(devices.as_str()));
        }
        let nodes = self.framework.parallelism.nodes.as_ref().and_then(|knob| self.command.base.get(knob)?.as_u64());
        let _ = writeln!(text, "  multi_node: {}\n", nodes.is_some_and(|nodes| nodes > 1) || self.several_nodes());
        let (scenarios, left_out) = self.scenarios();
        let list = |one: fn(&(&str, u64, u64)) -> String| scenarios.iter().map(one).collect::<Vec<_>>().join(", ");
        let _ = write!(
            text,
            "dataset:\n  \
               kind: random\n  \
               num_prompts: 80\n\
             {left_out}  \
               scenario_names: [{}]\n  \
               input_len: [{}]\n  \
               output_len: [{}]\n\n\
             {WORKLOAD}frameworks:\n  \
               {}:\n",
            list(|(name, ..)| (*name).to_string()),
            list(|(_, input, _)| input.to_string()),
            list(|(.., output)| output.to_string()),
            self.framework.name,
        );
        self.section(&mut text, searched);
        text
    }

    /// True if its launcher starts it over several nodes.
    fn several_nodes(&self) -> bool {
        let nodes = self.launchers.iter().filter_map(|step| step.options.get(NODES)?.parse::<u32>().ok());
        nodes.into_iter().any(|nodes| nodes > 1)
    }

    /// The scenarios that the sequence limit of the command has room for, and a comment about the others.
    fn scenarios(&self) -> (Vec<(&'static str, u64, u64)>, String) {
        let number = |knob: &String| self.command.base.get(knob).and_then(Value::as_u64).filter(|n| *n > 0);
        let limit = self.framework.sequence_limit.as_ref().and_then(|limit| {
            let (whole, shared) = (number(&limit.knob)?, limit.divided_by.as_ref().and_then(number).unwrap_or(1));
            let by = limit.divided_by.as_ref().filter(|_| shared > 1);
            let what = format!("{} {whole}{}", limit.knob, by.map_or(String::new(), |by| format!(" / {by} {shared}")));
            Some((whole / shared, what))
        });
        let Some((limit, what)) = limit else { return (SCENARIOS.to_vec(), String::new()) };
        let (fitting, others): (Vec<_>, Vec<_>) =
            SCENARIOS.into_iter().partition(|(_, input, output)| input + output <= limit);
        let left_out: Vec<String> =
            others.iter().map(|(name, input, output)| format!("{name} ({input} + {output} tokens)")).collect();
        let comment = match left_out.is_empty() {
            true => String::new(),
            false => format!("  # Left out, since {what} has room for {limit} tokens: {}.\n", left_out.join(", ")),
        };
        if fitting.is_empty() {
            return (vec![("short", (limit / 2).max(1), (limit / 4).max(1))], comment);
        }
        (fitting, comment)
    }

    fn section(&self, text: &mut String, searched: &Members) {
        let mut steps: Vec<LauncherStep> = self.launchers.clone();
        if let Some(container) = &self.container {
            let options = self.options(container);
            let options = (!options.is_empty()).then(|| ("options".to_string(), shell::join(&options)));
            steps.push(LauncherStep { name: container.launcher.clone(), options: options.into_iter().collect() });
        }
        let steps: Vec<String> = steps.iter().map(flow).collect();
        match &steps[..] {
            [] => {}
            [one] => _ = writeln!(text, "    launcher: {one}"),
            several => _ = writeln!(text, "    launcher: [{}]", several.join(", ")),
        }
        if let Some(container) = &self.container {
            let _ = writeln!(text, "    image: {}", Value::from(container.image.as_str()));
            if !container.mounts.is_empty() {
                let _ = writeln!(text, "    mounts: {}", Value::from(container.mounts.clone()));
            }
        }
        if let Some(command) = &self.command.server_command {
            let _ = writeln!(text, "    server_command: {}", Value::from(shell::join(command)));
        }
        let env = self.command.env.iter().map(|(name, value)| (name, quoted_text(value)));
        members(text, "env", "Environment variables; null inherits the value.", env, |_| None);
        let meaning = |knob: &str| self.framework.knob(knob).and_then(|knob| knob.meaning.clone());
        let base = self.command.base.iter().map(|(knob, value)| (knob, quoted(value)));
        members(text, "base_server_flags", "The flags of the pasted command.", base, meaning);
        if !self.command.extra_args.is_empty() {
            let _ = writeln!(text, "    extra_args: {}", Value::from(self.command.extra_args.clone()));
        }
        let searched = searched.iter().map(|(knob, value)| (knob, quoted(value)));
        members(text, "search_space", "Values to try: change them to what matters here.", searched, meaning);
    }

    /// The container's options, without those that the framework's containers get in any case.
    fn options(&self, container: &Container) -> Vec<String> {
        let usual = self.framework.launcher_options.get(&container.launcher).map_or("", String::as_str);
        let mut all = container.options.clone();
        // The entry point is part of the command.
        if !container.entry.is_empty() && !usual.contains("--entrypoint") {
            all.extend(["--entrypoint".into(), String::new()]);
        }
        all
    }
}

/// A launcher in one line: its name, or a map.
fn flow(step: &LauncherStep) -> String {
    // A plan may write a number as one.
    let text = |key: &str, value: &str| if key == NODES { value.to_string() } else { quoted(&value.into()) };
    let settings: String = step.options.iter().map(|(key, value)| format!(", {key}: {}", text(key, value))).collect();
    if settings.is_empty() { step.name.clone() } else { format!("{{name: {}{settings}}}", step.name) }
}

/// A string, quoted if a reader might take it for another type.
fn quoted_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| Value::from(text).to_string())
}

fn members<'a>(
    text: &mut String,
    part: &str,
    what: &str,
    all: impl Iterator<Item = (&'a String, String)>,
    meaning: impl Fn(&str) -> Option<String>,
) {
    let mut all = all.peekable();
    if all.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "    # {what}\n    {part}:");
    for (name, value) in all {
        let line = format!("      {name}: {value}");
        match meaning(name) {
            Some(meaning) => _ = writeln!(text, "{line:<50} # {meaning}"),
            None => _ = writeln!(text, "{line}"),
        }
    }
}
