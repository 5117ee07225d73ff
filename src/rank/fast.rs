//! The members of a result row that a ranking needs, read in one pass without a tree of values. It is lenient, because
//! rows of other tools are ranked too: a member of an unexpected type counts as missing.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lenient::{Text, count, flag, is_given, number, object, record, text, texts, whole, word, word_if_given};
use super::numbers::{Numbers, SlaSummary};
use crate::base::error::Error;
use crate::rows::row::Row;
use crate::rows::words::Status;

/// A result row.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResultSummary<'a> {
    #[serde(borrow, deserialize_with = "record")]
    pub record: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    pub framework: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    pub candidate_id: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    pub model: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    scenario: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    pub status: Option<Text<'a>>,
    /// Outside `None` if the row does not have it, inside if it is no text.
    #[serde(borrow, deserialize_with = "word_if_given")]
    verdict: Option<Option<Text<'a>>>,
    #[serde(borrow, deserialize_with = "text")]
    pub failure_class: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub hardware: Option<HardwareSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub workload: Option<WorkloadSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub sla: Option<SlaSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub metrics: Option<Numbers<'a>>,
    #[serde(borrow)]
    pub statistics: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "object")]
    pub quality: Option<QualitySummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub fingerprint: Option<FingerprintSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub candidate: Option<CandidateSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub search: Option<SearchSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub run: Option<RunSummary<'a>>,
    #[serde(deserialize_with = "object")]
    pub native: Option<NativeSummary>,
    #[serde(borrow, deserialize_with = "texts")]
    pub units: Vec<Text<'a>>,
    #[serde(borrow)]
    pub caveats: Option<&'a RawValue>,
    #[serde(borrow)]
    pub substitutions: Option<&'a RawValue>,
    // The other keys that a ranking sets.
    #[serde(deserialize_with = "is_given")]
    rank: bool,
    #[serde(deserialize_with = "is_given")]
    group: bool,
    #[serde(deserialize_with = "is_given")]
    decision: bool,
    #[serde(deserialize_with = "is_given")]
    provisional: bool,
    #[serde(deserialize_with = "is_given")]
    missing: bool,
}

/// The keys that a ranking sets.
pub const RANKING_KEYS: [&str; 6] = ["rank", "group", "verdict", "decision", "provisional", "missing"];

impl<'a> ResultSummary<'a> {
    /// Reads a row.
    ///
    /// # Errors
    /// As [`Row::parse`].
    pub fn read(line: &'a str) -> Result<Self, Error> {
        // A list is not a row.
        let summary = serde_json::from_str(line).ok().filter(|_| line.trim_ascii_start().starts_with('{'));
        // The reader of rows reports the error.
        summary.map_or_else(|| Row::parse(line).and(Err(Error::new("cannot rank this row"))), Ok)
    }

    /// The verdict that it states.
    pub fn verdict(&self) -> Option<&str> {
        self.verdict.as_ref()?.as_deref()
    }

    /// True if it has none of the [`RANKING_KEYS`].
    pub fn is_unranked(&self) -> bool {
        let Self { rank, group, verdict, decision, provisional, missing, .. } = self;
        ![*rank, *group, verdict.is_some(), *decision, *provisional, *missing].contains(&true)
    }

    /// True for a run that ended with metrics.
    pub fn is_ok(&self) -> bool {
        self.status.as_deref() == Some(Status::Ok.as_str())
    }

