//! The keys of a plan and the types of their values, as data for [`check`].

use serde_json::Value;

use super::finding::{Finding, Level};
use crate::base::yaml::escape;

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// true or false.
    Bool,
    /// A whole number, at least this.
    Count(u64),
    /// A number above 0.
    Positive,
    /// A number above 0, or `trace`: the rate of the timestamps in the data set.
    Rate,
    /// A number.
    Number,
    /// A list whose items have this shape.
    List(&'static Shape),
    /// A map with these keys.
    Keys(&'static [(&'static str, Shape)]),
    /// A map with any keys, whose values have this shape.
    Each(&'static Shape),
    /// Null, or this shape.
    Nullable(&'static Shape),
    /// This shape, or a list of it.
    OneOrList(&'static Shape),
    /// The first shape, or a map of the second.
    Either(&'static Shape, &'static Shape),
}

use Shape::{Any, Bool, Count, Each, Either, Keys, List, Nullable, Number, OneOrList, Positive, Rate, Text};

const QPS: Shape = Keys(&[
    ("lower", Number),
    ("upper", Number),
    ("tolerance", Number),
    ("max_rounds", Count(1)),
    ("max_probes", Count(1)),
    ("prune", Bool),
]);
const SLA: Shape = Each(&Either(&Number, &Each(&Each(&Number))));
const MODEL: Shape = Either(
    &Text,
    &Keys(&[
        ("name", Text),
        ("path", Text),
        ("model_path", Text),
        ("id", Text),
        ("tokenizer", Text),
        ("tokenizer_path", Text),
        ("revision", Text),
        ("precision", Text),
        ("dtype", Text),
        ("quantization", Nullable(&Text)),
        ("parameters", Positive),
        ("weights_bits", Positive),
    ]),
);
const FRAMEWORK: Shape = Keys(&[
    ("enabled", Bool),
    ("definition", Text),
    ("launcher", OneOrList(&Either(&Text, &Each(&Text)))),
    ("image", Text),
    ("mounts", List(&Text)),
    ("env", Each(&Nullable(&Text))),
    ("model", Text),
    ("quantization", Text),
    ("extra_args", List(&Text)),
    ("server_command", Text),
    ("base_server_flags", Each(&Any)),
    ("search_space", Each(&List(&Any))),
    ("candidates", List(&Each(&Any))),
    ("version", Text),
    ("backend_policy", Text),
    ("config_source", Text),
    ("notes", Any),
]);
const RATE: Shape = Either(&Rate, &Keys(&[("rate", Rate), ("cap", Count(1))]));

/// A whole plan.
pub const PLAN: Shape = Keys(&[
    ("schema_version", Count(1)),
    ("name", Text),
    ("notes", Any),
    ("source", Any),
    ("model", MODEL),
    ("precision", Text),
    (
        "hardware",
        Keys(&[
            ("gpu_model", Text),
            ("gpu_count", Count(0)),
            ("visible_devices", Either(&Text, &List(&Any))),
            ("multi_node", Bool),
        ]),
    ),
    (
        "dataset",
        Keys(&[
            ("kind", Text),
            ("num_prompts", Count(1)),
            ("scenario_names", List(&Text)),
            ("weights", Each(&Positive)),
            ("input_len", OneOrList(&Count(1))),
            ("output_len", OneOrList(&Count(1))),
            ("pairing", Text),
            ("range_ratio", Number),
            ("prefix_len", Count(1)),
            ("groups", Count(1)),
            ("turns", Count(1)),
            ("think_s", Number),
            ("path", Text),
            ("canonical_jsonl", Text),
            ("prefix_reuse", Bool),
        ]),
    ),
    (
        "benchmark",
        Keys(&[
            ("endpoint", Text),
            ("backend", Text),
            ("framework_set", List(&Text)),
            ("tokenizer", Text),
            ("output_dir", Text),
            ("num_prompts", Count(1)),
            ("warmup_requests", Count(0)),
            ("warmup_s", Positive),
            ("seed", Count(0)),
            ("max_concurrency", OneOrList(&Nullable(&Count(1)))),
            ("request_rates", List(&RATE)),
            ("burst", Bool),
            ("qps", QPS),
            ("duration_s", Positive),
            ("repeats", Count(1)),
            ("ignore_eos", Bool),
            ("extra_request_body", Each(&Any)),
            ("sla", SLA),
            ("arrivals", Text),
            ("cache", Text),
            ("stream", Bool),
            ("continuous_usage", Bool),
            ("headers", Each(&Text)),
            ("smoke", Bool),
        ]),
    ),
    (
        "search",
        Keys(&[
            ("tier", Count(1)),
            ("strategy", Text),
            ("candidate_generation", Text),
            ("max_candidates_per_framework", Count(1)),
            ("allow", List(&Text)),
            ("seed", Count(0)),
            ("resume", Bool),
            ("output_dir", Text),
        ]),
    ),
    ("sla", SLA),
    ("frameworks", Each(&FRAMEWORK)),
    ("version_manifest", Any),
]);

/// The top-level keys of a plan.
#[must_use]
pub fn keys() -> Vec<&'static str> {
    match PLAN {
        Keys(keys) => keys.iter().map(|(key, _)| *key).collect(),
        _ => Vec::new(),
    }
}

/// Adds a finding for every value that does not have its shape, and for unknown keys; `at` is the JSON pointer of `value`.
pub fn check(value: &Value, shape: &Shape, at: &str, found: &mut Vec<Finding>) {
    let mut wrong = |what: &str| {
        // Values of environment variables and headers may be secrets: do not repeat them.
        let hidden = ["/env", "/headers"].iter().any(|part| at.contains(part));
        let seen = if hidden { kind(value).to_string() } else { short(value) };
        let subject = if at.is_empty() { "a plan".to_string() } else { name(at) };
        found.push(Finding::value(Level::Error, at, format!("{subject} must be {what}, got {seen}")));
    };
    match shape {
        Any => {}
        Text if value.is_string() => {}
        Text if value.is_number() || value.is_boolean() => wrong("a string (put it in quotes)"),
        Text => wrong("a string"),
        Bool if value.is_boolean() => {}
        Bool => wrong("true or false"),
        Count(least) => {
            // Only a seed may be larger; everything else counts things.
            let max = if at.ends_with("/seed") { 1 << 53 } else { u64::from(u32::MAX) };
            match value.as_u64() {
                Some(n) if n > max => wrong(&format!("a whole number of at least {least} and at most {max}")),
                Some(n) if n >= *least => {}
                _ => wrong(&format!("a whole number of at least {least}")),
            }
        }
        Positive if value.as_f64().is_some_and(|n| n > 0.0) => {}
        Positive => wrong("a number above 0"),
        Rate if value.as_f64().is_some_and(|n| n > 0.0) || value == "trace" => {}
        Rate => wrong("a number above 0, or trace"),
        Number if value.is_number() => {}
        Number => wrong("a number"),
        Nullable(_) if value.is_null() => {}
        Nullable(inner) => check(value, inner, at, found),
        List(item) | OneOrList(item) if value.is_array() => {
            for (i, element) in value.as_array().into_iter().flatten().enumerate() {
                check(element, item, &format!("{at}/{i}"), found);
            }
        }
        List(_) => wrong("a list"),
        OneOrList(item) => check(value, item, at, found),
        Either(_, map @ (Keys(_) | Each(_))) if value.is_object() => check(value, map, at, found),
        Either(_, list @ List(_)) if value.is_array() => check(value, list, at, found),
        Either(Text, Keys(_) | Each(_)) if !value.is_string() => wrong("a string or a map"),
        Either(plain, _) => check(value, plain, at, found),
        Each(_) | Keys(_) if !value.is_object() => wrong("a map"),
        Each(item) => {
            for (key, element) in value.as_object().into_iter().flatten() {
                check(element, item, &format!("{at}/{}", escape(key)), found);
            }
        }
        Keys(keys) => {
            for (key, element) in value.as_object().into_iter().flatten() {
                let child = format!("{at}/{}", escape(key));
                match keys.iter().find(|(known, _)| known == key) {
                    // Null means the same as absent.
                    Some(_) if element.is_null() => {}
                    Some((_, shape)) => check(element, shape, &child, found),
                    None => {
                        let near = nearest(key, keys.iter().map(|(known, _)| *known));
                        let place = if at.is_empty() { "a plan".to_string() } else { name(at) };
                        found.push(Finding::key(Level::Error, &child, format!("unknown key {key:?} in {place}{near}")));
                    }
                }
            }
        }
    }
}

/// `; did you mean "x"?` if a known name is similar, otherwise nothing.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let scored = known.map(|known| (strsim::jaro_winkler(known, name), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
    // Jaro-Winkler weighs the first letters heavily: names with little more than those in common are not a typo.
    let alike = |known: &str| strsim::normalized_damerau_levenshtein(known, name) > 0.5;
    best.filter(|(score, known)| *score > 0.8 && alike(known))
        .map_or(String::new(), |(_, near)| format!("; did you mean {near:?}?"))
}

/// The dotted name of a pointer: `benchmark.qps.lower`.
#[must_use]
pub fn name(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// A value as on a command line: a string without quotes.
#[must_use]
pub fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}

/// A value for messages: shortened, without secrets.
pub fn short(value: &Value) -> String {
    let text = crate::base::redact::Redactor::default().redact(&value.to_string());
    if text.chars().count() > 40 { format!("{}…", text.chars().take(40).collect::<String>()) } else { text }
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(String::from)).collect()
}
