//! Files that only their owner can read, and the folder that they are in.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::base::error::{Error, Result};
use crate::system::folder_lock::cannot_create;
use crate::system::lease::private_folder;

/// Creates a file that only its owner can read.
///
/// # Errors
/// When the file already exists, or what the system reports.
pub fn create_private(path: &Path) -> Result<File> {
    let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.map_err(|e| Error::new("cannot create the file").because(e).at(path.display().to_string()))
}

/// Creates the folder of the artifacts of all starts, if it is not there.
///
/// # Errors
/// When it cannot be created, or nothing can be written into it: no start would succeed.
pub fn artifacts_folder(path: &Path) -> Result<()> {
    private_folder(path).map_err(|e| cannot_create(path, e))?;
    let writable = access(path, AccessFlags::W_OK | AccessFlags::X_OK).map_err(std::io::Error::from);
    writable.map_err(|e| Error::new("cannot write into this folder").because(e).at(path.display().to_string()))
}
