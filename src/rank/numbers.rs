//! The numbers of a result row: its metrics and its limits.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::lenient::{Member, Text};
use super::tested::TestedMember;

/// Numeric members, in order; others are skipped.
#[derive(Debug, Default)]
pub struct Numbers<'a>(pub Vec<(Text<'a>, f64)>);

impl Numbers<'_> {
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(key, _)| **key == *name).map(|(_, value)| *value).filter(|value| value.is_finite())
    }
}

/// `sla`: thresholds, the row's verdict, and whether it lists tests.
#[derive(Debug, Default)]
pub struct SlaSummary<'a> {
    pub limits: Numbers<'a>,
    pub passed: Option<bool>,
    pub tested: bool,
    /// An unknown word among the tests, as a message with its place.
    pub unknown_test: Option<String>,
}

struct MembersVisitor<'a, T>(PhantomData<(&'a (), T)>);

impl<'de: 'a, 'a> Visitor<'de> for MembersVisitor<'a, SlaSummary<'a>> {
    type Value = SlaSummary<'a>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SlaSummary<'a>, A::Error> {
        let mut sla = SlaSummary::default();
        while let Some(key) = map.next_key::<Text<'a>>()? {
            if *key == *"tested" {
                sla.tested = true;
                let TestedMember(words) = map.next_value()?;
                sla.unknown_test = words.and_then(|words| words.0);
                continue;
            }
            let member = map.next_value::<Member>()?;
            match member.number() {
                Some(value) => sla.limits.0.push((key, value)),
                None if *key == *"passed" => sla.passed = answer(&member).or(sla.passed),
                None => {}
            }
        }
        Ok(sla)
    }
}

/// A boolean, also in the spellings of other tools.
fn answer(member: &Member) -> Option<bool> {
    match member {
        Member::Bool(yes) => Some(*yes),
        Member::Text(text) if ["true", "yes"].iter().any(|yes| text.eq_ignore_ascii_case(yes)) => Some(true),
        Member::Text(text) if ["false", "no"].iter().any(|no| text.eq_ignore_ascii_case(no)) => Some(false),
        _ => None,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for SlaSummary<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(MembersVisitor::<SlaSummary>(PhantomData))
    }
}

impl<'de: 'a, 'a> Visitor<'de> for MembersVisitor<'a, Numbers<'a>> {
    type Value = Numbers<'a>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbers<'a>, A::Error> {
        let mut numbers = Vec::with_capacity(map.size_hint().unwrap_or(8));
        while let Some(key) = map.next_key::<Text<'a>>()? {
            if let Some(value) = map.next_value::<Member>()?.number() {
                numbers.push((key, value));
            }
        }
        Ok(Numbers(numbers))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Numbers<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_map(MembersVisitor::<Numbers>(PhantomData))
    }
}
