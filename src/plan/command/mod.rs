//! A plan's own command, read: what it says about model, address and knobs is taken over, so that nothing stands in the
//! command twice and every check sees it.

mod parse;
mod script;
mod wrap;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use self::parse::{Piece, Says, is_flag, parse};
use super::finding::Finding;
use super::shape::{said, texts};
use crate::base::shell;
use crate::base::yaml::escape;
use crate::engines::framework::{Framework, Frameworks, Named};

/// A plan's own command without what was taken over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words up to the end of the command that serves.
    pub head: Vec<String>,
    /// The words that say which model is loaded, where these are not the definition's flag and the plan's model.
    pub model: Option<Vec<String>>,
    /// The flag that takes the model behind such a command; `None`: it stands right behind it.
    pub model_flag: Option<String>,
    /// The address to bind.
    pub host: Option<String>,
    /// All other words.
    pub rest: Vec<String>,
}

/// A plan in which the commands have been read.
pub struct Taken {
    /// The plan, with what its commands say among its knobs and its environment.
    pub value: Value,
    /// The commands, by framework.
    pub commands: BTreeMap<String, Command>,
    /// Pointers into `value`, each with the one in the plan as given.
    places: BTreeMap<String, String>,
}

impl Taken {
    /// Where in the plan as given that stands which a finding points at.
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

/// Reads the commands of a plan's frameworks.
pub fn take_over(plan: &Value, frameworks: &Frameworks, found: &mut Vec<Finding>) -> Taken {
    let mut taken = Taken { value: plan.clone(), commands: BTreeMap::new(), places: BTreeMap::new() };
    let model = ["/model", "/model/path", "/model/model_path", "/model/name", "/model/id"];
    let model = model.iter().find_map(|pointer| plan.pointer(pointer)?.as_str()).unwrap_or_default();
    for (name, given) in plan["frameworks"].as_object().into_iter().flatten().filter(|(_, given)| given.is_object()) {
        let Some(framework) = frameworks.get(given["definition"].as_str().unwrap_or(name)) else { continue };
        let mut reading = Reading {
            framework,
            at: format!("/frameworks/{}", escape(name)),
            model: given["model"].as_str().unwrap_or(model).to_string(),
            given: given.as_object().cloned().unwrap_or_default(),
            sources: BTreeMap::new(),
            places: &mut taken.places,
            found,
        };
        if let Some(command) = reading.all() {
            taken.commands.insert(name.clone(), command);
        }
        let given = Value::Object(reading.given);
        taken.value["frameworks"][name.as_str()] = given;
    }
    taken
}

struct Reading<'a> {
    framework: &'a Framework,
    at: String,
    model: String,
    /// The framework's part of the plan; what is taken over is put into it.
    given: Map<String, Value>,
    /// Where each knob was taken from.
    sources: BTreeMap<String, &'static str>,
    places: &'a mut BTreeMap<String, String>,
    found: &'a mut Vec<Finding>,
}

