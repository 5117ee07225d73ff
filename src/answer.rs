//! One event of an OpenAI-style stream: does it bear a token, does it end the answer, what does it count?

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What one event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Some choice has text, reasoning or tool-call arguments that are not empty.
    pub has_text: bool,
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
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(borrow, default)]
    error: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    object: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    message: Option<&'a serde_json::value::RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, default, alias = "message")]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    reasoning: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(default)]
    reasoning_details: Option<Vec<ReasoningDetail>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    arguments: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ReasoningDetail {
    #[serde(default)]
    text: Option<String>,
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
    #[serde(default, rename = "audio_tokens")]
    _audio: Option<IgnoredAny>,
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
        let wire: Wire = serde_json::from_slice(data).map_err(|e| e.to_string())?;
        let mut event = Self { error: wire.error_text(), ..Self::default() };
        for choice in wire.choices.iter().flatten() {
            event.has_text |= choice.has_text();
            if let Some(reason) = &choice.finish_reason {
                event.finish_reason = Some(reason.clone().into_owned());
            }
        }
        event.usage = wire.usage.map(|usage| Usage {
            input: usage.prompt_tokens,
            output: usage.completion_tokens,
            cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
        });
        Ok(event)
    }
}

impl Wire<'_> {
    fn error_text(&self) -> Option<String> {
        // SGLang's errors are flat: {"object": "error", "message": …}.
        let flat = self.object.as_deref() == Some("error");
        let error = self.error.or(self.message.filter(|_| flat))?;
        (error.get() != "null").then(|| error.get().chars().take(300).collect())
    }
}

impl Choice<'_> {
    fn has_text(&self) -> bool {
        let full = |text: &Option<Cow<str>>| text.as_deref().is_some_and(|t| !t.is_empty());
        let delta = self.delta.as_ref();
        full(&self.text)
            || delta.is_some_and(|d| full(&d.content) || full(&d.reasoning_content) || full(&d.reasoning))
            || delta.and_then(|d| d.tool_calls.as_ref()).is_some_and(|calls| {
                calls.iter().any(|call| call.function.as_ref().is_some_and(|f| full(&f.arguments)))
            })
            || delta.and_then(|d| d.reasoning_details.as_ref()).is_some_and(|details| {
                details.iter().any(|detail| detail.text.as_deref().is_some_and(|t| !t.is_empty()))
            })
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
}
