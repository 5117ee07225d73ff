//! The JSON of an event, in the shapes that servers give it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::redact;

use super::finish::Finish;
use super::text::{Count, NonEmptyText};

/// The most of a server's words that is kept, in characters.
const WORDS: usize = 300;

/// What an event may have. Of members that nobody needs no shape is asked.
#[derive(Deserialize)]
pub struct WireEvent<'a> {
    #[serde(borrow, default)]
    pub choices: Choices<'a>,
    #[serde(default)]
    pub usage: Option<WireUsage>,
    #[serde(default)]
    pub text: NonEmptyText,
    #[serde(borrow, default)]
    pub meta_info: Option<MetaInfo<'a>>,
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
    #[serde(borrow, default, alias = "detail")]
    message: Option<&'a RawValue>,
}

/// What SGLang's `/generate` says of an answer.
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
    /// What they say.
    pub full: NonEmptyText,
    /// How one of them ended; the bad end goes before the good one.
    pub finish: Option<Finish<'a>>,
    /// An error of one of them.
    error: Option<&'a RawValue>,
    any: bool,
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
                    folded.any = true;
                    folded.full = folded.full.or(choice.full());
                    folded.error = folded.error.or(choice.error);
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
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

impl Choice<'_> {
    fn full(&self) -> NonEmptyText {
        let deltas = self.delta.iter().chain(&self.message);
        deltas.fold(self.text, |full, delta| full.or(delta.full()))
    }
}

#[derive(Default, Deserialize)]
struct Delta {
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
}

impl Delta {
    fn full(&self) -> NonEmptyText {
        let answer = self.content.or(self.refusal).or(self.tool_calls).or(self.function_call);
        let thought = self.reasoning_content.or(self.reasoning).or(self.reasoning_details).or(self.thinking);
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
    pub prompt_tokens_details: Option<UsageDetails>,
}

/// What prompt tokens are made of.
#[derive(Deserialize)]
pub struct UsageDetails {
    #[serde(default)]
    pub cached_tokens: Count,
}

impl WireEvent<'_> {
    /// The server's error, if the event is one or has one.
    pub fn error(&self) -> Option<String> {
        // Before it is cut, so that no half of a secret is left.
        let words = |raw: &RawValue| redact::outgoing(raw.get()).chars().take(WORDS).collect();
        let message = says(self.message);
        let named = says(self.error).or(says(self.choices.error)).or(says(self.errors)).or(says(self.error_message));
        if let Some(error) = named {
            return Some(words(error));
        }
        // SGLang's errors are flat: {"object": "error", "message": …}; so are FastChat's, with `error_code`.
        let called = |member: Option<&RawValue>| member.is_some_and(|raw| raw.get().eq_ignore_ascii_case("\"error\""));
        let flat = called(self.object) || called(self.kind) || called(self.status);
        if let Some(code) = says(self.error_code) {
            return Some(message.map_or_else(|| format!("error_code {}", code.get()), words));
        }
        if flat {
            return Some(message.map_or_else(|| "the server says error, and not why".into(), words));
        }
        // A gateway's own: {"message": "Internal server error"}, {"detail": …}, and nothing of an answer.
        let nothing = !self.choices.any && !self.text.text && self.usage.is_none() && self.meta_info.is_none();
        message.filter(|raw| nothing && raw.get().starts_with('"')).map(words)
    }
}

/// A member that says something.
fn says(member: Option<&RawValue>) -> Option<&RawValue> {
    member.filter(|raw| !matches!(raw.get(), "null" | "false" | "0" | "\"\"" | "{}" | "[]"))
}
