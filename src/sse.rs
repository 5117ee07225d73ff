//! Server-sent events, split at any byte (WHATWG HTML, "Interpreting an event stream"), as far as an LLM endpoint uses
//! them: `data` fields only; `event`, `id`, `retry` and comments are read over.

/// The largest event that is kept, in bytes.
pub const MAX_EVENT: usize = 1 << 20;

/// Splits a byte stream into the data of its events.
#[derive(Debug, Default)]
pub struct Splitter {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_cr: bool,
    begun: bool,
    too_large: bool,
}

impl Splitter {
    /// Takes the next bytes and hands the data of each event that they complete to `event`.
    pub fn push(&mut self, mut bytes: &[u8], mut event: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let Some(at) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.keep(bytes);
                return;
            };
            self.after_cr = bytes[at] == b'\r';
            let begun = self.begun && !self.has_data && self.line.is_empty();
            if let (true, Some(value)) = (begun && bytes[at..].starts_with(b"\n\n"), bytes[..at].strip_prefix(b"data:"))
            {
                // The usual event: one line and the end of it in this read, and nothing is copied at all.
                let value = value.strip_prefix(b" ").unwrap_or(value);
                self.too_large |= value.len() > MAX_EVENT;
                event(&value[..value.len().min(MAX_EVENT)]);
                bytes = &bytes[at + 2..];
                continue;
            }
            if self.line.is_empty() {
                // The usual case: the whole line is in this read, and nothing is copied but its data.
                self.end_line(&bytes[..at], &mut event);
            } else {
                self.keep(&bytes[..at]);
                let mut line = std::mem::take(&mut self.line);
                self.end_line(&line, &mut event);
                line.clear();
                self.line = line;
            }
            bytes = &bytes[at + 1..];
        }
    }

    /// True when the stream ended inside an event: it was cut off.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.has_data || !self.line.is_empty()
    }

    /// True once an event was larger than [`MAX_EVENT`]; what was kept of it is not its whole data.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_EVENT.saturating_sub(self.line.len());
        self.too_large |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self, line: &[u8], event: &mut impl FnMut(&[u8])) {
        let first = !std::mem::replace(&mut self.begun, true);
        let line = if first { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                event(&self.data);
                self.data.clear();
            }
            return;
        }
        let value = match line.strip_prefix(b"data:") {
            Some(value) => value.strip_prefix(b" ").unwrap_or(value),
            None if line == b"data" => b"",
            None => return,
        };
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        if self.data.len() + value.len() > MAX_EVENT {
            self.too_large = true;
        } else {
            self.data.extend_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(parts: &[&[u8]]) -> (Vec<String>, bool) {
        let mut splitter = Splitter::default();
        let mut events = Vec::new();
        for part in parts {
            splitter.push(part, |data| events.push(String::from_utf8_lossy(data).into_owned()));
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
        ] {
            assert_eq!(split(&[text.as_bytes()]), (events.into_iter().map(String::from).collect(), torn), "{text:?}");
        }
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
        fn split_anywhere_is_the_same(text in "(\u{feff})?((data: ?|: |event: |)[a-zé ]{0,6}(\n|\r|\r\n){1,3}){0,8}", cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
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
