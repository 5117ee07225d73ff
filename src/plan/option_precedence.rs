//! Settings that a plan gives both as a flag and in an option file, and flags that an option file makes ineffective.

use serde_json::{Map, Value};

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use super::served;
use crate::base::yaml::escape;
use crate::engines::framework::Framework;
use crate::rows::words::FindingCode as Code;

/// Where a plan gives a setting: candidates of a list do not meet each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Base,
    Search,
    Candidate(usize),
}

impl Scope {
    /// True if one command may have settings of both.
    fn meets(self, other: Self) -> bool {
        self == other
            || !matches!(
                (self, other),
                (Self::Candidate(_), Self::Candidate(_) | Self::Search) | (Self::Search, Self::Candidate(_))
            )
    }
}

/// A knob of a plan with one of its values.
struct Given<'a> {
    knob: &'a str,
    value: &'a Value,
    pointer: String,
    scope: Scope,
}

/// A member of an option file.
struct OptionMember<'a> {
    /// The knob of the file.
    option: &'a str,
    /// `kv_cache_config.dtype`.
    member: String,
    pointer: &'a str,
    scope: Scope,
}

/// Adds findings about every framework with option files.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for section in plan.frameworks.iter().filter(|section| section.enabled) {
        let Some(framework) = context.frameworks.get(&section.definition) else { continue };
        if !framework.option_members.is_empty() {
            one(plan, context, section, framework, found);
        }
    }
}

fn one(plan: &Plan, context: &CheckContext, section: &FrameworkPlan, framework: &Framework, found: &mut Vec<Finding>) {
    let given = given(section);
    let members = members(&given, framework, context);
    let version = served::version(section, &plan.checked);
    let precedence = framework.option_precedence.as_ref();
    let flag_wins = precedence.and_then(|precedence| precedence.flag_wins(version.as_ref()));
    let title = framework.title.as_str();
    let which = version.as_ref().map_or(title.to_string(), |version| format!("{title} {}", version.text()));
    for flag in &given {
        let Some(own) = framework.option_members.get(flag.knob) else { continue };
        let meets = |member: &&OptionMember| member.scope.meets(flag.scope);
        if let Some(member) = members.iter().filter(meets).find(|member| member.member == *own) {
            let wins = match (precedence, flag_wins) {
                (Some(_), Some(true)) => format!("{which} uses the flag"),
                (Some(_), Some(false)) => format!("{which} uses the file"),
                (Some(order), None) => {
                    format!("{title} before {} uses the file, later versions the flag", order.flags_since.text())
                }
                (None, _) => "only one of them counts".to_string(),
            };
            let why = format!("{own} in {} is the same setting as {}: {wins}; keep one", member.option, flag.knob);
            found.push(Finding::value(Code::OptionTwice, member.pointer, why));
            continue;
        }
        let Some((map, _)) = own.split_once('.').filter(|_| precedence.is_some() && flag_wins != Some(true)) else {
            continue;
        };
        let inside = |member: &&OptionMember| member.member.split('.').next() == Some(map);
        let Some(member) = members.iter().filter(meets).find(inside) else { continue };
        let write = format!("{map} in {option} replaces it; write {option}.{own} instead", option = member.option);
        let (code, why) = match flag_wins {
            Some(_) => (Code::OptionTwice, format!("{which} ignores {}: {write}", flag.knob)),
            None => {
                let since = precedence.map_or("", |order| order.flags_since.text());
                (
                    Code::OptionIgnored,
                    format!("{title} before {since} ignores {}: {write}, or set `version`", flag.knob),
                )
            }
        };
        found.push(Finding::value(code, &flag.pointer, why));
    }
}

/// Every knob with every value that adds something to the command.
fn given(section: &FrameworkPlan) -> Vec<Given<'_>> {
    let at = format!("/frameworks/{}", escape(&section.name));
    let base = section.base.iter().map(|(knob, value)| Given {
        knob,
        value,
        pointer: format!("{at}/base_server_flags/{}", escape(knob)),
        scope: Scope::Base,
    });
    let searched = section.space.iter().flat_map(|(knob, values)| {
        let pointer = format!("{at}/search_space/{}", escape(knob));
        values.iter().enumerate().map(move |(i, value)| Given {
            knob,
            value,
            pointer: format!("{pointer}/{i}"),
            scope: Scope::Search,
        })
    });
    let listed = section.list.iter().enumerate().flat_map(|(i, changes)| {
        let pointer = format!("{at}/candidates/{i}");
        changes.iter().map(move |(knob, value)| Given {
            knob,
            value,
            pointer: format!("{pointer}/{}", escape(knob)),
            scope: Scope::Candidate(i),
        })
    });
    base.chain(searched).chain(listed).filter(|given| !given.value.is_null() && *given.value != false).collect()
}

/// The members that the option files of a plan set, as maps, as dotted knobs or in a file on this host.
fn members<'a>(given: &'a [Given<'a>], framework: &Framework, context: &CheckContext) -> Vec<OptionMember<'a>> {
    let mut all = Vec::new();
    for one in given {
        let (option, inside) = one.knob.split_once('.').unwrap_or((one.knob, ""));
        if !framework.option_files.contains_key(option) {
            continue;
        }
        let mut names = Vec::new();
        let value = one.value.as_str().and_then(|path| context.options.get(path)).unwrap_or(one.value);
        match value {
            Value::Object(map) => leaves(map, inside, &mut names),
            _ if !inside.is_empty() => names.push(inside.to_string()),
            _ => {}
        }
        let (pointer, scope) = (one.pointer.as_str(), one.scope);
        all.extend(names.into_iter().map(|member| OptionMember { option, member, pointer, scope }));
    }
    all
}

/// Adds the dotted names of everything in a map that is not a map itself.
fn leaves(map: &Map<String, Value>, prefix: &str, names: &mut Vec<String>) {
    for (key, value) in map {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) if !inner.is_empty() => leaves(inner, &name, names),
            Value::Null => {}
            _ => names.push(name),
        }
    }
}