    /// The scenario, by the first of its possible keys that the row has; empty if it has none.
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
    #[serde(borrow, deserialize_with = "text")]
    pub gpu_model: Option<Text<'a>>,
    #[serde(deserialize_with = "number")]
    pub gpu_count: Option<f64>,
    #[serde(borrow, deserialize_with = "text")]
    pub node: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadSummary<'a> {
    #[serde(borrow, deserialize_with = "text")]
    scenario: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    scenario_name: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    dataset_scenario: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    dataset_name: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    pub kind: Option<Text<'a>>,
    #[serde(deserialize_with = "number")]
    pub request_rate: Option<f64>,
    #[serde(deserialize_with = "number")]
    pub max_concurrency: Option<f64>,
    #[serde(borrow, deserialize_with = "object")]
    pub load: Option<LoadSummary<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadSummary<'a> {
    #[serde(borrow, deserialize_with = "word")]
    pub mode: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    pub arrivals: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct QualitySummary<'a> {
    #[serde(deserialize_with = "flag")]
    pub simulated: bool,
    #[serde(deserialize_with = "flag")]
    pub smoke: bool,
    #[serde(deserialize_with = "flag")]
    pub client_saturated: bool,
    #[serde(deserialize_with = "flag")]
    pub length_mismatch: bool,
    #[serde(deserialize_with = "flag")]
    pub cache_contaminated: bool,
    #[serde(deserialize_with = "flag")]
    pub buffered: bool,
    #[serde(deserialize_with = "flag")]
    pub throttled: bool,
    #[serde(deserialize_with = "flag")]
    pub saturated: bool,
    #[serde(deserialize_with = "flag")]
    pub too_short_to_tell: bool,
    #[serde(deserialize_with = "flag")]
    pub unstable: bool,
    #[serde(deserialize_with = "flag")]
    pub placeholder_zero: bool,
    #[serde(deserialize_with = "object")]
    pub stability: Option<StabilitySummary>,
    #[serde(borrow, deserialize_with = "word")]
    pub token_source: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "word")]
    pub reached_by: Option<Text<'a>>,
    #[serde(borrow)]
    pub blind: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "object")]
    pub answers: Option<AnswersSummary<'a>>,
    #[serde(borrow, deserialize_with = "object")]
    pub drafts: Option<DraftsSummary<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct DraftsSummary<'a> {
    #[serde(borrow, deserialize_with = "word")]
    pub verdict: Option<Text<'a>>,
    #[serde(deserialize_with = "number")]
    pub forced_acceptance_length: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AnswersSummary<'a> {
    #[serde(borrow, deserialize_with = "word")]
    pub verdict: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct StabilitySummary {
    #[serde(deserialize_with = "flag")]
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
    #[serde(borrow, deserialize_with = "text")]
    pub client: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CandidateSummary<'a> {
    #[serde(deserialize_with = "flag")]
    pub baseline: bool,
    #[serde(deserialize_with = "count")]
    pub of: u32,
    /// The part of the host that it had, where several were measured at the same time.
    #[serde(borrow)]
    pub slot: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SearchSummary<'a> {
    #[serde(deserialize_with = "flag")]
    pub chosen: bool,
    #[serde(borrow, deserialize_with = "word")]
    pub reason: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunSummary<'a> {
    #[serde(borrow, deserialize_with = "text")]
    pub unit: Option<Text<'a>>,
    #[serde(deserialize_with = "whole")]
    pub probe: Option<u32>,
    #[serde(borrow, deserialize_with = "text")]
    pub server_id: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "text")]
    pub started_at: Option<Text<'a>>,
    #[serde(deserialize_with = "whole")]
    pub repeat: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct NativeSummary {
    #[serde(deserialize_with = "whole")]
    pub repeat: Option<u32>,
}

#[cfg(test)]
mod tests {
    use crate::rank::Intake;
    use serde_json::{Value, json};

    /// Words that a program acts on.
    const WORDS: [&str; 8] = [
        "/status",
        "/verdict",
        "/workload/load/mode",
        "/workload/load/arrivals",
        "/quality/reached_by",
        "/quality/token_source",
        "/search/reason",
        "/sla/tested/max_p99_ttft_ms/basis",
    ];

