//! Result files of other clients, recognized by their content, and folders of their sweeps.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::import_folder::{self, FolderFile, MAX_FILE, is_record, of_folder};
use super::input::InputSource;
use super::{import_yaml, stdio};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::base::redact;
use crate::normalize::import::{
    FORMATS, ImportFormat, ImportOverrides, ImportedResult, NamePattern, Repeats, Source, failed, keys, nearest,
    results,
};
use crate::rows::jsonl;
use crate::rows::jsonl::{is_csv_header, quote_bare};
use crate::rows::kinds::{Members, ResultRow};
use crate::rows::row::{parse_document, parse_value};

/// The byte order mark.
const MARK: char = '\u{feff}';
/// Maximum length of a first line, in bytes: the beginning of a long one is enough to recognize one of our rows.
const FIRST_LINE: u64 = 1 << 24;

/// True for a file that does not contain rows: its first line is not a whole JSON object, or it is one record of
/// another client's result.
pub fn is_other_client(input: &mut InputSource) -> bool {
    if input.path() == Path::new("-") || input.path().is_dir() {
        return input.path().is_dir();
    }
    let line = input.first_line(FIRST_LINE).unwrap_or_default();
    if line.is_empty() {
        // A file of rows may be empty: a run that was interrupted. A document may not.
        return input.path().extension().is_some_and(|end| end == "json");
    }
    if stdio::binary(&line).is_some() {
        return true;
    }
    let text = String::from_utf8_lossy(&line);
    // Our rows never have it.
    if text.starts_with(MARK) {
        return true;
    }
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return is_csv(input.path(), text)
            || (import_yaml::may_begin(text) && input.whole(MAX_FILE).is_ok_and(|text| import_yaml::is_report(&text)));
    }
    match serde_json::from_str::<Members>(text) {
        Ok(object) => is_record(&Value::Object(object)),
        Err(_) => !text.contains("\"record\""),
    }
}

/// True for a file of CSV, by its name or its first line.
fn is_csv(path: &Path, first: &str) -> bool {
    path.extension().is_some_and(|end| end == "csv") || is_csv_header(first)
}

/// The results of a file or a folder of another client. Content of unknown format is reported with its place and skipped.
///
/// # Errors
/// What cannot be read.
pub fn read(
    input: InputSource,
    overrides: &ImportOverrides,
    repeats: &mut Repeats,
    notice: &Notice,
) -> Result<Vec<ResultRow>> {
    let path = input.path().to_path_buf();
    if !path.is_dir() {
        let overrides = of_file(&path, overrides)?;
        return results_of(&path, contents(input, notice)?, &overrides, repeats, notice);
    }
    let (mut all, mut skipped, mut taken) = (Vec::new(), Vec::new(), false);
    for (one, found) in import_folder::files(&path)? {
        let read = match found {
            FolderFile::ByName => contents(InputSource::of(one.clone()), notice),
            FolderFile::ByContent => match contents(InputSource::of(one.clone()), notice) {
                Ok(contents) if contents.first().is_some_and(|(_, first)| is_result(first)) => Ok(contents),
                Ok(_) | Err(_) => {
                    skipped.push(one);
                    continue;
                }
            },
            FolderFile::Other => {
                skipped.push(one);
                continue;
            }
        };
        taken = true;
        // An unreadable file does not hide the others.
        let of_it = of_folder(&one, &path, overrides);
        match of_it.and_then(|overrides| results_of(&one, read?, &overrides, repeats, notice)) {
            Ok(found) => all.extend(found),
            Err(e) => notice.error(&e),
        }
    }
    import_folder::report_skipped(&path, &skipped, taken, notice)?;
    Ok(all)
}

/// True for a content of a known format.
fn is_result(content: &Value) -> bool {
    ImportFormat::of(content).is_some() || is_record(content)
}

/// The same for a single file: its folder is not a scenario.
fn of_file(path: &Path, overrides: &ImportOverrides) -> Result<ImportOverrides> {
    of_folder(path, path.parent().unwrap_or(path), overrides)
}

/// Where a result is from.
struct Origin {
    /// What repeats have in common: the folder of a sweep's run, otherwise the file.
    place: String,
    /// The name of a result that does not name its candidate.
    name: String,
    /// What all files of its candidate have in common, if the file is one of several.
    shared: Option<String>,
}

