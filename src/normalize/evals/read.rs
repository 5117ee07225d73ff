//! Files of other tools: `results*.json` of lm-eval, and InferenceX' rows of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Evaluation;
use crate::base::error::{Error, Result};

/// Scores of lm-eval that are shares of right answers, the strictest first.
const SCORES: [&str; 8] = [
    "exact_match,strict-match",
    "exact_match,flexible-extract",
    "exact_match,custom-extract",
    "exact_match,none",
    "exact_match",
    "acc,none",
    "acc",
    "acc_norm,none",
];
/// Questions of one task at most: more are a mistake of the file.
const MOST: u32 = 1_000_000;

/// What a file says.
#[derive(Debug, Default)]
pub struct EvaluationFile {
    /// Its evaluations.
    pub found: Vec<Evaluation>,
    /// Tasks that are not read, and why.
    pub left_out: Vec<String>,
}

/// The evaluations of a file; `of` names the candidate or the framework, for a file that does not.
///
/// # Errors
/// A file of another kind, or one without the number of questions.
pub fn read(content: &Value, of: Option<&str>) -> Result<EvaluationFile> {
    let file = match content {
        // A job that did not get as far as an answer has no score.
        Value::Array(rows) => {
            let scored = rows.iter().filter(|row| row["infrastructure_success"] != false);
            let found = scored.map(|row| inferencex(row, of)).collect::<Result<_>>()?;
            EvaluationFile { found, left_out: Vec::new() }
        }
        _ => lm_eval(content, of)?,
    };
    if let (true, Some(why)) = (file.found.is_empty(), file.left_out.first()) {
        return Err(Error::new(why.clone()));
    }
    if file.found.is_empty() {
        return Err(Error::new("no evaluation: results*.json of lm-eval and agg_eval*.json of InferenceX are read"));
    }
    Ok(file)
}

/// The tasks that are part of no group; the questions of a group are those of its tasks, for the score of a group may be a mean of theirs.
fn lm_eval(content: &Value, of: Option<&str>) -> Result<EvaluationFile> {
    let mut file = EvaluationFile::default();
    let Some(results) = content["results"].as_object() else { return Ok(file) };
    let Some(of) = of else {
        return Err(Error::new("lm-eval does not say which candidate it asked: write --answers CANDIDATE=FILE"));
    };
    let groups = &content["group_subtasks"];
    let members = |name: &str| groups[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_member = |name: &str| {
        groups
            .as_object()
            .into_iter()
            .flatten()
            .any(|(group, _)| group != name && members(group).any(|one| one == name))
    };
    for task in results.keys().filter(|name| !is_member(name)) {
        let (mut right, mut n) = (0, 0u64);
        // Groups may have groups; none is walked twice, whatever a file says.
        let (mut open, mut seen) = (vec![task.as_str()], BTreeSet::new());
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            let before = open.len();
            open.extend(members(name));
            if open.len() == before {
                match share_of_lm_eval(&content["results"][name]) {
                    Some(score) => {
                        let samples = &content["n-samples"][name];
                        let asked = ["effective", "original"].iter().find_map(|key| samples[*key].as_u64());
                        let one = evaluation(of, "lm-eval", name, score, asked)?;
                        (right, n) = (right + u64::from(one.right), n + u64::from(one.n));
                    }
                    None => {
                        let known = SCORES.join(", ");
                        let why = format!("{name}: not read: no score that is a share of right answers ({known})");
                        file.left_out.push(why);
                    }
                }
            }
        }
        if n > 0 {
            #[allow(clippy::cast_precision_loss, reason = "counts of questions")]
            file.found.push(evaluation(of, "lm-eval", task, right as f64 / n as f64, Some(n))?);
        }
    }
    Ok(file)
}

fn share_of_lm_eval(scores: &Value) -> Option<f64> {
    SCORES.iter().find_map(|key| scores[*key].as_f64())
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
    let n = n.and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=MOST).contains(n));
    let n =
        n.ok_or_else(|| Error::new(format!("{task}: the number of questions is missing, or not from 1 to {MOST}")))?;
    if !(0.0..=1.0).contains(&score) {
        return Err(Error::new(format!("{task}: the score {score} is not a share")));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let right = (score * f64::from(n)).round() as u32;
    Ok(Evaluation { of: of.into(), client, task: task.into(), right, n, used: false })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// Several tasks with these counts of right answers of 1,000.
    pub fn tasks(right: &[u32]) -> Value {
        let name = |i: usize| format!("task{i}");
        let all = |value: &dyn Fn(u32) -> Value| -> Value {
            Value::Object(right.iter().enumerate().map(|(i, right)| (name(i), value(*right))).collect())
        };
        json!({"results": all(&|right| json!({"acc,none": f64::from(right) / 1000.0, "acc_stderr,none": "N/A"})),
               "n-samples": all(&|_| json!({"original": 1000, "effective": 1000}))})
    }

    #[test]
    fn a_group_has_the_questions_of_its_tasks() {
        let mut file = tasks(&[900, 500]);
        file["results"]["mmlu"] = json!({"acc,none": 0.7, "alias": "mmlu"});
        file["results"]["stem"] = json!({" ": " ", "alias": "stem"});
        file["group_subtasks"] = json!({"mmlu": ["stem"], "stem": ["task0", "task1"], "task0": [], "task1": []});
        let all = read(&file, Some("c")).unwrap().found;
        assert_eq!(
            all.iter().map(|one| (one.task.as_str(), one.right, one.n)).collect::<Vec<_>>(),
            [("mmlu", 1400, 2000)]
        );
        // A group of itself is no loop.
        file["group_subtasks"] = json!({"mmlu": ["stem", "task0", "task1"], "stem": ["mmlu"]});
        assert!(read(&file, Some("c")).is_err());
        file["group_subtasks"] = Value::Null;
        let error = read(&file, Some("c")).unwrap_err().to_string();
        assert!(error.contains("mmlu: the number of questions is missing"), "{error}");
        for (name, value, why) in [
            ("bleu,none", json!(0.3), "no score that is a share"),
            ("acc,none", json!("N/A"), "no score that is a share"),
            ("acc,none", json!(93.1), "the score 93.1 is not a share"),
        ] {
            let file = json!({"results": {"t": {(name): value}}, "n-samples": {"t": {"effective": 10}}});
            let error = read(&file, Some("c")).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        // Beside others it is left out, and said.
        let mut file = tasks(&[900]);
        file["results"]["wikitext"] = json!({"word_perplexity,none": 12.5});
        let read_file = read(&file, Some("c")).unwrap();
        assert_eq!((read_file.found.len(), read_file.left_out.len()), (1, 1));
        for n in [json!(0), json!(-3), json!("many"), json!(u64::MAX)] {
            let file = json!({"results": {"t": {"acc": 0.5}}, "n-samples": {"t": {"effective": n}}});
            assert!(read(&file, Some("c")).unwrap_err().to_string().contains("the number of questions is missing"));
        }
    }
}
