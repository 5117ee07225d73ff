//! Finds secrets written into a plan: in a value, after a flag that takes one, or under a telling name.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::finding::Finding;
use crate::base::redact;
use crate::base::yaml::escape;
use crate::rows::words::FindingCode as Code;

const WHY: &str = "do not write secrets into a plan: pass it by name in env";

/// Adds a finding for every secret, at its place.
pub fn check(plan: &Value, found: &mut Vec<Finding>) {
    let before = found.len();
    walk(plan, &PlanNode { parent: None, key: "".into() }, found);
    for (name, section) in plan["frameworks"].as_object().into_iter().flatten() {
        let at = format!("/frameworks/{}", escape(name));
        env(section, &at, found);
        // Secrets that only their name or the word before them reveals.
        for part in ["base_server_flags", "search_space"] {
            for (knob, value) in section[part].as_object().into_iter().flatten() {
                let pointer = format!("{at}/{part}/{}", escape(knob));
                let own = json!({knob.as_str(): value}).to_string();
                if redact::holds_secret(&own) && !within(&found[before..], &pointer) {
                    found.push(Finding::value(Code::SecretInline, &pointer, WHY));
                }
            }
        }
        for part in ["extra_args", "candidates", "launcher", "mounts"] {
            let pointer = format!("{at}/{part}");
            if redact::holds_secret(&section[part].to_string()) && !within(&found[before..], &pointer) {
                found.push(Finding::value(Code::SecretInline, &pointer, WHY));
            }
        }
    }
}

fn within(found: &[Finding], pointer: &str) -> bool {
    found.iter().any(|finding| finding.pointer.starts_with(pointer))
}

/// A node of a plan by the keys that lead to it, so that a pointer is only written where something is found.
struct PlanNode<'a> {
    parent: Option<&'a PlanNode<'a>>,
    key: Cow<'a, str>,
}

impl PlanNode<'_> {
    fn pointer(&self) -> String {
        self.parent.map_or(String::new(), |parent| format!("{}/{}", parent.pointer(), escape(&self.key)))
    }

    fn depth(&self) -> usize {
        self.parent.map_or(0, |parent| parent.depth() + 1)
    }

    /// The key below the root that leads to it.
    fn part(&self) -> &str {
        match self.parent {
            Some(parent) if parent.parent.is_some() => parent.part(),
            _ => &self.key,
        }
    }
}

/// Every string that looks like a secret, except where a more specific check reports it.
fn walk(value: &Value, at: &PlanNode, found: &mut Vec<Finding>) {
    match value {
        Value::String(text) if redact::holds_secret(text) => {
            found.push(Finding::value(Code::SecretInline, &at.pointer(), WHY));
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                walk(item, &PlanNode { parent: Some(at), key: i.to_string().into() }, found);
            }
        }
        Value::Object(members) => {
            let own = |key: &str| match at.part() {
                "frameworks" => key == "env" && at.depth() > 1,
                "benchmark" => key == "headers" && at.depth() == 1,
                _ => false,
            };
            for (key, value) in members.iter().filter(|(key, _)| !own(key)) {
                walk(value, &PlanNode { parent: Some(at), key: key.into() }, found);
            }
        }
        _ => {}
    }
}

fn env(section: &Value, at: &str, found: &mut Vec<Finding>) {
    for (name, value) in section["env"].as_object().unwrap_or(&Map::new()) {
        let text = value.as_str().unwrap_or_default();
        if (redact::is_secret_name(name) && text.len() >= 6 && !text.starts_with('/')) || redact::holds_secret(text) {
            let why = format!("do not write secrets into a plan: write `{name}: null` to inherit it by name");
            found.push(Finding::value(Code::SecretInline, &format!("{at}/env/{}", escape(name)), why));
        }
    }
}
