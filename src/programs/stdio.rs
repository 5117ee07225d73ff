//! Standard input, output and files as row readers and writers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::base::digest;
use crate::base::error::{Context, Error, Result};
use crate::base::notice::Notice;
use crate::base::yaml::MAX_BYTES;
use crate::engines::framework::Frameworks;
use crate::load::dataset;
use crate::load::dataset::ReadOptions;
use crate::rows::jsonl::{LineBatch, RowPlace, RowReader, RowWriter};
use crate::rows::kinds::Dataset;
use crate::rows::row::Row;
use crate::system::special_file;
use crate::system::whole_file::{WholeFile, cannot_write};

/// Maximum size of a dataset, in bytes: it is read into memory.
pub const MAX_DATASET: usize = 4 << 30;

/// Maximum number of threads that read one input.
const MOST_THREADS: usize = 8;

/// Standard output without a buffer: each write is one `write(2)`.
///
/// # Errors
/// When it is closed.
pub fn stdout() -> Result<File> {
    let owned = io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?;
    Ok(File::from(owned))
}

/// A row writer on standard output.
///
/// # Errors
/// When it is closed.
pub fn row_writer() -> Result<RowWriter<File>> {
    stdout().map(RowWriter::new)
}

/// Where a program's output goes: standard output, or the file of `--output`, which is whole or as before.
pub struct Output {
    file: Option<(WholeFile, PathBuf)>,
}

impl Output {
    /// Opens the file at `path`; standard output if there is none.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let file = path.map(|path| Ok((WholeFile::create(path)?, path.to_path_buf()))).transpose()?;
        Ok(Self { file })
    }

    /// True if people read it: standard output is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.file.is_none() && io::stdout().is_terminal()
    }

    /// A row writer on it.
    ///
    /// # Errors
    /// When it is closed.
    pub fn rows(&self) -> Result<RowWriter<File>> {
        let Some((file, path)) = &self.file else { return row_writer() };
        let copy = file.file().try_clone().map_err(|e| cannot_write(path, e))?;
        Ok(RowWriter::named(copy, name(path)))
    }

    /// Writes all of it at once.
    ///
    /// # Errors
    /// When it is not taken.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        match &self.file {
            Some((file, path)) => file.file().write_all(bytes).map_err(|e| cannot_write(path, e)),
            None => stdout()?.write_all(bytes).map_err(write_error),
        }
    }

    /// The output is complete: the file gets its name. Without this the file stays as it was.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(self) -> Result<()> {
        self.file.map_or(Ok(()), |(file, _)| file.keep())
    }
}

/// An error of writing to standard output as ours.
#[must_use]
pub fn write_error(e: io::Error) -> Error {
    match e.kind() {
        ErrorKind::BrokenPipe => Error::reader_left(),
        _ => Error::new("cannot write to standard output").because(e),
    }
}

/// The name by which messages call an input: `stdin` for `-`.
#[must_use]
pub fn name(path: &Path) -> String {
    if path == Path::new("-") { "stdin".into() } else { path.display().to_string() }
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

/// The lines of all inputs, one input after the other, each with its place (`stdin:17`).
pub struct InputLines<F> {
    sources: Inputs,
    parse: F,
}

/// Inputs, opened one after the other.
struct Inputs {
    paths: VecDeque<PathBuf>,
    open: Option<RowReader<Box<dyn BufRead + Send>>>,
    notice: &'static Notice,
}

/// Rows from these inputs, standard input when none is named. An input that cannot be opened is reported and skipped.
#[must_use]
pub fn rows(paths: &[PathBuf], notice: &'static Notice) -> InputLines<fn(&str) -> Result<Row>> {
    lines(paths, Row::parse, notice)
}

/// The same, each line as what `parse` makes of it.
#[must_use]
pub fn lines<T, F: FnMut(&str) -> Result<T>>(paths: &[PathBuf], parse: F, notice: &'static Notice) -> InputLines<F> {
    InputLines { sources: sources(paths, notice), parse }
}

fn sources(paths: &[PathBuf], notice: &'static Notice) -> Inputs {
    let mut paths: VecDeque<PathBuf> = paths.iter().cloned().collect();
    if paths.is_empty() {
        paths.push_back(PathBuf::from("-"));
    }
    if paths.iter().any(|p| p == Path::new("-")) && io::stdin().is_terminal() {
        notice.warn("reading rows from the terminal; end with Ctrl-D (see --help)");
    }
    Inputs { paths, open: None, notice }
}

impl<T, F: FnMut(&str) -> Result<T>> Iterator for InputLines<F> {
    type Item = Result<(T, RowPlace)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(reader) = &mut self.sources.open {
                match reader.next_as(self.sources.notice, &mut self.parse) {
                    Ok(Some(line)) => return Some(Ok((line, reader.place()))),
                    Ok(None) => self.sources.open = None,
                    Err(e) => {
                        self.sources.open = None;
                        return Some(Err(e));
                    }
                }
            } else {
                self.sources.open_next()?;
            }
        }
    }
}

