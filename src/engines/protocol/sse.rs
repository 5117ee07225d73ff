//! Server-sent events, split at any byte (WHATWG HTML, "Interpreting an event stream"), as far as LLM endpoints use
//! them: `data` fields, and signs that the answer failed; `id` and `retry` are ignored.

/// Maximum size of an event, bytes.
pub const MAX_EVENT: usize = 1 << 20;

/// Maximum size of stored text outside events, bytes.
const MAX_ASIDE: usize = 4096;
/// Names of events for a failed answer, alone or after a dot (`response.failed`).
const FAILED: [&str; 9] = ["error", "errors", "exception", "fail", "failed", "failure", "abort", "aborted", "fatal"];

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The data of an event.
    Data(&'a [u8]),
    /// The server's error text: from an event `error`, or from a line `error: …`.
    Error(&'a [u8]),
    /// A body that is not an event stream: a JSON error under status 200, or a page of a proxy.
    Body(&'a [u8]),
}

/// Splits a byte stream into its events.
#[derive(Debug, Default)]
pub struct Splitter {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The name of the current event means that the answer failed.
    failed: bool,
    /// Comments, and lines that do not belong to an event stream: they may say why an answer failed.
    aside: Vec<u8>,
    after_cr: bool,
    begun: bool,
    /// An event has been handed on.
    any: bool,
    too_large: bool,
}

impl Splitter {
    /// Reads the next bytes, and calls `event` for each event that they complete.
    pub fn push(&mut self, mut bytes: &[u8], mut event: impl FnMut(Part)) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let Some(at) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.buffer(bytes);
                return;
            };
            self.after_cr = bytes[at] == b'\r';
            let begun = self.begun && !self.has_data && !self.failed && self.line.is_empty();
            if let (true, Some(value)) = (begun && bytes[at..].starts_with(b"\n\n"), bytes[..at].strip_prefix(b"data:"))
            {
                // The usual event is one line and its end in this read: copy nothing.
                let value = value.strip_prefix(b" ").unwrap_or(value);
                self.too_large |= value.len() > MAX_EVENT;
                self.any = true;
                event(Part::Data(&value[..value.len().min(MAX_EVENT)]));
                bytes = &bytes[at + 2..];
                continue;
            }
            if self.line.is_empty() {
                // The whole line is in this read: copy only its data.
                self.end_line(&bytes[..at], &mut event);
            } else {
                self.buffer(&bytes[..at]);
                let mut line = std::mem::take(&mut self.line);
                self.end_line(&line, &mut event);
                line.clear();
                self.line = line;
            }
            bytes = &bytes[at + 1..];
        }
    }

    /// Reads the end of the stream: the terminator needs no blank line, and a stream without events may be a body of another kind.
    pub fn end(&mut self, mut event: impl FnMut(Part)) {
        let data = match self.line.strip_prefix(b"data:") {
            Some(value) if !self.has_data => value,
            None if self.line.is_empty() && self.has_data => &self.data,
            _ => &b""[..],
        };
        if !self.failed && data.trim_ascii() == b"[DONE]" {
            (self.has_data, self.any) = (false, true);
            self.line.clear();
            self.data.clear();
            return event(Part::Data(b"[DONE]"));
        }
        if !self.line.is_empty() && !self.line.starts_with(b"data:") && !self.line.starts_with(b"event:") {
            let line = std::mem::take(&mut self.line);
            self.put_aside(line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line));
            self.line = line;
        }
        if !self.any && !self.has_data && !self.aside.is_empty() {
            event(Part::Body(&self.aside));
        }
    }

    /// True if the stream ended inside an event.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.has_data || self.failed || !self.line.is_empty()
    }

    /// True once an event was larger than [`MAX_EVENT`] and was truncated.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// The beginning of the text that the server sent outside its events.
    #[must_use]
    pub fn aside(&self) -> String {
        // An error event that was cut off.
        let words = if self.failed && self.has_data { &self.data } else { &self.aside };
        String::from_utf8_lossy(words).trim().to_string()
    }

    fn buffer(&mut self, bytes: &[u8]) {
        let room = MAX_EVENT.saturating_sub(self.line.len());
        self.too_large |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, line: &[u8], event: &mut impl FnMut(Part)) {
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        if line.is_empty() {
            let has_data = std::mem::take(&mut self.has_data);
            if std::mem::take(&mut self.failed) {
                // The standard ignores an event without data; its error text may be in a comment.
                event(Part::Error(if self.data.trim_ascii().is_empty() { &self.aside } else { &self.data }));
            } else if has_data {
                self.any = true;
                event(Part::Data(&self.data));
            }
            self.data.clear();
            return;
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line, &b""[..]),
        };
        match name {
            b"data" => {}
            b"event" => {
                // Text before it belongs to another event.
                self.failed = is_failure(value);
                return self.aside.clear();
            }
            b"id" | b"retry" => return,
            // llama.cpp writes its errors as a field.
            b"error" => return event(Part::Error(value)),
            b"" => return self.put_aside(value),
            _ => return self.put_aside(line),
        }
        let joins = std::mem::replace(&mut self.has_data, true);
        if self.data.len() + usize::from(joins) + value.len() > MAX_EVENT {
            self.too_large = true;
            return;
        }
        if joins {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }

    fn put_aside(&mut self, words: &[u8]) {
        if !self.aside.is_empty() && self.aside.len() < MAX_ASIDE {
            self.aside.push(b' ');
        }
        let room = MAX_ASIDE.saturating_sub(self.aside.len());
        self.aside.extend_from_slice(&words[..words.len().min(room)]);
    }
}

