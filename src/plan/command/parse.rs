//! The words behind a command, by what they say.

use serde_json::{Number, Value};

use crate::engines::framework::{Booleans, Framework, Kind, Named};

/// Some words of a command line that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Index of the first word.
    pub at: usize,
    /// The words.
    pub words: Vec<String>,
    /// What they say.
    pub says: Says,
}

/// What words of a command line say.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    /// Which model is loaded: its path or id.
    Model(String),
    /// Which model is loaded, in another way.
    ModelSource,
    /// The model's name at the endpoint.
    ServedName(String),
    /// The address to bind.
    Host(String),
    /// The port.
    Port(String),
    /// A knob and its value.
    Knob(String, Value),
    /// Nothing that the definition knows.
    Other,
}

/// Takes `words` apart. `positional`: the first plain word may be the model; `models`: what the plan calls it.
pub fn parse(framework: &Framework, words: &[String], positional: bool, models: &[&str]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    // What follows a flag that nobody knows may be its value.
    let mut open = false;
    while at < words.len() {
        let word = &words[at];
        let no_model = !pieces.iter().any(|piece| matches!(piece.says, Says::Model(_) | Says::ModelSource));
        let (says, n) = match flag(framework, &words[at..]) {
            Some(known) => known,
            None if is_flag(word) => (Says::Other, 1),
            None if no_model && models.contains(&word.as_str()) => (Says::Model(word.clone()), 1),
            None if no_model && positional && !open => (Says::Model(word.clone()), 1),
            None => (Says::Other, 1),
        };
        open = match says {
            Says::Other if is_flag(word) => !word.contains('='),
            Says::Other => open,
            _ => false,
        };
        pieces.push(Piece { at, words: words[at..at + n].to_vec(), says });
        at += n;
    }
    pieces
}

/// True for a word that a parser of arguments takes for a flag.
pub fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err()
}

/// What a flag and its value say, and how many words they are; `None` for one that is not known, or has no such value.
fn flag(framework: &Framework, words: &[String]) -> Option<(Says, usize)> {
    let (flag, joined) = match words[0].split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (words[0].as_str(), None),
    };
    let named = framework.named(flag)?;
    let (kind, name) = match &named {
        Named::Knob(name) | Named::KnobOff(name) => (framework.knob(name)?.kind, name.clone()),
        _ => (Some(Kind::Text), String::new()),
    };
    let dotted = name.contains('.');
    if kind == Some(Kind::Flag) && framework.flags.booleans != Booleans::Value {
        let off = matches!(named, Named::KnobOff(_));
        return joined.is_none().then(|| (Says::Knob(name, (!off).into()), 1));
    }
    if matches!(named, Named::KnobOff(_)) {
        return None;
    }
    let (text, n) = match joined {
        Some(text) => (text, 1),
        None => (words.get(1).filter(|word| !is_flag(word))?.as_str(), 2),
    };
    let says = match named {
        Named::Model => Says::Model(text.into()),
        Named::ModelSource => Says::ModelSource,
        Named::ServedName => {
            // Some take several names.
            let more = words[n..].iter().take_while(|word| joined.is_none() && !is_flag(word)).count();
            return Some((Says::ServedName(text.into()), n + more));
        }
        Named::Host => Says::Host(text.into()),
        Named::Port => Says::Port(text.into()),
        Named::KnobOff(_) => return None,
        Named::Knob(_) if dotted => Says::Knob(name, serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
        Named::Knob(_) if kind == Some(Kind::List) => {
            let more = words[n..].iter().take_while(|word| joined.is_none() && !is_flag(word)).count();
            let all = std::iter::once(text).chain(words[n..n + more].iter().map(String::as_str));
            return Some((Says::Knob(name, all.map(number_or_text).collect()), n + more));
        }
        Named::Knob(_) => Says::Knob(name, value(kind?, text)?),
    };
    Some((says, n))
}

fn number_or_text(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| text.into(), Value::Number)
}

/// A value as a plan would write it; `None` where it is not of the knob's type.
fn value(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Count => Some(text.parse::<u64>().ok().filter(|n| *n > 0)?.into()),
        Kind::Integer => Some(text.parse::<i64>().ok()?.into()),
        Kind::Number | Kind::Fraction => Some(Value::Number(text.parse().ok()?)),
        Kind::Flag => Some(text.parse::<bool>().ok()?.into()),
        Kind::Any => Some(number_or_text(text)),
        Kind::Text | Kind::List | Kind::Map => Some(text.into()),
    }
}
