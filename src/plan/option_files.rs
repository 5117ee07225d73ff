//! Option files: settings that are flags too, those that the plan counts with, and files that cannot be read here.

use serde_json::Value;

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::KnobSetting;
use super::read::Plan;
use crate::engines::framework::Framework;
use crate::rows::words::FindingCode as Code;

/// One option file of a framework.
struct OptionFile<'a> {
    /// The knob that takes it.
    knob: &'a str,
    /// Its place in the plan.
    pointer: String,
    /// Its members, with dots, as far as the plan or this host has them.
    members: Vec<String>,
}

/// Adds findings about settings that are both in an option file and a flag, and about files that cannot be read here.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(context.frameworks) {
        let mut set = section.settings();
        set.retain(|setting| !setting.value.is_null());
        for file in files(framework, &set, context, found) {
            for member in &file.members {
                conflict(framework, &file, member, &set, found);
            }
        }
    }
}

fn files<'a>(
    framework: &Framework,
    set: &[KnobSetting<'a>],
    context: &CheckContext,
    found: &mut Vec<Finding>,
) -> Vec<OptionFile<'a>> {
    let mut all = Vec::new();
    for setting in set {
        let KnobSetting { knob: name, value, .. } = setting;
        let (knob, inside) = name.split_once('.').map_or((*name, None), |(knob, inside)| (knob, Some(inside)));
        if !framework.option_files.contains_key(knob) {
            continue;
        }
        let mut file = OptionFile { knob, pointer: setting.pointer(), members: Vec::new() };
        match (inside, value) {
            (Some(inside), _) => file.members.push(inside.to_string()),
            (None, Value::Object(_)) => members(value, "", &mut file.members),
            (None, Value::String(path)) => match context.options.get(path) {
                Some(content) => members(content, "", &mut file.members),
                None => {
                    let why = format!(
                        "{path} cannot be read here: what it sets is not checked, and must not be set by flags too"
                    );
                    found.push(Finding::value(Code::OptionUnread, &file.pointer, why));
                }
            },
            (None, _) => {}
        }
        all.push(file);
    }
    all
}

/// The paths of all members.
fn members(value: &Value, at: &str, all: &mut Vec<String>) {
    for (key, inner) in value.as_object().into_iter().flatten() {
        let path = if at.is_empty() { key.replace('-', "_") } else { format!("{at}.{key}") };
        members(inner, &path, all);
        all.push(path);
    }
}

fn conflict(framework: &Framework, file: &OptionFile, member: &str, set: &[KnobSetting], found: &mut Vec<Finding>) {
    // A file has names of its own for what flags set; with others the server ends at once.
    if let Some(right) = framework.option_members.get(member).filter(|right| *right != member) {
        let why = format!("{member} is the name of a flag: in {} it is {right}", file.knob);
        return found.push(Finding::value(Code::KnobTypo, &file.pointer, why));
    }
    let named = |knob: &String| framework.option_members.get(knob).map_or(knob.as_str(), String::as_str) == member;
    let counted = framework.parallelism.multiply.iter().find(|knob| named(knob));
    if let Some(knob) = counted.filter(|counted| !set.iter().any(|setting| setting.knob == *counted)) {
        let why = format!("{member} in {}: set it as the flag {knob}, with which the plan counts GPUs", file.knob);
        return found.push(Finding::value(Code::OptionTwice, &file.pointer, why));
    }
    // Those that the definition lists are compared with the version at hand.
    let listed = |knob: &str| framework.fixed.contains_key(knob) || framework.option_members.contains_key(knob);
    if let Some(KnobSetting { knob, .. }) = set.iter().find(|setting| setting.knob == member && !listed(setting.knob)) {
        let why = format!("{knob} is set both as a flag and in {}: keep one", file.knob);
        found.push(Finding::value(Code::OptionTwice, &file.pointer, why));
    }
}