/// A name that says that the file is one of several repeats: `vllm-c8-run2`.
static REPEAT_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)^(.+?)[-_.](?:run|rep|repeat|trial)[-_.=]?\d+$").expect("a fixed pattern"));

fn origin(path: &Path) -> Origin {
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, folder) = (text(path.file_stem()), path.parent().filter(|folder| folder.file_name().is_some()));
    let place = stdio::name(path);
    let above = path.parent().map(stdio::name).unwrap_or_default();
    match folder {
        Some(folder) if stem.starts_with("run=") => {
            return Origin { place: stdio::name(folder), name: text(folder.file_name()), shared: None };
        }
        // The stages of one run of inference-perf, at one load each.
        Some(folder) if stem.starts_with("stage_") && stem.ends_with("_lifecycle_metrics") => {
            return Origin { place, name: text(folder.file_name()), shared: Some(above) };
        }
        Some(_) | None => {}
    }
    match REPEAT_NAME.captures(&stem) {
        Some(found) => Origin { place, name: found[1].to_string(), shared: Some(format!("{above}/{}", &found[1])) },
        None => Origin { place, name: stem, shared: None },
    }
}

fn results_of(
    path: &Path,
    contents: Vec<(String, Value)>,
    overrides: &ImportOverrides,
    repeats: &mut Repeats,
    notice: &Notice,
) -> Result<Vec<ResultRow>> {
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(format) = FORMATS.iter().find(|format| format.beside.values().any(|beside| own == beside.file)) {
        notice.warn(format!("{}: read together with {}", stdio::name(path), format.files.join(", ")));
        return Ok(Vec::new());
    }
    let Origin { place: origin, name, shared } = origin(path);
    let overrides = ImportOverrides { name, shared, ..overrides.clone() };
    let (mut all, mut refused) = (Vec::new(), Refused::default());
    for (place, mut content) in contents {
        if let Some(format) = ImportFormat::of(&content) {
            for (member, beside) in &format.beside {
                let other = path.with_file_name(&beside.file);
                if other.is_file() {
                    content[member.as_str()] = beside.member(whole(&other)?);
                }
            }
        }
        match of(&content, &overrides) {
            Ok(found) => all.extend(found.into_iter().map(|found| repeats.number(&origin, &place, found))),
            Err(e) => refused.report(e, &place, path, notice),
        }
    }
    refused.end(notice);
    Ok(all)
}

/// A text without the mark that some editors of Windows put before it.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches(MARK)
}

/// A file's JSON, with the bare words of Python's writer.
fn whole(path: &Path) -> Result<Value> {
    let text = quote_bare(without_mark(&stdio::read_text(path, MAX_FILE)?));
    serde_json::from_str(&text).map_err(|e| Error::new("not valid JSON").because(e).at(stdio::name(path)))
}

/// The results in a file, each with its place: a single one, a list, one per line, or all lines as one.
fn contents(input: InputSource, notice: &Notice) -> Result<Vec<(String, Value)>> {
    let path = input.path().to_path_buf();
    let name = stdio::name(&path);
    let text = quote_bare(without_mark(&input.text(MAX_FILE)?));
    if text.trim().is_empty() {
        return Err(Error::new("the file is empty").at(name));
    }
    if is_csv(&path, text.lines().next().unwrap_or_default()) {
        return Err(Error::new(import_folder::csv(&path)).at(name));
    }
    if import_yaml::is_report(&text) {
        return import_yaml::documents(&text, &name);
    }
    let broken = match parse_document(&text) {
        Ok(all @ Value::Array(_)) if ImportFormat::of(&all).is_some() => return Ok(vec![(name, all)]),
        Ok(Value::Array(list)) => {
            return Ok(list.into_iter().enumerate().map(|(i, one)| (format!("{name}: [{i}]"), one)).collect());
        }
        Ok(one) if !is_record(&one) => return Ok(vec![(name, one)]),
        Ok(one) => return Ok(vec![(name, Value::Array(vec![one]))]),
        Err(broken) => broken,
    };
    let mut found: Vec<(String, Value)> = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match parse_value(line) {
            Ok(value) => found.push((format!("{name}:{}", i + 1), value)),
            // A truncated JSON file has no valid line.
            Err(_) if found.is_empty() => return Err(broken.at(name)),
            Err(e) => notice.error(&e.at(format!("{name}:{}", i + 1))),
        }
    }
    if found.first().is_some_and(|(_, first)| is_record(first)) {
        return Ok(vec![(name, found.into_iter().map(|(_, record)| record).collect())]);
    }
    Ok(found)
}

