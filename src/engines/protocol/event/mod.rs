//! One event of a stream, or a whole answer: whether it contains a token, whether it ends the answer, and its token counts.
//!
//! Parsing the usual kind of event does not allocate.

mod choices;
mod finish;
mod lenient;
mod mend;
mod template;
mod text;
mod wire;

use crate::base::redact;

pub use self::choices::ChoiceSet;
use self::finish::Finish;
pub use self::template::EventTemplate;
use self::text::Spot;
use self::wire::{WireEvent, WireUsage};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// True if a choice has text, reasoning or tool-call arguments that are not empty.
    pub has_text: bool,
    /// True if it contains something other than reasoning.
    pub has_answer: bool,
    /// True if its text is the whole answer so far: only its token count shows whether something is new.
    pub cumulative: bool,
    /// The finish reason, in the event that ends the answer or one of its choices.
    pub finish_reason: Option<String>,
    /// The choices in it.
    pub choices: ChoiceSet,
    /// The choices that it ends.
    pub ended: ChoiceSet,
    /// Token counts, if the event has them.
    pub usage: Option<Usage>,
    /// Why this is a failure despite status 2xx: the server's error, or the finish reason of an aborted answer.
    pub error: Option<String>,
    /// The model that it says it is of.
    pub model: Option<String>,
    /// The terminator `[DONE]`.
    pub done: bool,
    /// It is no event of an answer: it has none of the members that are read, or is JSON of another kind.
    pub foreign: bool,
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

impl Usage {
    /// The counts after a later event: a missing count, or one of 0, does not replace one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let newer = |new: Option<u32>, old: Option<u32>| new.filter(|n| *n > 0).or(old).or(new);
        Self {
            input: newer(later.input, self.input),
            output: newer(later.output, self.output),
            cached: newer(later.cached, self.cached),
        }
    }

    fn of(usage: &WireUsage) -> Self {
        Self {
            input: usage.prompt_tokens.0.or(usage.input_tokens.0),
            output: usage.completion_tokens.0.or(usage.output_tokens.0),
            cached: usage.cached(),
        }
    }
}

impl Event {
    /// Parses the data of one event, or a whole answer that was not streamed. Empty data gives an empty event.
    ///
    /// # Errors
    /// Data that is neither `[DONE]` nor JSON of an event; with its beginning.
    pub fn parse(data: &[u8]) -> Result<Self, String> {
        Self::parse_with_spot(data).map(|(event, _)| event)
    }

    /// The same, and where its only text stands.
    fn parse_with_spot(data: &[u8]) -> Result<(Self, Spot), String> {
        let data = data.trim_ascii();
        // A proxy may have put the field's name there once more.
        let data = data.strip_prefix(b"data:").map_or(data, <[u8]>::trim_ascii);
        let quoted = data.strip_prefix(b"\"").and_then(|data| data.strip_suffix(b"\"")).unwrap_or(data);
        if quoted.eq_ignore_ascii_case(b"[DONE]") {
            return Ok((Self { done: true, ..Self::default() }, Spot::Nowhere));
        }
        if matches!(data, b"" | b"null") {
            return Ok((Self::default(), Spot::Nowhere));
        }
        // Check for UTF-8 once as a whole, not string by string.
        let text = std::str::from_utf8(data).map_err(|e| e.to_string())?;
        let odd = |e: serde_json::Error| {
            format!("{e}: {}", redact::outgoing(text).chars().take(MAX_QUOTED).collect::<String>())
        };
        if !text.starts_with('{')
            && let Ok(other) = serde_json::from_str(text)
        {
            return Ok((Self::of_another_kind(&other), Spot::Nowhere));
        }
        let mended;
        let wire: WireEvent = match serde_json::from_str(text) {
            Ok(wire) => wire,
            Err(e) => {
                mended = mend::json(text).ok_or_else(|| odd(e))?;
                serde_json::from_str(&mended).map_err(odd)?
            }
        };
        let mut event = Self { error: wire.error(), model: wire.model(), ..Self::default() };
        event.foreign = wire.is_foreign() && event.error.is_none();
        (event.choices, event.ended) = (wire.choices.seen, wire.choices.ended);
        let full = wire.choices.full.or(wire.text);
        (event.has_text, event.has_answer) = (full.text, full.answer);
        let mut finish = wire.choices.finish;
        let usage = wire.usage.0.or(wire.choices.usage).or(wire.x_groq.0.and_then(|own| own.usage.0));
        event.usage = usage.as_ref().map(Usage::of);
        if let Some(meta) = wire.meta_info.0 {
            event.cumulative = true;
            finish = Finish::read(meta.finish_reason);
            let choice = wire.index.0.unwrap_or(0);
            event.choices.insert(choice);
            if finish.is_some() {
                event.ended.insert(choice);
            }
            event.usage = Some(Usage {
                input: meta.prompt_tokens.0,
                output: meta.completion_tokens.0,
                cached: meta.cached_tokens.0,
            });
        }
        event.error = event.error.or_else(|| finish.as_ref().and_then(Finish::failure));
        event.finish_reason = finish.map(|finish| finish.reason);
        Ok((event, full.spot))
    }

