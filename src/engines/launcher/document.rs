//! Files that a launcher's commands read: JSON (a manifest of Kubernetes) whose texts have placeholders, or a script as it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fill::TemplateValues;
use crate::base::error::{Error, Result};
use crate::rows::kinds::CandidateServer;

/// The key of a member of a list that is there once for each item of `variables`, `inherited`, `folders` or `claims`.
const EACH: &str = "each";

/// Words that a document has as numbers where they stand alone.
const NUMBERS: [&str; 2] = ["port", "gpu_count"];

/// The items of each list of a server, with the values of their placeholders.
pub(super) type DocumentItems = BTreeMap<&'static str, Vec<BTreeMap<String, Value>>>;

/// The lists of a server: variables with a value, variables that are inherited, folders of a host and claims to volumes.
pub(super) fn items(server: &CandidateServer) -> DocumentItems {
    let item = |members: Vec<(&str, Value)>| {
        members.into_iter().map(|(name, value)| (format!("item_{name}"), value)).collect::<BTreeMap<_, _>>()
    };
    let mut all = DocumentItems::from([("variables", Vec::new()), ("inherited", Vec::new())]);
    for (name, value) in &server.env {
        let (list, more) = match value {
            Some(value) => ("variables", Some(("value", value.as_str().into()))),
            None => ("inherited", None),
        };
        let members = std::iter::once(("name", name.as_str().into())).chain(more);
        all.entry(list).or_default().push(item(members.collect()));
    }
    for list in ["folders", "claims"] {
        // What begins with a slash is a folder of the host, as docker has it; else it is the name of a volume.
        let own = server.mounts.iter().filter(|mount| mount.starts_with('/') == (list == "folders"));
        let one = |(i, mount): (usize, &String)| {
            let mut parts = mount.split(':');
            let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let read_only = parts.any(|option| option.split(',').any(|word| word == "ro"));
            let index = i.to_string();
            item(vec![
                ("index", index.into()),
                ("from", from.into()),
                ("to", to.into()),
                ("read_only", read_only.into()),
            ])
        };
        all.insert(list, own.enumerate().map(one).collect());
    }
    all
}

/// All texts of a document with placeholders: none of a script.
pub(super) fn texts(document: &Value) -> Vec<&str> {
    fn of(value: &Value) -> Vec<&str> {
        match value {
            Value::String(text) => vec![text],
            Value::Array(all) => all.iter().flat_map(of).collect(),
            Value::Object(members) => members.values().flat_map(of).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
        }
    }
    if document.is_string() { Vec::new() } else { of(document) }
}

