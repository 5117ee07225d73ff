//! The outcomes of questions as one text, a character each.

use serde::{Deserialize, Serialize};

use crate::rows::words::AnswerOutcome;

/// The outcome of each question in order, one character each: `+` right, `-` wrong, `?` cut short or failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QuestionOutcomes(pub Vec<AnswerOutcome>);

#[cfg(test)]
impl schemars::JsonSchema for QuestionOutcomes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "QuestionOutcomes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The outcome of each question in order, one character each: `+` right, `-` wrong, `?` cut short or failed.",
            "type": "string",
            "pattern": "^[+?-]*$",
        })
    }
}

impl TryFrom<String> for QuestionOutcomes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let one = |(i, c)| match c {
            '+' => Ok(AnswerOutcome::Right),
            '-' => Ok(AnswerOutcome::Wrong),
            '?' => Ok(AnswerOutcome::Undetermined),
            _ => Err(format!("unknown outcome {c:?} of question {}: +, - or ?", i + 1)),
        };
        text.chars().enumerate().map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl From<QuestionOutcomes> for String {
    fn from(outcomes: QuestionOutcomes) -> Self {
        let one = |outcome: &AnswerOutcome| match outcome {
            AnswerOutcome::Right => '+',
            AnswerOutcome::Wrong => '-',
            AnswerOutcome::Undetermined => '?',
        };
        outcomes.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_their_text_and_unknown_ones_are_errors() {
        let read: QuestionOutcomes = serde_json::from_str("\"+-?+\"").unwrap();
        use AnswerOutcome::{Right, Undetermined, Wrong};
        assert_eq!(read.0, [Right, Wrong, Undetermined, Right]);
        assert_eq!(serde_json::to_string(&read).unwrap(), "\"+-?+\"");
        let unknown = serde_json::from_str::<QuestionOutcomes>("\"+x\"").unwrap_err().to_string();
        assert!(unknown.contains("unknown outcome 'x' of question 2"), "{unknown}");
    }
}
