//! Reads the lines of a source: one at a time as they arrive, or in batches.

use std::io::{self, BufRead, ErrorKind};
use std::sync::Arc;

use super::{RowPlace, format};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::redact;
use crate::rows::row::Row;

/// Maximum length of a line, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// Reads rows from one source.
#[derive(Debug)]
pub struct RowReader<R> {
    source: R,
    name: Arc<str>,
    line: u64,
    max_line: usize,
    buffer: Vec<u8>,
    /// True once the first bytes have been checked for the format.
    begun: bool,
}

/// One line of the source.
enum LineContent {
    End,
    /// A line in `buffer`; `torn` if the source ended before its newline.
    Text {
        torn: bool,
    },
    TooLong,
}

/// Unparsed lines of a source, which can be parsed on another thread.
#[derive(Debug)]
pub struct LineBatch {
    text: Vec<u8>,
    /// Of each line: its end in the text, its place, and whether it is torn.
    lines: Vec<(usize, RowPlace, bool)>,
}

/// Minimum size of a batch, in bytes.
const BATCH: usize = 1 << 18;

impl LineBatch {
    /// The results of `parse` for the lines. Lines that it cannot read are reported as by [`RowReader::next_as`].
    pub fn parse<T>(&self, notice: &Notice, mut parse: impl FnMut(&str) -> Result<T>) -> Vec<T> {
        let starts = std::iter::once(0).chain(self.lines.iter().map(|(end, ..)| *end));
        let lines = starts.zip(&self.lines);
        lines
            .filter_map(|(start, (end, place, torn))| parsed(&self.text[start..*end], place, *torn, notice, &mut parse))
            .collect()
    }
}

/// The result of `parse` for a line. `None` for a blank line, and for one that cannot be read: that is reported, as a
/// warning if the line is torn.
fn parsed<T>(
    line: &[u8],
    place: &RowPlace,
    torn: bool,
    notice: &Notice,
    parse: impl FnOnce(&str) -> Result<T>,
) -> Option<T> {
    let mut bytes = line;
    if place.line == 1
        && let Some(rest) = bytes.strip_prefix("\u{feff}".as_bytes())
    {
        notice.warn(format!("{place}: a byte order mark was skipped"));
        bytes = rest;
    }
    bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let text =
        std::str::from_utf8(bytes).map_err(|e| Error::new(format!("invalid UTF-8 at byte {}", e.valid_up_to() + 1)));
    // Register the secrets that a row names before anything uses it.
    if let Ok(text) = &text {
        redact::hide_named(text);
    }
    match text.and_then(parse) {
        Ok(parsed) => return Some(parsed),
        // Whole JSON that is wrong in another way was not cut off.
        Err(error) if torn && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_err() => notice.warn(
            Error::new("the last line is incomplete and was dropped").because(error).at(place.clone()).to_string(),
        ),
        Err(error) => notice.error(&error.at(place.clone())),
    }
    None
}

impl<R: BufRead> RowReader<R> {
    /// `name` is what messages call the source: `stdin` or the path.
    pub fn new(source: R, name: impl Into<Arc<str>>) -> Self {
        Self { source, name: name.into(), line: 0, max_line: MAX_LINE, buffer: Vec::new(), begun: false }
    }

    /// A reader with another limit than [`MAX_LINE`].
    #[must_use]
    pub fn with_max_line(self, max_line: usize) -> Self {
        Self { max_line, ..self }
    }

    /// Place of the row returned last: `stdin:17`.
    #[must_use]
    pub fn place(&self) -> RowPlace {
        RowPlace { name: Arc::clone(&self.name), line: self.line }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn next(&mut self, notice: &Notice) -> Result<Option<Row>> {
        self.next_as(notice, Row::parse)
    }

    /// The result of `parse` for the next line; `None` at the end. A malformed line is reported and skipped, a torn
    /// last line is dropped with a warning, and blank lines are skipped.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn next_as<T>(&mut self, notice: &Notice, mut parse: impl FnMut(&str) -> Result<T>) -> Result<Option<T>> {
        while let Some(torn) = self.next_line(notice)? {
            if let Some(parsed) = parsed(&self.buffer, &self.place(), torn, notice, &mut parse) {
                return Ok(Some(parsed));
            }
        }
        Ok(None)
    }

