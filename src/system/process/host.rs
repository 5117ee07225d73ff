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

/// Free space in the file system of a path, GB.
#[must_use]
pub fn disk_free_gb(path: &Path) -> Option<f64> {
    let stat = statvfs(path).ok()?;
    Some((stat.blocks_available() as f64 * stat.fragment_size() as f64 / 1e9).round())
}

/// Number of processes that the OOM killer of this host's kernel has killed; `None` if the kernel does not count them.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    std::fs::read_to_string("/proc/vmstat").ok().and_then(|text| parse_oom_kills(&text))
}

fn parse_oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted() {
        assert_eq!(parse_oom_kills("pgfault 1\noom_kill 3\nnuma_hit 9"), Some(3));
        assert_eq!(parse_oom_kills("pgfault 1\noom_kills_of_others 3"), None);
    }
}
