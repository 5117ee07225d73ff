//! A new plan from a pasted command: `bench-validate --new --from-command 'docker run … vllm serve … -tp 8 …'`.

mod container;
mod document;
mod outer;
mod text;
mod unit;

use std::path::Path;

use serde_json::Value;

use self::container::{Container, ContainerGpus};
use self::document::HereDocument;
use self::outer::OuterCommand;
use super::stdio;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::yaml::MAX_BYTES;
use crate::base::{redact, shell, yaml};
use crate::engines::framework::{Framework, Frameworks};
use crate::plan::command::line::{self, LineCommand};
use crate::plan::command::pasted::{PastedCommand, framework_of, paste};
use crate::plan::{self, CheckContext, Level};
use crate::rows::kinds::{LauncherStep, Members};

/// The content of a pasted command, before the plan is written.
struct PastedServer<'a> {
    framework: &'a Framework,
    command: PastedCommand,
    container: Option<Container>,
    /// The launchers around it, outermost first.
    outer: Vec<LauncherStep>,
    model: String,
    /// Number of GPUs.
    gpus: u32,
    /// The GPUs that it names, separated by commas.
    devices: Option<String>,
    /// What of the command is left out.
    dropped: Vec<String>,
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
    let mut server = server(&pasted, model, gpus, frameworks).map_err(|why| Error::new(why).at("--from-command"))?;
    for finding in &server.command.found {
        match finding.level() {
            Level::Note => notice.say(&finding.message),
            Level::Warning | Level::Error => notice.warn(&finding.message),
        }
    }
    if !server.dropped.is_empty() {
        let what = shell::join(&server.dropped);
        notice.say(format!(
            "ignoring {what}: bench-serve names, starts and stops containers itself, on the network of the host"
        ));
    }
    server.without_secrets(notice);
    let mut searched = server.framework.starter.search.clone();
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
    let path = Path::new(from);
    if from == "-" || (!from.contains(char::is_whitespace) && path.is_file()) {
        return stdio::read_text(path, MAX_BYTES);
    }
    Ok(from.to_string())
}

