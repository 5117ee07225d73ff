//! The bodies of an OpenAI-compatible endpoint: requests, and their responses whole or as events.

use serde_json::{Map, Value, json};

use super::batch::SimRequest;
use crate::base::digest;

/// The words of answers, one token each.
const WORDS: [&str; 16] =
    ["the", "of", "and", "to", "in", "is", "that", "it", "for", "was", "on", "are", "as", "with", "his", "they"];
/// Tokens that the chat template adds to each message, and once per request.
const TEMPLATE: (u64, u64) = (4, 3);

/// A parsed request.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// A chat completion.
    pub chat: bool,
    /// Its size.
    pub size: SimRequest,
    /// Respond with a stream of events.
    pub stream: bool,
    /// Send a usage event at the end.
    pub include_usage: bool,
    /// Send usage in every event.
    pub continuous_usage: bool,
    /// The answer ends before `max_tokens`.
    pub stops: bool,
    model: String,
    id: String,
    hash: u64,
}

/// The limits of the endpoint.
#[derive(Debug, Clone)]
pub struct EndpointLimits {
    /// The model's name.
    pub model: String,
    /// Context length: maximum number of tokens of prompt and output.
    pub max_model_len: u64,
    /// Seed of the lengths of answers.
    pub seed: u64,
}

impl Completion {
    /// Parses a body.
    ///
    /// # Errors
    /// HTTP status and message.
    pub fn parse(body: &[u8], chat: bool, served: &EndpointLimits) -> Result<Self, (u16, String)> {
        let bad = |message: &str| (400, message.to_string());
        let body: Value = serde_json::from_slice(body).map_err(|e| (400, format!("the body is not JSON: {e}")))?;
        if body["model"].as_str().is_some_and(|model| model != served.model) {
            return Err((404, format!("The model {} does not exist.", body["model"])));
        }
        let prompt = if chat { chat_tokens(&body["messages"]) } else { prompt_tokens(&body["prompt"]) };
        let prompt = prompt.ok_or_else(|| {
            bad(if chat {
                "`messages` must be a list of messages, each with `content` of text"
            } else {
                "`prompt` must be a string or token ids"
            })
        })?;
        let wanted = [&body["max_completion_tokens"], &body["max_tokens"]].into_iter().find(|v| !v.is_null());
        let max_tokens = wanted.map_or(Some(16), Value::as_u64).filter(|n| *n > 0);
        let max_tokens = max_tokens.ok_or_else(|| bad("`max_tokens` must be a positive integer"))?;
        if prompt + max_tokens > served.max_model_len {
            let why = format!(
                "This model's maximum context length is {} tokens. However, you requested {max_tokens} output tokens and \
                 your prompt contains {prompt} input tokens.",
                served.max_model_len
            );
            return Err((400, why));
        }
        let digest = digest::sha256(
            format!("{}{}", served.seed, if chat { &body["messages"] } else { &body["prompt"] }).as_bytes(),
        );
        let hash = u64::from_str_radix(&digest[..16], 16).unwrap_or_default();
        let output = if body["ignore_eos"] == true { max_tokens } else { 1 + hash % max_tokens };
        Ok(Self {
            chat,
            size: SimRequest { prompt: prompt.max(1), output },
            stream: body["stream"] == true,
            include_usage: body["stream_options"]["include_usage"] == true,
            continuous_usage: body["stream_options"]["continuous_usage_stats"] == true,
            stops: output < max_tokens,
            model: served.model.clone(),
            id: format!("{}-{}", if chat { "chatcmpl" } else { "cmpl" }, &digest[..24]),
            hash,
        })
    }

    /// The event before the first token; only chat has one.
    #[must_use]
    pub fn opening(&self) -> Option<String> {
        self.chat.then(|| self.event(&json!({"delta": {"role": "assistant", "content": ""}}), 0, false))
    }

    /// The event of the tokens from the `first` to the `n`-th, from 1.
    #[must_use]
    pub fn tokens(&self, first: u64, n: u64) -> String {
        let text: String = (first..=n).map(|n| self.word(n)).collect();
        let last = n == self.size.output;
        let choice = if self.chat { json!({"delta": {"content": text}}) } else { json!({"text": text}) };
        self.event(&choice, n, last)
    }

