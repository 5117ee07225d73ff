//! What a ranking needs of a result row, read in one pass without a tree of values.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A row. Members of other types than these make a row that is read the long way.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResultSummary<'a> {
    #[serde(borrow)]
    pub record: Option<Text<'a>>,
    #[serde(borrow)]
    pub framework: Text<'a>,
    #[serde(borrow)]
    pub candidate_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub model: Option<Text<'a>>,
    #[serde(borrow)]
    scenario: Option<Text<'a>>,
    #[serde(borrow)]
    pub status: Option<Text<'a>>,
    #[serde(borrow)]
    pub verdict: Option<Text<'a>>,
    #[serde(borrow)]
    pub failure_class: Option<Text<'a>>,
    #[serde(borrow)]
    pub hardware: Option<HardwareSummary<'a>>,
    #[serde(borrow)]
    pub workload: Option<WorkloadSummary<'a>>,
    #[serde(borrow)]
    pub sla: Option<SlaSummary<'a>>,
    #[serde(borrow)]
    pub metrics: Option<Numbers<'a>>,
    #[serde(borrow)]
    pub statistics: Option<&'a RawValue>,
    #[serde(borrow)]
    pub quality: Option<QualitySummary<'a>>,
    #[serde(borrow)]
    pub fingerprint: Option<FingerprintSummary<'a>>,
    pub candidate: Option<CandidateSummary>,
    #[serde(borrow)]
    pub search: Option<SearchSummary<'a>>,
    #[serde(borrow)]
    pub run: Option<RunSummary<'a>>,
    pub native: Option<Native>,
    #[serde(borrow)]
    pub units: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub caveats: Option<&'a RawValue>,
    #[serde(borrow)]
    pub substitutions: Option<&'a RawValue>,
}

impl ResultSummary<'_> {
    /// The scenario, by the first of the names that rows have for it; nothing where none is told.
    pub fn scenario(&self) -> &str {
        let names = self
            .workload
            .as_ref()
            .map(|w| [&w.scenario, &w.scenario_name, &w.dataset_scenario, &w.dataset_name, &w.kind]);
        let all = names.into_iter().flatten().chain([&self.scenario]);
        all.flatten().map(|name| &**name).find(|name| !name.is_empty()).unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct HardwareSummary<'a> {
    #[serde(borrow)]
    pub gpu_model: Option<Text<'a>>,
    pub gpu_count: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadSummary<'a> {
    #[serde(borrow)]
    scenario: Option<Text<'a>>,
    #[serde(borrow)]
    scenario_name: Option<Text<'a>>,
    #[serde(borrow)]
    dataset_scenario: Option<Text<'a>>,
    #[serde(borrow)]
    dataset_name: Option<Text<'a>>,
    #[serde(borrow)]
    pub kind: Option<Text<'a>>,
    pub request_rate: Option<f64>,
    pub max_concurrency: Option<f64>,
    #[serde(borrow)]
    pub load: Option<LoadSummary<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadSummary<'a> {
    #[serde(borrow)]
    pub mode: Option<Text<'a>>,
    #[serde(borrow)]
    pub arrivals: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct QualitySummary<'a> {
    pub simulated: bool,
    pub smoke: bool,
    pub client_saturated: bool,
    pub length_mismatch: bool,
    pub cache_contaminated: bool,
    pub throttled: bool,
    pub saturated: bool,
    pub too_short_to_tell: bool,
    pub unstable: bool,
    pub placeholder_zero: bool,
    pub stability: Option<StabilitySummary>,
    #[serde(borrow)]
    pub token_source: Option<Text<'a>>,
    #[serde(borrow)]
    pub reached_by: Option<Text<'a>>,
    #[serde(borrow)]
    pub blind: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StabilitySummary {
    pub saturated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FingerprintSummary<'a> {
    #[serde(borrow)]
    pub workload: Option<&'a RawValue>,
    #[serde(borrow)]
    pub endpoint: Option<&'a RawValue>,
    #[serde(borrow)]
    pub sampling: Option<&'a RawValue>,
    #[serde(borrow)]
    pub precision: Option<&'a RawValue>,
    #[serde(borrow)]
    pub quantization: Option<&'a RawValue>,
    #[serde(borrow)]
    pub gpu_count: Option<&'a RawValue>,
    #[serde(borrow)]
    pub cache: Option<&'a RawValue>,
    #[serde(borrow)]
    pub client: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CandidateSummary {
    pub baseline: bool,
    pub of: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SearchSummary<'a> {
    pub chosen: bool,
    #[serde(borrow)]
    pub reason: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunSummary<'a> {
    #[serde(borrow)]
    pub unit: Option<Text<'a>>,
    pub probe: Option<u32>,
    #[serde(borrow)]
    pub server_id: Option<Text<'a>>,
    #[serde(borrow)]
    pub started_at: Option<Text<'a>>,
    pub repeat: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Native {
    pub repeat: Option<u32>,
}

/// Members that are numbers, in their order; others are passed over.
#[derive(Debug, Default)]
pub struct Numbers<'a>(pub Vec<(Text<'a>, f64)>);

impl Numbers<'_> {
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(key, _)| **key == *name).map(|(_, value)| *value).filter(|value| value.is_finite())
    }
}

/// `sla`: thresholds, the row's answer, and whether it says what was tested.
#[derive(Debug, Default)]
pub struct SlaSummary<'a> {
    pub limits: Numbers<'a>,
    pub passed: Option<bool>,
    pub tested: bool,
}

/// Text, taken from the row as it stands where it has no escapes.
#[derive(Debug, Default)]
pub struct Text<'a>(Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_string())))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_str(TextVisitor)
    }
}

/// A number, a truth value, or anything else.
enum Member {
    Bool(bool),
    Number(f64),
    Other,
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Member, E> {
        Ok(Member::Bool(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Member, E> {
        Ok(Member::Number(value))
    }
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    fn visit_u64<E>(self, value: u64) -> Result<Member, E> {
        Ok(Member::Number(value as f64))
    }
    #[allow(clippy::cast_precision_loss, reason = "a metric")]
    fn visit_i64<E>(self, value: i64) -> Result<Member, E> {
        Ok(Member::Number(value as f64))
    }
    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Other)
    }
    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        // As some write truth values.
        Ok(match text.to_ascii_lowercase().as_str() {
            "true" | "yes" => Member::Bool(true),
            "false" | "no" => Member::Bool(false),
            _ => Member::Other,
        })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Member, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Other)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(MemberVisitor)
    }
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
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match map.next_value()? {
                Member::Number(value) => sla.limits.0.push((key, value)),
                Member::Bool(passed) if *key == *"passed" => sla.passed = Some(passed),
                Member::Bool(_) | Member::Other => {}
            }
        }
        Ok(sla)
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
            if let Member::Number(value) = map.next_value()? {
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
