//! Files that only their owner can read.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::base::error::{Error, Result};

/// Creates a file that only its owner can read.
///
/// # Errors
/// When the file already exists, or what the system reports.
pub fn create_private(path: &Path) -> Result<File> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.map_err(|e| Error::new("cannot create the file").because(e).at(path.display().to_string()))
}
