//! The JSON of an event, in all shapes that servers use.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::redact;

use super::choices::ChoiceSet;
use super::finish::Finish;
use super::lenient::Lenient;
use super::text::{Count, NonEmptyText};

/// Maximum length of a quoted error text, characters.
const MAX_QUOTED: usize = 300;

/// The members of an event. Members that are not needed may have any shape.
#[derive(Deserialize)]
pub struct WireEvent<'a> {
    #[serde(borrow, default)]
    pub choices: Choices<'a>,
    #[serde(default)]
    pub usage: Lenient<WireUsage>,
    /// Groq's servers have the counts there.
    #[serde(default)]
    pub x_groq: Lenient<XGroq>,
    #[serde(default)]
    pub text: NonEmptyText,
    #[serde(borrow, default)]
    pub meta_info: Lenient<MetaInfo<'a>>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error_code: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "error_msg")]
    error_message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    msg: Option<&'a RawValue>,
    #[serde(borrow, default)]
    detail: Option<&'a RawValue>,
    /// Of a problem report (RFC 9457).
    #[serde(borrow, default)]
    title: Option<&'a RawValue>,
    /// MiniMax's servers have their errors there.
    #[serde(borrow, default)]
    base_resp: Lenient<BaseResponse<'a>>,
    /// Which choice it is about, beside `meta_info`.
    #[serde(default)]
    pub index: Count,
}

/// MiniMax's status of an answer: 0 is no error.
#[derive(Deserialize)]
pub struct BaseResponse<'a> {
    #[serde(borrow, default)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status_msg: Option<&'a RawValue>,
}

/// Metadata of an answer from SGLang's `/generate`.
#[derive(Deserialize)]
pub struct MetaInfo<'a> {
    #[serde(default)]
    pub prompt_tokens: Count,
    #[serde(default)]
    pub completion_tokens: Count,
    #[serde(default)]
    pub cached_tokens: Count,
    #[serde(borrow, default)]
    pub finish_reason: Option<&'a RawValue>,
}

/// All choices of an event, folded.
#[derive(Default)]
pub struct Choices<'a> {
    /// Their text.
    pub full: NonEmptyText,
    /// The finish reason of one of them; a failure takes precedence.
    pub finish: Option<Finish<'a>>,
    /// The choices in the event.
    pub seen: ChoiceSet,
    /// The choices that end in it.
    pub ended: ChoiceSet,
    /// An error of one of them.
    error: Option<&'a RawValue>,
    /// Their token counts, which Moonshot's servers have there.
    pub usage: Option<WireUsage>,
    /// The event has the member, even if the list is empty.
    present: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Fold;
        impl<'de> Visitor<'de> for Fold {
            type Value = Choices<'de>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of choices")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Choices::default())
            }
            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Choices::default())
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Choices::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
                let mut folded = Choices { present: true, ..Choices::default() };
                while let Some(choice) = all.next_element::<Lenient<Choice>>()? {
                    let Some(choice) = choice.0 else { continue };
                    folded.full = folded.full.or(choice.full());
                    folded.error = folded.error.or(choice.error());
                    folded.usage = choice.usage.0.or(folded.usage);
                    let finish = Finish::read(choice.finish_reason);
                    let index = choice.index.0.unwrap_or(0);
                    folded.seen.insert(index);
                    if finish.is_some() {
                        folded.ended.insert(index);
                    }
                    if folded.finish.as_ref().is_none_or(|before| before.failure().is_none()) {
                        folded.finish = finish.or(folded.finish);
                    }
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
    index: Count,
    #[serde(default)]
    text: NonEmptyText,
    #[serde(borrow, default)]
    delta: Lenient<Delta<'a>>,
    #[serde(borrow, default)]
    message: Lenient<Delta<'a>>,
    #[serde(default)]
    usage: Lenient<WireUsage>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl<'a> Choice<'a> {
    fn error(&self) -> Option<&'a RawValue> {
        self.error.or(self.delta.0.as_ref().and_then(|delta| delta.error))
    }

    fn full(&self) -> NonEmptyText {
        let deltas = self.delta.0.iter().chain(&self.message.0);
        deltas.fold(self.text, |full, delta| full.or(delta.full()))
    }
}

#[derive(Default, Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(default)]
    audio: NonEmptyText,
    #[serde(default)]
    content: NonEmptyText,
    #[serde(default)]
    refusal: NonEmptyText,
    #[serde(default)]
    tool_calls: NonEmptyText,
    #[serde(default)]
    function_call: NonEmptyText,
    #[serde(default)]
    reasoning_content: NonEmptyText,
    #[serde(default)]
    reasoning: NonEmptyText,
    #[serde(default)]
    reasoning_details: NonEmptyText,
    #[serde(default)]
    thinking: NonEmptyText,
    #[serde(default)]
    reasoning_text: NonEmptyText,
    #[serde(default)]
    thinking_blocks: NonEmptyText,
}

