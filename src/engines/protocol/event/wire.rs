//! The JSON of an event, in all shapes that servers use.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::redact;

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
        NonEmptyText { text: answer.text || thought.text, answer: answer.answer }
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
    /// The server's error, if the event is one or has one.
    pub fn error(&self) -> Option<String> {
        // Redact before truncating, so that no part of a secret remains.
        let words = |raw: &RawValue| redact::outgoing(raw.get()).chars().take(MAX_QUOTED).collect();
        let message = non_empty(self.message).or(non_empty(self.msg)).or(non_empty(self.detail));
        let named = non_empty(self.error)
            .or(non_empty(self.choices.error))
            .or(non_empty(self.errors))
            .or(non_empty(self.error_message));
        if let Some(error) = named {
            return Some(words(error));
        }
        // SGLang's errors are flat: {"object": "error", "message": …}; so are FastChat's, with `error_code`.
        let called = |member: Option<&RawValue>| member.is_some_and(|raw| raw.get().eq_ignore_ascii_case("\"error\""));
        let flat = called(self.object) || called(self.kind) || called(self.status);
        if let Some(code) = non_empty(self.error_code) {
            return Some(message.map_or_else(|| format!("error_code {}", code.get()), words));
        }
        if flat {
            return Some(message.map_or_else(|| "the server reported an error without a message".into(), words));
        }
        // An error of a gateway: {"message": "Internal server error"}, {"detail": …}, without an answer.
        let nothing = !self.choices.present && !self.text.text && self.usage.0.is_none() && self.meta_info.0.is_none();
        let said = [self.message, self.msg].into_iter().find_map(|text| text.filter(|raw| raw.get().starts_with('"')));
        non_empty(said).or(non_empty(self.detail)).filter(|_| nothing).map(words)
    }
}

/// A member that is not empty.
fn non_empty(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| !matches!(raw.get(), "null" | "false" | "0" | "\"\"" | "{}" | "[]"))
}
