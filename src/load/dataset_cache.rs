//! The datasets of a bench-load, each read once.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::dataset::DatasetEntry;
use super::options::DatasetReader;
use crate::base::error::{Error, Result};
use crate::rows::kinds::Scenario;

/// The SHA-256 of a file, and its rows.
type DatasetRows = Rc<(String, Vec<DatasetEntry>)>;

/// Datasets by their path.
pub struct DatasetCache {
    read: DatasetReader,
    files: BTreeMap<String, DatasetRows>,
}

impl DatasetCache {
    /// An empty one, which reads files with `read`.
    pub fn new(read: DatasetReader) -> Self {
        Self { read, files: BTreeMap::new() }
    }

    /// The rows of a scenario's dataset; empty for generated prompts.
    ///
    /// # Errors
    /// When the file cannot be read, or is not the one that the plan was expanded with.
    pub fn rows(&mut self, scenario: &Scenario) -> Result<DatasetRows> {
        let Some(dataset) = &scenario.dataset else { return Ok(Rc::default()) };
        let rows = match self.files.get(&dataset.path) {
            Some(rows) => rows.clone(),
            None => Rc::new((self.read)(dataset)?),
        };
        self.files.insert(dataset.path.clone(), rows.clone());
        if rows.0 != dataset.sha256 {
            return Err(Error::new("the dataset has changed since the plan was expanded").at(dataset.path.clone()));
        }
        Ok(rows)
    }
}
