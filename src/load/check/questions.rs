//! Questions whose answers are known: made from a seed, so that every candidate gets the same ones. They ask for what any instruct
//! model can do, because they measure the server, not the model.

use std::collections::BTreeSet;

use rand::RngExt as _;
use rand_pcg::Pcg64;
use serde_json::json;

use crate::base::digest;
use crate::base::random::generator;
use crate::rows::kinds::CHECK_BEGINNINGS;
use crate::rows::words::Extract;

/// Records in the text of a lookup.
const RECORDS: usize = 40;
/// Characters of nonces: none that is taken for another.
const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked.
    pub prompt: String,
    /// The right answer, or a pattern of it.
    pub answer: String,
    /// How the answer is taken from the text.
    pub extract: Extract,
    /// A text that only the answer to this question has.
    pub nonce: Option<String>,
}

/// Questions, and their identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionSet {
    /// In order.
    pub questions: Vec<Question>,
    /// SHA-256 of prompts, answers and ways to extract them.
    pub sha256: String,
}

impl QuestionSet {
    /// These questions.
    #[must_use]
    pub fn new(questions: Vec<Question>) -> Self {
        let all: Vec<_> = questions.iter().map(|q| json!([q.prompt, q.answer, q.extract])).collect();
        let sha256 = digest::sha256(digest::canonical(&json!(all)).as_bytes());
        Self { questions, sha256 }
    }

    /// `n` questions: arithmetic, copying, ordering and lookup in a long text, in turn.
    #[must_use]
    pub fn generated(seed: u64, n: u32) -> Self {
        let mut asked = BTreeSet::new();
        let mut make = |i: u32| {
            let random = &mut generator(seed, &["question", &i.to_string()]);
            loop {
                let question = match i % 4 {
                    0 => arithmetic(random),
                    1 => copying(random),
                    2 => ordering(random),
                    _ => lookup(random),
                };
                // A server may answer what it was asked before from a cache.
                if asked.insert(question.prompt.clone()) {
                    return question;
                }
            }
        };
        Self::new((0..n).map(&mut make).collect())
    }
}

/// A text that occurs nowhere else.
pub fn nonce(random: &mut Pcg64) -> String {
    let mut text = String::new();
    for i in 0..12 {
        if i % 4 == 0 && i > 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    }
    text
}

/// Asks to repeat a nonce.
pub fn repeat(nonce: &str) -> String {
    format!("Repeat exactly this code and nothing else: {nonce}")
}

fn arithmetic(random: &mut Pcg64) -> Question {
    let (a, b) = (random.random_range(11..900u32), random.random_range(11..900u32));
    let (sum, answer) = match random.random_range(0..3u32) {
        0 => (format!("{a} + {b}"), a + b),
        1 => (format!("{} - {b}", a + b), a),
        _ => (format!("{} * {}", a % 90 + 2, b % 10 + 2), (a % 90 + 2) * (b % 10 + 2)),
    };
    let prompt = format!("What is {sum}? Reply with the number only.");
    Question { prompt, answer: answer.to_string(), extract: Extract::Number, nonce: None }
}

fn copying(random: &mut Pcg64) -> Question {
    let nonce = nonce(random);
    let answer = format!("(?i){nonce}");
    Question { prompt: repeat(&nonce), answer, extract: Extract::Regex, nonce: Some(nonce) }
}

fn ordering(random: &mut Pcg64) -> Question {
    let mut numbers: Vec<u32> = Vec::new();
    while numbers.len() < 5 {
        let next = random.random_range(10..99u32);
        if !numbers.contains(&next) {
            numbers.push(next);
        }
    }
    // Never in order already: then an echo would be right.
    if numbers.is_sorted() {
        numbers.reverse();
    }
    let words =
        |numbers: &[u32], between: &str| numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(between);
    let prompt = format!(
        "Sort these numbers from smallest to largest: {}. Reply with the sorted numbers only, separated by commas.",
        words(&numbers, ", ")
    );
    numbers.sort_unstable();
    let answer = format!(r"\b{}\b", words(&numbers, r"\W+"));
    Question { prompt, answer, extract: Extract::Regex, nonce: None }
}

fn lookup(random: &mut Pcg64) -> Question {
    let records: Vec<(String, String)> =
        (0..RECORDS).map(|_| (nonce(random)[..4].to_string(), nonce(random)[..9].to_string())).collect();
    let (name, code) = records[random.random_range(0..RECORDS)].clone();
    // If a name occurs twice, the question has no answer.
    let known = |other: &&(String, String)| other.0 != name || other.1 == code;
    let lines: Vec<String> =
        records.iter().filter(known).map(|(name, code)| format!("Record {name} has code {code}.")).collect();
    let prompt = format!("{}\n\nWhat is the code of record {name}? Reply with the code only.", lines.join("\n"));
    // One code: a text with several of them is an echo.
    let answer = format!(r"(?i)^[^-]*\b{code}\b[^-]*$");
    Question { prompt, answer, extract: Extract::Regex, nonce: Some(code) }
}

/// Prompts whose greedy answers are compared text by text.
pub fn open_prompts() -> Vec<String> {
    const TOPICS: [&str; CHECK_BEGINNINGS as usize] = [
        "the sea at night",
        "how bread is made",
        "a long train journey",
        "why leaves turn red",
        "a city in the rain",
        "the history of paper",
        "a cat that is lost",
        "how a clock works",
        "the first snow",
        "a market in spring",
        "how bees find flowers",
        "an old lighthouse",
        "the colour blue",
        "a river from source to sea",
        "learning to swim",
        "the smell of coffee",
    ];
    TOPICS.iter().map(|topic| format!("Write a short text about {topic}.")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::answers::is_right;

    #[test]
    fn every_question_has_its_answer_and_an_echo_is_wrong() {
        let all = QuestionSet::generated(1, 200);
        let mut prompts = BTreeSet::new();
        for question in &all.questions {
            let right = match (question.extract, &question.nonce) {
                (Extract::Regex, Some(nonce)) => nonce.clone(),
                (Extract::Regex, None) => question.answer.replace(r"\W+", ", ").replace(r"\b", ""),
                _ => question.answer.clone(),
            };
            assert_eq!(is_right(&right, &question.answer, question.extract), Ok(true), "{question:?}");
            if question.nonce.is_none() || question.prompt.starts_with("Record ") {
                assert_eq!(is_right(&question.prompt, &question.answer, question.extract), Ok(false), "{question:?}");
            }
            assert!(prompts.insert(question.prompt.clone()), "{question:?}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_questions_and_fewer_are_the_first_ones() {
        let (all, some) = (QuestionSet::generated(7, 40), QuestionSet::generated(7, 8));
        assert_eq!(all, QuestionSet::generated(7, 40));
        assert_eq!(all.questions[..8], some.questions[..]);
        assert_ne!(all.sha256, some.sha256);
        assert_ne!(all.sha256, QuestionSet::generated(8, 40).sha256);
    }
}
