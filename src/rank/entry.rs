//! One result row, read leniently: ours, or somebody else's with the source document's names. What decides its place is read at
//! once; whatever only a report shows is read from the row's text when it is shown.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::by::Options;
use super::fast::{Fast, tidied};
use super::gate::{self, Gate};
use super::group::GroupKey;
use super::notes::{self, Notes};
use crate::error::Result;
use crate::row::Row;
use crate::schema::{Members, SlaTest};
use crate::shell;

/// What decides a place. `None` is what was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Keys {
    /// The throughput that is ranked by.
    pub by: Option<f64>,
    /// Output tokens per second.
    pub output: Option<f64>,
    /// TTFT, ms.
    pub ttft: Option<f64>,
    /// TPOT, ms; ITL where there is none.
    pub tpot: Option<f64>,
    /// The latter is ITL.
    pub itl: bool,
    /// GPUs.
    pub gpus: Option<f64>,
}

/// What only rows of runs have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Own {
    /// Units that the row closes.
    pub units: Vec<Box<str>>,
    /// The unit of its run.
    pub unit: Box<str>,
    /// A probe of a search.
    pub probe: bool,
    /// The server.
    pub server_id: Box<str>,
    /// RFC 3339.
    pub started_at: Box<str>,
    /// From 0.
    pub repeat: u32,
    /// It stands for its search, or does not; `None` of a row of no search.
    pub chosen: Option<bool>,
    /// Its search never ended.
    pub unfinished: bool,
}

/// A result.
#[derive(Debug, Clone)]
pub struct Entry {
    line: Box<str>,
    read: OnceCell<Box<Row>>,
    /// Framework.
    pub framework: Arc<str>,
    /// Candidate.
    pub candidate_id: Box<str>,
    /// Where it belongs.
    pub group: Arc<GroupKey>,
    /// A run that went its whole way.
    pub ok: bool,
    /// The SLA's answer; `None` when there was none to give.
    pub passed: Option<bool>,
    /// Too few requests behind a percentile.
    pub unconfirmed: bool,
    /// By what share it misses the limit that it misses most; infinite where requests failed, `None` where the row does not say.
    pub miss: Option<f64>,
    /// What decides its place.
    pub keys: Keys,
    /// Requests per second asked for.
    pub rate: Option<f64>,
    /// Requests in flight, or the cap of them.
    pub in_flight: Option<f64>,
    /// What to know before believing it.
    pub notes: Notes,
    /// What only rows of runs have.
    pub own: Option<Box<Own>>,
    /// The baseline of its framework, and how many candidates that has; `None` where the row does not say.
    pub tried: Option<(bool, u32)>,
}

/// Rows as entries, with what they share kept once.
#[derive(Debug, Default)]
pub struct Intake {
    options: Options,
    names: BTreeSet<Arc<str>>,
    groups: HashMap<String, Arc<GroupKey>>,
    buffer: String,
    told: Vec<(Box<str>, f64)>,
    /// Every limit that some row has, `max_p99_ttft_ms 1500`.
    pub limits: BTreeSet<String>,
}

/// Limits that are remembered as they stand.
const FEW: usize = 16;

impl Intake {
    /// Rows for a ranking of these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// How to rank.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Reads a line; `None` for a row that is no result.
    ///
    /// # Errors
    /// As [`Row::parse`].
    pub fn line(&mut self, line: &str) -> Result<Option<Entry>> {
        if let Ok(fast) = serde_json::from_str::<Fast>(line) {
            return Ok(self.entry(line, &fast));
        }
        let row = Row::parse(line)?;
        if row.record() != Some("result") {
            return Ok(None);
        }
        let tidied = tidied(&row);
        let fast = serde_json::from_str::<Fast>(&tidied);
        Ok(fast.ok().and_then(|fast| self.entry(line, &fast)))
    }

