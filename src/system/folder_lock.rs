//! The lock of a sweep's folder: one sweep at a time, and nothing of an earlier one beside it.
//!
//! The running bench-sweep holds a lock of the kernel on `.lock`, which names it. Its programs end with it, but a server needs
//! some time to stop: until then they are found by the folder's name in their environment ([`SWEEP_MARK`]).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::lock_file::{LockFailure, LockedFile, lock};
use super::process::proc::{SWEEP_MARK, with_variable};
use crate::base::error::{Error, Result};

/// How the names of this package's programs begin.
const OURS: &str = "bench-";
/// How long to wait for programs of an earlier sweep that are ending already.
const PATIENCE: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(50);

/// A folder that this process has for itself.
#[derive(Debug)]
pub struct FolderLock {
    folder: PathBuf,
    _file: LockedFile,
}

impl FolderLock {
    /// Takes the lock of a folder.
    ///
    /// # Errors
    /// Another sweep or a program of an earlier one is at work in it, by its name and process id; or the lock's file cannot be
    /// written.
    pub fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(".lock");
        let at = |e: std::io::Error| Error::new("cannot lock the folder").because(e).at(path.display().to_string());
        let file = lock(&path, 0o640, "").map_err(|failure| match failure {
            // Who just took the lock may not have written its name yet.
            LockFailure::Held(by) => busy("bench-sweep", by.pid.as_deref(), folder),
            LockFailure::System(e) => at(e),
        })?;
        Ok(Self { folder: folder.canonicalize().map_err(at)?, _file: file })
    }

    /// True if a sweep runs in the folder.
    #[must_use]
    pub fn is_held(folder: &Path) -> bool {
        matches!(lock(&folder.join(".lock"), 0o640, ""), Err(LockFailure::Held(_)))
    }

    /// The folder's full path, which is the value of [`SWEEP_MARK`].
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until no program of a sweep in this folder is left.
    ///
    /// # Errors
    /// The program that is still there after 15 s.
    pub fn wait_until_alone(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let ours = with_variable(SWEEP_MARK, self.folder.as_os_str());
            let Some(process) = ours.iter().find(|process| process.name().starts_with(OURS)) else { return Ok(()) };
            if begun.elapsed() > PATIENCE {
                return Err(busy(process.name(), Some(&process.pid.to_string()), &self.folder));
            }
            std::thread::sleep(TICK);
        }
    }
}

fn busy(program: &str, pid: Option<&str>, folder: &Path) -> Error {
    let who = pid.map_or_else(|| program.to_string(), |pid| format!("{program} (pid {pid})"));
    let why = format!("{who} is still running; wait for it, or stop it with kill -INT {}", pid.unwrap_or("PID"));
    Error::new(why).at(folder.display().to_string())
}

/// An error of creating a folder.
#[must_use]
pub fn cannot_create(folder: &Path, because: std::io::Error) -> Error {
    let what = match because.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "this is not a folder",
        _ => "cannot create the folder",
    };
    Error::new(what).because(because).at(folder.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        first.wait_until_alone().unwrap();
        let why = FolderLock::take(folder.path()).unwrap_err().to_string();
        let pid = std::process::id();
        let said = format!("bench-sweep (pid {pid}) is still running; wait for it, or stop it with kill -INT {pid}");
        assert!(why.ends_with(&said), "{why}");
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }
}
