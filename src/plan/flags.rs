//! Flags against captured help, else against the versions that are known to have them.

use serde_json::Value;

use super::context::{CheckContext, UnknownFlags};
use super::finding::{Finding, Level};
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use super::shape::{nearest, said};
use crate::base::yaml::escape;
use crate::engines::framework::{FixedKnob, Framework, HelpSubject, Knob};
use crate::engines::help::{CapturedHelp, FlagVerdict, HelpFlags};
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{FlagCheck, PlanCheck, Rejection, Substitution, Verdicts};

/// What to do about a framework that cannot be asked or started.
pub const MISSING_WAY_OUT: &str = "install it, correct server_command, env, image or launcher, or say enabled: false; \
                                   --allow-missing runs the other frameworks without it";

/// Where a knob stands in a plan.
#[derive(Debug, Clone)]
struct KnobUse<'a> {
    knob: &'a str,
    pointer: String,
    values: Vec<&'a Value>,
    in_base: bool,
}

/// Adds what is wrong with flags, and tells what becomes of them.
pub fn check(plan: &Plan, known: &CheckContext, found: &mut Vec<Finding>) -> PlanCheck {
    let mut checked = PlanCheck::default();
    for given in plan.frameworks.iter().filter(|given| given.enabled) {
        let Some(framework) = known.frameworks.get(&given.definition) else { continue };
        let captured = known.helps.get(&given.name, &framework.name);
        let mut checking = FlagChecker {
            given,
            framework,
            captured,
            known,
            known_model: plan.model.clone(),
            found,
            checked: &mut checked,
            verdicts: Verdicts::default(),
        };
        checking.all();
    }
    checked
}

struct FlagChecker<'a, 'b> {
    given: &'a FrameworkPlan,
    framework: &'a Framework,
    captured: Option<&'a CapturedHelp>,
    known: &'a CheckContext<'a>,
    known_model: String,
    found: &'b mut Vec<Finding>,
    checked: &'b mut PlanCheck,
    verdicts: Verdicts,
}

impl FlagChecker<'_, '_> {
    fn all(&mut self) {
        let given = self.given;
        let at = format!("/frameworks/{}", escape(&given.name));
        // Some frameworks print help in several parts: one that is there is enough.
        let captured = self.captured.filter(|captured| !captured.shown.contains_key(&HelpSubject::Server));
        if let Some(why) = captured.and_then(|captured| captured.missing.as_ref()) {
            let why = format!("{} cannot be asked for its help: {why}", self.framework.title);
            if self.known.allow_missing {
                self.found.push(Finding::key(Level::Warning, &at, format!("{why}; its candidates are skipped")));
                return self.reject(None, None, why);
            }
            return self.found.push(Finding::key(Level::Error, &at, format!("{why}; {MISSING_WAY_OUT}")));
        }
        for one in uses(given, &at) {
            self.knob(&one);
        }
        self.words(&at);
        self.fixed(&at);
        let Some(captured) = self.captured.filter(|captured| captured.shown.contains_key(&HelpSubject::Server)) else {
            // Where help was captured at all, its absence says something.
            if !self.known.helps.is_empty() && !self.framework.simulated {
                let why = format!("no help of {} was captured: its flags were not checked", self.framework.title);
                self.found.push(Finding::key(Level::Note, &at, why.clone()));
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
                "{n} of its flags cannot be verified: the captured help of {} does not list all",
                self.framework.title
            );
            self.found.push(Finding::key(Level::Note, &at, why));
        }
        self.checked.validated_cli_flags.insert(given.name.clone(), check);
    }

    fn server(&self) -> Option<&HelpFlags> {
        self.captured?.shown.get(&HelpSubject::Server)
    }

