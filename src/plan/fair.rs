//! Baselines against each other: a comparison of frameworks that keep different promises is said to be one.

use serde_json::Value;

use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use crate::engines::framework::{Framework, Frameworks};
use crate::rows::kinds::PlanCheck;
use crate::rows::words::Endpoint;

/// What the baselines of a comparison should have in common, and what it is called.
const ROLES: [(&str, &str); 6] = [
    ("dtype", "dtype"),
    ("quantization", "quantization"),
    ("kv_cache_dtype", "the type of the KV cache"),
    ("prefix_caching", "prefix caching"),
    ("sequence_limit", "the sequence limit"),
    ("memory_fraction", "the memory fraction"),
];

/// Notes in what the baselines differ; each is a caveat, too.
pub fn check(plan: &Plan, frameworks: &Frameworks, checked: &mut PlanCheck, found: &mut Vec<Finding>) {
    let enabled = plan.frameworks.iter().filter(|given| given.enabled);
    let all: Vec<(&FrameworkPlan, &Framework)> =
        enabled.filter_map(|given| Some((given, frameworks.get(&given.definition)?))).collect();
    for (role, name) in ROLES {
        let said: Vec<(&str, String)> = all
            .iter()
            .filter_map(|(given, framework)| Some((given.name.as_str(), value(plan, given, framework, role)?)))
            .collect();
        if said.iter().any(|(_, value)| *value != said[0].1) {
            let list: Vec<String> = said.iter().map(|(framework, value)| format!("{framework} {value}")).collect();
            let why = format!("the baselines differ in {name}: {}", list.join(", "));
            found.push(Finding::note("/frameworks", why.clone()));
            checked.caveats.push(why);
        }
    }
    if plan.benchmark.endpoint == Endpoint::Generate && all.len() > 1 {
        let why = "/generate is one framework's own: the others have no such path, and what all are measured on is /v1/completions";
        found.push(Finding::warning("/benchmark/endpoint", why));
        checked.caveats.push("measured on /generate, not on the endpoint that all frameworks have".into());
    }
}

/// What a baseline says about a role; `None` for a framework that has no such knob.
fn value(plan: &Plan, given: &FrameworkPlan, framework: &Framework, role: &str) -> Option<String> {
    let mut knobs = framework.with_role(role).peekable();
    knobs.peek()?;
    let mut default = None;
    for (name, knob) in knobs {
        if let Some(value) = given.base.get(name).filter(|value| !value.is_null()) {
            return Some(effective(value, knob.inverted));
        }
        default = default.or_else(|| knob.default.as_ref().map(|value| effective(value, knob.inverted)));
    }
    let asked = match role {
        "quantization" => given.quantization.clone().or_else(|| plan.quantization.clone()),
        _ => None,
    };
    let unset = if role == "sequence_limit" { "the model's own" } else { "its own default" };
    Some(asked.or(default).unwrap_or_else(|| unset.into()))
}

fn effective(value: &Value, inverted: bool) -> String {
    match value {
        Value::Bool(on) => if *on != inverted { "on" } else { "off" }.into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