impl Inputs {
    /// Opens the next input, if it can be; `None` when there is none left.
    fn open_next(&mut self) -> Option<()> {
        let path = self.paths.pop_front()?;
        match open(&path) {
            Ok(source) => self.open = Some(RowReader::new(source, name(&path).as_str())),
            Err(e) => self.notice.error(&e),
        }
        Some(())
    }

    /// The next lines, unread; `None` at the end.
    fn batch(&mut self) -> Option<LineBatch> {
        loop {
            if let Some(reader) = &mut self.open {
                match reader.batch(self.notice) {
                    Ok(Some(batch)) => return Some(batch),
                    Ok(None) => {}
                    // What was read so far still counts.
                    Err(e) => self.notice.error(&e),
                }
                self.open = None;
            }
            self.open_next()?;
        }
    }
}

/// Parses all lines of these inputs, in any order, on as many threads as there are cores; returns each thread's state and
/// results.
pub fn parallel<T: Send, S: Send>(
    paths: &[PathBuf],
    make: impl Fn() -> S + Sync,
    parse: impl Fn(&mut S, &str) -> Result<T> + Sync,
    notice: &'static Notice,
) -> Vec<(S, Vec<T>)> {
    let source = Mutex::new(sources(paths, notice));
    let next = || source.lock().unwrap_or_else(PoisonError::into_inner).batch();
    let work = |first: Option<LineBatch>| {
        let (mut own, mut made) = (make(), Vec::new());
        for batch in first.into_iter().chain(std::iter::from_fn(next)) {
            made.extend(batch.parse(notice, |line| parse(&mut own, line)));
        }
        (own, made)
    };
    // Most inputs are one batch.
    let first = next();
    let Some(second) = next() else { return vec![work(first)] };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    thread::scope(|scope| {
        let mut waiting = vec![Some(second)];
        waiting.resize_with(cores.saturating_sub(1).max(1), || None);
        let others: Vec<_> = waiting.into_iter().map(|batch| scope.spawn(|| work(batch))).collect();
        let own = work(first);
        let joined = |other: thread::ScopedJoinHandle<'_, _>| other.join().unwrap_or_else(|e| resume_unwind(e));
        std::iter::once(own).chain(others.into_iter().map(joined)).collect()
    })
}

/// The shipped framework definitions, and those in `folder`; launchers are in its folder `launchers`.
///
/// # Errors
/// A definition that cannot be read or does not load.
pub fn frameworks(folder: Option<&Path>) -> Result<Frameworks> {
    frameworks_of(&folder.map(Path::to_path_buf).into_iter().collect::<Vec<_>>())
}

/// The same for several folders; definitions of a later one replace those of an earlier one.
///
/// # Errors
/// A definition that cannot be read or does not load.
pub fn frameworks_of(folders: &[PathBuf]) -> Result<Frameworks> {
    let read = |folder: &Path| -> Result<Vec<(String, String)>> {
        yaml_files(folder)?.into_iter().map(|path| Ok((name(&path), read_text(&path, MAX_BYTES)?))).collect()
    };
    let (mut frameworks, mut launchers) = (Vec::new(), Vec::new());
    for folder in folders {
        let own = folder.join("launchers");
        launchers.extend(if own.is_dir() { read(&own)? } else { Vec::new() });
        frameworks.extend(read(folder)?);
    }
    Frameworks::load(&frameworks, &launchers)
}

/// The YAML files of a folder, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let at = |e| Error::new("cannot read the folder").because(e).at(name(folder));
    let entries = std::fs::read_dir(folder).map_err(at)?.collect::<Result<Vec<_>, _>>().map_err(at)?;
    let is_yaml = |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_yaml).collect();
    paths.sort();
    Ok(paths)
}

/// The whole text of one input, at most `limit` bytes.
///
/// # Errors
/// When it cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, limit: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let at = |e: Error| e.at(name(path));
    if special_file::is_named_pipe(path) {
        return Err(at(Error::new("this is a named pipe or a socket, not a file")));
    }
    let size = open(path)?
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| at(Error::new("cannot read").because(e)))?;
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

/// A dataset, read as `known` says, and the SHA-256 of its bytes.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn dataset(path: &Path, known: &Dataset) -> Result<(String, dataset::DatasetFile)> {
    let wanted = ReadOptions {
        output_len: known.default_output_len,
        takes: known.takes.iter().cloned().collect(),
        ..ReadOptions::default()
    };
    let text = read_text(path, MAX_DATASET)?;
    Ok((digest::sha256(text.as_bytes()), dataset::read(&text, &wanted)))
}
