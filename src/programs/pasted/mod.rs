//! A new plan from a pasted command: `bench-validate --new --from-command 'docker run … vllm serve … -tp 8 …'`.

mod compose;
pub mod container;
mod document;
mod manifest;
mod outer;
mod ranks;
mod run_line;
mod script;
mod searched;
mod text;
mod unit;
mod variables;

use std::path::Path;

use serde_json::Value;

use self::container::{Container, ContainerGpus};
use self::document::HereDocument;
use super::stdio;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::yaml::MAX_BYTES;
use crate::base::{redact, shell, yaml};
use crate::engines::framework::{Framework, Frameworks};
use crate::plan::command::pasted::{PastedCommand, framework_of, paste};
use crate::plan::{self, CheckContext, Level};
use crate::rows::kinds::{LauncherStep, Members};

/// The content of a pasted command, before the plan is written.
struct PastedServer<'a> {
    framework: &'a Framework,
    command: PastedCommand,
    container: Option<Container>,
    /// The launchers before the command or the container, outermost first.
    launchers: Vec<LauncherStep>,
    model: String,
    /// Number of GPUs.
    gpus: u32,
    /// The GPUs that it names, separated by commas.
    devices: Option<String>,
    /// Options of launchers and of the container that are left out.
    dropped: Vec<String>,
    /// What else of the command the plan cannot have, as sentences.
    notes: Vec<String>,
}

/// The text of a plan whose baseline is the pasted command. `from` is the command, a file with it, or `-` for standard
/// input; `model` and `gpus` override the command's.
///
/// # Errors
/// No server in it, or one that names no model.
pub fn plan(
    from: &str,
    model: Option<&str>,
    gpus: Option<u32>,
    gpu: Option<&str>,
    frameworks: &Frameworks,
    notice: &Notice,
) -> Result<String> {
    let pasted = read(from)?;
    redact::hide_named(&pasted);
    let mut server = of_text(&pasted, model, gpus, frameworks).map_err(|why| Error::new(why).at("--from-command"))?;
    for finding in &server.command.found {
        match finding.level() {
            Level::Note => notice.say(&finding.message),
            Level::Warning | Level::Error => notice.warn(&finding.message),
        }
    }
    if !server.dropped.is_empty() {
        let what = shell::join(&server.dropped);
        notice.say(format!(
            "ignoring {what}: bench-serve itself names, starts, stops and connects to servers and containers, which use the network \
             of their host"
        ));
    }
    server.notes.iter().for_each(|note| notice.warn(note));
    server.without_secrets(notice);
    let mut searched = server.framework.starter.search.clone();
    searched::around(&mut searched, &server.command.base);
    // The command's context length is not changed, and knobs that conflict with its flags are not searched.
    if let Some(limit) = &server.framework.sequence_limit {
        searched.retain(|knob, _| *knob != limit.knob && limit.divided_by.as_ref() != Some(knob));
    }
    // A value that a plan cannot express stays among the arguments.
    let flags: Vec<&str> = server.command.extra_args.iter().filter_map(|word| word.split('=').next()).collect();
    searched.retain(|knob, _| !flags.iter().any(|flag| server.framework.sets(flag, knob)));
    loop {
        let text = server.text(gpu, &searched);
        let value = yaml::load(&text, "--from-command").map(|document| document.value)?;
        let (found, _) = plan::load(&value, &CheckContext::only(frameworks));
        let errors = || found.iter().filter(|finding| finding.level() == Level::Error);
        let at = format!("/frameworks/{}/search_space/", server.framework.name);
        let wrong =
            errors().find_map(|finding| Some(finding.pointer.strip_prefix(&at)?.split('/').next()?.to_string()));
        match wrong.filter(|knob| searched.shift_remove(knob).is_some()) {
            Some(_) => {}
            None => {
                errors().for_each(|finding| notice.warn(format!("the plan needs a change: {}", finding.message)));
                return Ok(text);
            }
        }
    }
}

/// The pasted text: the content of the file with this name, if there is one.
fn read(from: &str) -> Result<String> {
    let path = Path::new(from.strip_prefix('@').unwrap_or(from));
    if from.starts_with('@') || from == "-" || (!from.contains(char::is_whitespace) && path.is_file()) {
        return stdio::read_text(path, MAX_BYTES);
    }
    Ok(from.to_string())
}

