//! The answer in a text, and whether it is right.

use std::sync::LazyLock;

use regex::Regex;

use crate::rows::words::Extract;

static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+").expect("a valid pattern"));
static CHOICE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[A-J]\b").expect("a valid pattern"));
/// What is said to be the answer, as GSM8K and most models write it.
static SAID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)####|\\boxed\{|answer(?:\s+is)?\s*[:=]?\s*").expect("a valid pattern"));

/// The text without the thoughts of a model that writes them into its answer.
#[must_use]
pub fn spoken(text: &str) -> &str {
    text.rsplit_once("</think>").map_or(text, |(_, spoken)| spoken)
}

/// True if the answer in `text` is `wanted`. For [`Extract::Regex`] `wanted` is a pattern.
///
/// # Errors
/// A pattern that cannot be read, a number or a letter that is none; in words.
pub fn is_right(text: &str, wanted: &str, extract: Extract) -> Result<bool, String> {
    let text = spoken(text);
    match extract {
        Extract::Number => {
            let wanted = number(wanted).ok_or_else(|| format!("{wanted:?} is not a number"))?;
            Ok(number(text).is_some_and(|found| (found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0)))
        }
        Extract::Choice => {
            let wanted = choice(wanted).ok_or_else(|| format!("{wanted:?} is not a letter from A to J"))?;
            Ok(choice(text) == Some(wanted))
        }
        Extract::Exact => Ok(bare(text) == bare(wanted)),
        Extract::Regex => Ok(Regex::new(wanted).map_err(|e| e.to_string())?.is_match(text)),
    }
}

/// The last part of a text that is said to be the answer; the whole text if nothing is.
fn said(text: &str) -> &str {
    SAID.find_iter(text).last().map_or(text, |found| &text[found.end()..])
}

/// The first match after what says so, otherwise the last one.
fn stated<'a>(pattern: &Regex, text: &'a str) -> Option<&'a str> {
    let after = said(text);
    let first = if after.len() < text.len() { pattern.find(after) } else { None };
    first.or_else(|| pattern.find_iter(text).last()).map(|found| found.as_str())
}

fn number(text: &str) -> Option<f64> {
    stated(&NUMBER, text)?.replace(',', "").parse().ok()
}

fn choice(text: &str) -> Option<&str> {
    stated(&CHOICE, text)
}

fn bare(text: &str) -> String {
    let trimmed = text.trim().trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | '.' | '*') || c.is_whitespace());
    trimmed.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_in_what_models_write() {
        use Extract::{Choice, Exact, Number, Regex};
        for (text, wanted, extract, right) in [
            ("42", "42", Number, true),
            ("The sum of 17 and 25 is 42.", "42", Number, true),
            ("So 6 * 7 = 42\n#### 42", "42", Number, true),
            ("#### 1,234", "1234", Number, true),
            ("She has 3 apples. The answer is $18.00, not 20.", "18", Number, true),
            (r"Therefore \boxed{-7}", "-7", Number, true),
            ("0.50", ".5", Number, true),
            ("42", "Some reasoning with 6 and 7\n#### 42", Number, true),
            ("about forty", "42", Number, false),
            ("43", "42", Number, false),
            ("<think>maybe 42</think>It is 41", "42", Number, false),
            ("<think>12</think> 42", "42", Number, true),
            ("The answer is (B).", "B", Choice, true),
            ("B", "B", Choice, true),
            ("A is wrong, so it must be C", "C", Choice, true),
            ("I would say Apple", "A", Choice, false),
            (" \"Paris.\" ", "Paris", Exact, true),
            ("**Paris**", "Paris", Exact, true),
            ("Paris, France", "Paris", Exact, false),
            ("ant, bee, cow", r"(?i)ant\W+bee\W+cow", Regex, true),
            ("bee, ant, cow", r"(?i)ant\W+bee\W+cow", Regex, false),
        ] {
            assert_eq!(is_right(text, wanted, extract), Ok(right), "{text} {wanted}");
        }
        assert!(is_right("x", "(", Regex).is_err() && is_right("x", "many", Number).is_err());
        assert!(is_right("x", "K", Choice).is_err());
    }
}
