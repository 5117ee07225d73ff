//! The frameworks of a plan against their definitions: knobs, fixed values, sequence limits, GPUs, secrets.

use serde_json::{Map, Value};

use super::read::launchers;
use super::shape::nearest;
use super::{Finding, Level};
use crate::framework::{Framework, Frameworks};
use crate::launcher::resolve;
use crate::redact;
use crate::schema::Scenario;
use crate::yaml::escape;

/// Adds what is wrong with the frameworks of a plan of the right shape.
pub fn check(plan: &Value, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    for (name, given) in plan["frameworks"].as_object().into_iter().flatten() {
        let at = format!("/frameworks/{}", escape(name));
        let definition = given["definition"].as_str().unwrap_or(name);
        let Some(framework) = frameworks.get(definition) else {
            let near = nearest(definition, frameworks.iter().map(|f| f.name.as_str()));
            let why = format!("there is no framework definition {definition:?}{near} (--frameworks DIR adds some)");
            found.push(Finding::key(Level::Error, &at, why));
            continue;
        };
        launcher(frameworks, given, &at, found);
        if let Err(why) = crate::shell::split(given["server_command"].as_str().unwrap_or_default()) {
            found.push(Finding::error(&format!("{at}/server_command"), why));
        }
        knobs(framework, given, &at, found);
        fixed(framework, given, &at, found);
        sequence(plan, framework, given, &at, found);
        gpus(plan, framework, given, &at, found);
        secrets(given, &at, found);
    }
}

/// The launchers are known and fit into one another, and the plan says what they need.
fn launcher(frameworks: &Frameworks, given: &Value, at: &str, found: &mut Vec<Finding>) {
    let at = format!("{at}/launcher");
    let steps = launchers(&given["launcher"]);
    let known = match resolve(frameworks.launchers(), &steps) {
        Ok(known) => known,
        Err(e) => return found.push(Finding::error(&at, e.to_string())),
    };
    for (launcher, step) in known.iter().zip(&steps) {
        for need in launcher.missing(|need| step.options.contains_key(need) || given[need].is_string()) {
            let where_ = if need == "image" {
                "image: NAME".into()
            } else {
                format!("launcher: {{name: {}, {need}: …}}", launcher.name)
            };
            found.push(Finding::error(&at, format!("the launcher {} needs {need}: write `{where_}`", launcher.name)));
        }
        if let Some(host) = step.options.get("host").filter(|host| host.starts_with('-')) {
            found.push(Finding::error(&at, format!("the host {host:?} would be taken for a flag")));
        }
        if let Some(Err(why)) = step.options.get("options").map(|line| crate::shell::split(line)) {
            found.push(Finding::error(&at, format!("the options of {}: {why}", launcher.name)));
        }
    }
}

fn members<'a>(given: &'a Value, part: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    given[part].as_object().into_iter().flatten()
}

fn knobs(framework: &Framework, given: &Value, at: &str, found: &mut Vec<Finding>) {
    for part in ["base_server_flags", "search_space"] {
        for (knob, values) in members(given, part) {
            let pointer = format!("{at}/{part}/{}", escape(knob));
            // What stands behind a dot is a member of the knob's map, which is the framework's own affair.
            let root = knob.split('.').next().unwrap_or(knob);
            if !framework.known_knobs().any(|known| known == root) {
                let near = nearest(knob, framework.known_knobs());
                found.push(Finding::key(
                    Level::Error,
                    &pointer,
                    format!("{} has no knob {knob:?}{near}", framework.title),
                ));
            }
            if part == "search_space" && values.as_array().is_some_and(Vec::is_empty) {
                found.push(Finding::error(&pointer, format!("{knob} has no values to try")));
            }
            if let Some(reason) = framework.pinned.get(knob).filter(|_| part == "search_space") {
                found.push(Finding::warning(&pointer, format!("{knob} is usually kept in the baseline: {reason}")));
            }
        }
    }
}

fn fixed(framework: &Framework, given: &Value, at: &str, found: &mut Vec<Finding>) {
    for (knob, rule) in &framework.fixed {
        // Another value is a candidate that is skipped with the reason; the plan's other candidates go on.
        if let Some(value) = given["base_server_flags"].get(knob).filter(|v| **v != rule.value) {
            let why = format!(
                "{knob} {value} is unsupported, {} is: {}; its candidates are skipped",
                rule.value, rule.reason
            );
            found.push(Finding::warning(&format!("{at}/base_server_flags/{}", escape(knob)), why));
        }
        if given["search_space"].get(knob).is_some() {
            let why = format!("{knob} is not searched: {}", rule.reason);
            found.push(Finding::error(&format!("{at}/search_space/{}", escape(knob)), why));
        }
    }
}

