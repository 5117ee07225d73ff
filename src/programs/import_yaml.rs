//! Results of other clients in YAML: the benchmark reports of llm-d.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::yaml;

/// Top-level keys of which a report has the first, and one of the others.
const KEYS: (&str, [&str; 2]) = ("version:", ["results:", "metrics:"]);
/// A number that is not finite, as YAML writes it.
static NOT_FINITE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([:,\[] *|- +)([-+]?\.(?:inf|Inf|INF|nan|NaN|NAN))\b").expect("a fixed pattern"));

/// True for a first line that a report may have: a comment, the start of a document, or a key.
pub fn may_begin(line: &str) -> bool {
    line.is_empty() || line.starts_with('#') || line == "---" || line.contains(':')
}

/// True for a text with the keys of a report.
#[must_use]
pub fn is_report(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    has(KEYS.0) && KEYS.1.iter().any(|key| has(key))
}

/// The documents of a text, each with its place.
///
/// # Errors
/// Invalid YAML, with its place.
pub fn documents(text: &str, name: &str) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    let mut documents: Vec<Vec<String>> = vec![Vec::new()];
    for line in text.lines() {
        match line.trim_end() {
            "---" => documents.push(Vec::new()),
            line => documents.last_mut().into_iter().for_each(|lines| lines.push(finite(line))),
        }
    }
    documents.retain(|lines| lines.iter().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    let several = documents.len() > 1;
    for (i, lines) in documents.iter().enumerate() {
        let place = if several { format!("{name}: document {}", i + 1) } else { name.to_string() };
        found.push((place.clone(), yaml::load(&lines.join("\n"), &place)?.value));
    }
    if found.is_empty() { Err(Error::new("the file is empty").at(name)) } else { Ok(found) }
}

/// The line with quotes around numbers that are not finite, which JSON does not have.
fn finite(line: &str) -> String {
    NOT_FINITE.replace_all(line, "$1\"$2\"").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_and_infinity_is_text() {
        let text = "version: 0.2.1\nresults: {a: 1}\nload: {rate: .inf, n: 1}\nlist: [.nan, -.inf]\n---\nversion: 0.1\nmetrics: {}\n";
        assert!(is_report(text) && !is_report("model: m\nframeworks: {}\n"));
        let found = documents(text, "x.yaml").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].0.as_str(), &found[0].1["load"]["rate"]), ("x.yaml: document 1", &".inf".into()));
        assert!(documents("results: [", "x.yaml").unwrap_err().to_string().starts_with("x.yaml:1:"));
    }
}