fn server<'a>(
    text: &str,
    model: Option<&str>,
    gpus: Option<u32>,
    frameworks: &'a Frameworks,
) -> std::result::Result<PastedServer<'a>, String> {
    let text = unit::as_lines(text);
    let (text, documents) = document::documents(&text);
    let (mut words, mut variables) = words(&text, frameworks)?;
    let (mut outer, mut env, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(OuterCommand { step, env: own, dropped: left, words: inner }) = outer::unwrap(&words) {
        env.extend(own);
        dropped.extend(left);
        // A shell on the other host reads what is one word here.
        let is_text = step.name == "ssh";
        outer.push(step);
        words = inner;
        if is_text {
            let (read, own) = self::words(&words.join(" "), frameworks)?;
            words = read;
            variables.extend(own);
        }
    }
    let mut container = container::read(&words)?;
    let (framework, mut words) = match &container {
        Some(container) => in_image(container, frameworks)?,
        None => (framework_of(&words, frameworks).ok_or_else(|| no_server(frameworks))?, words),
    };
    let wrapper = framework.ranks.get("srun").and_then(|settings| settings.get("wrapper"));
    let program = framework.find(&words).map_or(0, |found| found.program);
    if let Some(OuterCommand { step, words: inner, .. }) = outer::job_step(&words, program, wrapper) {
        outer.push(step);
        words = inner;
    }
    let mut command = paste(&words, framework)?;
    take_documents(&mut command, framework, &documents, &variables)?;
    for set in env {
        let (name, value) =
            set.split_once('=').map_or((set.as_str(), Value::Null), |(name, value)| (name, value.into()));
        command.env.entry(name).or_insert(value);
    }
    if let Some(container) = &mut container {
        for (name, value) in std::mem::take(&mut container.env) {
            // `-e HF_TOKEN=$HF_TOKEN` inherits the value, too.
            let value = value.filter(|value| ![format!("${name}"), format!("${{{name}}}")].contains(value));
            command.env.entry(name).or_insert(value.map_or(Value::Null, Value::from));
        }
        container.mounts.iter_mut().for_each(|mount| *mount = expanded(mount));
        dropped.append(&mut container.dropped);
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
    Ok(PastedServer { framework, command, container, outer, model, gpus, devices, dropped })
}

/// Variables that a text sets, with their values, in its order.
type Variables = Vec<(String, String)>;

/// Puts the option files that the text itself writes into the plan.
fn take_documents(
    command: &mut PastedCommand,
    framework: &Framework,
    documents: &[HereDocument],
    variables: &Variables,
) -> std::result::Result<(), String> {
    let plain = |path: &str| put_in_place(path, variables).trim_start_matches("./").to_string();
    for (knob, value) in &mut command.base {
        let Some(path) = value.as_str().filter(|_| framework.option_files.contains_key(knob)).map(plain) else {
            continue;
        };
        if let Some(document) = documents.iter().rev().find(|document| plain(&document.file) == path) {
            let text = put_in_place(&document.text, variables);
            let read = yaml::load(&text, &path).map_err(|e| e.to_string())?;
            *value = read.value;
        }
    }
    Ok(())
}

/// The words of the command that starts a server or a container, with the variables that earlier lines set filled in.
fn words(text: &str, frameworks: &Frameworks) -> std::result::Result<(Vec<String>, Variables), String> {
    let commands = line::commands(text.trim())?;
    let mut variables = Variables::new();
    let mut exported: Vec<String> = Vec::new();
    let starts = |words: &[String]| {
        let container = matches!(container::read(words), Ok(Some(_)));
        container || outer::unwrap(words).is_some() || framework_of(words, frameworks).is_some()
    };
    for (i, LineCommand { words, .. }) in commands.iter().enumerate() {
        let words: Vec<String> = words.iter().map(|word| put_in_place(word, &variables)).collect();
        if starts(&words) {
            let is_container = matches!(container::read(&words), Ok(Some(_))) || outer::unwrap(&words).is_some();
            let before: Vec<&LineCommand> =
                commands[..i].iter().filter(|before| !sets(&before.words) && !neutral(&before.words)).collect();
            // Commands that prepare the container's host do not concern the server; commands that prepare the shell do.
            if is_container {
                return Ok((words, variables));
            }
            if before.is_empty() {
                return Ok(([exported, words].concat(), variables));
            }
            let script = before.iter().map(|before| &text.trim()[before.from..before.to]);
            let script = script.map(str::trim).collect::<Vec<_>>().join(" && ");
            let whole = format!("{script} && exec {}", shell::join(&words));
            return Ok(([exported, vec!["bash".into(), "-c".into(), whole]].concat(), variables));
        }
        if sets(&words) {
            let assigned = words.iter().filter(|word| *word != "export");
            for (name, value) in assigned.clone().filter_map(|word| word.split_once('=')) {
                variables.push((name.into(), value.into()));
            }
            if words[0] == "export" {
                exported.extend(assigned.cloned());
            }
        }
    }
    match commands.iter().find_map(|command| container::read(&command.words).err()) {
        Some(why) => Err(why),
        None => Err(no_server(frameworks)),
    }
}

/// True for a command that only sets variables.
fn sets(words: &[String]) -> bool {
    let words = words.strip_prefix(&["export".to_string()]).unwrap_or(words);
    let name = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    };
    words.iter().all(name)
}

/// True for a command without effect on the server: `set -e`, a download.
fn neutral(words: &[String]) -> bool {
    let first = words.first().map_or("", |word| word.rsplit('/').next().unwrap_or(word));
    let installs = ["pip", "pip3", "uv"].contains(&first)
        && words.iter().any(|word| word == "install" || word == "venv" || word == "sync");
    installs
        || ["set", "echo", "mkdir", "hf", "huggingface-cli", "wget", "curl", "git", "apt-get", "sleep", "cat", "tee"]
            .contains(&first)
}

/// A word with `$NAME` and `${NAME}` replaced by the values that the text itself sets.
fn put_in_place(word: &str, variables: &[(String, String)]) -> String {
    variables.iter().rev().fold(word.to_string(), |word, (name, value)| {
        let word = word.replace(&format!("${{{name}}}"), value);
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let written = format!("${name}");
        let mut parts = word.split(&written).map(String::from);
        let mut whole = parts.next().unwrap_or_default();
        for part in parts {
            whole.push_str(if ends(&part) { value.as_str() } else { "" });
            if !ends(&part) {
                whole.push_str(&written);
            }
            whole.push_str(&part);
        }
        whole
    })
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
