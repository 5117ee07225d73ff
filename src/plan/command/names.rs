//! Gives the knobs of a plan the names that the definition has for them: `tensor_parallel_size` is SGLang's `tp_size`.

use serde_json::{Map, Value};

use super::parse::{ArgumentMeaning, Piece};
use super::{Command, CommandReader};
use crate::base::yaml::escape;
use crate::engines::framework::FlagMeaning;
use crate::plan::finding::Finding;
use crate::plan::shape::plain_text;
use crate::rows::words::FindingCode as Code;

impl CommandReader<'_> {
    /// Renames the knobs of the section, and merges those that every start sets, such as the port; returns model and host.
    pub(super) fn names(&mut self) -> Command {
        let mut own = Command::default();
        for part in ["base_server_flags", "search_space"] {
            let Some(members) = self.section.get(part).and_then(Value::as_object).cloned() else { continue };
            let renamed = self.renamed(&members, part, part == "base_server_flags", &mut own);
            self.section.insert(part.into(), Value::Object(renamed));
        }
        let list = self.section.get("candidates").and_then(Value::as_array).cloned();
        for (i, changes) in list.into_iter().flatten().enumerate() {
            let Some(members) = changes.as_object() else { continue };
            let renamed = self.renamed(members, &format!("candidates/{i}"), false, &mut own);
            self.section["candidates"][i] = Value::Object(renamed);
        }
        own
    }

    /// A value, or a list of values to try, with `32k` as the number that the framework makes of it.
    fn whole(&self, knob: &str, value: &Value) -> Value {
        let number = |one: &Value| {
            let whole = self.framework.knob(knob).and_then(|knob| knob.whole(one.as_str()?));
            whole.map_or_else(|| one.clone(), Value::from)
        };
        match value {
            Value::Array(items) => items.iter().map(number).collect(),
            one => number(one),
        }
    }

    fn renamed(
        &mut self,
        members: &Map<String, Value>,
        part: &str,
        base: bool,
        own: &mut Command,
    ) -> Map<String, Value> {
        let mut all = Map::new();
        for (knob, value) in members {
            let (root, inside) =
                knob.split_once('.').map_or((knob.as_str(), ""), |(root, _)| (root, &knob[root.len()..]));
            let pointer = format!("{}/{part}/{}", self.at, escape(knob));
            let value = &self.whole(root, value);
            let meaning = match self.framework.knob(root) {
                Some(_) => None,
                None => self.framework.named(&self.framework.flag(root)),
            };
            // A knob written as a flag is a typing mistake, which is reported with its name.
            let is_knob = matches!(meaning, Some(FlagMeaning::Knob(_) | FlagMeaning::KnobOff(_)));
            let meaning = meaning.filter(|_| !(is_knob && root.contains('-')));
            let text = plain_text(value);
            let merged = match &meaning {
                Some(FlagMeaning::Port) => Some(ArgumentMeaning::Port(text.clone())),
                Some(FlagMeaning::Host) => Some(ArgumentMeaning::Host(text.clone())),
                Some(FlagMeaning::ServedName) => Some(ArgumentMeaning::ServedName(served_names(value))),
                Some(FlagMeaning::Model) => Some(ArgumentMeaning::Model(text.clone())),
                Some(FlagMeaning::ModelSource) => Some(ArgumentMeaning::ModelSource),
                Some(FlagMeaning::Knob(_) | FlagMeaning::KnobOff(_)) | None => None,
            };
            if let Some(meaning) = merged.filter(|_| base) {
                let piece = Piece { at: 0, words: vec![self.framework.flag(root), text], meaning };
                self.piece(&piece, "base_server_flags", &pointer, own);
                continue;
            }
            let set = match meaning {
                Some(FlagMeaning::Knob(name)) => Some((format!("{name}{inside}"), value.clone())),
                Some(FlagMeaning::KnobOff(name)) => inverted(value).map(|value| (name, value)),
                _ => None,
            };
            let Some((name, value)) = set else {
                all.insert(knob.clone(), value.clone());
                continue;
            };
            if members.contains_key(&name) || all.contains_key(&name) {
                let why = format!("{knob} is another name of {name}, which is also set: keep one");
                self.found.push(Finding::value(Code::Conflict, &pointer, why));
                continue;
            }
            self.found.push(Finding::value(
                Code::CommandReplaced,
                &pointer,
                format!("{knob} is another name of {name}"),
            ));
            self.places.insert(format!("{}/{part}/{}", self.at, escape(&name)), pointer);
            all.insert(name, value);
        }
        all
    }
}

/// The names in a value: one, or a list.
fn served_names(value: &Value) -> Vec<String> {
    match value {
        Value::Array(names) => names.iter().map(plain_text).collect(),
        one => vec![plain_text(one)],
    }
}

/// The value of a knob for that of its `no_` form; `None` for anything but booleans.
fn inverted(value: &Value) -> Option<Value> {
    match value {
        Value::Bool(on) => Some((!on).into()),
        Value::Array(items) => items.iter().map(inverted).collect(),
        _ => None,
    }
}
