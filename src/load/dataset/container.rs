//! Files that do not have one row per line: JSON over several lines, an object around the rows, and files that are not JSON.

use serde_json::Value;

use crate::rows::jsonl::quote_bare;

/// Members of an object around the rows.
const ROWS: [&str; 9] = ["data", "rows", "train", "test", "instances", "examples", "items", "prompts", "requests"];

/// The JSON values of a text, wherever its lines end, and why it cannot be read: one line for the whole file.
pub fn values(text: &str) -> (Vec<Value>, Vec<(usize, String)>) {
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    for value in serde_json::Deserializer::from_str(&quote_bare(text)).into_iter::<Value>() {
        match value {
            Ok(Value::Array(list)) => rows.extend(list),
            Ok(value @ Value::Object(_)) => rows.push(value),
            Ok(_) => break,
            Err(e) => broken.push((e.line(), format!("malformed JSON: {e}"))),
        }
    }
    if rows.is_empty() {
        broken = vec![(1, what(text))];
    }
    (rows, broken)
}

/// The rows in a lone object around them, or in a list on each line; any other rows as they are.
pub fn unwrapped(mut rows: Vec<Value>) -> Vec<Value> {
    if rows.iter().any(Value::is_array) {
        let listed = |row| match row {
            Value::Array(list) => list,
            row => vec![row],
        };
        return rows.into_iter().flat_map(listed).collect();
    }
    if let [Value::Object(one)] = &mut rows[..] {
        let list = |key: &&&str| {
            one.get(**key).and_then(Value::as_array).is_some_and(|list| list.first().is_some_and(Value::is_object))
        };
        if let Some(Value::Array(list)) = ROWS.iter().find(list).and_then(|key| one.remove(*key)) {
            return list;
        }
    }
    rows
}

/// What a file without JSON is.
fn what(text: &str) -> String {
    let text = text.trim_start();
    let first = text.lines().next().unwrap_or_default();
    let kind = if text.starts_with("version https://git-lfs") {
        "this is a pointer of Git LFS, not the file itself: run `git lfs pull`"
    } else if text.starts_with('<') {
        "this is a page of HTML or XML, not JSON: the download may need a login"
    } else if text.starts_with(['{', '[']) {
        "this JSON is not complete: the file may be cut off"
    } else if first.contains([',', '\t']) && !first.contains(['{', '[']) {
        "this looks like CSV, not JSON: convert it to one JSON object per line first"
    } else {
        "this is not JSON: a dataset has one JSON object per line, or is one JSON array"
    };
    let beginning: String = first.chars().take(60).collect();
    format!("{kind}; it begins with {beginning:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::dataset::{ReadOptions, read};
    use serde_json::json;

    #[test]
    fn rows_are_found_in_any_container_of_json() {
        let rows = vec![json!({"prompt": "a", "output_len": 3}), json!({"prompt": "b", "output_len": 4})];
        let (first, second) = (rows[0].to_string(), rows[1].to_string());
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
        for text in [
            format!("{first}\n{second}\n"),
            pretty(&json!(rows)),
            pretty(&json!({"version": 1, "data": rows})),
            json!({"train": rows}).to_string(),
            format!("{}\n{}", pretty(&rows[0]), pretty(&rows[1])),
            format!("[{first}]\n[{second}]"),
            format!("[{first}][{second}]"),
            format!("{}\n{}", first.replace('}', ", \"score\": NaN}"), second.replace('}', ", \"score\": -Infinity}")),
        ] {
            let read = read(&text, &ReadOptions::default());
            let lengths: Vec<u32> = read.entries.iter().map(|entry| entry.output_len).collect();
            assert_eq!((lengths, read.broken), (vec![3, 4], vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_named_once() {
        for (text, word) in [
            ("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n", "Git LFS"),
            ("<!DOCTYPE html>\n<html>\n</html>\n", "HTML"),
            ("city,country\n\"a, b\",c\n\"d\ne\",f\n", "CSV"),
            ("- prompt: a\n  output_len: 5\n", "is not JSON"),
            ("hello\nworld\n", "is not JSON"),
            ("{\n  \"data\": [\n    {\"prompt\": \"a\"", "not complete"),
            ("[{\"prompt\": \"a\"},", "not complete"),
        ] {
            let read = read(text, &ReadOptions::default());
            let [(1, why)] = &read.broken[..] else { panic!("{text}: {:?}", read.broken) };
            assert!(read.entries.is_empty() && why.contains(word), "{text}: {why}");
        }
    }
}