/// The server of a command, a script or a manifest: of several containers the first that starts one.
fn of_text<'a>(
    text: &str,
    model: Option<&str>,
    gpus: Option<u32>,
    frameworks: &'a Frameworks,
) -> std::result::Result<PastedServer<'a>, String> {
    let Some(containers) = manifest::containers(text)? else { return server(text, model, gpus, frameworks) };
    let mut wrong = None;
    for container in containers {
        match server(&container.line, model, gpus, frameworks) {
            Ok(mut server) => {
                server.notes.splice(0..0, container.notes);
                return Ok(server);
            }
            Err(why) => wrong = wrong.or(Some(why)),
        }
    }
    Err(wrong.unwrap_or_else(|| "the manifest has no container with an image: paste the server's own command".into()))
}

fn server<'a>(
    text: &str,
    model: Option<&str>,
    gpus: Option<u32>,
    frameworks: &'a Frameworks,
) -> std::result::Result<PastedServer<'a>, String> {
    let found = script::read(text, frameworks)?.ok_or_else(|| no_server(frameworks))?;
    let script::StartCommand { mut launchers, env, words, mut dropped, notes, documents } = found;
    let mut container = container::read(&words)?;
    let (framework, words) = match &container {
        Some(container) => in_image(container, frameworks)?,
        None => (framework_of(&words, frameworks).ok_or_else(|| no_server(frameworks))?, words),
    };
    if let Some(container) = &mut container {
        script::known(words.iter().chain(&container.options).chain([&container.image]))?;
        dropped.append(&mut container.dropped);
    }
    let mut command = paste(&words, framework)?;
    take_documents(&mut command, framework, &documents)?;
    let inside = container.as_mut().map(|container| std::mem::take(&mut container.env));
    for (name, value) in env.into_iter().chain(inside.into_iter().flatten()) {
        // `-e HF_TOKEN=$HF_TOKEN` inherits the value, too.
        let value = value.filter(|value| ![format!("${name}"), format!("${{{name}}}")].contains(value));
        let is_secret = redact::is_secret_name(&name);
        script::known(value.iter().filter(|_| !is_secret))?;
        command.env.entry(name).or_insert(value.map_or(Value::Null, Value::from));
    }
    // The outermost launcher is a program of this host, whose shell would expand `-i ~/.ssh/key`.
    if let Some(options) = launchers.first_mut().and_then(|step| step.options.get_mut("options")) {
        let words = shell::split(options).unwrap_or_default();
        if words.iter().any(|word| word.starts_with("~/")) {
            *options = shell::join(&words.iter().map(|word| expanded(word)).collect::<Vec<_>>());
        }
    }
    // This host's folders are not those of another host.
    if let Some(container) = container.as_mut().filter(|_| launchers.is_empty()) {
        container.mounts.iter_mut().for_each(|mount| *mount = expanded(mount));
    }
    let model =
        model.map(String::from).or(command.model.clone()).ok_or("it does not name a model: write it after --new")?;
    let devices = devices(&mut command.env, container.as_ref());
    let none = command.env.get("CUDA_VISIBLE_DEVICES").is_some_and(|value| value == "");
    let gpus = gpus
        .or(none.then_some(0))
        .unwrap_or_else(|| count(framework, &command.base, devices.as_deref(), container.as_ref()));
    // Without a degree, a plan uses all GPUs: the command uses one.
    let has_degree = framework.parallelism.multiply.iter().any(|knob| command.base.contains_key(knob));
    if let Some(tensor) = framework.parallelism.tensor.as_ref().filter(|_| gpus > 1 && !has_degree) {
        command.base.insert(tensor.clone(), 1.into());
    }
    Ok(PastedServer { framework, command, container, launchers, model, gpus, devices, dropped, notes })
}

/// Puts the option files that the text itself writes into the plan.
fn take_documents(
    command: &mut PastedCommand,
    framework: &Framework,
    documents: &[HereDocument],
) -> std::result::Result<(), String> {
    for (knob, value) in &mut command.base {
        let Some(path) = value.as_str().filter(|_| framework.option_files.contains_key(knob)) else { continue };
        let same = |file: &str| file.trim_start_matches("./") == path.trim_start_matches("./");
        if let Some(document) = documents.iter().rev().find(|document| same(&document.file)) {
            let read = yaml::load(&document.text, path).map_err(|e| e.to_string())?;
            *value = read.value;
        }
    }
    Ok(())
}

