//! The shapes that rows of prompts have in the wild, each to the same parts.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Prompt;
use crate::schema::Members;

/// Members of a row that say how to sample: they go into the request's body.
const SAMPLING: [&str; 16] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "stop",
    "stop_token_ids",
    "seed",
    "ignore_eos",
    "min_tokens",
    "response_format",
    "guided_json",
    "chat_template_kwargs",
];
/// Members that say how long the answer is to be, the first that is there.
const OUTPUT: [&str; 6] =
    ["output_len", "output_length", "max_completion_tokens", "max_tokens", "max_new_tokens", "output_tokens"];
/// And the prompt.
const INPUT: [&str; 4] = ["input_len", "input_length", "prompt_tokens", "input_tokens"];
/// What a request is sent with anyway.
const OURS: [&str; 4] = ["model", "stream", "stream_options", "n"];

/// The parts of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// What the row's shape is called.
    pub shape: &'static str,
    pub prompt: Prompt,
    /// The answer that the row has, which is not sent.
    pub answer: Option<String>,
    pub output_len: Option<u32>,
    pub input_len: Option<u32>,
    pub extra: Members,
    pub session: Option<String>,
    pub timestamp: Option<f64>,
    pub rest: Members,
    /// `images`, `tools`: what not every server takes.
    pub needs: BTreeSet<&'static str>,
}

/// Takes a row apart.
///
/// # Errors
/// Why it cannot be sent.
pub fn parts(mut row: Map<String, Value>) -> Result<Parts, String> {
    // A request of a batch file has its body a level deeper.
    if let Some(Value::Object(body)) = row.remove("body") {
        row.extend(body);
    }
    let mut needs = BTreeSet::new();
    let mut answer = None;
    let (shape, prompt) = if let Some(ids) = row.remove("hash_ids") {
        let ids: Option<Vec<u64>> = ids.as_array().and_then(|ids| ids.iter().map(Value::as_u64).collect());
        ("mooncake", Prompt::Blocks(ids.ok_or("hash_ids is no list of whole numbers")?))
    } else if let Some(messages) = take(&mut row, &["messages", "conversations", "conversation"]) {
        let shape = if messages[0].get("from").is_some() { "sharegpt" } else { "messages" };
        let (messages, last) = talk(&messages, &mut needs)?;
        answer = last;
        (shape, Prompt::Messages(messages))
    } else if let Some(prompt) = row.remove("prompt") {
        match prompt {
            Value::String(text) => ("prompt", Prompt::Text(text)),
            Value::Array(_) => {
                let (messages, last) = talk(&prompt, &mut needs)?;
                answer = last;
                ("prompt", Prompt::Messages(messages))
            }
            _ => return Err("prompt is neither a text nor a list of messages".into()),
        }
    } else if let Some(Value::String(instruction)) = row.remove("instruction") {
        let input = row.remove("input").and_then(|v| v.as_str().map(String::from)).filter(|text| !text.is_empty());
        answer = row.remove("output").or(row.remove("response")).and_then(|v| v.as_str().map(String::from));
        let text = input.map_or(instruction.clone(), |input| format!("{instruction}\n\n{input}"));
        ("instruction", Prompt::Text(text))
    } else {
        return Err("it has neither prompt, messages, conversations, instruction nor hash_ids".into());
    };
    if matches!(&prompt, Prompt::Text(text) if text.trim().is_empty()) {
        return Err("its prompt is empty".into());
    }
    let mut extra = Members::new();
    for nested in ["sampling_params", "extra_request_body"] {
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
        if let Some(value) = row.remove(key).filter(|value| *value != json!([]) && !value.is_null()) {
            needs.insert("tools");
            extra.insert(key.into(), value);
        }
    }
    // A length stands in the row, or among its sampling members.
    let output_len = count(&mut row, &OUTPUT).or(count(&mut extra, &OUTPUT));
    let input_len = count(&mut row, &INPUT);
    for key in OURS {
        row.remove(key);
    }
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), String::from);
    Ok(Parts {
        shape,
        prompt,
        answer,
        output_len,
        input_len,
        extra,
        session: row.remove("session").map(text),
        timestamp: row.remove("timestamp").and_then(|at| at.as_f64()),
        rest: row,
        needs,
    })
}

fn take(row: &mut Map<String, Value>, keys: &[&str]) -> Option<Value> {
    let key = keys.iter().find(|key| row.get(**key).is_some_and(Value::is_array))?;
    row.remove(*key)
}

fn count(members: &mut Members, keys: &[&str]) -> Option<u32> {
    let mut found = None;
    for key in keys {
        if let Some(n) = members.get(*key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()) {
            members.remove(*key);
            found = found.or(Some(n).filter(|n| *n > 0));
        }
    }
    found
}

/// The messages that are sent, and the final answer, which is not.
fn talk(given: &Value, needs: &mut BTreeSet<&'static str>) -> Result<(Vec<Value>, Option<String>), String> {
    let mut messages = Vec::new();
    for (i, message) in given.as_array().into_iter().flatten().enumerate() {
        let role = message["role"].as_str().or(message["from"].as_str());
        let role = match role.ok_or_else(|| format!("message {} has no role", i + 1))? {
            "human" | "user" => "user",
            "gpt" | "assistant" | "chatgpt" | "bing" | "bard" | "model" => "assistant",
            "system" | "developer" => "system",
            "tool" | "function" | "observation" | "function_call" => {
                needs.insert("tools");
                "tool"
            }
            other => return Err(format!("message {} has the unknown role {other:?}", i + 1)),
        };
        let content = message.get("content").or(message.get("value")).cloned().unwrap_or_default();
        let parts = content.as_array().into_iter().flatten();
        if parts.clone().any(|part| part["type"].as_str().is_some_and(|kind| kind != "text")) {
            needs.insert("images");
        }
        if message.get("tool_calls").is_some_and(|calls| *calls != json!([]) && !calls.is_null()) {
            needs.insert("tools");
        }
        let mut one = message.as_object().cloned().unwrap_or_default();
        one.retain(|key, _| ["tool_calls", "tool_call_id", "name"].contains(&key.as_str()));
        let mut sent = json!({"role": role, "content": content});
        for (key, value) in one {
            sent[key] = value;
        }
        messages.push(sent);
    }
    let last = messages.last().ok_or("it has no message")?;
    let mut answer = None;
    if last["role"] == "assistant" {
        answer = Some(text_of(&last["content"]));
        messages.pop();
    }
    if !messages.iter().any(|message| message["role"] == "user") {
        return Err("nobody asks anything: it has no message of a user".into());
    }
    Ok((messages, answer))
}

/// The text of a message's content.
pub fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}
