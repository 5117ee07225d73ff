//! Removes secrets from rows. Rows leave a program only through [`super::RowWriter`], which calls this module.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::base::redact;
use crate::base::redact::Redactor;
use crate::base::visible::visible;
use crate::rows::row::Row;

/// Members whose text comes from our programs or the plan (ids, words with a fixed meaning, times, hashes), and paths.
/// With a part replaced, a row could not be joined or run any more; plans that contain secrets are refused earlier.
/// Everything else, including unknown keys, may contain text of other programs.
const OWN: [&str; 35] = [
    "schema_version",
    "record",
    "run_id",
    "server_id",
    "candidate_id",
    "status",
    "failure_class",
    "phase",
    "token_source",
    "unit",
    "units",
    "started_at",
    "ended_at",
    "deadline",
    "schedule_sha256",
    "histograms",
    "lifecycle",
    "artifacts",
    "endpoint",
    "model",
    "tokenizer",
    "framework",
    "frameworks",
    "server",
    "server_command",
    "scenario",
    "scenarios",
    "load",
    "loads",
    "workload",
    "dataset",
    "benchmark",
    "sla",
    "weights",
    "search",
];
/// Members that contain a row of ours inside a row.
const NESTED: [&str; 1] = ["run"];
/// Members of own members whose text a server chose.
const NOT_OWN: [(&str, &str); 1] = [("endpoint", "model_id")];

/// True for a member of a row whose text comes from our programs or the plan.
#[must_use]
pub fn is_own(key: &str) -> bool {
    OWN.contains(&key)
}

/// A line that is about to be written, without known secrets. Numbers stay, because they are measurements, and so do
/// keys.
#[must_use]
pub fn outgoing(line: &str) -> Cow<'_, str> {
    let redactor = redact::redactor();
    if !redactor.finds(line) {
        return Cow::Borrowed(line);
    }
    match serde_json::from_str(line) {
        Ok(Value::Object(mut row)) => {
            if row_without(&mut row, &|text| redactor.finds(text).then(|| redactor.without_values(text))) {
                Cow::Owned(Value::Object(row).to_string())
            } else {
                Cow::Borrowed(line)
            }
        }
        // Not a row but text for people.
        _ => Cow::Owned(redactor.without_values(line)),
    }
}

/// A row that people will read, without known secrets in any member: what joins rows does not matter any more.
#[must_use]
pub fn shown(line: &str) -> Cow<'_, str> {
    let redactor = redact::redactor();
    if !redactor.finds(line) {
        return Cow::Borrowed(line);
    }
    match serde_json::from_str(line) {
        Ok(mut row) => {
            walk(&mut row, &|text| redactor.finds(text).then(|| redactor.without_values(text)), &|_| None);
            Cow::Owned(row.to_string())
        }
        Err(_) => Cow::Owned(redactor.without_values(line)),
    }
}

/// An object that another program wrote, without anything that is or looks like a secret, in its keys too; a number that
/// is a secret becomes text.
pub fn foreign(members: &mut Map<String, Value>, redactor: &Redactor) {
    let number = |number: &str| redactor.finds(number).then(|| redactor.without_values(number));
    members.values_mut().for_each(|value| {
        walk(value, &|text| Some(redactor.redact(text)), &number);
    });
    clean_keys(members, redactor);
}

/// A value that another program wrote, without anything that is or looks like a secret.
#[must_use]
pub fn foreign_value<'a>(value: &'a Value, redactor: &Redactor) -> Cow<'a, Value> {
    if !holds_secret(value, redactor) {
        return Cow::Borrowed(value);
    }
    let mut clean = value.clone();
    match &mut clean {
        Value::Object(members) => foreign(members, redactor),
        Value::Array(items) => items.iter_mut().for_each(|item| *item = foreign_value(item, redactor).into_owned()),
        other => {
            walk(other, &|text| Some(redactor.redact(text)), &|_| None);
        }
    }
    Cow::Owned(clean)
}

fn holds_secret(value: &Value, redactor: &Redactor) -> bool {
    match value {
        Value::String(text) => redactor.redacted(text) != *text,
        Value::Number(number) => redactor.has_values() && redactor.finds(&number.to_string()),
        Value::Array(items) => items.iter().any(|item| holds_secret(item, redactor)),
        Value::Object(members) => {
            members.iter().any(|(key, value)| redactor.redacted(key) != *key || holds_secret(value, redactor))
        }
        Value::Null | Value::Bool(_) => false,
    }
}

/// The same for a row that another program may have written: nothing in it looks like a secret either, and control
/// characters are shown as escapes.
pub fn shown_row(row: &mut Row, redactor: &Redactor) {
    for (key, value) in row.map().clone() {
        let clean = shown_value(&value, redactor);
        if clean != value {
            row.set(&key, clean);
        }
    }
}

