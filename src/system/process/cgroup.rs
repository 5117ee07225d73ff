//! Control groups (version 2): a server gets one of its own where this user may make one. Its processes cannot leave it, so
//! the kernel kills them all at once, whatever they changed about themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::proc::Process;

const PROCESSES: &str = "cgroup.procs";
const KILL: &str = "cgroup.kill";
/// How often to try to remove a group whose processes were just killed.
const REMOVALS: u32 = 50;

/// The group of this process; `None` without version 2.
fn own() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?.to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = fields.into_iter().find(|fields| fields.get(2) == Some(&"cgroup2"))?.get(1)?.to_string();
    Some(Path::new(&root).join(path))
}

/// Makes a group below that of this process; `None` where that is not possible.
#[must_use]
pub fn create(name: &str) -> Option<PathBuf> {
    let group = own()?.join(name);
    fs::create_dir(&group).ok()?;
    if group.join(KILL).exists() {
        return Some(group);
    }
    let _ = fs::remove_dir(&group);
    None
}

/// Moves this process into a group. If the kernel refuses it, the process stays where it is.
pub fn join(group: &Path) {
    let _ = fs::write(group.join(PROCESSES), "0");
}

/// Kills every process of a group.
pub fn kill(group: &Path) {
    let _ = fs::write(group.join(KILL), "1");
}

/// The processes of a group.
#[must_use]
pub fn processes(group: &Path) -> Vec<Process> {
    let pids = fs::read_to_string(group.join(PROCESSES)).unwrap_or_default();
    pids.lines().filter_map(|pid| Process::read(pid.parse().ok()?)).collect()
}

/// Removes a group without processes.
pub fn remove(group: &Path) {
    for _ in 0..REMOVALS {
        // Processes that were killed are in it until their parent has waited for them.
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Number of processes in the group of this process that the kernel's OOM killer has killed; `None` if it is not counted.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    let of_v2 = || fs::read_to_string(own()?.join("memory.events")).ok();
    let of_v1 = || {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = own.lines().find_map(|line| line.split_once(":memory:/")).map(|(_, path)| path.to_string())?;
        fs::read_to_string(Path::new("/sys/fs/cgroup/memory").join(path).join("memory.oom_control")).ok()
    };
    of_v2().or_else(of_v1).and_then(|text| counted(&text))
}

fn counted(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted() {
        assert_eq!(counted("low 0\noom 4\noom_kill 3\noom_group_kill 0\n"), Some(3));
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
