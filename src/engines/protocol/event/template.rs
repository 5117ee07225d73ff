//! Most events of an answer differ from the one before in one text only. Such an event needs no parsing.

use super::Event;
use super::text::Spot;

/// What stands around the text of an event, and what the event says.
///
/// An event with the same bytes before and after its text, and with plain characters in between, is the same JSON but for this text,
/// and of a text an event says only whether it is empty.
#[derive(Debug, Default)]
pub struct EventTemplate {
    before: Vec<u8>,
    after: Vec<u8>,
    event: Option<Event>,
}

impl EventTemplate {
    /// Parses the data of one event, as [`Event::parse`] does, and faster if the one before was of the same kind.
    ///
    /// # Errors
    /// As [`Event::parse`].
    pub fn parse(&mut self, data: &[u8]) -> Result<Event, String> {
        if let Some(event) = self.event.as_ref().filter(|_| self.fits(data)) {
            return Ok(event.clone());
        }
        let (event, spot) = Event::parse_with_spot(data)?;
        // Events that end or fail are the last of their kind.
        if let Some((from, to)) = spot.within(data).filter(|_| event.finish_reason.is_none() && event.error.is_none()) {
            self.before.clear();
            self.before.extend_from_slice(&data[..from]);
            self.after.clear();
            self.after.extend_from_slice(&data[to..]);
            // The next one is the same but for its text, so its model is too.
            self.event = Some(Event { model: None, ..event.clone() });
        }
        Ok(event)
    }

    fn fits(&self, data: &[u8]) -> bool {
        let rest = data.strip_prefix(self.before.as_slice());
        let text = rest.and_then(|rest| rest.strip_suffix(self.after.as_slice()));
        text.is_some_and(|text| !text.is_empty() && is_plain(text))
    }
}

/// True for the bytes of a JSON string without escapes: nothing that ends it, and whole characters.
fn is_plain(text: &[u8]) -> bool {
    let ordinary = text.iter().all(|byte| !matches!(byte, 0..=0x1f | b'"' | b'\\'));
    ordinary && (text.is_ascii() || std::str::from_utf8(text).is_ok())
}

impl Spot {
    /// Where the text stands in `data`, which it was read from: its beginning and its end.
    fn within(self, data: &[u8]) -> Option<(usize, usize)> {
        let Self::One { address, length } = self else { return None };
        let from = address.checked_sub(data.as_ptr().addr())?;
        let to = from.checked_add(length)?;
        let quoted = data.get(from.checked_sub(1)?) == Some(&b'"') && data.get(to) == Some(&b'"');
        quoted.then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_of_the_same_kind_is_not_parsed() {
        let mut template = EventTemplate::default();
        let event = |text: &str| format!(r#"{{"choices":[{{"index":0,"text":"{text}","finish_reason":null}}]}}"#);
        assert!(!template.fits(event(" a").as_bytes()));
        template.parse(event(" a").as_bytes()).unwrap();
        for (text, fits) in [(" b", true), ("é😀", true), ("", false), ("\\n", false), ("\",\"text\":\"x", false)] {
            assert_eq!(template.fits(event(text).as_bytes()), fits, "{text:?}");
        }
        assert!(!template.fits(b"{\"choices\":[{\"index\":0,\"text\":\"\xff\",\"finish_reason\":null}]}"));
        assert!(!template.fits(event("a\nb").as_bytes()));
    }

    #[test]
    fn what_has_two_texts_or_ends_is_no_template() {
        for data in [
            r#"{"choices":[{"text":"a"},{"text":"b"}]}"#,
            r#"{"choices":[{"delta":{"content":"a","reasoning_content":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":7}}]}"#,
            r#"{"choices":[{"delta":{"content":"\u0041"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"a"}}]}}]}"#,
            r#"{"choices":[{"text":"a","finish_reason":"length"}]}"#,
            r#"{"choices":[{"text":"a","finish_reason":"abort"}]}"#,
            r#"{"choices":[{"text":"a"}],"cost":NaN}"#,
            r#"{"choices":[{"text":""}]}"#,
            "[DONE]",
        ] {
            let mut template = EventTemplate::default();
            template.parse(data.as_bytes()).unwrap();
            assert!(template.event.is_none(), "{data}");
        }
    }

    proptest! {
        #[test]
        fn with_and_without_a_template_events_say_the_same(texts in proptest::collection::vec((0..7usize, "[ a\"\\\\né{}]{0,4}"), 1..12)) {
            let mut template = EventTemplate::default();
            for (kind, text) in texts {
                let raw = text.clone();
                let text = serde_json::to_string(&text).unwrap();
                let data = match kind {
                    0 => format!(r#"{{"choices":[{{"index":0,"text":{text},"finish_reason":null}}]}}"#),
                    1 => format!(r#"{{"choices":[{{"delta":{{"content":{text}}}}}],"created":1}}"#),
                    2 => format!(r#"{{"choices":[{{"delta":{{"reasoning":{text}}}}}],"usage":{{"completion_tokens":3}}}}"#),
                    3 => format!(r#"{{"choices":[{{"text":{text},"finish_reason":"stop"}}]}}"#),
                    4 => format!(r#"{{"error":{text},"choices":[{{"text":"a"}}]}}"#),
                    5 => format!(r#"{{"choices":[{{"delta":{{"content":[{{"type":"text","text":{text}}}]}}}}]}}"#),
                    _ => format!(r#"{{"choices":[{{"text":"{raw}"}}]}}"#),
                };
                prop_assert_eq!(template.parse(data.as_bytes()).ok(), Event::parse(data.as_bytes()).ok(), "{}", data);
            }
        }
    }
}
