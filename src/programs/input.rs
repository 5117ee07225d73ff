//! Inputs: their names, their text, and one whose beginning is read before the program knows what to do with it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use crate::base::error::{Context, Error, Result};
use crate::system::special_file;

/// An input by its path. A pipe can be read only once, so it stays open after its beginning was read.
pub struct InputSource {
    path: PathBuf,
    opened: Option<Box<dyn BufRead + Send>>,
}

impl InputSource {
    /// The input at `path`; `-` is standard input.
    #[must_use]
    pub fn of(path: PathBuf) -> Self {
        Self { path, opened: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its first line with its newline, at most `limit` bytes. The next reader begins with it again.
    ///
    /// # Errors
    /// When it cannot be opened or read.
    pub fn first_line(&mut self, limit: u64) -> Result<Vec<u8>> {
        self.beginning(|source, read| source.take(limit).read_until(b'\n', read))
    }

    /// Opens it once, to find out early that it cannot be.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn check(&mut self) -> Result<()> {
        self.beginning(|_, _| Ok(0)).map(drop)
    }

    /// All of it, if that is at most `limit` bytes; the next reader reads it again.
    ///
    /// # Errors
    /// As [`read_text`].
    pub fn whole(&mut self, limit: usize) -> Result<String> {
        let read = self.beginning(|source, read| source.take(limit as u64 + 1).read_to_end(read))?;
        text(Cursor::new(read), &self.path, limit)
    }

    fn beginning(
        &mut self,
        read_some: impl FnOnce(&mut Box<dyn BufRead + Send>, &mut Vec<u8>) -> std::io::Result<usize>,
    ) -> Result<Vec<u8>> {
        let mut source = self.opened.take().map_or_else(|| open(&self.path), Ok)?;
        let mut read = Vec::new();
        read_some(&mut source, &mut read).context("cannot read").map_err(|e| e.at(name(&self.path)))?;
        if special_file::is_stream(&self.path) {
            self.opened = Some(Box::new(Cursor::new(read.clone()).chain(source)));
        }
        Ok(read)
    }

    /// Opens it at its beginning.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(self) -> Result<Box<dyn BufRead + Send>> {
        self.opened.map_or_else(|| open(&self.path), Ok)
    }

    /// Its whole text, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`read_text`].
    pub fn text(self, limit: usize) -> Result<String> {
        let path = self.path.clone();
        text(self.open()?, &path, limit)
    }
}

/// Opens one input; `-` is standard input.
///
/// # Errors
/// When the file cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, io::stdin())));
    }
    let at = |e: io::Error| Error::new("cannot open").because(e).at(name(path));
    let file = File::open(path).map_err(at)?;
    if special_file::is_endless(&file, path).map_err(at)? {
        return Err(Error::new("this is a device, not a file").at(name(path)));
    }
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// The name by which messages call an input: `stdin` for `-`.
#[must_use]
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".into() } else { path.display().to_string() }
}

/// The whole text of one input, at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, limit: usize) -> Result<String> {
    if special_file::is_named_pipe(path) {
        return Err(Error::new("this is a named pipe or a socket, not a file").at(name(path)));
    }
    text(open(path)?, path, limit)
}

/// The rest of an open input, at most `limit` bytes.
fn text(source: impl Read, path: &Path, limit: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let at = |e: Error| e.at(name(path));
    let size =
        source.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|e| at(Error::new("cannot read").because(e)))?;
    if size > limit {
        return Err(at(Error::new(format!("larger than {limit} bytes"))));
    }
    String::from_utf8(bytes).map_err(|e| at(Error::new("cannot read").because(no_text(e.as_bytes()))))
}

/// What bytes that are not UTF-8 are, by their beginning.
fn no_text(bytes: &[u8]) -> String {
    binary(bytes).map_or_else(|| "it is not text in UTF-8".into(), String::from)
}

/// What a file is that begins with these bytes, and what to do with it; `None` for text.
#[must_use]
pub fn binary(bytes: &[u8]) -> Option<&'static str> {
    KINDS.iter().find(|(beginning, _)| bytes.starts_with(beginning)).map(|(_, what)| *what)
}

/// Beginnings of files that are not text in UTF-8, and what to do with these.
const KINDS: [(&[u8], &str); 10] = [
    (
        b"PAR1",
        "it is a Parquet file: convert it to JSON first, for example with duckdb -c \"COPY (FROM 'FILE.parquet') TO 'FILE.json'\"",
    ),
    (
        b"ARROW1",
        "it is an Arrow file: convert it to JSON first, for example with `datasets.Dataset.from_file(FILE).to_json(FILE)` of Python",
    ),
    (b"SQLite format 3", "it is an SQLite database: export its table as JSON first (sqlite3 -json FILE 'SELECT ...')"),
    (b"\x1f\x8b", "it is compressed (gzip): unpack it first (gunzip -k FILE)"),
    (b"\x28\xb5\x2f\xfd", "it is compressed (Zstandard): unpack it first (unzstd FILE)"),
    (b"\xfd7zXZ", "it is compressed (xz): unpack it first (unxz -k FILE)"),
    (b"BZh", "it is compressed (bzip2): unpack it first (bunzip2 -k FILE)"),
    (b"PK\x03\x04", "it is a ZIP archive: unpack it first (unzip FILE)"),
    (b"\xff\xfe", "it is UTF-16: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8 FILE)"),
    (b"\xfe\xff", "it is UTF-16: convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8 FILE)"),
];
