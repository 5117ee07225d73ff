//! Reads a plan's own command, and merges its model, address and knobs into the plan, so that nothing is in the command
//! twice and every check sees it.

pub mod line;
mod names;
mod parse;
pub mod pasted;
mod script;
pub mod slurm;
pub mod unshelled;
pub mod wrap;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub use self::parse::is_flag;
use self::parse::{ArgumentMeaning, Piece, parse};
use super::finding::Finding;
use super::shape::{plain_text, texts};
use crate::base::shell;
use crate::base::yaml::escape;
use crate::engines::framework::{FlagMeaning, Framework, Frameworks};
use crate::rows::words::FindingCode as Code;

/// A plan's own command without the parts that were merged into the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words up to the end of the serving command.
    pub head: Vec<String>,
    /// The words that select the model, unless they are the definition's flag with the plan's model.
    pub model: Option<Vec<String>>,
    /// The flag for the model; `None`: the model is the first argument.
    pub model_flag: Option<String>,
    /// The address to bind.
    pub host: Option<String>,
    /// The model's names at the endpoint, if they are not the plan's: requests use the first.
    pub served_names: Vec<String>,
    /// All other words.
    pub rest: Vec<String>,
}

/// A plan with its commands merged into it.
pub struct MergedPlan {
    /// The plan, with the knobs and environment variables of its commands.
    pub value: Value,
    /// The commands, by framework.
    pub commands: BTreeMap<String, Command>,
    /// Pointers into `value`, each with its pointer in the plan file.
    places: BTreeMap<String, String>,
}

impl MergedPlan {
    /// The pointer in the plan file for a pointer into `value`.
    pub fn place(&self, pointer: &str) -> Option<&String> {
        let mut parent = pointer;
        loop {
            if let Some(place) = self.places.get(parent) {
                return Some(place);
            }
            parent = &parent[..parent.rfind('/')?];
        }
    }
}

/// Merges the commands of a plan's frameworks into it.
pub fn take_over(plan: &Value, frameworks: &Frameworks, found: &mut Vec<Finding>) -> MergedPlan {
    let mut merged = MergedPlan { value: plan.clone(), commands: BTreeMap::new(), places: BTreeMap::new() };
    let model = ["/model", "/model/path", "/model/model_path", "/model/name", "/model/id"];
    let model = model.iter().find_map(|pointer| plan.pointer(pointer)?.as_str()).unwrap_or_default();
    for (name, section) in
        plan["frameworks"].as_object().into_iter().flatten().filter(|(_, section)| section.is_object())
    {
        let Some(framework) = frameworks.get(section["definition"].as_str().unwrap_or(name)) else { continue };
        let mut reading = CommandReader {
            framework,
            at: format!("/frameworks/{}", escape(name)),
            model: section["model"].as_str().unwrap_or(model).to_string(),
            section: section.as_object().cloned().unwrap_or_default(),
            sources: BTreeMap::new(),
            places: &mut merged.places,
            found,
        };
        if let Some(command) = reading.all() {
            merged.commands.insert(name.clone(), command);
        }
        let section = Value::Object(reading.section);
        merged.value["frameworks"][name.as_str()] = section;
    }
    merged
}

struct CommandReader<'a> {
    framework: &'a Framework,
    at: String,
    model: String,
    /// The framework's section of the plan, into which the command is merged.
    section: Map<String, Value>,
    /// The part of the plan that each merged knob comes from.
    sources: BTreeMap<String, &'static str>,
    places: &'a mut BTreeMap<String, String>,
    found: &'a mut Vec<Finding>,
}

