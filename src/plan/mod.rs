//! Plans: their keys and values, and the checks of a plan.

pub mod check;
pub mod command;
mod context;
mod document;
pub mod expand;
mod experts;
pub mod explain;
mod fair;
mod finding;
mod fit;
mod flags;
mod framework_plan;
mod frameworks;
pub mod keys;
mod limits;
mod members;
mod model;
mod mounts;
mod named;
mod option_files;
mod option_precedence;
mod reach;
mod read;
mod refusal;
mod rules;
mod secrets;
mod served;
pub mod shape;
mod spelling;
mod types;
mod unexpanded;
mod unknown;
mod visible;

use serde_json::Value;

pub use self::command::Command;
pub use self::context::{CheckContext, UnknownFlags};
pub use self::experts::proposal as expert_proposal;
pub use self::finding::{Finding, Level};
pub use self::flags::MISSING_WAY_OUT;
pub use self::framework_plan::FrameworkPlan;
pub use self::keys::{DEFAULT_QPS, DEFAULT_USERS};
pub use self::members::nested;
pub use self::model::{ModelFacts, parameters};
pub use self::named::NamedSize;
pub use self::read::Plan;
pub use self::refusal::{Refusal, is_smoke, refusal, too_short};

/// Checks a plan as read from its file or row: all findings, and the plan itself if none of them is an error.
pub fn load(value: &Value, context: &CheckContext) -> (Vec<Finding>, Option<Plan>) {
    let mut found = Vec::new();
    let corrected = spelling::correct(value, context.frameworks, &mut found);
    let mut typed = Vec::new();
    types::check(&corrected.value, &keys::WHOLE, "", &mut typed);
    let wrong: Vec<String> = typed.iter().map(|f| f.pointer.clone()).collect();
    found.extend(typed);
    let mut plan = None;
    // A value of the wrong type is not checked any further; everything else is.
    if !wrong.iter().any(String::is_empty) {
        let value = without_wrong_values(&corrected.value, &wrong);
        let mut more = Vec::new();
        plan = Some(check_meaning(&value, &wrong, context, &mut more));
        found.extend(more.into_iter().filter(|f| !wrong.iter().any(|wrong| follows(&f.pointer, wrong))));
    }
    let plan = plan.filter(|_| found.iter().all(|f| f.level() != Level::Error));
    for finding in &mut found {
        if let Some(place) = corrected.place(&finding.pointer) {
            finding.pointer = place;
        }
    }
    (found, plan)
}

/// True when a finding at `pointer` is only a consequence of the wrong value at `wrong`: it is about that value, or about
/// something that cannot be checked without it.
fn follows(pointer: &str, wrong: &str) -> bool {
    let depends = match wrong {
        "/dataset/kind" => pointer.starts_with("/dataset/"),
        "/dataset/pairing" => ["/dataset/input_len", "/dataset/scenario_names"].contains(&pointer),
        "/search/strategy" | "/search/candidate_generation" => pointer.ends_with("/candidates"),
        _ => wrong.starts_with("/dataset/output_len") && pointer == "/dataset/input_len",
    };
    let deciding = ["lower", "upper", "path", "model_path", "name", "id", "rate"];
    let (map, key) = wrong.rsplit_once('/').unwrap_or(("", wrong));
    depends || format!("{pointer}/").starts_with(&format!("{wrong}/")) || (pointer == map && deciding.contains(&key))
}

fn check_meaning(value: &Value, wrong: &[String], context: &CheckContext, found: &mut Vec<Finding>) -> Plan {
    let mut in_file = Vec::new();
    let merged = command::take_over(value, context.frameworks, &mut in_file);
    secrets::check(value, &mut in_file);
    let value = &merged.value;
    let mut plan = Plan::read(value);
    for framework in &mut plan.frameworks {
        framework.command = merged.commands.get(&framework.name).cloned();
        mounts::fill_in(framework, context.frameworks, context.home.as_deref(), found);
    }
    if wrong.iter().any(|wrong| wrong == "/hardware/gpu_count") {
        plan.hardware.gpu_count = None;
    }
    // An engine on the CPU does not use the GPUs of this host.
    if plan.hardware.gpu_model.is_none() && plan.hardware.gpu_count != Some(0) {
        plan.hardware.gpu_model.clone_from(&context.gpu);
        let note = context.gpu.as_ref().map(|gpu| ("hardware.gpu_model".to_string(), gpu.as_str().into()));
        plan.defaults.extend(note);
    }
    check::check(value, &plan, context.frameworks, found);
    unexpanded::check(&plan, found);
    visible::check(&plan, context.frameworks, found);
    reach::check(&plan, context.frameworks, found);
    let checked = match &context.checked {
        Some(checked) => checked.clone(),
        None => {
            let mut checked = flags::check(&plan, context, found);
            fair::check(&plan, context.frameworks, &mut checked, found);
            fit::check(&plan, context, found);
            experts::check(&plan, context, found);
            option_files::check(&plan, context, found);
            checked
        }
    };
    frameworks::check(value, &plan, &checked, context.frameworks, found);
    plan.checked = checked;
    if context.checked.is_none() {
        served::check(&mut plan, context, found);
        option_precedence::check(&plan, context, found);
    }
    rules::check(&mut plan, context, found);
    plan.substitute();
    for finding in &mut *found {
        if let Some(place) = merged.place(&finding.pointer) {
            finding.pointer.clone_from(place);
        }
    }
    found.extend(in_file);
    plan
}

/// The plan without its wrongly typed values, and without nulls where null means the same as absent.
fn without_wrong_values(value: &Value, wrong: &[String]) -> Value {
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