/// True for a document with an item for each mount.
pub(super) fn mounts(document: &Value) -> bool {
    match document {
        Value::Array(all) => all.iter().any(mounts),
        Value::Object(members) => {
            members.get(EACH).is_some_and(|list| list == "folders" || list == "claims") || members.values().any(mounts)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

impl TemplateValues {
    /// The text of a document.
    ///
    /// # Errors
    /// A placeholder without a value, or an unknown list.
    pub(super) fn document(&self, template: &Value, items: &DocumentItems) -> Result<String> {
        if let Value::String(script) = template {
            return Ok(script.clone());
        }
        let filled = self.with_script()?.value(template, items, &BTreeMap::new())?;
        Ok(format!("{}\n", filled.unwrap_or_default()))
    }

    /// A value of a document; `None` for an optional text, `{name?}`, without a value.
    fn value(&self, template: &Value, items: &DocumentItems, item: &BTreeMap<String, Value>) -> Result<Option<Value>> {
        Ok(Some(match template {
            Value::String(text) => return self.one_text(text, item),
            Value::Array(all) => {
                let mut list = Vec::new();
                for one in all {
                    list.extend(self.members(one, items, item)?);
                }
                Value::Array(list)
            }
            Value::Object(members) => {
                let mut map = Map::new();
                for (key, value) in members.iter().filter(|(key, _)| *key != EACH) {
                    map.extend(self.value(value, items, item)?.map(|value| (key.clone(), value)));
                }
                Value::Object(map)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
        }))
    }

    /// What one member of a list becomes.
    fn members(&self, one: &Value, items: &DocumentItems, item: &BTreeMap<String, Value>) -> Result<Vec<Value>> {
        if one == "{argv...}" {
            return Ok(self.lists.get("argv").into_iter().flatten().map(|word| word.as_str().into()).collect());
        }
        let Some(list) = one.get(EACH) else { return Ok(self.value(one, items, item)?.into_iter().collect()) };
        let unknown = || Error::new(format!("launcher {}: unknown list {list}", self.launcher));
        let list = list.as_str().and_then(|list| items.get(list)).ok_or_else(unknown)?;
        list.iter().filter_map(|item| self.value(one, items, item).transpose()).collect()
    }

    fn one_text(&self, text: &str, item: &BTreeMap<String, Value>) -> Result<Option<Value>> {
        let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        if let Some(value) = item.get(name) {
            return Ok(Some(value.clone()));
        }
        if let Some(optional) = name.strip_suffix('?') {
            return Ok(self.words.get(optional).map(|word| typed(optional, word)));
        }
        if let Some(word) = self.words.get(name).filter(|_| NUMBERS.contains(&name)) {
            return Ok(Some(typed(name, word)));
        }
        let mut fill = self.clone();
        fill.words.extend(item.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))));
        Ok(Some(fill.text(text)?.into()))
    }
}

fn typed(name: &str, word: &str) -> Value {
    let number = word.parse::<u64>().ok().filter(|_| NUMBERS.contains(&name));
    number.map_or_else(|| word.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_repeated_and_optional_members_left_out() {
        let server: CandidateServer = serde_json::from_value(json!({
            "definition": "vllm", "argv": ["vllm"], "launcher": [{"name": "kubectl"}], "flags": {},
            "env": {"A": "8000", "HF_TOKEN": null}, "mounts": ["/models:/models:ro", "weights:/w"],
        }))
        .unwrap();
        let words = [("port", "8000"), ("name", "n")].map(|(name, word)| (name.to_string(), word.to_string()));
        let lists = [("argv".to_string(), vec!["vllm".to_string(), "{x}".to_string()])];
        let fill = TemplateValues { words: words.into(), lists: lists.into(), ..TemplateValues::default() };
        let template = json!({
            "port": "{port}", "text": "{name}-{port}", "gone": "{gpu_count?}", "kept": {"x": "{account?}"},
            "command": ["run", "{argv...}"],
            "env": [{"each": "variables", "name": "{item_name}", "value": "{item_value}"},
                    {"each": "inherited", "key": "{item_name}"}],
            "folders": [{"each": "folders", "name": "f-{item_index}", "from": "{item_from}", "ro": "{item_read_only}"}],
            "claims": [{"each": "claims", "claim": "{item_from}", "to": "{item_to}", "ro": "{item_read_only}"}],
        });
        let text = fill.document(&template, &items(&server)).unwrap();
        let filled: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            filled,
            json!({
                "port": 8000, "text": "n-8000", "kept": {}, "command": ["run", "vllm", "{x}"],
                "env": [{"name": "A", "value": "8000"}, {"key": "HF_TOKEN"}],
                "folders": [{"name": "f-0", "from": "/models", "ro": true}],
                "claims": [{"claim": "weights", "to": "/w", "ro": false}],
            })
        );
        let why = fill.document(&json!(["{secret}"]), &items(&server)).unwrap_err().to_string();
        assert!(why.contains("requires \"secret\""), "{why}");
        assert!(fill.document(&json!([{"each": "x"}]), &items(&server)).is_err());
        assert_eq!(fill.document(&json!("echo {x}"), &items(&server)).unwrap(), "echo {x}");
    }
}
