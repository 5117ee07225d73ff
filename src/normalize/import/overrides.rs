//! What the user sets of the rows that are made of other clients' results.

use serde_json::Value;

use super::name_pattern::NamePattern;
use super::repeats::REPEAT;
use crate::base::error::{Error, Result};
use crate::rows::kinds::ResultRow;

/// Members that a file lacks, set by the user.
#[derive(Debug, Clone, Default)]
pub struct ImportOverrides {
    /// A `candidate` row: framework, command, scenario, limits, GPUs.
    pub candidate: Option<Value>,
    /// Members of the row by place: `framework`, `workload/scenario`, `hardware/gpu_count`.
    pub set: Vec<(String, Value)>,
    /// Name of the file without its extension, for results that do not name a candidate.
    pub name: String,
    /// What the files of one candidate have in common, if its name says that it is one of several.
    pub shared: Option<String>,
    /// What the names of files state.
    pub pattern: Option<NamePattern>,
}

impl ImportOverrides {
    /// True if the user or the folder sets this member.
    pub(super) fn sets(&self, place: &str) -> bool {
        self.candidate.is_some() || self.set.iter().any(|(set, _)| set == place)
    }

    /// The index of the repeat, if it is set.
    pub(super) fn repeat(&self) -> Option<u32> {
        let (_, value) = self.set.iter().rev().find(|(place, _)| place == REPEAT)?;
        u32::try_from(value.as_u64()?).ok()
    }
}

/// A row from its members, some of which were set by the user.
///
/// # Errors
/// A member that is missing or of the wrong type.
pub fn typed(members: Value) -> Result<ResultRow> {
    serde_path_to_error::deserialize(&members)
        .map_err(|e| Error::new("--candidate or --set does not fit a result row").because(e))
}