/// The framework of a container and the words of its server: the entry point of an image for one framework is its server.
fn in_image<'a>(
    container: &Container,
    frameworks: &'a Frameworks,
) -> std::result::Result<(&'a Framework, Vec<String>), String> {
    let words = [&container.entry[..], &container.words].concat();
    if let Some(framework) = framework_of(&words, frameworks) {
        return Ok((framework, words));
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let image = plain(&container.image);
    let own = frameworks.iter().find(|framework| image.contains(&plain(&framework.name)));
    let own = own.filter(|_| {
        container.entry.is_empty()
            && container.words.first().is_none_or(|word| word.starts_with('-') || word.contains('/'))
    });
    let framework = own.ok_or_else(|| no_server(frameworks))?;
    Ok((framework, [&framework.command[..], &words].concat()))
}

fn no_server(frameworks: &Frameworks) -> String {
    let known = frameworks.iter().map(|framework| shell::join(&framework.command)).collect::<Vec<_>>().join(", ");
    format!("it does not start a server of a known framework ({known}): paste the line that does")
}

/// A mount in which `~`, `$HOME` and `$PWD` are replaced by this host's folders, because no shell expands them in a
/// plan.
fn expanded(mount: &str) -> String {
    let value = |name: &str| std::env::var(name).unwrap_or_else(|_| format!("${{{name}}}"));
    let mut mount = mount.to_string();
    if let Some(rest) = mount.strip_prefix('~').filter(|rest| rest.starts_with(['/', ':'])) {
        mount = format!("{}{rest}", value("HOME"));
    }
    // A relative path is one of the folder that the command was started in.
    if let Some(rest) =
        mount.strip_prefix("./").or_else(|| mount.strip_prefix('.').filter(|rest| rest.starts_with(':')))
    {
        mount = format!("{}/{rest}", value("PWD")).replace("/:", ":");
    }
    for (written, name) in [
        ("$HOME", "HOME"),
        ("${HOME}", "HOME"),
        ("$PWD", "PWD"),
        ("${PWD}", "PWD"),
        ("$(pwd)", "PWD"),
        ("`pwd`", "PWD"),
    ] {
        mount = mount.replace(written, &value(name));
    }
    mount
}

/// The GPUs that the command names; they become `hardware`.
fn devices(env: &mut Members, container: Option<&Container>) -> Option<String> {
    if let Some(Container { gpus: ContainerGpus::Devices(devices), .. }) = container {
        return Some(devices.clone());
    }
    let mut named = None;
    for name in ["NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"] {
        let listed = env.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && !text.contains('$'));
        if let Some(listed) = listed.map(String::from) {
            env.shift_remove(name);
            named = Some(listed).filter(|listed| listed != "all");
        }
    }
    named
}

/// The number of GPUs: those named, otherwise as many as the degrees of parallelism need.
fn count(framework: &Framework, base: &Members, devices: Option<&str>, container: Option<&Container>) -> u32 {
    if let Some(devices) = devices {
        return u32::try_from(devices.split(',').count()).unwrap_or(u32::MAX);
    }
    let on_cpu = ["device", "device_type"].iter().any(|knob| base.get(*knob).is_some_and(|value| value == "cpu"));
    if on_cpu || base.get("n_gpu_layers").is_some_and(|value| value == 0 || value == "0") {
        return 0;
    }
    let needed = framework.parallelism.gpus(base).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    match container {
        Some(Container { gpus: ContainerGpus::Count(n), .. }) => (*n).max(needed),
        _ => needed,
    }
}

impl PastedServer<'_> {
    /// Removes secrets, which a plan must not contain.
    fn without_secrets(&mut self, notice: &Notice) {
        for (name, value) in &mut self.command.env {
            let text = value.as_str().unwrap_or_default();
            if (redact::is_secret_name(name) && text.len() >= 6 && !text.starts_with('/')) || redact::holds_secret(text)
            {
                notice.warn(format!("{name} is a secret: the plan inherits it by name, so set it in the environment"));
                *value = Value::Null;
            }
        }
        let secret =
            |knob: &String, value: &Value| redact::holds_secret(&serde_json::json!({knob.as_str(): value}).to_string());
        let knobs: Vec<String> = self
            .command
            .base
            .iter()
            .filter(|(knob, value)| secret(knob, value))
            .map(|(knob, _)| knob.clone())
            .collect();
        for knob in knobs {
            notice.warn(format!("{knob} is a secret and is left out: a plan must not hold one"));
            self.command.base.shift_remove(&knob);
        }
    }
}