/// True if the name of an event means that the answer failed.
fn is_failure(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name).trim_ascii();
    FAILED.iter().any(|failed| last.eq_ignore_ascii_case(failed.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(parts: &[&[u8]]) -> (Vec<String>, bool) {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for part in parts {
            splitter.push(part, |part| {
                events.push(match part {
                    Part::Data(data) => String::from_utf8_lossy(data).into_owned(),
                    Part::Error(why) => format!("ERROR {}", String::from_utf8_lossy(why)),
                    Part::Body(body) => format!("BODY {}", String::from_utf8_lossy(body)),
                });
            });
        }
        (events, splitter.is_torn())
    }

    #[test]
    fn reads_what_the_standard_allows() {
        for (text, events, torn) in [
            ("data: a\n\ndata: b\n\n", vec!["a", "b"], false),
            ("data:a\r\n\r\n", vec!["a"], false),
            ("data: a\r\rdata: b\r\r", vec!["a", "b"], false),
            ("\u{feff}data: a\n\n", vec!["a"], false),
            (": keep-alive\n\ndata:  x\n\n", vec![" x"], false),
            ("event: e\nid: 1\nretry: 5\ndata: 1\ndata: 2\n\n", vec!["1\n2"], false),
            ("data\n\n", vec![""], false),
            ("data: a\n\ndata: cut", vec!["a"], true),
            ("data: a\n\ndata: cut\n", vec!["a"], true),
            ("database: no\n\n", vec![], false),
            ("event: error\ndata: why\n\ndata: [DONE]\n\n", vec!["ERROR why", "[DONE]"], false),
            ("event: error\n: why\n\ndata: [DONE]\n\n", vec!["ERROR why", "[DONE]"], false),
            (": ping\n\nevent: error\n\n", vec!["ERROR "], false),
            ("event:response.failed\r\ndata: why\r\n\r\n", vec!["ERROR why"], false),
            ("data: why\nevent: Error\n\n", vec!["ERROR why"], false),
            ("event: terror\ndata: a\n\n", vec!["a"], false),
            ("error: {\"code\":400}\n\ndata: [DONE]\n\n", vec!["ERROR {\"code\":400}", "[DONE]"], false),
        ] {
            assert_eq!(split(&[text.as_bytes()]), (events.into_iter().map(String::from).collect(), torn), "{text:?}");
        }
    }

    #[test]
    fn the_end_completes_a_terminator_and_a_body() {
        for (text, wanted) in [
            ("data: a\n\ndata: [DONE]", Some("[DONE]")),
            ("data: a\n\ndata: [DONE]\n", Some("[DONE]")),
            ("data: a\n\ndata: cut", None),
            ("data: a\n\nevent: error\ndata: [DONE]", None),
            ("data: a\n\nInternal Server Error", None),
            ("{\"detail\": \"no\"}", Some("{\"detail\": \"no\"}")),
            ("{\n  \"detail\": \"no\"\n}", Some("{   \"detail\": \"no\" }")),
            ("<html>\n", Some("<html>")),
            ("", None),
        ] {
            let (mut splitter, mut got) = (Splitter::default(), None);
            splitter.push(text.as_bytes(), |_| ());
            splitter.end(|part| match part {
                Part::Data(data) | Part::Body(data) => got = Some(String::from_utf8_lossy(data).into_owned()),
                Part::Error(_) => {}
            });
            assert_eq!(got.as_deref(), wanted, "{text:?}");
            assert_eq!(
                splitter.is_torn(),
                text.contains("cut") || text.ends_with(['r', '}']) || text.contains("error"),
                "{text:?}"
            );
        }
        let mut splitter = Splitter::default();
        splitter.push(b"data: a\n\nInternal Server Error", |_| ());
        splitter.end(|_| ());
        assert_eq!(splitter.aside(), "Internal Server Error");
    }

    #[test]
    fn text_outside_events_is_stored_and_bounded() {
        let mut splitter = Splitter::default();
        splitter.push(b": ping\n\n{\"detail\":\"no model\"}\n\n", |_| ());
        assert_eq!(splitter.aside(), "ping {\"detail\":\"no model\"}");
        for _ in 0..1000 {
            splitter.push(b": ping\n\n", |_| ());
        }
        assert!(splitter.aside.len() <= MAX_ASIDE);
    }

    #[test]
    fn an_endless_event_is_bounded() {
        let mut splitter = Splitter::default();
        for _ in 0..70 {
            splitter.push(&vec![b'x'; 1 << 15], |_| ());
        }
        assert!(splitter.is_too_large() && splitter.line.capacity() <= 4 * MAX_EVENT);
    }

    proptest! {
        #[test]
        fn split_anywhere_is_the_same(text in "(\u{feff})?((data: ?|: |event: |event: error|error: |)[a-zé ]{0,6}(\n|\r|\r\n){1,3}){0,8}", cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let parts: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(split(&parts), split(&[bytes]));
            prop_assert_eq!(split(&single), split(&[bytes]));
        }
    }
}
