//! Checks the types of a plan's values.

use serde_json::Value;

use super::finding::Finding;
use super::shape::Shape::{
    self, Any, Bool, Count, CountTo, Each, Either, Keys, Limits, List, Nullable, Number, OneOrList, Positive, Rate,
    Text, Values, Word,
};
use super::shape::{kind, name, plain_text, short, unquoted};
use crate::base::shell;
use crate::base::yaml::escape;
use crate::rows::words::FindingCode as Code;

/// What to write instead of a value of another type, if that is plain.
fn hint(value: &Value, shape: &Shape, at: &str) -> Option<String> {
    let plain = |value: &Value| value.is_number() || value.is_boolean();
    let text = match (shape, value) {
        // `NAME=value` may be a secret: only its name.
        (Each(_), Value::Array(items)) if at.ends_with("/env") => {
            let names: Vec<&str> =
                items.iter().filter_map(|item| Some(item.as_str()?.split('=').next()?.trim())).collect();
            let one = |name: &&str| format!("{name}: …");
            format!(
                "{{{}}}, null for the value that bench-serve has",
                names.iter().map(one).collect::<Vec<_>>().join(", ")
            )
        }
        (Each(_), Value::Array(items)) if at == "/frameworks" => {
            let name = |item: &Value| item.as_str().or(item["name"].as_str()).map(|name| format!("{name}: {{…}}"));
            format!("{{{}}}", items.iter().filter_map(name).collect::<Vec<_>>().join(", "))
        }
        (Text, Value::Array(items)) if at.ends_with("/server_command") => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            shell::join(&words?)
        }
        (List(_) | OneOrList(_), value) if plain(value) || value.is_string() => format!("[{}]", plain_text(value)),
        (Values, Value::String(text)) if text.starts_with('[') && text.ends_with(']') => {
            format!("{text} without quotes")
        }
        (Values, value) if plain(value) || value.is_string() => format!("[{}]", plain_text(value)),
        (Count(_) | CountTo(..) | Positive | Number | Rate | Bool, Value::Array(items))
            if items.len() == 1 && plain(&items[0]) =>
        {
            items[0].to_string()
        }
        (Count(_) | CountTo(..) | Positive | Number | Rate | Bool, value) => unquoted(value, matches!(shape, Bool))?,
        _ => return None,
    };
    let text = crate::base::redact::Redactor::default().redact(&text);
    (text.chars().count() <= 400).then_some(text)
}

/// Adds a finding for every value that does not have its shape, and for unknown keys; `at` is the JSON pointer of `value`.
pub fn check(value: &Value, shape: &Shape, at: &str, found: &mut Vec<Finding>) {
    let mut wrong = |what: &str| {
        // Values of environment variables and headers may be secrets: do not repeat them.
        let hidden = ["/env", "/headers"].iter().any(|part| at.contains(part));
        let seen = if hidden { kind(value).to_string() } else { short(value) };
        let subject = if at.is_empty() { "a plan".to_string() } else { name(at) };
        let write = hint(value, shape, at).map_or(String::new(), |text| format!(": write {text}"));
        found.push(Finding::value(Code::Type, at, format!("{subject} must be {what}, got {seen}{write}")));
    };
    match shape {
        Any => {}
        Text | Word(_) if value.is_number() || value.is_boolean() => wrong("a string (put it in quotes)"),
        Text | Word(_) if !value.is_string() => wrong("a string"),
        Text => {}
        Word(words) => {
            let why = value.as_str().and_then(words.refuses);
            found.extend(why.map(|why| Finding::value(Code::Word, at, why)));
        }
        Bool if value.is_boolean() => {}
        Bool => wrong("true or false"),
        Count(least) => {
            // Only a seed may be larger; everything else counts things.
            let max = if at.ends_with("/seed") { 1 << 53 } else { u64::from(u32::MAX) };
            match value.as_u64() {
                Some(n) if n > max => wrong(&format!("a whole number of at least {least} and at most {max}")),
                Some(n) if n >= *least => {}
                _ => wrong(&format!("a whole number of at least {least}")),
            }
        }
        CountTo(least, most) => match value.as_u64() {
            Some(n) if n > u64::from(*most) => wrong(&format!("a whole number of at least {least} and at most {most}")),
            Some(n) if n >= *least => {}
            _ => wrong(&format!("a whole number of at least {least}")),
        },
        Positive if value.as_f64().is_some_and(|n| n > 0.0) => {}
        Positive => wrong("a number above 0"),
        Rate if value.as_f64().is_some_and(|n| n > 0.0) || value == "trace" => {}
        Rate => wrong("a number above 0, or trace"),
        Number if value.is_number() => {}
        Number => wrong("a number"),
        Values if value.is_array() => {}
        Values => wrong("a list of values to try"),
        Nullable(_) if value.is_null() => {}
        Nullable(inner) => check(value, inner, at, found),
        List(item) | OneOrList(item) if value.is_array() => {
            for (i, element) in value.as_array().into_iter().flatten().enumerate() {
                check(element, item, &format!("{at}/{i}"), found);
            }
        }
        List(_) => wrong("a list"),
        OneOrList(item) => check(value, item, at, found),
        Either(_, map @ (Keys(_) | Each(_))) if value.is_object() => check(value, map, at, found),
        Either(_, list @ List(_)) if value.is_array() => check(value, list, at, found),
        Either(Text, Keys(_) | Each(_)) if !value.is_string() => wrong("a string or a map"),
        Either(Text, count @ Count(_)) if value.is_number() => check(value, count, at, found),
        Either(plain, _) => check(value, plain, at, found),
        Each(_) | Keys(_) | Limits if !value.is_object() => wrong("a map"),
        // `limits` checks them by their keys.
        Limits => {}
        Each(item) => {
            for (key, element) in value.as_object().into_iter().flatten() {
                check(element, item, &format!("{at}/{}", escape(key)), found);
            }
        }
        Keys(keys) => {
            for (key, element) in value.as_object().into_iter().flatten() {
                // Null means the same as absent. `spelling` reports unknown keys.
                if let Some(known) = keys.iter().find(|known| known.name == key && !element.is_null()) {
                    check(element, &known.shape, &format!("{at}/{}", escape(key)), found);
                }
            }
        }
    }
}
