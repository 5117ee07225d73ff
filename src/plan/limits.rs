//! SLA limits of a plan, of all scenarios and of single ones, and what scenarios count.

use serde_json::Value;

use super::finding::{Finding, Level};
use crate::metrics::sla::SCENARIOS;
use crate::rows::kinds::Scenario;
use crate::rows::words::Limit;

/// Prompts that a p99 needs before it can be confirmed: with none over the limit, at 95 % confidence.
const P99_PROMPTS: u64 = 299;

/// What is wrong with them.
pub fn check(plan: &Value, scenarios: &[Scenario], found: &mut Vec<Finding>) {
    for pointer in ["/sla", "/benchmark/sla"] {
        for (key, value) in plan.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
            let at = format!("{pointer}/{}", crate::base::yaml::escape(key));
            let Some(of_scenarios) = value.as_object().filter(|_| key == SCENARIOS) else {
                limit(plan, &at, key, value, found);
                continue;
            };
            for (name, limits) in of_scenarios {
                let at = format!("{at}/{}", crate::base::yaml::escape(name));
                known_scenario(name, &at, scenarios, found);
                for (key, value) in limits.as_object().into_iter().flatten() {
                    limit(plan, &format!("{at}/{}", crate::base::yaml::escape(key)), key, value, found);
                }
            }
        }
    }
    for (name, _) in plan.pointer("/dataset/weights").and_then(Value::as_object).into_iter().flatten() {
        known_scenario(name, &format!("/dataset/weights/{}", crate::base::yaml::escape(name)), scenarios, found);
    }
    if plan["sla"].is_object() && plan.pointer("/benchmark/sla").is_some() {
        found.push(Finding::error("/sla", "limits stand in sla and in benchmark.sla: keep one"));
    }
}

fn known_scenario(name: &str, at: &str, scenarios: &[Scenario], found: &mut Vec<Finding>) {
    if scenarios.iter().all(|scenario| scenario.name != name) {
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        let why = format!("there is no scenario {name}; there are {}", names.join(", "));
        found.push(Finding::key(Level::Error, at, why));
    }
}

fn limit(plan: &Value, at: &str, key: &str, value: &Value, found: &mut Vec<Finding>) {
    let limit = match Limit::parse(key) {
        Ok(limit) => limit,
        Err(why) => return found.push(Finding::key(Level::Error, at, why)),
    };
    // What is no number was said already, unless it is the map that only `scenarios` takes.
    if value.is_object() {
        return found.push(Finding::value(Level::Error, at, format!("{key} is a number")));
    }
    if let Err(why) = limit.takes(value.as_f64().unwrap_or_default()) {
        found.push(Finding::error(at, format!("{key} is {why}")));
    }
    let prompts =
        plan.pointer("/dataset/num_prompts").or(plan.pointer("/benchmark/num_prompts")).and_then(Value::as_u64);
    let prompts = prompts.unwrap_or(80);
    if key.contains("_p99_") && prompts < P99_PROMPTS {
        let why = format!(
            "W-P99-N: {prompts} prompts cannot confirm a p99 (it takes {P99_PROMPTS}): a pass will be called unconfirmed"
        );
        found.push(Finding::warning(at, why));
    }
}