/// A text for people that another program may have written.
#[must_use]
pub fn shown_text(text: &str) -> Cow<'_, str> {
    if text.is_empty() {
        return text.into();
    }
    match redact::redactor().redacted(text) {
        Cow::Borrowed(text) => visible(text),
        Cow::Owned(text) => Cow::Owned(visible(&text).into_owned()),
    }
}

fn shown_value(value: &Value, redactor: &Redactor) -> Value {
    let text = |text: &str| visible(&redactor.redact(text)).into_owned();
    match value {
        Value::String(old) => text(old).into(),
        Value::Array(items) => items.iter().map(|item| shown_value(item, redactor)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, member)| (text(key), shown_value(member, redactor))).collect::<Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// A row that another program wrote, without anything that is or looks like a secret. What was given to it stays: words and
/// ids of the row `given`.
pub fn foreign_row(row: &mut Row, redactor: &Redactor, given: &Row) {
    let given = given.line();
    for (key, mut value) in row.map().clone() {
        let is_own = is_own(&key);
        let clean = |text: &str| (!is_own || !given.contains(text)).then(|| redactor.redact(text));
        if walk(&mut value, &clean, &|_| None) {
            row.set(&key, value);
        }
    }
}

/// Replaces secrets in keys at any depth, in order.
fn clean_keys(members: &mut Map<String, Value>, redactor: &Redactor) {
    fn below(value: &mut Value, redactor: &Redactor) {
        match value {
            Value::Object(members) => clean_keys(members, redactor),
            Value::Array(items) => items.iter_mut().for_each(|item| below(item, redactor)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    members.values_mut().for_each(|value| below(value, redactor));
    if members.keys().any(|key| redactor.redact(key) != *key) {
        *members = std::mem::take(members).into_iter().map(|(key, value)| (redactor.redact(&key), value)).collect();
    }
}

/// True if something was replaced.
fn row_without(row: &mut Map<String, Value>, replaced: &dyn Fn(&str) -> Option<String>) -> bool {
    let mut changed = false;
    for (outer, inner) in NOT_OWN {
        if let Some(value) = row.get_mut(outer).and_then(|value| value.get_mut(inner)) {
            changed |= walk(value, replaced, &|_| None);
        }
    }
    for (key, value) in row.iter_mut().filter(|(key, _)| !is_own(key)) {
        changed |= match value {
            Value::Object(nested) if NESTED.contains(&key.as_str()) => row_without(nested, replaced),
            value => walk(value, replaced, &|_| None),
        };
    }
    changed
}

fn walk(value: &mut Value, text: &dyn Fn(&str) -> Option<String>, number: &dyn Fn(&str) -> Option<String>) -> bool {
    let new = match value {
        Value::String(old) => text(old).filter(|new| new != old),
        Value::Number(old) => number(&old.to_string()),
        Value::Array(items) => {
            return items.iter_mut().fold(false, |changed, item| walk(item, text, number) | changed);
        }
        Value::Object(members) => {
            return members.values_mut().fold(false, |changed, member| walk(member, text, number) | changed);
        }
        Value::Null | Value::Bool(_) => None,
    };
    match new {
        Some(new) => {
            *value = new.into();
            true
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn without(mut row: Value, secret: &str) -> Value {
        let redactor = Redactor::default().with_secrets(std::iter::once(secret.to_string()));
        let members = row.as_object_mut().unwrap();
        row_without(members, &|text| redactor.finds(text).then(|| redactor.without_values(text)));
        row
    }

    #[test]
    fn what_is_measured_and_what_joins_rows_stays() {
        let row = json!({
            "record": "run_end", "run_id": "random-123456", "failure_class": "random", "failure_reason": "a random 123456",
            "duration_s": 123456, "new_key": [{"said": "random"}], "run": {"run_id": "random-1", "benchmark_command": "random"},
        });
        let clean = without(without(row.clone(), "random"), "123456");
        assert_eq!(clean["failure_reason"], "a [REDACTED:value] [REDACTED:value]");
        assert_eq!(clean["new_key"][0]["said"], "[REDACTED:value]");
        assert_eq!(clean["run"], json!({"run_id": "random-1", "benchmark_command": "[REDACTED:value]"}));
        for key in ["run_id", "failure_class", "duration_s"] {
            assert_eq!(clean[key], row[key], "{key}");
        }
    }

    #[test]
    fn nothing_of_another_program_is_exempt() {
        let redactor = Redactor::default().with_secrets(["123456", "random"].map(String::from).into_iter());
        let mut members = json!({"status": "random", "id": 123456, "n": 12, "deep": ["x random y"]});
        foreign(members.as_object_mut().unwrap(), &redactor);
        let gone = "[REDACTED:value]";
        assert_eq!(members, json!({"status": gone, "id": gone, "n": 12, "deep": [format!("x {gone} y")]}));
    }
}
