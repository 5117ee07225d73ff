//! A plan that has been read, and not yet checked: it is read once and may be checked again when more is known.

use serde_json::Value;

use super::command::MergedPlan;
use super::context::CheckContext;
use super::finding::{Finding, Level};
use super::read::Plan;
use super::spelling::{self, CorrectedPlan};
use super::{
    check, command, drafting, experts, fair, fit, flags, frameworks, heads, hub, keys, mounts, option_files,
    option_precedence, reach, rules, secrets, served, types, unexpanded, unmounted, visible,
};
use crate::engines::framework::Frameworks;
use crate::rows::words::FindingCode as Code;

/// A plan as its text says it.
pub struct PlanDraft {
    corrected: CorrectedPlan,
    /// Pointers to values of the wrong type.
    wrong: Vec<String>,
    /// Findings about keys and types.
    found: Vec<Finding>,
    /// What it means, unless it is no map at all.
    meaning: Option<PlanMeaning>,
}

/// What a plan says with its commands merged into it.
struct PlanMeaning {
    merged: MergedPlan,
    plan: Plan,
    /// Findings by their place in the merged plan.
    found: Vec<Finding>,
    /// Findings by their place in the file.
    in_file: Vec<Finding>,
}

impl PlanDraft {
    /// Reads a plan from the value of its file or row. `home` is the home folder of this process's user.
    #[must_use]
    pub fn read(value: &Value, frameworks: &Frameworks, home: Option<&str>) -> Self {
        let mut found = Vec::new();
        let corrected = spelling::correct(value, frameworks, &mut found);
        let mut typed = Vec::new();
        types::check(&corrected.value, &keys::WHOLE, "", &mut typed);
        let wrong: Vec<String> = typed.iter().map(|f| f.pointer.clone()).collect();
        found.extend(typed);
        // A value of the wrong type is not checked any further; everything else is.
        let whole = !wrong.iter().any(String::is_empty);
        let meaning =
            whole.then(|| PlanMeaning::read(&without_wrong_values(&corrected.value, &wrong), &wrong, frameworks, home));
        Self { corrected, wrong, found, meaning }
    }

    /// All findings, and the plan itself if none of them is an error.
    #[must_use]
    pub fn check(&self, context: &CheckContext) -> (Vec<Finding>, Option<Plan>) {
        let mut found = self.found.clone();
        let mut plan = None;
        if let Some(meaning) = &self.meaning {
            let (more, checked) = meaning.check(context);
            plan = Some(checked);
            found.extend(more.into_iter().filter(|f| !self.wrong.iter().any(|wrong| follows(&f.pointer, wrong))));
        }
        let plan = plan.filter(|_| found.iter().all(|f| f.level() != Level::Error));
        for finding in &mut found {
            if let Some(place) = self.corrected.place(&finding.pointer) {
                finding.pointer = place;
            }
        }
        (found, plan)
    }
}

impl PlanMeaning {
    fn read(value: &Value, wrong: &[String], frameworks: &Frameworks, home: Option<&str>) -> Self {
        let (mut found, mut in_file) = (Vec::new(), Vec::new());
        let merged = command::take_over(value, frameworks, &mut in_file);
        secrets::check(value, &mut in_file);
        let mut plan = Plan::read(&merged.value);
        for framework in &mut plan.frameworks {
            framework.command = merged.commands.get(&framework.name).cloned();
            mounts::fill_in(framework, frameworks, home, &mut found);
        }
        if wrong.iter().any(|wrong| wrong == "/hardware/gpu_count") {
            plan.hardware.gpu_count = None;
        }
        Self { merged, plan, found, in_file }
    }

    fn check(&self, context: &CheckContext) -> (Vec<Finding>, Plan) {
        let (mut found, mut plan) = (self.found.clone(), self.plan.clone());
        // An engine on the CPU does not use the GPUs of this host.
        if plan.hardware.gpu_model.is_none() && plan.hardware.gpu_count != Some(0) {
            plan.hardware.gpu_model.clone_from(&context.gpu);
            let note = context.gpu.as_ref().map(|gpu| ("hardware.gpu_model".to_string(), gpu.as_str().into()));
            plan.defaults.extend(note);
        }
        let value = &self.merged.value;
        check::check(value, &plan, context.frameworks, &mut found);
        unexpanded::check(&plan, &mut found);
        visible::check(&plan, context.frameworks, &mut found);
        let mut keys = Vec::new();
        reach::check(&plan, context.frameworks, &mut keys, &mut found);
        let checked = match &context.checked {
            Some(checked) => checked.clone(),
            None => {
                let mut checked = flags::check(&plan, context, &mut found);
                fair::check(&plan, context.frameworks, &mut checked, &mut found);
                fit::check(&plan, context, &mut found);
                experts::check(&plan, context, &mut found);
                heads::check(&plan, context, &mut found);
                hub::check(&plan, context, &mut found);
                option_files::check(&plan, context, &mut found);
                unmounted::check(&plan, context, &mut found);
                checked
            }
        };
        frameworks::check(value, &plan, &checked, context.frameworks, &mut found);
        plan.checked = checked;
        if context.checked.is_none() {
            served::check(&mut plan, context, &mut found);
            option_precedence::check(&plan, context, &mut found);
        }
        rules::check(&mut plan, context, &mut found);
        drafting::check(&plan, context.frameworks, &mut found);
        plan.substitute();
        for pointer in found.iter_mut().map(|finding| &mut finding.pointer).chain(&mut keys) {
            if let Some(place) = self.merged.place(pointer) {
                pointer.clone_from(place);
            }
        }
        // The finding about a server's API key says what to write instead of it.
        let said = |finding: &Finding| {
            finding.code == Code::SecretInline && keys.iter().any(|key| is_of_key(&finding.pointer, key))
        };
        found.extend(self.in_file.iter().filter(|finding| !said(finding)).cloned());
        (found, plan)
    }
}

/// True if a secret at `pointer` is the API key whose flag is at `key`: in it, in the word after it, or in both together.
fn is_of_key(pointer: &str, key: &str) -> bool {
    let word = key.rsplit_once('/').and_then(|(list, i)| Some((list, i.parse::<usize>().ok()?)));
    pointer == key || word.is_some_and(|(list, i)| pointer == list || pointer == format!("{list}/{}", i + 1))
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
