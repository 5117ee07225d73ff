//! Text that is almost JSON, as some servers write it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::rows::jsonl::quote_bare;

/// The same as JSON: bare NaN and Infinity become strings, half of a surrogate pair (half of an emoji) becomes U+FFFD, and of the
/// members of one name in an object the last counts, unless it is null. `None` if the text has none of these.
pub fn json(text: &str) -> Option<String> {
    let mended = whole_characters(&quote_bare(text));
    let single = serde_json::from_str::<SingleNames>(&mended).ok().map(|value| value.0.to_string());
    single.or(Some(mended)).filter(|mended| mended != text)
}

/// A JSON value whose objects have each name once.
struct SingleNames(Value);

impl<'de> Deserialize<'de> for SingleNames {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = SingleNames;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<SingleNames, E> {
                Ok(SingleNames(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<SingleNames, E> {
                Ok(SingleNames(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<SingleNames, E> {
                Ok(SingleNames(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<SingleNames, E> {
                Ok(SingleNames(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<SingleNames, E> {
                Ok(SingleNames(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<SingleNames, E> {
                Ok(SingleNames(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<SingleNames, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = all.next_element::<SingleNames>()? {
                    items.push(item.0);
                }
                Ok(SingleNames(items.into()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<SingleNames, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = all.next_entry::<String, SingleNames>()? {
                    if !value.0.is_null() || !members.contains_key(&name) {
                        members.insert(name, value.0);
                    }
                }
                Ok(SingleNames(members.into()))
            }
        }
        source.deserialize_any(Members)
    }
}

/// The text with `\ufffd` for each escape of half a surrogate pair.
fn whole_characters(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        whole.push_str(&rest[..at]);
        rest = &rest[at..];
        // The escape and, after `\u`, its digits; a pair is taken at once.
        let pair = unit(rest).zip(rest.get(6..).and_then(unit));
        let (kept, taken) = match (unit(rest), pair) {
            (_, Some((0xd800..=0xdbff, 0xdc00..=0xdfff))) => (&rest[..12], 12),
            (Some(0xd800..=0xdfff), _) => ("\\ufffd", 6),
            _ => {
                let taken = rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at);
                (&rest[..taken], taken)
            }
        };
        whole.push_str(kept);
        rest = &rest[taken..];
    }
    whole + rest
}

/// The UTF-16 unit of an escape `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_almost_json_is_made_so() {
        for (text, mended) in [
            (r#"{"a":NaN}"#, Some(r#"{"a":"NaN"}"#)),
            (r#"{"a":"\ud83d"}"#, Some("{\"a\":\"\u{fffd}\"}")),
            (r#"{"a":"\ude00\ud83d\ude00x\\ud83d"}"#, Some("{\"a\":\"\u{fffd}😀x\\\\ud83d\"}")),
            (r#"{"a":"\ud83dé\n"}"#, Some("{\"a\":\"\u{fffd}é\\n\"}")),
            (r#"{"a":{"b":1,"b":2,"b":null}}"#, Some(r#"{"a":{"b":2}}"#)),
            (r#"{"a":"é"}"#, None),
            (r#"{"a":"\"#, None),
            ("{\"a\":\"\\é", None),
            ("not JSON", None),
        ] {
            assert_eq!(json(text).as_deref(), mended, "{text}");
        }
    }
}
