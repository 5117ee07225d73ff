//! The formats of prompt files in use, each read into the same parts.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use super::Prompt;
use crate::engines::protocol::SAMPLING;
use crate::rows::kinds::Members;

/// Members for the output length; the first one present counts.
const OUTPUT: [&str; 9] = [
    "output_len",
    "output_length",
    "max_completion_tokens",
    "max_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "output_tokens",
    "output_tokens_count",
    "completion_tokens",
];
/// Members for the prompt length.
const INPUT: [&str; 5] = ["input_len", "input_length", "prompt_tokens", "input_tokens", "prompt_tokens_count"];
/// Questions without an instruction; the first one present counts.
const QUESTION: [&str; 5] = ["question", "query", "input", "inputs", "text_input"];
/// Answers to choose from, which are part of a question.
const CHOICES: [&str; 4] = ["choices", "options", "endings", "choice_A"];
/// Texts beside a prompt that may be part of it.
const BESIDE: [&str; 6] = ["prefix", "suffix", "passage", "passages", "document", "documents"];
/// Files outside of the messages that are part of the prompt.
const MEDIA: [&str; 6] = ["image", "images", "video", "videos", "audio", "audios"];
/// Members that bench-load sets itself.
const OURS: [&str; 4] = ["model", "stream", "stream_options", "n"];

/// The parts of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowParts {
    /// Name of the row's format.
    pub shape: &'static str,
    pub prompt: Prompt,
    /// The answer in the row, which is not sent.
    pub answer: Option<String>,
    pub output_len: Option<u32>,
    pub input_len: Option<u32>,
    pub extra: Members,
    pub session: Option<String>,
    pub timestamp: Option<f64>,
    pub rest: Members,
    /// `images`, `tools`: what not every server accepts.
    pub needs: BTreeSet<&'static str>,
}

