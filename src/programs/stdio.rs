//! Standard input, output and files as row readers and writers.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::input::InputSource;
pub use super::input::{binary, name, open, read_text};
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

/// The lines of all inputs, one input after the other, each with its place (`stdin:17`).
pub struct InputLines<F> {
    sources: Inputs,
    parse: F,
}

/// Inputs, opened one after the other.
struct Inputs {
    left: VecDeque<InputSource>,
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
    lines_of(paths.iter().cloned().map(InputSource::of).collect(), parse, notice)
}

/// The same for inputs of which the beginning may have been read.
#[must_use]
pub fn lines_of<T, F: FnMut(&str) -> Result<T>>(
    inputs: Vec<InputSource>,
    parse: F,
    notice: &'static Notice,
) -> InputLines<F> {
    InputLines { sources: sources(inputs, notice), parse }
}

fn sources(inputs: Vec<InputSource>, notice: &'static Notice) -> Inputs {
    let mut left = VecDeque::from(inputs);
    if left.is_empty() {
        left.push_back(InputSource::of(PathBuf::from("-")));
    }
    if left.iter().any(|input| input.path() == Path::new("-")) && io::stdin().is_terminal() {
        notice.warn("reading rows from the terminal; end with Ctrl-D (see --help)");
    }
    Inputs { left, open: None, notice }
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
        let input = self.left.pop_front()?;
        let name = name(input.path());
        match input.open() {
            Ok(source) => self.open = Some(RowReader::new(source, name.as_str())),
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
    let source = Mutex::new(sources(paths.iter().cloned().map(InputSource::of).collect(), notice));
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

/// True for the name of a YAML file.
#[must_use]
pub fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

/// The YAML files of a folder, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let at = |e| Error::new("cannot read the folder").because(e).at(name(folder));
    let entries = std::fs::read_dir(folder).map_err(at)?.collect::<Result<Vec<_>, _>>().map_err(at)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_yaml(path)).collect();
    paths.sort();
    Ok(paths)
}

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
