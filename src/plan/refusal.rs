//! Why a flag set is not run: what it needs that the plan, the host or the framework does not have, and rules against it.

use serde_json::Value;

use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use super::shape::plain_text;
use crate::engines::framework::{Framework, Requirement, RuleEffect, RuleScope};
use crate::rows::kinds::Members;
use crate::rows::words::FailureClass;

/// Why a flag set is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `unsupported`, `rule` or `speculative`.
    pub class: FailureClass,
    /// The reason, in a sentence.
    pub reason: String,
    /// The part of the framework's plan that causes it.
    pub(super) cause: RefusalCause,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefusalCause {
    /// Checking the flags or the host found it, and reported it.
    Rejection,
    /// A knob.
    Knob(String),
    /// A knob inside an option file, which is a knob itself.
    OptionFile { option: String, knob: String },
    /// The words of `server_command`.
    ServerCommand,
    /// The words of `extra_args`.
    ExtraArgs,
    /// The degrees of parallelism need more GPUs than the plan has; the first of them.
    GpuCount(String),
    /// Degrees of parallelism that do not divide others; all of them.
    Uneven(Vec<String>),
}

impl Refusal {
    fn unsupported(cause: RefusalCause, reason: String) -> Self {
        Self { class: FailureClass::Unsupported, reason, cause }
    }

    /// True if a value of `knob` that is refused beside the baseline's may run beside another value of a knob that is varied.
    pub(super) fn may_be_lifted(&self, knob: &str, varied: impl Fn(&String) -> bool) -> bool {
        match &self.cause {
            RefusalCause::Uneven(knobs) => knobs.iter().any(|other| other != knob && varied(other)),
            _ => false,
        }
    }
}

/// Why a flag set is not run; `None` if it is. `changed` are the flags in which it differs from the baseline.
#[must_use]
pub fn refusal(
    plan: &Plan,
    section: &FrameworkPlan,
    framework: &Framework,
    flags: &Members,
    changed: &Members,
) -> Option<Refusal> {
    let own = plan.checked.rejections.iter().filter(|r| r.framework == section.name);
    let hit = |knob: &Option<String>, value: &Option<Value>| match (knob, value) {
        (None, _) => true,
        (Some(knob), None) => flags.get(knob).is_some_and(|value| !value.is_null()),
        (Some(knob), Some(value)) => flags.get(knob) == Some(value),
    };
    if let Some(rejection) = own.into_iter().find(|r| hit(&r.knob, &r.value)) {
        return Some(Refusal::unsupported(RefusalCause::Rejection, rejection.reason.clone()));
    }
    let unsupported = fixed(section, framework, flags)
        .or_else(|| required(plan, section, framework, flags))
        .or_else(|| gpus(plan, framework, flags))
        .or_else(|| uneven(framework, flags));
    let unsupported =
        unsupported.or_else(|| nodes(plan, framework, flags)).or_else(|| sequence_limit(plan, framework, flags));
    unsupported.or_else(|| by_rule(plan, section, framework, flags, changed)).or_else(|| {
        let knob = changed.keys().find(|knob| !plan.speculative && framework.is_speculative(knob))?;
        let reason = format!("{knob} is speculative decoding, which is searched in a second stage: bench-expand --stage speculative --on results.jsonl");
        Some(Refusal { class: FailureClass::Speculative, reason, cause: RefusalCause::Knob(knob.clone()) })
    })
}

/// True if a rule makes a run with these flags a smoke test.
#[must_use]
pub fn is_smoke(plan: &Plan, section: &FrameworkPlan, framework: &Framework, flags: &Members) -> bool {
    let architecture = || plan.architecture(section);
    let rules =
        framework.rules.iter().filter(|rule| rule.then == RuleEffect::Smoke && !plan.allow.contains(&rule.allow));
    rules.into_iter().any(|rule| flags.iter().any(|(knob, value)| rule.hits(knob, value, architecture)))
}

