//! `scripts/cookbook.yaml`: its models with what their set gives them, and the arithmetic of their weights.

use std::fs;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use serving_bench::engines::architecture::{ModelArchitecture, Served, ServedModels};

use crate::harness::root;

/// Members in the table's order.
pub type Members = Map<String, Value>;

/// What all plans share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    memory_fraction: f64,
    kv_cache_share: f64,
    cards: Vec<Card>,
    largest_unnamed_gb: f64,
    pub schema_version: Value,
    pub dataset: Members,
    pub qps: Members,
    pub sla: Members,
    pub search: Members,
    sets: Vec<Set>,
}

/// A GPU by its memory in GB: as it is sold, and what of it can be used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub name: String,
    pub gb: f64,
    pub usable_gb: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    name: String,
    defaults: Members,
    command: Members,
    base: Members,
    search: Members,
    #[serde(default)]
    corrected: Vec<Correction>,
    models: Vec<Members>,
}

/// One model.
#[derive(Deserialize)]
pub struct Entry {
    #[serde(skip)]
    pub set: String,
    pub id: String,
    pub model: String,
    pub gpus: u64,
    pub gpu: Option<String>,
    pub multi_node: bool,
    pub precision: String,
    pub parameters: f64,
    pub weights_bits: Option<f64>,
    pub weights_gb: Option<f64>,
    pub source: String,
    pub concurrency: Value,
    pub qps_upper: Value,
    pub candidates: Value,
    pub endpoint: Option<String>,
    pub extra_request_body: Option<Members>,
    #[serde(default)]
    pub corrected: Vec<Correction>,
    /// Corrections of its set that concern it.
    #[serde(skip)]
    pub shared: Vec<Correction>,
    /// Frameworks of its set of which no release serves the model, and why.
    #[serde(skip)]
    pub left_out: Vec<(String, String)>,
    /// What a plan says of each framework.
    #[serde(skip)]
    pub frameworks: Members,
}

/// What a plan says otherwise than the facts.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    what: Value,
    pub was: Value,
    pub why: String,
}

impl Correction {
    /// The places, as `frameworks.vllm.base_server_flags.tensor_parallel_size`.
    pub fn places(&self) -> Vec<&str> {
        match &self.what {
            Value::Array(places) => places.iter().filter_map(Value::as_str).collect(),
            place => place.as_str().into_iter().collect(),
        }
    }

    /// Without the places that begin so.
    fn forget(&mut self, beginning: &str) {
        let left = self.places().into_iter().filter(|place| !place.starts_with(beginning));
        self.what = left.map(String::from).collect::<Vec<_>>().into();
    }

    /// True for an entry that says something else, now that it is corrected.
    fn concerns(&self, entry: &Entry) -> bool {
        let differs = |place: &str| {
            let mut parts = place.split('.').skip(1);
            let framework = parts.next().and_then(|name| entry.frameworks.get(name));
            framework.is_some_and(|framework| parts.fold(framework, |value, part| &value[part]) != &self.was)
        };
        self.places().into_iter().any(differs)
    }
}

/// Every column there is; those of `Entry`, and those that only stand in for `$name`.
const COLUMNS: [&str; 27] = [
    "id",
    "model",
    "gpus",
    "gpu",
    "multi_node",
    "precision",
    "parameters",
    "weights_bits",
    "weights_gb",
    "source",
    "concurrency",
    "qps_upper",
    "candidates",
    "endpoint",
    "extra_request_body",
    "requests",
    "length",
    "ep",
    "experts",
    "block",
    "attention",
    "trust",
    "command",
    "env",
    "base",
    "search",
    "corrected",
];
/// Where a model's own flags stand among those of its set.
const MORE: &str = "$more";

/// The table and its models, in its order.
pub fn read() -> (Table, Vec<Entry>) {
    let name = "scripts/cookbook.yaml";
    let text = fs::read_to_string(root().join(name)).unwrap();
    let table: Table = serving_bench::base::yaml::typed(&text, name).unwrap_or_else(|e| panic!("{e}"));
    let mut entries = Vec::new();
    for set in &table.sets {
        entries.extend(set.models.iter().map(|row| entry(set, row)));
    }
    (table, entries)
}

