//! Limits of this host.

use std::path::Path;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use crate::engines::launcher::HardLimits;

/// Maximum number of open files of a process: the soft and the hard limit.
#[must_use]
pub fn open_files() -> Option<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// The hard limits of this process for what it starts.
#[must_use]
pub fn hard_limits() -> HardLimits {
    let hard = |resource| getrlimit(resource).ok().map(|(_, hard)| hard).filter(|hard| *hard != RLIM_INFINITY);
    HardLimits { memlock: hard(Resource::RLIMIT_MEMLOCK), stack: hard(Resource::RLIMIT_STACK) }
}

/// Size of the file system of a path, GB.
#[must_use]
pub fn disk_size_gb(path: &Path) -> Option<f64> {
    let stat = statvfs(path).ok()?;
    Some((stat.blocks() as f64 * stat.fragment_size() as f64 / 1e7).round() / 100.0)
}

/// Free space in the file system of a path, GB.
#[must_use]
pub fn disk_free_gb(path: &Path) -> Option<f64> {
    let stat = statvfs(path).ok()?;
    Some((stat.blocks_available() as f64 * stat.fragment_size() as f64 / 1e9).round())
}
