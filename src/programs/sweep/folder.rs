//! The files of a sweep's folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::base::error::Result;
use crate::base::notice::Notice;
use crate::base::span::span;
use crate::programs::stdio;
use crate::rows::kinds::NodeRow;
use crate::rows::words::{Stage, Status};
use crate::system::folder_lock::{FolderLock, cannot_create};
use crate::system::whole_file::remove_parts;

/// The folders of the nodes of a shared sweep, in its folder.
const NODES: &str = "nodes";
/// Most sweeps of one node in a shared folder at once: one for each of its GPUs.
const MOST_SLOTS: usize = 64;

/// A sweep's folder.
#[derive(Debug, Clone)]
pub struct SweepFolder {
    root: PathBuf,
    /// The folder of all nodes, where several share a sweep.
    nodes: Option<PathBuf>,
}

impl SweepFolder {
    /// The folder at `path`, which need not exist: of one sweep, or of one that several nodes share.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        let nodes = Some(path.join(NODES)).filter(|nodes| nodes.is_dir());
        Self { root: path, nodes }
    }

    /// The folder of a node that shares the sweep in `shared`.
    #[must_use]
    pub fn of_node(shared: &Path, node: &str) -> Self {
        let nodes = shared.join(NODES);
        Self { root: nodes.join(node), nodes: Some(nodes) }
    }

    /// A folder of this node in the shared sweep that no other sweep is using, and its lock.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn free_of_node(shared: &Path, node: &str) -> Result<(Self, FolderLock)> {
        let mut slot = 1;
        loop {
            let name = if slot == 1 { node.to_string() } else { format!("{node}.{slot}") };
            let folder = Self::of_node(shared, &name);
            folder.create()?;
            match FolderLock::take(folder.root()) {
                Ok(lock) => return Ok((folder, lock)),
                Err(_) if slot < MOST_SLOTS && FolderLock::is_held(folder.root())? => slot += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// The folders whose rows are of this sweep, its own first if it has one.
    fn all(&self) -> Vec<PathBuf> {
        let Some(nodes) = &self.nodes else { return vec![self.root.clone()] };
        let entries = std::fs::read_dir(nodes).into_iter().flatten().flatten();
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
        all.sort_by_key(|path| (*path != self.root, path.clone()));
        all
    }

    /// True if a sweep runs in it, and the nodes that share it and run.
    ///
    /// # Errors
    /// A lock's file that cannot be read.
    pub fn running(&self) -> Result<(bool, Vec<String>)> {
        let mut held = Vec::new();
        for folder in self.all() {
            if FolderLock::is_held(&folder)? {
                held.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
            }
        }
        Ok((!held.is_empty(), if self.nodes.is_some() { held } else { Vec::new() }))
    }

    /// Creates it, with those in it.
    ///
    /// # Errors
    /// What the system reports.
    pub fn create(&self) -> Result<()> {
        [self.path("raw"), self.path("help"), self.path("logs")]
            .iter()
            .try_for_each(|folder| std::fs::create_dir_all(folder).map_err(|e| cannot_create(folder, e)))
    }

    /// Removes the incomplete files of programs that were killed.
    pub fn remove_parts(&self) {
        let logs = std::fs::read_dir(self.path("logs")).into_iter().flatten().flatten().map(|entry| entry.path());
        let all = [self.root.clone(), self.path("help"), self.path("logs")].into_iter().chain(logs);
        all.for_each(|folder| remove_parts(&folder));
    }

    /// Its own path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of what is in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path of what every node of a shared sweep has: that of the first that has it.
    #[must_use]
    pub fn common(&self, name: &str) -> PathBuf {
        let found = self.all().into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.unwrap_or_else(|| self.path(name))
    }

    /// The files of all nodes with raw rows, those of each in the order of the sweeps that wrote them.
    #[must_use]
    pub fn raw_files(&self) -> Vec<PathBuf> {
        self.all().iter().flat_map(|folder| raw_files(folder)).collect()
    }

    /// The path of the next one.
    #[must_use]
    pub fn next_raw_file(&self) -> PathBuf {
        let last = raw_files(&self.root).iter().filter_map(|path| number(path)).max().unwrap_or(0);
        self.path("raw").join(format!("{:04}.jsonl", last + 1))
    }
}

fn raw_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("raw")).into_iter().flatten().flatten();
    // One without rows may be removed meanwhile: its node had nothing to measure.
    let has_rows = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|found| found.len() > 0);
    let rows = entries.filter(has_rows).map(|entry| entry.path());
    let mut files: Vec<PathBuf> = rows.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    files.sort_by_key(|path| (number(path), path.clone()));
    files
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// The runs that candidate rows ask for.
#[derive(Debug, Default)]
pub struct PlannedRuns {
    /// Their keys.
    pub units: BTreeSet<String>,
    /// The frameworks, in their order.
    pub frameworks: Vec<String>,
}