    /// JSON that is no object: some servers send their errors as a list, and notes as a text or a list of numbers.
    fn of_another_kind(other: &serde_json::Value) -> Self {
        let items = other.as_array().map_or(&[][..], Vec::as_slice);
        let errors = items.iter().filter(|item| item.is_object()).map(|item| Self::parse(item.to_string().as_bytes()));
        let error = errors.flatten().find_map(|event| event.error);
        Self { foreign: error.is_none(), error, ..Self::default() }
    }
}

/// Maximum length of quoted data in an error, characters.
const MAX_QUOTED: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_events_contain_a_token() {
        for (data, bears) in [
            (r#"{"choices":[{"index":0,"text":" a","finish_reason":null}]}"#, true),
            (r#"{"choices":[{"text":""}]}"#, false),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, false),
            (r#"{"choices":[{"delta":{"role":"assistant","content":null,"reasoning_content":null}}]}"#, false),
            (r#"{"choices":[{"delta":{"content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"content":null,"reasoning_content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"reasoning":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"x"}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}"#, false),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":{"a":1}}}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"audio":{"id":"a","transcript":"x"}}}]}"#, true),
            (r#"{"choices":[{"delta":{"audio":{"id":"a","expires_at":17}}}]}"#, false),
            (r#"{"choices":[{"delta":{"reasoning_text":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"thinking_blocks":[{"type":"thinking","thinking":"x"}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}}]}"#, false),
            (r#"{"choices":[{"delta":"x"},null]}"#, false),
            (r#"{"choices":[{"delta":[],"text":"x"}]}"#, true),
            (r#"{"choices":{}}"#, false),
            (r#"{"choices":[{"delta":{"content":"\ud83d"},"logprobs":{"logprob":-Infinity}}],"cost":NaN}"#, true),
            ("null", false),
            (r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}"#, true),
            (r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#, false),
            (r#"{"choices":[{"text":"\ud83d\ude00"}],"usage":null}"#, true),
            (r#"{"choices":[{"delta":{"content":6}}]}"#, true),
            (r#"{"choices":[{"delta":{"content":false}}]}"#, false),
            (r#"{"choices":[{"delta":{"content":[{"type":"text","text":"x"}]}}]}"#, true),
            (
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"x"}]}]}}]}"#,
                true,
            ),
            (r#"{"choices":[{"delta":{"content":"x"},"message":{"content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"function_call":{"name":"f","arguments":"{"}}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"type":"custom","custom":{"name":"","input":"x"}}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"content":"","content":"x"}}],"id":"a","id":"a"}"#, true),
            (r#"data: {"choices":[{"delta":{"content":"x"}}]}"#, true),
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
        for done in [&b" [DONE] "[..], b"[done]", b"\"[DONE]\""] {
            assert!(Event::parse(done).unwrap().done);
        }
        let two =
            Event::parse(br#"{"choices":[{"index":0,"text":"a"},{"index":1,"text":"b","finish_reason":"stop"}]}"#);
        let two = two.unwrap();
        assert_eq!((two.choices.len(), two.ended.to_string().as_str()), (2, "1"));
        let twice = Event::parse(br#"{"choices":[],"usage":null,"usage":{"completion_tokens":8},"usage":null}"#);
        assert_eq!(twice.unwrap().usage.unwrap().output, Some(8));
        assert!(Event::parse(br#"{"error":{"code":500,"message":"x"}}"#).unwrap().error.unwrap().contains("500"));
        assert!(Event::parse(br#"{"object":"error","message":"flat"}"#).unwrap().error.unwrap().contains("flat"));
        assert_eq!(Event::parse(br#"{"error":null,"choices":[]}"#).unwrap().error, None);
        assert!(Event::parse(b"<html>").unwrap_err().contains("<html>"));
        assert_eq!(Event::parse(b""), Ok(Event::default()));
    }

    #[test]
    fn an_error_is_one_wherever_it_stands() {
        for (data, words) in [
            (r#"{"choices":[{"text":"","finish_reason":"abort"}]}"#, "abort"),
            (r#"{"choices":[{"text":"x","finish_reason":"length"},{"text":"","finish_reason":"error"}]}"#, "error"),
            (r#"{"choices":[{"text":"x","finish_reason":"error"},{"text":"","finish_reason":"stop"}]}"#, "error"),
            (
                r#"{"choices":[{"delta":{"content":"x"},"error":{"message":"provider gone"},"finish_reason":null}]}"#,
                "provider gone",
            ),
            (r#"{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}],"error":"late"}"#, "late"),
            (
                r#"{"text":"a","meta_info":{"finish_reason":{"type":"abort","message":"no memory"},"completion_tokens":1}}"#,
                "no memory",
            ),
            (r#"{"text":"**NETWORK ERROR**","error_code":50002,"message":"worker gone"}"#, "worker gone"),
            (r#"{"success":false,"errors":[{"code":7,"message":"capacity"}]}"#, "capacity"),
            (r#"{"type":"error","message":"overloaded"}"#, "overloaded"),
            (r#"{"status":"error"}"#, "error"),
            (r#"{"detail":"model not loaded"}"#, "model not loaded"),
            (r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#, "field required"),
            (r#"{"code":1013,"msg":"upstream overloaded"}"#, "upstream overloaded"),
            (r#"{"choices":[{"delta":{"error":{"message":"inner"}}}]}"#, "inner"),
            (r#"{"detail":"a","message":"b"}"#, "b"),
            (r#"[{"error":{"code":503,"message":"model overloaded"}}]"#, "model overloaded"),
            (r#"{"id":"","choices":null,"base_resp":{"status_code":1008,"status_msg":"no balance"}}"#, "no balance"),
            (r#"{"type":"about:blank","title":"Service Unavailable","status":503}"#, "Service Unavailable"),
            (r#"{"status":"failed","message":"worker died","choices":[]}"#, "worker died"),
            (r#"{"error":{"message":"first"},"error":null,"choices":[{"text":"a"}]}"#, "first"),
            (r#"{"choices":[{"text":"x","finish_reason":"content_filter"}]}"#, "filter"),
        ] {
            let error = Event::parse(data.as_bytes()).unwrap().error;
            assert!(error.as_ref().is_some_and(|error| error.contains(words)), "{data}: {error:?}");
        }
        for data in [
            r#"{"error":false,"errors":[],"error_code":0,"choices":[{"text":"a"}]}"#,
            r#"{"status":"ok","type":"chunk","choices":[{"text":"a"}]}"#,
            r#"{"message":"Hello","choices":[{"text":"a","finish_reason":""}]}"#,
            r#"{"message":"queued","choices":[]}"#,
            r#"{"choices":[{"text":"a"}],"error":{"message":"","code":0,"type":null}}"#,
            r#"{"choices":[{"text":"a"}],"base_resp":{"status_code":0,"status_msg":"success"}}"#,
            r#"{"title":"a page","status":200}"#,
            r#""<|user|> the prompt""#,
            "[1,2,3]",
        ] {
            let event = Event::parse(data.as_bytes()).unwrap();
            assert_eq!((event.error, event.finish_reason), (None, None), "{data}");
        }
    }

    #[test]
    fn what_is_no_count_costs_no_answer() {
        for (count, output) in [
            ("8", Some(8)),
            ("8.0", Some(8)),
            ("\"8\"", Some(8)),
            ("-1", None),
            ("null", None),
            ("[]", None),
            ("{}", None),
        ] {
            let data = format!(r#"{{"choices":[{{"text":"a"}}],"usage":{{"completion_tokens":{count}}}}}"#);
            let event = Event::parse(data.as_bytes()).unwrap();
            assert_eq!((event.has_text, event.usage.unwrap().output), (true, output), "{data}");
        }
    }

    #[test]
    fn counts_have_other_names_and_places() {
        for (data, wanted) in [
            (r#"{"usage":{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"cached_tokens":4}}}"#, Some(4)),
            (r#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"input_tokens":0,"output_tokens":0}}"#, None),
            (r#"{"choices":[{"text":"","usage":{"prompt_tokens":5,"completion_tokens":7}}]}"#, None),
            (r#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":7}}}"#, None),
            (r#"{"usage":{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":"none"}}"#, None),
        ] {
            let usage = Event::parse(data.as_bytes()).unwrap().usage;
            assert_eq!(usage, Some(Usage { input: Some(5), output: Some(7), cached: wanted }), "{data}");
        }
        for data in [r#"{"usage":"n/a","choices":[]}"#, r#"{"usage":[],"x_groq":7}"#, r#"{"usage":8}"#] {
            assert_eq!(Event::parse(data.as_bytes()).unwrap().usage, None, "{data}");
        }
    }

    #[test]
    fn a_later_zero_replaces_no_count() {
        let counts = |n| Usage { input: n, output: n, cached: n };
        for (before, later, wanted) in [
            (Some(8), Some(9), Some(9)),
            (Some(8), Some(0), Some(8)),
            (Some(8), None, Some(8)),
            (None, Some(0), Some(0)),
            (None, None, None),
        ] {
            assert_eq!(counts(before).then(counts(later)), counts(wanted));
        }
    }

    #[test]
    fn reasoning_is_a_token_and_no_answer() {
        for (data, answer) in [
            (r#"{"choices":[{"delta":{"reasoning_content":"x"}}]}"#, false),
            (r#"{"choices":[{"delta":{"content":"x"}}]}"#, true),
            (r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{"}}]}}]}"#, true),
            (r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"text":"x"}]}]}}]}"#, false),
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