    /// The version at hand, and whether it is only assumed.
    fn version(&self) -> Option<(FrameworkVersion, bool)> {
        let said = self.given.version.as_deref().and_then(FrameworkVersion::parse);
        let captured = || self.captured.and_then(|captured| captured.version.clone());
        let sure = said.or_else(captured).map(|version| (version, false));
        sure.or_else(|| self.framework.checked.clone().map(|version| (version, true)))
    }

    fn verdict(&mut self, flag: &str) -> Option<FlagVerdict> {
        let verdict = self.server()?.verdict(flag);
        file(&mut self.verdicts, flag, verdict);
        Some(verdict)
    }

    fn knob(&mut self, one: &KnobUse) {
        // What is left out, or off without a flag that says so, is in no command.
        if one.values.iter().all(|value| self.framework.spell(one.knob, value).is_none()) {
            return;
        }
        let mut flags: Vec<String> =
            one.values.iter().filter_map(|value| self.framework.spell(one.knob, value)).collect();
        flags.dedup();
        let verdicts: Vec<Option<FlagVerdict>> = flags.iter().map(|flag| self.verdict(flag)).collect();
        // What a help says about a value that is fixed concerns the whole framework.
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
        let Some((version, assumed)) = self.version().filter(|_| !self.known.any_version) else { return };
        if described.is_in(&version) {
            return;
        }
        let title = &self.framework.title;
        let why = if assumed {
            let which = "the version that is assumed; `version` in the plan says another";
            format!("{title} {} has no {} ({which})", version.text(), flags[0])
        } else {
            format!("{title} {} has no {}", version.text(), flags[0])
        };
        let other =
            described.now.as_deref().filter(|now| self.framework.knob(now).is_some_and(|now| now.is_in(&version)));
        match other {
            Some(now) => self.substitute(one, Some(now), why),
            None if !one.in_base => self.substitute(one, None, why),
            None if assumed => self.found.push(Finding::warning(&one.pointer, why)),
            None => self.found.push(Finding::error(&one.pointer, why)),
        }
    }

    /// A flag that the captured help has not.
    fn unknown(&mut self, one: &KnobUse, flag: &str, described: &Knob) {
        let accepts = |knob: &str| {
            let flag = self.framework.flag(knob);
            self.server().is_some_and(|shown| shown.verdict(&flag) == FlagVerdict::Accepted)
        };
        let reverse =
            self.framework.described().find(|(name, knob)| knob.now.as_deref() == Some(one.knob) && accepts(name));
        let other = described.now.as_deref().filter(|now| accepts(now)).or(reverse.map(|(name, _)| name));
        let other = other.map(String::from);
        // That a version has not what its range says it has not is no surprise.
        let version = self.version().map(|(version, _)| version);
        let expected = !self.known.any_version && version.is_some_and(|version| !described.is_in(&version));
        let why = if expected { self.lacks(flag, "") } else { self.lacks(flag, &self.looked_for(flag)) };
        match (self.known.unknown, &other) {
            (UnknownFlags::Translate, Some(now)) => self.substitute(one, Some(now), why),
            _ if expected && other.is_some() => self.substitute(one, other.as_deref(), why),
            (UnknownFlags::Drop, _) if !one.in_base => self.substitute(one, None, why),
            _ if expected && !one.in_base => self.substitute(one, None, why),
            (UnknownFlags::Reject, _) => {
                self.found.push(Finding::warning(&one.pointer, format!("{why}; candidates with it are skipped")));
                self.reject(Some(one.knob), None, why);
            }
            _ => {
                let way =
                    other.map_or(String::new(), |now| format!("; {now} is its name there: --unknown-flags translate"));
                self.found.push(Finding::key(Level::Error, &one.pointer, format!("{why}{way}")));
            }
        }
    }

    fn lacks(&self, flag: &str, more: &str) -> String {
        let version = self.captured.and_then(|captured| captured.version.as_ref());
        let version = version.map_or(String::new(), |version| format!(" {}", version.text()));
        format!("{}{version} has no {flag}{more}", self.framework.title)
    }

