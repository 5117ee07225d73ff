//! Reads rows as entries: each row once, and equal values are stored once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use super::criterion::RankOptions;
use super::entry::{Entry, RunInfo, SortKeys};
use super::fast::{QualitySummary, ResultSummary};
use super::key::GroupKey;
use super::notes::Notes;
use super::{gate, notes, words};
use crate::base::error::Result;
use crate::rows::kinds::{NodeRow, Slot};
use crate::rows::row::Row;
use crate::rows::words::{CheckVerdict, FailureClass, Latency, Limit, SearchEndReason};
use crate::rows::{jsonl, resume};

/// Reads rows as entries; equal values are stored once.
#[derive(Debug)]
pub struct Intake {
    options: RankOptions,
    /// Names of the metrics that decide: throughput, throughput per GPU, TTFT, TPOT, ITL.
    metrics: [String; 5],
    frameworks: BTreeSet<Arc<str>>,
    groups: HashMap<String, Arc<GroupKey>>,
    buffer: String,
    known_limits: Vec<(Box<str>, f64, Box<str>)>,
    /// Every limit of some row, `max_p99_ttft_ms 1500`, and the scenarios that have it.
    pub limits: BTreeMap<String, BTreeSet<String>>,
    /// The kinds of these limits.
    pub limited: BTreeSet<Limit>,
    /// The calibrations of nodes.
    pub nodes: Vec<NodeRow>,
}

/// Maximum number of limits in `known_limits`.
const FEW: usize = 32;

impl Default for Intake {
    fn default() -> Self {
        Self::new(RankOptions::default())
    }
}

impl Intake {
    /// An intake for a ranking with these options.
    #[must_use]
    pub fn new(options: RankOptions) -> Self {
        let by = options.by.metric();
        let [ttft, tpot, itl] =
            [Latency::Ttft, Latency::Tpot, Latency::Itl].map(|latency| latency.key(options.statistic).to_string());
        Self {
            metrics: [by.into(), format!("{by}_per_gpu"), ttft, tpot, itl],
            options,
            frameworks: BTreeSet::new(),
            groups: HashMap::new(),
            buffer: String::new(),
            known_limits: Vec::new(),
            limits: BTreeMap::new(),
            limited: BTreeSet::new(),
            nodes: Vec::new(),
        }
    }

