//! The kernel's log, for processes that its OOM killer killed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// The kernel's log from a moment on: a process before it may have had the same id.
#[derive(Debug, Clone)]
pub struct KernelLog(Arc<Mutex<LogReader>>);

#[derive(Debug)]
struct LogReader {
    file: File,
    /// The processes that were killed since.
    killed: Vec<i32>,
}

impl KernelLog {
    /// The log from now on; `None` if this user must not read it.
    #[must_use]
    pub fn from_now() -> Option<Self> {
        Self::at_end_of(Path::new("/dev/kmsg"))
    }

    fn at_end_of(path: &Path) -> Option<Self> {
        let mut file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).ok()?;
        file.seek(SeekFrom::End(0)).ok()?;
        Some(Self(Arc::new(Mutex::new(LogReader { file, killed: Vec::new() }))))
    }

    /// True if the log says that the OOM killer killed this process since then.
    #[must_use]
    pub fn was_oom_killed(&self, pid: i32) -> bool {
        let Ok(mut reader) = self.0.lock() else { return false };
        reader.read_on();
        reader.killed.contains(&pid)
    }
}

impl LogReader {
    fn read_on(&mut self) {
        let mut record = vec![0; 8 << 10];
        loop {
            match self.file.read(&mut record) {
                Ok(0) => return,
                // The kernel gives one record at a time.
                Ok(n) => self.killed.extend(String::from_utf8_lossy(&record[..n]).lines().filter_map(oom_kill)),
                // A record that was overwritten meanwhile; the next read continues behind it.
                Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {}
                Err(_) => return,
            }
        }
    }
}

/// The process of `Out of memory: Killed process 12 (python)`, `Memory cgroup out of memory: Killed process 12 (python)`.
fn oom_kill(record: &str) -> Option<i32> {
    let lower = record.to_ascii_lowercase();
    let (_, rest) = lower.split_once("out of memory: killed process ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn record(pid: i32) -> String {
        format!("3,1,2,-;Memory cgroup out of memory: Killed process {pid} (VLLM::Worker) total-vm:1kB")
    }

    #[test]
    fn a_kill_has_to_name_the_process() {
        assert_eq!([oom_kill(&record(120)), oom_kill("6,1,2,-;Killed process 120")], [Some(120), None]);
    }

    #[test]
    fn an_earlier_process_of_the_same_id_does_not_count() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{}", record(120)).unwrap();
        let log = KernelLog::at_end_of(file.path()).unwrap();
        assert!(!log.was_oom_killed(120));
        writeln!(file, "{}\n6,2,3,-;eth0: up", record(121)).unwrap();
        assert!(log.was_oom_killed(121) && log.was_oom_killed(121) && !log.was_oom_killed(120));
    }
}
