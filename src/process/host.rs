//! Limits of this host.

use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

/// Files that a process may have open: now, and at most when it asks for more.
#[must_use]
pub fn open_files() -> Option<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// Free space in the file system of a path, GB.
#[must_use]
pub fn disk_free_gb(path: &Path) -> Option<f64> {
    let stat = statvfs(path).ok()?;
    Some((stat.blocks_available() as f64 * stat.fragment_size() as f64 / 1e9).round())
}
