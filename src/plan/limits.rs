//! SLA limits of a plan, for all scenarios and for single ones, and the weights of scenarios.

use serde_json::Value;

use super::finding::Finding;
use super::keys;
use super::shape::short;
use crate::metrics::sla::SCENARIOS;
use crate::rows::kinds::Scenario;
use crate::rows::words::{FindingCode as Code, Limit, Statistic};

/// Number of prompts needed to confirm a p99 at 95 % confidence, if none of them exceeds the limit.
const P99_PROMPTS: u64 = 299;

/// Adds findings about SLA limits and scenario weights.
pub fn check(plan: &Value, scenarios: &[Scenario], found: &mut Vec<Finding>) {
    for pointer in ["/sla", "/benchmark/sla"] {
        for (key, value) in plan.pointer(pointer).and_then(Value::as_object).into_iter().flatten() {
            let at = format!("{pointer}/{}", crate::base::yaml::escape(key));
            if key != SCENARIOS {
                limit(plan, &at, key, value, found);
                continue;
            }
            let Some(of_scenarios) = value.as_object() else {
                let why = format!("sla.{SCENARIOS} must be a map, got {}", short(value));
                found.push(Finding::value(Code::Type, &at, why));
                continue;
            };
            for (name, limits) in of_scenarios {
                let at = format!("{at}/{}", crate::base::yaml::escape(name));
                known_scenario(name, &at, scenarios, found);
                if !limits.is_object() {
                    let why = format!("sla.{SCENARIOS}.{name} must be a map of limits, got {}", short(limits));
                    found.push(Finding::value(Code::Type, &at, why));
                }
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
        found.push(Finding::value(Code::TwoPlaces, "/sla", "limits are set in both sla and benchmark.sla: keep one"));
    }
}

fn known_scenario(name: &str, at: &str, scenarios: &[Scenario], found: &mut Vec<Finding>) {
    if scenarios.iter().all(|scenario| scenario.name != name) {
        let names: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
        let why = format!("unknown scenario {name}; known: {}", names.join(", "));
        found.push(Finding::key(Code::Scenario, at, why));
    }
}

fn limit(plan: &Value, at: &str, key: &str, value: &Value, found: &mut Vec<Finding>) {
    let limit = Limit::parse(key).map_err(|why| found.push(Finding::key(Code::SlaKey, at, why)));
    let Some(limit) = limit.ok().or_else(|| Limit::meant(key)) else { return };
    let unit = if limit.is_floor() { "a share between 0 and 1" } else { "a number in ms" };
    let Some(threshold) = value.as_f64() else {
        let instead =
            value.as_str().and_then(|text| number(text, limit)).map_or(String::new(), |n| format!(": write {n}"));
        let why = format!("{key} must be {unit}, got {}{instead}", short(value));
        return found.push(Finding::value(Code::SlaValue, at, why));
    };
    if let Err(why) = limit.takes(threshold) {
        found.push(Finding::value(Code::SlaValue, at, format!("{key} must be {why}")));
    }
    let prompts =
        plan.pointer("/dataset/num_prompts").or(plan.pointer("/benchmark/num_prompts")).and_then(Value::as_u64);
    let prompts = prompts.or(keys::default_at("/benchmark/num_prompts").as_u64()).unwrap_or_default();
    let is_p99 = Limit::known(key).and_then(Limit::quantile) == Statistic::P99.quantile();
    if is_p99 && prompts < P99_PROMPTS {
        let why = format!(
            "{prompts} prompts cannot confirm a p99 ({P99_PROMPTS} needed): a pass will be reported as not confirmed"
        );
        found.push(Finding::value(Code::P99N, at, why));
    }
}

/// The number of a text with a unit, in the unit of the limit: `2s` is 2000 ms, `99%` a share of 0.99.
fn number(text: &str, limit: Limit) -> Option<f64> {
    let text = text.trim();
    let (digits, times) = match (text.strip_suffix("ms"), text.strip_suffix('s'), text.strip_suffix('%')) {
        (Some(digits), _, _) if !limit.is_floor() => (digits, 1.0),
        (None, Some(digits), _) if !limit.is_floor() => (digits, 1000.0),
        (_, _, Some(digits)) if limit.is_floor() => (digits, 0.01),
        _ => (text, 1.0),
    };
    digits.trim().parse::<f64>().ok().map(|n| n * times).filter(|n| n.is_finite())
}
