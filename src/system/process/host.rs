//! Limits of this host.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
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

/// True if the kernel's log says that its OOM killer killed this process; false also if this user must not read the log.
#[must_use]
pub fn was_oom_killed(pid: i32) -> bool {
    let Ok(mut log) = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/kmsg") else {
        return false;
    };
    let mut record = vec![0; 8 << 10];
    loop {
        match log.read(&mut record) {
            Ok(0) => return false,
            Ok(n) if names_oom_kill(&String::from_utf8_lossy(&record[..n]), pid) => return true,
            Ok(_) => {}
            // A record that was overwritten meanwhile; the next read continues behind it.
            Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {}
            Err(_) => return false,
        }
    }
}

/// `Out of memory: Killed process 12 (python)`, `Memory cgroup out of memory: Killed process 12 (python)`.
fn names_oom_kill(record: &str, pid: i32) -> bool {
    let lower = record.to_ascii_lowercase();
    let killed = lower.split_once("out of memory: killed process ").map(|(_, rest)| rest);
    killed.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()) == Some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_has_to_name_the_process() {
        let record =
            |pid: i32| format!("3,1,2,-;Memory cgroup out of memory: Killed process {pid} (VLLM::Worker) total-vm:1kB");
        assert!(names_oom_kill(&record(120), 120));
        assert!(!names_oom_kill(&record(1201), 120) && !names_oom_kill("6,1,2,-;Killed process 120", 120));
    }
}