    /// The entry of a row; `None` for a row that is no result.
    #[must_use]
    pub fn row(&mut self, row: &Row) -> Option<Entry> {
        self.line(&row.line()).ok().flatten()
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        match self.names.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let name: Arc<str> = name.into();
                self.names.insert(Arc::clone(&name));
                name
            }
        }
    }

    fn entry(&mut self, line: &str, row: &Fast) -> Option<Entry> {
        match row.record.as_deref() {
            Some("result") => {}
            None if row.metrics.is_some() && !row.framework.is_empty() => {}
            _ => return None,
        }
        let group = self.group(row);
        let ok = row.status.as_deref() == Some("ok");
        let metric = |name: &str| row.metrics.as_ref().and_then(|metrics| metrics.get(name));
        let gpus = row.hardware.as_ref().and_then(|hardware| hardware.gpu_count);
        let mut notes = notes::of(row);
        self.note_limits(row, &group.scenario);
        let gate = gate::gate(line, row, &group.scenario, &self.options);
        if gate.disagrees.is_some() {
            notes.insert(Notes::CLAIM);
        }
        let by = self.options.by;
        let value = match by.per_gpu {
            true => metric(&format!("{}_per_gpu", by.metric()))
                .or_else(|| Some(metric(by.metric())? / gpus.filter(|n| *n > 0.0)?)),
            false => metric(by.metric()),
        };
        let statistic = self.options.statistic.name();
        let latency = |name: &str| metric(&format!("{statistic}_{name}_ms"));
        let (tpot, itl) = (latency("tpot"), latency("itl"));
        let keys = Keys {
            by: value,
            output: metric("output_token_throughput"),
            ttft: latency("ttft"),
            tpot: tpot.or(itl),
            itl: tpot.is_none() && itl.is_some(),
            gpus,
        };
        let workload = row.workload.as_ref();
        Some(Entry {
            line: line.into(),
            read: OnceCell::new(),
            framework: self.name(&row.framework),
            candidate_id: row.candidate_id.as_deref().unwrap_or_default().into(),
            group,
            ok,
            passed: gate.passed,
            unconfirmed: gate.unconfirmed,
            miss: gate.miss(),
            keys,
            rate: workload.and_then(|workload| workload.request_rate),
            in_flight: workload.and_then(|workload| workload.max_concurrency),
            notes,
            own: own(row),
            tried: row.candidate.as_ref().map(|tried| (tried.baseline, tried.of)),
        })
    }

    /// Every limit of a row that nothing was given in the place of.
    fn note_limits(&mut self, row: &Fast, scenario: &str) {
        for (key, value) in row.sla.as_ref().map(|sla| sla.limits.0.as_slice()).unwrap_or_default() {
            let told = |(other, known): &(Box<str>, f64)| **other == **key && known == value;
            if self.options.given(scenario).all(|(other, _)| *other != **key) && !self.told.iter().any(told) {
                // A few limits stand in nearly all rows: those are not written again and again.
                if self.told.len() < FEW {
                    self.told.push(((**key).into(), *value));
                }
                self.buffer.clear();
                let _ = write!(self.buffer, "{} {value}", &**key);
                if !self.limits.contains(&self.buffer) {
                    self.limits.insert(self.buffer.clone());
                }
            }
        }
    }

    fn group(&mut self, row: &Fast) -> Arc<GroupKey> {
        let workload = row.workload.as_ref();
        let load = workload.and_then(|workload| workload.load.as_ref());
        let mode = load.and_then(|load| load.mode.as_deref()).unwrap_or_else(|| {
            match workload.map(|workload| (workload.request_rate, workload.max_concurrency)) {
                Some((Some(_), _)) => "open",
                Some((None, Some(_))) => "closed",
                _ => "",
            }
        });
        let arrivals = load.and_then(|load| load.arrivals.as_deref()).unwrap_or_default();
        let quality = row.quality.as_ref();
        let flag = |get: fn(&super::fast::Quality) -> bool| quality.is_some_and(get);
        let (smoke, simulated) = (flag(|quality| quality.smoke), flag(|quality| quality.simulated));
        let scenario = workload.and_then(|workload| workload.scenario.as_deref()).unwrap_or_default();
        let print = row.fingerprint.as_ref();
        // A member that is null is one that the row does not have.
        let raw = |raw: Option<&RawValue>| {
            let text = raw.map_or("", RawValue::get);
            if text == "null" { String::new() } else { text.trim_matches('"').to_string() }
        };
        let of = print.map(|print| {
            [
                print.workload,
                print.endpoint,
                print.sampling,
                print.precision,
                print.quantization,
                print.gpu_count,
                print.cache,
            ]
        });
        let [workload, endpoint, sampling, precision, quantization, budget, cache] = of.unwrap_or_default().map(raw);
        let rest = [
            row.model.as_deref().unwrap_or_default(),
            row.hardware.as_ref().and_then(|hardware| hardware.gpu_model.as_deref()).unwrap_or_default(),
            print.and_then(|print| print.client.as_deref()).unwrap_or_default(),
            &*workload,
            &endpoint,
            &sampling,
            &precision,
            &quantization,
            &budget,
            &cache,
        ];
        // Other arrivals are another load.
        let between = if arrivals.is_empty() { "" } else { " " };
        self.buffer.clear();
        let _ = write!(self.buffer, "{scenario}\0{mode}{between}{arrivals}\0{smoke}\0{simulated}");
        for member in rest {
            let _ = write!(self.buffer, "\0{member}");
        }
        // Equal keys are one: from here on they are told apart by where they stand.
        if let Some(known) = self.groups.get(&self.buffer) {
            return Arc::clone(known);
        }
        let (mode, rest) = (format!("{mode}{between}{arrivals}"), rest.map(String::from));
        let key = Arc::new(GroupKey { scenario: scenario.into(), mode, smoke, simulated, rest });
        self.groups.insert(self.buffer.clone(), Arc::clone(&key));
        key
    }
}

