//! Evaluations of other tools, read as checks of answers: `results*.json` of lm-eval, and InferenceX' rows of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::base::error::{Error, Result};
use crate::metrics::answers::{SIGNIFICANCE, lower_share_p};
use crate::rows::kinds::{AnswerQuality, Members};
use crate::rows::row::Row;
use crate::rows::words::CheckVerdict;

/// Scores of lm-eval, the strictest first.
const SCORES: [&str; 5] =
    ["exact_match,strict-match", "exact_match,flexible-extract", "exact_match,none", "acc,none", "acc"];

/// How many questions of one task were answered right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The candidate, or the framework, whose answers they are.
    of: String,
    /// Name of the tool.
    client: &'static str,
    task: String,
    right: u32,
    n: u32,
    used: bool,
}

/// The evaluations of a file; `of` names the candidate or the framework, for a file that does not.
///
/// # Errors
/// A file of another kind, or one without the number of questions.
pub fn read(content: &Value, of: Option<&str>) -> Result<Vec<Evaluation>> {
    let found = match content {
        // A job that did not get as far as an answer has no score.
        Value::Array(rows) => {
            let scored = rows.iter().filter(|row| row["infrastructure_success"] != false);
            scored.map(|row| inferencex(row, of)).collect::<Result<Vec<_>>>()?
        }
        _ => lm_eval(content, of)?,
    };
    if found.is_empty() {
        return Err(Error::new("no evaluation: results*.json of lm-eval and agg_eval*.json of InferenceX are read"));
    }
    Ok(found)
}

fn lm_eval(content: &Value, of: Option<&str>) -> Result<Vec<Evaluation>> {
    let Some(of) = of else {
        return Err(Error::new("lm-eval does not say which candidate it asked: write --answers CANDIDATE=FILE"));
    };
    let mut found = Vec::new();
    for (task, scores) in content["results"].as_object().into_iter().flatten() {
        let Some(score) = SCORES.iter().find_map(|key| scores[*key].as_f64()) else { continue };
        let samples = &content["n-samples"][task];
        let n = ["effective", "original"].iter().find_map(|key| samples[*key].as_u64());
        found.push(evaluation(of, "lm-eval", task, score, n)?);
    }
    Ok(found)
}

fn inferencex(row: &Value, of: Option<&str>) -> Result<Evaluation> {
    let of = of.or_else(|| row["framework"].as_str());
    let score = ["score", "em_strict", "em_flexible"].iter().find_map(|key| row[*key].as_f64());
    let (Some(of), Some(task), Some(score)) = (of, row["task"].as_str(), score) else {
        return Err(Error::new("a row of an evaluation needs framework, task and score"));
    };
    evaluation(of, "InferenceX", task, score, row["n_eff"].as_u64())
}

fn evaluation(of: &str, client: &'static str, task: &str, score: f64, n: Option<u64>) -> Result<Evaluation> {
    let n = n.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    let n = n.ok_or_else(|| Error::new(format!("{task}: the number of questions is missing")))?;
    if !(0.0..=1.0).contains(&score) {
        return Err(Error::new(format!("{task}: the score {score} is not a share")));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let right = (score * f64::from(n)).round() as u32;
    Ok(Evaluation { of: of.into(), client, task: task.into(), right, n, used: false })
}

impl Evaluation {
    fn is_of(&self, result: &Evaluated) -> bool {
        self.of == result.candidate_id || self.of == result.framework
    }

    /// Why it says nothing; `None` if some result has it.
    #[must_use]
    pub fn unused(&self) -> Option<String> {
        let Self { of, client, task, used, .. } = self;
        (!used).then(|| format!("no result is of {of}, whose {task} {client} evaluated"))
    }

    fn share(&self) -> String {
        let share = 100.0 * f64::from(self.right) / f64::from(self.n);
        format!("{}: {share:.1} % of {} right", self.task, self.n)
    }

    /// What it says beside the same task of the baseline, whose counts alone are known: question by question would tell more.
    fn quality(&self, reference: Option<&Self>) -> AnswerQuality {
        let (verdict, reason, p) = match reference {
            None => {
                let why = format!("{}, and no evaluation of its baseline to compare with", self.share());
                (CheckVerdict::Undetermined, why, None)
            }
            Some(other) => {
                let p = lower_share_p(self.right, self.n, other.right, other.n);
                let theirs = 100.0 * f64::from(other.right) / f64::from(other.n);
                let reason = format!("{}, {theirs:.1} % of {} by its baseline (p = {p:.2})", self.share(), other.n);
                let verdict = if p <= SIGNIFICANCE { CheckVerdict::Worse } else { CheckVerdict::Same };
                (verdict, reason, Some(p))
            }
        };
        AnswerQuality {
            verdict,
            reason,
            client: Some(self.client.into()),
            questions: Some(self.n),
            right: Some(self.right),
            reference_right: reference.map(|other| other.right),
            p,
            ..AnswerQuality::default()
        }
    }
}

/// What an evaluation has to know of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Evaluated {
    framework: String,
    candidate_id: String,
    baseline: bool,
}