/// The results of one content, by its format.
///
/// # Errors
/// Content of unknown format, with the keys that the most similar format has.
pub fn of(content: &Value, overrides: &ImportOverrides) -> Result<Vec<ImportedResult>> {
    let content = &*jsonl::foreign_value(content, &redact::redactor());
    // A sweep's own record of a run that it skipped.
    if content["error_type"].is_string() && content["error"].is_string() {
        let source = Source::default();
        return Ok(vec![ImportedResult { row: failed(content, overrides)?, source }]);
    }
    match ImportFormat::of(content) {
        Some(format) => results(format, content, overrides),
        None => Err(match nearest(content) {
            Some((format, lacks)) => {
                Error::new(format!("unknown format; the nearest, {}, also has {}", format.name, lacks.join(", ")))
            }
            None => Error::new("unknown format: not a result of a known benchmark client"),
        }),
    }
}

/// Skipped content: the first line of each file and reason is reported, then the number of others.
#[derive(Debug, Default)]
pub struct Refused(BTreeMap<(String, String), usize>);

impl Refused {
    /// Reports one line.
    pub fn report(&mut self, error: Error, place: &dyn std::fmt::Display, file: &Path, notice: &Notice) {
        let times = self.0.entry((stdio::name(file), error.to_string())).or_default();
        *times += 1;
        if *times == 1 {
            notice.error(&error.at(place.to_string()));
        }
    }

    /// Reports the number of the others.
    pub fn end(self, notice: &Notice) {
        for ((file, _), times) in self.0.into_iter().filter(|(_, times)| *times > 1) {
            notice.warn(format!("{file}: {} more lines skipped for the same reason", times - 1));
        }
    }
}

/// The overrides for the rows of one file after another.
#[derive(Debug, Default)]
pub struct Named(Option<(String, ImportOverrides, String)>);

impl Named {
    /// The overrides for a row of this file, in which a result without a candidate is named after its file; and what
    /// repeats have in common.
    ///
    /// # Errors
    /// A file beside it that cannot be read.
    pub fn of(&mut self, overrides: &ImportOverrides, file: &str) -> Result<(&ImportOverrides, &str)> {
        if self.0.as_ref().is_none_or(|(known, ..)| known != file) {
            let path = Path::new(file);
            let Origin { place, name, shared } = origin(path);
            let of_it = if path.is_file() { of_file(path, overrides)? } else { overrides.clone() };
            self.0 = Some((file.to_string(), ImportOverrides { name, shared, ..of_it }, place));
        }
        self.0.as_ref().map(|(_, overrides, origin)| (overrides, origin.as_str())).ok_or_else(|| Error::new("no file"))
    }
}

/// The overrides of `--candidate`, `--set` and `--name`.
///
/// # Errors
/// A file that is not a candidate row, an unknown key, or a value of the wrong type.
pub fn overrides(
    candidate: Option<&Path>,
    set: &[(String, String)],
    pattern: Option<NamePattern>,
) -> Result<ImportOverrides> {
    let candidate = match candidate {
        Some(path) => {
            let text = stdio::read_text(path, MAX_FILE)?;
            let first = text.lines().next().unwrap_or_default();
            let row: Value = serde_json::from_str(first)
                .or_else(|_| serde_json::from_str(&text))
                .map_err(|e| Error::new("not a candidate row").because(e).at(stdio::name(path)))?;
            Some(row)
        }
        None => None,
    };
    let set = set.iter().map(|(key, text)| keys::member(key, text).map_err(|e| e.at("--set")));
    let set = set.collect::<Result<_>>()?;
    Ok(ImportOverrides { candidate, set, name: "stdin".into(), pattern, shared: None })
}
