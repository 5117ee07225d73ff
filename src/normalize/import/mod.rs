//! Imports results of other clients as result rows, by the map of their format and never by similar key names.

mod counts;
mod fill;
mod format;
mod gpu_count;
pub mod keys;
mod name_pattern;
mod overrides;
mod repeats;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use self::fill::failed;
pub use self::format::{FORMATS, ImportFormat, nearest};
pub use self::name_pattern::NamePattern;
pub use self::overrides::ImportOverrides;
pub use self::repeats::{ImportedResult, Repeats, Source};

use self::fill::{argv, from_candidate, set_members, tidy, words};
use self::format::{JsonPlaces, at, is_skipped, put};
use self::gpu_count::amount;
use self::overrides::typed;
use self::repeats::SAME_LENGTH;
use crate::base::error::{Error, Result};
use crate::base::{digest, shell};
use crate::metrics::sla::Limits;
use crate::metrics::{sample, sla};
use crate::rows::kinds::{NativeBlock, NativeField, Quality, ResultRow, WorkloadBlock};
use crate::rows::words::{FailureClass, Latency, LoadMode, Statistic, Status};

/// The results in a file's content, or in one line.
///
/// # Errors
/// Missing keys that the format requires.
pub fn results(format: &ImportFormat, content: &Value, overrides: &ImportOverrides) -> Result<Vec<ImportedResult>> {
    let lists = format.each.iter().flatten().filter_map(|place| content.pointer(place)?.as_array());
    let each: Vec<&Value> = match &format.each {
        Some(_) => lists.flatten().collect(),
        None => vec![content],
    };
    let each: Vec<&Value> = each.into_iter().filter(|result| !is_skipped(&format.skip, result)).collect();
    let alone = each.len() == 1;
    // The results of one file are of one candidate, at several loads.
    let whole = (!alone && format.each.is_some()).then(|| digest::canonical(content));
    let found = |result: &Value| {
        let mut found = one(format, result, content, overrides, whole.as_deref())?;
        found.source.alone = alone;
        Ok(found)
    };
    each.into_iter().map(found).collect()
}

fn one(
    format: &ImportFormat,
    result: &Value,
    top: &Value,
    overrides: &ImportOverrides,
    whole: Option<&str>,
) -> Result<ImportedResult> {
    let refused = format.refuse.iter().find(|(place, _)| result.pointer(place).is_some_and(|value| !value.is_null()));
    if let Some((place, why)) = refused {
        return Err(Error::new(format!("{why} ({} in the file)", place.trim_start_matches('/'))));
    }
    let lacks = format::lacking(&format.needs, result);
    if !lacks.is_empty() && result.get("error").is_none() {
        let why =
            format!("{} without {}: is it of another version of {}?", format.name, lacks.join(", "), format.client);
        return Err(Error::new(why));
    }
    let client = at(&format.client_at, result, top).and_then(|(name, _)| name.as_str());
    let mut reading = ImportReading {
        format,
        result,
        top,
        native: NativeBlock {
            format: format.name.clone(),
            client: client.unwrap_or(&format.client).to_string(),
            fields: BTreeMap::new(),
            nulls: BTreeMap::new(),
            blind: format.blind.clone(),
            repeat: None,
        },
        metrics: BTreeMap::new(),
        placeholder: false,
        contradicted: Vec::new(),
    };
    reading.numbers();
    let older = format.blind_without.iter().filter(|(place, _)| result.pointer(place).is_none());
    reading.native.blind.extend(older.flat_map(|(_, blind)| blind.clone()));
    let content = digest::canonical(result);
    let common = overrides.shared.as_deref().or(whole).unwrap_or(&content);
    let own_name = format!("{}-{}", overrides.name, &digest::sha256(common.as_bytes())[..8]);
    let mut row = reading.row(overrides, &own_name)?;
    // A candidate that the file, the candidate row or a flag names keeps that name.
    let unnamed = row.candidate_id == own_name;
    let settings = if unnamed { repeats::settings(format, result, &row) } else { None };
    let limits = Limits::read(&row.sla);
    let sample = reading.requests(&limits);
    let workload = row.workload.clone().unwrap_or_default();
    let (completed, sent) = reading.counts(sample.as_ref(), workload.num_prompts.map(f64::from));
    let failure = reading.failure(completed, sent);
    let tests = match (&sample, failure.is_some()) {
        (_, true) => Vec::new(),
        (Some(sample), false) => limits.test(sample, &|statistic| reading.metric(Latency::Itl.key(statistic))),
        (None, false) => limits.reported(&|name| reading.metric(name)),
    };
    if let Some((class, why)) = failure {
        row.status = if class == FailureClass::Oom { Status::Oom } else { Status::Failed };
        row.failure_class = Some(class);
        row.failure_reason = Some(why);
    }
    row.quality = Quality {
        length_mismatch: sample.as_ref().is_some_and(|sample| requests::is_short(sample, workload.output_len)),
        placeholder_zero: reading.placeholder,
        contradicted: std::mem::take(&mut reading.contradicted),
        percentile_method: Some(format.percentiles.clone()),
        blind: reading.native.blind.keys().cloned().collect(),
        ..Quality::default()
    };
    row.verdict = sla::write(&mut row.sla, &tests);
    row.metrics = reading.metrics;
    sample::per_gpu(&mut row.metrics, row.hardware.gpu_count);
    row.native = Some(reading.native);
    let lengths = overrides.sets("workload/scenario").then(|| lengths(&row, overrides));
    Ok(ImportedResult { row, source: Source { settings, content, alone: true, repeat: overrides.repeat(), lengths } })
}

