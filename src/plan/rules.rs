//! Findings about flag sets that are not run: those of the baseline, and those with a value of the search.

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::{FrameworkPlan, KnobSetting, SettingScope};
use super::read::Plan;
use super::refusal::{Refusal, RefusalCause, refusal};
use super::shape::plain_text;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Requirement, RuleEffect, RuleScope, SearchRule};
use crate::rows::kinds::Members;
use crate::rows::words::{FailureClass, FindingCode as Code};

/// Adds findings about what is not run; each lifted rule becomes a caveat.
pub fn check(plan: &mut Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    words(plan, context, found);
    let mut caveats = Vec::new();
    for (section, framework) in plan.enabled(context.frameworks) {
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
        found.push(Finding::value(Code::Word, &format!("/search/allow/{i}"), why));
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
        for setting in self.section.settings().iter().filter(|setting| setting.scope == SettingScope::Base) {
            self.unknown_gpu(setting);
            let architecture = || self.plan.architecture(self.section);
            let rules = self.framework.rules.iter().filter(|rule| rule.place == RuleScope::Any);
            for rule in rules.filter(|rule| rule.hits(setting.knob, setting.value, architecture)) {
                self.hit(rule, setting);
            }
        }
        let base = self.plan.base(self.section, self.framework);
        match refusal(self.plan, self.section, self.framework, &base, &Members::new()) {
            // A rule has already been reported at the knob.
            None | Some(Refusal { class: FailureClass::Rule, .. }) => {}
            Some(refusal) => {
                let pointer = self.place_in_base(&at, &refusal.cause);
                // No candidate differs unless the search varies the degrees of parallelism.
                let searched = match &refusal.cause {
                    RefusalCause::GpuCount(_) => self.varies(&self.framework.parallelism.multiply),
                    RefusalCause::Uneven(knobs) => self.varies(knobs),
                    _ => true,
                };
                match refusal.cause {
                    RefusalCause::Rejection => {}
                    _ if !searched => {
                        self.found.push(Finding::value(Code::Gpus, &pointer, refusal.reason));
                    }
                    _ => {
                        let why = format!("{}; its candidates are skipped", refusal.reason);
                        self.found.push(Finding::value(Code::Unsupported, &pointer, why));
                    }
                }
            }
        }
    }

    /// True if the search varies one of these knobs.
    fn varies(&self, knobs: &[String]) -> bool {
        let listed = self.section.list.iter().flat_map(|changes| changes.keys());
        self.section.space.iter().map(|(knob, _)| knob).chain(listed).any(|knob| knobs.contains(knob))
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
            RefusalCause::Uneven(knobs) => base(&knobs.iter().collect::<Vec<_>>()),
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
        let base = self.plan.base(self.section, self.framework);
        let refused = refusal(self.plan, self.section, self.framework, &base, &Members::new());
        for setting in self.section.settings().iter().filter(|setting| setting.scope != SettingScope::Base) {
            let KnobSetting { knob, value, .. } = *setting;
            self.unknown_gpu(setting);
            if base.get(knob) == Some(value) {
                continue;
            }
            let architecture = || self.plan.architecture(self.section);
            for rule in self.framework.rules.iter().filter(|rule| rule.hits(knob, value, architecture)) {
                self.hit(rule, setting);
            }
            let mut flags = base.clone();
            flags.insert(knob.into(), value.clone());
            let changed = Members::from_iter([(knob.to_string(), value.clone())]);
            let refusal = refusal(self.plan, self.section, self.framework, &flags, &changed);
            if let Some(refusal) = refusal.filter(|r| r.class != FailureClass::Rule && refused.as_ref() != Some(r)) {
                let speculative = refusal.class == FailureClass::Speculative;
                let code = if speculative { Code::Speculative } else { Code::Unsupported };
                let lifted = refusal.may_be_lifted(knob, |other| self.varies(std::slice::from_ref(other)));
                if refusal.cause != RefusalCause::Rejection && !lifted {
                    self.found.push(Finding::value(
                        code,
                        &setting.pointer(),
                        format!("{}; its candidates are skipped", refusal.reason),
                    ));
                }
            }
        }
    }

    fn hit(&mut self, rule: &SearchRule, setting: &KnobSetting) {
        let KnobSetting { knob, value, .. } = *setting;
        let in_base = setting.scope == SettingScope::Base;
        if self.plan.allow.contains(&rule.allow) {
            let part = if in_base { "base_server_flags" } else { "search_space" };
            let caveat = format!("search.allow lifts rule {}: {} has {knob} in {part}", rule.allow, self.section.name);
            if !self.caveats.contains(&caveat) {
                self.caveats.push(caveat);
            }
            return;
        }
        let pointer = &setting.pointer();
        let lift = format!("allow it with search.allow: [{}]", rule.allow);
        let finding = match (rule.then, in_base) {
            (RuleEffect::Smoke, _) => {
                let why = format!(
                    "{knob} {} makes this a smoke test, not a benchmark: {}; {lift}",
                    plain_text(value),
                    rule.reason
                );
                Finding::value(Code::RuleSkipped, pointer, why)
            }
            (RuleEffect::Skip, true) => Finding::value(
                Code::Rule,
                pointer,
                format!("{knob} {} is not allowed: {}; {lift}", plain_text(value), rule.reason),
            ),
            (RuleEffect::Skip, false) => Finding::value(
                Code::RuleSkipped,
                pointer,
                format!("{knob} {} is dropped from the search: {}; {lift}", plain_text(value), rule.reason),
            ),
        };
        self.found.push(finding);
    }

    fn unknown_gpu(&mut self, setting: &KnobSetting) {
        let KnobSetting { knob, value, .. } = *setting;
        if self.plan.hardware.gpu_count == Some(0) {
            return;
        }
        let architecture = || self.plan.architecture(self.section);
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
        self.found.push(Finding::value(Code::GpuUnknown, &setting.pointer(), why));
    }
}
