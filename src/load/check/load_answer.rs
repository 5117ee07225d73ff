//! The text of an answer of the running load, which may be that of a question.

use serde_json::Value;

use crate::engines::protocol::sse::{Part, Splitter};

/// Collects what the server writes, whole or as a stream of events.
#[derive(Debug, Default)]
pub struct LoadAnswer {
    splitter: Splitter,
    text: String,
    /// A body that is no stream.
    body: Vec<u8>,
    any: bool,
}

/// A body of another kind is kept up to this size, bytes.
const MOST: usize = 1 << 20;

impl LoadAnswer {
    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { splitter, text, any, .. } = self;
        splitter.push(bytes, |part| {
            if let Part::Data(data) = part {
                *any = true;
                add(data, text);
            }
        });
        if !self.any && self.body.len() < MOST {
            self.body.extend_from_slice(bytes);
        }
    }

    /// Its text, as far as it came.
    pub fn text(mut self) -> String {
        if !self.any {
            add(&self.body, &mut self.text);
        }
        self.text
    }
}

/// Adds the text of an event, or of a whole answer.
fn add(json: &[u8], text: &mut String) {
    let Ok(event) = serde_json::from_slice::<Value>(json) else { return };
    let choice = &event["choices"][0];
    for part in [&choice["delta"], &choice["message"], choice] {
        for key in ["content", "reasoning_content", "reasoning", "text"] {
            text.extend(part[key].as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parts: &[&str]) -> String {
        let mut answer = LoadAnswer::default();
        parts.iter().for_each(|part| answer.push(part.as_bytes()));
        answer.text()
    }

    #[test]
    fn a_text_is_whole_however_it_comes() {
        let chat = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"K7Q\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"M-X2\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(text(&[chat]), "K7QM-X2");
        let (a, b) = chat.split_at(97);
        assert_eq!(text(&[a, b]), "K7QM-X2");
        assert_eq!(
            text(&["data: {\"choices\":[{\"text\":\"a\"}]}\n\n", "data: {\"choices\":[{\"text\":\"b\"}]}\n\n"]),
            "ab"
        );
        assert_eq!(text(&["{\"choices\":[{\"message\":{\"content\":\"whole\"", "}}]}"]), "whole");
        assert_eq!(text(&["<html>no</html>"]), "");
    }
}
