//! Talks that are not lists of messages: lists of texts in turn, and a history beside the last question.

use serde_json::{Map, Value, json};

/// Members that may have a talk as a list of texts, the user's first.
const TEXTS: [&str; 3] = ["data", "conversations", "conversation"];

/// Members with the last question beside a history.
const ASKS: [&str; 5] = ["instruction", "prompt", "question", "query", "input"];

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
    } else if let Some(messages) = row.get("contents").and_then(contents) {
        row.remove("contents");
        row.insert("conversations".into(), messages.into());
    } else if let Some(pairs) =
        row.get("history").and_then(history).filter(|_| ASKS.iter().any(|key| row.contains_key(*key)))
    {
        let mut parts = |keys: &[&str]| -> Vec<String> {
            let texts = keys.iter().filter_map(|key| row.remove(*key)?.as_str().map(String::from));
            texts.filter(|text| !text.trim().is_empty()).collect()
        };
        let question = parts(&ASKS).join("\n\n");
        let mut texts: Vec<String> = pairs.into_iter().flatten().collect();
        texts.push(question);
        texts.extend(parts(&["output", "response", "answer"]).into_iter().next());
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

/// Messages as Gemini has them: each a role, and parts with a text.
fn contents(value: &Value) -> Option<Vec<Value>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    let message = |one: &Value| {
        let texts: Option<Vec<&str>> = one["parts"].as_array()?.iter().map(|part| part["text"].as_str()).collect();
        Some(json!({"role": one.get("role").cloned().unwrap_or("user".into()), "content": texts?.join("\n")}))
    };
    list.iter().map(message).collect()
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
