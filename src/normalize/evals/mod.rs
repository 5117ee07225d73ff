//! Evaluations of other tools, read as checks of answers.

mod read;

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value, json};

pub use self::read::{EvaluationFile, read};
use crate::metrics::answers::{SIGNIFICANCE, lower_share_p, short};
use crate::rows::kinds::{AnswerQuality, Members};
use crate::rows::row::Row;
use crate::rows::words::CheckVerdict;

/// A baseline that is right on fewer questions than one in so many has too little to lose.
const KNOWS: u32 = 5;

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

    /// What it says beside the same task of the baseline, whose counts alone are known: question by question would tell more. Of
    /// `tasks` each may be worse by chance, so its p counts so many times (Bonferroni).
    fn quality(&self, reference: Option<&Self>, tasks: u32) -> AnswerQuality {
        let (verdict, reason, p) = match reference {
            None => {
                let why = format!("{}, and no evaluation of its baseline to compare with", self.share());
                (CheckVerdict::Undetermined, why, None)
            }
            Some(other) => {
                let p = (lower_share_p(self.right, self.n, other.right, other.n) * f64::from(tasks)).min(1.0);
                let theirs = 100.0 * f64::from(other.right) / f64::from(other.n);
                let of = if tasks > 1 { format!(", for the worst of {tasks} tasks") } else { String::new() };
                let counts =
                    format!("{}, {theirs:.1} % of {} by its baseline (p = {}{of})", self.share(), other.n, short(p));
                match p <= SIGNIFICANCE {
                    true => (CheckVerdict::Worse, counts, Some(p)),
                    false if other.right * KNOWS < other.n => {
                        (CheckVerdict::Undetermined, format!("{counts}, which has too little to lose"), Some(p))
                    }
                    false => (CheckVerdict::Same, counts, Some(p)),
                }
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
#[derive(Debug, Clone, PartialEq)]
struct Evaluated {
    framework: String,
    candidate_id: String,
    baseline: bool,
    /// What the check of bench-load says.
    own: Option<AnswerQuality>,
}

impl Evaluated {
    fn of(row: &Row) -> Self {
        let text = |key: &str| row.str(key).unwrap_or_default().to_string();
        let baseline = row.get("candidate").is_some_and(|candidate| candidate["baseline"] == true);
        let own = row.get("quality").and_then(|quality| AnswerQuality::deserialize(&quality["answers"]).ok());
        Self { framework: text("framework"), candidate_id: text("candidate_id"), baseline, own }
    }
}

/// The one of two that says most, with the other one as a warning: what is wrong before what is right, and that before what cannot be
/// told; of equal ones the first.
fn telling(a: AnswerQuality, b: AnswerQuality) -> AnswerQuality {
    let says = |verdict: CheckVerdict| match verdict {
        CheckVerdict::NotChecked => 0,
        CheckVerdict::Undetermined => 1,
        CheckVerdict::Same => 2,
        CheckVerdict::Worse => 3,
        CheckVerdict::CrossTalk => 4,
    };
    let (mut worse, other) = if says(a.verdict) >= says(b.verdict) { (a, b) } else { (b, a) };
    if other.verdict != CheckVerdict::NotChecked {
        let of = other.client.map_or(String::new(), |client| format!(" by {client}"));
        worse.warnings.push(format!("also checked{of}: {}, {}", other.verdict, other.reason));
    }
    worse.warnings.extend(other.warnings);
    worse
}

/// Writes the evaluations into the result rows of their candidates, marked as used. Of several tasks the worst counts, and so it does of
/// an evaluation and the check of bench-load.
pub fn write(evaluations: &mut [Evaluation], rows: &mut [Row]) {
    let results: Vec<Evaluated> = rows.iter().map(Evaluated::of).collect();
    let baselines: BTreeMap<&str, &str> = results
        .iter()
        .filter(|result| result.baseline)
        .map(|result| (result.framework.as_str(), result.candidate_id.as_str()))
        .collect();
    let quality = |result: &Evaluated| {
        let own: Vec<&Evaluation> = evaluations.iter().filter(|one| one.is_of(result)).collect();
        let reference = |one: &Evaluation| {
            let baseline = *baselines.get(result.framework.as_str())?;
            evaluations.iter().find(|other| other.of == baseline && other.task == one.task)
        };
        let tasks = own.iter().filter(|one| reference(one).is_some()).count();
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        let found = own.iter().map(|one| one.quality(reference(one), tasks)).reduce(|a, b| {
            // With several tasks each has its p: the smallest says most.
            let is_first = a.verdict.and(b.verdict) == a.verdict && (a.verdict != b.verdict || a.p <= b.p);
            if is_first { a } else { b }
        })?;
        Some(result.own.clone().map_or(found.clone(), |own| telling(own, found)))
    };
    let found: Vec<Option<AnswerQuality>> = results.iter().map(quality).collect();
    for (row, answers) in rows.iter_mut().zip(found) {
        let Some(answers) = answers else { continue };
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
    use super::read::tests::tasks;
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
        let mut all = read(&gsm8k(0.94), Some("base")).unwrap().found;
        all.extend(read(&gsm8k(0.89), Some("low")).unwrap().found);
        all.extend(read(&gsm8k(0.936), Some("near")).unwrap().found);
        all.extend(read(&gsm8k(0.9), Some("nobody")).unwrap().found);
        let mut rows = [result("base", true), result("low", false), result("near", false), result("none", false)];
        write(&mut all, &mut rows);
        let unused: Vec<String> = all.iter().filter_map(Evaluation::unused).collect();
        assert_eq!(unused, ["no result is of nobody, whose gsm8k lm-eval evaluated"]);
        let verdicts: Vec<_> = rows.iter().map(|row| answers(row).map(|a| a.verdict)).collect();
        let (same, worse) = (Some(CheckVerdict::Same), Some(CheckVerdict::Worse));
        assert_eq!(verdicts, [same, worse, same, None]);
        let reason = answers(&rows[1]).unwrap().reason;
        assert_eq!(reason, "gsm8k: 89.0 % of 1319 right, 94.0 % of 1319 by its baseline (p = 2e-6)");
    }

    #[test]
    fn rows_of_inferencex_name_their_framework() {
        let rows = json!([{"framework": "vllm", "task": "gsm8k", "em_strict": 0.85, "n_eff": 1000, "hw": "h200"},
            {"framework": "sglang", "infrastructure_success": false, "integration_error": {"type": "timeout"}}]);
        let mut all = read(&rows, None).unwrap().found;
        let mut results = [result("base", true)];
        write(&mut all, &mut results);
        assert_eq!(all[0].unused(), None);
        let answers = answers(&results[0]).unwrap();
        assert_eq!((answers.verdict, answers.right), (CheckVerdict::Undetermined, Some(850)));
        assert_eq!(all.len(), 1);
        for (wrong, why) in [
            (json!({"a": 1}), "no evaluation"),
            (json!({"results": {}}), "CANDIDATE=FILE"),
            (json!([{"infrastructure_success": false}]), "no evaluation"),
            (json!([{"task": "x"}]), "framework, task and score"),
            (json!([{"framework": "f", "task": "x", "score": 0.5}]), "number of questions"),
        ] {
            assert!(read(&wrong, None).unwrap_err().to_string().contains(why));
        }
    }

    #[test]
    fn the_worst_of_many_tasks_is_not_worse_by_chance() {
        let base = tasks(&[800; 20]);
        // 3.5 points are beyond chance in one task, and not in one of twenty.
        let mut near = [800; 20];
        near[7] = 765;
        let mut low = [800; 20];
        low[7] = 700;
        let verdict = |own: &[u32], base: &Value| {
            let mut all = read(base, Some("base")).unwrap().found;
            all.extend(read(&tasks(own), Some("own")).unwrap().found);
            let mut rows = [result("base", true), result("own", false)];
            write(&mut all, &mut rows);
            let answers = answers(&rows[1]).unwrap();
            (answers.verdict, answers.reason)
        };
        assert_eq!(verdict(&near, &base).0, CheckVerdict::Same);
        assert_eq!(verdict(&near[7..8], &tasks(&[800])).0, CheckVerdict::Worse);
        let (found, reason) = verdict(&low, &base);
        assert_eq!(found, CheckVerdict::Worse);
        assert!(reason.starts_with("task7: 70.0 %") && reason.contains("for the worst of 20 tasks"), "{reason}");
        // A baseline that only guesses has nothing to lose.
        let (found, reason) = verdict(&[100], &tasks(&[100]));
        assert_eq!(found, CheckVerdict::Undetermined, "{reason}");
    }

    #[test]
    fn an_evaluation_does_not_hide_what_the_own_check_found() {
        let own = |verdict: &str| {
            let row = json!({"framework": "vllm", "candidate_id": "own", "candidate": {"baseline": false},
                "quality": {"answers": {"verdict": verdict, "reason": "by us"}}});
            Row::parse(&row.to_string()).unwrap()
        };
        for (of_ours, score, wanted, also) in [
            ("cross_talk", 0.94, CheckVerdict::CrossTalk, true),
            ("worse", 0.94, CheckVerdict::Worse, true),
            ("same", 0.89, CheckVerdict::Worse, true),
            ("same", 0.94, CheckVerdict::Same, true),
            ("undetermined", 0.94, CheckVerdict::Same, true),
            ("not_checked", 0.94, CheckVerdict::Same, false),
        ] {
            let mut all = read(&gsm8k(0.94), Some("base")).unwrap().found;
            all.extend(read(&gsm8k(score), Some("own")).unwrap().found);
            let mut rows = [result("base", true), own(of_ours)];
            write(&mut all, &mut rows);
            let answers = answers(&rows[1]).unwrap();
            assert_eq!(answers.verdict, wanted, "{of_ours}");
            assert_eq!(answers.warnings.iter().any(|warning| warning.starts_with("also checked")), also, "{answers:?}");
        }
    }
}