impl Delta<'_> {
    fn full(&self) -> NonEmptyText {
        let answer = self.content.or(self.refusal).or(self.tool_calls).or(self.function_call).or(self.audio);
        let thought = self
            .reasoning_content
            .or(self.reasoning)
            .or(self.reasoning_details)
            .or(self.thinking)
            .or(self.reasoning_text)
            .or(self.thinking_blocks);
        answer.or(thought.thought())
    }
}

/// Token counts.
#[derive(Deserialize)]
pub struct WireUsage {
    #[serde(default)]
    pub prompt_tokens: Count,
    #[serde(default)]
    pub completion_tokens: Count,
    #[serde(default)]
    pub input_tokens: Count,
    #[serde(default)]
    pub output_tokens: Count,
    #[serde(default)]
    prompt_tokens_details: Lenient<UsageDetails>,
    #[serde(default)]
    input_tokens_details: Lenient<UsageDetails>,
}

impl WireUsage {
    /// Prompt tokens that came from a cache.
    pub fn cached(&self) -> Option<u32> {
        let details = self.prompt_tokens_details.0.as_ref().or(self.input_tokens_details.0.as_ref());
        details.and_then(|details| details.cached_tokens.0)
    }
}

/// Groq's own member of an event.
#[derive(Deserialize)]
pub struct XGroq {
    #[serde(default)]
    pub usage: Lenient<WireUsage>,
}

/// Details of the prompt tokens.
#[derive(Deserialize)]
pub struct UsageDetails {
    #[serde(default)]
    pub cached_tokens: Count,
}

impl WireEvent<'_> {
    /// True if it has nothing of an answer.
    pub fn is_foreign(&self) -> bool {
        !self.choices.present && !self.text.text && self.usage.0.is_none() && self.meta_info.0.is_none()
    }

    /// The model that it names; `None` for another type and for an empty name.
    pub fn model(&self) -> Option<String> {
        let name: String = serde_json::from_str(self.model?.get()).ok()?;
        Some(name.chars().take(MAX_QUOTED).collect()).filter(|name: &String| !name.is_empty())
    }

    /// The server's error, if the event is one or has one.
    pub fn error(&self) -> Option<String> {
        // Redact before truncating, so that no part of a secret remains.
        let words = |raw: &RawValue| redact::outgoing(raw.get()).chars().take(MAX_QUOTED).collect();
        let message =
            non_empty(self.message).or(non_empty(self.msg)).or(non_empty(self.detail)).or(non_empty(self.title));
        let named = non_empty(self.error)
            .or(non_empty(self.choices.error))
            .or(non_empty(self.errors))
            .or(non_empty(self.error_message));
        if let Some(error) = named {
            return Some(words(error));
        }
        if let Some(base) = &self.base_resp.0
            && let Some(code) = non_empty(base.status_code)
        {
            return Some(non_empty(base.status_msg).map_or_else(|| format!("status_code {}", code.get()), words));
        }
        // SGLang's errors are flat: {"object": "error", "message": …}; so are FastChat's, with `error_code`.
        let called = |member: Option<&RawValue>, names: &[&str]| {
            let word = member.map_or("", |raw| raw.get().trim_matches('"'));
            names.iter().any(|name| word.eq_ignore_ascii_case(name))
        };
        let flat = called(self.object, &["error"]) || called(self.kind, &["error"]) || called(self.status, &FAILED);
        if let Some(code) = non_empty(self.error_code) {
            return Some(message.map_or_else(|| format!("error_code {}", code.get()), words));
        }
        if flat {
            return Some(message.map_or_else(|| "the server reported an error without a message".into(), words));
        }
        // An error of a gateway: {"message": "Internal server error"}, {"detail": …}, {"title": …, "status": 503}, without an answer.
        if !self.is_foreign() {
            return None;
        }
        let said = [self.message, self.msg].into_iter().find_map(|text| text.filter(|raw| raw.get().starts_with('"')));
        let status = self.status.and_then(|status| status.get().parse::<u16>().ok());
        let title = non_empty(self.title).filter(|_| status.is_some_and(|status| (400..600).contains(&status)));
        non_empty(said).or(non_empty(self.detail)).or(title).map(words)
    }
}

/// Words of `status` for a failed answer.
const FAILED: [&str; 3] = ["error", "failed", "failure"];

/// A member that is not empty, nor an object or list of nothing but empty members.
fn non_empty(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| !matches!(raw.get(), "null" | "false" | "0" | "\"\"" | "{}" | "[]") && !is_hollow(raw.get()))
}

/// True for `{"message": "", "code": 0}` and the like.
fn is_hollow(json: &str) -> bool {
    use serde_json::Value;
    fn empty(value: &Value) -> bool {
        match value {
            Value::Null | Value::Bool(false) => true,
            Value::Bool(true) => false,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.iter().all(empty),
            Value::Object(members) => members.values().all(empty),
        }
    }
    json.starts_with(['{', '[']) && serde_json::from_str::<Value>(json).is_ok_and(|value| empty(&value))
}
