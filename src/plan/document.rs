//! What is made from the keys of a plan for its writers: the JSON Schema for editors, and the lists in bench-plan(5).
//! `BLESS=1` rewrites both.
#![cfg(test)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::keys::{PLAN, WHOLE};
use super::shape::Shape::{
    self, Any, Bool, Count, CountTo, Each, Either, Keys, Limits, List, Nullable, Number, OneOrList, Positive, Rate,
    Text, Values, Word,
};
use super::shape::{DefaultValue, PlanKey, plain_text};
use crate::metrics::sla::SCENARIOS;
use crate::rows::words::{Latency, Limit, Statistic};

/// Editors mark with it what bench-validate calls an error or an unknown key.
fn schema(shape: &Shape) -> Value {
    match shape {
        Any => json!({}),
        Text => json!({"type": "string"}),
        Word(words) => {
            let all = (words.all)();
            if all.iter().any(|word| word.contains(':')) { json!({"type": "string"}) } else { json!({"enum": all}) }
        }
        Bool => json!({"type": "boolean"}),
        Count(least) => json!({"type": "integer", "minimum": least}),
        CountTo(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Positive => json!({"type": "number", "exclusiveMinimum": 0}),
        Rate => json!({"anyOf": [schema(&Positive), {"const": "trace"}]}),
        Number => json!({"type": "number"}),
        List(item) => json!({"type": "array", "items": schema(item)}),
        Values => json!({"type": "array", "minItems": 1}),
        Limits => {
            let mut limits = Map::new();
            for limit in Limit::all() {
                let maximum = if limit.is_floor() { json!({"maximum": 1}) } else { json!({}) };
                let mut one = json!({"description": meaning(limit), "type": "number", "minimum": 0});
                one.as_object_mut().unwrap().extend(maximum.as_object().unwrap().clone());
                limits.insert(limit.key().into(), one);
            }
            let own = json!({"type": "object", "properties": limits.clone(), "additionalProperties": false});
            let scenarios = json!({"description": "Limits of single scenarios, by name.", "type": "object", "additionalProperties": own});
            limits.insert(SCENARIOS.into(), scenarios);
            json!({"type": "object", "properties": limits, "additionalProperties": false})
        }
        Keys(keys) => {
            let properties: Map<String, Value> = keys.iter().map(|key| (key.name.into(), property(key))).collect();
            json!({"type": "object", "properties": properties, "additionalProperties": false})
        }
        Each(item) => json!({"type": "object", "additionalProperties": schema(item)}),
        Nullable(inner) => json!({"anyOf": [schema(inner), {"type": "null"}]}),
        OneOrList(item) => json!({"anyOf": [schema(item), {"type": "array", "items": schema(item)}]}),
        Either(one, other) => json!({"anyOf": [schema(one), schema(other)]}),
    }
}

/// Null means the same as absent.
fn property(key: &PlanKey) -> Value {
    let mut described = json!({"description": sentence(key)});
    let own = described.as_object_mut().unwrap();
    if let Some(default) = key.default.filter(|default| *default != DefaultValue::Null) {
        own.insert("default".into(), default.value());
    }
    match schema(&key.shape) {
        Value::Object(shape) if shape.is_empty() => {}
        shape => _ = own.insert("anyOf".into(), json!([shape, {"type": "null"}])),
    }
    described
}

fn sentence(key: &PlanKey) -> String {
    match key.unit {
        Some(unit) => format!("{} Unit: {unit}.", key.meaning),
        None => key.meaning.into(),
    }
}

fn meaning(limit: Limit) -> String {
    match limit {
        Limit::Latency { statistic, latency } => {
            format!("Maximum of the {} {} over all requests of a run, ms.", statistic.title(), latency.title())
        }
        Limit::SuccessRate => "Minimum share of the scheduled requests that succeed.".into(),
        Limit::Attainment => "Minimum share of the scheduled requests within every limit on a latency.".into(),
        Limit::InFlight => unreachable!("no plan names it"),
    }
}

/// The type in words.
fn words(shape: &Shape) -> String {
    match shape {
        Any => "anything".into(),
        Text => "string".into(),
        Word(known) => (known.all)().join(" | "),
        Bool => "true or false".into(),
        Count(least) => format!("whole number of at least {least}"),
        CountTo(least, most) => format!("whole number from {least} to {most}"),
        Positive => "number above 0".into(),
        Rate => "number above 0, or trace".into(),
        Number => "number".into(),
        List(Text) => "list of strings".into(),
        List(Any) => "list".into(),
        List(item) => format!("list, each {}", words(item)),
        Values => "list".into(),
        Limits => "map of limits".into(),
        Keys(_) => "map".into(),
        Each(item) => match item {
            Keys(_) => "map of maps by name".into(),
            item => format!("map of {} by name", words(item)),
        },
        Nullable(inner) => format!("{}, or null", words(inner)),
        OneOrList(item) => format!("{}, or a list of these", words(item)),
        Either(one, other) => format!("{}, or {}", words(one), words(other)),
    }
}

fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

/// The keys of a map, and after them those of the maps inside it.
fn list(page: &mut String, keys: &[PlanKey], at: &str) {
    for key in keys {
        let mut facts = vec![words(&key.shape)];
        facts.extend(key.unit.map(String::from));
        facts.extend(key.default.map(|default| format!("default {}", plain_text(&default.value()))));
        let used = key.used_by.iter().map(|program| program.short()).collect::<Vec<_>>().join(", ");
        facts.push(if used.is_empty() { "not used".into() } else { format!("used by {used}") });
        let _ = writeln!(page, ".TP\n.BR {} \" ({})\"\n{}", roff(key.name), roff(&facts.join("; ")), roff(key.meaning));
    }
    for key in keys.iter().filter(|key| !key.members().is_empty()) {
        let name = if at.is_empty() { key.name.to_string() } else { format!("{at}.{}", key.name) };
        let name = if matches!(key.shape, Each(_)) { format!("{name}.NAME") } else { name };
        let _ = writeln!(page, ".SS {}", roff(&name));
        list(page, key.members(), &name);
    }
}

/// The limits of an SLA.
fn limits(page: &mut String) {
    for latency in Latency::ALL {
        let keys: Vec<String> = Statistic::ALL.iter().map(|statistic| roff(latency.limit_key(*statistic))).collect();
        let _ = writeln!(page, ".TP\n.BR {}", keys.join(" \", \" "));
        let what = match latency {
            Latency::Ttft => "Time from due (closed loop: sent) to the first token.",
            Latency::Ttfat => "The same, to the first token after reasoning.",
            Latency::Tpot => "Time per output token after the first, of each request.",
            Latency::Itl => "Gap between two tokens; every gap is a value.",
            Latency::E2e => "Time from due (closed loop: sent) to the last token.",
        };
        let _ = writeln!(page, "{} Maximum, ms.", roff(what));
    }
    for limit in [Limit::SuccessRate, Limit::Attainment] {
        let _ = writeln!(page, ".TP\n.B {}\n{}", roff(limit.key()), roff(&meaning(limit)));
    }
}

/// A page with what lies between two marks replaced.
fn between(page: &str, mark: &str, text: &str) -> String {
    let (begin, end) = (format!(".\\\" begin {mark}\n"), format!(".\\\" end {mark}\n"));
    let from = page.find(&begin).map(|at| at + begin.len()).unwrap_or_else(|| panic!("no {begin}"));
    let to = page.find(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{}{text}{}", &page[..from], &page[to..])
}

fn hold(path: &str, make: impl Fn(&str) -> String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let now = fs::read_to_string(&file).unwrap_or_default();
    let text = make(&now);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap_or_default() == text,
        "{path} is out of date; run the tests once with BLESS=1"
    );
}

#[test]
fn the_schema_of_a_plan_file_is_current() {
    hold("configs/schemas/plan-file.schema.json", |_| {
        let mut whole = schema(&WHOLE);
        let own = whole.as_object_mut().unwrap();
        own.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        own.insert("title".into(), "serving-bench plan".into());
        own.insert("required".into(), json!(["frameworks"]));
        format!("{whole:#}\n")
    });
}

#[test]
fn the_page_of_plans_is_current() {
    hold("man/bench-plan.5", |page| {
        let (mut keys, mut sla) = (String::new(), String::new());
        list(&mut keys, PLAN, "");
        limits(&mut sla);
        between(&between(page, "keys", &keys), "limits", &sla)
    });
}
