//! One event of a stream, or a whole answer: does it bear a token, does it end the answer, what does it count?
//!
//! Read without keeping anything: an event of the usual kind allocates nothing.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

pub use crate::schema::ENDPOINTS;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    Chat,
    /// SGLang's own `/generate`, whose texts are cumulative.
    Generate,
}

impl FromStr for Dialect {
    type Err = String;

    /// The dialect of an endpoint's path.
    fn from_str(endpoint: &str) -> Result<Self, String> {
        match endpoint {
            "/v1/completions" => Ok(Self::Completions),
            "/v1/chat/completions" => Ok(Self::Chat),
            "/generate" => Ok(Self::Generate),
            _ => Err(format!("{endpoint:?} is not one of {}", ENDPOINTS.join(", "))),
        }
    }
}

/// What one event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Some choice has text, reasoning or tool-call arguments that are not empty.
    pub has_text: bool,
    /// It has something that is not reasoning.
    pub has_answer: bool,
    /// Its text is everything so far: only its count tells whether something is new.
    pub cumulative: bool,
    /// Why the answer ended, in the event that ends it.
    pub finish_reason: Option<String>,
    /// Token counts, where the event has them.
    pub usage: Option<Usage>,
    /// The server's error, inside a stream that began well.
    pub error: Option<String>,
    /// The terminator `[DONE]`.
    pub done: bool,
}

/// Token counts by the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input: Option<u32>,
    /// Tokens of the answer so far, reasoning included.
    pub output: Option<u32>,
    /// Prompt tokens that came from a cache.
    pub cached: Option<u32>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    choices: Choices<'a>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(default)]
    text: Full,
    #[serde(borrow, default)]
    meta_info: Option<MetaInfo<'a>>,
}

/// What SGLang's `/generate` says of an answer.
#[derive(Deserialize)]
struct MetaInfo<'a> {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
    #[serde(default)]
    cached_tokens: Option<u32>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// All choices of an event, folded.
#[derive(Default)]
struct Choices<'a> {
    text: bool,
    answer: bool,
    finish_reason: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Fold;
        impl<'de> Visitor<'de> for Fold {
            type Value = Choices<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of choices")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Choices::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                let mut folded = Choices::default();
                while let Some(choice) = all.next_element::<Choice>()? {
                    let delta = choice.delta.unwrap_or_default();
                    let answer = choice.text.0 || delta.content.0 || delta.tool_calls.0;
                    let thought = delta.reasoning_content.0 || delta.reasoning.0 || delta.reasoning_details.0;
                    folded.answer |= answer;
                    folded.text |= answer || thought;
                    folded.finish_reason = choice.finish_reason.or(folded.finish_reason);
                }
                Ok(folded)
            }
        }
        source.deserialize_any(Fold)
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    text: Full,
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Full,
    #[serde(default)]
    reasoning_content: Full,
    #[serde(default)]
    reasoning: Full,
    #[serde(default)]
    tool_calls: Full,
    #[serde(default)]
    reasoning_details: Full,
}

/// Whether there is a text that is not empty: a string, or in a list of parts one under `arguments` or `text`.
#[derive(Default)]
struct Full(bool);

