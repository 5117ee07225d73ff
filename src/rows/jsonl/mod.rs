//! Reading and writing rows: a reader that reports malformed lines and skips them, and a writer with one write per row.

mod clean;
mod format;
mod reader;

use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

use serde::Serialize;

use super::row::{Row, SCHEMA_VERSION};
use crate::base::error::{Context, Error, Result};

pub use self::clean::{foreign, foreign_row, foreign_value, is_own, outgoing, shown, shown_row, shown_text};
pub use self::format::{is_csv, is_csv_header};
pub use self::reader::{LineBatch, MAX_LINE, RowReader};

/// The place of a line: `stdin:17`. Created for every line, formatted only for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPlace {
    /// What messages call the source.
    pub name: Arc<str>,
    /// From 1; 0 for the whole source.
    pub line: u64,
}

/// An iterator of rows, or of what is wrong with one. Boxed instead of generic, so that code that takes rows is
/// compiled once here and not again in each program.
pub type Rows = Box<dyn Iterator<Item = Result<(Row, RowPlace)>> + Send>;

impl fmt::Display for RowPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.name),
            line => write!(f, "{}:{line}", self.name),
        }
    }
}

impl From<RowPlace> for String {
    fn from(place: RowPlace) -> Self {
        place.to_string()
    }
}

/// JSON text with the bare words of Python's writer (`NaN`, `Infinity`, `-Infinity`), which are not JSON, as strings.
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

/// Writes rows without secrets, each with one `write`, so that a row is whole or absent whenever the program is
/// stopped.
#[derive(Debug)]
pub struct RowWriter<W> {
    sink: W,
    /// What messages call the sink.
    name: String,
    buffer: Vec<u8>,
}

impl<W: Write> RowWriter<W> {
    /// `sink` must not buffer: the next program has to see each row at once.
    pub fn new(sink: W) -> Self {
        Self::named(sink, "standard output")
    }

    /// The same with what messages call the sink: `results.jsonl`.
    pub fn named(sink: W, name: impl Into<String>) -> Self {
        Self { sink, name: name.into(), buffer: Vec::new() }
    }

    /// Writes one row and its newline.
    ///
    /// # Errors
    /// [`Error::reader_left`] if the reader closed the pipe, otherwise the system's error.
    pub fn write(&mut self, row: &Row) -> Result<()> {
        self.write_line(&row.line())
    }

    /// Writes a new row of the kind `record`, serialized directly instead of through a JSON tree.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub fn write_typed(&mut self, record: &str, typed: &impl Serialize) -> Result<()> {
        let members = serde_json::to_string(typed).context("cannot write the row")?;
        let members = members.strip_prefix('{').unwrap_or(&members);
        self.write_line(&format!("{{\"schema_version\":{SCHEMA_VERSION},\"record\":\"{record}\",{members}"))
    }

    /// Writes one line of text that is already a row.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let line = outgoing(line);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.extend_from_slice(line.as_bytes());
        buffer.push(b'\n');
        let written = self.write_whole(&buffer);
        self.buffer = buffer;
        written
    }

    /// Writes whole lines at once. They have no secrets: they were made of rows that were read without any.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    pub fn write_whole(&mut self, lines: &[u8]) -> Result<()> {
        // `write_all` continues after a short write; the reader of a pipe still sees a whole row.
        let written = self.sink.write_all(lines).and_then(|()| self.sink.flush());
        written.map_err(|e| match e.kind() {
            ErrorKind::BrokenPipe => Error::reader_left(),
            _ => Error::new(format!("cannot write to {}", self.name)).because(e).unwritable(),
        })
    }

    /// The sink, to watch whether its reader leaves.
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
    use std::io;

    use super::*;

    #[test]
    fn bare_words_of_python_become_strings() {
        for (text, wanted) in [
            (r#"{"a": Infinity, "b": [-Infinity, NaN]}"#, r#"{"a": "Infinity", "b": ["-Infinity", "NaN"]}"#),
            (r#"{"a": "NaN and \"Infinity\"", "é": NaN}"#, r#"{"a": "NaN and \"Infinity\"", "é": "NaN"}"#),
        ] {
            assert_eq!(quote_bare(text), wanted);
        }
    }

    #[test]
    fn one_write_per_row() {
        struct CountingWriter(Vec<Vec<u8>>);
        impl Write for CountingWriter {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = RowWriter::new(CountingWriter(Vec::new()));
        writer.write(&Row::parse("{\"a\":1}").unwrap()).unwrap();
        writer.write(&Row::parse("{\"b\":2}").unwrap()).unwrap();
        assert_eq!(writer.into_inner().0, [b"{\"a\":1}\n", b"{\"b\":2}\n"]);
    }
}
