//! Folders of results of other clients: which of their files are results, and what the folder of a sweep states about them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::stdio;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::normalize::import::{FORMATS, ImportFormat, ImportOverrides};
use crate::rows::kinds::Members;

/// Maximum size of another client's file, in bytes: it is read into memory.
pub const MAX_FILE: usize = 1 << 30;
/// Maximum depth of folders.
const MAX_DEPTH: usize = 6;
/// Maximum number of skipped files that a warning names.
const NAMED: usize = 5;
/// Ends of the names of files that may be results.
const ENDS: [&str; 7] = ["json", "jsonl", "ndjson", "yaml", "yml", "csv", "parquet"];
/// Files that belong to the results beside or below them.
const SETTINGS: [&str; 3] = ["serve_params.json", "bench_params.json", "prepared_dataset.jsonl"];

/// How a file of a folder may be a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderFile {
    /// Its name is that of a known client's results.
    ByName,
    /// Its content says whether it is.
    ByContent,
    /// It is not.
    Other,
}

/// The files of a folder that may be results, in order. Files that belong to a result beside them are left out.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(root: &Path) -> Result<Vec<(PathBuf, FolderFile)>> {
    let mut all = Vec::new();
    walk(root, 0, &mut all)?;
    all.sort();
    Ok(all.into_iter().filter_map(|path| of(&path).map(|found| (path, found))).collect())
}

/// Reports the files that are not results.
///
/// # Errors
/// A folder without any result.
pub fn report_skipped(root: &Path, skipped: &[PathBuf], any_result: bool, notice: &Notice) -> Result<()> {
    let short = |path: &PathBuf| stdio::name(path.strip_prefix(root).unwrap_or(path));
    let first: Vec<String> = skipped.iter().take(NAMED).map(short).collect();
    let more = skipped.len().saturating_sub(NAMED);
    let names = format!("{}{}", first.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() });
    if !any_result {
        let read = if skipped.is_empty() { "no JSON, JSONL or YAML file in it".into() } else { names };
        return Err(Error::new(format!("no recognized result files ({read})")).at(stdio::name(root)));
    }
    if !skipped.is_empty() {
        let what = if skipped.len() == 1 { "1 file is not a result" } else { "these files are not results" };
        notice.warn(format!("{}: {what} of a known client: {names}", stdio::name(root)));
    }
    Ok(())
}

/// What to do with a CSV file: the client's JSON beside it, or what usually writes such a file.
#[must_use]
pub fn csv(path: &Path) -> String {
    let beside = path.with_extension("json");
    let instead = if beside.is_file() {
        format!("pass {} beside it", beside.file_name().unwrap_or_default().to_string_lossy())
    } else {
        "pass the JSON that the same client writes: guidellm benchmarks.json, aiperf profile_export_aiperf.json, \
         vllm bench sweep the folder of its runs"
            .into()
    };
    format!("this is CSV, which is not read as a result: {instead}")
}

/// All files that may be results.
fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<()> {
    let at = |e: std::io::Error| Error::new("cannot read the folder").because(e).at(stdio::name(folder));
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        if path.is_dir() {
            if depth < MAX_DEPTH {
                walk(&path, depth + 1, found)?;
            }
        } else if path.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known)) {
            found.push(path);
        }
    }
    Ok(())
}

/// How a file may be a result; `None` if its content is in a result beside it, or is read together with that.
fn of(path: &Path) -> Option<FolderFile> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = |test: &dyn Fn(&str) -> bool| {
        let siblings = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        siblings.into_iter().flatten().flatten().any(|entry| test(&entry.file_name().to_string_lossy()))
    };
    let of_client = |name: &str| FORMATS.iter().any(|format| format.has(name));
    let is_csv = name.ends_with(".csv");
    let is_part = FORMATS.iter().any(|format| format.beside.values().any(|other| name == other.file.as_str()))
        || SETTINGS.contains(&&*name)
        || (name == "live_results.jsonl" && path.with_file_name("results.jsonl").is_file())
        // The CSV export of a result beside it.
        || (is_csv && path.with_extension("json").is_file());
    if is_part {
        return None;
    }
    if name.ends_with("failure.json") || of_client(&name) {
        return Some(FolderFile::ByName);
    }
    // Sums and records of the results beside or below them.
    if FORMATS.iter().any(|format| format.parts.iter().any(|part| name == part.as_str()))
        && (is_csv || beside(&of_client))
    {
        return None;
    }
    Some(if is_csv || name.ends_with(".parquet") { FolderFile::Other } else { FolderFile::ByContent })
}

/// True for a line that is one record of a result, not a result.
pub fn is_record(line: &Value) -> bool {
    ImportFormat::of_item(line).is_some_and(|format| format.lines)
}

