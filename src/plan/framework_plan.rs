//! The frameworks of a plan, as the plan describes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::command::Command;
use super::shape::texts;
use crate::base::yaml::escape;
use crate::rows::kinds::{LauncherStep, Members};

/// One framework of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameworkPlan {
    /// Its name in the plan.
    pub name: String,
    /// The name of its definition.
    pub definition: String,
    /// False: excluded by the user.
    pub enabled: bool,
    /// Its launchers, outermost first; `local` alone when the plan names none.
    pub launcher: Vec<LauncherStep>,
    /// Container image.
    pub image: Option<String>,
    /// Mounts, `HOST:CONTAINER`.
    pub mounts: Vec<String>,
    /// The plan's own command, if any, without the words that set knobs.
    pub command: Option<Command>,
    /// Overrides the plan's model.
    pub model: Option<String>,
    /// Overrides the plan's quantization.
    pub quantization: Option<String>,
    /// Flags of the baseline.
    pub base: Members,
    /// Knobs and the values to try, in the plan's order.
    pub space: Vec<(String, Vec<Value>)>,
    /// An explicit list of candidates: the changes of each.
    pub list: Vec<Members>,
    /// Its version according to the plan.
    pub version: Option<String>,
    /// Words appended to the command.
    pub extra_args: Vec<String>,
    /// Environment variables; `None` inherits the value.
    pub env: BTreeMap<String, Option<String>>,
}

/// Where a plan gives a knob a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingScope {
    /// In the baseline.
    Base,
    /// As a value to try.
    Search,
    /// In this one of the listed candidates.
    Candidate(usize),
}

impl SettingScope {
    /// True if one command may have settings of both.
    pub(super) fn meets(self, other: Self) -> bool {
        self == other
            || !matches!(
                (self, other),
                (Self::Candidate(_), Self::Candidate(_) | Self::Search) | (Self::Search, Self::Candidate(_))
            )
    }
}

/// A value that a plan gives a knob.
#[derive(Debug, Clone)]
pub(super) struct KnobSetting<'a> {
    /// The knob, perhaps dotted.
    pub knob: &'a str,
    /// The value.
    pub value: &'a Value,
    /// Where the plan gives it.
    pub scope: SettingScope,
    /// The name of the framework in the plan.
    section: &'a str,
    /// Its place among the values of the knob.
    index: usize,
}

impl KnobSetting<'_> {
    /// JSON pointer to it.
    pub(super) fn pointer(&self) -> String {
        format!("/frameworks/{}/{}", escape(self.section), self.place())
    }

    /// The same from the framework's section on.
    pub(super) fn place(&self) -> String {
        let knob = escape(self.knob);
        match self.scope {
            SettingScope::Base => format!("base_server_flags/{knob}"),
            SettingScope::Search => format!("search_space/{knob}/{}", self.index),
            SettingScope::Candidate(i) => format!("candidates/{i}/{knob}"),
        }
    }
}

impl FrameworkPlan {
    /// Every value of every knob, in the order of the plan: the baseline's, those to try, those of the listed candidates.
    pub(super) fn settings(&self) -> Vec<KnobSetting<'_>> {
        let mut all = Vec::new();
        let mut add = |knob, value, scope, index| {
            all.push(KnobSetting { knob, value, scope, section: &self.name, index });
        };
        for (knob, value) in &self.base {
            add(knob.as_str(), value, SettingScope::Base, 0);
        }
        for (knob, values) in &self.space {
            values.iter().enumerate().for_each(|(i, value)| add(knob, value, SettingScope::Search, i));
        }
        for (i, changes) in self.list.iter().enumerate() {
            changes.iter().for_each(|(knob, value)| add(knob, value, SettingScope::Candidate(i), 0));
        }
        all
    }

    /// Renames a knob; `None` drops it from the search.
    pub(super) fn substitute(&mut self, knob: &str, to: Option<&str>) {
        let name = |name: &str| match (name == knob, to) {
            (false, _) => Some(name.to_string()),
            (true, to) => to.map(String::from),
        };
        let renamed = |members: &Members| -> Members {
            members.iter().filter_map(|(key, value)| Some((name(key)?, value.clone()))).collect()
        };
        if to.is_some() {
            self.base = renamed(&self.base);
        }
        self.list = self.list.iter().map(renamed).collect();
        let space = std::mem::take(&mut self.space);
        self.space = space.into_iter().filter_map(|(key, values)| Some((name(&key)?, values))).collect();
    }
}

/// The launchers in a plan: a name, a map with a name, or a list of those, outermost first.
pub fn launchers(value: &Value) -> Vec<LauncherStep> {
    let step = |one: &Value| {
        let mut options: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in one.as_object().into_iter().flatten() {
            let text = value.as_str().map(String::from).or_else(|| value.as_u64().map(|number| number.to_string()));
            options.extend(text.map(|text| (key.clone(), text)));
        }
        let named = options.remove("name");
        LauncherStep { name: one.as_str().map_or(named.unwrap_or_default(), String::from), options }
    };
    match value {
        Value::Null => vec![LauncherStep::local()],
        Value::Array(all) => all.iter().map(step).collect(),
        one => vec![step(one)],
    }
}

pub(super) fn frameworks(plan: &Value) -> Vec<FrameworkPlan> {
    let read = |(name, section): (&String, &Value)| {
        let text = |key: &str| section[key].as_str().map(String::from);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let space: Map<String, Value> = section["search_space"].as_object().cloned().unwrap_or_default();
        let env = section["env"].as_object().cloned().unwrap_or_default();
        FrameworkPlan {
            name: name.clone(),
            definition: text("definition").unwrap_or_else(|| name.clone()),
            enabled: section["enabled"] != false,
            launcher: launchers(&section["launcher"]),
            image: text("image"),
            mounts: texts(&section["mounts"]),
            command: None,
            model: text("model"),
            quantization: text("quantization"),
            base: section["base_server_flags"].as_object().cloned().unwrap_or_default(),
            space: space.into_iter().map(|(knob, values)| (knob, list(&values))).collect(),
            list: list(&section["candidates"]).into_iter().filter_map(|one| one.as_object().cloned()).collect(),
            version: text("version"),
            extra_args: texts(&section["extra_args"]),
            env: env.into_iter().map(|(name, value)| (name, value.as_str().map(String::from))).collect(),
        }
    };
    plan["frameworks"].as_object().into_iter().flatten().map(read).collect()
}
