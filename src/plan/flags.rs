//! Checks flags against captured help, otherwise against the version ranges in the definition.

use serde_json::Value;

use super::command::is_flag;
use super::context::{CheckContext, UnknownFlags};
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use super::shape::{nearest, plain_text};
use super::unknown;
use crate::base::yaml::escape;
use crate::engines::framework::{FixedKnob, FlagMeaning, Framework, HelpSubject, Knob};
use crate::engines::help::CapturedHelp;
use crate::engines::help_flags::{FlagVerdict, HelpFlags};
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{FlagCheck, PlanCheck, Rejection, Substitution, Verdicts};
use crate::rows::words::FindingCode as Code;

/// What to do about a framework that cannot be started.
pub const MISSING_WAY_OUT: &str = "install it, fix server_command, env, image or launcher, or set enabled: false; \
                                   --allow-missing runs the other frameworks";

/// A knob in a plan, with its place.
#[derive(Debug, Clone)]
struct KnobUse<'a> {
    knob: &'a str,
    pointer: String,
    values: Vec<&'a Value>,
    in_base: bool,
}

/// Adds findings about flags, and returns which are accepted, substituted or rejected.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) -> PlanCheck {
    let mut checked = PlanCheck::default();
    for (section, framework) in plan.enabled(context.frameworks) {
        let captured = context.helps.get(&section.name, &framework.name);
        let mut checking = FlagChecker {
            section,
            framework,
            captured,
            context,
            model: plan.model.clone(),
            found,
            checked: &mut checked,
            verdicts: Verdicts::default(),
        };
        checking.all();
    }
    checked
}

struct FlagChecker<'a, 'b> {
    section: &'a FrameworkPlan,
    framework: &'a Framework,
    captured: Option<&'a CapturedHelp>,
    context: &'a CheckContext<'a>,
    model: String,
    found: &'b mut Vec<Finding>,
    checked: &'b mut PlanCheck,
    verdicts: Verdicts,
}

impl FlagChecker<'_, '_> {
    fn all(&mut self) {
        let section = self.section;
        let at = format!("/frameworks/{}", escape(&section.name));
        // Some frameworks print help in several parts: one of them is enough.
        let captured = self.captured.filter(|captured| !captured.shown.contains_key(&HelpSubject::Server));
        if let Some(why) = captured.and_then(|captured| captured.missing.as_ref()) {
            let why = format!("cannot run {} ({why})", self.framework.title);
            if self.context.allow_missing {
                self.found.push(Finding::key(
                    Code::FrameworkSkipped,
                    &at,
                    format!("{why}; its candidates are skipped"),
                ));
                return self.reject(None, None, why);
            }
            return self.found.push(Finding::key(Code::FrameworkMissing, &at, format!("{why}; {MISSING_WAY_OUT}")));
        }
        for one in uses(section, &at) {
            self.knob(&one);
        }
        self.words(&at);
        self.fixed(&at);
        let Some(captured) = self.captured.filter(|captured| captured.shown.contains_key(&HelpSubject::Server)) else {
            // If any help was captured, say that this framework has none.
            if !self.context.helps.is_empty() && !self.framework.simulated {
                let why = format!("no captured help for {}: its flags were not checked", self.framework.title);
                self.found.push(Finding::key(Code::FlagsUnchecked, &at, why.clone()));
                self.checked.caveats.push(why);
            }
            return;
        };
        let shown = &captured.shown[&HelpSubject::Server];
        let mut server = std::mem::take(&mut self.verdicts);
        for list in [&mut server.accepted, &mut server.unknown, &mut server.unverifiable] {
            list.sort();
            list.dedup();
        }
        let benchmark = captured.shown.get(&HelpSubject::Benchmark).and_then(|shown| self.benchmark(shown, &at));
        let mut files: Vec<String> = captured.shown.values().flat_map(|shown| shown.files.clone()).collect();
        files.sort();
        let check =
            FlagCheck { version: captured.version.as_ref().map(|v| v.text().into()), help: files, server, benchmark };
        if shown.verdict("--no-such-flag") == FlagVerdict::Unverifiable && !check.server.unverifiable.is_empty() {
            let n = check.server.unverifiable.len();
            let why = format!(
                "{n} flags of {0} could not be verified: its captured help is incomplete",
                self.framework.title
            );
            self.found.push(Finding::key(Code::FlagsUnchecked, &at, why));
        }
        self.checked.validated_cli_flags.insert(section.name.clone(), check);
    }

