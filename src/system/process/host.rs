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

/// How many processes the kernel of this host has killed for want of memory; `None` where it does not count.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    std::fs::read_to_string("/proc/vmstat").ok().and_then(|text| counted(&text))
}

fn counted(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted() {
        assert_eq!(counted("pgfault 1\noom_kill 3\nnuma_hit 9"), Some(3));
        assert_eq!(counted("pgfault 1\noom_kills_of_others 3"), None);
    }
}
