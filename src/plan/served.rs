//! Whether a framework serves the plan's model at all, by what was read in its releases.

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::architecture::{ModelArchitecture, Served, ServedModels};
use crate::engines::framework::Framework;
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::{PlanCheck, Rejection};
use crate::rows::words::FindingCode as Code;

impl Plan {
    /// The architecture of the model that a framework serves, if it is a known one.
    #[must_use]
    pub fn architecture(&self, section: &FrameworkPlan) -> Option<&'static ModelArchitecture> {
        let model = self.model_of(section);
        match self.checked.architectures.get(model) {
            Some(name) => ModelArchitecture::get(name),
            None => ModelArchitecture::named(model),
        }
    }
}

/// The version of a framework that the plan states or its captured help tells.
pub fn version(section: &FrameworkPlan, checked: &PlanCheck) -> Option<FrameworkVersion> {
    let captured = checked.validated_cli_flags.get(&section.name).and_then(|check| check.version.as_deref());
    section.version.as_deref().or(captured).and_then(FrameworkVersion::parse)
}

/// Records the architectures that the models' own files tell, and adds findings about frameworks that do not serve them.
pub fn check(plan: &mut Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (model, facts) in context.models.iter().filter(|(_, facts)| !facts.classes.is_empty()) {
        let name = ModelArchitecture::of(model, &facts.classes).map_or("", |own| own.name.as_str());
        plan.checked.architectures.insert(model.clone(), name.into());
    }
    let mut rejections = Vec::new();
    for section in plan.frameworks.iter().filter(|section| section.enabled && !context.any_version) {
        let framework = context.frameworks.get(&section.definition);
        let Some((served, why)) = framework.and_then(|framework| unserved(plan, section, framework)) else { continue };
        let at = format!("/frameworks/{}", escape(&section.name));
        let way_out = "set enabled: false, or use --any-version if yours does";
        found.push(match served {
            Served::No if context.allow_missing => {
                let framework = section.name.clone();
                rejections.push(Rejection { framework, knob: None, value: None, reason: why.clone() });
                Finding::key(Code::ModelDoubtful, &at, format!("{why}; its candidates are skipped"))
            }
            Served::No => Finding::key(Code::ModelUnserved, &at, format!("{why}: {way_out}; --allow-missing skips it")),
            Served::NotYet | Served::Yes => Finding::key(Code::ModelDoubtful, &at, format!("{why}: {way_out}")),
        });
    }
    plan.checked.rejections.extend(rejections);
}

/// Why a framework does not serve the model, and whether that is sure; `None` if it does.
fn unserved(plan: &Plan, section: &FrameworkPlan, framework: &Framework) -> Option<(Served, String)> {
    let architecture = plan.architecture(section)?;
    let read = ServedModels::of(&framework.name)?;
    let version = version(section, &plan.checked);
    let served = read.serves(architecture, version.as_ref());
    let release = match (served, version) {
        (Served::Yes, _) => return None,
        (Served::No, Some(version)) => version.text().to_string(),
        (Served::No | Served::NotYet, _) => format!("up to {}", read.checked.text()),
    };
    let (title, name) = (&framework.title, &architecture.name);
    Some((served, format!("{title} {release} does not serve {name} models ({}, {})", read.source, read.date)))
}
