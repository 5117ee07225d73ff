//! The outcomes of questions as one text, a character each.

use crate::rows::words::AnswerOutcome;

/// Outcomes as `+-?`.
#[must_use]
pub fn write_outcomes(outcomes: &[AnswerOutcome]) -> String {
    let one = |outcome: &AnswerOutcome| match outcome {
        AnswerOutcome::Right => '+',
        AnswerOutcome::Wrong => '-',
        AnswerOutcome::Undetermined => '?',
    };
    outcomes.iter().map(one).collect()
}

/// The outcomes of such a text; `None` if it has another character.
#[must_use]
pub fn read_outcomes(text: &str) -> Option<Vec<AnswerOutcome>> {
    let one = |c| match c {
        '+' => Some(AnswerOutcome::Right),
        '-' => Some(AnswerOutcome::Wrong),
        '?' => Some(AnswerOutcome::Undetermined),
        _ => None,
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_their_text() {
        assert_eq!(write_outcomes(&read_outcomes("+-?+").unwrap()), "+-?+");
        assert_eq!(read_outcomes("+x"), None);
    }
}
