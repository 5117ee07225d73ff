//! The words in `sla.tested` of a row: keys of limits, and the basis of each test.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::lenient::{Text, object, word};
use crate::rows::words::{Basis, Limit};

/// The first unknown word in `sla.tested`, as a message with its place; `None` if all are known.
#[derive(Debug, Default)]
pub struct TestedWords(pub Option<String>);

impl TestedWords {
    fn check(key: &str, basis: Option<&str>) -> Option<String> {
        if Limit::tested(key).is_none() {
            return Some(format!("sla.tested: unknown SLA limit {key:?}"));
        }
        basis?.parse::<Basis>().err().map(|why| format!("sla.tested.{key}.basis: {why}"))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TestSummary<'a> {
    #[serde(borrow, deserialize_with = "word")]
    basis: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct TestMember<'a>(#[serde(borrow, deserialize_with = "object")] Option<TestSummary<'a>>);

struct TestedVisitor;

impl<'de> Visitor<'de> for TestedVisitor {
    type Value = TestedWords;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TestedWords, A::Error> {
        let mut unknown = None;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            let TestMember(test) = map.next_value()?;
            let basis = test.as_ref().and_then(|test| test.basis.as_deref());
            unknown = unknown.or_else(|| TestedWords::check(&key, basis));
        }
        Ok(TestedWords(unknown))
    }
}

impl<'de> Deserialize<'de> for TestedWords {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(TestedVisitor)
    }
}

/// `sla.tested` of a row; any value that is not an object counts as empty.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct TestedMember(#[serde(deserialize_with = "object")] pub Option<TestedWords>);