    fn server(&self) -> Option<&HelpFlags> {
        self.captured?.shown.get(&HelpSubject::Server)
    }

    /// The version, and whether it is only assumed.
    fn version(&self) -> Option<(FrameworkVersion, bool)> {
        let stated = self.section.version.as_deref().and_then(FrameworkVersion::parse);
        let captured = || self.captured.and_then(|captured| captured.version.clone());
        let sure = stated.or_else(captured).map(|version| (version, false));
        sure.or_else(|| self.framework.checked.clone().map(|version| (version, true)))
    }

    fn verdict(&mut self, flag: &str) -> Option<FlagVerdict> {
        let shown = self.server()?;
        let mut verdict = shown.verdict(flag);
        if verdict != FlagVerdict::Accepted {
            // Its parser may rewrite a short form that its help does not list: `-O3`.
            let other = match self.framework.named(flag) {
                Some(FlagMeaning::Knob(knob)) => self.framework.flag(root(&knob)),
                _ => flag.to_string(),
            };
            if shown.verdict(&other) == FlagVerdict::Accepted {
                verdict = FlagVerdict::Accepted;
            }
        }
        file(&mut self.verdicts, flag, verdict);
        Some(verdict)
    }

    fn knob(&mut self, one: &KnobUse) {
        // A null, or a switch that is off, adds nothing to the command.
        if one.values.iter().all(|value| self.framework.spell(one.knob, value).is_none()) {
            return;
        }
        let mut flags: Vec<String> =
            one.values.iter().filter_map(|value| self.framework.spell(one.knob, value)).collect();
        flags.dedup();
        let verdicts: Vec<Option<FlagVerdict>> = flags.iter().map(|flag| self.verdict(flag)).collect();
        // A fixed value concerns the whole framework: see `fixed`.
        if self.framework.fixed.contains_key(one.knob) {
            return;
        }
        let described = self.framework.knob(one.knob).cloned().unwrap_or_default();
        if verdicts.contains(&Some(FlagVerdict::Unknown)) {
            return self.unknown(one, &flags[0], &described);
        }
        if verdicts.contains(&Some(FlagVerdict::Accepted)) {
            return self.choices(one, &flags[0]);
        }
        let Some((version, assumed)) = self.version().filter(|_| !self.context.any_version) else { return };
        if described.is_in(&version) {
            return;
        }
        let title = &self.framework.title;
        let why = if assumed {
            let which = "assumed version; set `version` in the plan";
            format!("{title} {} does not have {} ({which})", version.text(), flags[0])
        } else {
            format!("{title} {} does not have {}", version.text(), flags[0])
        };
        let other =
            described.now.as_deref().filter(|now| self.framework.knob(now).is_some_and(|now| now.is_in(&version)));
        match other {
            Some(now) => self.substitute(one, Some(now), why),
            None if !one.in_base => self.substitute(one, None, why),
            None if assumed => self.found.push(Finding::value(Code::FlagSkipped, &one.pointer, why)),
            None => self.found.push(Finding::value(Code::Flag, &one.pointer, why)),
        }
    }