fn own(row: &Fast) -> Option<Box<Own>> {
    let (run, search) = (row.run.as_ref(), row.search.as_ref());
    let units: Vec<Box<str>> = row.units.iter().flatten().map(|unit| Box::from(&**unit)).collect();
    if run.is_none() && units.is_empty() {
        return None;
    }
    let text = |text: Option<&str>| text.unwrap_or_default().into();
    Some(Box::new(Own {
        units,
        unit: text(run.and_then(|run| run.unit.as_deref())),
        probe: run.is_some_and(|run| run.probe.is_some()),
        server_id: text(run.and_then(|run| run.server_id.as_deref())),
        started_at: text(run.and_then(|run| run.started_at.as_deref())),
        repeat: run.and_then(|run| run.repeat).unwrap_or(0),
        chosen: search.map(|search| search.chosen),
        unfinished: search.is_some_and(|search| search.reason.as_deref() == Some("unfinished")),
    }))
}

impl Entry {
    /// The row's line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The row, for what only a report shows.
    #[must_use]
    pub fn row(&self) -> &Row {
        self.read
            .get_or_init(|| Box::new(Row::parse(&self.line).unwrap_or_else(|_| Row::new("result", &Members::new()))))
    }

    /// Whatever stands at a JSON pointer; null when nothing does.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Value {
        let mut keys = pointer.trim_start_matches('/').split('/');
        let first = keys.next().and_then(|key| self.row().get(key));
        let found = keys.fold(first, |value, key| value.and_then(|value| value.get(key)));
        found.cloned().unwrap_or_default()
    }

    /// The string at a JSON pointer, empty when there is none.
    #[must_use]
    pub fn text(&self, pointer: &str) -> String {
        self.at(pointer).as_str().unwrap_or_default().to_string()
    }

    /// A metric that was measured.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.at(&format!("/metrics/{name}")).as_f64().filter(|v| v.is_finite())
    }

    /// `pass`, `pass_unconfirmed`, `fail`, or nothing when there was no answer to give.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.passed, self.unconfirmed) {
            (Some(true), false) => "pass",
            (Some(true), true) => "pass_unconfirmed",
            (Some(false), _) => "fail",
            (None, _) => "",
        }
    }

    /// What was tested, limit by limit, by these options.
    #[must_use]
    pub fn tests(&self, options: &Options) -> Vec<SlaTest> {
        self.gate(options).tests
    }

    /// What the row claims about its SLA, where its numbers say something else.
    #[must_use]
    pub fn claim(&self, options: &Options) -> Option<String> {
        self.gate(options).disagrees
    }

    fn gate(&self, options: &Options) -> Gate {
        let read = |line: &str| {
            let fast = serde_json::from_str::<Fast>(line).ok()?;
            Some(gate::gate(line, &fast, &self.group.scenario, options))
        };
        read(&self.line).or_else(|| read(&tidied(self.row()))).unwrap_or_default()
    }

    /// `ok`, `failed`, ….
    #[must_use]
    pub fn status(&self) -> String {
        self.text("/status")
    }

    /// The flags that it changes, `max_num_seqs=4`; `baseline` when it changes none.
    #[must_use]
    pub fn changes(&self) -> String {
        match self.at("/candidate/changed").as_object() {
            Some(changed) if changed.is_empty() => "baseline".into(),
            Some(changed) => shell::settings(changed),
            None => String::new(),
        }
    }

    /// The load point: `4 req/s`, `8 in flight`, `all at once`.
    #[must_use]
    pub fn load(&self) -> String {
        match (self.rate, self.in_flight) {
            (Some(rate), Some(cap)) => format!("{rate} req/s, cap {cap}"),
            (Some(rate), None) => format!("{rate} req/s"),
            (None, Some(n)) => format!("{n} in flight"),
            (None, None) if self.group.mode == "burst" => "all at once".into(),
            (None, None) => String::new(),
        }
    }

    /// How much load: its rate, else its number in flight; nothing for all at once.
    #[must_use]
    pub fn amount(&self) -> f64 {
        self.rate.or(self.in_flight).unwrap_or_default()
    }

    /// It stands for its search; true of a row of no search, and of one whose search never ended.
    #[must_use]
    pub fn is_claim(&self) -> bool {
        self.own.as_ref().is_none_or(|own| own.chosen != Some(false) || own.unfinished)
    }
}
