//! What is wrong with a plan, and where.

pub use crate::rows::words::FindingLevel as Level;

use crate::rows::words::FindingCode;

/// One finding about a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about; says its severity too.
    pub code: FindingCode,
    /// JSON pointer to its subject.
    pub pointer: String,
    /// True: it is about the key; false: about the value.
    pub key: bool,
    /// What is wrong, and what to do about it.
    pub message: String,
}

impl Finding {
    /// A finding about a value.
    pub fn value(code: FindingCode, pointer: &str, message: impl Into<String>) -> Self {
        Self { code, pointer: pointer.to_string(), key: false, message: message.into() }
    }

    /// A finding about a key.
    pub fn key(code: FindingCode, pointer: &str, message: impl Into<String>) -> Self {
        Self { key: true, ..Self::value(code, pointer, message) }
    }

    /// Its severity.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.code.level()
    }
}
