//! A search space, and the changes of one candidate in it.

use serde_json::Value;

use crate::rows::kinds::Members;

/// Knobs and their values, in the plan's order.
pub type Space = [(String, Vec<Value>)];

/// True if a set of changes may run.
pub type Allowed<'a> = dyn Fn(&Members) -> bool + 'a;

/// The changes of a candidate, and why it is run.
#[derive(Debug, Clone, PartialEq)]
pub struct KnobChange {
    /// Knobs and values; null removes a knob.
    pub set: Members,
    /// In a few words.
    pub why: String,
}

impl KnobChange {
    /// A set of changes and its reason.
    pub fn new(set: Members, why: &str) -> Self {
        Self { set, why: why.to_string() }
    }
}