    /// A flag that is missing from the captured help.
    fn unknown(&mut self, one: &KnobUse, flag: &str, described: &Knob) {
        let accepts = |knob: &str| {
            let flag = self.framework.flag(knob);
            self.server().is_some_and(|shown| shown.verdict(&flag) == FlagVerdict::Accepted)
        };
        let reverse =
            self.framework.described().find(|(name, knob)| knob.now.as_deref() == Some(one.knob) && accepts(name));
        let other = described.now.as_deref().filter(|now| accepts(now)).or(reverse.map(|(name, _)| name));
        let other = other.map(String::from);
        // Expected: the knob's version range already excludes this version.
        let version = self.version().map(|(version, _)| version);
        let expected = !self.context.any_version && version.is_some_and(|version| !described.is_in(&version));
        let why = if expected { self.lacks(flag, "") } else { self.lacks(flag, &self.searched_in(flag)) };
        match (self.context.unknown, &other) {
            (UnknownFlags::Translate, Some(now)) => self.substitute(one, Some(now), why),
            _ if expected && other.is_some() => self.substitute(one, other.as_deref(), why),
            (UnknownFlags::Drop, _) if !one.in_base => self.substitute(one, None, why),
            _ if expected && !one.in_base => self.substitute(one, None, why),
            (UnknownFlags::Reject, _) => {
                self.found.push(Finding::value(
                    Code::FlagSkipped,
                    &one.pointer,
                    format!("{why}; candidates with it are skipped"),
                ));
                self.reject(Some(one.knob), None, why);
            }
            _ => {
                let way = other
                    .map_or(String::new(), |now| format!("; it is called {now} there (--unknown-flags translate)"));
                self.found.push(Finding::key(Code::Flag, &one.pointer, format!("{why}{way}")));
            }
        }
    }

    fn lacks(&self, flag: &str, more: &str) -> String {
        let version = self.captured.and_then(|captured| captured.version.as_ref());
        let version = version.map_or(String::new(), |version| format!(" {}", version.text()));
        format!("{}{version} does not have {flag}{more}", self.framework.title)
    }

    /// The files in which a flag was looked up, and the nearest flag there.
    fn searched_in(&self, flag: &str) -> String {
        let Some(shown) = self.server() else { return String::new() };
        let several = shown.ambiguous(flag);
        if !several.is_empty() {
            return format!(" ({}): it may be {}", shown.files.join(", "), several.join(" or "));
        }
        format!(" ({}){}", shown.files.join(", "), nearest(flag, shown.flags()))
    }

    /// Values that a flag with choices does not accept.
    fn choices(&mut self, one: &KnobUse, flag: &str) {
        let choices = self.server().map_or(&[] as &[String], |shown| shown.choices(flag)).to_vec();
        if choices.is_empty() {
            return;
        }
        // A list is several values of the flag, and each must be one of its choices.
        let refused = |value: &Value| {
            let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            let plain = items.iter().filter(|item| item.is_string() || item.is_number()).map(plain_text);
            plain.into_iter().find(|text| !choices.contains(text))
        };
        for (value, wrong) in one.values.iter().filter_map(|value| Some((value, refused(value)?))) {
            let near = nearest(&wrong, choices.iter().map(String::as_str));
            let why = format!("{flag} must be one of {}, got {wrong}{near}", choices.join(", "));
            if one.in_base || matches!(self.context.unknown, UnknownFlags::Fail | UnknownFlags::Translate) {
                self.found.push(Finding::value(Code::KnobValue, &one.pointer, why));
            } else {
                self.found.push(Finding::value(
                    Code::FlagSkipped,
                    &one.pointer,
                    format!("{why}; candidates with it are skipped"),
                ));
                self.reject(Some(one.knob), Some((*value).clone()), why);
            }
        }
    }