/// The sequence limit must cover prompt and answer of every scenario, in the base and in every search value.
fn sequence(plan: &Value, framework: &Framework, given: &Value, at: &str, found: &mut Vec<Finding>) {
    let Some(limit) = &framework.sequence_limit else { return };
    let scenarios = super::Plan::read(plan).scenarios;
    let Some(needed) = scenarios.iter().filter_map(Scenario::longest).max() else { return };
    let values = |knob: &str| -> Vec<(String, u64)> {
        let base = given["base_server_flags"].get(knob).map(|v| (format!("{at}/base_server_flags/{knob}"), v.clone()));
        let search = given["search_space"].get(knob).and_then(Value::as_array).into_iter().flatten().enumerate();
        let search = search.map(|(i, v)| (format!("{at}/search_space/{knob}/{i}"), v.clone()));
        base.into_iter().chain(search).filter_map(|(pointer, v)| Some((pointer, v.as_u64()?))).collect()
    };
    let divisor =
        limit.divided_by.as_deref().map(values).into_iter().flatten().map(|(_, n)| n).max().unwrap_or(1).max(1);
    for (pointer, value) in values(&limit.knob) {
        // 0 is a request for the model's own limit.
        if value > 0 && value / divisor < needed {
            let shared = limit.divided_by.as_ref().map_or(String::new(), |by| format!(" shared by {by} {divisor}"));
            let why =
                format!("{} {value}{shared} does not hold the {needed} tokens of the longest scenario", limit.knob);
            found.push(Finding::error(&pointer, why));
        }
    }
}

/// The product of the parallelism knobs of the base against the budget.
fn gpus(plan: &Value, framework: &Framework, given: &Value, at: &str, found: &mut Vec<Finding>) {
    let Some(budget) = plan.pointer("/hardware/gpu_count").and_then(Value::as_u64) else { return };
    let base = given["base_server_flags"].as_object().cloned().unwrap_or_default();
    let used: Vec<(&String, u64)> =
        framework.parallelism.multiply.iter().filter_map(|knob| Some((knob, base.get(knob)?.as_u64()?))).collect();
    let product: u64 = used.iter().map(|(_, n)| n).product();
    for (knob, values) in
        members(given, "search_space").filter(|(knob, _)| framework.parallelism.multiply.contains(knob))
    {
        let others: u64 = used.iter().filter(|(other, _)| *other != knob).map(|(_, n)| n).product();
        for (i, value) in values.as_array().into_iter().flatten().enumerate() {
            let needed = value.as_u64().map_or(0, |n| n.saturating_mul(others));
            if needed > budget {
                let why = format!(
                    "{knob} {value} needs {needed} GPUs, and gpu_count is {budget}; its candidates are skipped"
                );
                found.push(Finding::warning(&format!("{at}/search_space/{}/{i}", escape(knob)), why));
            }
        }
    }
    if !used.is_empty() && product > budget {
        let terms: Vec<String> = used.iter().map(|(knob, n)| format!("{knob} {n}")).collect();
        let why = format!("{} needs {product} GPUs, and gpu_count is {budget}", terms.join(" × "));
        found.push(Finding::error(&format!("{at}/base_server_flags"), why));
    }
}

fn secrets(given: &Value, at: &str, found: &mut Vec<Finding>) {
    let none = Map::new();
    for (name, value) in given["env"].as_object().unwrap_or(&none) {
        let text = value.as_str().unwrap_or_default();
        if (redact::is_secret_name(name) && text.len() >= 6 && !text.starts_with('/')) || redact::holds_secret(text) {
            let why = format!("E-SECRET-INLINE: no secret in a plan: write `{name}: null` to inherit it by name");
            found.push(Finding::error(&format!("{at}/env/{}", escape(name)), why));
        }
    }
    for part in ["server_command", "extra_args", "base_server_flags"] {
        if redact::holds_secret(&given[part].to_string()) {
            let why = "E-SECRET-INLINE: no secret in a plan: pass it by name in env";
            found.push(Finding::error(&format!("{at}/{part}"), why));
        }
    }
}
