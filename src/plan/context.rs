//! What a check knows besides the text of the plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::ModelFacts;
use crate::engines::framework::Frameworks;
use crate::engines::help::Helps;
use crate::rows::kinds::PlanCheck;

/// What to do with a flag that is missing from the captured `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFlags {
    /// Use another known name of it if the help has that; otherwise an error.
    Translate,
    /// Drop the knob from `search_space`; an error in `base_server_flags`.
    Drop,
    /// Skip the candidates that have it.
    Reject,
    /// Report an error.
    Fail,
}

/// Everything a check uses besides the plan's own text.
#[derive(Debug)]
pub struct CheckContext<'a> {
    /// The framework definitions.
    pub frameworks: &'a Frameworks,
    /// Captured help.
    pub helps: Helps,
    /// What to do with a flag that is missing from the captured `--help`.
    pub unknown: UnknownFlags,
    /// Do not check that the version supports each knob.
    pub any_version: bool,
    /// True: a framework whose help cannot be captured is skipped; false: it is an error.
    pub allow_missing: bool,
    /// GPU model to assume if the plan names none.
    pub gpu: Option<String>,
    /// Facts about models from local folders, by the path in the plan.
    pub models: BTreeMap<String, ModelFacts>,
    /// Option files on this host, by the path in the plan.
    pub options: BTreeMap<String, Value>,
    /// Absolute paths in the plan's commands that exist on this host.
    pub paths: BTreeSet<String>,
    /// The home folder of this process's user.
    pub home: Option<String>,
    /// The results of an earlier check, which are used again.
    pub checked: Option<PlanCheck>,
}

impl<'a> CheckContext<'a> {
    /// What is known about a model: from its files, otherwise by its name.
    #[must_use]
    pub fn facts(&self, model: &str) -> Option<ModelFacts> {
        self.models.get(model).cloned().or_else(|| ModelFacts::named(model))
    }

    /// A context with the definitions and the home folder alone.
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
            paths: BTreeSet::new(),
            home: std::env::var("HOME").ok().filter(|home| home.starts_with('/')),
            checked: None,
        }
    }
}
