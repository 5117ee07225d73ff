//! What is wrong with a plan, and where.

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing; nothing is wrong with the plan.
    Note,
    /// The plan works, but not as somebody might think.
    Warning,
    /// The plan gives no row.
    Error,
}

/// One thing that is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// JSON pointer to what it is about.
    pub pointer: String,
    /// It is about the key and not its value.
    pub key: bool,
    /// What is wrong and what to do.
    pub message: String,
}

impl Finding {
    /// About a value.
    pub fn value(level: Level, pointer: &str, message: String) -> Self {
        Self { level, pointer: pointer.to_string(), key: false, message }
    }

    /// About a key.
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
