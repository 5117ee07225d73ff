//! Descriptions of knobs: type, unit, meaning, role, and the versions that have them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::role::KnobRole;
use crate::engines::version::FrameworkVersion;

/// The type of a knob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole number of at least 1.
    Count,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A number above 0 and at most 1.
    Fraction,
    /// true or false.
    Flag,
    /// A string.
    Text,
    /// A list.
    List,
    /// A map, or a string with one.
    Map,
    /// Several of these types.
    Any,
}

/// One knob.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Knob {
    /// Its type; unknown for a knob that is only named.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// Its only values, if not empty.
    #[serde(default)]
    pub values: Vec<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// Its role, the same word in every framework: `tensor_parallel`.
    #[serde(rename = "as")]
    pub role: Option<KnobRole>,
    /// True if it turns off what its role names.
    #[serde(default)]
    pub inverted: bool,
    /// The framework's own default, to compare the baselines of frameworks.
    pub default: Option<Value>,
    /// The first version that has it.
    pub since: Option<FrameworkVersion>,
    /// The first version without it.
    pub gone: Option<FrameworkVersion>,
    /// The newer name of the knob.
    pub now: Option<String>,
    /// Its meaning, for people.
    #[serde(rename = "is")]
    pub meaning: Option<String>,
}

impl Knob {
    /// What a value must be, if it is not accepted: `a whole number`; null is always accepted.
    #[must_use]
    pub fn refuses(&self, value: &Value) -> Option<String> {
        let whole = value.is_i64() || value.is_u64();
        let (fits, what) = match self.kind? {
            _ if value.is_null() => return None,
            Kind::Count => (value.as_u64().is_some_and(|n| n > 0), "a whole number of at least 1"),
            Kind::Integer => (whole, "a whole number"),
            Kind::Number => (value.is_number(), "a number"),
            Kind::Fraction => (value.as_f64().is_some_and(|n| n > 0.0 && n <= 1.0), "above 0 and at most 1"),
            Kind::Flag => (value.is_boolean(), "true or false"),
            Kind::Text => (value.is_string(), "a string"),
            Kind::List => (value.is_array(), "a list"),
            Kind::Map => (value.is_object() || value.is_string(), "a map"),
            Kind::Any => (true, ""),
        };
        if !fits {
            return Some(what.into());
        }
        let text = value.as_str().filter(|_| !self.values.is_empty())?;
        (!self.values.iter().any(|known| known == text)).then(|| format!("one of {}", self.values.join(", ")))
    }

    /// True if this version has it.
    #[must_use]
    pub fn is_in(&self, version: &FrameworkVersion) -> bool {
        self.since.as_ref().is_none_or(|since| since <= version) && self.gone.as_ref().is_none_or(|gone| version < gone)
    }
}

/// A family of knobs, with or without descriptions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Family(pub Vec<(String, Knob)>);

impl<'de> Deserialize<'de> for Family {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(FamilyVisitor)
    }
}

struct FamilyVisitor;

impl<'de> Visitor<'de> for FamilyVisitor {
    type Value = Family;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("knobs: a list of names, or a map of descriptions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Family, A::Error> {
        let mut knobs = Vec::new();
        while let Some(name) = items.next_element()? {
            knobs.push((name, Knob::default()));
        }
        Ok(Family(knobs))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Family, A::Error> {
        let mut knobs = Vec::new();
        while let Some(member) = members.next_entry()? {
            knobs.push(member);
        }
        Ok(Family(knobs))
    }
}
