//! Formats of other clients' results: the meaning of their keys, as data (`configs/rules/formats/`). A place in a result is a JSON
//! pointer; one that begins with `^` starts at the top of a file with several results.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::base::yaml;
use crate::rows::kinds::Members;
use crate::rows::words::{Latency, Statistic};

/// The formats, those with the more particular marks first.
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
];

/// One format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportFormat {
    /// Its name: `vllm_bench_serve`.
    pub name: String,
    /// The client, as people call it; a different one makes another fingerprint.
    pub client: String,
    /// The framework whose client it is: results count as its own unless overridden.
    #[serde(default)]
    pub framework: Option<String>,
    /// Where the format was read.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What a file of this format has.
    pub detect: FormatMarks,
    /// The list of results in one file.
    #[serde(default)]
    pub each: Option<Vec<String>>,
    /// Results to skip, such as warm-ups: a place and how its text begins.
    #[serde(default)]
    pub skip: BTreeMap<String, Vec<String>>,
    /// Its file is one record a line, and all of these are one result: places count from the list of them.
    #[serde(default)]
    pub lines: bool,
    /// Names of its files in a folder; one `*` matches anything.
    #[serde(default)]
    pub files: Vec<String>,
    /// Files beside it that belong to the result, by the member that they become.
    #[serde(default)]
    pub beside: BTreeMap<String, SiblingFile>,
    /// Required places; the error names missing ones.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Requests that were to be sent, that succeeded, that failed; seconds from the first to the last.
    pub counts: CountMap,
    /// Members of the row that are copied as they are.
    #[serde(default)]
    pub row: BTreeMap<String, JsonPlaces>,
    /// Places of `row` whose lengths are means of what was measured: no identity of a workload.
    #[serde(default)]
    pub measured: Vec<String>,
    /// Its client appends one result to another: what in it was set. Those with the same settings are one candidate.
    #[serde(default)]
    pub settings: Option<Settings>,
    /// A concurrency makes it a closed loop, even beside a rate.
    #[serde(default)]
    pub closed_wins: bool,
    /// Places that together name the candidate, joined by `-`, where one alone would not be unique.
    #[serde(default)]
    pub id: Vec<String>,
    /// Number of GPUs, if the file does not have it as one number.
    #[serde(default)]
    pub gpus: GpuCount,
    /// The command, where only its flags are there.
    #[serde(default)]
    pub command: Option<FlagCommand>,
    /// Members of `candidate/changed` that say where, not how.
    #[serde(default)]
    pub unchanged: Vec<String>,
    /// Its words for frameworks that we call otherwise.
    #[serde(default)]
    pub frameworks: BTreeMap<String, String>,
    /// Place of the failure class; `oom` is also the status.
    #[serde(default)]
    pub failure_class: Option<String>,
    /// Metrics that are one number.
    pub metrics: BTreeMap<String, NumberMap>,
    /// The names of statistics, the first that is there.
    #[serde(default)]
    pub statistics: BTreeMap<Statistic, Vec<String>>,
    /// Latencies, by the statistic in the place of `{stat}`.
    #[serde(default)]
    pub latencies: BTreeMap<Latency, LatencyMap>,
    /// One entry for each request, from which everything is computed anew.
    #[serde(default)]
    pub requests: Option<RequestsMap>,
    /// How its percentiles are made: `type7` (linear, as numpy does), `nearest_rank`, `weighted`.
    pub percentiles: String,
    /// Output tokens that were really seen, the first place that is there: none of them at all, and no answer came.
    #[serde(default)]
    pub tokens_seen: Vec<String>,
    /// What this client does not see, in a word each: `in_band_error`, `early_stop`, `reasoning`, `first_chunk`.
    #[serde(default)]
    pub blind: BTreeMap<String, String>,
    /// The same of versions that do not have this place.
    #[serde(default)]
    pub blind_without: BTreeMap<String, BTreeMap<String, String>>,
}

/// What a result says about how it was made, beside all words and truth values at its top.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Places of further settings: numbers, or whole blocks.
    pub at: Vec<String>,
    /// Members of these that are new in every start, or measured.
    pub without: Vec<String>,
}

/// The marks of a format.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatMarks {
    /// All of these places.
    pub all: Vec<String>,
    /// And none of these.
    #[serde(default)]
    pub none: Vec<String>,
}

/// A file beside a result's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiblingFile {
    /// Its name.
    pub file: String,
    /// It is a list: this member of each item becomes its name.
    #[serde(default)]
    pub by: Option<String>,
}

impl SiblingFile {
    /// Its content as a member of the result.
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

/// A command of which only the flags are there: `--a-b value`, a true one alone, a false or null one not at all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagCommand {
    /// Its first words.
    pub words: Vec<String>,
    /// Place of the flags, by name.
    pub flags: String,
}

/// A number of GPUs: the product of the values at some places (1 if missing), or a sum.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GpuCount {
    /// Factors, tensor parallelism and the like.
    pub product: Vec<String>,
    /// Parts, prefill and decode.
    pub sum: Vec<String>,
}

