//! Groups results of other clients by configuration: equal settings are one candidate, and several results of it at one
//! load are repeats.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::format::ImportFormat;
use crate::base::digest;
use crate::rows::kinds::{Members, ResultRow};

/// Keys whose text differs in every run and is not a setting.
const NEW_EACH_TIME: [&str; 8] =
    ["date", "time", "timestamp", "start_time", "end_time", "run_id", "uuid", "output_file"];

/// Measured mean lengths within this factor are of one workload.
pub const SAME_LENGTH: f64 = 1.5;
/// The index of a repeat, as a member that the user sets.
pub const REPEAT: &str = "native/repeat";

/// What identifies repeats of one result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// A digest of the settings, if the client appends results to one file and nothing else names the candidate.
    pub settings: Option<String>,
    /// The content as read.
    pub content: String,
    /// True if it is the only result of the input.
    pub alone: bool,
    /// The index of the repeat, if the user or the file's name states it.
    pub repeat: Option<u32>,
    /// Prompt and output tokens of a scenario that the user names; `None` if it is not named.
    pub lengths: Option<[Option<f64>; 2]>,
}

/// A result as read, before the others of its configuration are known.
#[derive(Debug, Clone)]
pub struct ImportedResult {
    /// The row; its candidate already has a name.
    pub row: ResultRow,
    /// What identifies repeats.
    pub source: Source,
}

/// Prompt and output tokens of the first result of a workload, and the workload's digest.
type KnownWorkload = ([Option<f64>; 2], String);

/// The results read so far.
#[derive(Debug, Default)]
pub struct Repeats {
    /// Candidates by file and settings.
    candidates: BTreeMap<(String, String), String>,
    /// Results by candidate and load, in order.
    seen: BTreeMap<String, Vec<String>>,
    /// The workloads of each named scenario: prompt and output tokens of the first result, and its digest.
    workloads: BTreeMap<String, Vec<KnownWorkload>>,
}

impl Repeats {
    /// Names the candidate of a result from `file` by its settings, and numbers its repeats. The same content twice at
    /// one `place` is one result.
    #[must_use]
    pub fn number(&mut self, file: &str, place: &str, found: ImportedResult) -> ResultRow {
        let ImportedResult { mut row, source } = found;
        if let Some(settings) = source.settings {
            let own = row.candidate_id.clone();
            row.candidate_id = self.candidates.entry((file.to_string(), settings)).or_insert(own).clone();
        }
        if let Some(lengths) = source.lengths {
            let workload = self.workload(&row, lengths);
            row.fingerprint.insert("workload".into(), workload.into());
        }
        // The stages of one file are different loads, even if the file does not describe them.
        if !source.alone {
            return row;
        }
        let load = row.workload.as_ref().map(|w| json!([w.request_rate, w.max_concurrency]));
        let same = json!([row.framework, row.candidate_id, row.fingerprint, load]);
        let seen = self.seen.entry(digest::canonical(&same)).or_default();
        let content = digest::short(&json!([place, source.content]));
        let repeat = seen.iter().position(|known| *known == content).unwrap_or_else(|| {
            seen.push(content);
            seen.len() - 1
        });
        if let Some(native) = &mut row.native {
            native.repeat = source.repeat.or(u32::try_from(repeat).ok());
        }
        row
    }

    /// The digest of a named scenario's workload: results whose lengths are about the same share one, whatever their clients
    /// call the data set.
    fn workload(&mut self, row: &ResultRow, lengths: [Option<f64>; 2]) -> String {
        let scenario = row.workload.as_ref().and_then(|workload| workload.scenario.clone()).unwrap_or_default();
        let alike = |a: Option<f64>, b: Option<f64>| match a.zip(b) {
            Some((a, b)) => (a / b).ln().abs() <= SAME_LENGTH.ln(),
            None => true,
        };
        let known = self.workloads.entry(scenario.clone()).or_default();
        let same = known.iter_mut().find(|(other, _)| lengths.iter().zip(other).all(|(a, b)| alike(*a, *b)));
        if let Some((other, digest)) = same {
            lengths.iter().zip(other).for_each(|(own, other)| *other = other.or(*own));
            return digest.clone();
        }
        let about = lengths.map(|length| length.map(|n| (n.ln() / SAME_LENGTH.ln()).round()));
        let digest = digest::short(&json!([scenario, about]));
        known.push((lengths, digest.clone()));
        digest
    }
}

/// A digest of all settings in a result, without measurements; `None` if its format does not tell them apart.
pub fn settings(format: &ImportFormat, result: &Value, row: &ResultRow) -> Option<String> {
    let map = format.settings.as_ref()?;
    let load: Vec<&str> = ["workload/request_rate", "workload/max_concurrency"]
        .iter()
        .filter_map(|member| format.row.get(*member))
        .flat_map(|places| places.0.iter().map(|place| place.trim_start_matches('/')))
        .collect();
    let words = |(key, value): &(&String, &Value)| {
        let lasting = !NEW_EACH_TIME.contains(&key.as_str()) && !load.contains(&key.as_str());
        lasting && (value.is_string() || value.is_boolean())
    };
    let words: Members =
        result.as_object()?.iter().filter(words).map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut blocks: Vec<Value> =
        map.at.iter().map(|place| result.pointer(place).cloned().unwrap_or_default()).collect();
    blocks.iter_mut().for_each(|block| without(block, &map.without));
    let workload = row.workload.clone().unwrap_or_default();
    let lengths = json!([workload.scenario, workload.kind, workload.input_len, workload.output_len]);
    let all =
        json!([row.framework, row.framework_version, row.model, row.hardware, row.candidate, lengths, words, blocks]);
    Some(digest::short(&all))
}

/// Removes the members with these names at any depth.
fn without(value: &mut Value, names: &[String]) {
    match value {
        Value::Object(members) => {
            members.retain(|key, _| !names.contains(key));
            members.values_mut().for_each(|member| without(member, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
