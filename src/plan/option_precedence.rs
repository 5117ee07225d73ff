//! Settings that a plan gives both as a flag and in an option file, and flags that an option file makes ineffective.

use serde_json::{Map, Value};

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::{FrameworkPlan, KnobSetting, SettingScope};
use super::read::Plan;
use super::served;
use crate::engines::framework::Framework;
use crate::rows::words::FindingCode as Code;

/// A member of an option file.
struct OptionMember<'a> {
    /// The knob of the file.
    option: &'a str,
    /// `kv_cache_config.dtype`.
    member: String,
    pointer: String,
    scope: SettingScope,
}

/// Adds findings about every framework with option files.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(context.frameworks) {
        if !framework.option_members.is_empty() {
            one(plan, context, section, framework, found);
        }
    }
}

fn one(plan: &Plan, context: &CheckContext, section: &FrameworkPlan, framework: &Framework, found: &mut Vec<Finding>) {
    let mut given = section.settings();
    // Null and false add nothing to the command.
    given.retain(|setting| !setting.value.is_null() && *setting.value != false);
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
            found.push(Finding::value(Code::OptionTwice, &member.pointer, why));
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
        found.push(Finding::value(code, &flag.pointer(), why));
    }
}

/// The members that the option files of a plan set, as maps, as dotted knobs or in a file on this host.
fn members<'a>(given: &'a [KnobSetting<'a>], framework: &Framework, context: &CheckContext) -> Vec<OptionMember<'a>> {
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
        let member = |member| OptionMember { option, member, pointer: one.pointer(), scope: one.scope };
        all.extend(names.into_iter().map(member));
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
