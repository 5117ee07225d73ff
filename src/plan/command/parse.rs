//! Parses the arguments of a server command.

use serde_json::{Number, Value};

use crate::engines::framework::{Booleans, FlagMeaning, Framework, Kind, Knob, Leniency};

/// Words of a command line that belong together: a flag and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// Index of the first word.
    pub at: usize,
    /// The words.
    pub words: Vec<String>,
    /// Their meaning.
    pub meaning: ArgumentMeaning,
}

/// The meaning of words of a command line.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgumentMeaning {
    /// The model: its path or id.
    Model(String),
    /// The model, by a repository or URL.
    ModelSource,
    /// The model's names at the endpoint.
    ServedName(Vec<String>),
    /// The address to bind.
    Host(String),
    /// The port.
    Port(String),
    /// A knob and its value.
    Knob(String, Value),
    /// The flag of a knob with a value that the knob does not take: both as written.
    WrongValue(String, String),
    /// Unknown to the definition.
    Other,
}

/// Parses `words`. `positional`: the first plain word may be the model; `models`: its names in the plan.
pub fn parse(framework: &Framework, words: &[String], positional: bool, models: &[&str]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    // The word after an unknown flag may be its value.
    let mut open = false;
    while at < words.len() {
        let word = &words[at];
        let no_model = !pieces
            .iter()
            .any(|piece| matches!(piece.meaning, ArgumentMeaning::Model(_) | ArgumentMeaning::ModelSource));
        let (meaning, n) = match flag(framework, &words[at..]) {
            Some(known) => known,
            None if is_flag(word) => wrong_value(framework, &words[at..]).unwrap_or((ArgumentMeaning::Other, 1)),
            None if no_model && models.contains(&word.as_str()) => (ArgumentMeaning::Model(word.clone()), 1),
            None if no_model && positional && !open => (ArgumentMeaning::Model(word.clone()), 1),
            None => (ArgumentMeaning::Other, 1),
        };
        open = match meaning {
            ArgumentMeaning::Other if is_flag(word) => !word.contains('='),
            ArgumentMeaning::Other => open,
            _ => false,
        };
        pieces.push(Piece { at, words: words[at..at + n].to_vec(), meaning });
        at += n;
    }
    pieces
}

/// True for a word that an argument parser takes as a flag.
pub fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-') && word.parse::<f64>().is_err()
}

/// The meaning of a flag and its value, and their number of words; `None` for an unknown flag or an invalid value.
fn flag(framework: &Framework, words: &[String]) -> Option<(ArgumentMeaning, usize)> {
    let (mut flag, mut joined) = match words[0].split_once('=') {
        Some((flag, value)) => (flag, Some(value)),
        None => (words[0].as_str(), None),
    };
    if let Some((letter, value)) = attached(framework, &words[0]) {
        (flag, joined) = (letter, Some(value));
    }
    // `--map.list+`: one more item of a list, which has no name of its own in a plan.
    let named = framework.named(flag).filter(|_| !flag.ends_with('+'))?;
    let (kind, name) = match &named {
        FlagMeaning::Knob(name) | FlagMeaning::KnobOff(name) => (framework.knob(name)?.kind, name.clone()),
        _ => (Some(Kind::Text), String::new()),
    };
    let dotted = name.contains('.');
    if kind == Some(Kind::Flag) && framework.flags.booleans != Booleans::Value {
        let off = matches!(named, FlagMeaning::KnobOff(_));
        return joined.is_none().then(|| (ArgumentMeaning::Knob(name, (!off).into()), 1));
    }
    if matches!(named, FlagMeaning::KnobOff(_)) {
        return None;
    }
    let (text, n) = match joined {
        Some(text) => (text, 1),
        None => (words.get(1).filter(|word| !is_flag(word))?.as_str(), 2),
    };
    let meaning = match named {
        FlagMeaning::Model => ArgumentMeaning::Model(text.into()),
        FlagMeaning::ModelSource => ArgumentMeaning::ModelSource,
        FlagMeaning::ServedName => {
            // Some accept several names.
            let more = words[n..].iter().take_while(|word| joined.is_none() && !is_flag(word)).count();
            let all = std::iter::once(text).chain(words[n..n + more].iter().map(String::as_str));
            return Some((ArgumentMeaning::ServedName(all.map(String::from).collect()), n + more));
        }
        FlagMeaning::Host => ArgumentMeaning::Host(text.into()),
        FlagMeaning::Port => ArgumentMeaning::Port(text.into()),
        FlagMeaning::KnobOff(_) => return None,
        FlagMeaning::Knob(_) if dotted => {
            ArgumentMeaning::Knob(name, serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)))
        }
        FlagMeaning::Knob(_) if kind == Some(Kind::List) => {
            let more = words[n..].iter().take_while(|word| joined.is_none() && !is_flag(word)).count();
            let all = std::iter::once(text).chain(words[n..n + more].iter().map(String::as_str));
            return Some((ArgumentMeaning::Knob(name, all.map(number_or_text).collect()), n + more));
        }
        FlagMeaning::Knob(_) => {
            let value = value(framework.knob(&name)?, text)?;
            ArgumentMeaning::Knob(name, value)
        }
    };
    Some((meaning, n))
}

