//! Paths of this host that a new container does not see: the server would not find its model, or its option file.

use std::path::Path;

use serde_json::Value;

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::mounts;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::rows::words::{FindingCode as Code, ReachedBy};

/// Warns about paths of this host in the commands of new containers that no mount brings there.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(context.frameworks) {
        let launchers = section.launcher.iter().filter_map(|step| context.frameworks.launchers().get(&step.name));
        let launchers: Vec<_> = launchers.collect();
        let is_new = launchers.last().is_some_and(|launcher| launcher.lists.contains_key("mounts"));
        // The folders of another host are not those of this one.
        let is_here = launchers.iter().all(|launcher| launcher.reached_by == ReachedBy::SameHost);
        if !is_new || !is_here || section.image.is_none() {
            continue;
        }
        let targets = mounts::targets(section);
        let seen = |path: &str| targets.iter().any(|target| Path::new(path).starts_with(target));
        let mut missing: Vec<String> = Vec::new();
        for path in paths(plan, section) {
            let known = missing.iter().any(|other| Path::new(&path).starts_with(other));
            if context.paths.contains(&path) && !seen(&path) && !known {
                missing.push(path);
            }
        }
        let at = format!("/frameworks/{}", escape(&section.name));
        if !missing.is_empty() {
            let mounts: Vec<String> = missing.iter().map(|path| format!("{path}:{path}:ro")).collect();
            let (what, mounts) = (missing.join(" and "), Value::from(mounts));
            let why = format!("the {} container has no {what} of this host: set mounts: {mounts}", framework.title);
            found.push(Finding::value(Code::Unmounted, &format!("{at}/image"), why));
        }
        // A relative path is one of the folder that the image begins in.
        for setting in section.settings().iter().filter(|setting| framework.option_files.contains_key(setting.knob)) {
            let path =
                setting.value.as_str().filter(|path| !path.starts_with('/') && context.options.contains_key(*path));
            if let Some(path) = path {
                let why = format!(
                    "the {} container has no {path} of this host: write its content as a map after {}, or mount it and write its whole path",
                    framework.title, setting.knob
                );
                found.push(Finding::value(Code::Unmounted, &setting.pointer(), why));
            }
        }
    }
}

/// The absolute paths in the command of a server.
fn paths(plan: &Plan, section: &FrameworkPlan) -> Vec<String> {
    let own = section.command.iter();
    let model = plan.model_of(section);
    let given: Vec<&String> = own.clone().filter_map(|own| own.model.as_ref()).flatten().collect();
    let model = if given.is_empty() { vec![model] } else { given };
    let rest = own.flat_map(|own| &own.rest).chain(&section.extra_args);
    let words = model.into_iter().chain(rest).map(|word| word.rsplit('=').next().unwrap_or(word).to_string());
    let settings = section.settings();
    let values = settings.iter().filter_map(|setting| setting.value.as_str()).map(String::from);
    words.chain(values).filter(|path| path.starts_with('/')).collect()
}
