//! The words of a check of answers.

use super::words;

words! {
    /// What a check of answers says.
    #[derive(Default)]
    pub enum CheckVerdict, "check verdict" {
        /// No more answers are wrong than chance explains, and none belongs to another request
        Same = "same",
        /// More answers are wrong than those of its own baseline, beyond chance
        Worse = "worse",
        /// Some answer belongs to another request
        CrossTalk = "cross_talk",
        /// Checked, but it cannot be told: no baseline to compare with, answers cut short, or a model that cannot do it
        Undetermined = "undetermined",
        /// Nothing was checked
        #[default]
        NotChecked = "not_checked",
    }
}

impl CheckVerdict {
    /// True if a candidate with this verdict never wins.
    #[must_use]
    pub fn is_out(self) -> bool {
        match self {
            Self::Worse | Self::CrossTalk => true,
            Self::Same | Self::Undetermined | Self::NotChecked => false,
        }
    }

    /// The verdict of two together: what was found to be wrong counts most, and what is unknown more than what is right.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let weight = |verdict: Self| match verdict {
            Self::NotChecked => 0,
            Self::Same => 1,
            Self::Undetermined => 2,
            Self::Worse => 3,
            Self::CrossTalk => 4,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

words! {
    /// A part of a check of answers.
    pub enum CheckPart, "part of a check" {
        /// Requests that each carry a nonce and ask to repeat it
        CrossTalk = "cross_talk",
        /// Questions whose answers are known
        Answers = "answers",
        /// How answers end, how long they are, and whether they are text
        Shape = "shape",
        /// The beginning of greedy answers
        Agreement = "agreement",
    }
}

words! {
    /// Which candidates get a check of their answers.
    #[derive(Default)]
    pub enum CheckScope, "scope of a check" {
        /// Every candidate
        All = "all",
        /// Each that meets its SLA and is the best of its framework so far
        Winners = "winners",
        /// None
        #[default]
        None = "none",
    }
}

words! {
    /// How the answer to a question is taken from a text.
    pub enum Extract, "way to extract an answer" {
        /// The last number
        Number = "number",
        /// The last letter that stands alone, A to J
        Choice = "choice",
        /// The whole text, apart from space, quotes and a full stop around it
        Exact = "exact",
        /// The text matches the answer, a regular expression
        Regex = "regex",
    }
}

words! {
    /// One question's outcome.
    pub enum AnswerOutcome, "outcome of a question" {
        /// The answer is right
        Right = "right",
        /// The answer is wrong
        Wrong = "wrong",
        /// The answer was cut short or never came
        Undetermined = "undetermined",
    }
}
