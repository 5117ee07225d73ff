//! SLA limits of a plan, for all scenarios and for single ones, and the weights of scenarios.

use serde_json::Value;

use super::finding::{Finding, Level};
use crate::metrics::sla::SCENARIOS;
use crate::rows::kinds::Scenario;
use crate::rows::words::Limit;

/// Number of prompts needed to confirm a p99 at 95 % confidence, if none of them exceeds the limit.
const P99_PROMPTS: u64 = 299;

/// Adds findings about SLA limits and scenario weights.
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
        found.push(Finding::error("/sla", "limits are set in both sla and benchmark.sla: keep one"));
    }
}

fn known_scenario(name: &str, at: &str, scenarios: &[Scenario], found: &mut Vec<Finding>) {
    if scenarios.iter().all(|scenario| scenario.name != name) {
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        let why = format!("unknown scenario {name}; known: {}", names.join(", "));
        found.push(Finding::key(Level::Error, at, why));
    }
}

fn limit(plan: &Value, at: &str, key: &str, value: &Value, found: &mut Vec<Finding>) {
    let limit = match Limit::parse(key) {
        Ok(limit) => limit,
        Err(why) => return found.push(Finding::key(Level::Error, at, why)),
    };
    // Other types were already reported; a map is only allowed under `scenarios`.
    if value.is_object() {
        return found.push(Finding::value(Level::Error, at, format!("{key} must be a number")));
    }
    if let Err(why) = limit.takes(value.as_f64().unwrap_or_default()) {
        found.push(Finding::error(at, format!("{key} must be {why}")));
    }
    let prompts =
        plan.pointer("/dataset/num_prompts").or(plan.pointer("/benchmark/num_prompts")).and_then(Value::as_u64);
    let prompts = prompts.unwrap_or(80);
    if key.contains("_p99_") && prompts < P99_PROMPTS {
        let why = format!(
            "W-P99-N: {prompts} prompts cannot confirm a p99 ({P99_PROMPTS} needed): a pass will be reported as not confirmed"
        );
        found.push(Finding::warning(at, why));
    }
}