impl CommandReader<'_> {
    fn all(&mut self) -> Option<Command> {
        let line = self.section.get("server_command").and_then(Value::as_str).map(String::from);
        let named = self.names();
        let mut command = self.command(line.as_deref().unwrap_or_default());
        self.adopt(named, "base_server_flags", &mut command);
        self.arguments(&mut command);
        command
    }

    /// The plan's `server_command`; `None` without one that can be read.
    fn command(&mut self, line: &str) -> Option<Command> {
        let pointer = format!("{}/server_command", self.at);
        let words = self.line(line, &pointer)?;
        self.words(words, &pointer)
    }

    /// The words of the only command of a line; `export NAME=VALUE` before it goes to `env`.
    fn line(&mut self, line: &str, pointer: &str) -> Option<Vec<String>> {
        let mut all = match line::commands(line) {
            Ok(all) => all,
            Err(why) => {
                self.found.push(Finding::value(Code::Command, pointer, format!("server_command: {why}")));
                return None;
            }
        };
        let last = all.pop()?;
        for before in &all {
            let Some(variables) = wrap::exported(&before.words) else {
                let operator = if line[before.to..].starts_with("&&") { "&&" } else { ";" };
                let why = format!("server_command: {}", line::refused(operator));
                self.found.push(Finding::value(Code::Command, pointer, why));
                return None;
            };
            for (name, value) in variables {
                self.variable(&name, value, pointer);
            }
        }
        if !last.ignored.is_empty() {
            let what = last.ignored.join(" ");
            let why = format!(
                "ignoring {what} in server_command: bench-serve saves the server's log and keeps it in the foreground"
            );
            self.found.push(Finding::value(Code::CommandReplaced, pointer, why));
        }
        Some(last.words)
    }

    /// Merges the words of a command; `None` if only a shell can run it.
    fn words(&mut self, words: Vec<String>, pointer: &str) -> Option<Command> {
        let bare = match wrap::bare(words) {
            Ok(bare) => bare,
            Err(why) => {
                self.found.push(Finding::value(Code::Command, pointer, format!("server_command: {why}")));
                return None;
            }
        };
        for (name, value) in bare.env {
            self.variable(&name, value, pointer);
        }
        let found = self.framework.find(&bare.words);
        if let Some(why) = self.framework.other_program(&bare.words).filter(|_| found.is_none()) {
            self.found.push(Finding::value(Code::Command, pointer, format!("server_command: {why}")));
            return None;
        }
        if let Some(why) = wrap::elsewhere(&bare.words, found.map_or(bare.words.len(), |found| found.program)) {
            self.found.push(Finding::value(Code::Command, pointer, format!("server_command: {why}")));
            return None;
        }
        let end = found.map_or_else(|| end_of(&bare.words, &self.model), |found| found.end);
        let (head, arguments) = bare.words.split_at(end);
        let model_flag = self.framework.model_flag_of(found).cloned();
        let mut command = Command { head: head.to_vec(), model_flag, ..Command::default() };
        let positional = found.is_some() && command.model_flag.is_none();
        let mut pieces = parse(self.framework, arguments, positional, &[&self.model]);
        self.one_model(&mut pieces, pointer);
        for piece in pieces {
            if !self.piece(&piece, "server_command", pointer, &mut command) {
                command.rest.extend(piece.words);
            }
        }
        Some(command)
    }

    /// Of several models in one command, a server takes the first or the last, or refuses them: none is kept.
    fn one_model(&mut self, pieces: &mut Vec<Piece>, pointer: &str) {
        let mut models: Vec<String> = Vec::new();
        for piece in pieces.iter() {
            match &piece.meaning {
                ArgumentMeaning::Model(model) if !models.contains(model) => models.push(model.clone()),
                _ => {}
            }
        }
        if models.len() > 1 {
            let why = format!("server_command names {} models, {}: keep one", models.len(), models.join(" and "));
            self.found.push(Finding::value(Code::Conflict, pointer, why));
            pieces.retain(|piece| !matches!(piece.meaning, ArgumentMeaning::Model(_)));
        }
    }

    /// Merges those of the plan's `extra_args` that would otherwise be in the command twice.
    fn arguments(&mut self, command: &mut Option<Command>) {
        let words: Vec<String> = texts(self.section.get("extra_args").unwrap_or(&Value::Null));
        let mut left = Vec::new();
        let mut own = Command::default();
        for piece in parse(self.framework, &words, false, &[&self.model]) {
            let at = format!("{}/extra_args", self.at);
            if !self.piece(&piece, "extra_args", &format!("{at}/{}", piece.at), &mut own) {
                for (i, word) in piece.words.into_iter().enumerate() {
                    self.places.insert(format!("{at}/{}", left.len()), format!("{at}/{}", piece.at + i));
                    left.push(word);
                }
            }
        }
        if left.len() < words.len() {
            self.section.insert("extra_args".into(), json!(left));
        }
        self.adopt(own, "extra_args", command);
    }

    /// Takes model and host of `own` into the command, which is the definition's where the plan has none.
    fn adopt(&mut self, own: Command, part: &str, command: &mut Option<Command>) {
        if own.model.is_some() || own.host.is_some() || !own.served_names.is_empty() {
            let whole = command.get_or_insert_with(|| Command {
                head: self.framework.command.clone(),
                model_flag: self.framework.model_flag.clone(),
                ..Command::default()
            });
            whole.model = own.model.or(whole.model.take());
            whole.host = own.host.or(whole.host.take());
            if !own.served_names.is_empty() {
                let pointer = format!("{}/{part}", self.at);
                self.served_names(&own.served_names, part, &pointer, whole);
            }
        }
    }

    /// Merges one piece into the plan; false: it stays where it is.
    fn piece(&mut self, piece: &Piece, part: &'static str, pointer: &str, command: &mut Command) -> bool {
        match &piece.meaning {
            ArgumentMeaning::Other => {
                self.stays(&piece.words[0], part, pointer);
                return false;
            }
            ArgumentMeaning::Knob(knob, _) if self.framework.fixed.contains_key(knob) => return false,
            ArgumentMeaning::WrongValue(flag, text) => {
                // A word that only a shell changes is reported as such, where it stands.
                if unshelled::problem(text).is_some() {
                    return false;
                }
                // It is filled in when the server starts; what the plan counts with must be known before.
                if !shell::references(text).is_empty() {
                    if self.framework.counts(flag) {
                        let why = format!(
                            "{flag} {text} in {part} is not known before the start, and the plan counts with it: write its value"
                        );
                        self.found.push(Finding::value(Code::KnobValue, pointer, why));
                        return true;
                    }
                    self.stays(&piece.words[0], part, pointer);
                    return false;
                }
                let what = match self.framework.named(flag) {
                    Some(FlagMeaning::Knob(knob)) => {
                        self.framework.knob(&knob).and_then(|knob| knob.refuses(&json!(text)))
                    }
                    _ => None,
                };
                let what = what.unwrap_or_else(|| "another value".into());
                let why = format!("{flag} in {part} must be {what}, got {text}");
                self.found.push(Finding::value(Code::KnobValue, pointer, why));
            }
            ArgumentMeaning::Knob(knob, value) => self.knob(knob, value, part, pointer),
            ArgumentMeaning::Port(port) if port == "{port}" => {}
            ArgumentMeaning::Port(port) => {
                let why = format!("ignoring port {port} in {part}: bench-serve chooses the port of each start");
                self.found.push(Finding::value(Code::CommandReplaced, pointer, why));
            }
            ArgumentMeaning::Host(host) if ["127.0.0.1", "localhost", "0.0.0.0", "::"].contains(&host.as_str()) => {
                command.host = Some(host.clone());
            }
            ArgumentMeaning::Host(host) => {
                let why = format!("ignoring host {host} in {part}: clients on this host use 127.0.0.1");
                self.found.push(Finding::value(Code::CommandReplaced, pointer, why));
            }
            ArgumentMeaning::ServedName(names) => self.served_names(names, part, pointer, command),
            ArgumentMeaning::ModelSource => command.model = Some(piece.words.clone()),
            ArgumentMeaning::Model(model) => match self.model_knob() {
                Some((knob, other)) if other != *model => {
                    let why = format!("{knob} is {other} in base_server_flags but {model} in {part}: keep one");
                    self.found.push(Finding::value(Code::Conflict, pointer, why));
                }
                Some(_) => {}
                None if *model == self.model => {}
                None => self.other_model(model, part, pointer, command),
            },
        }
        true
    }

    /// The model's names at the endpoint, which requests use instead of the plan's.
    fn served_names(&mut self, names: &[String], part: &str, pointer: &str, command: &mut Command) {
        // A word that only a shell changes is reported as such, and a name that is filled in at the start is not known to clients.
        let unknown =
            names.iter().find(|name| unshelled::problem(name).is_some() || !shell::references(name).is_empty());
        if let Some(name) = unknown {
            let why = format!("the served model name {name} in {part} is not known before the start: write it");
            return self.found.push(Finding::value(Code::Command, pointer, why));
        }
        if !command.served_names.is_empty() && command.served_names != names {
            let (one, other) = (command.served_names.join(" "), names.join(" "));
            let why = format!("the served model name is {one} and, in {part}, {other}: keep one");
            return self.found.push(Finding::value(Code::Conflict, pointer, why));
        }
        command.served_names = names.to_vec();
    }

    /// The model as a knob of the base.
    fn model_knob(&self) -> Option<(String, String)> {
        let flag = self.framework.model_flag.as_ref()?;
        let base = self.section.get("base_server_flags").and_then(Value::as_object)?;
        let (knob, value) = base.iter().find(|(knob, _)| self.framework.flag(knob) == *flag)?;
        Some((knob.clone(), plain_text(value)))
    }

    /// A model that the plan calls by another name, for example a path. It is served under the plan's name if the framework can.
    fn other_model(&mut self, model: &str, part: &str, pointer: &str, command: &mut Command) {
        if let Some(why) = unshelled::problem(model) {
            return self.found.push(Finding::value(Code::Command, pointer, format!("{part}: {why}")));
        }
        let plan = &self.model;
        let last = |text: &str| text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let alike = last(model) == last(plan);
        if self.framework.served_name_flag.is_some() {
            let why = format!("{model} in {part} is served and reported as {plan}");
            self.found.push(if alike {
                Finding::value(Code::CommandReplaced, pointer, why)
            } else {
                Finding::value(Code::CommandModel, pointer, why)
            });
            // Without a command of its own it has the definition's flag.
            let flag = if command.head.is_empty() { &self.framework.model_flag } else { &command.model_flag };
            command.model = Some(flag.iter().cloned().chain([model.to_string()]).collect());
            return;
        }
        if self.section.get("model").is_some_and(|own| own != model) {
            let why = format!("the model is {plan} in the plan but {model} in {part}: keep one");
            return self.found.push(Finding::value(Code::Conflict, pointer, why));
        }
        let why = format!("{model} in {part} replaces the plan's model, {plan}: its results are ranked separately");
        self.found.push(Finding::value(Code::CommandModel, pointer, why));
        self.section.insert("model".into(), model.into());
    }

    fn knob(&mut self, knob: &str, value: &Value, part: &'static str, pointer: &str) {
        let base = self.section.entry("base_server_flags").or_insert_with(|| json!({}));
        if base.is_null() {
            *base = json!({});
        }
        let Some(base) = base.as_object_mut() else { return };
        let own = self.sources.get(knob).copied();
        let before = base.get(knob).filter(|before| !before.is_null());
        match before {
            // Of several values on one command line, the server uses the last.
            Some(other) if own != Some(part) && !same(other, value) => {
                let (other, value) = (plain_text(other), plain_text(value));
                let place = own.unwrap_or("base_server_flags");
                let why = format!("{knob} is {other} in {place} but {value} in {part}: keep one");
                self.found.push(Finding::value(Code::Conflict, pointer, why));
            }
            Some(_) if own != Some(part) => {}
            _ => {
                base.insert(knob.into(), value.clone());
                self.sources.insert(knob.into(), part);
                self.places.insert(format!("{}/base_server_flags/{}", self.at, escape(knob)), pointer.into());
            }
        }
    }

    /// A knob whose value a plan cannot express stays in the command, and must not be set elsewhere.
    fn stays(&mut self, word: &str, part: &str, pointer: &str) {
        let flag = word.split('=').next().unwrap_or(word);
        let Some(FlagMeaning::Knob(knob) | FlagMeaning::KnobOff(knob)) = self.framework.named(flag) else { return };
        for other in ["base_server_flags", "search_space"] {
            if self.section.get(other).and_then(|members| members.get(&knob)).is_some_and(|value| !value.is_null()) {
                let why = format!("{knob} is set both in {other} and, as {word}, in {part}: keep one");
                return self.found.push(Finding::value(Code::Conflict, pointer, why));
            }
        }
    }

    fn variable(&mut self, name: &str, value: Option<String>, pointer: &str) {
        let env = self.section.entry("env").or_insert_with(|| json!({}));
        if env.is_null() {
            *env = json!({});
        }
        let Some(env) = env.as_object_mut() else { return };
        let value = value.map_or(Value::Null, Value::from);
        if env.get(name).is_some_and(|other| *other != value) {
            let why = format!("{name} has one value in env and another before server_command: keep one");
            return self.found.push(Finding::value(Code::Conflict, pointer, why));
        }
        env.insert(name.into(), value);
        self.places.insert(format!("{}/env/{}", self.at, escape(name)), pointer.into());
    }
}

/// Where the arguments begin, for a program unknown to the definition.
fn end_of(words: &[String], model: &str) -> usize {
    let name = shell::program_name(&words[0]);
    let mut from = 1;
    if name.starts_with("python") {
        let options = words[1..].iter().take_while(|word| is_flag(word)).count();
        from += options + usize::from(words[1..=options].last().is_some_and(|word| word == "-m"));
    }
    let rest = words.iter().skip(from).position(|word| is_flag(word) || *word == model);
    rest.map_or(words.len(), |n| from + n)
}

/// True if two values are the same on a command line, as a map and its JSON text are.
fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) => {
            serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| value.clone())
        }
        _ => value.clone(),
    };
    plain(one) == plain(other) || plain_text(one) == plain_text(other)
}
