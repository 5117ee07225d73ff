//! Formats of other clients' results: the meaning of their keys, as data (`configs/rules/formats/`). A place in a
//! result is a JSON pointer; one that begins with `^` starts at the top of a file with several results.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::gpu_count::GpuCount;
use crate::base::yaml;
use crate::rows::kinds::Members;
use crate::rows::words::{Latency, Statistic};

/// The formats, those with the more specific marks first.
pub static FORMATS: LazyLock<Vec<ImportFormat>> = LazyLock::new(|| {
    let load =
        |(name, text): &(&str, &str)| -> ImportFormat { yaml::typed(text, name).expect("compiled in, and tested") };
    SHIPPED.iter().map(load).collect()
});

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../configs/rules/formats/", $name, ".yaml")))),*]
    };
}

const SHIPPED: &[(&str, &str)] = shipped![
    "vllm_bench_serve",
    "tokenspeed_bench_serve",
    "sglang_bench_serving",
    "sglang_auto_benchmark",
    "trtllm_benchmark_serving",
    "benchmark_serving",
    "guidellm",
    "guidellm_v0_2",
    "aiperf",
    "aiperf_records",
    "genai_perf",
    "inference_benchmarker",
    "inference_perf",
    "inference_perf_requests",
    "evalscope_perf",
    "inferencex",
    "inferencex_multinode",
    "llm_optimizer",
    "llm_d_report",
    "llm_d_report_v0_1",
];

/// One format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportFormat {
    /// Its name: `vllm_bench_serve`.
    pub name: String,
    /// Name of the client; results of different clients are ranked separately.
    pub client: String,
    /// Places of the client's name, if the file is a report that any client may be behind.
    #[serde(default)]
    pub client_at: JsonPlaces,
    /// The framework that the client belongs to, unless `--set` or `--candidate` names another one.
    #[serde(default)]
    pub framework: Option<String>,
    /// Where the format is documented.
    #[serde(default)]
    pub sources: Vec<String>,
    /// How to recognize a file of this format.
    pub detect: FormatMarks,
    /// Place of the list of results, for a file with several.
    #[serde(default)]
    pub each: Option<Vec<String>>,
    /// Results to skip, such as warm-ups: a place, and the beginning of its text.
    #[serde(default)]
    pub skip: BTreeMap<String, Vec<String>>,
    /// The file has one record per line, and all of them together are one result: places start at the list of them.
    #[serde(default)]
    pub lines: bool,
    /// Names of its files in a folder; one `*` matches any text.
    #[serde(default)]
    pub files: Vec<String>,
    /// Names of files that repeat or list what the results beside them have: sums, single requests.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Files beside it that belong to the result, by the member that each becomes.
    #[serde(default)]
    pub beside: BTreeMap<String, SiblingFile>,
    /// Places of results that are not of one load, and why: these are refused.
    #[serde(default)]
    pub refuse: BTreeMap<String, String>,
    /// Required places; the error names missing ones.
    #[serde(default)]
    pub needs: Vec<JsonPlaces>,
    /// Number of requests that were scheduled, that succeeded and that failed; seconds from the first to the last.
    pub counts: CountMap,
    /// Members that are copied into the row unchanged.
    #[serde(default)]
    pub row: BTreeMap<String, JsonPlaces>,
    /// Places of `row` that mean something only if another member has such a text: lengths of random prompts stand in a
    /// result of any data set.
    #[serde(default)]
    pub only: BTreeMap<String, OnlyIf>,
    /// Places of `row` whose lengths are measured means, which do not identify a workload.
    #[serde(default)]
    pub measured: Vec<String>,
    /// Its client appends results to one file: the settings in each. Results with the same settings are of one
    /// candidate.
    #[serde(default)]
    pub settings: Option<Settings>,
    /// A word that stands for a concurrency, for a result that has none.
    #[serde(default)]
    pub concurrency: Option<WordNumbers>,
    /// True if a concurrency makes it a closed loop, even with a rate.
    #[serde(default)]
    pub closed_wins: bool,
    /// Places that together name the candidate, joined by `-`, for clients whose single names are not unique.
    #[serde(default)]
    pub id: Vec<String>,
    /// Number of GPUs, if the file does not state it as one number.
    #[serde(default)]
    pub gpus: GpuCount,
    /// The command, if the file has only its flags.
    #[serde(default)]
    pub command: Option<FlagCommand>,
    /// Members of `candidate/changed` that describe the place and not the setting.
    #[serde(default)]
    pub unchanged: Vec<String>,
    /// Framework names of this format that differ from ours; one `*` matches any text. If the format belongs to a framework,
    /// other words are not frameworks.
    #[serde(default)]
    pub frameworks: BTreeMap<String, String>,
    /// Place of the failure class; `oom` also sets the status.
    #[serde(default)]
    pub failure_class: Option<String>,
    /// Metrics that are a single number.
    pub metrics: BTreeMap<String, NumberMap>,
    /// Names of the statistics; the first one present counts.
    #[serde(default)]
    pub statistics: BTreeMap<Statistic, Vec<String>>,
    /// Latencies; `{stat}` in a place is the name of the statistic.
    #[serde(default)]
    pub latencies: BTreeMap<Latency, LatencyMap>,
    /// One entry per request, from which all metrics are recomputed.
    #[serde(default)]
    pub requests: Option<RequestsMap>,
    /// How it computes percentiles: `type7` (linear, as in numpy), `nearest_rank`, `weighted`.
    pub percentiles: String,
    /// Number of output tokens that were received, the first place present: if it is 0, no response arrived.
    #[serde(default)]
    pub tokens_seen: Vec<String>,
    /// What this client does not detect, one word each: `in_band_error`, `early_stop`, `reasoning`, `first_chunk`.
    #[serde(default)]
    pub blind: BTreeMap<String, String>,
    /// What versions without this place do not detect.
    #[serde(default)]
    pub blind_without: BTreeMap<String, BTreeMap<String, String>>,
}