fn entry(set: &Set, row: &Members) -> Entry {
    let mut columns = set.defaults.clone();
    columns.extend(row.clone());
    if let Some(key) = columns.keys().find(|key| !COLUMNS.contains(&key.as_str())) {
        panic!("scripts/cookbook.yaml: {}: there is no column {key:?}", row["id"]);
    }
    let architecture = ModelArchitecture::named(row["model"].as_str().unwrap_or_default());
    let searches_experts = columns.get("ep").is_some_and(|ep| !ep.is_null());
    columns.insert("experts".into(), if searches_experts { json!([false, true]) } else { Value::Null });
    if architecture.is_some_and(|architecture| architecture.is("mla")) {
        columns.insert("block".into(), Value::Null);
    }
    let whole = serde_json::from_value(columns.clone().into());
    let mut entry: Entry = whole.unwrap_or_else(|e| panic!("scripts/cookbook.yaml: {}: {e}", row["id"]));
    entry.set.clone_from(&set.name);
    let part = |of: &Value, name: &str| of[name].as_object().cloned().unwrap_or_default();
    let own = |column: &str| columns.get(column).cloned().unwrap_or_default();
    let empty = Members::new();
    for (name, command) in merged(&set.command, own("command").as_object().unwrap_or(&empty), &columns) {
        if let Some(why) = architecture.and_then(|architecture| unserved(&name, architecture)) {
            entry.left_out.push((name, why));
            continue;
        }
        let both = |shared: &Members, column: &str| {
            let shared = shared.get(&name).cloned().unwrap_or_default();
            merged(shared.as_object().unwrap_or(&empty), &part(&own(column), &name), &columns)
        };
        let mut framework = Members::from_iter([("server_command".to_string(), command)]);
        let env = both(&empty, "env");
        if !env.is_empty() {
            framework.insert("env".into(), env.into());
        }
        framework.insert("base_server_flags".into(), both(&set.base, "base").into());
        framework.insert("search_space".into(), both(&set.search, "search").into());
        entry.frameworks.insert(name, framework.into());
    }
    for (name, _) in &entry.left_out {
        let of = format!("frameworks.{name}.");
        entry.corrected.iter_mut().for_each(|corrected| corrected.forget(&of));
    }
    entry.corrected.retain(|corrected| !corrected.places().is_empty());
    let shared = set.corrected.iter().filter(|corrected| corrected.concerns(&entry)).cloned();
    entry.shared = shared.collect();
    entry
}

/// Why no release of a framework serves this architecture; `None` if one does.
fn unserved(framework: &str, architecture: &ModelArchitecture) -> Option<String> {
    let served = ServedModels::of(framework).filter(|served| served.serves(architecture, None) == Served::NotYet)?;
    let (last, name) = (served.checked.text(), &architecture.name);
    Some(format!("no release up to {last} serves {name} models ({}, {})", served.source, served.date))
}

/// A set's members with a model's own, in the order that the head of the table describes.
fn merged(shared: &Members, own: &Members, columns: &Members) -> Members {
    let shared = shared.iter().map(|(key, value)| (key.clone(), filled(value, columns)));
    let mut all: Vec<(String, Value)> = shared.filter(|(_, value)| !value.is_null()).collect();
    let mut at = all.iter().position(|(key, _)| key == MORE).unwrap_or(all.len());
    for (key, value) in own {
        let value = filled(value, columns);
        match all.iter().position(|(known, _)| known == key) {
            Some(known) => {
                all[known].1 = value;
                at = known + 1;
            }
            None => {
                all.insert(at, (key.clone(), value));
                at += 1;
            }
        }
    }
    all.into_iter().filter(|(key, value)| key != MORE && !value.is_null()).collect()
}

/// `$name` replaced by the column of that name; null where the column is empty.
fn filled(value: &Value, columns: &Members) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| filled(item, columns)).collect(),
        Value::String(text) => match text.strip_prefix('$') {
            Some(name) if COLUMNS.contains(&name) => columns.get(name).cloned().unwrap_or_default(),
            Some(name) => panic!("scripts/cookbook.yaml: there is no column {name:?} for ${name}"),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

impl Entry {
    /// Size of the weights in GB.
    pub fn weights(&self) -> f64 {
        let bits = || self.weights_bits.unwrap_or_else(|| panic!("{}: neither weights_bits nor weights_gb", self.id));
        self.weights_gb.unwrap_or_else(|| self.parameters * bits() / 8.0)
    }

    /// The lowest share of a GPU's memory that one of its frameworks takes.
    pub fn fraction(&self, table: &Table) -> f64 {
        let flags = self.frameworks.values().flat_map(|framework| {
            ["mem_fraction_static", "gpu_memory_utilization"].map(|flag| framework["base_server_flags"][flag].as_f64())
        });
        flags.flatten().reduce(f64::min).unwrap_or(table.memory_fraction)
    }

    /// True if a part of the weights and some KV cache fit on each of so many GPUs.
    pub fn fits(&self, table: &Table, card: &Card, gpus: u64) -> bool {
        let each = self.weights() / gpus as f64;
        each + table.kv_cache_share * card.usable_gb <= self.fraction(table) * card.usable_gb
    }

    /// The GPU that is named; else the smallest one on which the weights fit.
    pub fn card<'a>(&self, table: &'a Table, gpus: u64) -> Option<&'a Card> {
        let fits = |card: &&Card| self.fits(table, card, gpus);
        let mut cards = table.cards.iter();
        match &self.gpu {
            Some(gpu) => cards.find(|card| gpu.ends_with(&card.name)).filter(fits),
            None => cards.filter(|card| card.gb <= table.largest_unnamed_gb).find(fits),
        }
    }
}