/// Splits a row into its parts.
///
/// # Errors
/// Why it cannot be sent.
pub fn parts(mut row: Map<String, Value>) -> Result<RowParts, String> {
    // In a batch file the body is one level deeper.
    if let Some(Value::Object(body)) = row.remove("body") {
        let url = row.get("url").and_then(Value::as_str).unwrap_or_default().trim_end_matches('/');
        if ["embeddings", "rerank", "score", "moderations", "generations", "speech"]
            .iter()
            .any(|end| url.ends_with(end))
        {
            return Err(format!("is a request to {url}, which has no answer of text"));
        }
        row.extend(body);
    }
    let mut needs = BTreeSet::new();
    let mut answer = None;
    let system = text(&mut row, &["system", "system_prompt", "instructions"]);
    let (shape, prompt) = if let Some(ids) = row.remove("hash_ids") {
        let ids: Option<Vec<u64>> = ids.as_array().and_then(|ids| ids.iter().map(number).collect());
        ("mooncake", Prompt::Blocks(ids.ok_or("hash_ids is not a list of whole numbers")?))
    } else if let Some(messages) = take(&mut row, &["messages", "conversations", "conversation"]) {
        let shape = if messages[0].get("from").is_some() { "sharegpt" } else { "messages" };
        let (messages, last) = conversation(&messages, &mut needs)?;
        answer = last;
        (shape, Prompt::Messages(messages))
    } else if let Some(prompt) = row.remove("prompt") {
        match prompt {
            Value::String(text) => ("prompt", Prompt::Text(text)),
            Value::Array(items) if items.iter().any(|item| item.is_number() || item.is_array()) => {
                return Err("has a prompt of token ids: only text and messages are read".into());
            }
            Value::Array(items) if items.iter().any(Value::is_string) => {
                return Err("has several prompts in one row: write a row for each".into());
            }
            Value::Array(_) => {
                let (messages, last) = conversation(&prompt, &mut needs)?;
                answer = last;
                ("prompt", Prompt::Messages(messages))
            }
            _ => return Err("prompt is neither text nor a list of messages".into()),
        }
    } else if let Some(Value::String(instruction)) = row.remove("instruction") {
        ("instruction", Prompt::Text(instruction))
    } else if let Some(messages) = take(&mut row, &["input"]) {
        let (messages, last) = conversation(&messages, &mut needs)?;
        answer = last;
        ("messages", Prompt::Messages(messages))
    } else if let Some(question) = text(&mut row, &QUESTION) {
        if let Some(key) = CHOICES.iter().find(|key| row.contains_key(**key)) {
            return Err(format!("has {key}, which belongs to its question and would not be sent"));
        }
        ("question", Prompt::Text(question))
    } else {
        let why = "has none of prompt, messages, conversations, instruction, question and hash_ids: rename the key of its prompt";
        return Err(why.into());
    };
    let prompt = match prompt {
        Prompt::Text(first) => {
            // Context of the question; the answer is not sent.
            let more = [text(&mut row, &["input"]), text(&mut row, &["context"])];
            answer = text(&mut row, &["completion", "response", "output", "answer", "chosen"]);
            if let Some(key) =
                BESIDE.iter().find(|key| row.get(**key).is_some_and(|text| text.is_string() || text.is_array()))
            {
                return Err(format!("has {key}, which may be part of its prompt and would not be sent"));
            }
            let parts: Vec<String> = [system, Some(first)].into_iter().chain(more).flatten().collect();
            Prompt::Text(parts.into_iter().filter(|part| !part.trim().is_empty()).collect::<Vec<_>>().join("\n\n"))
        }
        Prompt::Messages(mut messages) => {
            let known = |system: &String| {
                messages.iter().any(|message| message["role"] == "system" && text_of(&message["content"]) == *system)
            };
            if let Some(system) = system.filter(|system| !known(system)) {
                messages.insert(0, json!({"role": "system", "content": system}));
            }
            Prompt::Messages(messages)
        }
        blocks @ Prompt::Blocks(_) => blocks,
    };
    if matches!(&prompt, Prompt::Text(text) if text.trim().is_empty()) {
        return Err("prompt is empty".into());
    }
    let file =
        |key: &&&str| row.get(**key).is_some_and(|value| !value.is_null() && *value != json!([]) && *value != "");
    if let Some(key) = MEDIA.iter().find(file).filter(|_| !needs.contains("images")) {
        return Err(format!("has a file ({key}) that is not part of its messages and would not be sent"));
    }
    let mut extra = Members::new();
    for nested in ["sampling_params", "parameters", "extra_request_body"] {
        if let Some(Value::Object(members)) = row.remove(nested) {
            extra.extend(members);
        }
    }
    for key in SAMPLING {
        if let Some(value) = row.remove(key) {
            extra.insert(key.into(), value);
        }
    }
    for key in ["tools", "tool_choice", "functions"] {
        if let Some(value) = row.remove(key).filter(|value| *value != json!([]) && !value.is_null() && *value != "") {
            needs.insert("tools");
            extra.insert(key.into(), tools(value).ok_or_else(|| format!("{key} is text that is not JSON"))?);
        }
    }
    // The length is a member of the row or one of its sampling members.
    let (own, sampled) = (count(&mut row, &OUTPUT)?, count(&mut extra, &OUTPUT)?);
    let output_len = own.or(sampled);
    let input_len = count(&mut row, &INPUT).unwrap_or_default();
    for key in OURS {
        row.remove(key);
    }
    let name = |value: Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    Ok(RowParts {
        shape,
        prompt,
        answer,
        output_len,
        input_len,
        extra,
        session: row.remove("session").map(name),
        timestamp: row.remove("timestamp").filter(|at| !at.is_null()).map(milliseconds).transpose()?,
        rest: row,
        needs,
    })
}

/// A whole number, also as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn take(row: &mut Map<String, Value>, keys: &[&str]) -> Option<Value> {
    let key = keys.iter().find(|key| row.get(**key).is_some_and(Value::is_array))?;
    row.remove(*key)
}

/// Removes these members, and gives the first length among them; an error if only other numbers or texts are there.
fn count(members: &mut Members, keys: &[&str]) -> Result<Option<u32>, String> {
    let (mut found, mut odd) = (None, None);
    for key in keys {
        let Some(value) = members.get(*key).filter(|value| value.is_number() || value.is_string()) else { continue };
        match whole(value).filter(|n| *n > 0) {
            Some(n) => found = found.or(Some(n)),
            None => odd = odd.or(Some(format!("{key} is {value}, not a number of tokens of at least 1"))),
        }
        members.remove(*key);
    }
    match (found, odd) {
        (None, Some(why)) => Err(why),
        (found, _) => Ok(found),
    }
}

/// A whole number, also as `500.0` or `"500"`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u32)
}

/// Removes the first of these members that is text.
fn text(row: &mut Map<String, Value>, keys: &[&str]) -> Option<String> {
    let key =
        keys.iter().find(|key| row.get(**key).is_some_and(|value| value.as_str().is_some_and(|t| !t.is_empty())))?;
    row.remove(*key)?.as_str().map(String::from)
}