    /// Flags among the words of the plan's command, and the flags that every start uses.
    fn words(&mut self, at: &str) {
        let framework = self.framework;
        let own = framework
            .model_flag
            .iter()
            .chain(&framework.served_name_flag)
            .chain([&framework.host_flag, &framework.port_flag]);
        let mut flags: Vec<(String, String)> = own.map(|flag| (flag.clone(), at.to_string())).collect();
        let words = self
            .section
            .command
            .as_ref()
            .map_or(Vec::new(), |command| command.model.iter().flatten().chain(&command.rest).cloned().collect());
        let extra =
            self.section.extra_args.iter().enumerate().map(|(i, word)| (word.clone(), format!("{at}/extra_args/{i}")));
        let words = words.into_iter().map(|word| (word, format!("{at}/server_command"))).chain(extra);
        flags.extend(words.filter(|(word, _)| is_flag(word) && word != "--"));
        // A program that the definition does not know may have flags of its own.
        let own_program = self.section.command.as_ref().is_none_or(|command| framework.find(&command.head).is_some());
        for (word, pointer) in flags {
            let flag = word.split('=').next().unwrap_or_default();
            let verdict = self.verdict(flag);
            if verdict.is_none() && own_program {
                self.found.extend(unknown::flag(flag, &pointer, framework, self.context.frameworks));
            }
            if verdict != Some(FlagVerdict::Unknown) {
                continue;
            }
            let why = self.lacks(flag, &self.searched_in(flag));
            if self.context.unknown == UnknownFlags::Reject {
                self.found.push(Finding::value(
                    Code::FlagSkipped,
                    &pointer,
                    format!("{why}; its candidates are skipped"),
                ));
                self.reject(None, None, why);
            } else {
                self.found.push(Finding::value(Code::Flag, &pointer, why));
            }
        }
    }

    /// This version must accept each fixed value, and no file may set another.
    fn fixed(&mut self, at: &str) {
        for (knob, rule) in &self.framework.fixed {
            self.elsewhere(knob, rule, at);
            let flag = self.framework.flag(knob);
            let value = plain_text(&rule.value);
            let Some(shown) = self.server() else { continue };
            let (verdict, choices) = (shown.verdict(&flag), shown.choices(&flag));
            let refused = !choices.is_empty() && !choices.contains(&value);
            if verdict == FlagVerdict::Unknown || (verdict == FlagVerdict::Accepted && refused) {
                let why = format!("{} is not supported: its help does not accept {flag} {value}", self.framework.title);
                self.found.push(Finding::key(Code::Unsupported, at, format!("{why}; its candidates are skipped")));
                self.reject(None, None, why);
            }
        }
    }

    /// Reports another value than the fixed one, set by an option file or implied by the model's folder.
    fn elsewhere(&mut self, knob: &str, rule: &FixedKnob, at: &str) {
        let model = self.section.model.as_ref().unwrap_or(&self.model);
        let files = self.context.models.get(model).map_or(&[] as &[String], |facts| &facts.files);
        if let Some(file) = files.iter().find(|file| rule.model_files.contains(file)) {
            let why = format!("{model} contains {file}, so it is a built engine, not a model: {}", rule.reason);
            self.found.push(Finding::key(Code::Unsupported, at, format!("{why}; its candidates are skipped")));
            self.reject(None, None, why);
        }
        for (i, word) in self.section.extra_args.iter().enumerate() {
            let path = word.split('=').next_back().unwrap_or(word);
            if let Some(why) = self.other_in_file(knob, rule, path) {
                let pointer = format!("{at}/extra_args/{i}");
                self.found.push(Finding::value(
                    Code::Unsupported,
                    &pointer,
                    format!("{why}; its candidates are skipped"),
                ));
                self.reject(None, None, why);
            }
        }
        let all = uses(self.section, at);
        for one in all.iter().filter(|one| self.framework.option_files.contains_key(one.knob)) {
            for path in one.values.iter().filter_map(|value| value.as_str()) {
                if let Some(why) = self.other_in_file(knob, rule, path) {
                    self.found.push(Finding::value(
                        Code::Unsupported,
                        &one.pointer,
                        format!("{why}; candidates with it are skipped"),
                    ));
                    self.reject(Some(one.knob), Some(path.into()), why);
                }
            }
        }
    }

