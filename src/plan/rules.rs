//! Decides which flag sets are not run, and why, for the findings about a plan and for its candidates alike.

use serde_json::Value;

use super::context::CheckContext;
use super::finding::{Finding, Level};
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use super::shape::plain_text;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Requirement, RuleEffect, RuleScope, SearchRule};
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
    cause: RefusalCause,
}

/// What a refusal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RefusalCause {
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
}

impl Refusal {
    fn unsupported(cause: RefusalCause, reason: String) -> Self {
        Self { class: FailureClass::Unsupported, reason, cause }
    }
}

/// Adds findings about what is not run; each lifted rule becomes a caveat.
pub fn check(plan: &mut Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    words(plan, context, found);
    let mut caveats = Vec::new();
    for section in plan.frameworks.iter().filter(|section| section.enabled) {
        let Some(framework) = context.frameworks.get(&section.definition) else { continue };
        let mut checking = RuleChecker { plan, section, framework, found, caveats: &mut caveats };
        checking.base();
        checking.search();
        super::members::check(section, framework, checking.found);
    }
    for caveat in caveats {
        if !plan.checked.caveats.contains(&caveat) {
            plan.checked.caveats.push(caveat);
        }
    }
}

/// Every word of `search.allow` must belong to a rule.
fn words(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    let mut words: Vec<&str> =
        context.frameworks.iter().flat_map(|f| &f.rules).map(|rule| rule.allow.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    for (i, word) in plan.allow.iter().enumerate().filter(|(_, word)| !words.contains(&word.as_str())) {
        let near = super::shape::nearest(word, words.iter().copied());
        let why = format!("unknown rule {word:?} in search.allow{near}; known: {}", words.join(", "));
        found.push(Finding::error(&format!("/search/allow/{i}"), why));
    }
}

struct RuleChecker<'a, 'b> {
    plan: &'a Plan,
    section: &'a FrameworkPlan,
    framework: &'a Framework,
    found: &'b mut Vec<Finding>,
    caveats: &'b mut Vec<String>,
}

impl RuleChecker<'_, '_> {
    fn base(&mut self) {
        let at = format!("/frameworks/{}", escape(&self.section.name));
        for (knob, value) in &self.section.base {
            let pointer = format!("{at}/base_server_flags/{}", escape(knob));
            self.unknown_gpu(knob, value, &pointer);
            let architecture = self.plan.architecture(self.section);
            let rules = self.framework.rules.iter().filter(|rule| rule.place == RuleScope::Any);
            for rule in rules.filter(|rule| rule.hits(knob, value, architecture)) {
                self.hit(rule, knob, value, &pointer, true);
            }
        }
        let base = self.plan.base(self.section, self.framework);
        match refusal(self.plan, self.section, self.framework, &base, &Members::new()) {
            // A rule has already been reported at the knob.
            None | Some(Refusal { class: FailureClass::Rule, .. }) => {}
            Some(refusal) => {
                let pointer = self.place_in_base(&at, &refusal.cause);
                // The search cannot lower the number of GPUs unless it varies the degrees of parallelism.
                let searched =
                    self.section.space.iter().any(|(knob, _)| self.framework.parallelism.multiply.contains(knob));
                match refusal.cause {
                    RefusalCause::Rejection => {}
                    RefusalCause::GpuCount(_) if !searched => {
                        self.found.push(Finding::error(&pointer, refusal.reason));
                    }
                    _ => {
                        let why = format!("{}; its candidates are skipped", refusal.reason);
                        self.found.push(Finding::warning(&pointer, why));
                    }
                }
            }
        }
    }

    /// The pointer to the cause of a refusal of the baseline.
    fn place_in_base(&self, at: &str, cause: &RefusalCause) -> String {
        let base = |knobs: &[&String]| match knobs.iter().find(|knob| self.section.base.contains_key(**knob)) {
            Some(knob) => format!("{at}/base_server_flags/{}", escape(knob)),
            None => format!("{at}/base_server_flags"),
        };
        match cause {
            RefusalCause::Rejection => base(&[]),
            RefusalCause::Knob(knob) | RefusalCause::GpuCount(knob) => base(&[knob]),
            RefusalCause::OptionFile { option, knob } => base(&[option, knob]),
            RefusalCause::ServerCommand => format!("{at}/server_command"),
            RefusalCause::ExtraArgs => {
                let is_fixed = |word: &String| {
                    self.framework.fixed.keys().any(|knob| word.starts_with(&self.framework.flag(knob)))
                };
                match self.section.extra_args.iter().position(is_fixed) {
                    Some(i) => format!("{at}/extra_args/{i}"),
                    None => format!("{at}/extra_args"),
                }
            }
        }
    }

    fn search(&mut self) {
        let at = format!("/frameworks/{}", escape(&self.section.name));
        let mut each: Vec<(&String, &Value, String)> = Vec::new();
        for (knob, values) in &self.section.space {
            let pointer = |i: usize| format!("{at}/search_space/{}/{i}", escape(knob));
            each.extend(values.iter().enumerate().map(|(i, value)| (knob, value, pointer(i))));
        }
        for (i, changes) in self.section.list.iter().enumerate() {
            let pointer = |knob: &str| format!("{at}/candidates/{i}/{}", escape(knob));
            each.extend(changes.iter().map(|(knob, value)| (knob, value, pointer(knob))));
        }
        let base = self.plan.base(self.section, self.framework);
        let refused = refusal(self.plan, self.section, self.framework, &base, &Members::new());
        for (knob, value, pointer) in each {
            self.unknown_gpu(knob, value, &pointer);
            if base.get(knob) == Some(value) {
                continue;
            }
            let architecture = self.plan.architecture(self.section);
            for rule in self.framework.rules.iter().filter(|rule| rule.hits(knob, value, architecture)) {
                self.hit(rule, knob, value, &pointer, false);
            }
            let mut flags = base.clone();
            flags.insert(knob.clone(), value.clone());
            let changed = Members::from_iter([(knob.clone(), value.clone())]);
            let refusal = refusal(self.plan, self.section, self.framework, &flags, &changed);
            if let Some(refusal) = refusal.filter(|r| r.class != FailureClass::Rule && refused.as_ref() != Some(r)) {
                let level = if refusal.class == FailureClass::Speculative { Level::Note } else { Level::Warning };
                if refusal.cause != RefusalCause::Rejection {
                    self.found.push(Finding::value(
                        level,
                        &pointer,
                        format!("{}; its candidates are skipped", refusal.reason),
                    ));
                }
            }
        }
    }

    fn hit(&mut self, rule: &SearchRule, knob: &str, value: &Value, pointer: &str, in_base: bool) {
        if self.plan.allow.contains(&rule.allow) {
            let part = if in_base { "base_server_flags" } else { "search_space" };
            let caveat = format!("search.allow lifts rule {}: {} has {knob} in {part}", rule.allow, self.section.name);
            if !self.caveats.contains(&caveat) {
                self.caveats.push(caveat);
            }
            return;
        }
        let lift = format!("allow it with search.allow: [{}]", rule.allow);
        let finding = match (rule.then, in_base) {
            (RuleEffect::Smoke, _) => {
                let why = format!(
                    "{knob} {} makes this a smoke test, not a benchmark: {}; {lift}",
                    plain_text(value),
                    rule.reason
                );
                Finding::warning(pointer, why)
            }
            (RuleEffect::Skip, true) => {
                Finding::error(pointer, format!("{knob} {} is not allowed: {}; {lift}", plain_text(value), rule.reason))
            }
            (RuleEffect::Skip, false) => Finding::warning(
                pointer,
                format!("{knob} {} is dropped from the search: {}; {lift}", plain_text(value), rule.reason),
            ),
        };
        self.found.push(finding);
    }

    fn unknown_gpu(&mut self, knob: &str, value: &Value, pointer: &str) {
        if self.plan.hardware.gpu_count == Some(0) {
            return;
        }
        let architecture = self.plan.architecture(self.section);
        let gpu = self.plan.hardware.gpu_model.as_deref();
        let unsure = |rule: &&Requirement| rule.needs_gpu() && gpu.is_none_or(|gpu| rule.allows(gpu).is_none());
        let mut hits = self.framework.requires.iter().filter(|rule| rule.hits(knob, value, architecture));
        let Some(rule) = hits.find(unsure) else { return };
        let (what, reason) = (plain_text(value), &rule.reason);
        let why = match gpu {
            None => format!(
                "{knob} {what} could not be checked because the GPU model is unknown: {reason}; set hardware.gpu_model or use bench-validate --gpu"
            ),
            Some(gpu) => format!(
                "{knob} {what} could not be checked because the compute capability of {gpu} is unknown: {reason}"
            ),
        };
        self.found.push(Finding::warning(pointer, why));
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
        .or_else(|| gpus(plan, framework, flags));
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
    let architecture = plan.architecture(section);
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
    let architecture = plan.architecture(section);
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
    for (knob, rule) in &framework.fixed {
        let flag = framework.flag(knob);
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
            let inside = flags
                .get(option)
                .and_then(|options| options.get(knob))
                .or_else(|| flags.get(&format!("{option}.{knob}")));
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
    let architecture = plan.architecture(section);
    let on_cpu = plan.hardware.gpu_count == Some(0);
    let gpu = if on_cpu { Some("the CPU") } else { plan.hardware.gpu_model.as_deref() };
    // An unknown GPU may be the right one.
    let is_met = |rule: &Requirement| match gpu.filter(|_| rule.needs_gpu()) {
        Some(_) if on_cpu => false,
        Some(gpu) => rule.allows(gpu) != Some(false),
        None => rule.needs_gpu(),
    };
    let wanted = framework.requires.iter().filter(|rule| !is_met(rule));
    let hit = |rule: &Requirement| flags.iter().find(|(knob, value)| rule.hits(knob, value, architecture));
    let (rule, (knob, value)) = wanted.filter_map(|rule| Some((rule, hit(rule)?))).next()?;
    let place = match (rule.needs_gpu(), gpu, architecture) {
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
    let needed = parallelism.gpus(flags)?;
    // On the CPU the degrees count sockets or threads.
    let budget = plan.hardware.gpu_count.map(u64::from).filter(|budget| *budget > 0)?;
    let (used, shared) = parallelism.split_degrees(flags);
    let terms = used.iter().map(|(knob, n)| format!("{knob} {n}")).collect::<Vec<_>>().join(" × ");
    let shared = shared.into_iter().filter(|(_, n)| *n > 1);
    let shared = shared.map(|(knob, _)| knob).collect::<Vec<_>>().join(", ");
    let shared = if shared.is_empty() { shared } else { format!(" ({shared} shares them)") };
    let first = used.first().map(|(knob, _)| knob.to_string()).unwrap_or_default();
    let why = || format!("{terms} needs {needed} GPUs{shared}, but gpu_count is {budget}");
    (needed > budget).then(|| Refusal::unsupported(RefusalCause::GpuCount(first), why()))
}

fn nodes(plan: &Plan, framework: &Framework, flags: &Members) -> Option<Refusal> {
    let knob = framework.parallelism.nodes.as_ref()?;
    let nodes = flags.get(knob)?.as_u64().filter(|n| *n > 1 && !plan.hardware.multi_node)?;
    let why = format!("{knob} {nodes} needs {nodes} nodes, but the plan has hardware.multi_node: false");
    Some(Refusal::unsupported(RefusalCause::Knob(knob.clone()), why))
}

/// Why the sequence limit is too short for the longest row of a data set. Lengths in the plan itself are checked with the plan.
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