    /// Every member that is read.
    const MEMBERS: &[&str] = &[
        "/record",
        "/framework",
        "/candidate_id",
        "/model",
        "/status",
        "/verdict",
        "/failure_class",
        "/hardware",
        "/hardware/gpu_model",
        "/hardware/gpu_count",
        "/workload",
        "/scenario",
        "/workload/scenario",
        "/workload/scenario_name",
        "/workload/dataset_scenario",
        "/workload/dataset_name",
        "/workload/kind",
        "/workload/request_rate",
        "/workload/max_concurrency",
        "/workload/load",
        "/workload/load/mode",
        "/workload/load/arrivals",
        "/sla",
        "/sla/passed",
        "/sla/tested",
        "/sla/max_p99_ttft_ms",
        "/metrics",
        "/metrics/mean_ttft_ms",
        "/statistics",
        "/quality",
        "/quality/simulated",
        "/quality/smoke",
        "/quality/client_saturated",
        "/quality/length_mismatch",
        "/quality/cache_contaminated",
        "/quality/buffered",
        "/quality/throttled",
        "/quality/saturated",
        "/quality/too_short_to_tell",
        "/quality/unstable",
        "/quality/placeholder_zero",
        "/quality/stability",
        "/quality/stability/saturated",
        "/quality/token_source",
        "/quality/reached_by",
        "/quality/blind",
        "/fingerprint",
        "/fingerprint/client",
        "/fingerprint/workload",
        "/candidate",
        "/candidate/of",
        "/candidate/slot",
        "/candidate/baseline",
        "/search",
        "/search/chosen",
        "/search/reason",
        "/run",
        "/run/unit",
        "/run/probe",
        "/run/server_id",
        "/run/started_at",
        "/run/repeat",
        "/native",
        "/native/repeat",
        "/units",
        "/caveats",
        "/substitutions",
    ];

    #[test]
    fn a_word_that_nobody_knows_is_refused() {
        let row = json!({"record": "result", "framework": "f", "candidate_id": "c", "status": "ok", "verdict": "pass",
            "workload": {"load": {"mode": "open", "arrivals": "gamma:0.1"}},
            "quality": {"reached_by": "tunnel", "token_source": "usage"}, "search": {"reason": "resolved"},
            "sla": {"tested": {"max_p99_ttft_ms": {"basis": "all_scheduled"}}}});
        assert!(Intake::default().line(&row.to_string()).is_ok_and(|read| read.is_some()));
        for pointer in WORDS {
            let mut wrong = row.clone();
            *wrong.pointer_mut(pointer).unwrap() = "gama:0.1".into();
            let why = Intake::default().line(&wrong.to_string()).unwrap_err().to_string();
            let place = pointer[1..].replace('/', ".");
            assert!(why.contains("gama:0.1") && why.starts_with(&format!("{place}: ")), "{why}");
        }
        let mut wrong = row.clone();
        wrong["sla"]["tested"] = json!({"max_p98_ttft_ms": {"basis": "all_scheduled"}});
        let why = Intake::default().line(&wrong.to_string()).unwrap_err().to_string();
        assert_eq!(why, "sla.tested: unknown SLA limit \"max_p98_ttft_ms\"");
    }

    #[test]
    fn a_result_is_ranked_whatever_its_members_are() {
        let odd = [
            json!(null),
            json!(1),
            json!(-1.5),
            json!(u64::MAX),
            json!("x"),
            json!(true),
            json!([null]),
            json!({"a": []}),
        ];
        for (pointer, value) in MEMBERS.iter().flat_map(|pointer| odd.iter().map(move |value| (*pointer, value))) {
            let mut row = json!({"record": "result", "framework": "f", "candidate_id": "c", "status": "ok"});
            // A row of another kind is not a result.
            if pointer == "/record" && *value != Value::Null {
                continue;
            }
            // An unknown word is an error; a value of another type counts as missing.
            if value.is_string() && WORDS.contains(&pointer) || pointer == "/sla/tested" && value.is_object() {
                continue;
            }
            let (last, mut place) = (pointer.rsplit('/').next().unwrap(), &mut row);
            for key in pointer.split('/').skip(1).take_while(|key| *key != last) {
                place = &mut place[key];
            }
            place[last] = value.clone();
            let read = Intake::default().line(&row.to_string());
            assert!(read.is_ok_and(|read| read.is_some()), "{row}");
        }
    }

    #[test]
    fn a_list_and_a_repeated_key_are_not_rows() {
        for line in ["[1]", "[\"result\",\"f\",\"c\"]", r#"{"framework":"f","framework":"g","metrics":{}}"#] {
            assert!(Intake::default().line(line).is_err(), "{line}");
        }
        let other = r#"{"record":true,"framework":"f","candidate_id":"c","status":"ok"}"#;
        assert!(Intake::default().line(other).is_ok_and(|read| read.is_none()));
    }
}
