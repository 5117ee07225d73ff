//! Compares the baselines of the frameworks, and reports settings in which they differ.

use serde_json::Value;

use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use crate::engines::framework::{Framework, Frameworks, KnobRole};
use crate::rows::kinds::PlanCheck;
use crate::rows::words::Endpoint;
use crate::rows::words::FindingCode as Code;

/// Roles of knobs in which the baselines should agree, with their names in messages.
const ROLES: [(KnobRole, &str); 6] = [
    (KnobRole::Dtype, "dtype"),
    (KnobRole::Quantization, "quantization"),
    (KnobRole::KvCacheDtype, "KV cache dtype"),
    (KnobRole::PrefixCaching, "prefix caching"),
    (KnobRole::SequenceLimit, "sequence limit"),
    (KnobRole::MemoryFraction, "memory fraction"),
];

/// Adds a note, and a caveat, for each setting in which the baselines differ.
pub fn check(plan: &Plan, frameworks: &Frameworks, checked: &mut PlanCheck, found: &mut Vec<Finding>) {
    let all: Vec<(&FrameworkPlan, &Framework)> = plan.enabled(frameworks).collect();
    for (role, name) in ROLES {
        let values: Vec<(&str, String)> = all
            .iter()
            .filter_map(|(section, framework)| Some((section.name.as_str(), value(plan, section, framework, role)?)))
            .collect();
        if values.iter().any(|(_, value)| *value != values[0].1) {
            let list: Vec<String> = values.iter().map(|(framework, value)| format!("{framework} {value}")).collect();
            let why = format!("the baselines differ in {name}: {}", list.join(", "));
            found.push(Finding::value(Code::Unequal, "/frameworks", why.clone()));
            checked.caveats.push(why);
        }
    }
    if plan.benchmark.endpoint == Endpoint::Generate && all.len() > 1 {
        let why = "only one framework has /generate; use /v1/completions to compare several";
        found.push(Finding::value(Code::EndpointUnequal, "/benchmark/endpoint", why));
        checked.caveats.push("measured on /generate, which not all frameworks have".into());
    }
}

/// The value of a role in a baseline; `None` for a framework without such a knob.
fn value(plan: &Plan, section: &FrameworkPlan, framework: &Framework, role: KnobRole) -> Option<String> {
    let mut knobs = framework.with_role(role).peekable();
    knobs.peek()?;
    let mut default = None;
    for (name, knob) in knobs {
        if let Some(value) = section.base.get(name).filter(|value| !value.is_null()) {
            return Some(effective(value, knob.inverted));
        }
        default = default.or_else(|| knob.default.as_ref().map(|value| effective(value, knob.inverted)));
    }
    let asked = match role {
        KnobRole::Quantization => section.quantization.clone().or_else(|| plan.quantization.clone()),
        _ => None,
    };
    let unset = if role == KnobRole::SequenceLimit { "the model's own" } else { "its own default" };
    Some(asked.or(default).unwrap_or_else(|| unset.into()))
}

fn effective(value: &Value, inverted: bool) -> String {
    match value {
        Value::Bool(on) => if *on != inverted { "on" } else { "off" }.into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
