//! One row: a JSON object on a line. A program reads what it needs and sets what it owns; everything else passes
//! through unchanged and in order, and an untouched row is written as the bytes that were read.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::base::error::{Error, Result};

/// The version of the row schemas that this crate writes.
pub const SCHEMA_VERSION: u64 = 1;
/// A result without `record` has at least one of these members.
const OF_A_RESULT: [&str; 3] = ["metrics", "status", "candidate_id"];

/// A JSON object, with its text until it is changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    text: Option<String>,
    map: Map<String, Value>,
}

impl Row {
    /// Reads one row. Duplicate keys are an error, because it is unknown which value was meant.
    ///
    /// # Errors
    /// Anything but one JSON object.
    pub fn parse(text: &str) -> Result<Self> {
        match parse_value(text)? {
            Value::Object(map) => Ok(Self { text: Some(text.to_string()), map }),
            other => Err(Error::new(format!("a row is a JSON object, this is {}", kind_of(&other)))),
        }
    }

    /// A new row of the kind `record`, from a typed row: `schema_version` and `record` first.
    ///
    /// # Panics
    /// Never for the types of [`super::kinds`]: they are objects with string keys.
    #[must_use]
    pub fn new(record: &str, typed: &impl Serialize) -> Self {
        let mut row = Self { text: None, map: Map::new() };
        row.set("schema_version", SCHEMA_VERSION);
        row.set("record", record);
        row.merge(typed);
        row
    }

    /// The row's kind: its `record`; or `result` for a row without one that has `framework` and a member that only
    /// results have. Failed results do not have metrics.
    #[must_use]
    pub fn record(&self) -> Option<&str> {
        match self.get("record") {
            Some(record) => record.as_str(),
            None if self.get("framework").is_some() && OF_A_RESULT.iter().any(|key| self.map.contains_key(*key)) => {
                Some("result")
            }
            None => None,
        }
    }

    /// The value under `key`; null counts as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The string under `key`.
    #[must_use]
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// All members, in order.
    #[must_use]
    pub fn map(&self) -> &Map<String, Value> {
        &self.map
    }

    /// Sets one member; an existing key keeps its place.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.text = None;
        self.map.insert(key.to_string(), value.into());
    }

    /// Removes one member and keeps the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.text = None;
        self.map.shift_remove(key)
    }

    /// Sets every member of `typed` and leaves all others as they are.
    ///
    /// # Panics
    /// Never for the types of [`super::kinds`]: they are objects with string keys.
    pub fn merge(&mut self, typed: &impl Serialize) {
        let value = serde_json::to_value(typed).expect("a typed row has string keys and finite numbers or null");
        let Value::Object(members) = value else { unreachable!("a typed row is an object") };
        for (key, value) in members {
            self.set(&key, value);
        }
    }

    /// The row as one of the types of [`super::kinds`].
    ///
    /// # Errors
    /// A member that is missing or of the wrong type, with its name.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T> {
        let kind = self.record().unwrap_or("untyped");
        serde_path_to_error::deserialize(&self.map)
            .map_err(|e| Error::new(format!("not a valid {kind} row")).because(e))
    }

    /// The row's line, without the newline.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.text {
            Some(text) => text.clone(),
            None => Value::Object(self.map.clone()).to_string(),
        }
    }
}

/// Parses JSON strictly: duplicate keys are an error at any depth.
///
/// # Errors
/// Text that is not exactly one JSON value.
pub fn parse_value(text: &str) -> Result<Value> {
    let mut source = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut source).map_err(json_error)?;
    source.end().map_err(json_error)?;
    Ok(value)
}

/// The same for a text of several lines.
///
/// # Errors
/// Where it is not JSON, or repeats a key.
pub fn parse_document(text: &str) -> Result<Value> {
    let mut source = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut source).and_then(|value| source.end().map(|()| value));
    value.map_err(|e| {
        let cause = e.to_string().split(" at line ").next().unwrap_or_default().to_string();
        Error::new(format!("malformed JSON at line {}, column {}", e.line(), e.column())).because(cause)
    })
}

fn json_error(e: serde_json::Error) -> Error {
    // A row is one line, so only the column is useful.
    let text = e.to_string();
    let cause = text.split(" at line ").next().unwrap_or(&text).to_string();
    Error::new(format!("malformed JSON at column {}", e.column())).because(cause)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key {key:?}")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_untouched_row_keeps_its_bytes() {
        let text = r#"{ "b": 1.50,  "a":"\u00e9" }"#;
        assert_eq!(Row::parse(text).unwrap().line(), text);
    }

    #[test]
    fn a_changed_row_keeps_order_and_unknown_members() {
        let mut row = Row::parse(r#"{"z":1,"record":"server","a":{"y":[1e3]}}"#).unwrap();
        row.set("z", 2);
        row.set("new", "x");
        assert_eq!(row.line(), r#"{"z":2,"record":"server","a":{"y":[1000.0]},"new":"x"}"#);
        assert_eq!(row.record(), Some("server"));
    }

    #[test]
    fn somebody_elses_result_is_a_result() {
        assert_eq!(Row::parse(r#"{"framework":"vllm","metrics":{}}"#).unwrap().record(), Some("result"));
        assert_eq!(Row::parse(r#"{"framework":"vllm","status":"oom"}"#).unwrap().record(), Some("result"));
        assert_eq!(Row::parse(r#"{"metrics":{}}"#).unwrap().record(), None);
    }

    #[test]
    fn refuses_what_is_not_a_row() {
        for (text, said) in [
            (r#"{"a":1,"a":2}"#, r#"duplicate key "a""#),
            (r#"[1]"#, "this is an array"),
            (r#"{"a":NaN}"#, "malformed JSON at column 6"),
            (r#"{"a":1} x"#, "trailing characters"),
        ] {
            let error = Row::parse(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(Row::parse(&"[".repeat(100_000)).is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((".*", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_survives_a_change(members in proptest::collection::vec(("[a-z]{1,4}", any_json()), 0..6)) {
            let map: Map<String, Value> = members.into_iter().collect();
            let mut row = Row::parse(&Value::Object(map.clone()).to_string()).unwrap();
            row.set("OURS", 1);
            let back = Row::parse(&row.line()).unwrap();
            for (key, value) in &map {
                prop_assert_eq!(&back.map()[key], value);
            }
            prop_assert_eq!(back.map().keys().take(map.len()).collect::<Vec<_>>(), map.keys().collect::<Vec<_>>());
        }
    }
}
