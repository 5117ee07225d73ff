//! The checks of answers in a stream: rows of each server, and of the references that they are compared with.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::metrics::answers::{PairedAnswers, answer_quality, not_checked};
use crate::rows::kinds::{AnswerQuality, Check, ResultRow};
use crate::rows::words::CheckPart;

/// What a server serves.
struct ServedModel {
    framework: String,
    model: String,
    /// Precision and quantization.
    precision: [Option<Value>; 2],
}

/// The checks so far.
#[derive(Debug, Default)]
pub struct AnswerChecks {
    /// By server.
    own: BTreeMap<String, Vec<Check>>,
    /// By what has to be equal; of several the first, so that a file that is read twice counts once.
    references: BTreeMap<String, Vec<Check>>,
}

impl AnswerChecks {
    /// Takes the row of a check.
    ///
    /// # Errors
    /// A row whose numbers contradict each other.
    pub fn insert(&mut self, row: Check) -> Result<()> {
        if let Some(why) = row.contradiction() {
            return Err(Error::new(why));
        }
        let rows = match row.reference {
            true => self.references.entry(row.reference_key.clone()).or_default(),
            false => self.own.entry(row.server_id.clone()).or_default(),
        };
        if rows.iter().all(|other| other.part != row.part) {
            rows.push(row);
        }
        Ok(())
    }

    /// What the check of a server says; `None` without one.
    fn quality(&self, server_id: &str) -> Option<AnswerQuality> {
        let own = self.own.get(server_id)?;
        let reference = own.first().and_then(|row| self.references.get(&row.reference_key));
        Some(answer_quality(own, reference.map_or(&[], Vec::as_slice)))
    }

    /// Writes into each result what the check of its server says; where some server was checked, the others were not.
    pub fn write(&self, results: &mut [ResultRow]) {
        if self.own.is_empty() && self.references.is_empty() {
            return;
        }
        let known: BTreeMap<&String, AnswerQuality> =
            self.own.keys().filter_map(|id| Some((id, self.quality(id)?))).collect();
        let served = |row: &ResultRow| ServedModel {
            framework: row.framework.clone(),
            model: row.model.clone(),
            precision: [row.fingerprint.get("precision").cloned(), row.fingerprint.get("quantization").cloned()],
        };
        let models: BTreeMap<String, ServedModel> =
            results.iter().filter_map(|row| Some((row.run.as_ref()?.server_id.clone(), served(row)))).collect();
        for result in results.iter_mut().filter(|result| result.quality.answers.is_none()) {
            let Some(run) = &result.run else { continue };
            let is_forced =
                result.quality.drafts.as_ref().is_some_and(|drafts| drafts.forced_acceptance_length.is_some());
            let unchecked = || {
                not_checked(match is_forced {
                    true => "its acceptance length was forced, so its text means nothing",
                    false => "not among the candidates that were checked",
                })
            };
            let mut quality = known.get(&run.server_id).cloned().unwrap_or_else(unchecked);
            quality.warnings.extend(self.across(&run.server_id, &models));
            result.quality.answers = Some(quality);
        }
    }

    /// Where a server lost questions beyond chance against the baseline of another framework with the same model and precision: a
    /// notice each, for templates and kernels differ, too.
    fn across(&self, server_id: &str, models: &BTreeMap<String, ServedModel>) -> Vec<String> {
        let answers = |rows: &[Check]| rows.iter().find(|row| row.part == CheckPart::Answers).cloned();
        let Some(own) = self.own.get(server_id).and_then(|rows| answers(rows)) else { return Vec::new() };
        let Some(model) = models.get(server_id) else { return Vec::new() };
        let asked = |row: &Check| (row.questions_sha256.clone(), row.max_tokens);
        let outcomes = |row: &Check| row.outcomes.clone().unwrap_or_default();
        let mut found = Vec::new();
        for other in self.references.values().filter_map(|rows| answers(rows)) {
            let Some(of) = models.get(&other.server_id) else { continue };
            let pairs = PairedAnswers::of(&outcomes(&own), &outcomes(&other));
            let same = (&of.model, &of.precision) == (&model.model, &model.precision);
            if of.framework != model.framework && same && asked(&own) == asked(&other) && pairs.is_worse() {
                let PairedAnswers { lost, won, .. } = pairs;
                found.push(format!("{lost} lost, {won} won against {}'s baseline", of.framework));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::kinds::{RunBlock, Status};
    use crate::rows::words::CheckVerdict;
    use serde_json::json;

    fn check(server: &str, key: &str, reference: bool, outcomes: &str) -> Check {
        let row = json!({"server_id": server, "part": "answers", "reference": reference, "reference_key": key,
            "questions_sha256": "q", "endpoint": "/v1/chat/completions", "in_flight": 8, "seed": 1, "max_tokens": 64,
            "asked": outcomes.len(), "outcomes": outcomes, "duration_s": 1.0});
        serde_json::from_value(row).unwrap()
    }

    fn result(framework: &str, server: &str) -> ResultRow {
        let mut row = ResultRow::new(framework, "c", "m", Status::Ok);
        let run = json!({"run_id": "r", "server_id": server, "repeat": 0, "client": "bench-load", "started_at": "t", "requests": {}});
        row.run = Some(serde_json::from_value::<RunBlock>(run).unwrap());
        row
    }

    #[test]
    fn each_server_is_paired_with_the_reference_of_its_key_in_any_order() {
        let (good, bad) = ("+".repeat(20), format!("{}{}", "-".repeat(6), "+".repeat(14)));
        let rows = [
            check("v1", "vllm", false, &bad),
            check("v0", "vllm", true, &good),
            check("v0", "vllm", false, &good),
            check("s0", "sglang", true, &good),
            check("s1", "sglang", false, &good),
            check("x1", "other", false, &good),
        ];
        let verdicts = |order: &mut dyn Iterator<Item = &Check>| {
            let mut checks = AnswerChecks::default();
            // A file that is read twice counts once.
            let all: Vec<Check> = order.cloned().collect();
            all.iter().chain(&all).cloned().for_each(|row| checks.insert(row).unwrap());
            let mut results =
                [("vllm", "v0"), ("vllm", "v1"), ("vllm", "v2"), ("sglang", "s1"), ("other", "x1"), ("sglang", "s0")]
                    .map(|(framework, server)| result(framework, server));
            checks.write(&mut results);
            results.map(|row| row.quality.answers.map(|answers| (answers.verdict, answers.warnings)).unwrap())
        };
        let found = verdicts(&mut rows.iter());
        assert_eq!(found, verdicts(&mut rows.iter().rev()));
        use CheckVerdict::{NotChecked, Same, Undetermined, Worse};
        let words = found.clone().map(|(verdict, _)| verdict);
        assert_eq!(words, [Same, Worse, NotChecked, Same, Undetermined, NotChecked]);
        assert_eq!(found[1].1, ["6 lost, 0 won against sglang's baseline"]);
        assert!(found[0].1.is_empty());
        // Another precision is another model.
        let mut checks = AnswerChecks::default();
        rows.iter().cloned().for_each(|row| checks.insert(row).unwrap());
        let mut results = [result("vllm", "v1"), result("sglang", "s0")];
        results[1].fingerprint.insert("precision".into(), "fp8".into());
        checks.write(&mut results);
        assert!(results[0].quality.answers.as_ref().is_some_and(|answers| answers.warnings.is_empty()));
        let mut alone = [result("vllm", "v0")];
        AnswerChecks::default().write(&mut alone);
        assert_eq!(alone[0].quality.answers, None);
    }
}