fn by_rule(
    plan: &Plan,
    section: &FrameworkPlan,
    framework: &Framework,
    flags: &Members,
    changed: &Members,
) -> Option<Refusal> {
    let architecture = || plan.architecture(section);
    for rule in framework.rules.iter().filter(|rule| rule.then == RuleEffect::Skip && !plan.allow.contains(&rule.allow))
    {
        let members = if rule.place == RuleScope::Any { flags } else { changed };
        if let Some((knob, value)) = members.iter().find(|(knob, value)| rule.hits(knob, value, architecture)) {
            let reason = format!(
                "{knob} {} is dropped from the search: {}; allow it with search.allow: [{}]",
                plain_text(value),
                rule.reason,
                rule.allow
            );
            return Some(Refusal { class: FailureClass::Rule, reason, cause: RefusalCause::Knob(knob.clone()) });
        }
    }
    None
}

/// Refuses another value than the fixed one, as a knob, among the words of the command, or in an option file.
fn fixed(section: &FrameworkPlan, framework: &Framework, flags: &Members) -> Option<Refusal> {
    let has_dotted = flags.keys().any(|knob| knob.contains('.'));
    for (knob, rule) in &framework.fixed {
        let allowed = plain_text(&rule.value);
        let refuse = |value: &str, cause: RefusalCause| {
            let place = match &cause {
                RefusalCause::ServerCommand => " in server_command".to_string(),
                RefusalCause::ExtraArgs => " in extra_args".to_string(),
                RefusalCause::OptionFile { option, .. } => format!(" in {option}"),
                _ => String::new(),
            };
            let why = || format!("{knob} {value}{place} is not supported, only {allowed}: {}", rule.reason);
            (value != allowed).then(|| Refusal::unsupported(cause.clone(), why()))
        };
        if let Some(why) =
            flags.get(knob).and_then(|value| refuse(&plain_text(value), RefusalCause::Knob(knob.clone())))
        {
            return Some(why);
        }
        let command = section.command.as_ref().map_or(&[] as &[String], |command| &command.rest);
        for (words, cause) in
            [(command, RefusalCause::ServerCommand), (&section.extra_args[..], RefusalCause::ExtraArgs)]
        {
            if words.is_empty() {
                continue;
            }
            let flag = framework.flag(knob);
            let behind = words
                .iter()
                .zip(words.iter().skip(1))
                .filter(|(word, _)| **word == flag)
                .map(|(_, value)| value.as_str());
            let joined = words.iter().filter_map(|word| word.strip_prefix(flag.as_str())?.strip_prefix('='));
            if let Some(why) = behind.chain(joined).find_map(|value| refuse(value, cause.clone())) {
                return Some(why);
            }
        }
        for option in framework.option_files.keys() {
            let dotted = || has_dotted.then(|| flags.get(&format!("{option}.{knob}"))).flatten();
            let inside = flags.get(option).and_then(|options| options.get(knob)).or_else(dotted);
            let cause = RefusalCause::OptionFile { option: option.clone(), knob: knob.clone() };
            if let Some(why) = inside.and_then(|value| refuse(&plain_text(value), cause)) {
                return Some(why);
            }
        }
    }
    None
}

/// Refuses values that this model does not allow, or not on this GPU.
fn required(plan: &Plan, section: &FrameworkPlan, framework: &Framework, flags: &Members) -> Option<Refusal> {
    let architecture = || plan.architecture(section);
    let on_cpu = plan.hardware.gpu_count == Some(0);
    let gpu = if on_cpu { Some("the CPU") } else { plan.hardware.gpu_model.as_deref() };
    // An unknown GPU may be the right one.
    let is_met = |rule: &Requirement| match gpu.filter(|_| rule.needs_gpu()) {
        Some(_) if on_cpu => false,
        Some(gpu) => rule.allows(gpu) != Some(false),
        None => rule.needs_gpu(),
    };
    let hit = |rule: &Requirement| flags.iter().find(|(knob, value)| rule.hits(knob, value, architecture));
    let mut hits = framework.requires.iter().filter_map(|rule| Some((rule, hit(rule)?)));
    let (rule, (knob, value)) = hits.find(|(rule, _)| !is_met(rule))?;
    let place = match (rule.needs_gpu(), gpu, architecture()) {
        (true, Some(gpu), _) => format!(" on {gpu}"),
        (_, _, Some(architecture)) => format!(" with {} models", architecture.name),
        _ => String::new(),
    };
    let why = format!("{knob} {} is not supported{place}: {}; use {}", plain_text(value), rule.reason, rule.instead);
    Some(Refusal::unsupported(RefusalCause::Knob(knob.clone()), why))
}

