//! Weights that each start of a container would download from the hub again.

use super::context::CheckContext;
use super::finding::Finding;
use super::framework_plan::FrameworkPlan;
use super::mounts;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::rows::words::FindingCode as Code;

/// Variables that name the folder of loaded models.
const CACHES: [&str; 4] = ["HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"];
/// The mount of the cache that a new plan proposes: that of this user, in an image whose user is root.
pub const CACHE_MOUNT: &str = "~/.cache/huggingface:/root/.cache/huggingface";

/// Warns about new containers without a mount for the weights of a model of the hub.
pub fn check(plan: &Plan, context: &CheckContext, found: &mut Vec<Finding>) {
    for (section, framework) in plan.enabled(context.frameworks).filter(|(_, framework)| !framework.simulated) {
        let model = plan.model_of(section);
        let other = section.command.as_ref().is_some_and(|command| command.model.is_some());
        let launcher = section.launcher.last().and_then(|step| context.frameworks.launchers().get(&step.name));
        let is_new = launcher.is_some_and(|launcher| launcher.lists.contains_key("mounts")) && section.image.is_some();
        if !is_new || other || !is_hub_id(model) || keeps_cache(section) {
            continue;
        }
        let why = format!(
            "each start of the {} container loads {model} from the hub again, because its cache is in the container: set mounts: \
             [\"{CACHE_MOUNT}\"], and env: {{HF_TOKEN: null}} if the model needs a token",
            framework.title
        );
        found.push(Finding::value(Code::HubCache, &format!("/frameworks/{}/image", escape(&section.name)), why));
    }
}

/// True for the id of a model of the hub, `OWNER/NAME`.
pub fn is_hub_id(model: &str) -> bool {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let file = std::path::Path::new(model).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    !file && model.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}

/// True if a folder of loaded models outlives the container, as far as mounts, options and variables show.
fn keeps_cache(section: &FrameworkPlan) -> bool {
    let named = section
        .env
        .iter()
        .filter(|(name, _)| CACHES.contains(&name.as_str()))
        .filter_map(|(_, value)| value.as_deref());
    let folders: Vec<&str> = named.chain(section.base.get("download_dir").and_then(|value| value.as_str())).collect();
    mounts::targets(section).iter().any(|target| {
        let lower = target.to_ascii_lowercase();
        let below = |folder: &&str| folder.starts_with(target.as_str()) && !target.is_empty();
        ["huggingface", "hub", "cache"].iter().any(|word| lower.contains(word)) || folders.iter().any(below)
    })
}

#[cfg(test)]
mod tests {
    use super::is_hub_id;

    #[test]
    fn ids_of_the_hub() {
        for id in ["Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B-Instruct"] {
            assert!(is_hub_id(id), "{id}");
        }
        for other in ["/models/x", "./x/y", "~/x", "model", "a/b/c", "unsloth/x.gguf", "a/", "/b", "s3://b/x"] {
            assert!(!is_hub_id(other), "{other}");
        }
    }
}
