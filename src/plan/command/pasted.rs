//! Reads a command that someone has pasted, without a plan: whose server it starts, and what a plan says about it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::parse::{ArgumentMeaning, is_flag, parse};
use super::{Command, CommandReader, end_of, wrap};
use crate::engines::framework::{Framework, Frameworks};
use crate::plan::finding::Finding;
use crate::rows::kinds::Members;

/// A pasted command as a plan says it.
#[derive(Debug)]
pub struct PastedCommand {
    /// Its model, if it names one.
    pub model: Option<String>,
    /// Its knobs, as `base_server_flags`.
    pub base: Members,
    /// The environment variables set before it; null inherits the value.
    pub env: Members,
    /// The `server_command`, if it is not the definition's.
    pub server_command: Option<Vec<String>>,
    /// The remaining words, as `extra_args`.
    pub extra_args: Vec<String>,
    /// What there is to say about it.
    pub found: Vec<Finding>,
}

/// The framework whose serving command these words contain: the first one of several.
#[must_use]
pub fn framework_of<'a>(words: &[String], frameworks: &'a Frameworks) -> Option<&'a Framework> {
    let words = wrap::bare(words.to_vec()).ok()?.words;
    let found = frameworks.iter().filter_map(|framework| Some((framework.find(&words)?, framework)));
    found.min_by_key(|(found, _)| (found.program, std::cmp::Reverse(found.end))).map(|(_, framework)| framework)
}

/// Reads the words of a command that starts a server of `framework`.
///
/// # Errors
/// A command that only a shell can run.
pub fn paste(words: &[String], framework: &Framework) -> Result<PastedCommand, String> {
    let bare = wrap::bare(words.to_vec())?.words;
    let found = framework.find(&bare);
    let end = found.map_or_else(|| end_of(&bare, ""), |found| found.end);
    let positional = found.is_some() && framework.model_flag_of(found).is_none();
    let pieces = parse(framework, &bare[end..], positional, &[]);
    let model = pieces.into_iter().find_map(|piece| match piece.meaning {
        ArgumentMeaning::Model(model) => Some(model),
        ArgumentMeaning::ModelSource => {
            piece.words.last().map(|word| word.rsplit('=').next().unwrap_or(word).to_string())
        }
        _ => None,
    });
    let (mut places, mut found) = (BTreeMap::new(), Vec::new());
    let mut reader = CommandReader {
        framework,
        at: String::new(),
        model: model.clone().unwrap_or_default(),
        section: Map::new(),
        sources: BTreeMap::new(),
        places: &mut places,
        found: &mut found,
    };
    let command = reader.words(words.to_vec(), "").unwrap_or_default();
    let part = |section: &Map<String, Value>, key: &str| {
        section.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let (mut base, env) = (part(&reader.section, "base_server_flags"), part(&reader.section, "env"));
    let Command { head, model: model_words, served_names, rest, .. } = command;
    let (more, extra_args) = knobs(framework, &rest);
    for (knob, value) in more {
        base.entry(knob).or_insert(value);
    }
    if let (Some(flag), Some(first)) =
        (&framework.served_name_flag, served_names.first().filter(|name| Some(*name) != model.as_ref()))
    {
        let names = if served_names.len() > 1 { json!(served_names) } else { json!(first) };
        base.insert(flag.trim_start_matches('-').replace('-', "_"), names);
    }
    let own = [head, model_words.unwrap_or_default()].concat();
    let server_command = (own != framework.command).then_some(own);
    Ok(PastedCommand { model, base, env, server_command, extra_args, found })
}

/// Flags that the definition does not know, as knobs, if a knob gives the same words; and the other words.
fn knobs(framework: &Framework, words: &[String]) -> (Members, Vec<String>) {
    let (mut knobs, mut others) = (Members::new(), Vec::new());
    let mut at = 0;
    while at < words.len() {
        let values = words[at + 1..].iter().take_while(|word| !is_flag(word)).count();
        let piece = &words[at..=at + values];
        let (flag, joined) =
            piece[0].split_once('=').map_or((piece[0].as_str(), None), |(flag, value)| (flag, Some(value)));
        let knob = flag.trim_start_matches("--").replace('-', "_");
        let value = match (joined, &piece[1..]) {
            (None, []) => Some(true.into()),
            (None, [one]) => Some(number_or_text(one)),
            (None, several) => Some(several.iter().map(|one| number_or_text(one)).collect()),
            (Some(one), []) => Some(number_or_text(one)),
            (Some(_), _) => None,
        };
        let plain = flag.starts_with("--") && !flag.contains('.') && framework.named(flag).is_none();
        match value.filter(|_| plain && framework.flag(&knob) == flag && !knobs.contains_key(&knob)) {
            Some(value) => _ = knobs.insert(knob, value),
            None => others.extend(piece.iter().cloned()),
        }
        at += values + 1;
    }
    (knobs, others)
}

/// A number if it is written as one again, otherwise text.
fn number_or_text(text: &str) -> Value {
    let number = serde_json::from_str::<Value>(text).ok().filter(Value::is_number);
    let again = number.as_ref().map(Value::to_string);
    number.filter(|_| again.as_deref() == Some(text)).unwrap_or_else(|| json!(text))
}
