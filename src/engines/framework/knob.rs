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
    /// True if its parser takes `32k` (32,000) and `32K` (32,768).
    #[serde(default)]
    pub suffixes: bool,
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
            Kind::Map => (value.is_object() || is_text_of_map(value), "a map or its JSON text"),
            Kind::Any => (true, ""),
        };
        if !fits {
            return Some(what.into());
        }
        let text = value.as_str().filter(|_| !self.values.is_empty())?;
        (!self.values.iter().any(|known| known == text)).then(|| format!("one of {}", self.values.join(", ")))
    }

    /// The number of a text with a suffix, if its parser takes these: `25.6k` is 25,600, `1K` is 1,024.
    #[must_use]
    pub fn whole(&self, text: &str) -> Option<u64> {
        let (at, suffix) = text.char_indices().next_back().filter(|_| self.suffixes)?;
        let (base, power) = match suffix {
            'k' => (1000_u64, 1),
            'm' => (1000, 2),
            'g' => (1000, 3),
            't' => (1000, 4),
            'K' => (1024, 1),
            'M' => (1024, 2),
            'G' => (1024, 3),
            'T' => (1024, 4),
            _ => return None,
        };
        let (digits, factor) = (&text[..at], base.pow(power));
        let is_plain = digits.starts_with(|c: char| c.is_ascii_digit());
        if let Ok(n) = digits.parse::<u64>() {
            return n.checked_mul(factor).filter(|n| *n > 0 && is_plain);
        }
        // Only the decimal ones take a fraction.
        let n = digits.parse::<f64>().ok().filter(|n| is_plain && base == 1000 && *n > 0.0 && *n < 1e6)?;
        format!("{:.0}", n * factor as f64).parse().ok()
    }

    /// True if this version has it.
    #[must_use]
    pub fn is_in(&self, version: &FrameworkVersion) -> bool {
        self.since.as_ref().is_none_or(|since| since <= version) && self.gone.as_ref().is_none_or(|gone| version < gone)
    }
}

/// True for the JSON text of a map, or a text that is filled in when the server starts.
fn is_text_of_map(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim_start().starts_with('{') || text.contains("${"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_of_numbers() {
        let knob = Knob { suffixes: true, ..Knob::default() };
        for (text, whole) in [
            ("32k", Some(32_000)),
            ("32K", Some(32_768)),
            ("25.6k", Some(25_600)),
            ("1M", Some(1 << 20)),
            ("2g", Some(2_000_000_000)),
            ("1.5K", None),
            ("k", None),
            ("32", None),
            ("auto", None),
            ("-1k", None),
            ("", None),
        ] {
            assert_eq!(knob.whole(text), whole, "{text}");
        }
        assert_eq!(Knob::default().whole("32k"), None);
    }
}