/// The settings in a result, besides all strings and booleans at its top level.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Places of further settings: numbers, or whole objects.
    pub at: Vec<String>,
    /// Members of these that change with every start, or are measurements.
    pub without: Vec<String>,
}

/// The marks by which a format is recognized.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatMarks {
    /// All of these places exist; of several in one item, one.
    pub all: Vec<JsonPlaces>,
    /// None of these places exists.
    #[serde(default)]
    pub none: Vec<String>,
}

/// A member that has to begin with one of these words.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlyIf {
    /// Its place.
    pub at: String,
    /// The words.
    pub begins: Vec<String>,
}

impl OnlyIf {
    /// True if it does, or if the member is missing.
    #[must_use]
    pub fn holds(&self, result: &Value) -> bool {
        let text = result.pointer(&self.at).and_then(Value::as_str);
        text.is_none_or(|text| self.begins.iter().any(|word| text.starts_with(word.as_str())))
    }
}

/// Words that stand for a number.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordNumbers {
    /// Place of the word.
    pub at: String,
    /// The numbers by their words.
    pub words: BTreeMap<String, u32>,
}

/// A file beside that of the result.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiblingFile {
    /// Name of the file.
    pub file: String,
    /// Its content is a list: this member of each item becomes the item's key.
    #[serde(default)]
    pub by: Option<String>,
}

impl SiblingFile {
    /// Its content, as a member of the result.
    #[must_use]
    pub fn member(&self, content: Value) -> Value {
        match (&self.by, content) {
            (Some(by), Value::Array(items)) => {
                let named = |item: Value| Some((item.get(by)?.as_str()?.to_string(), item));
                Value::Object(items.into_iter().filter_map(named).collect())
            }
            (_, content) => content,
        }
    }
}

/// A command of which only the flags are known: `--a-b value`; true gives the flag alone, false and null give nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagCommand {
    /// The words before the flags.
    pub words: Vec<String>,
    /// Place of the flags: a map by name.
    pub flags: String,
}