impl Reading<'_> {
    fn all(&mut self) -> Option<Command> {
        let line = self.given.get("server_command").and_then(Value::as_str).map(String::from);
        let mut command = self.command(line.as_deref().unwrap_or_default());
        self.arguments(&mut command);
        command
    }

    /// The plan's `server_command`; `None` where it gives none that can be read.
    fn command(&mut self, line: &str) -> Option<Command> {
        let words = shell::split(line).ok().filter(|words| !words.is_empty())?;
        // Of a line that was folded, `\` and the space behind it are left of what went on in the next one.
        let words = words
            .into_iter()
            .map(|word| if word.trim_start().starts_with('-') { word.trim_start().into() } else { word });
        let pointer = format!("{}/server_command", self.at);
        let bare = match wrap::bare(words.filter(|word: &String| !word.trim().is_empty() || word.is_empty()).collect())
        {
            Ok(bare) => bare,
            Err(why) => {
                self.found.push(Finding::error(&pointer, format!("server_command: {why}")));
                return None;
            }
        };
        for (name, value) in bare.env {
            self.variable(&name, value, &pointer);
        }
        let found = self.framework.find(&bare.words);
        let end = found.map_or_else(|| self.end_of(&bare.words), |found| found.end);
        let (head, arguments) = bare.words.split_at(end);
        let model_flag = self.framework.model_flag_of(found).cloned();
        let mut command = Command { head: head.to_vec(), model_flag, ..Command::default() };
        let positional = found.is_some() && command.model_flag.is_none();
        for piece in parse(self.framework, arguments, positional, &[&self.model]) {
            if !self.piece(&piece, "server_command", &pointer, &mut command) {
                command.rest.extend(piece.words);
            }
        }
        Some(command)
    }

    /// Where the arguments of a program begin that no definition knows.
    fn end_of(&self, words: &[String]) -> usize {
        let name = words[0].rsplit('/').next().unwrap_or_default();
        let mut from = 1;
        if name.starts_with("python") {
            let options = words[1..].iter().take_while(|word| is_flag(word)).count();
            from += options + usize::from(words[1..=options].last().is_some_and(|word| word == "-m"));
        }
        let rest = words.iter().skip(from).position(|word| is_flag(word) || *word == self.model);
        rest.map_or(words.len(), |n| from + n)
    }

    /// What the plan's `extra_args` say, as far as the command would have it twice.
    fn arguments(&mut self, command: &mut Option<Command>) {
        let words: Vec<String> = texts(self.given.get("extra_args").unwrap_or(&Value::Null));
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
            self.given.insert("extra_args".into(), json!(left));
        }
        if own.model.is_some() || own.host.is_some() {
            let whole = command.get_or_insert_with(|| Command {
                head: self.framework.command.clone(),
                model_flag: self.framework.model_flag.clone(),
                ..Command::default()
            });
            whole.model = own.model.or(whole.model.take());
            whole.host = own.host.or(whole.host.take());
        }
    }

    /// Takes one piece over; false: it stays where it is.
    fn piece(&mut self, piece: &Piece, part: &'static str, pointer: &str, command: &mut Command) -> bool {
        match &piece.says {
            Says::Other => {
                self.left(&piece.words[0], part, pointer);
                return false;
            }
            Says::Knob(knob, _) if self.framework.fixed.contains_key(knob) => return false,
            Says::Knob(knob, value) => self.knob(knob, value, part, pointer),
            Says::Port(port) if port == "{port}" => {}
            Says::Port(port) => {
                let why = format!("port {port} in {part} is left out: bench-serve chooses the port of each start");
                self.found.push(Finding::note(pointer, why));
            }
            Says::Host(host) if ["127.0.0.1", "localhost", "0.0.0.0", "::"].contains(&host.as_str()) => {
                command.host = Some(host.clone());
            }
            Says::Host(host) => {
                let why = format!("host {host} in {part} is left out: clients on this host use 127.0.0.1");
                self.found.push(Finding::note(pointer, why));
            }
            Says::ServedName(name) => {
                if *name != self.model {
                    let why = format!("the model's name {name} in {part} is left out: requests name it {}", self.model);
                    self.found.push(Finding::note(pointer, why));
                }
            }
            Says::ModelSource => command.model = Some(piece.words.clone()),
            Says::Model(model) => match self.model_knob() {
                Some((knob, other)) if other != *model => {
                    let why = format!("{knob} is {other} in base_server_flags and {model} in {part}: keep one");
                    self.found.push(Finding::error(pointer, why));
                }
                Some(_) => {}
                None if *model == self.model => {}
                None => self.other_model(model, part, pointer, command),
            },
        }
        true
    }

    /// The model as a knob of the base.
    fn model_knob(&self) -> Option<(String, String)> {
        let flag = self.framework.model_flag.as_ref()?;
        let base = self.given.get("base_server_flags").and_then(Value::as_object)?;
        let (knob, value) = base.iter().find(|(knob, _)| self.framework.flag(knob) == *flag)?;
        Some((knob.clone(), said(value)))
    }

    /// A model that the plan calls by another name: a path, say. Where the server can be told that name it is served so.
    fn other_model(&mut self, model: &str, part: &str, pointer: &str, command: &mut Command) {
        let plan = &self.model;
        let last = |text: &str| text.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let alike = last(model) == last(plan);
        if self.framework.served_name_flag.is_some() {
            let why = format!("{model} in {part} is served, and reported, as {plan}");
            self.found.push(if alike { Finding::note(pointer, why) } else { Finding::warning(pointer, why) });
            // A command that was not read has the definition's flag.
            let flag = if command.head.is_empty() { &self.framework.model_flag } else { &command.model_flag };
            command.model = Some(flag.iter().cloned().chain([model.to_string()]).collect());
            return;
        }
        if self.given.get("model").is_some_and(|own| own != model) {
            let why = format!("the model is {plan} in the plan and {model} in {part}: keep one");
            return self.found.push(Finding::error(pointer, why));
        }
        let why =
            format!("{model} in {part} takes the place of the plan's model, {plan}: its results are ranked apart");
        self.found.push(Finding::warning(pointer, why));
        self.given.insert("model".into(), model.into());
    }

    fn knob(&mut self, knob: &str, value: &Value, part: &'static str, pointer: &str) {
        let base = self.given.entry("base_server_flags").or_insert_with(|| json!({}));
        if base.is_null() {
            *base = json!({});
        }
        let Some(base) = base.as_object_mut() else { return };
        let own = self.sources.get(knob).copied();
        let before = base.get(knob).filter(|before| !before.is_null());
        match before {
            // The last of several is what a server takes.
            Some(other) if own != Some(part) && !same(other, value) => {
                let (other, value) = (said(other), said(value));
                let place = own.unwrap_or("base_server_flags");
                let why = format!("{knob} is {other} in {place} and {value} in {part}: keep one");
                self.found.push(Finding::error(pointer, why));
            }
            Some(_) if own != Some(part) => {}
            _ => {
                base.insert(knob.into(), value.clone());
                self.sources.insert(knob.into(), part);
                self.places.insert(format!("{}/base_server_flags/{}", self.at, escape(knob)), pointer.into());
            }
        }
    }

    /// A knob with a value that no plan could give it stays where it is, and must be nowhere else.
    fn left(&mut self, word: &str, part: &str, pointer: &str) {
        let flag = word.split('=').next().unwrap_or(word);
        let Some(Named::Knob(knob) | Named::KnobOff(knob)) = self.framework.named(flag) else { return };
        for other in ["base_server_flags", "search_space"] {
            if self.given.get(other).and_then(|members| members.get(&knob)).is_some_and(|value| !value.is_null()) {
                let why = format!("{knob} is set in {other} and, as {word}, in {part}: keep one");
                return self.found.push(Finding::error(pointer, why));
            }
        }
    }

    fn variable(&mut self, name: &str, value: Option<String>, pointer: &str) {
        let env = self.given.entry("env").or_insert_with(|| json!({}));
        if env.is_null() {
            *env = json!({});
        }
        let Some(env) = env.as_object_mut() else { return };
        let value = value.map_or(Value::Null, Value::from);
        if env.get(name).is_some_and(|other| *other != value) {
            let why = format!("{name} is set in env and, to another value, before server_command: keep one");
            return self.found.push(Finding::error(pointer, why));
        }
        env.insert(name.into(), value);
        self.places.insert(format!("{}/env/{}", self.at, escape(name)), pointer.into());
    }
}

/// Whether two values are the same on a command line: a map and its JSON text are.
fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) => {
            serde_json::from_str(text).ok().filter(Value::is_object).unwrap_or_else(|| value.clone())
        }
        _ => value.clone(),
    };
    plain(one) == plain(other) || said(one) == said(other)
}