impl GpuCount {
    /// The number in a result; `None` if all places are missing.
    #[must_use]
    pub fn of(&self, result: &Value) -> Option<f64> {
        let number = |place: &String| result.pointer(place).and_then(Value::as_f64);
        let factors: Vec<f64> = self.product.iter().filter_map(number).filter(|n| *n > 0.0).collect();
        let parts: Vec<f64> = self.sum.iter().filter_map(number).collect();
        match (factors.is_empty(), parts.is_empty()) {
            (false, _) => Some(factors.iter().product()),
            (true, false) => Some(parts.iter().sum()),
            (true, true) => None,
        }
    }
}

/// How many, and how long.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountMap {
    /// Requests that were to be sent and had the time for it; else those that succeeded and failed together.
    #[serde(default)]
    pub sent: JsonPlaces,
    /// Requests that succeeded.
    pub completed: JsonPlaces,
    /// Requests that failed; nothing where the format has no such count.
    #[serde(default)]
    pub failed: JsonPlaces,
    /// The format omits the failure count when it is zero.
    #[serde(default)]
    pub failed_if_any: bool,
    /// Seconds.
    #[serde(default)]
    pub duration_s: JsonPlaces,
    /// Milliseconds, for formats in ms.
    #[serde(default)]
    pub duration_ms: JsonPlaces,
}

/// Places, the first that is there.
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

/// A number, its unit there, and what it is there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberMap {
    /// Its places.
    pub at: JsonPlaces,
    /// Its unit there.
    pub unit: String,
    /// Factor to the unit of the metric.
    #[serde(default = "once")]
    pub times: f64,
    /// Its formula there.
    #[serde(default, rename = "is")]
    pub meaning: Option<String>,
}

/// The statistics of a latency.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyMap {
    /// Their places, the first that exists; `{stat}` is the statistic's name in the format.
    pub at: JsonPlaces,
    /// Their unit there.
    pub unit: String,
    /// Factor to ms.
    #[serde(default = "once")]
    pub times: f64,
    /// Place of the number of samples: at 0 the statistics are null.
    #[serde(default)]
    pub counted_by: Option<String>,
    /// The formula there.
    #[serde(rename = "is")]
    pub meaning: String,
}

/// Requests one by one: lists of the same length, or a list of records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestsMap {
    /// Place of a list of records, which contain the other places; without it each of those is a list.
    #[serde(default)]
    pub list: Option<String>,
    /// Place of the list of failed requests, if it is separate.
    #[serde(default)]
    pub failed: Option<String>,
    /// Records that are none of it, by a place and how it begins.
    #[serde(default)]
    pub skip: BTreeMap<String, Vec<String>>,
    /// Time to the first token.
    #[serde(default)]
    pub ttft: Option<String>,
    /// Gaps between chunks, a list each.
    #[serde(default)]
    pub gaps: Option<String>,
    /// Times of the chunks on the clock of `start`, a list each.
    #[serde(default)]
    pub chunks: Option<String>,
    /// From the start to the last token, else to the end.
    #[serde(default)]
    pub e2e: Option<String>,
    /// Prompt tokens.
    pub input: String,
    /// Output tokens.
    pub output: String,
    /// When it was sent, on any clock.
    #[serde(default)]
    pub start: Option<String>,
    /// Seconds in the unit of that clock.
    #[serde(default = "once")]
    pub start_seconds: f64,
    /// What went wrong; empty when nothing did.
    #[serde(default)]
    pub error: Option<String>,
    /// Seconds in the unit of its times: 1, or 0.001 for ms.
    #[serde(default = "once")]
    pub seconds: f64,
    /// The same for the times to the first token, where they differ.
    #[serde(default)]
    pub ttft_seconds: Option<f64>,
}

fn once() -> f64 {
    1.0
}

impl ImportFormat {
    /// True for a file's name that this format's results have in a folder.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|pattern| match pattern.split_once('*') {
            Some((start, end)) => name.len() >= pattern.len() - 1 && name.starts_with(start) && name.ends_with(end),
            None => name == pattern,
        })
    }

    /// The format of a file's content.
    #[must_use]
    pub fn of(content: &Value) -> Option<&'static Self> {
        FORMATS.iter().find(|format| {
            let has = |place: &String| content.pointer(place).is_some();
            format.detect.all.iter().all(has) && !format.detect.none.iter().any(has)
        })
    }
}

/// Which formats come nearest to a content that is of none, with the keys that it lacks.
#[must_use]
pub fn nearest(content: &Value) -> Option<(&'static ImportFormat, Vec<&'static str>)> {
    let lacking = |format: &'static ImportFormat| {
        let lacks = format.detect.all.iter().filter(|place| content.pointer(place).is_none());
        (format, lacks.map(|place| place.trim_start_matches('/')).collect::<Vec<_>>())
    };
    // A single common key means nothing.
    let near = |(format, lacks): &(&ImportFormat, Vec<&str>)| {
        let has = format.detect.all.len() - lacks.len();
        has > 1 && lacks.len() <= has && !lacks.is_empty()
    };
    FORMATS.iter().map(lacking).filter(near).min_by_key(|(_, lacks)| lacks.len())
}

/// True for a record that begins so at one of these places.
#[must_use]
pub fn is_skipped(skip: &BTreeMap<String, Vec<String>>, record: &Value) -> bool {
    skip.iter().any(|(place, starts)| {
        let text = record.pointer(place).and_then(Value::as_str).unwrap_or_default();
        starts.iter().any(|start| text.starts_with(start.as_str()))
    })
}

/// The value at the first of these places; `^` counts from the top.
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

/// Members by their dotted or slashed names, put into a row.
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
