//! Rows in and out: a reader that reports what it cannot read and goes on, and a writer with one write per row.

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Write};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Context, Error, Result};
use crate::notice::Notice;
use crate::row::{Row, SCHEMA_VERSION};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// Where a line stands: `stdin:17`. Made for every line, written only for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What messages call the source.
    pub name: Arc<str>,
    /// From 1; 0 for what stands on no line.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.name),
            line => write!(f, "{}:{line}", self.name),
        }
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

/// Reads rows from one source.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    name: Arc<str>,
    line: u64,
    max_line: usize,
    buffer: Vec<u8>,
}

/// What stands on one line of the source.
enum Line {
    End,
    /// A line in `buffer`; `torn` when the source ended before its newline.
    Text {
        torn: bool,
    },
    TooLong,
}

impl<R: BufRead> Reader<R> {
    /// `name` is what messages call the source: `stdin` or the path.
    pub fn new(source: R, name: impl Into<Arc<str>>) -> Self {
        Self { source, name: name.into(), line: 0, max_line: MAX_LINE, buffer: Vec::new() }
    }

    /// Another limit than [`MAX_LINE`].
    #[must_use]
    pub fn with_max_line(self, max_line: usize) -> Self {
        Self { max_line, ..self }
    }

    /// Where the row returned last stands: `stdin:17`.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { name: Arc::clone(&self.name), line: self.line }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn next(&mut self, notice: &Notice) -> Result<Option<Row>> {
        self.next_as(notice, Row::parse)
    }

    /// The next line as what `parse` makes of it; `None` at the end. A malformed line is reported and skipped, a torn last
    /// line dropped with a warning, blank lines pass over.
    ///
    /// # Errors
    /// When the source cannot be read.
    pub fn next_as<T>(&mut self, notice: &Notice, mut parse: impl FnMut(&str) -> Result<T>) -> Result<Option<T>> {
        loop {
            let torn = match self.read_line().map_err(|e| Error::new("cannot read").because(e).at(self.place()))? {
                Line::End => return Ok(None),
                Line::TooLong => {
                    notice.error(
                        &Error::new(format!("the line is longer than {} bytes", self.max_line)).at(self.place()),
                    );
                    continue;
                }
                Line::Text { torn } => torn,
            };
            match self.parsed(notice, &mut parse) {
                Ok(Some(parsed)) => return Ok(Some(parsed)),
                Ok(None) => {}
                Err(error) if torn => notice.warn(
                    Error::new("the last line is torn and was dropped").because(error).at(self.place()).to_string(),
                ),
                Err(error) => notice.error(&error.at(self.place())),
            }
        }
    }

    /// The buffer as what `parse` makes of it; `None` for a blank line.
    fn parsed<T>(&self, notice: &Notice, mut parse: impl FnMut(&str) -> Result<T>) -> Result<Option<T>> {
        let mut bytes = self.buffer.as_slice();
        if self.line == 1
            && let Some(rest) = bytes.strip_prefix("\u{feff}".as_bytes())
        {
            notice.warn(format!("{}: a byte order mark was skipped", self.place()));
            bytes = rest;
        }
        bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|e| Error::new(format!("invalid UTF-8 at byte {}", e.valid_up_to() + 1)))?;
        parse(text).map(Some)
    }

    /// Reads one line into the buffer, never more than the limit.
    fn read_line(&mut self) -> io::Result<Line> {
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
                    (true, _) => Line::TooLong,
                    (false, true) => Line::End,
                    (false, false) => Line::Text { torn: true },
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
                return Ok(if too_long { Line::TooLong } else { Line::Text { torn: false } });
            }
        }
    }
}

/// JSON text with the bare words of Python's writer, which no JSON has, as strings: `NaN`, `Infinity`, `-Infinity`.
#[must_use]
pub fn quote_bare(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let bare = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !inside && rest.starts_with(word));
        if let Some(word) = bare {
            quoted.push('"');
            quoted.push_str(word);
            quoted.push('"');
            rest = &rest[word.len()..];
            continue;
        }
        match c {
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && c == '\\' && !escaped;
        quoted.push(c);
        rest = &rest[c.len_utf8()..];
    }
    quoted
}