/// A timestamp in ms: a number, or a date, in UTC if it has no time zone.
#[allow(clippy::cast_precision_loss, reason = "ms since 1970 fit")]
fn milliseconds(at: Value) -> Result<f64, String> {
    let date = |text: &str| {
        let text = text.trim();
        let utc = |text: &str| Offset::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok();
        text.parse::<Timestamp>().ok().or_else(|| utc(text)).map(|at| at.as_microsecond() as f64 / 1000.0)
    };
    let number = at.as_f64().or_else(|| at.as_str()?.trim().parse().ok()).filter(|ms: &f64| ms.is_finite());
    let found = number.or_else(|| at.as_str().and_then(date));
    found.ok_or_else(|| format!("timestamp {at} is neither a number of ms nor a date"))
}

/// Tools, also as JSON text; a bare function is wrapped as a tool.
fn tools(value: Value) -> Option<Value> {
    let value = match value {
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => serde_json::from_str(&text).ok()?,
        // `auto`, `none`: the choice of a tool.
        other => other,
    };
    let Value::Array(items) = value else { return Some(value) };
    let wrapped = |item: Value| match item.get("name").is_some() && item.get("type").is_none() {
        true => json!({"type": "function", "function": item}),
        false => item,
    };
    Some(items.into_iter().map(wrapped).collect())
}

/// The role of a message, from any of its usual names.
///
/// # Errors
/// The error, to be prefixed with "message N".
pub fn role(message: &Value) -> Result<&'static str, String> {
    let role = message["role"].as_str().or(message["from"].as_str());
    let role = role.ok_or("has no role")?;
    match role.to_ascii_lowercase().as_str() {
        "human" | "user" | "prompter" => Ok("user"),
        "gpt" | "assistant" | "chatgpt" | "bing" | "bard" | "model" | "ai" | "bot" | "function_call" => Ok("assistant"),
        "system" | "developer" => Ok("system"),
        "tool" | "function" | "observation" => Ok("tool"),
        _ => Err(format!("has an unknown role {role:?}")),
    }
}

/// The messages that are sent, and the final answer, which is not.
fn conversation(value: &Value, needs: &mut BTreeSet<&'static str>) -> Result<(Vec<Value>, Option<String>), String> {
    let mut messages = Vec::new();
    for (i, message) in value.as_array().into_iter().flatten().enumerate() {
        let role = role(message).map_err(|what| format!("message {} {what}", i + 1))?;
        if role == "tool" || message["from"] == "function_call" {
            needs.insert("tools");
        }
        let content = message.get("content").or(message.get("value")).cloned().unwrap_or_default();
        let content = if content.is_object() { content["text"].clone() } else { content };
        let kinds = content.as_array().into_iter().flatten().filter_map(|part| part["type"].as_str());
        needs.extend(kinds.filter(|kind| *kind != "text").map(|kind| match kind {
            _ if kind.contains("audio") => "audio",
            _ if kind.contains("video") => "videos",
            _ => "images",
        }));
        if message.get("tool_calls").is_some_and(|calls| *calls != json!([]) && !calls.is_null()) {
            needs.insert("tools");
        }
        if role == "user" && !content.is_array() && text_of(&content).trim().is_empty() {
            return Err("a message of the user is empty".into());
        }
        let mut one = message.as_object().cloned().unwrap_or_default();
        one.retain(|key, _| ["tool_calls", "tool_call_id", "name"].contains(&key.as_str()));
        let mut sent = json!({"role": role, "content": content});
        for (key, value) in one {
            sent[key] = value;
        }
        messages.push(sent);
    }
    let last = messages.last().ok_or("has no messages")?;
    let mut answer = None;
    if last["role"] == "assistant" {
        answer = value.as_array().and_then(|all| all.last()).map(answered);
        messages.pop();
    }
    if !messages.iter().any(|message| message["role"] == "user") {
        return Err("has no message of a user".into());
    }
    Ok((messages, answer))
}

/// What an answer made its server write: the reasoning, the text, a refusal and tool calls.
fn answered(message: &Value) -> String {
    let reasoning = ["reasoning_content", "reasoning", "thinking"].iter().find_map(|key| message[*key].as_str());
    let content = message.get("content").or(message.get("value")).map(text_of).unwrap_or_default();
    let calls = message["tool_calls"].as_array().filter(|calls| !calls.is_empty());
    let calls = calls.map(|calls| calls.iter().map(|call| call["function"].to_string()).collect::<Vec<_>>().join("\n"));
    let parts = [reasoning.map(String::from), Some(content), message["refusal"].as_str().map(String::from), calls];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The text of a message's content.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        Value::Object(one) => one.get("text").and_then(Value::as_str).unwrap_or_default().into(),
        _ => String::new(),
    }
}