    /// Where a flag was looked for, and what is near to it there.
    fn looked_for(&self, flag: &str) -> String {
        let Some(shown) = self.server() else { return String::new() };
        format!(" ({}){}", shown.files.join(", "), nearest(flag, shown.flags()))
    }

    /// Values that a flag with choices does not take.
    fn choices(&mut self, one: &KnobUse, flag: &str) {
        let choices = self.server().map_or(&[] as &[String], |shown| shown.choices(flag)).to_vec();
        if choices.is_empty() {
            return;
        }
        let plain = |value: &&&Value| value.is_string() || value.is_number();
        for value in one.values.iter().filter(plain).filter(|value| !choices.contains(&said(value))) {
            let near = nearest(&said(value), choices.iter().map(String::as_str));
            let why = format!("{flag} takes {}, not {}{near}", choices.join(", "), said(value));
            if one.in_base || matches!(self.known.unknown, UnknownFlags::Fail | UnknownFlags::Translate) {
                self.found.push(Finding::error(&one.pointer, why));
            } else {
                self.found.push(Finding::warning(&one.pointer, format!("{why}; candidates with it are skipped")));
                self.reject(Some(one.knob), Some((*value).clone()), why);
            }
        }
    }

    /// Flags among the words that a plan gives, and those that every start has.
    fn words(&mut self, at: &str) {
        let framework = self.framework;
        let own = framework
            .model_flag
            .iter()
            .chain(&framework.served_name_flag)
            .chain([&framework.host_flag, &framework.port_flag]);
        let mut flags: Vec<(String, String)> = own.map(|flag| (flag.clone(), at.to_string())).collect();
        let words = self
            .given
            .command
            .as_ref()
            .map_or(Vec::new(), |command| command.model.iter().flatten().chain(&command.rest).cloned().collect());
        let extra =
            self.given.extra_args.iter().enumerate().map(|(i, word)| (word.clone(), format!("{at}/extra_args/{i}")));
        let words = words.into_iter().map(|word| (word, format!("{at}/server_command"))).chain(extra);
        flags.extend(words.filter(|(word, _)| word.len() > 2 && word.starts_with("--")));
        for (word, pointer) in flags {
            let flag = word.split('=').next().unwrap_or_default();
            if self.verdict(flag) != Some(FlagVerdict::Unknown) {
                continue;
            }
            let why = self.lacks(flag, &self.looked_for(flag));
            if self.known.unknown == UnknownFlags::Reject {
                self.found.push(Finding::warning(&pointer, format!("{why}; its candidates are skipped")));
                self.reject(None, None, why);
            } else {
                self.found.push(Finding::error(&pointer, why));
            }
        }
    }

    /// A value that is fixed has to be one that this version takes, and nothing local may say another.
    fn fixed(&mut self, at: &str) {
        for (knob, rule) in &self.framework.fixed {
            self.elsewhere(knob, rule, at);
            let flag = self.framework.flag(knob);
            let value = said(&rule.value);
            let Some(shown) = self.server() else { continue };
            let (verdict, choices) = (shown.verdict(&flag), shown.choices(&flag));
            let refused = !choices.is_empty() && !choices.contains(&value);
            if verdict == FlagVerdict::Unknown || (verdict == FlagVerdict::Accepted && refused) {
                let why =
                    format!("{} is unsupported here: its help does not accept {flag} {value}", self.framework.title);
                self.found.push(Finding::key(Level::Warning, at, format!("{why}; its candidates are skipped")));
                self.reject(None, None, why);
            }
        }
    }

