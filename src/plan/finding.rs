//! What is wrong with a plan, and where.

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Information: the plan is correct.
    Note,
    /// The plan works, but perhaps not as intended.
    Warning,
    /// The plan cannot be used: no row is written.
    Error,
}

/// One finding about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// JSON pointer to its subject.
    pub pointer: String,
    /// True: it is about the key; false: about the value.
    pub key: bool,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Finding {
    /// A finding about a value.
    pub fn value(level: Level, pointer: &str, message: String) -> Self {
        Self { level, pointer: pointer.to_string(), key: false, message }
    }

    /// A finding about a key.
    pub fn key(level: Level, pointer: &str, message: String) -> Self {
        Self { level, pointer: pointer.to_string(), key: true, message }
    }

    pub(super) fn error(pointer: &str, message: impl Into<String>) -> Self {
        Self::value(Level::Error, pointer, message.into())
    }

    pub(super) fn warning(pointer: &str, message: impl Into<String>) -> Self {
        Self::value(Level::Warning, pointer, message.into())
    }

    pub(super) fn note(pointer: &str, message: impl Into<String>) -> Self {
        Self::value(Level::Note, pointer, message.into())
    }
}
