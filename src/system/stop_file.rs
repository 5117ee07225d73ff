//! The wish that a sweep ends after its current run: a file `stop` in its folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::process::proc::SWEEP_MARK;
use crate::base::error::{Error, Result};

/// The file's name.
const NAME: &str = "stop";

/// The file of a sweep's folder.
#[must_use]
pub fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// True if the sweep that started this program is to end after the current run.
#[must_use]
pub fn is_asked() -> bool {
    std::env::var_os(SWEEP_MARK).is_some_and(|folder| path(Path::new(&folder)).exists())
}

/// Removes the file, if there is one.
///
/// # Errors
/// When it cannot be removed.
pub fn forget(folder: &Path) -> Result<()> {
    let path = path(folder);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::new("cannot remove the file").because(e).at(path.display().to_string()))
        }
        _ => Ok(()),
    }
}

/// Asks the sweep in `folder` to end after its current run.
///
/// # Errors
/// When the file cannot be written.
pub fn ask(folder: &Path) -> Result<()> {
    let path = path(folder);
    std::fs::write(&path, "").map_err(|e| Error::new("cannot write the file").because(e).at(path.display().to_string()))
}
