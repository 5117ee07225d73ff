//! Whether a framework serves the plan's model at all, by what was read in its releases.

use super::context::CheckContext;
use super::finding::{Finding, Level};
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::architecture::{ModelArchitecture, Served, ServedModels};
use crate::engines::framework::Framework;
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::PlanCheck;

impl Plan {
    /// The architecture of the model that a framework serves, if it is a known one.
    #[must_use]
    pub fn architecture(&self, section: &FrameworkPlan) -> Option<&'static ModelArchitecture> {
        let model = section.model.as_ref().unwrap_or(&self.model);
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
    for section in plan.frameworks.iter().filter(|section| section.enabled && !context.any_version) {
        let framework = context.frameworks.get(&section.definition);
        let finding = framework.and_then(|framework| unserved(plan, section, framework));
        found.extend(finding);
    }
}

fn unserved(plan: &Plan, section: &FrameworkPlan, framework: &Framework) -> Option<Finding> {
    let architecture = plan.architecture(section)?;
    let served = ServedModels::of(&framework.name)?;
    let version = version(section, &plan.checked);
    let at = format!("/frameworks/{}", escape(&section.name));
    let (title, name) = (&framework.title, &architecture.name);
    let from = format!("{}, {}", served.source, served.date);
    let way_out = "set enabled: false, or use --any-version if yours does";
    match (served.serves(architecture, version.as_ref()), version) {
        (Served::Yes, _) => None,
        (Served::No, version) => {
            let version = version.map_or(String::new(), |version| format!(" {}", version.text()));
            let why = format!("{title}{version} does not serve {name} models ({from}): {way_out}");
            Some(Finding::key(Level::Error, &at, why))
        }
        (Served::NotYet, _) => {
            let last = served.checked.text();
            let why = format!("{title} up to {last} does not serve {name} models ({from}): {way_out}");
            Some(Finding::key(Level::Warning, &at, why))
        }
    }
}