/// The flag of a knob whose type does not fit its value, and the number of words.
fn wrong_value(framework: &Framework, words: &[String]) -> Option<(ArgumentMeaning, usize)> {
    let (flag, joined) = words[0].split_once('=').map_or((words[0].as_str(), None), |(flag, text)| (flag, Some(text)));
    let Some(FlagMeaning::Knob(name)) = framework.named(flag).filter(|_| !flag.ends_with('+')) else { return None };
    let knob = framework.knob(&name).filter(|_| !name.contains('.'))?;
    let typed = matches!(knob.kind?, Kind::Count | Kind::Integer | Kind::Number | Kind::Fraction);
    let (text, n) = match joined {
        Some(text) => (text, 1),
        None => (words.get(1).filter(|word| !is_flag(word))?.as_str(), 2),
    };
    (typed && value(knob, text).is_none()).then(|| (ArgumentMeaning::WrongValue(flag.into(), text.into()), n))
}

/// `-O3` as `-O` and `3`, if the parser takes that.
fn attached<'a>(framework: &Framework, word: &'a str) -> Option<(&'a str, &'a str)> {
    let (end, _) = word.char_indices().nth(2).filter(|_| !word.starts_with("--"))?;
    let (letter, value) = (&word[..end], word[end..].trim_start_matches('='));
    let taken = framework.flags.lenient.contains(&Leniency::Attached) && framework.named(word).is_none();
    let is_value = value.starts_with(|c: char| c.is_ascii_digit());
    (taken && is_value && framework.named(letter).is_some()).then_some((letter, value))
}

fn number_or_text(text: &str) -> Value {
    text.parse::<Number>().map_or_else(|_| text.into(), Value::Number)
}

/// A value as a plan writes it; `None` if it does not have the knob's type.
fn value(knob: &Knob, text: &str) -> Option<Value> {
    if let Some(whole) = knob.whole(text) {
        return Some(whole.into());
    }
    match knob.kind? {
        Kind::Count => Some(text.parse::<u64>().ok().filter(|n| *n > 0)?.into()),
        Kind::Integer => Some(text.parse::<i64>().ok()?.into()),
        // `.9` is no number of JSON.
        Kind::Number | Kind::Fraction => {
            text.parse().ok().or_else(|| Number::from_f64(text.parse().ok()?)).map(Value::Number)
        }
        Kind::Flag => Some(text.parse::<bool>().ok()?.into()),
        Kind::Any => Some(number_or_text(text)),
        Kind::Text | Kind::List | Kind::Map => Some(text.into()),
    }
}
