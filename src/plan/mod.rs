//! Plans: which keys there are, what they may hold, what is wrong with one.

pub mod check;
mod command;
mod context;
pub mod expand;
mod fair;
mod finding;
mod fit;
mod flags;
mod framework_plan;
mod frameworks;
mod limits;
mod members;
mod model;
mod read;
mod rules;
mod secrets;
pub mod shape;

use serde_json::Value;

pub use self::command::Command;
pub use self::context::{CheckContext, UnknownFlags};
pub use self::finding::{Finding, Level};
pub use self::fit::memory_gb;
pub use self::flags::MISSING_WAY_OUT;
pub use self::framework_plan::FrameworkPlan;
pub use self::members::nested;
pub use self::model::{ModelFacts, parameters};
pub use self::read::{DEFAULT_QPS, Plan};
pub use self::rules::{Refusal, is_smoke, refusal, too_short};

/// Checks a plan as its file or row gives it, all findings at once; the plan itself when none of them is an error.
pub fn load(value: &Value, known: &CheckContext) -> (Vec<Finding>, Option<Plan>) {
    let mut found = Vec::new();
    shape::check(value, &shape::PLAN, "", &mut found);
    let wrong: Vec<String> = found.iter().filter(|f| !f.key).map(|f| f.pointer.clone()).collect();
    // What is not even shaped right would be found again in other words: it is looked at no further, the rest is.
    if !wrong.iter().any(String::is_empty) {
        let value = sound(value, &wrong);
        let mut more = Vec::new();
        let plan = meaning(&value, &wrong, known, &mut more);
        found.extend(more.into_iter().filter(|f| !wrong.iter().any(|wrong| follows(&f.pointer, wrong))));
        if found.iter().all(|f| f.level != Level::Error) {
            return (found, Some(plan));
        }
    }
    (found, None)
}

/// True when a finding at `pointer` only follows from the value of a wrong type at `wrong`: it is about that, or about a map
/// that cannot be judged without it.
fn follows(pointer: &str, wrong: &str) -> bool {
    if wrong.starts_with("/dataset/output_len") && pointer == "/dataset/input_len" {
        return true;
    }
    let decides = ["lower", "upper", "path", "model_path", "name", "id", "rate"];
    let (map, key) = wrong.rsplit_once('/').unwrap_or(("", wrong));
    format!("{pointer}/").starts_with(&format!("{wrong}/")) || (pointer == map && decides.contains(&key))
}

fn meaning(value: &Value, wrong: &[String], known: &CheckContext, found: &mut Vec<Finding>) -> Plan {
    let mut as_given = Vec::new();
    let taken = command::take_over(value, known.frameworks, &mut as_given);
    secrets::check(value, &mut as_given);
    let value = &taken.value;
    let mut plan = Plan::read(value);
    for given in &mut plan.frameworks {
        given.command = taken.commands.get(&given.name).cloned();
    }
    if wrong.iter().any(|wrong| wrong == "/hardware/gpu_count") {
        plan.hardware.gpu_count = None;
    }
    // An engine on the CPU runs on no GPU, whatever this host has.
    if plan.hardware.gpu_model.is_none() && plan.hardware.gpu_count != Some(0) {
        plan.hardware.gpu_model.clone_from(&known.gpu);
        let note = known.gpu.as_ref().map(|gpu| ("hardware.gpu_model".to_string(), gpu.as_str().into()));
        plan.defaults.extend(note);
    }
    check::check(value, &plan, known.frameworks, found);
    let checked = match &known.checked {
        Some(checked) => checked.clone(),
        None => {
            let mut checked = flags::check(&plan, known, found);
            fair::check(&plan, known.frameworks, &mut checked, found);
            fit::check(&plan, known, found);
            checked
        }
    };
    frameworks::check(value, &plan, &checked, known.frameworks, found);
    plan.checked = checked;
    rules::check(&mut plan, known, found);
    plan.substitute();
    for finding in &mut *found {
        if let Some(place) = taken.place(&finding.pointer) {
            finding.pointer.clone_from(place);
        }
    }
    found.extend(as_given);
    plan
}

/// The plan without what is wrong in it, and without the nulls that mean nothing.
fn sound(value: &Value, wrong: &[String]) -> Value {
    let mut value = value.clone();
    for pointer in wrong {
        if let Some(place) = value.pointer_mut(pointer) {
            *place = Value::Null;
        }
    }
    let plain = ["model", "hardware", "dataset", "benchmark", "search", "sla"];
    for (key, section) in value.as_object_mut().into_iter().flatten() {
        if let Some(members) = section.as_object_mut().filter(|_| plain.contains(&key.as_str())) {
            members.retain(|key, value| !value.is_null() || key == "max_concurrency");
        }
    }
    value.as_object_mut().into_iter().for_each(|all| all.retain(|_, value| !value.is_null()));
    value
}
