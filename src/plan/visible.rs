//! The GPUs that environment variables of a server name, against those that the plan counts.

use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use crate::base::shell;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Frameworks};
use crate::rows::words::FindingCode as Code;

/// The variables by which drivers and container runtimes show a program only some GPUs.
const VARIABLES: [&str; 5] = [
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
];

/// Adds a finding for each variable that leaves a server fewer GPUs than it takes, or others than the plan's.
pub fn check(plan: &Plan, frameworks: &Frameworks, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(frameworks).filter(|(_, framework)| !framework.simulated) {
        for (name, text) in &section.env {
            let Some(text) = text.as_ref().filter(|_| VARIABLES.contains(&name.as_str())) else { continue };
            if let Some(why) = conflict(plan, section, framework, frameworks, name, text) {
                let at = format!("/frameworks/{}/env/{name}", escape(&section.name));
                found.push(Finding::value(Code::Conflict, &at, why));
            }
        }
    }
}

fn conflict(
    plan: &Plan,
    section: &FrameworkPlan,
    framework: &Framework,
    frameworks: &Frameworks,
    name: &str,
    text: &str,
) -> Option<String> {
    let named = devices(text)?;
    // An engine on the CPU takes none.
    let budget = u64::from(plan.hardware.gpu_count.filter(|n| *n > 0)?);
    let takes = taken(plan, section, framework, budget);
    if let Some(own) = plan.hardware.visible_devices.as_deref().and_then(devices) {
        let same = own.len() == named.len() && own.iter().all(|device| named.contains(device));
        return (!same)
            .then(|| format!("{name} is {text}, but hardware.visible_devices is {}: keep one", own.join(",")));
    }
    let n = named.len() as u64;
    if n < takes {
        let way_out = match n {
            0 => "remove it, or set hardware.gpu_count: 0 for an engine on the CPU".to_string(),
            _ => format!("set hardware.gpu_count: {n}, or name {takes}"),
        };
        return Some(format!("{name} shows the server {n} of the {takes} GPUs it takes: {way_out}"));
    }
    // Behind a launcher that hands out the GPUs, others than the first are not there.
    let step = section.launcher.last()?;
    let options = step.options.get("options").and_then(|line| shell::split(line).ok()).unwrap_or_default();
    let launcher = frameworks.launchers().get(&step.name).filter(|launcher| launcher.renumbers_gpus(&options))?;
    let outside = named.iter().find(|device| device.parse::<u64>().map_or(true, |index| index >= budget))?;
    Some(format!(
        "{name} names GPU {outside}, but launcher {} shows the server {budget}, numbered from 0: write \
         hardware.visible_devices: \"{text}\" instead",
        launcher.name
    ))
}

/// The devices of a list; `None` for all of them, or a list that only the environment knows.
fn devices(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if text == "all" || text.contains('$') {
        return None;
    }
    // What follows an invalid index is hidden.
    let names = text.split(',').map(|name| name.trim().to_string());
    Some(names.take_while(|name| !["", "-1", "none", "void", "NoDevFiles"].contains(&name.as_str())).collect())
}

/// The number of GPUs that the largest of its servers takes, as far as one knob at a time shows.
fn taken(plan: &Plan, section: &FrameworkPlan, framework: &Framework, budget: u64) -> u64 {
    let base = plan.base(section, framework);
    let Some(own) = framework.parallelism.gpus(&base) else { return budget };
    let searched = section.space.iter().filter(|(knob, _)| framework.parallelism.multiply.contains(knob));
    let searched = searched.flat_map(|(knob, values)| values.iter().map(move |value| (knob, value)));
    let varied = searched.filter_map(|(knob, value)| {
        let mut flags = base.clone();
        flags.insert(knob.clone(), value.clone());
        framework.parallelism.gpus(&flags)
    });
    varied.filter(|gpus| *gpus <= budget).fold(own, u64::max)
}

#[cfg(test)]
mod tests {
    use super::devices;

    #[test]
    fn devices_of_a_list() {
        let of = |text: &str| devices(text).map(|all| all.join("|"));
        for (text, named) in [
            ("0,1", Some("0|1")),
            (" 2 , 3 ", Some("2|3")),
            ("", Some("")),
            ("-1", Some("")),
            ("0,-1,2", Some("0")),
            ("none", Some("")),
            ("GPU-8f2a,MIG-1", Some("GPU-8f2a|MIG-1")),
            ("all", None),
            ("$GPUS", None),
        ] {
            assert_eq!(of(text).as_deref(), named, "{text}");
        }
    }
}
