//! `check`: one part of a check of a server's answers, and what a result says of it.

use serde::{Deserialize, Serialize};

use super::outcomes::QuestionOutcomes;
use crate::rows::words::{CheckPart, CheckScope, CheckVerdict, Endpoint};

/// A `check` row: one part of a check of a server's answers. It has facts; a verdict only where one server's answers suffice for it, or
/// where bench-load was given a reference. bench-normalize compares the outcomes with those of the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Check {
    /// The server that was asked.
    pub server_id: String,
    /// The part.
    pub part: CheckPart,
    /// True for the framework's baseline at concurrency 1: what the others are compared with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reference: bool,
    /// Digest of what has to be equal in a check and its reference: framework, version, model, precision, endpoint, token limit and
    /// questions.
    pub reference_key: String,
    /// SHA-256 of the questions, in order.
    pub questions_sha256: String,
    /// Path of the endpoint.
    pub endpoint: Endpoint,
    /// Requests in flight while it ran, those of the load and of the check together.
    pub in_flight: u32,
    /// Seed of the questions and nonces.
    pub seed: u64,
    /// Maximum number of output tokens of an answer.
    pub max_tokens: u32,
    /// Number of requests of this part.
    pub asked: u32,
    /// Number of these that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// `cross_talk`: number of answers that have their own nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<u32>,
    /// `cross_talk`: number of answers, those to questions included, that have the nonce of another request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crossed: Option<u32>,
    /// `answers`: the outcome of each question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<QuestionOutcomes>,
    /// `shape`: how the answers to the questions look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<AnswerShape>,
    /// `agreement`: the beginning of each greedy answer, in the order of the prompts; null for one that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beginnings: Vec<Option<String>>,
    /// Duration of the whole check, s; the same in all its parts.
    pub duration_s: f64,
    /// The verdict, where it is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<CheckVerdict>,
    /// The reason of that verdict, with its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Check {
    /// What its numbers contradict each other in; `None` if they do not.
    #[must_use]
    pub fn contradiction(&self) -> Option<String> {
        let of = |n: usize, what: &str| format!("{what}: {n}, but {} were asked", self.asked);
        let more = |n: Option<u32>, what: &str| n.filter(|n| *n > self.asked).map(|n| of(n as usize, what));
        let outcomes = self.outcomes.as_ref().map(|outcomes| outcomes.0.len()).filter(|n| *n != self.asked as usize);
        outcomes
            .map(|n| of(n, "outcomes"))
            .or_else(|| more(Some(self.failed), "failed"))
            .or_else(|| more(self.copied, "copied"))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Number of requests of a check that ask to repeat a nonce.
pub const CHECK_NONCES: u32 = 64;
/// Number of greedy prompts whose answers are compared text by text.
pub const CHECK_BEGINNINGS: u32 = 16;
/// Output tokens of these answers.
pub const BEGINNING_TOKENS: u32 = 32;
/// Default number of questions.
pub const DEFAULT_QUESTIONS: u32 = 200;
/// Default maximum number of output tokens of an answer.
pub const DEFAULT_MAX_TOKENS: u32 = 256;

/// What to check of the answers of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckSettings {
    /// Which candidates are checked.
    pub candidates: CheckScope,
    /// Number of questions.
    pub questions: u32,
    /// Path of a file of questions; generated from the seed if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Maximum number of output tokens of an answer.
    pub max_tokens: u32,
    /// Requests in flight during the check; as many as the chosen run had if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
}

impl CheckSettings {
    /// The usual questions for these candidates.
    #[must_use]
    pub fn of(candidates: CheckScope) -> Self {
        let (questions, max_tokens) = (DEFAULT_QUESTIONS, DEFAULT_MAX_TOKENS);
        Self { candidates, questions, file: None, max_tokens, in_flight: None }
    }
}

/// How answers look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnswerShape {
    /// Share of the answers that the model ended itself; null without an answer.
    pub ended_share: Option<f64>,
    /// Mean number of output tokens by the server's count; null if it does not count.
    pub mean_tokens: Option<f64>,
    /// Number of answers that end in one text repeated over and over.
    pub repeated: u32,
    /// Number of answers with bytes or characters that are not text (U+FFFD).
    pub invalid_utf8: u32,
}

/// The answers of a candidate, compared with its reference.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnswerQuality {
    /// The verdict of all parts together.
    pub verdict: CheckVerdict,
    /// The reason, with its numbers.
    pub reason: String,
    /// Who checked, if not bench-load: `lm-eval`, `InferenceX`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Number of questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub questions: Option<u32>,
    /// Number of right answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<u32>,
    /// Number of answers that were cut short or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undetermined: Option<u32>,
    /// Number of right answers of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_right: Option<u32>,
    /// Number of questions that the reference answered right and this candidate wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u32>,
    /// Number of questions that the reference answered wrong and this candidate right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub won: Option<u32>,
    /// Chance of losing so many questions or more if both were equal: exact one-sided McNemar test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p: Option<f64>,
    /// Number of requests that asked to repeat a nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonces: Option<u32>,
    /// Number of answers with the nonce of another request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crossed: Option<u32>,
    /// Mean share of a greedy answer's beginning that equals the reference's; reported, not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<f64>,
    /// What is odd about the shape of the answers, a sentence each; not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Requests in flight during the check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
}
