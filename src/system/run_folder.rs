//! The private folder of a running program, for what lives as long as it does: the lease's socket, and which processes its server
//! has. A program that is killed leaves its folder; the next one removes it, with the processes that it names.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::getuid;
use serde::{Deserialize, Serialize};

use super::process::proc::{Process, in_session, with_variable};
use super::process::{cgroup, guard};
use crate::base::digest;
use crate::base::error::{Error, Result};

/// The variable in the environment of every process of a server; its value is the name of the folder.
pub const SERVER_MARK: &str = "BENCH_SERVER";
const RECORD: &str = "server.json";
/// How long to wait for a guard that is stopping the server of a program that was killed.
const PATIENCE: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(20);

/// A folder that only its owner can enter, removed when this is dropped.
#[derive(Debug)]
pub struct RunFolder(tempfile::TempDir);

/// How to find the processes of a server again.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ServerRecord {
    /// Its guard, which leads its session: process id and start time.
    #[serde(default)]
    guard: Option<(i32, u64)>,
    /// Its control group.
    #[serde(default)]
    group: Option<PathBuf>,
}

impl RunFolder {
    /// Makes one under `$XDG_RUNTIME_DIR` or the system's temporary folder.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn make() -> Result<Self> {
        let parent = parent();
        let pid = std::process::id();
        let start = i32::try_from(pid).ok().and_then(Process::read).map_or(0, |process| process.start);
        let made = tempfile::Builder::new()
            .prefix(&format!("{}{pid}-{start}-", prefix()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent);
        made.map(Self)
            .map_err(|e| Error::new("cannot make a private folder").because(e).at(parent.display().to_string()))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Its name, the value of [`SERVER_MARK`].
    #[must_use]
    pub fn name(&self) -> String {
        self.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Writes down how to find the server's processes. Best effort: the folder is found by its name too.
    pub fn record(&self, guard: Option<i32>, group: Option<&Path>) {
        let guard = guard.and_then(Process::read).map(|process| (process.pid, process.start));
        let record = ServerRecord { guard, group: group.map(Path::to_path_buf) };
        let _ = std::fs::write(self.path().join(RECORD), serde_json::json!(record).to_string());
    }
}

fn parent() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
    runtime.unwrap_or_else(std::env::temp_dir)
}

/// How the names of the folders of this host begin, as far as its process ids reach.
fn prefix() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let host = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let here = digest::sha256(format!("{host} {boot} {}", namespace.display()).as_bytes());
    format!("bench-{}-", &here[..8])
}

/// Removes what programs of this user that were killed have left: their folders, and the processes of their servers, which are
/// killed. Returns those, as `pid name`.
#[must_use]
pub fn remove_dead() -> Vec<String> {
    let prefix = prefix();
    let mut killed = Vec::new();
    for entry in std::fs::read_dir(parent()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == getuid().as_raw());
        let Some((pid, start)) = name.strip_prefix(&prefix).and_then(owner).filter(|_| is_ours) else { continue };
        if Process::read(pid).is_some_and(|process| process.start == start && process.lives()) {
            continue;
        }
        let text = std::fs::read_to_string(entry.path().join(RECORD)).unwrap_or_default();
        killed.extend(kill_left(&name, &serde_json::from_str(&text).unwrap_or_default()));
        let _ = std::fs::remove_dir_all(entry.path());
    }
    killed
}

/// Process id and start time in the rest of a name: `PID-START-RANDOM`.
fn owner(rest: &str) -> Option<(i32, u64)> {
    let mut parts = rest.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Kills the processes of a server whose bench-serve was killed, once its guard has had its time.
fn kill_left(mark: &str, record: &ServerRecord) -> Vec<String> {
    let guard_lives = || {
        record.guard.is_some_and(|(pid, start)| {
            Process::read(pid).is_some_and(|process| process.start == start && process.lives())
        })
    };
    let begun = Instant::now();
    while guard_lives() && begun.elapsed() < PATIENCE {
        std::thread::sleep(TICK);
    }
    let left = || {
        let mut all = with_variable(SERVER_MARK, mark.as_ref());
        // The kernel gives the id of a session to no other process while it has one.
        let session = record.guard.filter(|(pid, start)| Process::read(*pid).is_none_or(|now| now.start == *start));
        all.extend(
            session
                .into_iter()
                .flat_map(|(pid, start)| in_session(pid).into_iter().filter(move |process| process.start >= start)),
        );
        all.extend(record.group.iter().flat_map(|group| cgroup::processes(group)).filter(Process::lives));
        all.sort();
        all.dedup();
        all
    };
    let (killed, _) = guard::kill_all(left, || record.group.iter().for_each(|group| cgroup::kill(group)));
    record.group.iter().for_each(|group| cgroup::remove(group));
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_who_has_the_folder() {
        let folder = RunFolder::make().unwrap();
        let name = folder.name();
        let (pid, start) = name.strip_prefix(&prefix()).and_then(owner).unwrap();
        assert_eq!(u32::try_from(pid).unwrap(), std::process::id());
        assert_eq!(Process::read(pid).unwrap().start, start);
        let path = folder.path().to_path_buf();
        drop(folder);
        assert!(!path.exists());
        assert_eq!((owner("x-1-a"), owner("12"), owner("12-34-ab-c")), (None, None, Some((12, 34))));
    }
}
