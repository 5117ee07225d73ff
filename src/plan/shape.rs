//! What describes a key of a plan: its type, unit, default, meaning and users. The keys themselves are in `keys/`.

use serde_json::{Value, json};

/// The type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Anything.
    Any,
    /// A string.
    Text,
    /// One of some words.
    Word(Words),
    /// true or false.
    Bool,
    /// A whole number, at least this.
    Count(u64),
    /// A whole number, at least and at most these.
    CountTo(u64, u32),
    /// A number above 0.
    Positive,
    /// A number above 0, or `trace`: the rate of the timestamps in the dataset.
    Rate,
    /// A number.
    Number,
    /// A list whose items have this shape.
    List(&'static Shape),
    /// The values to try of a knob: a list.
    Values,
    /// SLA limits by their keys, which are those of [`crate::rows::words::Limit`], and `scenarios` with the same by name.
    Limits,
    /// A map with these keys.
    Keys(&'static [PlanKey]),
    /// A map with any keys, whose values have this shape.
    Each(&'static Shape),
    /// Null, or this shape.
    Nullable(&'static Shape),
    /// This shape, or a list of it.
    OneOrList(&'static Shape),
    /// The first shape, or a map of the second.
    Either(&'static Shape, &'static Shape),
}

/// The words that a value may be.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// All of them; one with a colon has a number in place of its capital letters.
    pub all: fn() -> Vec<&'static str>,
    /// What is wrong with another word.
    pub refuses: fn(&str) -> Option<String>,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct PlanKey {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub shape: Shape,
    /// Which programs use it; empty: it is only passed on in the plan row.
    pub used_by: &'static [KeyUser],
    /// What it means, as a sentence.
    pub meaning: &'static str,
    /// Unit of its value, if it has one.
    pub unit: Option<&'static str>,
    /// The value that is used where it is absent.
    pub default: Option<DefaultValue>,
    /// Its names in other tools: a message about one of them suggests this name.
    pub also: &'static [&'static str],
}

/// A program that uses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUser {
    /// bench-validate.
    Validate,
    /// bench-expand.
    Expand,
    /// bench-serve.
    Serve,
    /// bench-load.
    Load,
    /// bench-rank.
    Rank,
}

impl KeyUser {
    /// Its name without `bench-`.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Expand => "expand",
            Self::Serve => "serve",
            Self::Load => "load",
            Self::Rank => "rank",
        }
    }
}

/// The value that is used where a key is absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DefaultValue {
    /// null.
    Null,
    /// true or false.
    Switch(bool),
    /// A whole number.
    Whole(u64),
    /// A number.
    Real(f64),
    /// A string.
    Word(&'static str),
    /// A list of whole numbers.
    Lengths(&'static [u64]),
}

impl DefaultValue {
    /// As JSON.
    #[must_use]
    pub fn value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Switch(on) => on.into(),
            Self::Whole(n) => n.into(),
            Self::Real(n) => n.into(),
            Self::Word(word) => word.into(),
            Self::Lengths(all) => json!(all),
        }
    }
}

impl PlanKey {
    pub(super) const fn new(
        name: &'static str,
        shape: Shape,
        used_by: &'static [KeyUser],
        meaning: &'static str,
    ) -> Self {
        Self { name, shape, used_by, meaning, unit: None, default: None, also: &[] }
    }

    pub(super) const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    pub(super) const fn or(mut self, default: DefaultValue) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn also(mut self, also: &'static [&'static str]) -> Self {
        self.also = also;
        self
    }

    /// The keys of the map that it holds; of a list, those of its items.
    #[must_use]
    pub fn members(&self) -> &'static [Self] {
        members(&self.shape)
    }
}

fn members(shape: &Shape) -> &'static [PlanKey] {
    match shape {
        Shape::Keys(keys) => keys,
        Shape::Either(_, inner) | Shape::Each(inner) | Shape::List(inner) => members(inner),
        _ => &[],
    }
}

/// `; did you mean "x"?` if a known name is similar, otherwise nothing.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest_name(name, known).map_or(String::new(), |near| format!("; did you mean {near:?}?"))
}

/// The most similar of the known names, if it is similar.
#[must_use]
pub fn nearest_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::jaro_winkler(known, name), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
    // Jaro-Winkler weighs the first letters heavily: names with little more than those in common are not a typo.
    let alike = |known: &str| strsim::normalized_damerau_levenshtein(known, name) > 0.5;
    best.filter(|(score, known)| *score > 0.8 && alike(known)).map(|(_, near)| near)
}

/// The dotted name of a pointer: `benchmark.qps.lower`.
#[must_use]
pub fn name(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".").replace("~1", "/").replace("~0", "~")
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The number, or with `switch` the true or false, that a string says.
pub(super) fn unquoted(value: &Value, switch: bool) -> Option<String> {
    let text = value.as_str()?.trim();
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" if switch => Some("true".into()),
        "false" | "no" | "off" if switch => Some("false".into()),
        _ if switch => None,
        _ => serde_json::from_str::<Value>(text).ok().filter(Value::is_number).map(|number| number.to_string()),
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
