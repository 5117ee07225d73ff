//! A file of questions: JSONL with `prompt`, `answer` and `extract`, or the rows of GSM8K (`question`, and an `answer` that ends in
//! `#### 42`).

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::questions::{Question, QuestionSet};
use crate::base::error::{Context, Error, Result};
use crate::metrics::answers::is_right;
use crate::rows::words::Extract;

/// How GSM8K marks the number.
const GSM8K: &str = "####";

/// One row of the file.
#[derive(Debug, Deserialize)]
struct QuestionRow {
    #[serde(alias = "question")]
    prompt: String,
    answer: serde_json::Value,
    #[serde(default)]
    extract: Option<Extract>,
}

/// The first `n` questions of a file; fewer if it has fewer.
///
/// # Errors
/// A file that cannot be read, or a row that is not a question, with its line.
pub fn read(path: &str, n: u32) -> Result<QuestionSet> {
    let text = fs::read_to_string(Path::new(path)).context("cannot read the questions").map_err(|e| e.at(path))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(i, line): (usize, &str)| question(line).map_err(|e| e.at(format!("{path}:{}", i + 1)));
    let questions = lines.take(n as usize).map(read).collect::<Result<Vec<_>>>()?;
    if questions.is_empty() {
        return Err(Error::new("the file has no question").at(path));
    }
    Ok(QuestionSet::new(questions))
}

fn question(line: &str) -> Result<Question> {
    let row: QuestionRow = serde_json::from_str(line).map_err(|e| {
        Error::new("a question needs prompt, answer and extract (number, choice, exact or regex)").because(e)
    })?;
    let answer = row.answer.as_str().map_or_else(|| row.answer.to_string(), String::from);
    let (answer, extract) = match (row.extract, answer.rsplit_once(GSM8K)) {
        (Some(extract), _) => (answer, extract),
        (None, Some((_, number))) => (number.trim().to_string(), Extract::Number),
        (None, None) => return Err(Error::new("extract is missing: number, choice, exact or regex")),
    };
    // Whatever cannot be compared is found now, not after a night.
    is_right("", &answer, extract).map_err(Error::new)?;
    Ok(Question { prompt: row.prompt, answer, extract, nonce: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_ours_and_of_gsm8k() {
        let own = question(r#"{"prompt":"2+2?","answer":4,"extract":"number"}"#).unwrap();
        assert_eq!((own.answer.as_str(), own.extract), ("4", Extract::Number));
        let gsm = question(r#"{"question":"How many?","answer":"2 + 2 = 4\n#### 1,004"}"#).unwrap();
        assert_eq!((gsm.prompt.as_str(), gsm.answer.as_str(), gsm.extract), ("How many?", "1,004", Extract::Number));
        for (row, why) in [
            (r#"{"prompt":"x","answer":"y"}"#, "extract is missing"),
            (r#"{"prompt":"x","answer":"y","extract":"words"}"#, "unknown way to extract an answer"),
            (r#"{"prompt":"x","answer":"y","extract":"number"}"#, "not a number"),
            (r#"{"prompt":"x","answer":"(","extract":"regex"}"#, "regex parse error"),
            (r#"{"answer":"y"}"#, "prompt"),
        ] {
            let error = question(row).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
