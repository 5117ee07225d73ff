//! Plans: which keys there are, what they may hold, what is wrong with one.

pub mod check;
mod frameworks;
mod read;
pub mod shape;

pub use read::{DEFAULT_QPS, FrameworkPlan, Plan};

use serde_json::Value;

use crate::framework::Frameworks;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
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

    fn error(pointer: &str, message: impl Into<String>) -> Self {
        Self::value(Level::Error, pointer, message.into())
    }

    fn warning(pointer: &str, message: impl Into<String>) -> Self {
        Self::value(Level::Warning, pointer, message.into())
    }
}

/// Checks a plan as its file or row gives it, all findings at once; the plan itself when none of them is an error.
pub fn load(value: &Value, frameworks: &Frameworks) -> (Vec<Finding>, Option<Plan>) {
    let mut found = Vec::new();
    shape::check(value, &shape::PLAN, "", &mut found);
    // What is not even shaped right would only be found again, in other words.
    let shaped = !found.iter().any(|f| f.level == Level::Error && !f.key);
    if shaped {
        check::check(value, &mut found);
        frameworks::check(value, frameworks, &mut found);
    }
    let plan = found.iter().all(|f| f.level != Level::Error).then(|| Plan::read(value));
    (found, plan)
}