    /// Merges several intakes.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn together(read: Vec<(Self, Vec<Option<Box<Entry>>>)>) -> (Vec<Box<Entry>>, Self) {
        let mut read = read.into_iter();
        let (mut all, entries) = read.next().expect("at least one has read");
        let mut entries: Vec<Box<Entry>> = entries.into_iter().flatten().collect();
        for (other, more) in read {
            let own = entries.len();
            entries.extend(more.into_iter().flatten());
            for (limit, scenarios) in other.limits {
                all.limits.entry(limit).or_default().extend(scenarios);
            }
            all.limited.extend(other.limited);
            all.nodes.extend(other.nodes);
            // Equal values must share one allocation.
            let frameworks: HashMap<*const u8, Arc<str>> =
                other.frameworks.into_iter().map(|name| (name.as_ptr(), all.framework(&name))).collect();
            let mut groups: HashMap<*const GroupKey, Arc<GroupKey>> = HashMap::new();
            for (text, group) in other.groups {
                let ptr = Arc::as_ptr(&group);
                groups.insert(ptr, Arc::clone(all.groups.entry(text).or_insert(group)));
            }
            for entry in &mut entries[own..] {
                if let Some(group) = groups.get(&Arc::as_ptr(&entry.group)) {
                    entry.group = Arc::clone(group);
                }
                if let Some(framework) = frameworks.get(&entry.framework.as_ptr()) {
                    entry.framework = Arc::clone(framework);
                }
            }
        }
        (entries, all)
    }

    /// How to rank.
    #[must_use]
    pub fn options(&self) -> &RankOptions {
        &self.options
    }

    /// Reads a line; `None` for a row that is not a result.
    ///
    /// # Errors
    /// As [`ResultSummary::read`]; or an unknown word.
    pub fn line(&mut self, line: &str) -> Result<Option<Box<Entry>>> {
        let summary = ResultSummary::read(line)?;
        self.entry(line, &summary)
    }

    fn framework(&mut self, name: &str) -> Arc<str> {
        match self.frameworks.get(name) {
            Some(known) => Arc::clone(known),
            None => {
                let clean = jsonl::shown_text(name);
                if let Some(known) = self.frameworks.get(&*clean) {
                    return Arc::clone(known);
                }
                let name: Arc<str> = clean.into();
                self.frameworks.insert(Arc::clone(&name));
                name
            }
        }
    }

    fn entry(&mut self, line: &str, row: &ResultSummary) -> Result<Option<Box<Entry>>> {
        match row.record.as_deref() {
            Some("result") => {}
            Some("node") => {
                self.nodes.extend(Row::parse(line).and_then(|row| row.view::<NodeRow>()).ok());
                return Ok(None);
            }
            // As `Row::record`; failed results do not have metrics.
            None if row.framework.as_deref().is_some_and(|name| !name.is_empty())
                && (row.metrics.is_some() || row.status.is_some() || row.candidate_id.is_some()) => {}
            _ => return Ok(None),
        }
        words::check(row)?;
        let group = self.group(row);
        let mut notes = notes::of(row);
        self.note_limits(row, &group.scenario);
        let gate = gate::gate(line, row, &group.scenario, &self.options);
        if gate.judged.as_ref().is_some_and(|judged| judged.disagrees) {
            notes.insert(Notes::CLAIM);
        }
        let workload = row.workload.as_ref();
        Ok(Some(Box::new(Entry {
            line: line.into(),
            is_unranked: row.is_unranked(),
            read: OnceLock::new(),
            framework: self.framework(row.framework.as_deref().unwrap_or_default()),
            candidate_id: jsonl::shown_text(row.candidate_id.as_deref().unwrap_or_default()).into(),
            group,
            ok: row.is_ok(),
            passed: gate.passed,
            unconfirmed: gate.unconfirmed,
            miss: gate.miss(),
            keys: self.keys(row),
            rate: workload.and_then(|workload| workload.request_rate),
            in_flight: workload.and_then(|workload| workload.max_concurrency),
            notes,
            node: row
                .hardware
                .as_ref()
                .and_then(|hardware| hardware.node.as_deref())
                .map(jsonl::shown_text)
                .unwrap_or_default()
                .into(),
            slot: slot(row),
            own: own(row),
            answers: answers(row),
            tried: row.candidate.as_ref().map(|tried| (tried.baseline, tried.of)),
        })))
    }

    /// The values that decide the row's rank.
    fn keys(&self, row: &ResultSummary) -> SortKeys {
        let metric = |name: &str| row.metrics.as_ref().and_then(|metrics| metrics.get(name));
        let gpus = row.hardware.as_ref().and_then(|hardware| hardware.gpu_count);
        let [all, of_one, ttft, tpot, itl] = &self.metrics;
        let by = match self.options.by.per_gpu {
            true => metric(of_one).or_else(|| Some(metric(all)? / gpus.filter(|n| *n > 0.0)?)),
            false => metric(all),
        };
        let (tpot, itl) = (metric(tpot), metric(itl));
        SortKeys {
            by,
            output: metric("output_token_throughput"),
            ttft: metric(ttft),
            tpot: tpot.or(itl),
            itl: tpot.is_none() && itl.is_some(),
            gpus,
        }
    }

    /// Notes the limits of a row that --sla does not override.
    fn note_limits(&mut self, row: &ResultSummary, scenario: &str) {
        for (key, value) in row.sla.as_ref().map(|sla| sla.limits.0.as_slice()).unwrap_or_default() {
            let is_known = |(other, known, of): &(Box<str>, f64, Box<str>)| {
                **other == **key && known == value && **of == *scenario
            };
            if self.options.overrides(scenario).all(|(other, _)| *other != **key)
                && !self.known_limits.iter().any(is_known)
            {
                // Nearly all rows have the same few limits: skip formatting these again.
                if self.known_limits.len() < FEW {
                    self.known_limits.push(((**key).into(), *value, scenario.into()));
                }
                self.limited.extend(Limit::known(key));
                self.limits.entry(format!("{} {value}", &**key)).or_default().insert(scenario.to_string());
            }
        }
    }

    fn group(&mut self, row: &ResultSummary) -> Arc<GroupKey> {
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
        let flag = |get: fn(&QualitySummary) -> bool| quality.is_some_and(get);
        let (smoke, simulated) = (flag(|quality| quality.smoke), flag(|quality| quality.simulated));
        let scenario = row.scenario();
        let print = row.fingerprint.as_ref();
        // A member that is null counts as missing.
        fn raw(raw: Option<&RawValue>) -> &str {
            let text = raw.map_or("", RawValue::get);
            if text == "null" { "" } else { text.trim_matches('"') }
        }
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
            workload,
            endpoint,
            sampling,
            precision,
            quantization,
            budget,
            cache,
            // Known once all nodes are.
            "",
        ];
        // Rows with different arrivals have different loads.
        let between = if arrivals.is_empty() { "" } else { " " };
        let word = |yes: bool| if yes { "1" } else { "" };
        self.buffer.clear();
        for member in [scenario, "\0", mode, between, arrivals, "\0", word(smoke), "\0", word(simulated)] {
            self.buffer.push_str(member);
        }
        for member in rest {
            self.buffer.push('\0');
            self.buffer.push_str(member);
        }
        // Equal keys share one allocation: from here on they are compared by address.
        if let Some(known) = self.groups.get(&self.buffer) {
            return Arc::clone(known);
        }
        let text = |text: &str| jsonl::shown_text(text).into_owned();
        let (mode, rest) = (text(&format!("{mode}{between}{arrivals}")), rest.map(text));
        let key = Arc::new(GroupKey { scenario: text(scenario), mode, smoke, simulated, rest });
        self.groups.insert(self.buffer.clone(), Arc::clone(&key));
        key
    }
}