/// Writes rows, each with one `write`, so that a row is whole or absent whenever the program is stopped.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// `sink` must not buffer: rows are to be seen by the next program at once.
    pub fn new(sink: W) -> Self {
        Self { sink, buffer: Vec::new() }
    }

    /// Writes one row and its newline.
    ///
    /// # Errors
    /// [`Error::reader_left`] when the reader has gone, else what the system says.
    pub fn write(&mut self, row: &Row) -> Result<()> {
        self.write_line(&row.line())
    }

    /// Writes a new row of the kind `record`, without a detour over a tree of values.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_typed(&mut self, record: &str, typed: &impl Serialize) -> Result<()> {
        let members = serde_json::to_string(typed).context("cannot write the row")?;
        let members = members.strip_prefix('{').unwrap_or(&members);
        self.write_line(&format!("{{\"schema_version\":{SCHEMA_VERSION},\"record\":\"{record}\",{members}"))
    }

    /// Writes one line of text that is a row already.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        // `write_all` goes on after a short write; the reader of a pipe sees the row whole all the same.
        let written = self.sink.write_all(&self.buffer).and_then(|()| self.sink.flush());
        written.map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Error::reader_left(),
            _ => Error::new("cannot write to standard output").because(e),
        })
    }

    /// The sink, to be watched.
    pub fn sink(&self) -> &W {
        &self.sink
    }

    /// The sink itself.
    pub fn into_inner(self) -> W {
        self.sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn bare_words_of_python_become_strings() {
        for (text, wanted) in [
            (r#"{"a": Infinity, "b": [-Infinity, NaN]}"#, r#"{"a": "Infinity", "b": ["-Infinity", "NaN"]}"#),
            (r#"{"a": "NaN and \"Infinity\"", "é": NaN}"#, r#"{"a": "NaN and \"Infinity\"", "é": "NaN"}"#),
        ] {
            assert_eq!(quote_bare(text), wanted);
        }
    }

    fn read(bytes: &[u8], max_line: usize) -> (Vec<(String, String)>, Exit) {
        let notice = Notice::new("test", true);
        let mut reader = Reader::new(io::BufReader::with_capacity(7, bytes), "f").with_max_line(max_line);
        let mut rows = Vec::new();
        while let Some(row) = reader.next(&notice).unwrap() {
            rows.push((reader.place().to_string(), row.line()));
        }
        (rows, notice.exit(Exit::Done))
    }

    fn rows(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines.iter().map(|(place, line)| ((*place).to_string(), (*line).to_string())).collect()
    }

    #[test]
    fn bom_crlf_blank_lines_and_no_last_newline() {
        let (read, exit) = read("\u{feff}{\"a\":1}\r\n\n  \n{\"b\":2}".as_bytes(), MAX_LINE);
        assert_eq!(read, rows(&[("f:1", "{\"a\":1}"), ("f:4", "{\"b\":2}")]));
        assert_eq!(exit, Exit::Done);
    }

    #[test]
    fn a_torn_last_line_is_only_a_warning() {
        assert_eq!(read(b"{\"a\":1}\n{\"b\":", MAX_LINE), (rows(&[("f:1", "{\"a\":1}")]), Exit::Done));
    }

    #[test]
    fn bad_lines_are_skipped_and_remembered() {
        let (read, exit) = read(b"{\"a\":\n\xff{}\n{\"long\":\"0123456789\"}\n{\"b\":2}\n", 16);
        assert_eq!(read, rows(&[("f:4", "{\"b\":2}")]));
        assert_eq!(exit, Exit::Trouble);
    }

    #[test]
    fn one_write_per_row() {
        struct Counting(Vec<Vec<u8>>);
        impl Write for Counting {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = Writer::new(Counting(Vec::new()));
        writer.write(&Row::parse("{\"a\":1}").unwrap()).unwrap();
        writer.write(&Row::parse("{\"b\":2}").unwrap()).unwrap();
        assert_eq!(writer.into_inner().0, [b"{\"a\":1}\n", b"{\"b\":2}\n"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        /// Whatever the bytes: rows or messages, each line once, and never more than the limit in memory.
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), lines in "(\\{\"a\":[0-9]{1,3}\\}\r?\n|[\\[\\{\"]{1,30}\n){0,5}") {
            let mut all = lines.into_bytes();
            all.extend(bytes);
            let (rows, _) = read(&all, 64);
            proptest::prop_assert!(rows.iter().all(|(_, line)| line.len() <= 64));
        }
    }
}
