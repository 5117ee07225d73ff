//! Reads members from the names of files: `vllm-seqs{max_num_seqs}-{scenario}-c{concurrency}-run{repeat}.json`.

use std::path::Path;

use serde_json::{Value, json};

use super::keys;
use crate::base::error::{Error, Result};
use crate::base::shell;
use crate::rows::kinds::Members;

/// A pattern of file names with fields in braces. With `/` it also describes the folders above the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    parts: Vec<NamePart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NamePart {
    Literal(String),
    Field(String),
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A brace without its other one, two fields without text between them, a field that appears twice, or no field.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| Err(Error::new(format!("{text:?} is not a pattern of file names: {why}")));
        let (mut parts, mut rest): (Vec<NamePart>, &str) = (Vec::new(), text);
        while !rest.is_empty() {
            let (literal, more) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return wrong("a } without a {".into());
            }
            if !literal.is_empty() {
                parts.push(NamePart::Literal(literal.into()));
            }
            if literal.len() == rest.len() {
                break;
            }
            let Some((field, after)) = more.split_once('}').filter(|(field, _)| !field.is_empty()) else {
                return wrong("write fields as {scenario}".into());
            };
            if matches!(parts.last(), Some(NamePart::Field(_))) {
                return wrong(format!("{{{field}}} needs text before it, such as -{{{field}}}"));
            }
            let field = NamePart::Field(field.into());
            if parts.contains(&field) {
                return wrong("a field appears twice".into());
            }
            parts.push(field);
            rest = after;
        }
        match parts.iter().any(|part| matches!(part, NamePart::Field(_))) {
            true => Ok(Self { text: text.into(), parts }),
            false => wrong("it has no field such as {scenario}".into()),
        }
    }

    /// The members that the path of a file states, by place. The extension may be left out of the pattern.
    ///
    /// # Errors
    /// A path that does not match; a value of the wrong type.
    pub fn members(&self, path: &Path) -> Result<Vec<(String, Value)>> {
        let names: Vec<String> = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let depth = self.text.matches('/').count() + 1;
        let name = names[names.len().saturating_sub(depth)..].join("/");
        let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
        let mut fields = Vec::new();
        if !(matches(&self.parts, &name, &mut fields) && name != stem && self.text.contains('.')) {
            fields.clear();
            if !matches(&self.parts, stem, &mut fields) {
                fields.clear();
                if !matches(&self.parts, &name, &mut fields) {
                    let mut why = format!("the file's name does not match --name {:?}", self.text);
                    let without = self.text.rsplit_once('.').and_then(|(text, _)| Self::parse(text).ok());
                    if without.is_some_and(|without| matches(&without.parts, stem, &mut Vec::new())) {
                        why += ": leave its extension out to match any";
                    }
                    return Err(Error::new(why));
                }
            }
        }
        let mut members: Vec<(String, Value)> =
            fields.iter().map(|(field, text)| keys::field(field, text)).collect::<Result<_>>()?;
        let flags = |(place, value): &(String, Value)| {
            place.strip_prefix(keys::CHANGED).map(|flag| (flag.to_string(), value.clone()))
        };
        let changed: Members = members.iter().filter_map(flags).collect();
        if members.iter().all(|(place, _)| place != "candidate_id") {
            let id = if changed.is_empty() { "baseline".to_string() } else { shell::settings(&changed) };
            members.push(("candidate_id".into(), json!(id)));
        }
        Ok(members)
    }
}

/// True if `text` is these parts; the earlier of two fields is as short as possible. Values of known number fields are
/// checked later.
fn matches(parts: &[NamePart], text: &str, fields: &mut Vec<(String, String)>) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((NamePart::Literal(literal), rest)) => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| matches(rest, text, fields))
        }
        Some((NamePart::Field(name), rest)) => {
            let ends = text.char_indices().map(|(i, c)| (i + c.len_utf8(), c)).take_while(|(_, c)| *c != '/');
            for (end, _) in ends {
                let known = fields.len();
                fields.push((name.clone(), text[..end].to_string()));
                if keys::field(name, &text[..end]).is_ok() && matches(rest, &text[end..], fields) {
                    return true;
                }
                fields.truncate(known);
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::import::repeats::REPEAT;

    fn members(pattern: &str, path: &str) -> Result<Vec<(String, Value)>> {
        NamePattern::parse(pattern)?.members(Path::new(path))
    }

    #[test]
    fn a_pattern_that_only_the_extension_keeps_from_matching_says_so() {
        let why = |pattern, path| members(pattern, path).unwrap_err().to_string();
        assert!(
            why("{scenario}-c{concurrency}.json", "chat-c4.jsonl").ends_with(": leave its extension out to match any")
        );
        assert!(!why("{scenario}-c{concurrency}.json", "chat-4.jsonl").contains("extension"));
        assert!(members("{scenario}-c{concurrency}", "chat-c4.jsonl").is_ok());
    }

    #[test]
    fn fields_are_members_and_flags() {
        let found = members(
            "{framework}-{model}-seqs{max_num_seqs}-{scenario}-c{concurrency}-run{repeat}.json",
            "all/vllm-llama-3-8b-seqs16-long-chat-c4-run2.json",
        );
        let expected = [
            ("framework", json!("vllm")),
            ("model", json!("llama-3-8b")),
            ("candidate/changed/max_num_seqs", json!(16)),
            ("workload/scenario", json!("long-chat")),
            ("workload/max_concurrency", json!(4)),
            (REPEAT, json!(2)),
            ("candidate_id", json!("max_num_seqs=16")),
        ];
        assert_eq!(found.unwrap(), expected.map(|(place, value)| (place.to_string(), value)));
    }

    #[test]
    fn folders_and_names_without_an_extension() {
        let found = members("{framework}/{scenario}-qps{rate}", "runs/sglang/chat-qps1.5.jsonl").unwrap();
        assert_eq!(found[0], ("framework".into(), json!("sglang")));
        assert_eq!(found[2], ("workload/request_rate".into(), json!(1.5)));
    }

    #[test]
    fn other_names_and_patterns_are_errors() {
        let error = |pattern: &str, path: &str| members(pattern, path).unwrap_err().to_string();
        assert_eq!(error("a-{scenario}", "b-chat.json"), "the file's name does not match --name \"a-{scenario}\"");
        assert!(error("c{concurrency}", "cX.json").contains("does not match"));
        for pattern in ["plain", "{scenario", "a}", "{}", "{a}{b}", "{a}-{a}"] {
            assert!(error(pattern, "x").contains("is not a pattern of file names"), "{pattern}");
        }
    }
}