    /// Another value than the fixed one, in an option file or by what lies in the model's folder.
    fn elsewhere(&mut self, knob: &str, rule: &FixedKnob, at: &str) {
        let model = self.given.model.as_ref().unwrap_or(&self.known_model);
        let files = self.known.models.get(model).map_or(&[] as &[String], |facts| &facts.files);
        if let Some(file) = files.iter().find(|file| rule.model_files.contains(file)) {
            let why = format!("{model} holds {file}, an engine and no model: {}", rule.reason);
            self.found.push(Finding::key(Level::Warning, at, format!("{why}; its candidates are skipped")));
            self.reject(None, None, why);
        }
        for (i, word) in self.given.extra_args.iter().enumerate() {
            let path = word.split('=').next_back().unwrap_or(word);
            if let Some(why) = self.other_in_file(knob, rule, path) {
                let pointer = format!("{at}/extra_args/{i}");
                self.found.push(Finding::warning(&pointer, format!("{why}; its candidates are skipped")));
                self.reject(None, None, why);
            }
        }
        let all = uses(self.given, at);
        for one in all.iter().filter(|one| self.framework.option_files.contains_key(one.knob)) {
            for path in one.values.iter().filter_map(|value| value.as_str()) {
                if let Some(why) = self.other_in_file(knob, rule, path) {
                    self.found.push(Finding::warning(&one.pointer, format!("{why}; candidates with it are skipped")));
                    self.reject(Some(one.knob), Some(path.into()), why);
                }
            }
        }
    }

    /// What is wrong with an option file of this host that says another value than the fixed one.
    fn other_in_file(&self, knob: &str, rule: &FixedKnob, path: &str) -> Option<String> {
        let other = self.known.options.get(path)?.get(knob).filter(|other| **other != rule.value)?;
        let (other, right) = (said(other), said(&rule.value));
        Some(format!("{knob} {other} in {path} is unsupported, {right} is: {}", rule.reason))
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
                "the benchmark client of {} has no {}: bench-load --client would fail",
                self.framework.title,
                verdicts.unknown.join(", ")
            );
            self.found.push(Finding::key(Level::Note, at, why));
        }
        Some(verdicts)
    }

    fn substitute(&mut self, one: &KnobUse, to: Option<&str>, why: String) {
        let what = to.map_or("it is left out of the search".to_string(), |to| format!("{to} is used"));
        self.found.push(Finding::key(Level::Note, &one.pointer, format!("{why}: {what}")));
        let (framework, knob, to) = (self.given.name.clone(), one.knob.to_string(), to.map(String::from));
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
        let (framework, knob) = (self.given.name.clone(), knob.map(String::from));
        self.checked.rejections.push(Rejection { framework, knob, value, reason });
    }
}

/// Every knob of a framework with its values, in the plan's order.
fn uses<'a>(given: &'a FrameworkPlan, at: &str) -> Vec<KnobUse<'a>> {
    let mut all = Vec::new();
    for (knob, value) in &given.base {
        let pointer = format!("{at}/base_server_flags/{}", escape(knob));
        all.push(KnobUse { knob: root(knob), pointer, values: vec![value], in_base: true });
    }
    for (knob, values) in &given.space {
        let pointer = format!("{at}/search_space/{}", escape(knob));
        all.push(KnobUse { knob: root(knob), pointer, values: values.iter().collect(), in_base: false });
    }
    for (i, changes) in given.list.iter().enumerate() {
        for (knob, value) in changes {
            let pointer = format!("{at}/candidates/{i}/{}", escape(knob));
            all.push(KnobUse { knob: root(knob), pointer, values: vec![value], in_base: false });
        }
    }
    all
}

/// A member of an option file is no flag: the file is.
fn root(knob: &str) -> &str {
    knob.split('.').next().unwrap_or(knob)
}

/// Files a flag under what the help says of it.
fn file(verdicts: &mut Verdicts, flag: &str, verdict: FlagVerdict) {
    let list = match verdict {
        FlagVerdict::Accepted => &mut verdicts.accepted,
        FlagVerdict::Unknown => &mut verdicts.unknown,
        FlagVerdict::Unverifiable => &mut verdicts.unverifiable,
    };
    list.push(flag.to_string());
}