/// The settings that a sweep's folder states for a file in it. vLLM: `SERVE--max_num_seqs=16-BENCH--max_concurrency=4`, or
/// a name in `serve_params.json`. SGLang: one folder per scenario, with the scheduled requests beside the results.
pub fn of_folder(path: &Path, root: &Path, overrides: &ImportOverrides) -> Result<ImportOverrides> {
    let mut set: Vec<(String, Value)> = Vec::new();
    let scenario = path.parent().filter(|folder| *folder != root).and_then(Path::file_name);
    let prepared = path.with_file_name("prepared_dataset.jsonl");
    if prepared.is_file() {
        let text = stdio::read_text(&prepared, MAX_FILE)?;
        let asked = text.lines().filter(|line| !line.trim().is_empty()).count();
        set.push(("workload/num_prompts".to_string(), json!(asked)));
        set.extend(scenario.map(|name| ("workload/scenario".to_string(), json!(name.to_string_lossy()))));
    }
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let names = [folder.unwrap_or_default(), path.file_stem().unwrap_or_default().to_string_lossy().into_owned()];
    if let Some(serve) = names.iter().find_map(|name| name.strip_prefix("SERVE-")) {
        let serve = serve.split("-BENCH-").next().unwrap_or(serve).trim_matches('-').trim_end_matches("-failure");
        set.push(("candidate_id".to_string(), json!(format!("sweep-{serve}"))));
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| text.into());
        let changed: Members = pairs(serve).into_iter().map(|(key, text)| (key, value(&text))).collect();
        // A name without settings has them in a file above; otherwise the candidate is shown by its name.
        let changed = if changed.is_empty() { serve_params(path, serve)? } else { Some(changed) };
        if let Some(changed) = changed {
            let index = i32::from(!changed.is_empty());
            set.push(("candidate/changed".to_string(), json!(changed)));
            set.push(("candidate/baseline".to_string(), json!(false)));
            set.push(("candidate/index".to_string(), json!(index)));
        }
    }
    if let Some(pattern) = &overrides.pattern {
        set.extend(pattern.members(path).map_err(|e| e.at(stdio::name(path)))?);
    }
    let mut overrides = overrides.clone();
    set.append(&mut overrides.set);
    overrides.set = set;
    Ok(overrides)
}

/// The settings in the name of a sweep's folder, `max_num_seqs=16-kv_cache_dtype=fp8-e4m3`. A part without `=` belongs to the
/// text before it, or to the next key if there is a number before it.
fn pairs(name: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut waiting = String::new();
    for part in name.split('-') {
        let is_text = |text: &str| serde_json::from_str::<Value>(text).is_err();
        match (part.split_once('='), found.last_mut()) {
            (Some((key, text)), _) => found.push((std::mem::take(&mut waiting) + key, text.to_string())),
            (None, Some((_, before))) if is_text(before) && waiting.is_empty() => *before += &format!("-{part}"),
            (None, _) => waiting += &format!("{part}-"),
        }
    }
    found
}

/// The flags of a named entry in the `serve_params.json` of a sweep, in the file's folder or above it: a list of entries with
/// `_benchmark_name`, or a map by name.
fn serve_params(path: &Path, name: &str) -> Result<Option<Members>> {
    let above = path.ancestors().skip(1).take(MAX_DEPTH).map(|folder| folder.join("serve_params.json"));
    let Some(file) = above.into_iter().find(|file| file.is_file()) else { return Ok(None) };
    let content: Value = serde_json::from_str(&stdio::read_text(&file, MAX_FILE)?)
        .map_err(|e| Error::new("not valid JSON").because(e).at(stdio::name(&file)))?;
    let entry = match &content {
        Value::Array(entries) => entries.iter().find(|entry| entry["_benchmark_name"] == name),
        entries => entries.get(name),
    };
    let flags = |entry: &Value| {
        let flags = entry.as_object()?.iter().filter(|(key, _)| !key.starts_with('_'));
        Some(flags.map(|(key, value)| (key.clone(), value.clone())).collect())
    };
    Ok(entry.and_then(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_with_dashes_are_whole() {
        let read = |name: &str| pairs(name).into_iter().map(|(key, text)| format!("{key}:{text}")).collect::<Vec<_>>();
        assert_eq!(read("kv=fp8-e4m3-max_num_seqs=8"), ["kv:fp8-e4m3", "max_num_seqs:8"]);
        assert_eq!(read("max-num-seqs=8-tp-size=2"), ["max-num-seqs:8", "tp-size:2"]);
        assert_eq!(read("a=x-y-z"), ["a:x-y-z"]);
        assert!(read("seqs16-fast").is_empty());
    }
}