/// The product of the degrees of parallelism must not exceed `gpu_count`.
fn gpus(plan: &Plan, framework: &Framework, flags: &Members) -> Option<Refusal> {
    let parallelism = &framework.parallelism;
    // On the CPU the degrees count sockets or threads.
    let budget = plan.hardware.gpu_count.map(u64::from).filter(|budget| *budget > 0)?;
    let needed = parallelism.gpus(flags).filter(|needed| *needed > budget)?;
    let (used, shared) = parallelism.split_degrees(flags);
    let terms = terms(&used);
    let shared = shared.into_iter().filter(|(_, n)| *n > 1);
    let shared = shared.map(|(knob, _)| knob).collect::<Vec<_>>().join(", ");
    let shared = if shared.is_empty() { shared } else { format!(" ({shared} shares them)") };
    let first = used.first().map(|(knob, _)| knob.to_string()).unwrap_or_default();
    let why = format!("{terms} needs {needed} GPUs{shared}, but gpu_count is {budget}");
    Some(Refusal::unsupported(RefusalCause::GpuCount(first), why))
}

/// `tp_size 8 × pp_size 2`.
fn terms(degrees: &[(&str, u64)]) -> String {
    degrees.iter().map(|(knob, n)| format!("{knob} {n}")).collect::<Vec<_>>().join(" × ")
}

/// The degrees that must divide others do.
fn uneven(framework: &Framework, flags: &Members) -> Option<Refusal> {
    let (divides, of) = framework.parallelism.uneven(flags)?;
    let why = format!("{} must be divisible by {}", terms(&of), terms(&divides));
    let knobs = divides.into_iter().chain(of).map(|(knob, _)| knob.to_string()).collect();
    Some(Refusal::unsupported(RefusalCause::Uneven(knobs), why))
}

fn nodes(plan: &Plan, framework: &Framework, flags: &Members) -> Option<Refusal> {
    let knob = framework.parallelism.nodes.as_ref()?;
    let nodes = flags.get(knob)?.as_u64().filter(|n| *n > 1 && !plan.hardware.multi_node)?;
    let why = format!("{knob} {nodes} needs {nodes} nodes, but the plan has hardware.multi_node: false");
    Some(Refusal::unsupported(RefusalCause::Knob(knob.clone()), why))
}

/// Why the sequence limit is too short for the longest row of a dataset. Lengths in the plan itself are checked with the plan.
#[must_use]
pub fn too_short(plan: &Plan, framework: &Framework, flags: &Members) -> Option<String> {
    let limit = framework.sequence_limit.as_ref()?;
    let number = |knob: &String| flags.get(knob).and_then(Value::as_u64);
    let shared = limit.divided_by.as_ref().and_then(number).unwrap_or(1).max(1);
    let holds = number(&limit.knob).filter(|n| *n > 0)? / shared;
    let known = plan.scenarios.iter().filter_map(|s| s.dataset.as_ref());
    let longest = known.filter(|dataset| !dataset.estimated).max_by_key(|dataset| dataset.longest)?;
    (holds < longest.longest.into()).then(|| {
        let (knob, name) = (&limit.knob, longest.name());
        format!("{knob} {holds} is too short for the longest row of {name} ({} tokens)", longest.longest)
    })
}

fn sequence_limit(plan: &Plan, framework: &Framework, flags: &Members) -> Option<Refusal> {
    let knob = framework.sequence_limit.as_ref()?.knob.clone();
    Some(Refusal::unsupported(RefusalCause::Knob(knob), too_short(plan, framework, flags)?))
}