/// Prompt and output tokens of a result: as the user sets them, otherwise as measured, otherwise as the file states them.
fn lengths(row: &ResultRow, overrides: &ImportOverrides) -> [Option<f64>; 2] {
    let workload = row.workload.clone().unwrap_or_default();
    let metric = |name: &str| row.metrics.get(name).copied().flatten().filter(|n| *n > 0.0);
    let length = |place: &str, stated: Option<f64>, total: &str| {
        let measured = || metric(total).zip(metric("completed")).map(|(tokens, n)| tokens / n);
        let stated = stated.filter(|n| *n > 0.0);
        if overrides.sets(place) { stated } else { measured().or(stated) }
    };
    [
        length("workload/input_len", workload.input_len, "total_input_tokens"),
        length("workload/output_len", workload.output_len, "total_output_tokens"),
    ]
}

struct ImportReading<'a> {
    format: &'a ImportFormat,
    result: &'a Value,
    top: &'a Value,
    native: NativeBlock,
    metrics: BTreeMap<String, Option<f64>>,
    /// True if a latency was 0, which is impossible.
    placeholder: bool,
    /// Numbers that the counts contradict.
    contradicted: Vec<String>,
}

impl ImportReading<'_> {
    /// A non-negative number at one of these places.
    fn number(&self, places: &JsonPlaces) -> Option<f64> {
        at(places, self.result, self.top).and_then(|(value, _)| amount(value)).filter(|value| *value >= 0.0)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied().flatten()
    }

    /// Duration, s, as the file states it.
    fn stated_duration(&self) -> Option<f64> {
        let counts = &self.format.counts;
        let ms = || self.number(&counts.duration_ms).map(|ms| ms / 1000.0);
        self.number(&counts.duration_s).or_else(ms).filter(|s| *s > 0.0)
    }

    /// Duration, s: as stated, otherwise from its requests.
    fn duration(&self, sample: Option<&sample::Sample>) -> Option<f64> {
        self.stated_duration().or_else(|| sample?.window())
    }

    fn put(&mut self, name: &str, value: Option<f64>, field: &str, unit: &str, meaning: Option<&str>) {
        let meaning = meaning.map(String::from);
        let field = NativeField { field: field.trim_start_matches(['^', '/']).to_string(), unit: unit.into(), meaning };
        self.native.fields.insert(name.to_string(), field);
        self.metrics.insert(name.to_string(), value.filter(|value| value.is_finite()));
    }

    fn null(&mut self, name: &str, why: &str) {
        self.metrics.insert(name.to_string(), None);
        self.native.nulls.insert(name.to_string(), why.into());
    }

    /// All metrics of the map, in our units. A latency of exactly 0 means no sample.
    fn numbers(&mut self) {
        let format = self.format;
        for (name, number) in format.metrics.iter().filter(|(_, number)| !number.per_request) {
            let Some((value, place)) = at(&number.at, self.result, self.top) else { continue };
            match amount(value).filter(|value| *value >= 0.0) {
                Some(0.0) if number.not_zero => self.null(name, "0 in the file: it was not measured"),
                Some(value) => {
                    self.put(name, Some(value * number.times), &place, &number.unit, number.meaning.as_deref())
                }
                None => self.null(name, &format!("{} is {value} in the file", place.trim_start_matches('/'))),
            }
        }
        for (latency, map) in &format.latencies {
            let samples = map.counted_by.as_ref().and_then(|place| amount(self.result.pointer(place)?));
            for (statistic, names) in &format.statistics {
                let place = |name: &String| map.at.0.iter().map(|at| at.replace("{stat}", name)).collect::<Vec<_>>();
                let places = JsonPlaces(names.iter().flat_map(place).collect());
                let Some((value, place)) = at(&places, self.result, self.top) else { continue };
                let name = latency.key(*statistic);
                let Some(value) = amount(value) else {
                    self.null(name, &format!("{} is {value} in the file", place.trim_start_matches('/')));
                    continue;
                };
                let stated = map.unit_at.as_ref().and_then(|place| self.result.pointer(place)?.as_str());
                let (unit, times) = match stated {
                    None => (map.unit.as_str(), map.times),
                    Some("s" | "s/token") => ("s", 1000.0),
                    Some("ms" | "ms/token") => ("ms", 1.0),
                    Some(unit) => {
                        self.null(name, &format!("its unit is {unit:?} in the file, which is not a unit of time"));
                        continue;
                    }
                };
                self.put(name, Some(value * times), &place, unit, Some(&map.meaning));
                if samples == Some(0.0) {
                    self.null(name, "no sample: this client writes 0 for none");
                    self.placeholder |= value == 0.0;
                } else if value <= 0.0 {
                    self.placeholder = true;
                    self.null(name, "placeholder_zero: a latency cannot be 0 or less");
                }
            }
        }
        // Without a first token, there is no time per output token.
        if self.placeholder && self.metrics.get("mean_ttft_ms") == Some(&None) {
            for statistic in Statistic::ALL.iter().copied() {
                let name = Latency::Tpot.key(statistic);
                if self.metric(name).is_some() {
                    self.null(name, "its time to first token is missing");
                }
            }
        }
    }

    /// The row without its metrics: members of the file, then of the candidate row, then those set by the user.
    fn row(&self, overrides: &ImportOverrides, own_name: &str) -> Result<ResultRow> {
        let format = self.format;
        let framework = format.framework.as_deref().unwrap_or("unknown");
        let mut row = json!(ResultRow {
            workload: Some(WorkloadBlock::default()),
            environment: ResultRow::unknown_environment(),
            ..ResultRow::new(framework, own_name, "", Status::Ok)
        });
        let mut measured: Vec<&str> = Vec::new();
        let means = |place: &str| format.only.get(place).is_none_or(|only| only.holds(self.result));
        for (place, places) in format.row.iter().filter(|(place, _)| means(place)) {
            if let Some((value, found)) = at(places, self.result, self.top) {
                put(&mut row, place, value.clone());
                measured.extend(format.measured.contains(&found).then_some(place.as_str()));
            }
        }
        if let Some(map) = format.concurrency.as_ref().filter(|_| row["workload"]["max_concurrency"].is_null()) {
            let word = self.result.pointer(&map.at).and_then(Value::as_str);
            row["workload"]["max_concurrency"] = json!(word.and_then(|word| map.words.get(word)));
        }
        let name = format.id.iter().filter_map(|place| self.result.pointer(place)).map(words);
        let mut name: Vec<String> = name.collect();
        name.dedup();
        let name = name.join("-");
        if !name.is_empty() {
            row["candidate_id"] = name.into();
        }
        if let Some(command) = &format.command
            && let Some(flags) = self.result.pointer(&command.flags).and_then(Value::as_object)
        {
            row["server_command"] = shell::join(&argv(command, flags)).into();
        }
        if let Some(changed) = row.pointer_mut("/candidate/changed").and_then(Value::as_object_mut) {
            changed.retain(|name, _| !format.unchanged.contains(name));
        }
        if let Some(gpus) = format.gpus.of(self.result) {
            put(&mut row, "hardware/gpu_count", json!(gpus as u64));
        }
        if let Some(theirs) = row["framework"].as_str() {
            row["framework"] = format.framework_of(theirs).into();
        }
        if let Some(candidate) = &overrides.candidate {
            from_candidate(&mut row, candidate);
        }
        set_members(&mut row, overrides);
        tidy(&mut row);
        if format.closed_wins && row["workload"]["max_concurrency"].is_number() {
            row["workload"]["request_rate"] = Value::Null;
        }
        let mut row = typed(row)?;
        let workload = row.workload.clone().unwrap_or_default();
        let mode = match (workload.request_rate, workload.max_concurrency) {
            (Some(_), _) => LoadMode::Open,
            (None, Some(_)) => LoadMode::Closed,
            (None, None) => LoadMode::Burst,
        };
        // The mean of measured lengths varies a little between runs of one workload, and more between workloads.
        let length = |key: &str, length: Option<f64>| {
            let place = format!("workload/{key}");
            match length.filter(|n| *n > 0.0 && !overrides.sets(&place) && measured.contains(&place.as_str())) {
                Some(mean) => json!(["measured", (mean.ln() / SAME_LENGTH.ln()).round()]),
                None => json!(length),
            }
        };
        let [input, output] = [length("input_len", workload.input_len), length("output_len", workload.output_len)];
        let lengths = json!([workload.scenario, workload.kind, input, output]);
        let fingerprint = [
            ("model", json!(row.model)),
            ("gpu_model", json!(row.hardware.gpu_model)),
            ("gpu_count", json!(row.hardware.gpu_count)),
            ("workload", json!(digest::short(&lengths))),
            ("load_mode", json!(mode)),
            ("endpoint", json!(workload.endpoint)),
            ("client", json!(self.native.client)),
        ];
        row.fingerprint = fingerprint.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
        Ok(row)
    }

    /// The client's own number of requests, if its list has others: warm-up, cancelled ones, or only some of them.
    fn other_requests(&self, map: &format::RequestsMap, listed: usize, failed: usize) -> Option<f64> {
        let counts = &self.format.counts;
        let [completed, errors, sent] =
            [&counts.completed, &counts.failed, &counts.sent].map(|places| self.number(places));
        let completed = completed?;
        let all = errors.map(|errors| completed + errors);
        let (listed, failed) = (listed as f64, failed as f64);
        let same = match (&map.list, &map.failed) {
            // Successful and failed requests are in separate lists.
            (Some(_), Some(_)) => listed == completed && errors.is_none_or(|errors| failed == errors),
            (Some(_), None) | (None, _) => {
                let known = [Some(completed), all, sent].contains(&Some(listed));
                known || (all.is_none() && sent.is_none() && listed >= completed)
            }
        };
        (!same).then(|| all.unwrap_or(completed))
    }

    /// Why the result counts as failed, even if its client reports success.
    fn failure(&self, completed: Option<f64>, sent: Option<f64>) -> Option<(FailureClass, String)> {
        if let Some(error) = self.result.get("error").and_then(Value::as_str) {
            let class = self.format.failure_class.as_ref().and_then(|place| self.result.pointer(place)?.as_str());
            return Some((class.map_or(FailureClass::ClientFailed, FailureClass::from), error.to_string()));
        }
        if completed == Some(0.0) {
            let of = sent.filter(|n| *n > 0.0).map_or(String::new(), |n| format!(" of {n}"));
            return Some((
                FailureClass::AllRequestsFailed,
                format!("no request{of} succeeded, although the client reported success"),
            ));
        }
        let rates = self.metrics.iter().filter(|(name, _)| name.contains("throughput"));
        let rates: Vec<f64> = rates.filter_map(|(_, rate)| *rate).collect();
        if completed.is_none() && !rates.is_empty() && rates.iter().all(|rate| *rate == 0.0) {
            return Some((FailureClass::AllRequestsFailed, "all throughputs in the file are 0".into()));
        }
        let seen = self.format.tokens_seen.iter().find_map(|place| amount(self.result.pointer(place)?));
        (seen == Some(0.0)).then(|| {
            let n = completed.unwrap_or_default();
            (
                FailureClass::NoToken,
                format!(
                    "{n} requests count as completed but no token arrived: this client does not detect errors behind status 200"
                ),
            )
        })
    }

    fn requests(&mut self, limits: &Limits) -> Option<sample::Sample> {
        let map = self.format.requests.as_ref()?;
        let (listed, failed) = requests::count(map, self.result)?;
        if let Some(measured) = self.other_requests(map, listed, failed) {
            let why = format!(
                "it lists {} requests but measured {measured}: using its own statistics, not those of the list",
                listed + failed
            );
            self.native.blind.insert("requests".into(), why);
            return None;
        }
        let sample = requests::sample(map, self.result, limits)?;
        for latency in [Latency::Ttft, Latency::Tpot, Latency::E2e] {
            for (statistic, value) in requests::statistics(&sample, latency) {
                let name = latency.key(statistic);
                self.put(name, Some(value), "requests", "ms", Some("recomputed from its requests, type 7"));
                self.native.nulls.remove(name);
            }
        }
        if !limits.is_empty() {
            let good = f64::from(sample.good);
            self.metrics.insert("slo_attainment".into(), Some(good / f64::from(sample.scheduled)));
            let duration = self.duration(Some(&sample));
            let goodput = duration.map(|s| good / s).filter(|rate| rate.is_finite());
            self.metrics.extend(goodput.map(|rate| ("goodput".to_string(), Some(rate))));
        }
        Some(sample)
    }
}
