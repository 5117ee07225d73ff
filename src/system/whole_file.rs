//! A file that has all of its content or that of before, whenever its writer is stopped and however full the disk is.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::base::error::{Error, Result};

/// How the names of files begin that are not complete yet; `PART_END` is how they end.
const PART_START: &str = ".";
const PART_END: &str = ".part";
/// The umask takes away from these.
const MODE: u32 = 0o640;
/// Of a file that only its owner can read.
const OWNER_MODE: u32 = 0o600;

/// A file that is being written.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    place: Place,
}

/// Where the content goes meanwhile.
#[derive(Debug)]
enum Place {
    /// Into a file beside the one that it replaces.
    Beside(NamedTempFile),
    /// Into the file itself, which is a device or a pipe.
    Itself(File),
}

impl WholeFile {
    /// Starts to write the file at `path`. A link stays: the file that it names is replaced.
    ///
    /// # Errors
    /// When nothing can be created in its folder.
    pub fn create(path: &Path) -> Result<Self> {
        let cannot = |e| cannot_write(path, e);
        let place = match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(cannot(ErrorKind::IsADirectory.into())),
            Ok(found) if !found.is_file() => Place::Itself(OpenOptions::new().write(true).open(path).map_err(cannot)?),
            Ok(_) => Place::Beside(beside(&path.canonicalize().map_err(cannot)?).map_err(cannot)?),
            Err(e) if e.kind() == ErrorKind::NotFound => Place::Beside(beside(path).map_err(cannot)?),
            Err(e) => return Err(cannot(e)),
        };
        Ok(Self { path: path.to_path_buf(), place })
    }

    /// Where to write the content.
    #[must_use]
    pub fn file(&self) -> &File {
        match &self.place {
            Place::Beside(file) => file.as_file(),
            Place::Itself(file) => file,
        }
    }

    /// Gives the file its name, once its content is on the disk.
    ///
    /// # Errors
    /// When the disk does not take it: then the file of before stays.
    pub fn keep(self) -> Result<()> {
        let cannot = |e| cannot_write(&self.path, e);
        let Place::Beside(file) = self.place else { return Ok(()) };
        file.as_file().sync_all().map_err(cannot)?;
        // A link that was made meanwhile is followed as in `create`.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        file.persist(&path).map_err(|e| cannot(e.error))?;
        // The name itself is on the disk once the folder is; some file systems cannot sync folders.
        let _ = File::open(folder(&path)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

/// Creates a file to which rows are appended one by one.
///
/// # Errors
/// When it exists, or cannot be created.
pub fn create_appended(path: &Path) -> Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).mode(MODE).open(path);
    file.map_err(|e| Error::new("cannot create this file").because(e).at(path.display().to_string()))
}

/// An error of writing the file at `path`.
#[must_use]
pub fn cannot_write(path: &Path, because: std::io::Error) -> Error {
    let stays = if path.is_file() { ", so the file of before stays" } else { "" };
    Error::new(format!("cannot write this file{stays}")).because(because).at(path.display().to_string())
}

/// Removes what writers that were killed left in `folder`. Only for who knows that nobody writes there.
pub fn remove_parts(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PART_START) && name.ends_with(PART_END) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A file in `folder` that only its owner can read, which is to become `path`.
///
/// # Errors
/// The error of the system.
pub fn part_in(folder: &Path, path: &Path) -> std::io::Result<NamedTempFile> {
    part(folder, path, OWNER_MODE)
}

fn beside(path: &Path) -> std::io::Result<NamedTempFile> {
    part(folder(path), path, MODE)
}

fn part(folder: &Path, path: &Path, mode: u32) -> std::io::Result<NamedTempFile> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
    let prefix = format!("{PART_START}{name}.");
    // Opened here: an error of tempfile itself names the file in addition, which no user asked for.
    let open = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path);
    tempfile::Builder::new().prefix(&prefix).suffix(PART_END).make_in(folder, open)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_is_whole_or_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("report.md"), folder.path().join("latest.md"));
        let write = |path: &Path, text: &str| {
            let file = WholeFile::create(path).unwrap();
            file.file().write_all(text.as_bytes()).unwrap();
            file
        };
        write(&path, "one").keep().unwrap();
        drop(write(&path, "two"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        std::os::unix::fs::symlink("report.md", &link).unwrap();
        write(&link, "three").keep().unwrap();
        assert!(link.is_symlink() && std::fs::read_to_string(&path).unwrap() == "three");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
        assert!(create_appended(&path).is_err(), "rows of before are never touched");
    }

    #[test]
    fn a_device_is_written_and_stays_a_device() {
        let null = Path::new("/dev/null");
        let file = WholeFile::create(null).unwrap();
        file.file().write_all(b"x").unwrap();
        file.keep().unwrap();
        assert!(!null.is_file());
        assert!(WholeFile::create(Path::new("/dev")).is_err());
    }

    #[test]
    fn parts_of_the_dead_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let part = WholeFile::create(&folder.path().join("report.md")).unwrap();
        std::mem::forget(part);
        std::fs::write(folder.path().join("report.md"), "whole").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        remove_parts(folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
