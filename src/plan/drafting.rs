//! Findings about speculative decoding: drafts for generated prompts, and acceptance lengths that are forced.

use super::finding::Finding;
use super::framework_plan::{FrameworkPlan, KnobSetting};
use super::members::nested;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Frameworks};
use crate::rows::kinds::{Members, Scenario};
use crate::rows::words::FindingCode as Code;

/// Where a plan says which length is forced.
const LENGTH: &str = "/benchmark/acceptance_length";

/// The longest draft of any framework, and the model's own token.
const LONGEST: f64 = 129.0;

/// Adds these findings.
pub fn check(plan: &Plan, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    if plan.acceptance_length.is_some_and(|length| length <= 1.0 || length > LONGEST) {
        let why = "acceptance_length must be above 1 and at most 129: it counts the model's own token, so at 1 no draft is accepted";
        found.push(Finding::value(Code::Range, LENGTH, why));
    }
    let made_up = plan.scenarios.iter().any(Scenario::is_made_up);
    let mut is_drafting = false;
    for (section, framework) in plan.enabled(frameworks) {
        forced_by_hand(section, framework, found);
        let Some(pointer) = drafting(section, framework) else { continue };
        is_drafting = true;
        let forces = framework.speculation.as_ref().is_some_and(|style| style.force.is_some());
        let title = &framework.title;
        let why = match (plan.acceptance_length, forces) {
            (None, _) if made_up => {
                "the drafts of generated prompts are accepted as those of no real prompt, so results of candidates that draft tokens are not ranked: use a data set, or give benchmark.acceptance_length".to_string()
            }
            (Some(_), false) if made_up => {
                format!("{title} cannot force an acceptance length, so results of its candidates that draft tokens are not ranked: use a data set")
            }
            (Some(_), false) => format!("{title} cannot force an acceptance length: its drafts are accepted as its model does"),
            (None, _) | (Some(_), true) => continue,
        };
        found.push(Finding::value(Code::Drafts, &pointer, why));
    }
    if plan.acceptance_length.is_some() && !is_drafting {
        let why = "acceptance_length has no effect: no candidate of this plan drafts tokens";
        found.push(Finding::value(Code::NoEffectWarning, LENGTH, why));
    }
}

/// The first setting with which some candidate drafts tokens.
fn drafting(section: &FrameworkPlan, framework: &Framework) -> Option<String> {
    let style = framework.speculation.as_ref()?;
    let all = section.settings();
    let drafts = |one: &&KnobSetting| alone(one).is_some_and(|flags| framework.is_drafting(&flags));
    all.iter().filter(|one| is_root_of(one.knob, &style.set_by)).find(drafts).map(KnobSetting::pointer)
}

/// True if a knob is one of these, or has one of them in its map.
fn is_root_of<'a>(knob: &str, paths: impl IntoIterator<Item = &'a String>) -> bool {
    let root = |path: &'a str| path.split('.').next();
    paths.into_iter().any(|path| root(path) == knob.split('.').next())
}

/// A setting as flags of its own, with dotted knobs in their maps.
fn alone(one: &KnobSetting) -> Option<Members> {
    nested(&Members::from_iter([(one.knob.to_string(), one.value.clone())])).ok()
}

/// Results have to say that a length was forced.
fn forced_by_hand(section: &FrameworkPlan, framework: &Framework, found: &mut Vec<Finding>) {
    let none = std::collections::BTreeMap::new();
    let mut wrong = |setting: String, pointer: &str| {
        let why = format!(
            "{setting} forces an acceptance length: give benchmark.acceptance_length instead, so that results are labelled and held to it"
        );
        found.push(Finding::value(Code::Conflict, pointer, why));
    };
    let Some(force) = framework.speculation.as_ref().and_then(|style| style.force.as_ref()) else { return };
    for one in section.settings().iter().filter(|one| is_root_of(one.knob, force.flags.keys())) {
        if let Some(setting) = alone(one).and_then(|flags| framework.forced_by(&flags, &none)) {
            wrong(setting, &one.pointer());
        }
    }
    if let Some(name) = framework.forced_by(&Members::new(), &section.env) {
        let pointer = format!("/frameworks/{}/env/{}", escape(&section.name), escape(&name));
        wrong(name, &pointer);
    }
}