    /// The event with the usage, which has no choices.
    #[must_use]
    pub fn usage_event(&self) -> String {
        let mut event = self.envelope();
        event.insert("choices".into(), json!([]));
        event.insert("usage".into(), self.usage(self.size.output));
        Value::Object(event).to_string()
    }

    /// The whole response, for a request that does not stream.
    #[must_use]
    pub fn whole(&self) -> Value {
        let text: String = (1..=self.size.output).map(|n| self.word(n)).collect();
        let mut answer = self.envelope();
        let content =
            if self.chat { ("message", json!({"role": "assistant", "content": text})) } else { ("text", json!(text)) };
        if self.chat {
            answer.insert("object".into(), "chat.completion".into());
        }
        answer.insert("choices".into(), json!([{"index": 0, content.0: content.1, "finish_reason": self.finish()}]));
        answer.insert("usage".into(), self.usage(self.size.output));
        Value::Object(answer)
    }

    fn word(&self, n: u64) -> String {
        let at = usize::try_from(self.hash.wrapping_add(n.wrapping_mul(7)) % 16).unwrap_or_default();
        format!(" {}", WORDS[at])
    }

    fn finish(&self) -> &'static str {
        if self.stops { "stop" } else { "length" }
    }

    fn usage(&self, output: u64) -> Value {
        json!({"prompt_tokens": self.size.prompt, "completion_tokens": output, "total_tokens": self.size.prompt + output})
    }

    fn envelope(&self) -> Map<String, Value> {
        let object = if self.chat { "chat.completion.chunk" } else { "text_completion" };
        let mut event = Map::new();
        event.insert("id".into(), self.id.clone().into());
        event.insert("object".into(), object.into());
        event.insert("created".into(), 0.into());
        event.insert("model".into(), self.model.clone().into());
        event
    }

    fn event(&self, choice: &Value, n: u64, last: bool) -> String {
        let mut event = self.envelope();
        let mut choice = choice.clone();
        choice["index"] = 0.into();
        choice["finish_reason"] = if last { self.finish().into() } else { Value::Null };
        event.insert("choices".into(), json!([choice]));
        if self.continuous_usage {
            event.insert("usage".into(), self.usage(n));
        }
        Value::Object(event).to_string()
    }
}

/// Number of tokens of a prompt: one per word, or per token id.
fn prompt_tokens(prompt: &Value) -> Option<u64> {
    match prompt {
        Value::String(text) => Some(words(text)),
        Value::Array(ids) if !ids.is_empty() && ids.iter().all(Value::is_u64) => Some(ids.len() as u64),
        Value::Array(texts) if texts.len() == 1 => texts[0].as_str().map(words),
        _ => None,
    }
}

fn chat_tokens(messages: &Value) -> Option<u64> {
    let messages = messages.as_array().filter(|m| !m.is_empty())?;
    let sizes = messages.iter().map(|m| Some(content_words(&m["content"])? + TEMPLATE.0));
    sizes.sum::<Option<u64>>().map(|sum| sum + TEMPLATE.1)
}

/// The words of a message: text, or parts of text.
fn content_words(content: &Value) -> Option<u64> {
    match content.as_array() {
        Some(parts) => parts.iter().map(|part| part["text"].as_str().map(words)).sum(),
        None => content.as_str().map(words),
    }
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_parts_count_as_their_text() {
        let served = EndpointLimits { model: "m".into(), max_model_len: 100, seed: 0 };
        let prompt = |content: &Value| {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 4});
            Completion::parse(body.to_string().as_bytes(), true, &served).map(|asked| asked.size.prompt)
        };
        let parts = json!([{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]);
        assert_eq!(prompt(&parts).unwrap(), prompt(&json!("a b c")).unwrap());
        assert_eq!(prompt(&json!([{"type": "image_url"}])).unwrap_err().0, 400);
    }
}
