//! Checks the types of a plan's values.

use serde_json::Value;

use super::finding::Finding;
use super::shape::Shape::{
    self, Any, Bool, Count, Each, Either, Keys, Limits, List, Nullable, Number, OneOrList, Positive, Rate, Text,
    Values, Word,
};
use super::shape::{kind, name, plain_text, short};
use crate::base::yaml::escape;
use crate::rows::words::FindingCode as Code;

/// Adds a finding for every value that does not have its shape, and for unknown keys; `at` is the JSON pointer of `value`.
pub fn check(value: &Value, shape: &Shape, at: &str, found: &mut Vec<Finding>) {
    let mut wrong = |what: &str| {
        // Values of environment variables and headers may be secrets: do not repeat them.
        let hidden = ["/env", "/headers"].iter().any(|part| at.contains(part));
        let seen = if hidden { kind(value).to_string() } else { short(value) };
        let subject = if at.is_empty() { "a plan".to_string() } else { name(at) };
        found.push(Finding::value(Code::Type, at, format!("{subject} must be {what}, got {seen}")));
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
        Positive if value.as_f64().is_some_and(|n| n > 0.0) => {}
        Positive => wrong("a number above 0"),
        Rate if value.as_f64().is_some_and(|n| n > 0.0) || value == "trace" => {}
        Rate => wrong("a number above 0, or trace"),
        Number if value.is_number() => {}
        Number => wrong("a number"),
        Values if value.is_array() => {}
        Values if value.is_object() || value.is_null() => wrong("a list of values to try"),
        Values => wrong(&format!("a list of values to try: write [{}]", plain_text(value))),
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
