//! What a check knows besides the text of the plan.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::ModelFacts;
use crate::engines::framework::Frameworks;
use crate::engines::help::Helps;
use crate::rows::kinds::PlanCheck;

/// What becomes of a flag that captured help has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFlags {
    /// A known other name of it is used where the help has that; else it is an error.
    Translate,
    /// A knob of the search is left out; in the base it is an error.
    Drop,
    /// Candidates with it are not run.
    Reject,
    /// It is an error.
    Fail,
}

/// What is known beside a plan's own text.
#[derive(Debug)]
pub struct CheckContext<'a> {
    /// The definitions.
    pub frameworks: &'a Frameworks,
    /// Captured help.
    pub helps: Helps,
    /// What becomes of a flag that captured help has not.
    pub unknown: UnknownFlags,
    /// Leave the version ranges of knobs aside.
    pub any_version: bool,
    /// A framework that cannot be asked for its help is left out; else that is an error.
    pub allow_missing: bool,
    /// The GPU, where the plan names none.
    pub gpu: Option<String>,
    /// What local folders tell about models, by the plan's path.
    pub models: BTreeMap<String, ModelFacts>,
    /// Option files of this host, by the plan's path.
    pub options: BTreeMap<String, Value>,
    /// What an earlier check found out: it is taken over.
    pub checked: Option<PlanCheck>,
}

impl<'a> CheckContext<'a> {
    /// Nothing but the definitions.
    #[must_use]
    pub fn only(frameworks: &'a Frameworks) -> Self {
        Self {
            frameworks,
            helps: Helps::default(),
            unknown: UnknownFlags::Fail,
            any_version: false,
            allow_missing: false,
            gpu: None,
            models: BTreeMap::new(),
            options: BTreeMap::new(),
            checked: None,
        }
    }
}