    /// The next lines, unparsed; `None` at the end.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn batch(&mut self, notice: &Notice) -> Result<Option<LineBatch>> {
        let mut batch = LineBatch { text: Vec::with_capacity(BATCH + BATCH / 4), lines: Vec::new() };
        while batch.text.len() < BATCH
            && let Some(torn) = self.next_line(notice)?
        {
            batch.text.extend_from_slice(&self.buffer);
            batch.lines.push((batch.text.len(), self.place(), torn));
        }
        Ok((!batch.lines.is_empty()).then_some(batch))
    }

    /// Reads a line into the buffer; true if it is torn, `None` at the end. Lines that are too long are reported and
    /// skipped.
    fn next_line(&mut self, notice: &Notice) -> Result<Option<bool>> {
        let unreadable = |e: io::Error, place: RowPlace| Error::new("cannot read").because(e).at(place);
        if !self.begun {
            self.begun = true;
            let place = self.place();
            let other = loop {
                match self.source.fill_buf() {
                    Ok(start) => break format::of(start),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(unreadable(e, place)),
                }
            };
            if let Some(other) = other {
                return Err(Error::new(other.instead()).at(place));
            }
        }
        loop {
            match self.read_line().map_err(|e| unreadable(e, self.place()))? {
                LineContent::End => return Ok(None),
                LineContent::Text { torn } => return Ok(Some(torn)),
                LineContent::TooLong => notice
                    .error(&Error::new(format!("the line is longer than {} bytes", self.max_line)).at(self.place())),
            }
        }
    }

    /// Reads one line into the buffer, never more than the limit.
    fn read_line(&mut self) -> io::Result<LineContent> {
        self.buffer.clear();
        let mut too_long = false;
        loop {
            let available = match self.source.fill_buf() {
                Ok(available) => available,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if available.is_empty() {
                self.line += u64::from(!self.buffer.is_empty() || too_long);
                return Ok(match (too_long, self.buffer.is_empty()) {
                    (true, _) => LineContent::TooLong,
                    (false, true) => LineContent::End,
                    (false, false) => LineContent::Text { torn: true },
                });
            }
            let newline = memchr::memchr(b'\n', available);
            let taken = newline.map_or(available.len(), |at| at + 1);
            if !too_long {
                self.buffer.extend_from_slice(&available[..taken]);
                if self.buffer.len() > self.max_line {
                    too_long = true;
                    self.buffer = Vec::new();
                }
            }
            self.source.consume(taken);
            if newline.is_some() {
                self.line += 1;
                return Ok(if too_long { LineContent::TooLong } else { LineContent::Text { torn: false } });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::exit::ExitStatus;

    fn read(bytes: &[u8], max_line: usize) -> (Vec<(String, String)>, ExitStatus) {
        let notice = Notice::new("test", true);
        let mut reader = RowReader::new(io::BufReader::with_capacity(7, bytes), "f").with_max_line(max_line);
        let mut rows = Vec::new();
        while let Some(row) = reader.next(&notice).unwrap() {
            rows.push((reader.place().to_string(), row.line()));
        }
        (rows, notice.exit(ExitStatus::Done))
    }

    fn rows(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines.iter().map(|(place, line)| ((*place).to_string(), (*line).to_string())).collect()
    }

    #[test]
    fn bom_crlf_blank_lines_and_no_last_newline() {
        let (read, exit) = read("\u{feff}{\"a\":1}\r\n\n  \n{\"b\":2}".as_bytes(), MAX_LINE);
        assert_eq!(read, rows(&[("f:1", "{\"a\":1}"), ("f:4", "{\"b\":2}")]));
        assert_eq!(exit, ExitStatus::Done);
    }

    #[test]
    fn a_torn_last_line_is_only_a_warning() {
        assert_eq!(read(b"{\"a\":1}\n{\"b\":", MAX_LINE), (rows(&[("f:1", "{\"a\":1}")]), ExitStatus::Done));
    }

    #[test]
    fn bad_lines_are_skipped_and_remembered() {
        let (read, exit) = read(b"{\"a\":\n\xff{}\n{\"long\":\"0123456789\"}\n{\"b\":2}\n", 16);
        assert_eq!(read, rows(&[("f:4", "{\"b\":2}")]));
        assert_eq!(exit, ExitStatus::Trouble);
    }

    #[test]
    fn another_format_is_said_once() {
        for (text, said) in [
            ("# a plan\nmodel: m\nframeworks:\n  sim: {}\n", "YAML"),
            ("a,b,c\n1,2,3\n", "CSV"),
            ("{\n  \"a\": 1\n}\n", "one JSON document"),
            ("[\n\u{e}", "one JSON document"),
        ] {
            let mut reader = RowReader::new(text.as_bytes(), "f");
            let error = reader.next(&Notice::new("test", true)).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_batch_has_what_stands_on_its_lines() {
        let bytes = b"\xef\xbb\xbf{\"a\":1}\r\n\n{\"b\":\n{\"b\":2}\n{\"torn\":";
        let (one_by_one, exit) = read(bytes, MAX_LINE);
        let notice = Notice::new("test", true);
        let mut reader = RowReader::new(&bytes[..], "f");
        let batch = reader.batch(&notice).unwrap().unwrap();
        let lines: Vec<String> = batch.parse(&notice, Row::parse).iter().map(Row::line).collect();
        assert_eq!(lines, one_by_one.into_iter().map(|(_, line)| line).collect::<Vec<_>>());
        assert!(reader.batch(&notice).unwrap().is_none());
        assert_eq!(notice.exit(ExitStatus::Done), exit);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        /// Whatever the bytes: rows or messages, each line once, and never more than the limit in memory.
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), lines in "(\\{\"a\":[0-9]{1,3}\\}\r?\n|[\\[\\{\"]{1,30}\n){0,5}") {
            let mut all = lines.into_bytes();
            all.extend(bytes);
            let notice = Notice::new("test", true);
            let mut reader = RowReader::new(&all[..], "f").with_max_line(64);
            // A file that does not contain rows ends with one error.
            while let Ok(Some(row)) = reader.next(&notice) {
                proptest::prop_assert!(row.line().len() <= 64);
            }
        }
    }
}
