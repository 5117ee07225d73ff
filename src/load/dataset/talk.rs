//! Talks that are not lists of messages: lists of texts in turn, and a history beside the last question.

use serde_json::{Map, Value, json};

/// Members that may have a talk as a list of texts, the user's first.
const TEXTS: [&str; 3] = ["data", "conversations", "conversation"];

/// The row with its talk as `conversations`; any other row as it is.
pub fn talk(mut row: Map<String, Value>) -> Map<String, Value> {
    let texts = |value: &Value| {
        let list = value.as_array().filter(|list| !list.is_empty())?;
        list.iter().map(|text| text.as_str().map(String::from)).collect::<Option<Vec<_>>>()
    };
    if let Some(turns) = row.get("turns").and_then(turns) {
        // MT-Bench: questions only. A later one follows the answer to the one before it, where the row has a reference for each.
        let answers = row.get("reference").and_then(texts).filter(|answers| answers.len() == turns.len());
        let messages = match answers {
            Some(answers) => in_turn(turns.into_iter().zip(answers).flat_map(|(ask, answer)| [ask, answer]).collect()),
            None => in_turn(turns.into_iter().take(1).collect()),
        };
        row.remove("turns");
        row.insert("conversations".into(), messages.into());
    } else if let Some((key, texts)) = TEXTS.iter().find_map(|key| Some((*key, row.get(*key).and_then(texts)?))) {
        row.remove(key);
        row.insert("conversations".into(), in_turn(texts).into());
    } else if let Some(pairs) = row.get("history").and_then(history).filter(|_| row.contains_key("instruction")) {
        let mut part = |key: &str| row.remove(key).and_then(|text| text.as_str().map(String::from)).unwrap_or_default();
        let question = [part("instruction"), part("input")];
        let question: Vec<String> = question.into_iter().filter(|text| !text.trim().is_empty()).collect();
        let mut texts: Vec<String> = pairs.into_iter().flatten().collect();
        texts.push(question.join("\n\n"));
        texts.extend(Some(part("output")).filter(|answer| !answer.is_empty()));
        row.remove("history");
        row.insert("conversations".into(), in_turn(texts).into());
    }
    row
}

/// Questions as a list of texts, or of objects with a text.
fn turns(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    list.iter().map(|turn| turn.as_str().or(turn["text"].as_str()).map(String::from)).collect()
}

fn in_turn(texts: Vec<String>) -> Vec<Value> {
    let roles = ["user", "assistant"].into_iter().cycle();
    roles.zip(texts).map(|(role, text)| json!({"role": role, "content": text})).collect()
}

/// Pairs of a question and its answer; `None` for any other shape, and without one.
fn history(value: &Value) -> Option<Vec<Vec<String>>> {
    let pair = |pair: &Value| {
        let texts: Option<Vec<String>> = pair.as_array()?.iter().map(|text| text.as_str().map(String::from)).collect();
        texts.filter(|texts| texts.len() == 2)
    };
    let pairs: Option<Vec<_>> = value.as_array()?.iter().map(pair).collect();
    pairs.filter(|pairs| !pairs.is_empty())
}
