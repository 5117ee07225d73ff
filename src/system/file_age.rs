//! How long ago files on a file system that several hosts share were touched.
//!
//! Clocks of hosts differ, so a time is compared with that of a file which this process touches. Who has seen a file's time before counts from
//! then on by a clock of its own, which nobody sets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use super::stopwatch::Stopwatch;
use crate::base::error::{Error, Result};

/// Tells ages of files.
#[derive(Debug)]
pub struct FileAges {
    /// A file of this process, whose time is the file system's clock.
    clock: PathBuf,
    /// The files whose time this process has read.
    seen: RefCell<BTreeMap<PathBuf, FileSight>>,
}

/// When a file was touched, as this process saw it.
#[derive(Debug)]
struct FileSight {
    touched: SystemTime,
    /// How long ago that was then.
    age: Duration,
    since: Stopwatch,
}

impl FileAges {
    /// By the clock of the file system of `clock`, a file that nobody else uses.
    #[must_use]
    pub fn by(clock: PathBuf) -> Self {
        Self { clock, seen: RefCell::default() }
    }

    /// Time since a file was touched, or the folder that it should be in, if it is not there.
    ///
    /// # Errors
    /// What the system reports.
    pub fn age(&self, file: &Path, folder: &Path) -> Result<Duration> {
        let touched = modified(file).or_else(|_| modified(folder)).map_err(|e| at("cannot read", folder, e))?;
        let mut seen = self.seen.borrow_mut();
        let before = seen.get(file);
        if let Some(sight) = before.filter(|sight| sight.touched == touched) {
            return Ok(sight.age + sight.since.elapsed());
        }
        // It was touched since this process last looked, whatever the clock says.
        let most = before.filter(|sight| sight.touched < touched).map_or(Duration::MAX, |sight| sight.since.elapsed());
        let age = self.now()?.duration_since(touched).unwrap_or_default().min(most);
        seen.insert(file.into(), FileSight { touched, age, since: Stopwatch::start() });
        Ok(age)
    }

    /// The clock of the file system.
    fn now(&self) -> Result<SystemTime> {
        if !self.clock.exists() {
            File::create(&self.clock).map_err(|e| at("cannot write", &self.clock, e))?;
        }
        touch(&self.clock)?;
        modified(&self.clock).map_err(|e| at("cannot read", &self.clock, e))
    }
}

impl Drop for FileAges {
    fn drop(&mut self) {
        // Only a file of time: if it stays, nobody reads it.
        let _ = std::fs::remove_file(&self.clock);
    }
}

/// Sets a file's time to the file system's.
///
/// # Errors
/// What the system reports.
pub fn touch(path: &Path) -> Result<()> {
    let now = TimeSpec::UTIME_NOW;
    utimensat(AT_FDCWD, path, &now, &now, UtimensatFlags::FollowSymlink).map_err(|e| at("cannot touch", path, e.into()))
}

/// Opened first, so that NFS asks the server.
fn modified(path: &Path) -> std::io::Result<SystemTime> {
    File::open(path)?.metadata()?.modified()
}

fn at(what: &'static str, path: &Path, e: std::io::Error) -> Error {
    Error::new(what).because(e).at(path.display().to_string())
}

/// Makes a file look as if it had been touched so many seconds earlier.
#[cfg(test)]
pub fn age_by(path: &Path, seconds: i64) {
    let then = modified(path).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let then: TimeSpec = nix::sys::time::TimeValLike::seconds(i64::try_from(then).unwrap() - seconds);
    utimensat(AT_FDCWD, path, &then, &then, UtimensatFlags::FollowSymlink).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_leaves_nothing_young() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        File::create(&file).unwrap();
        let ages = FileAges::by(folder.path().join("clock"));
        let age = || ages.age(&file, folder.path()).unwrap();
        age_by(&file, 50);
        assert!((50..55).contains(&age().as_secs()));
        // Touched, and then the clock was set back by an hour: it ages from the first look on.
        age_by(&file, -3650);
        assert!(age() < Duration::from_secs(5));
        let (first, begun) = (age(), Stopwatch::start());
        while begun.elapsed() < Duration::from_millis(5) {}
        assert!(age() >= first + Duration::from_millis(5));
        // Touched between two looks, and then the clock was set forward: what was seen counts.
        let later = FileAges::by(folder.path().join("later"));
        age_by(&file, 7300);
        assert!(later.age(&file, folder.path()).unwrap() > Duration::from_secs(3000));
        age_by(&file, -60);
        assert!(later.age(&file, folder.path()).unwrap() < Duration::from_secs(60));
        // A folder stands for a file that is not there.
        assert!(ages.age(&folder.path().join("none"), folder.path()).unwrap() < Duration::from_secs(5));
    }
}
