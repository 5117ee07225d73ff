//! Mounts: the home folder in them, which no shell expands between a plan and its container, and where they are in it.

use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use crate::base::shell;
use crate::base::yaml::escape;
use crate::engines::framework::Frameworks;
use crate::rows::words::{FindingCode as Code, ReachedBy};

/// How people write their home folder.
const HOME: [&str; 3] = ["~", "$HOME", "${HOME}"];

/// Fills in the home folder, and adds findings about mounts in which it is, or in which other variables are.
pub fn fill_in(section: &mut FrameworkPlan, frameworks: &Frameworks, home: Option<&str>, found: &mut Vec<Finding>) {
    let launchers = section.launcher.iter().filter_map(|step| frameworks.launchers().get(&step.name));
    let elsewhere = launchers.into_iter().any(|launcher| launcher.reached_by != ReachedBy::SameHost);
    for (i, mount) in section.mounts.iter_mut().enumerate() {
        let at = format!("/frameworks/{}/mounts/{i}", escape(&section.name));
        let behind =
            |word: &&str| mount.strip_prefix(*word).filter(|rest| rest.is_empty() || rest.starts_with(['/', ':']));
        let written = HOME.iter().find_map(|word| Some((*word, behind(word)?.to_string())));
        match (written, home) {
            (Some((word, _)), _) if elsewhere => {
                let why = format!("{word} in mounts is not replaced on another host: write the path");
                found.push(Finding::value(Code::Mount, &at, why));
            }
            (Some((word, _)), None) => {
                let why = format!("{word} in mounts cannot be replaced, because HOME is not set: write the path");
                found.push(Finding::value(Code::Mount, &at, why));
            }
            (Some((word, rest)), Some(home)) => {
                let why = format!("{word} in mounts is replaced by the home folder of the user who runs bench-expand");
                found.push(Finding::value(Code::MountHome, &at, why));
                *mount = format!("{home}{rest}");
            }
            (None, _) if mount.starts_with('~') || mount.contains('$') => {
                let why = "variables in mounts are not replaced, except for $HOME: write the path";
                found.push(Finding::value(Code::Mount, &at, why));
            }
            (None, _) => {}
        }
    }
}

/// The paths in a container at which something of its host is: those of its mounts, and of the launcher's options.
pub fn targets(section: &FrameworkPlan) -> Vec<String> {
    let line = section.launcher.last().and_then(|step| step.options.get("options"));
    let options = line.and_then(|line| shell::split(line).ok()).unwrap_or_default();
    let volume = |i: usize, word: &String| match word.split_once('=') {
        Some(("--volume" | "--mount", value)) => Some(value.to_string()),
        _ if ["-v", "--volume", "--mount"].contains(&word.as_str()) => options.get(i + 1).cloned(),
        _ => None,
    };
    let given = options.iter().enumerate().filter_map(|(i, word)| volume(i, word));
    let target = |mount: String| {
        let option = mount
            .split(',')
            .find_map(|part| ["target=", "dst=", "destination="].iter().find_map(|key| part.strip_prefix(key)));
        option.or_else(|| mount.split(':').nth(1)).map(String::from)
    };
    section.mounts.iter().cloned().chain(given).filter_map(target).collect()
}
