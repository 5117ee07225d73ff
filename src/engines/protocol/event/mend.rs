//! Text that is almost JSON, as some servers write it.

use crate::rows::jsonl::quote_bare;

/// The same as JSON: bare NaN and Infinity become strings, and half of a surrogate pair (half of an emoji) becomes U+FFFD.
/// `None` if the text has neither.
pub fn json(text: &str) -> Option<String> {
    let mended = whole_characters(&quote_bare(text));
    (mended != text).then_some(mended)
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
            (r#"{"a":"\ud83d"}"#, Some(r#"{"a":"\ufffd"}"#)),
            (r#"{"a":"\ude00\ud83d\ude00x\\ud83d"}"#, Some(r#"{"a":"\ufffd\ud83d\ude00x\\ud83d"}"#)),
            (r#"{"a":"\ud83dé\n"}"#, Some(r#"{"a":"\ufffdé\n"}"#)),
            (r#"{"a":"\ud83d\ude00\u00e9"}"#, None),
            (r#"{"a":"\"#, None),
            ("{\"a\":\"\\é", None),
            ("not JSON", None),
        ] {
            assert_eq!(json(text).as_deref(), mended, "{text}");
        }
    }
}