/// What the check of its answers says; `None` if the row says nothing of one.
fn answers(row: &ResultSummary) -> Option<CheckVerdict> {
    row.quality.as_ref()?.answers.as_ref()?.verdict.as_deref()?.parse().ok()
}

/// The part of the host that it had, where several were measured at the same time.
fn slot(row: &ResultSummary) -> Option<Box<Slot>> {
    serde_json::from_str(row.candidate.as_ref()?.slot?.get()).ok()
}

fn own(row: &ResultSummary) -> Option<Box<RunInfo>> {
    let (run, search) = (row.run.as_ref(), row.search.as_ref());
    let units: Vec<Box<str>> = row.units.iter().map(|unit| Box::from(&**unit)).collect();
    let repeat = run.and_then(|run| run.repeat).or_else(|| row.native.as_ref()?.repeat);
    if run.is_none() && units.is_empty() && repeat.is_none() {
        return None;
    }
    let text = |text: Option<&str>| text.unwrap_or_default().into();
    let ok = row.is_ok();
    let reason = search.and_then(|search| search.reason.as_deref()?.parse().ok());
    Some(Box::new(RunInfo {
        units,
        unit: text(run.and_then(|run| run.unit.as_deref())),
        probe: run.is_some_and(|run| run.probe.is_some()),
        server_id: text(run.and_then(|run| run.server_id.as_deref())),
        started_at: text(run.and_then(|run| run.started_at.as_deref())),
        repeat: repeat.unwrap_or(0),
        chosen: search.map(|search| search.chosen),
        unfinished: reason == Some(SearchEndReason::Unfinished),
        cut: resume::is_cut(ok, row.failure_class.as_deref().map(FailureClass::from).as_ref(), reason),
    }))
}
