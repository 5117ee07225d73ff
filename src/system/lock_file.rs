//! A file that at most one process has locked, with the name of that process in it. The kernel holds the lock for as long as
//! the process lives, so nothing has to be cleaned up.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::process::proc::owner;

/// A lock that this process has.
pub type LockedFile = Flock<File>;

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockFailure {
    /// Another process has it.
    Held(LockHolder),
    /// What the system reports.
    System(Error),
}

/// What the process that has a lock wrote into its file.
#[derive(Debug)]
pub struct LockHolder {
    /// Its id; `None` if it has not written it yet.
    pub pid: Option<String>,
    /// The note that it left.
    pub note: String,
}

impl From<Error> for LockFailure {
    fn from(error: Error) -> Self {
        Self::System(error)
    }
}

/// True if a process has the lock of the file at `path`, which is only read.
///
/// # Errors
/// The file cannot be read, except that there is none.
pub fn is_locked(path: &Path) -> Result<bool, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    // Others may look at the same time.
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Takes the lock of the file at `path`, which is made with this mode, and leaves a note in it.
///
/// # Errors
/// Another process has it, or the file cannot be written.
pub fn lock(path: &Path, mode: u32, note: &str) -> Result<LockedFile, LockFailure> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(mode).open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}\n{note}", owner())?;
            Ok(file)
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            let (owner, note) = text.split_once('\n').unwrap_or((&text, ""));
            let pid = owner.split(':').nth(1).map(String::from);
            Err(LockFailure::Held(LockHolder { pid, note: note.lines().next().unwrap_or_default().into() }))
        }
        Err((_, errno)) => Err(LockFailure::System(errno.into())),
    }
}