/// Number of requests, and duration.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountMap {
    /// Number of scheduled requests that had time to be sent; if absent, successes plus failures.
    #[serde(default)]
    pub sent: JsonPlaces,
    /// Number of successful requests; if absent, the scheduled ones without those that failed.
    #[serde(default)]
    pub completed: JsonPlaces,
    /// Number of requests in `sent` that the client itself cut off when its time was over: neither good nor failed.
    #[serde(default)]
    pub cut: JsonPlaces,
    /// Number of failed requests; absent if the format does not count them.
    #[serde(default)]
    pub failed: JsonPlaces,
    /// The format omits the failure count when it is zero.
    #[serde(default)]
    pub failed_if_any: bool,
    /// Duration, s.
    #[serde(default)]
    pub duration_s: JsonPlaces,
    /// Duration, ms, for formats that use ms.
    #[serde(default)]
    pub duration_ms: JsonPlaces,
}

/// Places; the first one present counts.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct JsonPlaces(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for JsonPlaces {
    fn from(places: OneOrMany) -> Self {
        match places {
            OneOrMany::One(place) => Self(vec![place]),
            OneOrMany::Many(places) => Self(places),
        }
    }
}

/// A number, its unit in the format, and its formula.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberMap {
    /// Its places.
    pub at: JsonPlaces,
    /// Its unit in the format.
    pub unit: String,
    /// Factor to the unit of the metric.
    #[serde(default = "once")]
    pub times: f64,
    /// Its formula in that client.
    #[serde(default, rename = "is")]
    pub meaning: Option<String>,
    /// No run has a value of 0, which means that it was not measured.
    #[serde(default)]
    pub not_zero: bool,
    /// It is a mean over the successful requests: the metric is their sum.
    #[serde(default)]
    pub per_request: bool,
}

/// The statistics of a latency.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyMap {
    /// Their places; the first one present counts. `{stat}` is the statistic's name in the format.
    pub at: JsonPlaces,
    /// Their unit in the format.
    pub unit: String,
    /// Factor to ms.
    #[serde(default = "once")]
    pub times: f64,
    /// Place of the word for the unit, if the file states it: `ms`, `s`, `ms/token`, `s/token`.
    #[serde(default)]
    pub unit_at: Option<String>,
    /// Place of the number of samples: if it is 0, the statistics are null.
    #[serde(default)]
    pub counted_by: Option<String>,
    /// Their formula in that client.
    #[serde(rename = "is")]
    pub meaning: String,
}

/// Single requests: lists of equal length, or a list of records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestsMap {
    /// Place of the list of records, which contain the other places; without it each of those is a list.
    #[serde(default)]
    pub list: Option<String>,
    /// Place of the list of failed requests, if it is separate.
    #[serde(default)]
    pub failed: Option<String>,
    /// Records to skip, by a place and the beginning of its text.
    #[serde(default)]
    pub skip: BTreeMap<String, Vec<String>>,
    /// Time to first token.
    #[serde(default)]
    pub ttft: Option<String>,
    /// Gaps between chunks, one list per request.
    #[serde(default)]
    pub gaps: Option<String>,
    /// Times of the chunks on the clock of `start`, one list per request.
    #[serde(default)]
    pub chunks: Option<String>,
    /// Time from the start to the last token, or else to the end.
    #[serde(default)]
    pub e2e: Option<String>,
    /// Prompt tokens.
    pub input: String,
    /// Output tokens.
    pub output: String,
    /// Send time, on any clock.
    #[serde(default)]
    pub start: Option<String>,
    /// Unit of that clock, s.
    #[serde(default = "once")]
    pub start_seconds: f64,
    /// Error text; empty for a success.
    #[serde(default)]
    pub error: Option<String>,
    /// Unit of its times, s: 1, or 0.001 for ms.
    #[serde(default = "once")]
    pub seconds: f64,
    /// Unit of the times to first token, if different.
    #[serde(default)]
    pub ttft_seconds: Option<f64>,
}

fn once() -> f64 {
    1.0
}