/// Reads the candidates that are to be run.
///
/// # Errors
/// When the file cannot be read.
pub fn planned(candidates: &Path, notice: &'static Notice) -> Result<PlannedRuns> {
    let mut planned = PlannedRuns::default();
    for row in stdio::rows(&[candidates.to_path_buf()], notice) {
        let (row, _) = row?;
        if row.record() == Some("candidate") && row.get("status").is_none() {
            let units = row.get("units").and_then(Value::as_array).into_iter().flatten();
            planned.units.extend(units.filter_map(|unit| unit["key"].as_str()).map(String::from));
            let framework = row.str("framework").unwrap_or_default();
            if !planned.frameworks.iter().any(|known| known == framework) {
                planned.frameworks.push(framework.into());
            }
        }
    }
    Ok(planned)
}

/// The number of runs that candidate rows ask for.
///
/// # Errors
/// When the file cannot be read.
pub fn runs(candidates: &Path, notice: &'static Notice) -> Result<usize> {
    planned(candidates, notice).map(|planned| planned.units.len())
}

/// The frameworks of the plan of which no result row says that they were started.
///
/// # Errors
/// When a file cannot be read.
pub fn never_started(planned: &PlannedRuns, results: &Path, notice: &'static Notice) -> Result<Vec<String>> {
    let mut started = BTreeSet::new();
    for row in stdio::rows(&[results.to_path_buf()], notice) {
        let (row, _) = row?;
        if row.record() == Some("result") && row.str("status") != Some(Status::Skipped.as_str()) {
            started.extend(row.str("framework").map(String::from));
        }
    }
    Ok(planned.frameworks.iter().filter(|name| !started.contains(*name)).cloned().collect())
}

/// The stage of candidate rows, `None` if they are of no stage, and the number of runs that they ask for.
///
/// # Errors
/// When the file cannot be read.
pub fn next_stage(candidates: &Path, notice: &'static Notice) -> Result<(Option<Stage>, usize)> {
    let runs = runs(candidates, notice)?;
    for row in stdio::rows(&[candidates.to_path_buf()], notice) {
        let (row, _) = row?;
        let stage = row.get("search").and_then(|search| search.get("stage")?.as_str()?.parse().ok());
        if let Some(stage) = stage.filter(|_| row.get("status").is_none()) {
            return Ok((Some(stage), runs));
        }
    }
    Ok((None, runs))
}

/// The time in which each plan is to be swept, if it says one (`search.fit`).
///
/// # Errors
/// When the file cannot be read.
pub fn times(plans: &Path, notice: &'static Notice) -> Result<Vec<Option<Duration>>> {
    let mut all = Vec::new();
    for row in stdio::rows(&[plans.to_path_buf()], notice) {
        let (row, _) = row?;
        if row.record() == Some("plan") {
            all.push(row.get("search").and_then(|search| span(search.get("fit")?.as_str()?).ok()));
        }
    }
    Ok(all)
}

/// True if a plan has stages.
///
/// # Errors
/// When the file cannot be read.
pub fn is_staged(plans: &Path, notice: &'static Notice) -> Result<bool> {
    for row in stdio::rows(&[plans.to_path_buf()], notice) {
        let (row, _) = row?;
        let stages = row.get("search").and_then(|search| search.get("stages")?.as_u64());
        if row.record() == Some("plan") && stages.is_some_and(|stages| stages > 1) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The nodes of result rows.
///
/// # Errors
/// When the file cannot be read.
pub fn nodes(results: &Path, notice: &'static Notice) -> Result<Vec<NodeRow>> {
    let mut nodes = Vec::new();
    for row in stdio::rows(&[results.to_path_buf()], notice) {
        let (row, place) = row?;
        if row.record() == Some("node") {
            nodes.push(row.view().map_err(|e| e.at(place))?);
        }
    }
    Ok(nodes)
}

/// True if there is any result row.
///
/// # Errors
/// When the file cannot be read.
pub fn has_rows(results: &Path, notice: &'static Notice) -> Result<bool> {
    for row in stdio::rows(&[results.to_path_buf()], notice) {
        if row?.0.record() == Some("result") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// True if any result row has metrics.
///
/// # Errors
/// When the file cannot be read.
pub fn has_results(results: &Path, notice: &'static Notice) -> Result<bool> {
    for row in stdio::rows(&[results.to_path_buf()], notice) {
        let (row, _) = row?;
        if row.record() == Some("result") && row.str("status") == Some(Status::Ok.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_files_with_rows_are_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = SweepFolder::at(folder.path().to_path_buf());
        sweep.create().unwrap();
        assert!(sweep.next_raw_file().ends_with("raw/0001.jsonl"));
        for name in ["10000.jsonl", "0002.jsonl", "notes.txt", "9999.jsonl"] {
            std::fs::write(sweep.path("raw").join(name), "{}\n").unwrap();
        }
        // A pipe of another node that has not written anything, and may never do.
        std::fs::write(sweep.path("raw").join("0003.jsonl"), "").unwrap();
        let names: Vec<String> =
            sweep.raw_files().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["0002.jsonl", "9999.jsonl", "10000.jsonl"]);
        assert!(sweep.next_raw_file().ends_with("raw/10001.jsonl"));
    }
}
