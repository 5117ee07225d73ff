//! Whether a member of an answer contains text, and token counts, in all shapes that servers use.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Whether there is text that is not empty: a string, a number meant as one, or a part with `text` or a similar key in a list.
#[derive(Debug, Default, Clone, Copy)]
pub struct NonEmptyText {
    /// Some text.
    pub text: bool,
    /// Some text that is not reasoning.
    pub answer: bool,
    /// Where it stands.
    pub spot: Spot,
}

/// Where a text stands in what was parsed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// There is none.
    #[default]
    Nowhere,
    /// A string without escapes, at this address in memory, of so many bytes.
    One {
        /// Of its first byte.
        address: usize,
        /// In bytes.
        length: usize,
    },
    /// In several places, or in another form.
    Elsewhere,
}

impl Spot {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nowhere, spot) | (spot, Self::Nowhere) => spot,
            (Self::One { .. } | Self::Elsewhere, Self::One { .. } | Self::Elsewhere) => Self::Elsewhere,
        }
    }
}

impl NonEmptyText {
    const NOTHING: Self = Self { text: false, answer: false, spot: Spot::Nowhere };

    fn full(full: bool) -> Self {
        Self { text: full, answer: full, spot: if full { Spot::Elsewhere } else { Spot::Nowhere } }
    }

    /// Either one's text.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { text: self.text || other.text, answer: self.answer || other.answer, spot: self.spot.or(other.spot) }
    }

    /// The same as reasoning, which is no answer.
    #[must_use]
    pub fn thought(self) -> Self {
        Self { answer: false, ..self }
    }
}

impl<'de> Deserialize<'de> for NonEmptyText {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = NonEmptyText;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_unit<E>(self) -> Result<NonEmptyText, E> {
        Ok(NonEmptyText::NOTHING)
    }
    fn visit_bool<E>(self, _: bool) -> Result<NonEmptyText, E> {
        Ok(NonEmptyText::NOTHING)
    }
    // A gateway may send a token of digits as a number.
    fn visit_u64<E>(self, _: u64) -> Result<NonEmptyText, E> {
        Ok(NonEmptyText::full(true))
    }
    fn visit_i64<E>(self, _: i64) -> Result<NonEmptyText, E> {
        Ok(NonEmptyText::full(true))
    }
    fn visit_f64<E>(self, _: f64) -> Result<NonEmptyText, E> {
        Ok(NonEmptyText::full(true))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<NonEmptyText, E> {
        Ok(NonEmptyText::full(!text.is_empty()))
    }
    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<NonEmptyText, E> {
        let one = Spot::One { address: text.as_ptr().addr(), length: text.len() };
        let full = NonEmptyText::full(!text.is_empty());
        Ok(if full.text { NonEmptyText { spot: one, ..full } } else { full })
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<NonEmptyText, A::Error> {
        let mut full = NonEmptyText::NOTHING;
        while let Some(one) = all.next_element::<NonEmptyText>()? {
            full = full.or(one);
        }
        Ok(full)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<NonEmptyText, A::Error> {
        let mut full = NonEmptyText::NOTHING;
        while let Some(key) = members.next_key::<Key>()? {
            match key {
                Key::Text => full = full.or(members.next_value()?),
                Key::Thought => full = full.or(members.next_value::<NonEmptyText>()?.thought()),
                Key::Arguments => full = full.or(members.next_value::<Arguments>()?.0),
                Key::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(full)
    }
}

/// The keys of text in parts.
#[derive(Deserialize)]
enum Key {
    #[serde(
        rename = "text",
        alias = "function",
        alias = "content",
        alias = "refusal",
        alias = "name",
        alias = "transcript",
        alias = "custom",
        alias = "input"
    )]
    Text,
    /// Of a function, mostly as a text, sometimes as an object.
    #[serde(rename = "arguments")]
    Arguments,
    #[serde(rename = "thinking", alias = "reasoning", alias = "reasoning_content", alias = "summary")]
    Thought,
    #[serde(other)]
    Other,
}

/// The arguments of a function.
struct Arguments(NonEmptyText);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(source)?.get();
        Ok(Self(NonEmptyText::full(!matches!(raw, "\"\"" | "null" | "false"))))
    }
}

/// A token count; any other value is ignored, so that the answer is not lost.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count(pub Option<u32>);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Number;
        impl<'de> Visitor<'de> for Number {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a count")
            }
            fn visit_unit<E>(self) -> Result<Count, E> {
                Ok(Count(None))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
                Ok(Count(None))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Count, E> {
                Ok(Count(u32::try_from(n).ok()))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Count, E> {
                Ok(Count(u32::try_from(n).ok()))
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
            fn visit_f64<E>(self, n: f64) -> Result<Count, E> {
                let whole = n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&n);
                Ok(Count(whole.then_some(n as u32)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Count, E> {
                Ok(Count(text.parse().ok()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Count, A::Error> {
                while all.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Count(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Count, A::Error> {
                while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Count(None))
            }
        }
        source.deserialize_any(Number)
    }
}
