//! Reads members of the expected type; a value of another type counts as missing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Text, borrowed from the row if it has no escapes.
#[derive(Debug, Default)]
pub struct Text<'a>(Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_string())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_str(TextVisitor)
    }
}

/// Any JSON value; of lists and objects only their presence.
pub enum Member<'a> {
    Null,
    Bool(bool),
    Whole(u64),
    Number(f64),
    Text(Cow<'a, str>),
    Other,
}

#[allow(clippy::cast_precision_loss, reason = "metrics and counts")]
impl Member<'_> {
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(n) => Some(*n as f64),
            Self::Number(n) => Some(*n),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::Other => None,
        }
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Member<'de>, E> {
        Ok(Member::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Member<'de>, E> {
        Ok(Member::Bool(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Member<'de>, E> {
        Ok(Member::Whole(value))
    }
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    fn visit_i64<E>(self, value: i64) -> Result<Member<'de>, E> {
        Ok(Member::Number(value as f64))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Member<'de>, E> {
        Ok(Member::Number(value))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Owned(text.to_string())))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Member<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Member<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(MemberVisitor)
    }
}

/// The kind of row; null counts as absent, and any other value that is not text as an unknown kind.
pub fn record<'de: 'a, 'a, D: Deserializer<'de>>(source: D) -> Result<Option<Text<'a>>, D::Error> {
    Ok(match Member::deserialize(source)? {
        Member::Null => None,
        Member::Text(text) => Some(Text(text)),
        Member::Bool(_) | Member::Whole(_) | Member::Number(_) | Member::Other => Some(Text::default()),
    })
}

/// A name. Some tools write numeric names as numbers.
pub fn text<'de: 'a, 'a, D: Deserializer<'de>>(source: D) -> Result<Option<Text<'a>>, D::Error> {
    Ok(match Member::deserialize(source)? {
        Member::Text(text) => Some(Text(text)),
        other => other.number().map(|n| Text(Cow::Owned(n.to_string()))),
    })
}

/// A word of the vocabulary: only text.
pub fn word<'de: 'a, 'a, D: Deserializer<'de>>(source: D) -> Result<Option<Text<'a>>, D::Error> {
    Ok(match Member::deserialize(source)? {
        Member::Text(text) => Some(Text(text)),
        _ => None,
    })
}

/// The same, told from a key that the row does not have.
pub fn word_if_given<'de: 'a, 'a, D: Deserializer<'de>>(source: D) -> Result<Option<Option<Text<'a>>>, D::Error> {
    word(source).map(Some)
}

/// True, whatever the value.
pub fn is_given<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(source).map(|_| true)
}

pub fn number<'de, D: Deserializer<'de>>(source: D) -> Result<Option<f64>, D::Error> {
    Member::deserialize(source).map(|member| member.number())
}

pub fn whole<'de, D: Deserializer<'de>>(source: D) -> Result<Option<u32>, D::Error> {
    Ok(match Member::deserialize(source)? {
        Member::Whole(n) => u32::try_from(n).ok(),
        _ => None,
    })
}

pub fn count<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
    whole(source).map(Option::unwrap_or_default)
}

pub fn flag<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    Member::deserialize(source).map(|member| matches!(member, Member::Bool(true)))
}

/// A boolean; `None` for any other value.
pub fn yes_or_no<'de, D: Deserializer<'de>>(source: D) -> Result<Option<bool>, D::Error> {
    Ok(match Member::deserialize(source)? {
        Member::Bool(yes) => Some(yes),
        _ => None,
    })
}

/// Reads an object as `T`, and any other value as `None`.
struct BlockVisitor<T>(PhantomData<T>);

macro_rules! no_block {
    ($($visit:ident: $scalar:ty),*) => {
        $(fn $visit<E>(self, _: $scalar) -> Result<Self::Value, E> {
            Ok(None)
        })*
    };
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for BlockVisitor<T> {
    type Value = Option<T>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    no_block!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// An object in the row.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(source: D) -> Result<Option<T>, D::Error> {
    source.deserialize_any(BlockVisitor(PhantomData))
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Option<Vec<Text<'de>>>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    no_block!(visit_bool: bool, visit_u64: u64, visit_i64: i64, visit_f64: f64, visit_str: &str);
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(member) = list.next_element::<Member>()? {
            if let Member::Text(text) = member {
                texts.push(Text(text));
            }
        }
        Ok(Some(texts))
    }
}

/// The strings of a list.
pub fn texts<'de: 'a, 'a, D: Deserializer<'de>>(source: D) -> Result<Vec<Text<'a>>, D::Error> {
    source.deserialize_any(TextsVisitor).map(Option::unwrap_or_default)
}
