//! Files of this host that a plan names: models, option files, and paths in commands.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::stdio;
use crate::base::yaml::{self, MAX_BYTES};
use crate::plan::command::line;
use crate::plan::{CheckContext, ModelFacts};

/// Adds facts from this host's files: the models and the option files of a plan, and which paths in its commands exist.
pub fn add(plan: &Value, context: &mut CheckContext) {
    let named = ["", "/path", "/model_path", "/name", "/id"].map(|key| plan.pointer(&format!("/model{key}")));
    let frameworks = || plan["frameworks"].as_object().into_iter().flatten();
    let own = frameworks().map(|(_, given)| given.get("model"));
    let models: Vec<&str> = named.into_iter().chain(own).flatten().filter_map(Value::as_str).collect();
    for model in &models {
        if !context.models.contains_key(*model)
            && let Some(facts) = local_facts(model)
        {
            context.models.insert((*model).into(), facts);
        }
    }
    let mut paths: Vec<String> = models.iter().map(|model| (*model).to_string()).collect();
    for (name, given) in frameworks() {
        // Any word of extra_args and of the command may be a file.
        let words = given["extra_args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let line = given["server_command"].as_str().and_then(|line| line::commands(line).ok());
        let command = line.iter().flatten().flat_map(|command| command.words.iter().map(String::as_str));
        let words: Vec<&str> = words.chain(command).map(|word| word.rsplit('=').next().unwrap_or(word)).collect();
        let base = given["base_server_flags"].as_object().into_iter().flatten();
        paths.extend(base.filter_map(|(_, value)| value.as_str()).chain(words.iter().copied()).map(String::from));
        let definition = context.frameworks.get(given["definition"].as_str().unwrap_or(name));
        for knob in definition.into_iter().flat_map(|definition| definition.option_files.keys()) {
            let listed = given["search_space"][knob].as_array().into_iter().flatten();
            let ordered = given["candidates"].as_array().into_iter().flatten().map(|changes| &changes[knob]);
            let all = std::iter::once(&given["base_server_flags"][knob]).chain(listed).chain(ordered);
            for path in all.filter_map(Value::as_str).chain(words.iter().copied()) {
                let file = mounted(&given["mounts"], path).unwrap_or_else(|| PathBuf::from(path));
                let read = stdio::read_text(&file, MAX_BYTES).ok();
                if let Some(document) = read.and_then(|text| yaml::load(&text, path).ok()) {
                    context.options.insert(path.into(), document.value);
                }
            }
        }
    }
    context.paths.extend(paths.into_iter().filter(|path| path.starts_with('/') && Path::new(path).exists()));
}

/// The file of this host that is at a path in a container with these mounts.
fn mounted(mounts: &Value, path: &str) -> Option<PathBuf> {
    let mounts = mounts.as_array().into_iter().flatten().filter_map(Value::as_str);
    mounts.into_iter().find_map(|mount| {
        let (host, rest) = mount.split_once(':')?;
        let inside = Path::new(path).strip_prefix(rest.split(':').next()?).ok()?;
        // A mounted file has nothing below it.
        Some(if inside.as_os_str().is_empty() { PathBuf::from(host) } else { Path::new(host).join(inside) })
    })
}

/// The folder of a model: the path itself, or its folder in the cache of the Hugging Face hub.
fn model_folder(model: &str) -> Option<PathBuf> {
    let given = PathBuf::from(model);
    if given.is_dir() {
        return Some(given);
    }
    let cache = std::env::var_os("HF_HUB_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HF_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/huggingface")))?;
        Some(home.join("hub"))
    })?;
    let snapshots = cache.join(format!("models--{}", model.replace('/', "--"))).join("snapshots");
    let mut found: Vec<PathBuf> = std::fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found.pop()
}

/// Facts about a model whose files are on this host.
#[must_use]
pub fn local_facts(model: &str) -> Option<ModelFacts> {
    model_folder(model).map(|folder| facts(&folder))
}

fn facts(folder: &Path) -> ModelFacts {
    let json = |name: &str| -> Value {
        let text = stdio::read_text(&folder.join(name), MAX_BYTES * 16).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    files.sort();
    ModelFacts::read(&json("config.json"), &json("model.safetensors.index.json"), files)
}