    /// Why an option file is refused: it sets another value than the fixed one.
    fn other_in_file(&self, knob: &str, rule: &FixedKnob, path: &str) -> Option<String> {
        let other = self.context.options.get(path)?.get(knob).filter(|other| **other != rule.value)?;
        let (other, right) = (plain_text(other), plain_text(&rule.value));
        Some(format!("{knob} {other} in {path} is not supported, only {right}: {}", rule.reason))
    }

    /// The flags of its own benchmark client.
    fn benchmark(&mut self, shown: &HelpFlags, at: &str) -> Option<Verdicts> {
        let client = self.framework.client.as_ref()?;
        let loads = client.loads.open.iter().chain(&client.loads.closed).chain(&client.loads.burst);
        let words = client.command.iter().chain(client.endpoints.values().flatten()).chain(loads);
        let words = words.chain(&client.exact_length).chain(&client.own_length);
        let mut verdicts = Verdicts::default();
        let flags: std::collections::BTreeSet<&String> = words.filter(|word| word.starts_with("--")).collect();
        for flag in flags {
            file(&mut verdicts, flag, shown.verdict(flag));
        }
        if !verdicts.unknown.is_empty() {
            let why = format!(
                "the benchmark client of {} does not have {}: bench-load --client would fail",
                self.framework.title,
                verdicts.unknown.join(", ")
            );
            self.found.push(Finding::key(Code::FlagsUnchecked, at, why));
        }
        Some(verdicts)
    }

    fn substitute(&mut self, one: &KnobUse, to: Option<&str>, why: String) {
        let what = to.map_or("dropped from the search".to_string(), |to| format!("using {to}"));
        self.found.push(Finding::key(Code::FlagRenamed, &one.pointer, format!("{why}: {what}")));
        let (framework, knob, to) = (self.section.name.clone(), one.knob.to_string(), to.map(String::from));
        let substitution = Substitution { framework, knob, to, reason: why };
        if !self
            .checked
            .substitutions
            .iter()
            .any(|s| (&s.framework, &s.knob) == (&substitution.framework, &substitution.knob))
        {
            self.checked.substitutions.push(substitution);
        }
    }

    fn reject(&mut self, knob: Option<&str>, value: Option<Value>, reason: String) {
        let (framework, knob) = (self.section.name.clone(), knob.map(String::from));
        self.checked.rejections.push(Rejection { framework, knob, value, reason });
    }
}

/// Every knob of a framework with its values, in the plan's order.
fn uses<'a>(section: &'a FrameworkPlan, at: &str) -> Vec<KnobUse<'a>> {
    let mut all = Vec::new();
    for (knob, value) in &section.base {
        let pointer = format!("{at}/base_server_flags/{}", escape(knob));
        all.push(KnobUse { knob: root(knob), pointer, values: vec![value], in_base: true });
    }
    for (knob, values) in &section.space {
        let pointer = format!("{at}/search_space/{}", escape(knob));
        all.push(KnobUse { knob: root(knob), pointer, values: values.iter().collect(), in_base: false });
    }
    for (i, changes) in section.list.iter().enumerate() {
        for (knob, value) in changes {
            let pointer = format!("{at}/candidates/{i}/{}", escape(knob));
            all.push(KnobUse { knob: root(knob), pointer, values: vec![value], in_base: false });
        }
    }
    all
}

/// The knob that a dotted knob belongs to: only that one is a flag.
fn root(knob: &str) -> &str {
    knob.split('.').next().unwrap_or(knob)
}

/// Adds a flag to the list for its verdict.
fn file(verdicts: &mut Verdicts, flag: &str, verdict: FlagVerdict) {
    let list = match verdict {
        FlagVerdict::Accepted => &mut verdicts.accepted,
        FlagVerdict::Unknown => &mut verdicts.unknown,
        FlagVerdict::Unverifiable => &mut verdicts.unverifiable,
    };
    list.push(flag.to_string());
}
