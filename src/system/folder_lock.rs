//! The lock of a sweep's folder: one sweep at a time, and nothing of an earlier one beside it.
//!
//! The running bench-sweep holds a lock of the kernel on `.lock`, which names it. Its programs end with it, but a server needs
//! some time to stop: until then they are found by the folder's name in their environment ([`SWEEP_MARK`]).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::lock_file::{LockFailure, LockedFile, is_locked, lock};
use super::process::proc::{SWEEP_MARK, with_variable};
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;

/// The lock's file in the folder.
const LOCK: &str = ".lock";
/// How long a look at the lock may take.
const LOOK: Duration = Duration::from_millis(200);
/// How the names of this package's programs begin.
const OURS: &str = "bench-";
/// How long to wait for programs of an earlier sweep that are ending already.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait without a word.
const SILENCE: Duration = Duration::from_secs(1);
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
        let path = folder.join(LOCK);
        let begun = Instant::now();
        let file = loop {
            match lock(&path, 0o640, "") {
                Ok(file) => break file,
                // --status has it for a moment.
                Err(LockFailure::Held(_)) if begun.elapsed() < LOOK => std::thread::sleep(TICK),
                // Who just took the lock may not have written its name yet.
                Err(LockFailure::Held(by)) => return Err(busy("bench-sweep", by.pid.as_deref(), folder)),
                Err(LockFailure::System(e)) => return Err(cannot_lock(&path, e)),
            }
        };
        Ok(Self { folder: folder.canonicalize().map_err(|e| cannot_lock(&path, e))?, _file: file })
    }

    /// True if a sweep runs in the folder, which is only read.
    ///
    /// # Errors
    /// The lock's file cannot be read.
    pub fn is_held(folder: &Path) -> Result<bool> {
        let path = folder.join(LOCK);
        is_locked(&path).map_err(|e| cannot_lock(&path, e))
    }

    /// The folder's full path, which is the value of [`SWEEP_MARK`].
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until no program of a sweep in this folder is left, and after a second says for which one.
    ///
    /// # Errors
    /// The program that is still there after 15 s.
    pub fn wait_until_alone(&self, notice: &Notice) -> Result<()> {
        let begun = Instant::now();
        let mut is_said = false;
        loop {
            let ours = with_variable(SWEEP_MARK, self.folder.as_os_str());
            let Some(process) = ours.iter().find(|process| process.name().starts_with(OURS)) else { return Ok(()) };
            if begun.elapsed() > PATIENCE {
                return Err(busy(process.name(), Some(&process.pid.to_string()), &self.folder));
            }
            if begun.elapsed() > SILENCE && !is_said {
                let (program, pid, limit) = (process.name(), process.pid, PATIENCE.as_secs());
                notice.say(format!(
                    "waiting up to {limit} s for {program} (pid {pid}), which a sweep in this folder left, to end"
                ));
                is_said = true;
            }
            std::thread::sleep(TICK);
        }
    }
}

fn cannot_lock(path: &Path, because: std::io::Error) -> Error {
    Error::new("cannot lock the folder").because(because).at(path.display().to_string())
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
        first.wait_until_alone(&Notice::new("bench-sweep", false)).unwrap();
        let why = FolderLock::take(folder.path()).unwrap_err().to_string();
        let pid = std::process::id();
        let said = format!("bench-sweep (pid {pid}) is still running; wait for it, or stop it with kill -INT {pid}");
        assert!(why.ends_with(&said), "{why}");
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_look_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK);
        assert!(!FolderLock::is_held(folder.path()).unwrap() && !path.exists());
        let held = FolderLock::take(folder.path()).unwrap();
        assert!(FolderLock::is_held(folder.path()).unwrap());
        drop(held);
        std::fs::write(&path, "as it was").unwrap();
        assert!(!FolderLock::is_held(folder.path()).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "as it was");
    }
}