impl<'de> Deserialize<'de> for Full {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Full;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_unit<E>(self) -> Result<Full, E> {
        Ok(Full(false))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Full, E> {
        Ok(Full(!text.is_empty()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Full, A::Error> {
        let mut full = false;
        while let Some(one) = all.next_element::<Full>()? {
            full |= one.0;
        }
        Ok(Full(full))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Full, A::Error> {
        let mut full = false;
        while let Some(key) = members.next_key::<Key>()? {
            match key {
                Key::Text => full |= members.next_value::<Full>()?.0,
                Key::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Full(full))
    }
}

/// The names under which parts have their text.
#[derive(Deserialize)]
enum Key {
    #[serde(rename = "text", alias = "arguments", alias = "function", alias = "content")]
    Text,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl Event {
    /// Reads the data of one event, or a whole answer that was not streamed.
    ///
    /// # Errors
    /// When it is neither `[DONE]` nor JSON of that shape.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        if data.trim_ascii() == b"[DONE]" {
            return Ok(Self { done: true, ..Self::default() });
        }
        // Looked through once as a whole, and not string by string.
        let text = std::str::from_utf8(data).map_err(|e| e.to_string())?;
        let wire: Wire = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let mut event = Self { error: wire.error_text(), ..Self::default() };
        event.has_text = wire.choices.text || wire.text.0;
        event.has_answer = wire.choices.answer || wire.text.0;
        event.finish_reason = reason(wire.choices.finish_reason);
        event.usage = wire.usage.map(|usage| Usage {
            input: usage.prompt_tokens,
            output: usage.completion_tokens,
            cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
        });
        if let Some(meta) = wire.meta_info {
            event.cumulative = true;
            event.finish_reason = reason(meta.finish_reason);
            event.usage =
                Some(Usage { input: meta.prompt_tokens, output: meta.completion_tokens, cached: meta.cached_tokens });
        }
        Ok(event)
    }
}

/// `"length"`, or `{"type": "length", …}`.
fn reason(raw: Option<&RawValue>) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(raw.filter(|raw| raw.get() != "null")?.get()).ok()?;
    value.as_str().or(value["type"].as_str()).map(String::from)
}

impl Wire<'_> {
    fn error_text(&self) -> Option<String> {
        // SGLang's errors are flat: {"object": "error", "message": …}.
        let flat = self.object.is_some_and(|object| object.get() == "\"error\"");
        let error = self.error.or(self.message.filter(|_| flat))?;
        (error.get() != "null").then(|| error.get().chars().take(300).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bears_a_token() {
        for (data, bears) in [
            (r#"{"choices":[{"index":0,"text":" a","finish_reason":null}]}"#, true),
            (r#"{"choices":[{"text":""}]}"#, false),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, false),
            (r#"{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":null}}]}"#, false),
            (r#"{"choices":[{"delta":{"content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"content":null,"reasoning_content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"reasoning":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"x"}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#, false),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}"#, true),
            (r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#, false),
            (r#"{"choices":[{"text":"\ud83d\ude00"}],"usage":null}"#, true),
        ] {
            assert_eq!(Event::parse(data.as_bytes()).unwrap().has_text, bears, "{data}");
        }
    }

    #[test]
    fn ends_counts_and_errors() {
        let event = Event::parse(
            br#"{"choices":[{"text":"","finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        )
        .unwrap();
        assert_eq!(event.finish_reason.as_deref(), Some("length"));
        assert_eq!(event.usage, Some(Usage { input: Some(5), output: Some(7), cached: Some(4) }));
        assert!(Event::parse(b" [DONE] ").unwrap().done);
        assert!(Event::parse(br#"{"error":{"code":500,"message":"x"}}"#).unwrap().error.unwrap().contains("500"));
        assert!(Event::parse(br#"{"object":"error","message":"flat"}"#).unwrap().error.unwrap().contains("flat"));
        assert_eq!(Event::parse(br#"{"error":null,"choices":[]}"#).unwrap().error, None);
        assert!(Event::parse(b"<html>").is_err());
    }

    #[test]
    fn reasoning_is_a_token_and_no_answer() {
        for (data, answer) in [
            (r#"{"choices":[{"delta":{"reasoning_content":"x"}}]}"#, false),
            (r#"{"choices":[{"delta":{"content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}]}"#, true),
        ] {
            let event = Event::parse(data.as_bytes()).unwrap();
            assert!(event.has_text && event.has_answer == answer, "{data}");
        }
    }

    #[test]
    fn an_answer_of_generate_counts_what_is_new() {
        let event = Event::parse(
            br#"{"text":" a b","output_ids":[5,6],"meta_info":{"id":"x","finish_reason":{"type":"length","length":2},"prompt_tokens":3,"completion_tokens":2,"cached_tokens":1}}"#,
        )
        .unwrap();
        assert!(event.cumulative && event.has_text);
        assert_eq!(event.finish_reason.as_deref(), Some("length"));
        assert_eq!(event.usage, Some(Usage { input: Some(3), output: Some(2), cached: Some(1) }));
        let first = Event::parse(br#"{"text":" a","meta_info":{"finish_reason":null,"completion_tokens":1}}"#).unwrap();
        assert_eq!(first.finish_reason, None);
    }
}
