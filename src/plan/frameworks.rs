//! The frameworks of a plan against their definitions: launchers, knobs and their values, sequence limits, secrets.

use serde_json::Value;

use super::finding::{Finding, Level};
use super::framework_plan::launchers;
use super::read::Plan;
use super::shape::nearest;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Frameworks};
use crate::engines::launcher::resolve;
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{PlanCheck, Scenario, Verdicts};

/// Adds what is wrong with the frameworks of a plan of the right shape.
pub fn check(value: &Value, plan: &Plan, checked: &PlanCheck, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    for (name, given) in value["frameworks"].as_object().into_iter().flatten() {
        let at = format!("/frameworks/{}", escape(name));
        let definition = given["definition"].as_str().unwrap_or(name);
        let Some(framework) = frameworks.get(definition) else {
            let near = nearest(definition, frameworks.iter().map(|f| f.name.as_str()));
            let why = format!("there is no framework definition {definition:?}{near} (--frameworks DIR adds some)");
            found.push(Finding::key(Level::Error, &at, why));
            continue;
        };
        launcher(frameworks, given, &at, found);
        if let Err(why) = crate::base::shell::split(given["server_command"].as_str().unwrap_or_default()) {
            found.push(Finding::error(&format!("{at}/server_command"), why));
        }
        if let Some(version) = given["version"].as_str().filter(|version| FrameworkVersion::parse(version).is_none()) {
            found.push(Finding::error(&format!("{at}/version"), format!("{version:?} is not a version: 0.32.0, say")));
        }
        let captured = checked.validated_cli_flags.get(name).map(|check| &check.server);
        knobs(framework, given, &at, captured, found);
        for (knob, rule) in
            framework.fixed.iter().filter(|(knob, _)| given["search_space"].get(knob.as_str()).is_some())
        {
            let why = format!("{knob} is not searched: {}", rule.reason);
            found.push(Finding::error(&format!("{at}/search_space/{}", escape(knob)), why));
        }
        if plan.cache_reset() && framework.reset_path.is_none() && given["enabled"] != false {
            let why = format!(
                "cache: reset needs a path that empties the cache, and {} has none: leave it at unique_prompts",
                framework.title
            );
            found.push(Finding::error("/benchmark/cache", why));
        }
        sequence(plan, framework, given, &at, found);
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
    let place = |level: usize, key: &str| match &given["launcher"] {
        Value::Array(_) => format!("{at}/{level}/{key}"),
        _ => format!("{at}/{key}"),
    };
    for (level, (launcher, step)) in known.iter().zip(&steps).enumerate() {
        for need in launcher.missing(|need| step.options.contains_key(need) || given[need].is_string()) {
            let where_ = if need == "image" {
                "image: NAME".into()
            } else {
                format!("launcher: {{name: {}, {need}: …}}", launcher.name)
            };
            found.push(Finding::error(&at, format!("the launcher {} needs {need}: write `{where_}`", launcher.name)));
        }
        if let Some(host) = step.options.get("host").filter(|host| host.starts_with('-')) {
            found.push(Finding::error(&place(level, "host"), format!("the host {host:?} would be taken for a flag")));
        }
        if let Some(Err(why)) = step.options.get("options").map(|line| crate::base::shell::split(line)) {
            found.push(Finding::error(&place(level, "options"), format!("the options of {}: {why}", launcher.name)));
        }
    }
}

fn knobs(framework: &Framework, given: &Value, at: &str, captured: Option<&Verdicts>, found: &mut Vec<Finding>) {
    let list = given["candidates"].as_array().into_iter().flatten().enumerate();
    let list = list.map(|(i, changes)| (format!("candidates/{i}"), changes));
    let parts = ["base_server_flags", "search_space"].map(|part| (part.to_string(), &given[part]));
    for (part, members) in parts.into_iter().chain(list) {
        for (knob, values) in members.as_object().into_iter().flatten() {
            let pointer = format!("{at}/{part}/{}", escape(knob));
            let Some(described) = framework.knob(knob) else {
                // A capture knows better than the definition: it accepts the flag, or what it lacks was said.
                let flag = framework.flag(knob);
                if !captured.is_some_and(|help| help.accepted.contains(&flag) || help.unknown.contains(&flag)) {
                    let near = nearest(knob, framework.known_knobs());
                    let why = format!("{} has no knob {knob:?}{near}", framework.title);
                    found.push(Finding::key(Level::Error, &pointer, why));
                }
                continue;
            };
            if part != "search_space" {
                refuse(knob, described.refuses(values).filter(|_| !knob.contains('.')), values, &pointer, found);
                continue;
            }
            let values = values.as_array().map_or(&[] as &[Value], Vec::as_slice);
            if values.is_empty() {
                found.push(Finding::error(&pointer, format!("{knob} has no values to try")));
            }
            for (i, value) in values.iter().enumerate() {
                let pointer = format!("{pointer}/{i}");
                refuse(knob, described.refuses(value).filter(|_| !knob.contains('.')), value, &pointer, found);
                if values[..i].contains(value) {
                    found
                        .push(Finding::warning(&pointer, format!("{knob} {} stands twice", super::shape::said(value))));
                }
            }
        }
    }
}

/// A value of another type than the knob's.
fn refuse(knob: &str, why: Option<String>, value: &Value, pointer: &str, found: &mut Vec<Finding>) {
    if let Some(what) = why {
        found.push(Finding::error(pointer, format!("{knob} is {what}, found {}", super::shape::short(value))));
    }
}

/// The sequence limit must cover prompt and answer of every scenario, in the base and in every search value.
fn sequence(plan: &Plan, framework: &Framework, given: &Value, at: &str, found: &mut Vec<Finding>) {
    let Some(limit) = &framework.sequence_limit else { return };
    let Some(needed) = plan.scenarios.iter().filter_map(Scenario::longest).max() else { return };
    let values = |knob: &str| -> Vec<(String, u64)> {
        let base = given["base_server_flags"].get(knob).map(|v| (format!("{at}/base_server_flags/{knob}"), v.clone()));
        let search = given["search_space"].get(knob).and_then(Value::as_array).into_iter().flatten().enumerate();
        let search = search.map(|(i, v)| (format!("{at}/search_space/{knob}/{i}"), v.clone()));
        let list = given["candidates"].as_array().into_iter().flatten().enumerate();
        let list = list.filter_map(|(i, one)| Some((format!("{at}/candidates/{i}/{knob}"), one.get(knob)?.clone())));
        base.into_iter().chain(search).chain(list).filter_map(|(pointer, v)| Some((pointer, v.as_u64()?))).collect()
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
