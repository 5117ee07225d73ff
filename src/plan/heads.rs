//! Whether GPUs can share the attention of a model: each needs whole heads of it, or the server does not start.

use serde_json::Value;

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::framework::Framework;
use crate::rows::kinds::Members;
use crate::rows::words::FindingCode as Code;

/// Warns about degrees of tensor parallelism that do not divide the attention heads of a model, in baselines and in the search.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(context.frameworks).filter(|(_, framework)| !framework.simulated) {
        let Some(facts) = context.facts(plan.model_of(section)) else { continue };
        let Some(heads) = facts.heads else { continue };
        found.extend(of_section(plan, section, framework, heads));
    }
}

fn of_section(plan: &Plan, section: &FrameworkPlan, framework: &Framework, heads: u64) -> Vec<Finding> {
    let Some(tensor) = &framework.parallelism.tensor else { return Vec::new() };
    let at = format!("/frameworks/{}", escape(&section.name));
    let base = plan.base(section, framework);
    let of_base = uneven(framework, tensor, &base, heads).map(|why| {
        let place = if section.base.contains_key(tensor) { format!("/{}", escape(tensor)) } else { String::new() };
        Finding::value(Code::Heads, &format!("{at}/base_server_flags{place}"), why)
    });
    let values = section.space.iter().find(|(knob, _)| knob == tensor).map_or(&[] as &[Value], |(_, values)| values);
    let of_search =
        values.iter().enumerate().filter(|(_, value)| base.get(tensor) != Some(value)).filter_map(|(i, value)| {
            let mut flags = base.clone();
            flags.insert(tensor.clone(), value.clone());
            let why = uneven(framework, tensor, &flags, heads)?;
            Some(Finding::value(Code::Heads, &format!("{at}/search_space/{}/{i}", escape(tensor)), why))
        });
    of_base.into_iter().chain(of_search).collect()
}

/// Why a server with these flags cannot share so many heads.
fn uneven(framework: &Framework, tensor: &str, flags: &Members, heads: u64) -> Option<String> {
    let parallel = &framework.parallelism;
    let degree = flags.get(tensor)?.as_u64()?;
    // Groups of GPUs that attend to different requests.
    let groups = parallel.multiply.iter().filter(|knob| *knob != tensor && parallel.shares(knob, flags));
    let groups = groups.filter_map(|knob| flags.get(knob)?.as_u64()).product::<u64>().max(1);
    let among = degree / groups;
    if among < 2 || heads.is_multiple_of(among) {
        return None;
    }
    let below = (1..among).rev().find(|n| heads.is_multiple_of(*n)).unwrap_or(1);
    Some(format!(
        "{tensor} {degree} does not fit the model: its {heads} attention heads are not divisible by {among}, so the server does \
         not start; the next lower degree that fits is {}",
        below * groups
    ))
}