impl Evaluated {
    fn of(row: &Row) -> Self {
        let text = |key: &str| row.str(key).unwrap_or_default().to_string();
        let baseline = row.get("candidate").is_some_and(|candidate| candidate["baseline"] == true);
        Self { framework: text("framework"), candidate_id: text("candidate_id"), baseline }
    }
}

/// Writes the evaluations into the result rows of their candidates, marked as used; of several tasks the worst counts.
pub fn write(evaluations: &mut [Evaluation], rows: &mut [Row]) {
    let results: Vec<Evaluated> = rows.iter().map(Evaluated::of).collect();
    let baselines: BTreeMap<&str, &str> = results
        .iter()
        .filter(|result| result.baseline)
        .map(|result| (result.framework.as_str(), result.candidate_id.as_str()))
        .collect();
    let quality = |result: &Evaluated| {
        let own = evaluations.iter().filter(|one| one.is_of(result));
        let reference = |one: &Evaluation| {
            let baseline = *baselines.get(result.framework.as_str())?;
            evaluations.iter().find(|other| other.of == baseline && other.task == one.task)
        };
        own.map(|one| one.quality(reference(one)))
            .reduce(|a, b| if a.verdict.and(b.verdict) == a.verdict { a } else { b })
    };
    for (row, result) in rows.iter_mut().zip(&results) {
        let Some(answers) = quality(result) else { continue };
        let mut members: Members = row.get("quality").and_then(Value::as_object).cloned().unwrap_or_default();
        members.insert("answers".into(), json!(answers));
        row.set("quality", members);
    }
    for one in evaluations.iter_mut() {
        one.used |= results.iter().any(|result| one.is_of(result));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, baseline: bool) -> Row {
        let row = json!({"framework": "vllm", "candidate_id": id, "candidate": {"baseline": baseline}, "status": "ok"});
        Row::parse(&row.to_string()).unwrap()
    }

    fn answers(row: &Row) -> Option<AnswerQuality> {
        serde_json::from_value(row.get("quality")?["answers"].clone()).ok()
    }

    fn gsm8k(score: f64) -> Value {
        json!({"lm_eval_version": "0.4.9", "results": {"gsm8k": {"alias": "gsm8k", "exact_match,strict-match": score,
            "exact_match,flexible-extract": 1.0}}, "n-samples": {"gsm8k": {"original": 1319, "effective": 1319}}})
    }

    #[test]
    fn lm_eval_is_compared_with_the_baseline() {
        let mut all = read(&gsm8k(0.94), Some("base")).unwrap();
        all.extend(read(&gsm8k(0.89), Some("low")).unwrap());
        all.extend(read(&gsm8k(0.936), Some("near")).unwrap());
        all.extend(read(&gsm8k(0.9), Some("nobody")).unwrap());
        let mut rows = [result("base", true), result("low", false), result("near", false), result("none", false)];
        write(&mut all, &mut rows);
        let unused: Vec<String> = all.iter().filter_map(Evaluation::unused).collect();
        assert_eq!(unused, ["no result is of nobody, whose gsm8k lm-eval evaluated"]);
        let verdicts: Vec<_> = rows.iter().map(|row| answers(row).map(|a| a.verdict)).collect();
        let (same, worse) = (Some(CheckVerdict::Same), Some(CheckVerdict::Worse));
        assert_eq!(verdicts, [same, worse, same, None]);
        let reason = answers(&rows[1]).unwrap().reason;
        assert_eq!(reason, "gsm8k: 89.0 % of 1319 right, 94.0 % of 1319 by its baseline (p = 0.00)");
    }

    #[test]
    fn rows_of_inferencex_name_their_framework() {
        let rows = json!([{"framework": "vllm", "task": "gsm8k", "em_strict": 0.85, "n_eff": 1000, "hw": "h200"},
            {"framework": "sglang", "infrastructure_success": false, "integration_error": {"type": "timeout"}}]);
        let mut all = read(&rows, None).unwrap();
        let mut results = [result("base", true)];
        write(&mut all, &mut results);
        assert_eq!(all[0].unused(), None);
        let answers = answers(&results[0]).unwrap();
        assert_eq!((answers.verdict, answers.right), (CheckVerdict::Undetermined, Some(850)));
        assert_eq!(all.len(), 1);
        for (wrong, why) in [
            (json!({"a": 1}), "CANDIDATE=FILE"),
            (json!([{"infrastructure_success": false}]), "no evaluation"),
            (json!([{"task": "x"}]), "framework, task and score"),
            (json!([{"framework": "f", "task": "x", "score": 0.5}]), "number of questions"),
        ] {
            assert!(read(&wrong, None).unwrap_err().to_string().contains(why));
        }
    }
}