impl ImportFormat {
    /// True if results of this format have files of this name in a folder.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|pattern| matches(pattern, name))
    }

    /// Our name of a framework.
    #[must_use]
    pub fn framework_of(&self, theirs: &str) -> String {
        let ours = self.frameworks.iter().find(|(pattern, _)| matches(pattern, theirs)).map(|(_, ours)| ours);
        ours.or(self.framework.as_ref()).cloned().unwrap_or_else(|| theirs.to_string())
    }

    /// The format of a file's content; `None` if unknown.
    #[must_use]
    pub fn of(content: &Value) -> Option<&'static Self> {
        Self::with(|place| content.pointer(place).is_some())
    }

    /// The format of a list of which this is the only item.
    #[must_use]
    pub fn of_item(item: &Value) -> Option<&'static Self> {
        Self::with(|place| match place.strip_prefix("/0") {
            Some(inside) => item.pointer(inside).is_some(),
            None => place.is_empty(),
        })
    }

    fn with(has: impl Fn(&str) -> bool) -> Option<&'static Self> {
        let has = |place: &String| has(place);
        FORMATS.iter().find(|format| {
            format.detect.all.iter().all(|places| places.0.iter().any(has)) && !format.detect.none.iter().any(has)
        })
    }
}

/// True for a name of this pattern, in which one `*` matches any text, or two the text between them anywhere.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, rest)) => match rest.strip_suffix('*') {
            Some(middle) => name.strip_prefix(start).is_some_and(|rest| rest.contains(middle)),
            None => name.len() >= pattern.len() - 1 && name.starts_with(start) && name.ends_with(rest),
        },
        None => name == pattern,
    }
}

/// Places of which all are missing, each by its names.
#[must_use]
pub fn lacking<'a>(places: &'a [JsonPlaces], content: &Value) -> Vec<String> {
    let missing = |places: &&JsonPlaces| places.0.iter().all(|place| content.pointer(place).is_none());
    let name = |places: &'a JsonPlaces| {
        let names: Vec<&str> = places.0.iter().map(|place| place.trim_start_matches('/')).collect();
        names.join(" or ")
    };
    places.iter().filter(missing).map(name).collect()
}

/// The formats most similar to a content of unknown format, with the keys that it lacks.
#[must_use]
pub fn nearest(content: &Value) -> Option<(&'static ImportFormat, Vec<String>)> {
    let lacking = |format: &'static ImportFormat| (format, lacking(&format.detect.all, content));
    // A single common key means nothing.
    let near = |(format, lacks): &(&ImportFormat, Vec<String>)| {
        let has = format.detect.all.len() - lacks.len();
        has > 1 && lacks.len() <= has && !lacks.is_empty()
    };
    FORMATS.iter().map(lacking).filter(near).min_by_key(|(_, lacks)| lacks.len())
}

/// True if a record has such text at one of these places.
#[must_use]
pub fn is_skipped(skip: &BTreeMap<String, Vec<String>>, record: &Value) -> bool {
    skip.iter().any(|(place, starts)| {
        let text = record.pointer(place).and_then(Value::as_str).unwrap_or_default();
        starts.iter().any(|start| text.starts_with(start.as_str()))
    })
}

/// The value at the first of these places that exists; `^` starts at the top.
#[must_use]
pub fn at<'a>(places: &JsonPlaces, result: &'a Value, top: &'a Value) -> Option<(&'a Value, String)> {
    places.0.iter().find_map(|place| {
        let found = match place.strip_prefix('^') {
            Some(place) => top.pointer(place),
            None => result.pointer(place),
        };
        found.filter(|value| !value.is_null()).map(|value| (value, place.clone()))
    })
}

/// Sets members of the row by their dotted or slashed names.
pub fn put(row: &mut Value, pointer: &str, value: Value) {
    let mut place = row;
    let mut keys = pointer.trim_start_matches('/').split('/').peekable();
    while let Some(key) = keys.next() {
        if !place.is_object() {
            *place = Value::Object(Members::new());
        }
        if keys.peek().is_none() {
            place[key] = value;
            return;
        }
        place = &mut place[key];
    }
}
